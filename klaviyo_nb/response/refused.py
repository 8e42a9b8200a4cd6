"""What to do when Klaviyo's application refuses our calls on purpose: key, scope, limit, request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta

from klaviyo_nb.klaviyo.endpoints import DAY, MINUTE, Endpoint
from klaviyo_nb.klaviyo.keys import USUAL_LENGTH
from klaviyo_nb.klaviyo.ratelimit import MARGIN
from klaviyo_nb.response.case import Action, Case, operations_of
from klaviyo_nb.response.spending import Spending, spending

#: Each reads the new key from the shell's variable, so that no history keeps it.
_STORES = """\
printf %s "$KLAVIYO_PRIVATE_KEY" | gcloud secrets versions add klaviyo-private-key --data-file=-
printf %s "$KLAVIYO_PRIVATE_KEY" | aws secretsmanager put-secret-value \\
  --secret-id klaviyo-private-key --secret-string file:///dev/stdin
printf %s "$KLAVIYO_PRIVATE_KEY" | kubectl create secret generic klaviyo \\
  --from-file=private-key=/dev/stdin --dry-run=client -o yaml \\
  | kubectl apply -f -"""
_PICK_STORE = (
    "Paste one of the three: Google's, Amazon's or Kubernetes' store. All take the new key from the variable"
    " that the step before has set; the secret's name is yours to mend."
)
#: Status of a rejected call → what it mostly means.
_REJECTED = {
    "404": " 404: what the call names does not exist, or its path is that of another revision.",
    "409": " 409: it exists already; the answer names its id, and an update would succeed.",
    "410": " 410: the API behind this path is retired; the call must move to its successor.",
}
#: What a command means by APP, where logs do not tell the application's name.
NAMES_APP = "APP stands for its deployment; without Kubernetes: sudo systemctl restart APP."
_STORES_UNDO = (
    "gcloud secrets versions disable NEW-VERSION --secret klaviyo-private-key; at AWS move the stage"
    " AWSCURRENT back; in Kubernetes apply the former secret"
)
_LOOK_AT_KEY = (
    'printf %s "$KLAVIYO_PRIVATE_KEY" | wc -c\n'
    'printf "%.3s\\n" "$KLAVIYO_PRIVATE_KEY"\n'
    "printf %s \"$KLAVIYO_PRIVATE_KEY\" | tr -d '[:alnum:]_' | od -c"
)


def invalid_key(case: Case) -> Iterator[Action]:
    """Look at the key, ask with it, find who uses the old one, rotate."""
    key = case.evidence.context.get("key") or {}
    seen = f"it has {key.get('length')} characters and begins with {key.get('prefix')}"
    if not key.get("set"):
        seen = "it is not set"
    odd = "".join(
        f"; {text}"
        for wrong, text in (
            (key.get("control_characters"), "it holds blanks or control characters"),
            (key.get("vendor"), f"it looks like a key of {key.get('vendor')}"),
        )
        if wrong
    )
    yield Action(
        "Look at the key without showing it",
        f"Klaviyo does not accept it. Where this ran {seen}{odd}; Klaviyo's have {USUAL_LENGTH} and begin"
        " with pk_.",
        _LOOK_AT_KEY,
        f"{USUAL_LENGTH}, pk_ and a dump of 0 bytes, at once; anything else is the fault",
        None,
        case.check("auth"),
    )
    yield Action(
        "Ask Klaviyo directly whether the key lives",
        "It tells a dead key from a living one that the application does not get.",
        case.curl("/api/accounts?fields%5Baccount%5D=timezone"),
        "within a minute: 200 or 403, the key lives and the application uses another; 401, it is dead",
        None,
        case.check("auth"),
    )
    yield _hosts_with_old_key(case)
    yield Action(
        "Create a new private key",
        "A dead key stays dead. Klaviyo, Settings, API keys: a new one with the scopes of the old one. This"
        " line takes it from the clipboard into this shell, without a trace in its history.",
        "read -rs KLAVIYO_PRIVATE_KEY; export KLAVIYO_PRIVATE_KEY",
        "the check below is well within five minutes; leave the old key until every host has moved",
        "delete the new key in the same place",
        case.check("auth"),
    )
    yield from _bring_into_use("Store it where the application reads it", "invalid_key", case)


def _bring_into_use(title: str, cause: str, case: Case) -> Iterator[Action]:
    """What brings a new key to the application; `cause` is gone once it is there."""
    yield Action(
        title,
        _PICK_STORE,
        _STORES,
        "a new version of the secret, within a minute; the application has it after its restart",
        _STORES_UNDO,
        case.check(cause),
    )
    yield Action(
        "Restart the application",
        f"A process reads its environment once, at its start. {NAMES_APP}",
        case.restart(),
        "calls succeed within five minutes",
        "put the former version of the secret back, restart again",
        case.check(cause),
    )


def _hosts_with_old_key(case: Case) -> Action:
    hosts = [str(host) for host in case.verdict.facts.get("failing_hosts") or ()]
    if not hosts:
        return Action(
            "Find which hosts fail",
            "A host that was not restarted since the last rotation still uses the old key.",
            case.logs("host", "status"),
            "401s on some hosts only, or on all, within a minute",
            None,
            case.check("invalid_key"),
        )
    shown = '\'printf "%s %.3s\\n" "$(hostname)" "$KLAVIYO_PRIVATE_KEY"\''
    return Action(
        f"Look at {', '.join(hosts[:5])} first",
        "Calls fail there and succeed on the others: they still use an old key.",
        f'for host in {" ".join(map(shlex.quote, hosts))}; do ssh "$host" {shown}; done',
        "the hosts whose environment was not renewed, within minutes",
        None,
        case.check("invalid_key"),
    )


def missing_scope(case: Case) -> Iterator[Action]:
    """Compare scopes needed and seen, rule out plan and feature, replace the key."""
    operations = case.operations()
    needed = {scope for each in operations for scope in each.scopes}
    seen = _scopes_seen(case)
    lacking = sorted(needed - seen)
    path = next(iter(case.failing_endpoints), "missing_scope")
    yield Action(
        f"Check that the key has {', '.join(lacking)}" if lacking else "Check the key's scopes",
        _scopes_said(case.failing_endpoints or [each.path for each in operations], needed, seen),
        _ask_again(operations, set(lacking), case),
        "within a minute: 403 while the key may not; 2xx, or 400 for the empty body, once it may",
        None,
        case.check(path),
    )
    code, said = case.most_common("error_code"), case.failing_words()
    yield Action(
        "Read the answer's detail: it may be the plan, not a scope",
        "Klaviyo answers 403 too when an account lacks Advanced KDP or a feature is off"
        + (f"; {code[1]} of these carry the code {code[0]}" if code else "")
        + (f"; a probe was told “{said}”" if said else "")
        + ". An HTML page with 403 is the edge's challenge and no matter of scopes.",
        case.logs("endpoint", "error_code", "answered_by"),
        "the code and who answered, per endpoint, within a minute; Klaviyo's support knows the plan",
        None,
        case.check("missing_scope"),
    )
    yield Action(
        "Create a key with the missing scopes",
        "The scopes of an existing private key cannot be changed. Klaviyo, Settings, API keys: the old scopes"
        + (f" and {', '.join(lacking)}" if lacking else "")
        + ". This line takes the new key from the clipboard into this shell.",
        "read -rs KLAVIYO_PRIVATE_KEY; export KLAVIYO_PRIVATE_KEY",
        "the curl command above no longer answers 403, within five minutes",
        "delete the new key in the same place",
        case.check("auth"),
    )
    yield from _bring_into_use("Store the new key where the application reads it", "missing_scope", case)


def _scopes_said(paths: list[str], needed: set[str], seen: set[str]) -> str:
    """Which scopes the refused calls need, and which the key has been seen to have."""
    said = f"403 by Klaviyo on {some(paths)}"
    said += (
        f"; they need {', '.join(sorted(needed))}."
        if needed
        else "; the catalogue does not know their scopes."
    )
    if seen:
        said += f" Calls that succeed show that the key has {', '.join(sorted(seen))}."
    if needed and seen and needed <= seen:
        said += " So it is hardly a scope: read on."
    return said


def _ask_again(operations: list[Endpoint], lacking: set[str], case: Case) -> str:
    """A call that needs what is lacking; one that only reads, if there is one."""
    telling = [each for each in operations if lacking & set(each.scopes)] or operations
    if not telling:
        return case.curl("/api/profiles?page%5Bsize%5D=1&fields%5Bprofile%5D=id")
    first = min(telling, key=lambda each: (each.method != "GET", "{" in each.path))
    return case.curl(first.path.replace("{id}", "ID"), first.method)


def _scopes_seen(case: Case) -> set[str]:
    calls = case.evidence.calls
    if calls is None:
        return set()
    from klaviyo_nb.logs.questions.counts import failure_kinds

    worked = calls[failure_kinds(calls).isna() & calls["status_code"].between(200, 299)]
    if case.verdict.onset:  # what succeeded before may have had another key
        worked = worked[worked["timestamp"] >= case.verdict.onset.latest]
    return {scope for each in operations_of(worked) for scope in each.scopes}


def rate_limited(case: Case) -> Iterator[Action]:
    """Wait, slow the caller that spends most, pause what can wait."""
    spent = spending(case.evidence, case.failing_calls())
    wait = case.retry_after_s
    yield _queue_for_hours(case, wait) if wait and wait > MINUTE else _wait(case, wait)
    if spent:
        yield _slow_down(case, spent) if spent.exhausted else _somebody_else(case, spent)
    if spent and (spent.exhausted or spent.window_s == DAY):
        yield _pace(case, spent)
    yield Action(
        "Pause what can wait: backfills, exports, syncs",
        "All private keys of an account share one limit per endpoint: any job of ours can starve the others."
        " JOB stands for each that calls Klaviyo.",
        "kubectl get cronjobs -A | grep -i klaviyo\n"
        'kubectl patch cronjob JOB -p \'{"spec":{"suspend":true}}\'',
        "headroom within two minutes",
        'kubectl patch cronjob JOB -p \'{"spec":{"suspend":false}}\', one job at a time',
        case.check("rate_limited"),
    )


def _wait(case: Case, wait: float | None) -> Action:
    until = case.frees_at()
    over = until is not None and until <= case.evidence.collected_at
    why = "No answer said how long; calls made before the window frees are refused."
    expect = "the window frees by itself, a second or a minute window within a minute"
    if wait is not None:
        why = f"Retry-After is up to {wait:.0f} s; calls made before that are refused."
    if wait is not None and until is not None:
        expect = f"calls are accepted from {until:%Y-%m-%d %H:%M:%S} UTC on"
        if over:
            why += f" The last one ended at {until:%H:%M:%S} UTC: whoever fills the window still does."
            expect = "200 at once; 429 as long as somebody fills the window"
    endpoint = next((each for each in case.operations() if each.method == "GET"), None)
    path = endpoint.path if endpoint and "{" not in endpoint.path else "/api/profiles"
    return Action(
        "Wait as long as Klaviyo asks, then ask once",
        why,
        case.curl(path + ("?page%5Bsize%5D=1&fields%5Bprofile%5D=id" if path == "/api/profiles" else "")),
        expect,
        None,
        case.check("rate_limit"),
    )


def _queue_for_hours(case: Case, wait: float) -> Action:
    """A daily limit: a clock time to come back at, and no waiting inside a process."""
    until, place = case.frees_at(), case.longest_wait()
    when = f"{until:%Y-%m-%d %H:%M} UTC" if until else f"{wait / 3600:.1f} hours from now"
    return Action(
        f"Queue calls to {place or 'it'} until {when}",
        f"Retry-After is {wait:.0f} s, {wait / 3600:.1f} hours: a daily limit is used up. A client that waits"
        " that long inside its process only seems to hang: let the call fail, and keep it.",
        case.logs("endpoint", "caller", "status") if case.sources else None,
        f"calls are accepted from {when} on; other endpoints have limits of their own and go on",
        "send what was kept, at the pace below, once the limit is free",
        case.check(place or "rate_limited"),
    )


def _slow_down(case: Case, spent: Spending) -> Action:
    said = "Klaviyo's answers say" if spent.observed else "the catalogue says"
    return Action(
        f"Slow down {spent.caller or 'the caller'} on {spent.endpoint}",
        f"Up to {spent.peak:,} calls in one {spent.window}; {said} that {spent.limit:,} are allowed."
        f"{_share(spent)}",
        case.logs("caller", "endpoint", "minute"),
        "fewer 429s within two minutes of the change",
        "restore the former pace, in steps",
        case.check("rate_limited"),
    )


def _pace(case: Case, spent: Spending) -> Action:
    """The concurrency, or the pause, that stays below the limit."""
    who, at_once = spent.caller or "the caller", spent.concurrency
    title = f"Let {who} make {'one call' if at_once == 1 else f'at most {at_once} calls'} at a time"
    if at_once is None:
        title = f"Let one worker of {who} call, with {spent.pause_s:g} s from call to call"
    measured = f"At a median of {spent.p50_s:.2f} s per call that" if spent.p50_s else "That"
    return Action(
        title,
        f"{measured} stays below {MARGIN:.0%} of {spent.limit} per {spent.window};"
        f" the same as {spent.pause_s:g} s between the starts of two calls, over all workers.",
        None,
        "no 429 within five minutes",
        "restore the former setting once the backlog is gone",
        case.check("rate_limited"),
    )


def _somebody_else(case: Case, spent: Spending) -> Action:
    return Action(
        f"Find who else spends the limit of {spent.endpoint}",
        f"These logs show at most {spent.peak} calls in one {spent.window}; {spent.limit} are allowed."
        f"{_share(spent)} All private keys of the account share the limit: look for another integration, or"
        " for hosts whose logs were not given.",
        case.logs("host", "caller"),
        "a job or integration that began when the 429s did, within ten minutes; Klaviyo's API activity page"
        " lists callers",
        None,
        case.check("rate_limited"),
    )


def _share(spent: Spending) -> str:
    return f" {spent.caller} makes {spent.share:.0%} of them." if spent.caller and spent.share else ""


def invalid_request(case: Case) -> Iterator[Action]:
    """Look at the field, at the deploy, at the revision."""
    pointer, code, since = (
        case.most_common("error_pointer"),
        case.most_common("error_code"),
        case.verdict.onset,
    )
    status = case.most_common("status_code")
    yield Action(
        f"Look at {pointer[0]} in what we send" if pointer else "Look at what we send",
        f"Klaviyo rejects calls to {some(case.failing_endpoints)}"
        + (f" with HTTP {status[0]}" if status else "")
        + (f" and the code {code[0]}" if code else "")
        + (f"; {pointer[1]} answers point at {pointer[0]}." if pointer else ".")
        + _REJECTED.get(status[0] if status else "", ""),
        case.logs("endpoint", "error_code", "error_pointer"),
        "the field that is wrong, within five minutes",
        None,
        case.check(next(iter(case.failing_endpoints), "invalid_request")),
    )
    span = "--since=1.day"
    if since:
        before = since.earliest - timedelta(hours=1)
        span = f"--since='{before:%Y-%m-%dT%H:%M:%SZ}' --until='{since.latest:%Y-%m-%dT%H:%M:%SZ}'"
    yield Action(
        "Find the deploy that began it, and take it back",
        (
            f"It began from {since.earliest:%H:%M} to {since.latest:%H:%M} UTC; the hour before is shown too."
            if since
            else "When it began was not seen: it was under way already, or the logs carry no times."
        )
        + " To be typed in the application's repository.",
        f"git log {span} --oneline",
        "calls succeed within five minutes of the rollback",
        "deploy again",
        case.check("invalid_request"),
    )
    yield Action(
        "Check the revision that the application sends",
        f"Calls here are pinned to {case.revision}; for a retired revision a later one answers, with other"
        " fields. To be typed in the application's repository.",
        "grep -rIn -E 'revision.{0,20}20[0-9]{2}-[0-9]{2}-[0-9]{2}' . | head",
        f"{case.revision} everywhere, within a minute",
        None,
        case.check("advisories"),
    )


def some(endpoints: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    if not endpoints:
        return "Klaviyo"
    more = f" and {len(endpoints) - most} more" if len(endpoints) > most else ""
    return ", ".join(endpoints[:most]) + more
