"""What to do when calls fail without a refusal, when the trouble is ours, and when nothing is decided."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from klaviyo_nb.response.case import Action, Case
from klaviyo_nb.response.refused import NAMES_APP, some

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
        "A checkout that waits for Klaviyo loses orders: turn off the feature flag, or set its time limit"
        " to a second or two, and go on without.",
        None,
        "our users stop noticing within five minutes",
        "turn the switch back once calls have been stable for ten minutes",
        case.check("app_health"),
    )
    yield from keep_and_retry(case)
    if case.verdict.cause == "klaviyo_outage":
        return
    request = case.most_common("request_id")
    ids = [str(row["request_id"]) for row in case.probes_failing_as("server") if row["request_id"]]
    named = request[0] if request else ids[0] if ids else None
    yield Action(
        "Tell Klaviyo's support, with request ids",
        "The status page does not acknowledge it. A request id lets them find the call"
        + (f": {named}." if named else "; no failing answer carried one."),
        f"{case.logs('request_id', 'status')} | head -30" if request else None,
        f"an answer, in hours; {case.setting('status_url', _STATUS_URL)} names the incident",
        None,
        case.check("status_page"),
    )


def keep_and_retry(case: Case) -> Iterator[Action]:
    """Queue, retry with pauses, watch for the end."""
    yield Action(
        "Queue what fails, with its original time and unique_id",
        f"{case.lost()}Refused (429, 503): safe to replay. Unknown (500, 502, 504, 52x, timeout): Klaviyo may"
        " have taken it; replay only reads and what carries a unique_id. Campaign sends, subscriptions and"
        " deletions: a person decides.",
        case.logs("endpoint", "status"),
        "nothing more is lost from the moment the queue takes it, within ten minutes",
        "drain the queue slowly, below half of the endpoint's limit per minute",
        case.logs("endpoint", "status", since="5m"),
    )
    yield Action(
        "Retry with growing pauses, and give up after a few tries",
        "Retries at once make it worse, for Klaviyo and for our own rate limit.",
        case.logs("minute"),
        "the number of calls stays near the usual within five minutes",
        "restore the former retry setting once calls are stable",
        case.logs("minute", since="15m"),
    )
    yield _watch(case, "30s", "The status page has been 25 hours late before; our own calls know first.")


def _watch(case: Case, every: str, why: str) -> Action:
    again, over = {"30s": ("30 s", 8), "5m": ("five minutes", 30)}[every]
    return Action(
        f"Watch for the end, every {again}",
        f"{why} It prints what changes, keeps the evidence, and ends with Ctrl-C.",
        case.triage(f"--watch {every}"),
        f"“recovered”, after five good rounds in a row, about {over} minutes after the last failing call",
        None,
        case.check(case.verdict.cause),
    )


def endpoint_degraded(case: Case) -> Iterator[Action]:
    """Do without the one endpoint; else as for any server error."""
    endpoint = some(case.failing_endpoints[:1]) if case.failing_endpoints else "the failing endpoint"
    yield Action(
        f"Turn off what needs {endpoint}",
        f"Only {endpoint} fails; everything else answers. Listed is who calls it.",
        case.logs("endpoint", "caller"),
        "the rest of the application is undisturbed within five minutes",
        "turn it on again when calls succeed",
        case.check(next(iter(case.failing_endpoints), "endpoint_degraded")),
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
        case.check("dns"),
    )
    yield Action(
        "Try TCP and TLS by hand",
        "A firewall shows as no connection, a proxy in Klaviyo's place as a strange issuer.",
        f"openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>&1"
        " | openssl x509 -noout -issuer -dates",
        "an issuer you know and dates that hold, within a minute",
        None,
        case.check("tls"),
    )
    yield Action(
        "Look at the proxy and the egress rules",
        "A change of proxy, NAT or firewall is the usual reason.",
        "env | grep -i _proxy | sed 's#//[^@]*@#//***@#'; ip route get 1.1.1.1",
        "what changed last, within ten minutes",
        "take the change back",
        case.check("network_unreachable"),
    )
    remote = (
        f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}\\n' {shlex.quote(case.api_url + '/api/accounts')}"
    )
    yield Action(
        "Ask from another network",
        "If Klaviyo answers there, it is our way out; if not, it is theirs. No key is needed."
        " OTHER-HOST stands for a machine in another network.",
        f"ssh OTHER-HOST {shlex.quote(remote)}",
        "401, which means alive, within a minute",
        None,
        case.check("liveness"),
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
        case.check("app_health"),
    )
    yield Action(
        "Look at its processes and memory",
        "Restarts, memory at the limit and full disks are the usual reasons.",
        _look_at_processes(case),
        "a restart count, OOMKilled or a full disk, within five minutes",
        None,
        case.check("app_health"),
    )
    yield Action(
        "Restart it, one instance first",
        f"One, so that evidence stays on the others. {NAMES_APP}",
        case.restart(),
        "healthy within five minutes",
        "kubectl rollout undo deployment/APP, if it was a deploy",
        case.check("app_health"),
    )


def _look_at_processes(case: Case) -> str:
    machine = "free -m; df -h"
    restart = case.restart()
    if "systemctl" in restart:
        return f"{restart.replace('restart', 'status --no-pager')}; {machine}"
    if restart.startswith("docker"):
        return f"docker ps -a; docker stats --no-stream; {machine}"
    return f"kubectl get pods -o wide; kubectl top pods; {machine}"


def webhook(case: Case) -> Iterator[Action]:
    """Route and certificate, signature, subscription; the signature first where all were rejected."""
    said = _fact(case, "webhook_says", "nothing")
    steps = [_call_route(case, said), _take_back_route(case), _check_secret(case, said)]
    yield from reversed(steps) if "signature" in said else steps
    yield Action(
        "Check that the webhook is enabled at Klaviyo",
        "A disabled webhook sends nothing and says nothing. The key needs webhooks:read.",
        case.curl("/api/webhooks"),
        "enabled is true, within a minute",
        None,
        case.check("webhook"),
    )


def _call_route(case: Case, said: str) -> Action:
    url = shlex.quote(case.setting("webhook_url", "WEBHOOK-URL"))
    return Action(
        "Call the route from outside, and look at its certificate",
        f"The route said: {said}. Without a signature 2xx, 400, 401, 403 and 405 mean that it lives.",
        f"curl -sS -g -m 10 -v -o /dev/null {url} 2>&1 | grep -E '< HTTP|issuer|expire|^curl'",
        "a status that means alive, and a certificate that holds, within a minute",
        None,
        case.check("webhook"),
    )


def _take_back_route(case: Case) -> Action:
    return Action(
        "Take back the deploy that changed the route",
        "A route that answered before and does not now was moved or removed, or its handler fails. To be"
        " typed in the application's repository.",
        "git log --since=1.day --oneline",
        "the route lives within five minutes of the rollback",
        "deploy again",
        case.check("webhook"),
    )


def _check_secret(case: Case, said: str) -> Action:
    return Action(
        "Check the signature's secret",
        f"The route said: {said}. Klaviyo-Signature is the hex HMAC-SHA256 of the raw body followed by"
        " Klaviyo-Timestamp; a rotated secret, or a body that was parsed before it was checked, rejects all.",
        None,
        "signatures are accepted within five minutes of the mend",
        "put the former secret back",
        case.check("webhook"),
    )


def resolved(case: Case) -> Iterator[Action]:
    """Keep watching, find what was lost."""
    failed = _fact(case, "failed_calls", "Some")
    yield _watch(
        case, "5m", f"{failed} calls failed in the window, and calls succeed now. Watch for an hour."
    )
    yield Action(
        "Find what was lost, and replay what is safe",
        f"{case.lost()}What was refused is safe to send again; what is unknown only if it reads or carries"
        " a unique_id.",
        f"{case.logs()} --ask ledger",
        "what became of the calls, with advice on sending them again, within a minute; what is replayed"
        " answers 2xx",
        None,
        case.check("calls"),
    )


def healthy(case: Case) -> Iterator[Action]:
    """Deal with what is worth knowing; look at what was not seen, if users still complain."""
    for part in case.verdict.facts.get("failing_parts") or ():
        yield Action(
            f"Look at {part['attribute']} {part['value']}: its calls fail",
            f"{part['failed']:,} of its {part['calls']:,} calls failed lately ({part['looks']}), of all"
            f" others {part['others_fail']:.1%}. A key, a deploy or a setting of its own may be why.",
            case.logs(part["attribute"], "status"),
            "it alone has these answers, and since when, within a minute",
            None,
            case.check("advisories"),
        )
    for advisory in case.verdict.advisories:
        if advisory.code == "part_failing":  # above
            continue
        yield Action(
            _ADVICE.get(advisory.code, "Look at this when there is time"),
            f"{advisory.text[:1].upper()}{advisory.text[1:]}.",
            _ADVICE_COMMANDS.get(advisory.code),
            "no users are affected now; due on the next working day",
            None,
            case.check("advisories"),
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
            case.triage("--since 2h"),
            "a verdict, or fewer causes left, within a minute",
            None,
            case.check("calls"),
        )
    yield from _gaps(case, "to decide", asked=" ".join(asks))


def _fact(case: Case, name: str, unknown: str) -> str:
    value = case.verdict.facts.get(name)
    if value is None:
        return unknown
    return f"{value:,}" if isinstance(value, int) else str(value)


#: Signal → what makes it seen: the setting, the command, and what can be checked then.
_GIVE = {
    "logs": ("--logs", "klaviyo-nb triage --logs LOG-FILE", "calls"),
    "metrics": ("--metrics", "klaviyo-nb triage --metrics http://PROMETHEUS:9090", "calls"),
    "webhook": ("KLAVIYO_NB_WEBHOOK_URL", "export KLAVIYO_NB_WEBHOOK_URL=https://HOST/PATH", "webhook"),
    "app_health": ("KLAVIYO_NB_HEALTH_URL", "export KLAVIYO_NB_HEALTH_URL=http://HOST/health", "app_health"),
    "auth": ("KLAVIYO_PRIVATE_KEY", "read -rs KLAVIYO_PRIVATE_KEY; export KLAVIYO_PRIVATE_KEY", "auth"),
}


def _gaps(case: Case, purpose: str, asked: str = "") -> Iterator[Action]:
    """One action per thing that was not seen and can be given, but for those already asked for."""
    for gap in case.evidence.gaps:
        setting, command, check = _GIVE.get(gap.signal, ("", "", ""))
        if setting and setting not in asked:
            yield Action(
                f"Give {gap.signal.replace('_', ' ')}, {purpose}",
                f"Nothing was seen of it: {gap.reason}.",
                command,
                "the gap is gone, within a minute",
                None,
                case.check(check),
            )
