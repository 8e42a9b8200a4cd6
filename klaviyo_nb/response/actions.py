"""What to do now, per cause. Nothing is executed: each action is a text with a command to copy."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from klaviyo_nb.response.case import WINDOWS, Case, Spending

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Verdict
    from klaviyo_nb.evidence import Evidence

TRIAGE = "klaviyo-nb triage"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        title: An imperative.
        why: What it is good for, with this incident's figures.
        command: What to type, or None where it is done elsewhere. Never holds a secret.
        expect: What happens, and within how many minutes.
        undo: How to take it back, or None where nothing changes.
        check: How to see that it worked.
    """

    title: str
    why: str
    command: str | None
    expect: str
    undo: str | None
    check: str


def actions_for(verdict: Verdict, evidence: Evidence) -> tuple[Action, ...]:
    """The actions of a verdict, in the order in which to take them."""
    return tuple(_ACTIONS[verdict.cause](Case(verdict, evidence)))


def _invalid_key(case: Case) -> Iterator[Action]:
    key = case.evidence.context.get("key") or {}
    hosts = case.verdict.facts.get("failing_hosts") or []
    seen = (
        f"it is set, {key.get('length')} characters, begins with {key.get('prefix')}"
        if key.get("set")
        else "it is not set here"
    )
    yield Action(
        "Look at the key without showing it",
        f"Klaviyo answers 401. In this shell {seen}; Klaviyo's are 37 characters and begin with pk_.",
        'printf %s "$KLAVIYO_PRIVATE_KEY" | wc -c; printf %.3s "$KLAVIYO_PRIVATE_KEY"; printf %s "$KLAVIYO_PRIVATE_KEY" | tr -d \'[:alnum:]_\' | od -c | head -1',
        "37, pk_ and an empty dump, at once; anything else is the fault",
        None,
        f"{TRIAGE}: auth answers 200",
    )  # fmt: skip
    yield Action(
        "Ask Klaviyo directly whether the key lives",
        "It tells a dead key from a key that the application does not get.",
        case.curl("/api/accounts?fields%5Baccount%5D=timezone"),
        "HTTP 200: the key lives and the application uses another one; 401: it is dead. Within a minute",
        None,
        "the status line of the answer",
    )
    if hosts:
        yield Action(
            f"Look at {', '.join(hosts)} first",
            "Calls fail there and succeed on the others: they still use an old key.",
            f"for host in {' '.join(map(shlex.quote, hosts))}; do ssh \"$host\" 'printf \"%s %.3s\\n\" \"$(hostname)\" \"$KLAVIYO_PRIVATE_KEY\"'; done",
            "the hosts whose environment was not renewed, within minutes",
            None,
            "klaviyo-nb logs … --by host: no failures there",
        )  # fmt: skip
    yield Action(
        "Create a new private key",
        "If the key is dead only a new one helps: Klaviyo, Settings, API keys, with the scopes of the old one.",
        None,
        "a key that begins with pk_, within five minutes; the old one can stay until all hosts have moved",
        "delete the new key in the same place",
        "the curl command above with the new key in the environment",
    )
    yield Action(
        "Store it where the application reads it",
        "Pick the line of your secret store; each reads the key from standard input, so that no history keeps it.",
        "gcloud secrets versions add klaviyo-private-key --data-file=-\n"
        "aws secretsmanager put-secret-value --secret-id klaviyo-private-key --secret-string file:///dev/stdin\n"
        "kubectl create secret generic klaviyo --from-file=private-key=/dev/stdin --dry-run=client -o yaml | kubectl apply -f -",
        "a new version of the secret, within a minute",
        "make the former version current again",
        "the store lists the new version",
    )
    yield Action(
        "Restart the application",
        "A process reads its environment once, at its start.",
        "kubectl rollout restart deployment/APP   # or: systemctl restart APP",
        "calls succeed within five minutes",
        "kubectl rollout undo deployment/APP",
        TRIAGE,
    )


