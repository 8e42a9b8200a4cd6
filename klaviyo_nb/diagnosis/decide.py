"""From evidence to verdict: read the facts, walk the tree, weigh what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis import probed
from klaviyo_nb.diagnosis.advisories import advisories
from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.severity import respond_by, severity
from klaviyo_nb.diagnosis.summary import summary
from klaviyo_nb.diagnosis.thresholds import Thresholds, from_table
from klaviyo_nb.diagnosis.tree import FAILING, Walk, walk
from klaviyo_nb.diagnosis.verdict import Cause, Interval, Rival, Verdict
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence


def decide(evidence: Evidence) -> Verdict:
    """Decide what one body of evidence means. The same evidence gives the same verdict, always."""
    limits = from_table(evidence.context.get("thresholds") or {})
    rows = probed.rows_by_probe(evidence)
    facts = observe(evidence, rows, limits)
    found = walk(facts, unused=frozenset(gap.signal for gap in evidence.gaps if not gap.configured))
    said = advisories(evidence, rows, facts, limits)
    level, because = severity(found.cause, facts, len(said), limits)
    decided = found.cause != "inconclusive"
    certainty = "tentative" if found.alive else "established"
    return Verdict(
        window=evidence.window,
        cause=found.cause,
        certainty=certainty if decided else None,  # type: ignore[arg-type]
        severity=level,
        severity_because=because,
        respond_by=respond_by(level, evidence.collected_at, evidence.context.get("organisation") or {}),
        summary=summary(found.cause, facts, found.alive),
        onset=facts.onset,
        recovered=_watched(evidence) or (facts.recovered if facts.failing is not True else None),
        path=found.steps,
        rivals=tuple(_rivals(found, facts)),
        advisories=said,
        gaps=evidence.gaps,
        facts=_plain(facts),
    )


def observe(evidence: Evidence, rows: Mapping[str, probed.Row], limits: Thresholds) -> Facts:
    """Read the facts from evidence.

    Where the application's own calls and our probes disagree, the calls are believed: enough successes
    overrule a refused probe, and enough traffic makes the probes silent about `failing`.
    """
    calls, used = _counted(evidence, limits)
    asked = probed.api_facts(rows)
    sources = [
        probed.app_facts(rows.get("app_health")),
        probed.webhook_facts(rows.get("webhook"), evidence.webhooks, limits),
        probed.page_facts(evidence.status_page, _concerned(calls, used)),
        probed.silence_facts(rows),
        *_by_trust(calls, asked, limits),
    ]
    merged: dict[str, Any] = {"evidence": {}, "because": {}}
    for source in sources:  # later ones are believed over earlier ones
        for name, value in source.items():
            if name in ("evidence", "because"):
                merged[name].update(value)
            elif value is not None:
                merged[name] = value
    return Facts(**merged)


def _counted(evidence: Evidence, limits: Thresholds) -> tuple[dict[str, Any], set[str]]:
    """Facts from counting calls, and the endpoints in use; without logs and metrics no pandas either."""
    if evidence.calls is None and evidence.metrics is None:
        return {}, set()
    from klaviyo_nb.diagnosis import counted

    tally = counted.tally(evidence, limits)
    if tally is None:
        return {}, set()
    return counted.counted_facts(tally, evidence, limits), set(tally.frame["endpoint"].dropna())


def _watched(evidence: Evidence) -> Interval | None:
    """The end that `triage --watch` saw: after the last bad round, before the good ones that announced it."""
    rounds = evidence.watch
    if rounds is None or not rounds["recovered"].any():
        return None
    last = rounds[rounds["recovered"].fillna(False)].index[-1]
    bad = rounds["state"] == "bad"
    if bad.loc[last:].any() or not bad.loc[:last].any():
        return None
    since = bad.loc[:last][bad.loc[:last]].index[-1]
    good = rounds.loc[since:last][rounds.loc[since:last, "state"] == "good"]
    times = (rounds.loc[since, "checked_at"], good["checked_at"].iloc[0])
    return Interval(*(at.to_pydatetime() for at in times))


def _concerned(calls: Mapping[str, Any], used: set[str]) -> set[str]:
    """The endpoints an incident must concern to explain our failures: those that fail, else those in use."""
    failing = {each.endpoint for each in calls.get("endpoints") or () if each.failed}
    return failing or used or {"/api/accounts", "/api/profiles"}


def _by_trust(calls: dict[str, Any], asked: dict[str, Any], limits: Thresholds) -> list[dict[str, Any]]:
    """Counted facts and probed facts in the order in which they are believed, least first."""
    if not calls:
        return [asked]
    if calls["failing"] is None:
        # Too little traffic: the probes decide; the counts stay as history.
        return [calls, asked]
    if calls["failing"] or not asked.get("failing"):
        return [{name: value for name, value in asked.items() if name not in _DECIDED_BY_COUNTS}, calls]
    successes = calls["last_calls"] - calls["last_failed"]
    if successes >= limits.overrule_successes:
        return [calls]
    return [calls, asked]


_DECIDED_BY_COUNTS = ("failure", "one_endpoint", "failures", "status_codes", "retry_after_s")


def _rivals(found: Walk, facts: Facts) -> Iterator[Rival]:
    named: set[Cause] = {found.cause}
    for rival in (*_known_rivals(found.cause, facts), *_open_rivals(found)):
        if rival.cause not in named:
            named.add(rival.cause)
            yield rival


def _known_rivals(cause: Cause, facts: Facts) -> Iterator[Rival]:
    """Rivals that observed facts keep alive."""
    if facts.second_failure:
        other = FAILING.branches[facts.second_failure]
        name: Cause = other if isinstance(other, str) else "klaviyo_server_error"
        count = (facts.failures or {}).get(facts.second_failure)
        yield Rival(name, f"{count} calls failed that way too", "klaviyo-nb logs … --by status")
    if facts.acknowledged and cause != "klaviyo_outage" and facts.failing:
        yield Rival(
            "klaviyo_outage",
            f"the status page says: {facts.acknowledged_as}",
            "watch the page; retry one call",
        )
    if cause == "klaviyo_server_error" and facts.acknowledged is False:
        text = "the status page is green, but it has been 25 hours late before"
        yield Rival(
            "klaviyo_outage", text, "watch the status page, ask Klaviyo's support with the request ids"
        )
    if cause == "network_unreachable" and facts.nothing_answers:
        text = "from here an outage of everything at Klaviyo looks the same"
        yield Rival("klaviyo_outage", text, "ask the API and the status page from another network")


def _open_rivals(found: Walk) -> Iterator[Rival]:
    """Rivals that unanswered questions leave alive."""
    for cause, question in found.alive:
        yield Rival(cause, f"not answered: {question.text}", question.ask)


def _plain(facts: Facts) -> dict[str, Any]:
    """The facts as plain values, without the citations, which are on the path."""
    skipped = ("evidence", "because", "onset", "recovered")
    return {
        field.name: _value(getattr(facts, field.name)) for field in fields(facts) if field.name not in skipped
    }


def _value(value: Any) -> Any:
    if isinstance(value, Window | Interval):
        return value.as_json()
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return [asdict(each) if hasattr(each, "__dataclass_fields__") else each for each in value]
    if isinstance(value, Mapping):
        return {str(key): _value(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value
