"""What happened when, merged from everything that carries a time, each line with its source. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.times import times_of
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import plain_rows
from klaviyo_nb.lines import many, one_line
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.metrics.alerts import alerts
from klaviyo_nb.redact import harmless
from klaviyo_nb.report import series
from klaviyo_nb.report.words import TITLES
from klaviyo_nb.window import parse_time, whole_seconds

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.metrics.times import Moment

#: Posts of the status page that are older than this before the window tell of something else.
BEFORE = timedelta(days=1)
#: Entries from one source that are told at most; the newest are kept. What people noted is told whole.
MOST, MOST_NOTES = 12, 200
#: Kinds of failure whose first call is told, and versions of the application's client.
MOST_KINDS, MOST_VERSIONS = 4, 6
LONGEST_POST = 240

Lane = Literal["calls", "page", "us"]

#: Kind of note → what it says happened. Those from `detected` on are what every postmortem has to tell.
NOTED: Mapping[str, str] = {
    "note": "Noted",
    "deploy": "Deployed",
    "onset": "Began, says a person",
    "recovered": "Calls well again, says a person",
    "detected": "Alert raised",
    "acknowledged": "Acknowledged",
    "cause_found": "Cause found",
    "mitigated": "Mitigated",
    "restored": "Service restored",
    "stable": "Confirmed stable",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One moment.

    Attributes:
        at: When, or the earliest it can have been.
        until: The latest it can have been; None if the moment is known.
        what: What happened, one line. May hold words that others wrote: escape it.
        source: Where that is to be read.
        lane: `calls` (what our calls met), `page` (what Klaviyo's page said), `us` (what we did and noted).
    """

    at: datetime
    until: datetime | None
    what: str
    source: str
    lane: Lane


