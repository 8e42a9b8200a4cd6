"""`postmortem.md`: a draft with every number computed, and every blank for a person marked. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.logs.calls import failure_kinds
from klaviyo_nb.report.timeline import entries
from klaviyo_nb.report.words import TITLES, between, blank, duration, number, plain, share, stamp, table

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

#: Kind of failure → what became of the data in the call.
OUTCOMES: Mapping[str, str] = {
    "throttled": "were throttled: refused, they can be sent again once the limit frees",
    "unauthorized": "were not authenticated: refused, they can be sent again with a valid key",
    "forbidden": "were forbidden: refused, they can be sent again once the key may",
    "invalid": "were rejected: refused, they fail again unless what is sent changes",
    "server": "met errors or silence: Klaviyo may have taken them, only idempotent ones are safe to repeat",
    "unreachable": "did not reach Klaviyo, as far as can be told: they can be sent again",
}

#: Cause → what would make it rarer, shorter or less harmful. Drafts: a person owns them or strikes them.
ACTION_ITEMS: Mapping[str, tuple[str, ...]] = {
    "klaviyo_outage": (
        "Queue calls that fail, and replay them when Klaviyo is back",
        "Alert on our own failing calls, since the status page can lag by hours",
    ),
    "klaviyo_server_error": (
        "Retry with backoff and a limit, and only what is safe to repeat",
        "Set a timeout on every call to Klaviyo",
    ),
    "invalid_key": (
        "Rehearse the rotation of the key, restart of every worker included",
        "Alert on the first 401",
    ),
    "missing_scope": (
        "Keep the scopes each service needs beside its code, and check them at deploy",
        "Alert on the first 403 from Klaviyo's application",
    ),
    "rate_limited": (
        "Give each job a share of the limit, and make it obey Retry-After",
        "Alert when more than half of a limit is used for five minutes",
    ),
    "invalid_request": (
        "Test what we send against the API revision in use, before deploy",
        "Keep rejected payloads, redacted, so that they can be mended and sent again",
    ),
    "endpoint_degraded": (
        "Let the rest of the application work while one endpoint fails",
        "Queue what that endpoint should have received",
    ),
    "network_unreachable": (
        "Watch DNS, TLS and a keyless call to the API from where the application runs",
        "Write down who owns the way out: proxy, firewall, DNS",
    ),
    "app_unhealthy": (
        "Alert on the health endpoint before users notice",
        "Find what made the application unwell, and limit it",
    ),
    "webhook_endpoint_down": (
        "Alert on silence of webhooks against what is usual at that hour",
        "Watch the certificate and the route from outside",
    ),
    "resolved_or_intermittent": (
        "Find out why it ended by itself, before it comes back",
        "Alert earlier: it was over when somebody looked",
    ),
}
_BY_PERSON = (
    ("Alert raised", "time, and what raised it"),
    ("Acknowledged", "time, and by whom"),
    ("Cause found", "time"),
    ("Mitigated", "time, and by which change"),
    ("Service restored", "time"),
    ("Confirmed stable", "time, and how"),
)


def draft(evidence: Evidence, document: Mapping[str, Any], incident: str, lead: str | None) -> str:
    """The draft as Markdown.

    Args:
        evidence: What was seen.
        document: The verdict as in `verdict.json`.
        incident: Name of the incident.
        lead: Who leads; None is a blank.
    """
    sections = {
        "Summary": _summary(document),
        "Timeline": _timeline(evidence, document),
        "Root cause": _root_cause(document),
        "Impact": _impact(evidence, document),
        "Action items": _action_items(document),
        "Lessons": _lessons(document),
        "What could not be seen": _unseen(document),
        "Evidence": _sources(evidence),
    }
    lines = [*_head(document, incident, lead)]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _head(document: Mapping[str, Any], incident: str, lead: str | None) -> Iterator[str]:
    cause = str(document["cause"])
    window = document["window"]
    onset, recovered = document.get("onset"), document.get("recovered")
    level, because = document.get("severity"), plain(document.get("severity_because"))
    yield f"# Postmortem {plain(incident)}: {TITLES.get(cause, plain(cause))}"
    yield ""
    yield "> Draft. Numbers and times are computed from `evidence/`; what only a person knows stands as"
    yield f"> {blank('…')}. Nobody is to blame: ask how it came about, not who did it."
    yield ""
    yield from table(
        ("", ""),
        [
            ("Incident", plain(incident)),
            ("Error type", f"`{cause}` ({document.get('certainty') or 'not decided'})"),
            ("Date", f"{stamp((onset or {}).get('earliest') or window['start'])[:10]} (UTC)"),
            ("Window looked at", f"{stamp(window['start'])} to {stamp(window['end'])} UTC"),
            ("Began", between(onset) if onset else "not found in the window"),
            ("Ended", between(recovered) if recovered else "not seen to end" if onset else "–"),
            ("Duration", duration(document) or "not known: no onset was found"),
            ("Severity", f"{level}: {because}" if level else "none"),
            ("Lead", plain(lead) if lead else blank("who led")),
        ],
    )


def _summary(document: Mapping[str, Any]) -> list[str]:
    return [
        plain(document["summary"], 600),
        "",
        blank("what customers and colleagues noticed, in one or two sentences"),
    ]


def _timeline(evidence: Evidence, document: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            f"{stamp(each.at)}{f' to {stamp(each.until)[11:]}' if each.until else ''}",
            plain(each.what),
            plain(each.source),
        )
        for each in entries(evidence, document)
    ]
    people = [(blank(what), name, blank("where that is to be read")) for name, what in _BY_PERSON]
    return ["All times are UTC.", "", *table(("time", "what happened", "source"), [*rows, *people])]


def _root_cause(document: Mapping[str, Any]) -> list[str]:
    lines = ["What the evidence says, question by question:", ""]
    for position, step in enumerate(document.get("path") or (), 1):
        because = f": {plain(step.get('because'))}" if step.get("because") else ""
        cited = ", ".join(plain(each) for each in step.get("evidence") or ())
        answer = "not answered" if step["answer"] == "unknown" else plain(step["answer"])
        lines.append(
            f"{position}. {plain(step['question'])} **{answer}**{because}{f' ({cited})' if cited else ''}"
        )
    rivals = [f"`{_cause_of(rival)}`" for rival in document.get("rivals") or ()]
    lines += [
        "",
        f"Not ruled out by the evidence: {', '.join(rivals)}." if rivals else "No other cause was left open.",
    ]
    return [
        *lines,
        "",
        f"What made it possible, and what set it off: {blank('contributing factors and trigger')}",
    ]


def _cause_of(rival: object) -> str:
    return str(rival.get("cause")) if isinstance(rival, Mapping) else str(rival)


def _impact(evidence: Evidence, document: Mapping[str, Any]) -> list[str]:
    facts = document.get("facts") or {}
    calls, failed, source = facts.get("calls"), facts.get("failed_calls"), facts.get("counted_from")
    if calls is None or failed is None:
        counted = "- Failed calls: not counted; neither logs nor metrics told of calls."
    else:
        part = share(failed, calls)
        told = f"{failed:,} of {calls:,}{f' ({part})' if part else ''}"
        counted = f"- Failed calls: {told} in the window, counted from {plain(source)}."
    return [
        counted,
        *_by_endpoint(facts),
        *_outcomes(evidence),
        f"- Users affected: {_profiles(evidence)}{blank('how many, and how they noticed')}",
        f"- Data queued or lost: {blank('what was queued, what was sent again, what is lost')}",
    ]


def _by_endpoint(facts: Mapping[str, Any]) -> Iterator[str]:
    for each in (facts.get("endpoints") or ())[:10]:
        if each["failed"]:
            counts = f"{each['failed']:,} of {each['calls']:,}"
            yield f"  - On {plain(each['endpoint'])}: {counts} in the last part of the window"


def _outcomes(evidence: Evidence) -> Iterator[str]:
    """What became of the calls that failed, by kind, as far as logs tell."""
    if evidence.calls is None:
        return
    kinds = failure_kinds(evidence.calls).value_counts()
    for kind, count in kinds.items():
        yield f"  - {count:,} {OUTCOMES[str(kind)]}"


def _profiles(evidence: Evidence) -> str:
    if evidence.calls is None:
        return ""
    failed = evidence.calls.loc[failure_kinds(evidence.calls).notna(), "profile_key"]
    told = failed.dropna()
    if told.empty:
        return ""
    return f"at least {told.nunique():,} profiles ({len(told):,} of {len(failed):,} failed calls name one). "


def _action_items(document: Mapping[str, Any]) -> list[str]:
    items = [
        *ACTION_ITEMS.get(str(document["cause"]), ()),
        blank("what would have shortened or prevented this"),
    ]
    rows = [(item, blank("owner"), blank("due date")) for item in items]
    return table(("what, and how one sees that it is done", "owner", "due"), rows)


def _lessons(document: Mapping[str, Any]) -> list[str]:
    missing = [each for each in document.get("gaps") or () if each.get("reason")]
    unseen = [f"  - Not seen: {plain(each['signal'])}: {plain(each['reason'])}" for each in missing]
    advice = [f"  - Noticed: {plain(each['text'])}" for each in document.get("advisories") or ()]
    return [
        f"- What went well: {blank('…')}",
        f"- What could improve: {blank('…')}",
        *unseen,
        *advice,
        f"- Where we got lucky: {blank('…')}",
    ]


def _unseen(document: Mapping[str, Any]) -> list[str]:
    count = len(document.get("gaps") or ())
    said = f"{number(count, 'signal')} not seen." if count else "Everything that was asked for answered."
    return [f"{said} `limits.md` says per source what was asked and what was got."]


def _sources(evidence: Evidence) -> list[str]:
    asked = evidence.probes["checked_at"].min()
    at = stamp(None if pd.isna(asked) else asked)
    lines = [f"- `evidence/probes.csv`: {number(len(evidence.probes), 'probe')}, asked at {at}"]
    for name in ("calls", "webhooks", "metrics"):
        frame = getattr(evidence, name)
        told = (
            f"- {name}: not collected" if frame is None else f"- `evidence/{name}.csv`: {len(frame):,} rows"
        )
        lines.append(told)
    return [
        *lines,
        "- `verdict.json`, `charts/` and `notebooks/` are computed from these; `klaviyo-nb verify` checks.",
    ]
