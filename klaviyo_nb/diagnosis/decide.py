"""From evidence to verdict: read the facts, walk the tree, weigh what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis import probed
from klaviyo_nb.diagnosis.advisories import advisories
from klaviyo_nb.diagnosis.differing import differs, failing_parts
from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.observed import observe
from klaviyo_nb.diagnosis.severity import respond_by, severity
from klaviyo_nb.diagnosis.summary import summary
from klaviyo_nb.diagnosis.thresholds import from_table
from klaviyo_nb.diagnosis.tree import Walk, cause_of, walk
from klaviyo_nb.diagnosis.verdict import Cause, Interval, Rival, Verdict
from klaviyo_nb.evidence import remembered
from klaviyo_nb.window import Window, iso, whole_seconds

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence


@remembered
def decide(evidence: Evidence) -> Verdict:
    """Decide what one body of evidence means. The same evidence gives the same verdict, always."""
    limits = from_table(evidence.context.get("thresholds") or {})
    rows = probed.rows_by_probe(evidence)
    missed = probed.asked_in_vain(evidence, rows, limits)
    facts = observe(evidence, rows, missed, limits)
    parts = failing_parts(evidence, facts, limits) or None
    facts = replace(facts, differs=differs(evidence, facts), failing_parts=parts)
    found = walk(facts, unused=_unused(evidence, missed))
    said = advisories(evidence, rows, facts, limits)
    level, because = severity(found.cause, facts, len(said), limits)
    decided = found.cause != "inconclusive"
    certainty = "tentative" if found.alive else "established"
    rivals = tuple(_rivals(found, facts))
    return Verdict(
        window=evidence.window,
        cause=found.cause,
        certainty=certainty if decided else None,  # type: ignore[arg-type]
        severity=level,
        severity_because=because,
        respond_by=respond_by(level, evidence.collected_at, evidence.context.get("organisation") or {}),
        summary=summary(found.cause, facts, found.alive),
        onset=_whole(_told(evidence, "onset") or facts.onset),
        recovered=_whole(_told(evidence, "recovered") or facts.recovered),
        path=found.steps,
        rivals=rivals,
        next_probe=_most_telling(rivals),
        advisories=said,
        gaps=evidence.gaps,
        facts=_plain(facts),
    )


def _told(evidence: Evidence, name: str) -> Interval | None:
    """What people wrote of a moment, or the end that `triage --watch` saw: calls or none, it stands."""
    if evidence.notes is None and evidence.watch is None:
        return None
    from klaviyo_nb.diagnosis.times import recovery_seen, written_of

    written = written_of(evidence, name)
    if written:
        return Interval(written.at, written.at)
    watched = recovery_seen(evidence) if name == "recovered" else None
    return Interval(*watched) if watched else None


def _whole(found: Interval | None) -> Interval | None:
    """In whole seconds, as every page shows it."""
    return found and Interval(*whole_seconds(found.earliest, found.latest))


def _unused(evidence: Evidence, missed: frozenset[str]) -> frozenset[str]:
    """Things nobody has, which cannot fail: not the logs and metrics, through which other things are seen."""
    never = {gap.signal for gap in evidence.gaps if not gap.configured}
    if missed & {"logs", "some logs", "deliveries", "metrics"}:
        never.discard("webhook")  # they might have told of some
    return frozenset(never & {"webhook", "app_health"})


def _most_telling(rivals: Iterable[Rival]) -> str | None:
    """What to ask next: that which tells most rivals apart from the verdict."""
    counts = Counter(rival.ask for rival in rivals)
    return max(counts, key=counts.__getitem__) if counts else None


def _rivals(found: Walk, facts: Facts) -> Iterator[Rival]:
    named: set[Cause] = {found.cause}
    for rival in (*_known_rivals(found.cause, facts), *_open_rivals(found, facts)):
        if rival.cause not in named:
            named.add(rival.cause)
            yield rival


def _known_rivals(cause: Cause, facts: Facts) -> Iterator[Rival]:
    """Rivals that observed facts keep alive."""
    for kind, words in (facts.other_failures or {}).items():
        yield Rival(
            cause_of(kind), f"other calls failed that way too: {words}", "klaviyo-nb logs … --by status"
        )
    if facts.failure_alone:
        text = f"the calls do not tell who answered, our own does: they may be {facts.failure_alone}"
        yield Rival(cause_of(facts.failure_alone), text, "compare the application's way out with ours")
    if facts.probe_failure:
        text = f"our probes failed that way: {facts.probe_failure}"
        yield Rival(
            cause_of(facts.probe_failure), text, "compare the application's key and way out with ours"
        )
    for there, other, text in (
        (facts.app_healthy is False, "app_unhealthy", f"our health endpoint says: {facts.app_says}"),
        (facts.webhooks_arrive is False, "webhook_endpoint_down", f"webhooks: {facts.webhook_says}"),
    ):
        if there:
            yield Rival(other, text, "mend what the verdict names, then triage again")  # type: ignore[arg-type]
    page = facts.acknowledged_as or facts.acknowledged_in_part
    if page and cause != "klaviyo_outage" and facts.failing:
        yield Rival(
            "klaviyo_outage",
            f"the status page says: {page}",
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


def _open_rivals(found: Walk, facts: Facts) -> Iterator[Rival]:
    """Rivals that unanswered questions leave alive."""
    for cause, question in found.alive:
        doubt = facts.presumed.get(question.fact)
        said = f"presumed, since {doubt}" if doubt else "not answered"
        yield Rival(cause, f"{said}: {question.text}", question.ask)


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
        return [_value(asdict(each)) if hasattr(each, "__dataclass_fields__") else each for each in value]
    if isinstance(value, Mapping):
        return {str(key): _value(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value
