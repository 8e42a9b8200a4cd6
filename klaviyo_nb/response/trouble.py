"""What to do when calls fail without a refusal, when the trouble is ours, and when nothing is decided."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from klaviyo_nb.response.case import Action, Case
from klaviyo_nb.response.refused import some

_STATUS_URL = "https://status.klaviyo.com"
#: Advisory code → what to do about it.
_ADVICE = {
    "revision_deprecated": "Plan the move to a newer revision",
    "revision_soon_retired": "Move to a newer revision before this one retires",
    "revision_retired": "Move to a newer revision",
    "revision_fall_forward": "Pin a revision that still lives",
    "certificate_expiring": "Renew the certificate",
    "clock_skew": "Set the clock",
    "metrics_unreachable": "Mend the metrics server, or its URL",
    "key_without_accounts_scope": "Add accounts:read to the next key, so that triage can ask",
    "probe_refused": "Give triage the application's own key",
}
_ADVICE_COMMANDS = {
    "clock_skew": "timedatectl status; chronyc tracking",
    "revision_deprecated": "grep -rIn -E 'revision.{0,20}20[0-9]{2}-[0-9]{2}-[0-9]{2}' . | head",
}


def klaviyo(case: Case) -> Iterator[Action]:
    """Degrade, queue, retry with pauses, watch; tell support what the page does not say."""
    yield Action(
        "Degrade: let the application go on without Klaviyo",
        "A checkout that waits for Klaviyo loses orders; limit its calls in time and go on without.",
        None,
        "our users stop noticing within five minutes",
        "turn the switch back once calls have been stable for ten minutes",
        "the application's own error rate",
    )
    yield from keep_and_retry(case)
    if case.verdict.cause != "klaviyo_outage":
        request = case.most_common("request_id")
        ids = [str(row["request_id"]) for row in case.probes_failing_as("server") if row["request_id"]]
        named = request[0] if request else ids[0] if ids else None
        yield Action(
            "Tell Klaviyo's support, with request ids",
            "The status page does not acknowledge it. A request id lets them find the call"
            + (f": {named}." if named else "; no failing answer carried one."),
            case.logs("request_id", since="2h") if request else None,
            "an answer, in hours",
            None,
            f"{case.setting('status_url', _STATUS_URL)} names the incident",
        )


def keep_and_retry(case: Case) -> Iterator[Action]:
    """Queue, retry with pauses, watch for the end."""
    counts = case.outcomes()
    so_far = ""
    if counts:
        so_far = " So far: " + ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in counts.items()
        )
    yield Action(
        "Queue what fails, with its original time and unique_id",
        "Refused calls (429, 503) are safe to replay. After 500, 502, 504, 52x or a timeout Klaviyo may have"
        " accepted the call: replay only reads and what carries a unique_id, one by one, never in bulk."
        " Never replay campaign sends, subscriptions or deletions without a person's decision."
        + so_far
        + "." * bool(so_far),
        case.logs("endpoint", "status", since="2h"),
        "nothing more is lost from the moment the queue takes it, within ten minutes",
        "drain the queue slowly, below half of the endpoint's limit per minute",
        "the queue grows by what fails",
    )
    yield Action(
        "Retry with growing pauses, and give up after a few tries",
        "Retries at once make it worse, for Klaviyo and for our own rate limit.",
        case.logs("minute"),
        "the number of calls stays near the usual within five minutes",
        None,
        case.logs("minute"),
    )
    yield Action(
        "Watch for the end, every 30 s until it is stable",
        "The status page has been 25 hours late before; our own calls know first.",
        f"until {case.triage}; do sleep 30; done",
        "the loop ends by itself when no incident is left",
        None,
        f"{case.triage}, three times in ten minutes",
    )


def endpoint_degraded(case: Case) -> Iterator[Action]:
    """Do without the one endpoint; else as for any server error."""
    endpoint = some(case.failing_endpoints[:1]) if case.failing_endpoints else "the failing endpoint"
    yield Action(
        f"Turn off what needs {endpoint}",
        f"Only {endpoint} fails; everything else answers.",
        case.logs("endpoint", "caller", since="2h"),
        "the rest of the application is undisturbed within five minutes",
        "turn it on again when calls succeed",
        case.logs("endpoint"),
    )
    yield from keep_and_retry(case)


def network(case: Case) -> Iterator[Action]:
    """DNS, TCP and TLS, proxy, another network."""
    name, port = case.api_host
    host = shlex.quote(name)
    yield Action(
        "Ask DNS here and elsewhere",
        "a.klaviyo.com stands on tracker block lists: 0.0.0.0 or no such name means a local blocker.",
        f"getent ahosts {host}; dig +short {host} @1.1.1.1",
        "the same public addresses twice, at once",
        None,
        f"{case.triage}: dns gives public addresses",
    )
    yield Action(
        "Try TCP and TLS by hand",
        "A firewall shows as no connection, a proxy in Klaviyo's place as a strange issuer.",
        f"openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>&1"
        " | openssl x509 -noout -issuer -dates",
        "an issuer you know and dates that hold, within a minute",
        None,
        f"{case.triage}: tls and liveness answer",
    )
    yield Action(
        "Look at the proxy and the egress rules",
        "A change of proxy, NAT or firewall is the usual reason.",
        "env | grep -i _proxy | sed 's#//[^@]*@#//***@#'; ip route get 1.1.1.1",
        "what changed last, within minutes",
        "take the change back",
        case.triage,
    )
    remote = (
        f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}\\n' {shlex.quote(case.api_url + '/api/accounts')}"
    )
    yield Action(
        "Ask from another network",
        "If Klaviyo answers there, it is our way out; if not, it is theirs. No key is needed for that.",
        f"ssh OTHER-HOST {shlex.quote(remote)}",
        "401, which means alive, within a minute",
        None,
        "the status it prints",
    )


def app(case: Case) -> Iterator[Action]:
    """Health, processes and memory, one instance."""
    health = shlex.quote(case.setting("health_url", "http://localhost:3000/health"))
    yield Action(
        "Read the health endpoint whole",
        f"It said: {_fact(case, 'app_says', 'nothing')}. Calls to Klaviyo are not the trouble.",
        f"curl -sS -g -m 5 -i {health}",
        "the part that is unwell, at once",
        None,
        f"{case.triage}: app_health is ok",
    )
    yield Action(
        "Look at its processes and memory",
        "Restarts, memory at the limit and full disks are the usual reasons.",
        "kubectl get pods -o wide; kubectl top pods; kubectl describe pod POD | tail -20\n"
        "systemctl status APP; free -m; df -h   # without Kubernetes",
        "a restart count, OOMKilled or a full disk, within minutes",
        None,
        "the same command again",
    )
    yield Action(
        "Restart one instance and watch it",
        "One, so that evidence stays on the others.",
        "kubectl delete pod POD   # or: systemctl restart APP",
        "healthy within five minutes",
        None,
        case.triage,
    )


def webhook(case: Case) -> Iterator[Action]:
    """Route, certificate, signature, subscription."""
    url = case.setting("webhook_url", "WEBHOOK-URL")
    yield Action(
        "Call the route from outside",
        f"The route said: {_fact(case, 'webhook_says', 'nothing')}."
        " Without a signature 2xx, 400, 401, 403 and 405 mean that it lives.",
        f"curl -sS -g -m 10 -v -o /dev/null {shlex.quote(url)} 2>&1 | grep -E '< HTTP|issuer|expire|^curl'",
        "a status that means alive, and a certificate that holds, at once",
        None,
        f"{case.triage}: webhook answers",
    )
    yield Action(
        "Check the signature's secret",
        "Klaviyo-Signature is the hex HMAC-SHA256 of the raw body followed by Klaviyo-Timestamp; a rotated"
        " secret, or a body that was parsed before it was checked, rejects all.",
        None,
        "signatures are accepted within five minutes of the mend",
        "put the former secret back",
        "the application's log: no rejected signature",
    )
    yield Action(
        "Check that the webhook is enabled at Klaviyo",
        "A disabled webhook sends nothing and says nothing. The key needs webhooks:read.",
        case.curl("/api/webhooks"),
        "enabled is true, within a minute",
        None,
        "the same command again",
    )


def resolved(case: Case) -> Iterator[Action]:
    """Keep watching, find what was lost."""
    yield Action(
        "Keep watching for an hour",
        f"{_fact(case, 'failed_calls', 'Some')} calls failed in the window, and calls succeed now.",
        f"while {case.triage}; do sleep 300; done",
        "the loop goes on for an hour; it ends by itself if calls fail again",
        None,
        case.triage,
    )
    counts = case.outcomes()
    yield Action(
        "Find what was lost, and replay what is safe",
        "Calls that failed were not delivered unless something retried them."
        + (f" {counts['refused']} were refused: safe. {counts['unknown']} are unknown: only with a unique_id."
           f" {counts['fix_first']} must be mended first." if counts else ""),
        case.logs("endpoint", "status", since="2h"),
        "the endpoints and counts that failed, within a minute",
        None,
        "the replayed calls answer 2xx",
    )  # fmt: skip


def healthy(case: Case) -> Iterator[Action]:
    """Deal with what is worth knowing; look at what was not seen, if users still complain."""
    for advisory in case.verdict.advisories:
        yield Action(
            _ADVICE.get(advisory.code, "Look at this when there is time"),
            f"{advisory.text[:1].upper()}{advisory.text[1:]}.",
            _ADVICE_COMMANDS.get(advisory.code),
            "no users are affected now; due on the next working day",
            None,
            f"{case.triage}: the advisory is gone",
        )
    yield from _gaps(case, "if users still complain")


def inconclusive(case: Case) -> Iterator[Action]:
    """Answer the open questions, close the gaps."""
    asks = list(dict.fromkeys(rival.ask for rival in case.verdict.rivals))[:3]
    for ask in asks:
        causes = list(dict.fromkeys(rival.cause for rival in case.verdict.rivals if rival.ask == ask))
        yield Action(
            ask[:1].upper() + ask[1:],
            f"It tells whether it is {some(causes)}.",
            case.triage,
            "a verdict, or fewer causes left, within a minute",
            None,
            case.triage,
        )
    yield from _gaps(case, "to decide", asked=" ".join(asks))


def _fact(case: Case, name: str, unknown: str) -> str:
    value = case.verdict.facts.get(name)
    return unknown if value is None else str(value)


#: Signal → what makes it seen: the setting, and the command.
_GIVE = {
    "logs": ("--logs", "klaviyo-nb triage --logs LOG-FILE"),
    "metrics": ("--metrics", "klaviyo-nb triage --metrics http://PROMETHEUS:9090"),
    "webhook": ("KLAVIYO_NB_WEBHOOK_URL", "KLAVIYO_NB_WEBHOOK_URL=https://… klaviyo-nb triage"),
    "app_health": ("KLAVIYO_NB_HEALTH_URL", "KLAVIYO_NB_HEALTH_URL=http://… klaviyo-nb triage"),
    "auth": ("KLAVIYO_PRIVATE_KEY", "export KLAVIYO_PRIVATE_KEY=…; klaviyo-nb triage"),
}


def _gaps(case: Case, purpose: str, asked: str = "") -> Iterator[Action]:
    """One action per thing that was not seen and can be given, but for those already asked for."""
    for gap in case.evidence.gaps:
        setting, command = _GIVE.get(gap.signal, ("", ""))
        if setting and setting not in asked:
            yield Action(
                f"Give {gap.signal.replace('_', ' ')}, {purpose}",
                f"Nothing was seen of it: {gap.reason}.",
                command,
                "the gap is gone, within a minute",
                None,
                "the list of what was not seen",
            )