def _missing_scope(case: Case) -> Iterator[Action]:
    needed = sorted({scope for operation in case.operations() for scope in operation.scopes})
    code = case.most_common("error_code")
    yield Action(
        "Compare the key's scopes with what the failing endpoints need",
        f"403 on {_some(case.failing_endpoints)}"
        + (
            f"; the catalogue says they need {', '.join(needed)}."
            if needed
            else "; the catalogue does not know their scopes."
        ),
        case.curl((case.failing_endpoints or ["/api/profiles"])[0].replace("{id}", "ID")),
        "403 with a JSON body while other endpoints answer 200, within a minute",
        None,
        f"{TRIAGE}: no 403",
    )
    yield Action(
        "Read the answer's detail: it may be the plan or a feature, not a scope",
        "Klaviyo answers 403 too when a plan lacks Advanced KDP or a feature is off"
        + (f"; most of these carry the code {code[0]}." if code else "."),
        None,
        "a text that names the missing permission, plan or feature",
        None,
        "klaviyo-nb logs … --by endpoint --by status",
    )
    yield Action(
        "Create a key with the missing scopes and put it in place",
        "The scopes of an existing private key cannot be changed.",
        None,
        "calls succeed within five minutes of the application's restart",
        "put the former key back",
        TRIAGE,
    )


def _rate_limited(case: Case) -> Iterator[Action]:
    spent = case.spending()
    wait = case.verdict.facts.get("retry_after_s")
    if spent:
        window = WINDOWS.get(spent.window_s, f"{spent.window_s} s")
        if spent.peak < spent.limit:
            yield _somebody_else(spent, window)
    if spent and spent.peak >= spent.limit:
        who = (
            f" {spent.caller} makes {spent.share:.0%} of these calls." if spent.caller and spent.share else ""
        )
        yield Action(
            f"Slow down {spent.caller or 'the caller'} on {spent.endpoint}",
            f"Up to {spent.peak} calls in one {window}; {spent.limit} are allowed.{who}",
            None,
            "fewer 429s within two minutes",
            "restore the former concurrency, in steps",
            "klaviyo-nb logs … --by caller --by status",
        )
        if spent.concurrency:
            yield Action(
                f"Set its concurrency to {spent.concurrency}, or pause {spent.pause_s} s between calls",
                f"At a median of {spent.p50_s:.2f} s per call that stays below 80 % of {spent.limit} per {window}.",
                None,
                "no 429 within five minutes",
                "restore the former setting once the backlog is gone",
                f"{TRIAGE}: rate_limit answers 200",
            )
    yield Action(
        "Wait as long as Klaviyo asks",
        "Calls made before that are refused and count." if wait is None else _waiting(wait),
        None,
        "the window frees by itself" if wait is None else f"calls are accepted again in {wait:.0f} s",
        None,
        case.curl("/api/profiles?page%5Bsize%5D=1&fields%5Bprofile%5D=id"),
    )
    yield Action(
        "Pause what can wait: backfills, exports, syncs",
        "All private keys of an account share one limit per endpoint, so any job of ours can starve the others.",
        "kubectl get cronjobs -A | grep -i klaviyo",
        "headroom within a minute",
        "resume them one at a time",
        "klaviyo-nb logs … --by caller",
    )


def _somebody_else(spent: Spending, window: str) -> Action:
    return Action(
        f"Find who else spends the limit of {spent.endpoint}",
        f"These logs show at most {spent.peak} calls in one {window}; {spent.limit} are allowed. All private keys of the"
        " account share that limit: another integration, or hosts whose logs were not given.",
        None,
        "a job or integration that began when the 429s did, within minutes: Klaviyo's API activity page lists callers",
        None,
        f"{TRIAGE} --logs …, with the logs of all hosts",
    )


def _waiting(wait: float) -> str:
    if wait > 60:
        return f"Retry-After is {wait:.0f} s: a daily limit is used up. Do not wait inside a process; queue instead."
    return f"Retry-After is {wait:.0f} s; calls made before that are refused and count."