@remembered
def entries(evidence: Evidence, document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Everything that carries a time, in order.

    Args:
        evidence: What was seen.
        document: The verdict as in `verdict.json`.
    """
    sources = (
        _calls(evidence, document), _versions(evidence), page(evidence), _alerted(evidence),
        _us(evidence, document), _watched(evidence),
    )  # fmt: skip
    kept = [entry for each in sources for entry in sorted(each, key=_order)[-MOST:]]
    return tuple(sorted([*kept, *_noted(evidence)], key=_order))


def under_way(evidence: Evidence) -> bool:
    """Did an incident begin before the first call that was read? Failures of which none is made are none."""
    return times_of(evidence).under_way and decide(evidence).cause != "healthy"


def unknown(evidence: Evidence) -> str:
    """Why no onset is told: nothing was found, which is not to say that nothing was looked at."""
    if series.counted(evidence) is None:
        return "No call was counted, so no onset is known"
    return "No onset was found in the window"


def milestones(evidence: Evidence) -> frozenset[str]:
    """What a postmortem has to tell and the evidence does: kinds of notes that are there, or seen instead."""
    told = set() if evidence.notes is None else set(evidence.notes["kind"])
    if evidence.metrics is not None and alerts(evidence.metrics)["began"].notna().any():
        told.add("detected")
    if evidence.watch is not None and evidence.watch["recovered"].fillna(False).any():
        told.add("stable")
    return frozenset(told)


def _order(entry: Entry) -> tuple[datetime, datetime]:
    return entry.at, entry.until or entry.at


def _calls(evidence: Evidence, document: Mapping[str, Any]) -> Iterator[Entry]:
    when = times_of(evidence)
    begun = parse_time(document["onset"]["earliest"]) if document.get("onset") else None
    past = before(evidence, begun)
    for began, ended in past:
        yield _change(began, "Calls begin to fail, in an earlier incident", "evidence/")
        yield _change(ended, "Calls succeed again, after an earlier incident", "evidence/")
    for name, what, moment in (
        ("onset", "Calls begin to fail", when.onset), ("recovered", "Calls succeed again", when.recovered)
    ):  # fmt: skip
        source = f"verdict.json, {name}{f': {told_by(moment)}' if moment else ''}"
        if moment and moment.written:  # which is told among the notes; what was counted is told beside it
            if moment.derived:
                counted = Interval(*whole_seconds(*moment.derived))
                yield _change(counted, f"{what}, as counted", f"evidence/, {told_by(moment)}")
        elif document.get(name):
            yield _change(Interval(*map(parse_time, document[name].values())), what, source)
    begins = [*(began.earliest for began, _ in past), *([begun] if begun else [])]
    yield from _failing_calls(evidence, min(begins, default=evidence.window.start))
    yield from _peak(evidence)


def _change(when: Interval, what: str, source: str) -> Entry:
    return Entry(when.earliest, when.latest if when.latest > when.earliest else None, what, source, "calls")


def told_by(moment: Moment) -> str:
    """`by logs and metrics, which agree`: whose estimates a moment rests on."""
    names = [each.source for each in moment.estimates if each.whole]
    both = "" if len(names) < 2 else ", which exclude each other" if moment.disagreement else ", which agree"
    return f"by {' and '.join(names)}{both}" if names else "by what was noted alone"


def before(evidence: Evidence, onset: datetime | None) -> list[tuple[Interval, Interval]]:
    """When incidents before `onset` began and ended; what nobody saw is the first or last failing call."""
    if onset is None:
        return []
    found = []
    for each in times_of(evidence).earlier:
        began, ended = each.onset or (each.seen[0],) * 2, each.recovered or (each.seen[1],) * 2
        if ended[0] <= onset:
            found.append((Interval(*whole_seconds(*began)), Interval(*whole_seconds(*ended))))
    return found


def _failing_calls(evidence: Evidence, since: datetime) -> Iterator[Entry]:
    """First and last failing call from the onset on, as the logs tell them."""
    if evidence.calls is None:
        return
    bad = evidence.calls[failure_kinds(evidence.calls).notna()]
    bad = bad[(bad["timestamp"] >= since) & (bad["timestamp"] < evidence.window.end)].sort_values(
        "timestamp", kind="stable"
    )
    kinds = bad.groupby(["status_code", "error_type"], dropna=False).ngroup()
    common = kinds.isin(kinds.value_counts().index[:MOST_KINDS])
    firsts = bad[common & ~kinds.duplicated()]
    firsts = firsts[~firsts.index.isin(bad.index[:1])]
    for name, rows in (("First failing call", bad.head(1)), ("First of its kind", firsts),
                       ("Last failing call", bad.iloc[1:].tail(1))):  # fmt: skip
        for row in plain_rows(rows):
            where = f" on {_line(row['endpoint'])}" if row["endpoint"] else ""
            yield Entry(
                row["timestamp"].to_pydatetime(), None, f"{name}: {_answer(row)}{where}", _cited(row), "calls"
            )


def _versions(evidence: Evidence) -> Iterator[Entry]:
    """Where the log's lines begin to tell another version of client library or API: as after a deploy."""
    if evidence.calls is None:
        return
    for column, what in (("sdk", "client library"), ("revision", "API revision")):
        told = evidence.calls[[column, "timestamp"]].dropna().sort_values("timestamp", kind="stable")
        firsts = told[column].drop_duplicates()
        product = firsts.str.split("/").str[0] if column == "sdk" else firsts.str[:0]
        later = firsts.index[product.duplicated()]
        if len(firsts) <= MOST_VERSIONS:
            for row in plain_rows(evidence.calls.loc[later]):
                said = f"First call with {what} {_line(row[column])}"
                yield Entry(row["timestamp"].to_pydatetime(), None, said, _cited(row), "us")


def _cited(row: Mapping[str, Any]) -> str:
    return f"{row['source']}:{row['line_no']}" if row["line_no"] is not None else str(row["source"])


def _peak(evidence: Evidence) -> Iterator[Entry]:
    counts = series.counted(evidence)
    worst = series.worst(series.by_class(counts, evidence.window)) if counts else None
    if counts and worst:
        until = worst.at + timedelta(seconds=series.bin_s(evidence.window))
        what = f"Most failures: {worst.failed:,} of {many(worst.calls, 'call')}"
        yield Entry(max(worst.at, evidence.window.start), until, what, counts.source, "calls")


def page(evidence: Evidence) -> Iterator[Entry]:
    """What Klaviyo's page said, an entry per post."""
    posts = evidence.status_page or {}
    for kind in ("incidents", "maintenances"):
        for post in posts.get(kind) or ():
            yield from _post(post, evidence)


def _post(post: Mapping[str, Any], evidence: Evidence) -> Iterator[Entry]:
    """The updates of one incident; where it has none, the incident itself."""
    name = _line(post.get("name"))
    for update in post.get("incident_updates") or (post,):
        at = _moment(update.get("display_at") or update.get("created_at") or post.get("started_at"))
        if at is None or not evidence.window.start - BEFORE <= at <= evidence.collected_at:
            continue
        body = _line(update.get("body"))
        said = f"{_line(update.get('status') or 'posted')}{f': {body}' if body else ''}"
        yield Entry(at, None, f"Klaviyo's page says {said}", f"status page, “{name}”", "page")


def _us(evidence: Evidence, document: Mapping[str, Any]) -> Iterator[Entry]:
    rows = evidence.probe_rows
    asked = min((row["checked_at"] for row in rows if row["checked_at"]), default=None)
    if asked:
        said = ", ".join(f"{row['probe'].replace('_', ' ')} {_answer(row)}" for row in rows)
        yield Entry(asked, None, f"Probes ask: {said}", "evidence/probes.csv", "us")
    level = f", {document['severity']}" if document.get("severity") else ""
    title = TITLES.get(document["cause"], document["cause"])
    yield Entry(evidence.collected_at, None, f"Verdict: {title}{level}", "verdict.json", "us")


def _watched(evidence: Evidence) -> Iterator[Entry]:
    """The rounds of `triage --watch` in which something changed."""
    if evidence.watch is None:
        return
    for row in evidence.watch.dropna(subset=["checked_at", "changes"]).to_dict("records"):
        at = row["checked_at"].to_pydatetime()
        yield Entry(at, None, f"Watching: {_line(row['changes'])}", "evidence/watch.csv", "us")


def _alerted(evidence: Evidence) -> Iterator[Entry]:
    """When alerts began to fire and ceased."""
    if evidence.metrics is None:
        return
    source = "evidence/metrics.csv, ALERTS"
    for row in plain_rows(alerts(evidence.metrics)):
        name = _line(row["alert"]) + (f" ({_line(row['severity'])})" if row["severity"] else "")
        if row["began"] is not None:
            yield Entry(row["began"].to_pydatetime(), None, f"Alert raised: {name}", source, "us")
        else:
            start = evidence.window.start
            yield Entry(start, None, f"Alert fires already: {name}", source, "us")
        if row["ended"] is not None:
            yield Entry(row["ended"].to_pydatetime(), None, f"Alert fires no more: {name}", source, "us")


def _noted(evidence: Evidence) -> Iterator[Entry]:
    if evidence.notes is None:
        return
    for row in plain_rows(evidence.notes.dropna(subset=["at", "text"]).head(MOST_NOTES)):
        written = f", written {row['written_at']:%H:%M:%S}" if row["written_at"] is not None else ""
        said = f"{NOTED.get(row['kind'], 'Noted')}: {_line(row['text'])}"
        source = f"evidence/notes.csv, {_line(row['who'] or 'nobody named')}{written}"
        yield Entry(row["at"].to_pydatetime(), None, said, source, "us")


def _answer(row: Mapping[str, Any]) -> str:
    return f"HTTP {row['status_code']}" if row["status_code"] is not None else _line(row["error_type"])


def _moment(text: object) -> datetime | None:
    try:
        return parse_time(str(text))
    except (UsageError, OverflowError):
        return None


def _line(text: object) -> str:
    """What others wrote, as one harmless line of bounded length."""
    return one_line(harmless("" if text is None else str(text)), LONGEST_POST)
