"""What to do when Klaviyo's application refuses our calls on purpose: key, scope, limit, request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta

from klaviyo_nb.klaviyo.endpoints import Endpoint
from klaviyo_nb.klaviyo.keys import USUAL_LENGTH
from klaviyo_nb.response.case import Action, Case, operations_of
from klaviyo_nb.response.spending import MARGIN, Spending, spending

#: Each reads the new key from standard input, so that no shell history keeps it.
_STORES = """\
gcloud secrets versions add klaviyo-private-key --data-file=-
aws secretsmanager put-secret-value --secret-id klaviyo-private-key --secret-string file:///dev/stdin
kubectl create secret generic klaviyo --from-file=private-key=/dev/stdin --dry-run=client -o yaml \\
  | kubectl apply -f -"""
_STORES_UNDO = (
    "gcloud secrets versions disable NEW-VERSION --secret=klaviyo-private-key; at AWS move the stage"
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
        f"{case.triage}: auth answers 200",
    )
    yield Action(
        "Ask Klaviyo directly whether the key lives",
        "It tells a dead key from a living one that the application does not get.",
        case.curl("/api/accounts?fields%5Baccount%5D=timezone"),
        "within a minute: 200 or 403, the key lives and the application uses another; 401, it is dead",
        None,
        "the status line of the answer",
    )
    yield _hosts_with_old_key(case)
    yield Action(
        "Create a new private key",
        "A dead key stays dead. Klaviyo, Settings, API keys: a new one with the scopes of the old one.",
        None,
        "a key that begins with pk_, within five minutes; leave the old one until every host has moved",
        "delete the new key in the same place",
        "the curl command above answers 200 with the new key in the environment",
    )
    yield Action(
        "Store it where the application reads it",
        "Pick the line of your secret store; paste the key, then press Ctrl-D without a line break.",
        _STORES,
        "a new version of the secret, within a minute",
        _STORES_UNDO,
        "the store lists the new version",
    )
    yield Action(
        "Restart the application",
        "A process reads its environment once, at its start.",
        "kubectl rollout restart deployment/APP   # or: systemctl restart APP",
        "calls succeed within five minutes",
        "kubectl rollout undo deployment/APP",
        f"{case.triage}; then {case.logs('host')}",
    )


def _hosts_with_old_key(case: Case) -> Action:
    hosts = [str(host) for host in case.verdict.facts.get("failing_hosts") or ()]
    if not hosts:
        return Action(
            "Find which hosts fail",
            "A host that was not restarted since the last rotation still uses the old key.",
            case.logs("host", "status", since="2h"),
            "401s on some hosts only, or on all, within a minute",
            None,
            case.logs("host", "status"),
        )
    shown = '\'printf "%s %.3s\\n" "$(hostname)" "$KLAVIYO_PRIVATE_KEY"\''
    return Action(
        f"Look at {', '.join(hosts[:5])} first",
        "Calls fail there and succeed on the others: they still use an old key.",
        f'for host in {" ".join(map(shlex.quote, hosts))}; do ssh "$host" {shown}; done',
        "the hosts whose environment was not renewed, within minutes",
        None,
        f"{case.logs('host')}: no failures there",
    )


def missing_scope(case: Case) -> Iterator[Action]:
    """Compare scopes needed and seen, rule out plan and feature, replace the key."""
    operations = case.operations()
    needed = {scope for each in operations for scope in each.scopes}
    seen = _scopes_seen(case)
    lacking = sorted(needed - seen)
    why = f"403 by Klaviyo on {some(case.failing_endpoints or [each.path for each in operations])}"
    why += (
        f"; they need {', '.join(sorted(needed))}."
        if needed
        else "; the catalogue does not know their scopes."
    )
    if seen:
        why += f" Calls that succeed show that the key has {', '.join(sorted(seen))}."
    if needed and seen and not lacking:
        why += " So it is hardly a scope: read on."
    yield Action(
        f"Check that the key has {', '.join(lacking)}" if lacking else "Check the key's scopes",
        why,
        _ask_again(operations, case),
        "within a minute: 403 with a JSON body. 400 on an empty body would mean that the key may",
        None,
        f"{case.triage}: no 403",
    )
    code = case.most_common("error_code")
    yield Action(
        "Read the answer's detail: it may be the plan or a feature, not a scope",
        "Klaviyo answers 403 too when an account lacks Advanced KDP or a feature is off"
        + (f"; most of these carry the code {code[0]}" if code else "")
        + ". An HTML page with 403 is the edge's challenge and no matter of scopes.",
        case.logs("endpoint", "error_code", "answered_by", since="2h"),
        "the code, and a text that names the missing permission, plan or feature, within a minute",
        None,
        case.logs("endpoint", "status"),
    )
    yield Action(
        "Create a key with the missing scopes and put it in place",
        "The scopes of an existing private key cannot be changed. Klaviyo, Settings, API keys; then store it"
        " and restart.",
        _STORES,
        "calls succeed within five minutes of the application's restart",
        "put the former key back",
        case.triage,
    )


def _ask_again(operations: list[Endpoint], case: Case) -> str:
    if not operations:
        return case.curl("/api/profiles?page%5Bsize%5D=1&fields%5Bprofile%5D=id")
    first = operations[0]
    return case.curl(first.path.replace("{id}", "ID"), first.method)


def _scopes_seen(case: Case) -> set[str]:
    calls = case.evidence.calls
    if calls is None:
        return set()
    from klaviyo_nb.logs.calls import failure_kinds

    worked = calls[failure_kinds(calls).isna() & calls["status_code"].between(200, 299)]
    if case.verdict.onset:  # what succeeded before may have had another key
        worked = worked[worked["timestamp"] >= case.verdict.onset.latest]
    return {scope for each in operations_of(worked) for scope in each.scopes}


def rate_limited(case: Case) -> Iterator[Action]:
    """Wait, slow the caller that spends most, pause what can wait."""
    spent = spending(case.evidence, case.failing_calls())
    yield _wait(case)
    if spent and not spent.exhausted:
        yield _somebody_else(case, spent)
    elif spent:
        yield from _slow_down(case, spent)
    yield Action(
        "Pause what can wait: backfills, exports, syncs",
        "All private keys of an account share one limit per endpoint: any job of ours can starve the others.",
        "kubectl get cronjobs -A | grep -i klaviyo\n"
        'kubectl patch cronjob JOB -p \'{"spec":{"suspend":true}}\'',
        "headroom within two minutes",
        'kubectl patch cronjob JOB -p \'{"spec":{"suspend":false}}\', one job at a time',
        case.logs("caller", "status"),
    )


def _wait(case: Case) -> Action:
    wait, until = case.verdict.facts.get("retry_after_s"), case.frees_at()
    expect = "the window frees by itself, a second or a minute window within a minute"
    why = "No answer said how long; calls made before the window frees are refused."
    if wait is not None:
        why = f"Retry-After is up to {wait:.0f} s; calls made before that are refused."
        expect = (
            f"calls are accepted {f'from {until:%Y-%m-%d %H:%M:%S} UTC' if until else f'in {wait:.0f} s'} on"
        )
    if wait is not None and wait > 60:
        why += " More than a minute means that a daily limit is used up: do not wait inside a process, queue."
    endpoint = next((each for each in case.operations() if each.method == "GET"), None)
    path = endpoint.path if endpoint and "{" not in endpoint.path else "/api/profiles"
    return Action(
        "Wait as long as Klaviyo asks",
        why,
        case.curl(path + ("?page%5Bsize%5D=1&fields%5Bprofile%5D=id" if path == "/api/profiles" else "")),
        expect,
        None,
        f"{case.triage}: rate_limit answers 200",
    )


def _slow_down(case: Case, spent: Spending) -> Iterator[Action]:
    who = spent.caller or "the caller"
    said = "Klaviyo's answers say" if spent.observed else "the catalogue says"
    share = f" {who} makes {spent.share:.0%} of them." if spent.caller and spent.share else ""
    yield Action(
        f"Slow down {who} on {spent.endpoint}",
        f"Up to {spent.peak} calls in one {spent.window}; {said} that {spent.limit} are allowed.{share}",
        case.logs("caller", "endpoint", "minute", since="2h"),
        "fewer 429s within two minutes of the change",
        "restore the former pace, in steps",
        case.logs("caller", "status"),
    )
    setting = f"Set its concurrency to {spent.concurrency}" if spent.concurrency else "Let one worker call"
    if not spent.concurrency:
        setting += f", with {spent.pause_s:g} s from call to call"
    measured = f"At a median of {spent.p50_s:.2f} s per call that" if spent.p50_s else "That"
    yield Action(
        setting,
        f"{measured} stays below {MARGIN:.0%} of {spent.limit} per {spent.window};"
        f" the same as {spent.pause_s:g} s between the starts of two calls, over all workers.",
        None,
        "no 429 within five minutes",
        "restore the former setting once the backlog is gone",
        f"{case.triage}: rate_limit answers 200",
    )


def _somebody_else(case: Case, spent: Spending) -> Action:
    return Action(
        f"Find who else spends the limit of {spent.endpoint}",
        f"These logs show at most {spent.peak} calls in one {spent.window}; {spent.limit} are allowed. All"
        " private keys of the account share it: another integration, or hosts whose logs were not given.",
        case.logs("host", "caller", since="2h"),
        "a job or integration that began when the 429s did, within minutes; Klaviyo's API activity page"
        " lists callers",
        None,
        f"{case.triage}, with the logs of all hosts",
    )


def invalid_request(case: Case) -> Iterator[Action]:
    """Look at the field, at the deploy, at the revision."""
    pointer, code, since = (
        case.most_common("error_pointer"),
        case.most_common("error_code"),
        case.verdict.onset,
    )
    yield Action(
        f"Look at {pointer[0]} in what we send" if pointer else "Look at what we send",
        f"Klaviyo rejects calls to {some(case.failing_endpoints)}"
        + (f" with the code {code[0]}" if code else "")
        + (f"; {pointer[1]} answers point at {pointer[0]}." if pointer else "."),
        case.logs("endpoint", "error_code", "error_pointer", since="2h"),
        "the field that is wrong, within minutes",
        None,
        case.logs("endpoint", "status"),
    )
    span = "--since=1.day"
    if since:
        before = since.earliest - timedelta(hours=1)
        span = f"--since='{before:%Y-%m-%dT%H:%M:%SZ}' --until='{since.latest:%Y-%m-%dT%H:%M:%SZ}'"
    yield Action(
        "Find the deploy that began it, and take it back",
        f"It began from {since.earliest:%H:%M} to {since.latest:%H:%M} UTC; listed is the hour before too."
        if since
        else "When it began was not seen: it was under way already, or the logs carry no times.",
        f"git log {span} --oneline",
        "calls succeed within five minutes of the rollback",
        "deploy again",
        case.triage,
    )
    yield Action(
        "Check the revision",
        f"Calls here are pinned to {case.revision}; for a retired revision a later one answers.",
        "grep -rIn -E 'revision.{0,20}20[0-9]{2}-[0-9]{2}-[0-9]{2}' . | head",
        f"{case.revision} everywhere, within a minute",
        None,
        f"{case.triage}: no advisory about the revision",
    )


def some(endpoints: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    if not endpoints:
        return "Klaviyo"
    more = f" and {len(endpoints) - most} more" if len(endpoints) > most else ""
    return ", ".join(endpoints[:most]) + more