def _invalid_request(case: Case) -> Iterator[Action]:
    pointer, code = case.most_common("error_pointer"), case.most_common("error_code")
    since = case.verdict.onset
    yield Action(
        f"Look at {pointer[0]} in what we send" if pointer else "Look at what we send",
        f"Klaviyo rejects calls to {_some(case.failing_endpoints)}"
        + (f" with the code {code[0]}" if code else "")
        + (f"; {pointer[1]} answers point at {pointer[0]}." if pointer else "."),
        None,
        "the field and the value that is wrong, within minutes",
        None,
        "klaviyo-nb logs … --by endpoint --by status",
    )
    yield Action(
        "Find the deploy that began it, and take it back",
        f"It began between {since.earliest:%H:%M} and {since.latest:%H:%M} UTC." if since else "It was under way when the window began.",
        f"git log --since='{since.earliest:%Y-%m-%d %H:%M}' --until='{since.latest:%Y-%m-%d %H:%M}' --oneline" if since else "git log --since='1 day ago' --oneline",
        "calls succeed within five minutes of the rollback",
        "deploy again",
        TRIAGE,
    )  # fmt: skip
    yield Action(
        "Check the revision",
        f"Calls are pinned to {case.revision}; a retired revision is answered by a later one, with other rules.",
        f"grep -rn '{case.revision}' . --include='*.py' --include='*.ts' --include='*.php' --include='*.rb' | head",
        "one revision everywhere",
        None,
        f"{TRIAGE}: no advisory about the revision",
    )


def _klaviyo(case: Case) -> Iterator[Action]:
    acknowledged = case.verdict.cause == "klaviyo_outage"
    yield Action(
        "Degrade: let the application go on without Klaviyo",
        "A checkout that waits for Klaviyo loses orders; give its calls a time limit and go on without the answer.",
        None,
        "our users stop noticing within five minutes",
        "turn the switch back once calls have been stable for ten minutes",
        "the application's own error rate",
    )
    yield Action(
        "Queue what fails, with its original time and unique_id",
        "Refused calls (429, 503) are safe to replay. After 500, 502, 504, 52x or a timeout Klaviyo may have accepted the"
        " call: replay only what carries a unique_id, one by one, never in bulk.",
        None,
        "nothing is lost while it lasts",
        None,
        "the queue grows by what fails",
    )
    yield Action(
        "Retry with growing pauses, and give up after a few tries",
        "Retries at once make it worse, for Klaviyo and for our rate limit.",
        None,
        "the number of calls stays near the usual within five minutes",
        None,
        "klaviyo-nb logs … --by minute",
    )
    yield Action(
        "Watch for the end",
        "The status page has been 25 hours late before; our own calls know first.",
        f"while ! {TRIAGE} --since 15m; do sleep 30; done",
        "the command ends when no incident is left",
        None,
        TRIAGE,
    )
    if not acknowledged:
        request = case.most_common("request_id")
        yield Action(
            "Tell Klaviyo's support, with request ids",
            "They have not acknowledged it. A request id lets them find the call"
            + (f": {request[0]}." if request else "; our logs carry none, the probes may."),
            None,
            "an answer, in hours",
            None,
            f"{case.context('status_url', 'https://status.klaviyo.com')} names the incident",
        )


def _endpoint_degraded(case: Case) -> Iterator[Action]:
    endpoint = (case.failing_endpoints or ["the endpoint"])[0]
    yield Action(
        f"Turn off what needs {endpoint}",
        f"Only {endpoint} fails; everything else answers.",
        None,
        "the rest of the application is undisturbed within five minutes",
        "turn it on again when calls succeed",
        "klaviyo-nb logs … --by endpoint",
    )
    yield from list(_klaviyo(case))[1:]


def _network(case: Case) -> Iterator[Action]:
    host = case.api_host
    yield Action(
        "Ask DNS here and elsewhere",
        "a.klaviyo.com stands on tracker block lists: 0.0.0.0 or NXDOMAIN means a local blocker.",
        f"getent hosts {host}; dig +short {host} @1.1.1.1",
        "the same public addresses twice, at once",
        None,
        f"{TRIAGE}: dns gives public addresses",
    )
    yield Action(
        "Try TCP and TLS by hand",
        "It tells a firewall (no connection) from a proxy that answers in Klaviyo's place (a strange certificate).",
        f"openssl s_client -connect {host}:443 -servername {host} </dev/null 2>/dev/null | openssl x509 -noout -issuer -dates",
        "an issuer you know and dates that hold, within a minute",
        None,
        f"{TRIAGE}: tls and liveness answer",
    )
    yield Action(
        "Look at the proxy and the egress rules",
        "A change of proxy, NAT or firewall is the usual reason.",
        "env | grep -i _proxy | sed 's#//[^@]*@#//***@#'; ip route get 1.1.1.1",
        "what changed last, within minutes",
        "take the change back",
        TRIAGE,
    )
    yield Action(
        "Ask from another network",
        "If Klaviyo answers there, it is our way out; if not, it is theirs.",
        f"ssh OTHER-HOST \"curl -sS -o /dev/null -w '%{{http_code}}' {case.api_url}/api/accounts\"",
        "401 means alive, within a minute",
        None,
        "the status it prints",
    )


def _app(case: Case) -> Iterator[Action]:
    health = case.context("health_url", "http://localhost:3000/health")
    yield Action(
        "Read the health endpoint whole",
        f"It said: {case.verdict.facts.get('app_says')}.",
        f"curl -sS -m 5 -i {health}",
        "the part that is unwell, at once",
        None,
        f"{TRIAGE}: app_health is ok",
    )
    yield Action(
        "Look at its processes and memory",
        "Restarts, memory at the limit and full disks are the usual reasons.",
        "kubectl get pods -o wide; kubectl top pods; kubectl describe pod POD | tail -20   # or: systemctl status APP; free -m; df -h",
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
        TRIAGE,
    )


def _webhook(case: Case) -> Iterator[Action]:
    url = case.context("webhook_url", "WEBHOOK-URL")
    yield Action(
        "Call the route from outside",
        f"The route said: {case.verdict.facts.get('webhook_says')}. Alive is 2xx, 400, 401, 403 or 405 without a signature.",
        f"curl -sS -m 10 -o /dev/null -w '%{{http_code}} %{{ssl_verify_result}}\\n' {url}",
        "401 or 405 and 0, at once",
        None,
        f"{TRIAGE}: webhook answers",
    )
    yield Action(
        "Check the signature's secret",
        "Klaviyo-Signature is the hex HMAC-SHA256 of the raw body followed by Klaviyo-Timestamp; a rotated secret or a body"
        " that was parsed first rejects all.",
        None,
        "signatures are accepted within five minutes of the mend",
        "put the former secret back",
        "the application's log: no rejected signature",
    )
    yield Action(
        "Check that the webhook is enabled at Klaviyo",
        "A disabled webhook sends nothing and says nothing.",
        case.curl("/api/webhooks"),
        "enabled is true, within a minute",
        None,
        "the same command again",
    )


def _resolved(case: Case) -> Iterator[Action]:
    yield Action(
        "Keep watching for an hour",
        f"{case.verdict.facts.get('failed_calls')} calls failed in the window and calls succeed now; it may come back.",
        f"{TRIAGE} --since 30m",
        "healthy, twice in a row",
        None,
        TRIAGE,
    )
    yield Action(
        "Find what was lost, and replay what is safe",
        "Calls that failed were not delivered unless something retried them.",
        "klaviyo-nb logs … --by endpoint --by status",
        "the endpoints and counts that failed, within a minute",
        None,
        "the replayed calls answer 2xx",
    )


def _healthy(case: Case) -> Iterator[Action]:
    for gap in case.evidence.gaps:
        if gap.signal in ("logs", "metrics"):
            yield Action(
                f"Give {gap.signal}, if users still complain",
                f"Nothing was seen of the {gap.signal}: {gap.reason}.",
                f"{TRIAGE} --{gap.signal} URL",
                "what the application itself met, within the deadline",
                None,
                "the gap is gone",
            )


def _inconclusive(case: Case) -> Iterator[Action]:
    asks = list(dict.fromkeys(rival.ask for rival in case.verdict.rivals))
    for ask in asks[:3]:
        yield Action(
            ask[:1].upper() + ask[1:],
            "It answers what is open now.",
            TRIAGE,
            "a verdict, or fewer causes left",
            None,
            TRIAGE,
        )


def _some(endpoints: list[str], most: int = 3) -> str:
    if not endpoints:
        return "Klaviyo"
    more = f" and {len(endpoints) - most} more" if len(endpoints) > most else ""
    return ", ".join(endpoints[:most]) + more


_ACTIONS: Mapping[Cause, Callable[[Case], Iterator[Action]]] = {
    "klaviyo_outage": _klaviyo,
    "klaviyo_server_error": _klaviyo,
    "invalid_key": _invalid_key,
    "missing_scope": _missing_scope,
    "rate_limited": _rate_limited,
    "invalid_request": _invalid_request,
    "endpoint_degraded": _endpoint_degraded,
    "network_unreachable": _network,
    "app_unhealthy": _app,
    "webhook_endpoint_down": _webhook,
    "resolved_or_intermittent": _resolved,
    "healthy": _healthy,
    "inconclusive": _inconclusive,
}
