"""What `klaviyo-nb metrics` answers: read metrics and logs, then render as text or JSON."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import asdict, astuple, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb import logs
from klaviyo_nb.collect import context_of
from klaviyo_nb.coming import about, apart
from klaviyo_nb.commands.log_answers import as_json
from klaviyo_nb.diagnosis import decide, phases
from klaviyo_nb.diagnosis.harm import at_each_severity, burning, harm, touched
from klaviyo_nb.diagnosis.phases import Fixed, fixed
from klaviyo_nb.diagnosis.times import Times, times_of
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence, Gap, together
from klaviyo_nb.folder import load
from klaviyo_nb.lines import many
from klaviyo_nb.metrics.client import Fetched, fetch
from klaviyo_nb.metrics.impact import Impact
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.metrics.times import Moment
from klaviyo_nb.report import views
from klaviyo_nb.report.timeline import before, told_by
from klaviyo_nb.report.words import length, length_between, share
from klaviyo_nb.start import redactor_for, to_read, utc_now, window_of
from klaviyo_nb.window import Window, iso, whole_seconds

if TYPE_CHECKING:
    from klaviyo_nb.settings import Settings

METRICS_TIMEOUT_S = 60.0
#: What changed is told in so many lines of text.
MOST_CHANGED = 6


def need_metrics(settings: Settings) -> None:
    """Refuse to run without a metrics server.

    Raises:
        UsageError: None was given.
    """
    if not settings.metrics_url:
        raise UsageError(
            "URL", "no metrics server was given", "klaviyo-nb metrics http://localhost:9090 --since 2h"
        )


def look_at_metrics(settings: Settings) -> str:
    """The next command when the metrics server gave nothing: is it up?"""
    return f"curl -sS {shlex.quote(str(context_of(settings)['metrics_url']))}/-/ready"


def with_incident(found: Evidence, notes: pd.DataFrame | None, report: Path) -> Evidence:
    """The same with an incident's notes, which stand above it, and its report's probes of the window.

    Raises:
        EvidenceError: The report cannot be read.
    """
    rows = load(report).probe_rows if (report / "evidence").is_dir() else ()
    seen = tuple(row for row in rows if row["checked_at"] in found.window)
    return replace(found, notes=notes, probe_rows=seen)


def ask_metrics(settings: Settings, window: Window) -> Fetched:
    """Ask the settings' metrics server over a window."""
    return asyncio.run(
        fetch(
            str(settings.metrics_url),
            window,
            names=from_table(settings.metrics),
            token=settings.metrics_token,
            headers=settings.metrics.get("headers"),
            tls=settings.metrics.get("tls"),
            timeout_s=METRICS_TIMEOUT_S,
        )
    )


def read_metrics(settings: Settings) -> Evidence:
    """Ask the settings' metrics server over their window, and read the logs; nobody else is asked."""
    window = window_of(settings, utc_now())
    fetched = ask_metrics(settings, window)
    found = Evidence(
        window, window.end, metrics=fetched.frame, gaps=fetched.gaps, queries=fetched.queries,
        context=context_of(settings),
    )  # fmt: skip
    if not settings.logs:
        return found
    read = logs.read(
        settings.logs, to_read(window, utc_now()), redact=redactor_for(settings).text, progress=None,
        engine=settings.engine, formats=settings.log_format, limits=settings.limits, since=window.start,
    )  # fmt: skip
    earlier, calls = apart(read.calls, window)
    gaps = (Gap(each.source, each.gap) for each in read.coverage if each.gap)
    found = replace(found, coverage=about(read.coverage, earlier, window), gaps=(*found.gaps, *gaps))
    seen = any(each.lines for each in read.coverage)
    found = replace(found, collected_at=window.end if settings.end else utc_now())
    return replace(found, calls=calls, earlier=earlier) if seen else found


def render_metrics(found: Evidence, form: str) -> bytes:
    """Onset, recovery and impact as `text` or `json`."""
    when, repaired, harmed = times_of(found), fixed(found), harm(found)
    total = harmed.total if harmed else None
    reach, graded = views.reached(found), at_each_severity(found, decide(found).cause)
    spent = views.budget(found)
    if form == "json":
        seconds = {name: span.total_seconds() for name, span in graded.items()}
        more = {"touched": reach, "affected": _affected(found), "time_at_s": seconds}
        return as_json(_metrics_document(found, when, total, repaired) | more | _tables(found))
    start, end = found.window.as_json().values()
    spans = [f"{name} for {length(each)}" for name, each in graded.items()]
    unremarkable = "nothing stands out" if harmed else "not observed"
    lines = [
        f"began     {_moment_text(when.onset, 'under way before' if when.failed else unremarkable)}",
        *_told_by(when.onset),
        *_ended_text(when),
        *(f"earlier   {_span_text(*astuple(began))}, until {_span_text(*astuple(ended))}"
          for began, ended in before(found, when.onset.earliest if when.onset else None)),
        *([f"fixed     {repaired.says}"] if when.failed else []),
        *_impact_text(total),
        *([f"budget    {spent}"] if spent else []),
        *_burning_text(views.burning(found)),
        *_took_text(views.durations(found)),
        *_changed_text(views.changed(found)),
        *([f"touched   {reach}"] if reach else []),
        *([f"severity  {', '.join(spans)}"] if spans else []),
        *([f"counted   from {harmed.source}, as in the verdict"] if harmed else []),
        f"window    {start} to {end}",
        *(f"not seen  {gap.signal}: {gap.reason}" for gap in together(found.gaps)),
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _affected(found: Evidence) -> list[dict[str, Any]]:
    """Distinct things that failed calls name: `what`, `distinct`, `at_least`, `at_most`, `calls`."""
    told = touched(found)
    return _records(None if told is None else told.rows)


def _tables(found: Evidence) -> dict[str, list[dict[str, Any]]]:
    """What the notebook shows as tables: spans in seconds, shares as numbers."""
    return {
        "burn_rates": _records(burning(found)),
        "durations": _records(views.durations(found)),
        "changed": _records(phases.changed(found)),
        "slower": _records(phases.slower(found)),
    }


def _records(rows: pd.DataFrame | None) -> list[dict[str, Any]]:
    return [] if rows is None else [
        {str(name): _plain(value) for name, value in row.items()}
        for row in rows.astype(object).to_dict("records")
    ]  # fmt: skip


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.total_seconds() if isinstance(value, timedelta) else value


def _moment_text(moment: Moment | None, otherwise: str) -> str:
    return otherwise if moment is None else _span_text(moment.earliest, moment.latest)


def _span_text(earliest: datetime, latest: datetime) -> str:
    return " to ".join(dict.fromkeys(map(iso, whole_seconds(earliest, latest))))


def _ended_text(when: Times) -> list[str]:
    """When it ended; nothing where nothing began, for then there is no end to look for."""
    if not when.failed and when.onset is None and when.recovered is None:
        return []
    otherwise = "goes on" if when.ongoing else "not observed"
    return [f"ended     {_moment_text(when.recovered, otherwise)}", *_told_by(when.recovered)]


def _told_by(moment: Moment | None) -> list[str]:
    """Whether the estimates agree, and, if they do not, each of them; what a person wrote."""
    if moment is None:
        return []
    whole = [each for each in moment.estimates if each.whole]
    lines = [f"          {told_by(moment)}"] if whole else []
    if moment.disagreement:
        lines += [f"          {each.source:<8}{_span_text(*each.whole)}" for each in whole if each.whole]
    if moment.written:
        lines.insert(0, f"          {views.written(moment.written)}")
        lines += [f"          derived {_span_text(*moment.derived)}"] if moment.derived else []
    return lines


def _impact_text(total: Impact | None) -> list[str]:
    if total is None or total.failed_calls is None:
        return ["impact    not observed"]
    if total.calls is None or total.share is None:
        return [f"impact    {total.failed_calls:,} calls failed, of how many is not known"]
    peak = "" if total.peak_share is None else f", {share(total.peak_share, 1)} in the worst 5 minutes"
    told = f"{total.failed_calls:,} of {many(total.calls, 'call')} failed, {share(total.share, 1)}{peak}"
    return [f"impact    {told}"]


def _burning_text(rates: pd.DataFrame | None) -> list[str]:
    """Each burn rate in its two windows; those whose window was not observed are named."""
    if rates is None:
        return []
    known = rates[rates["burning"].notna()]
    lines = [
        f"{each.long_rate:,.1f} in {each.long}, {each.short_rate:,.1f} in {each.short}:"
        f" {'' if each.burning else 'not '}over {each.factor:g}"
        for each in known.itertuples()
    ]
    left = [f"{each.factor:g} ({each.long})" for each in rates[rates["burning"].isna()].itertuples()]
    return _under(
        "burning", lines + ([f"not known, for less than that was seen: {', '.join(left)}"] if left else [])
    )


def _took_text(took: pd.DataFrame) -> list[str]:
    lines = []
    for each in took[took["at_least"].notna()].to_dict("records"):
        spent = length_between(each["at_least"], each["at_most"])
        lines.append(f"{each['what']} {spent}, from {each['from']} to {each['to']}")
    return _under("took", lines)


def _changed_text(changes: pd.DataFrame | None) -> list[str]:
    """Shares that failed before, during and after: the first few, and how many there are besides."""
    if changes is None:
        return []
    lines = [
        f"{each.of} failed {each.before} before, {each.during} during, {each.after} after: {each.change}"
        for each in changes.head(MOST_CHANGED).itertuples()
    ]
    more = len(changes) - len(lines)
    return _under("changed", lines + ([f"and {more} more (--format json)"] if more > 0 else []))


def _under(name: str, lines: list[str]) -> list[str]:
    """Lines under one name, which stands before the first."""
    return [f"{name if not number else '':<10}{line}" for number, line in enumerate(lines)]


def _metrics_document(found: Evidence, when: Times, total: Impact | None, repaired: Fixed) -> dict[str, Any]:
    nothing = dict.fromkeys(("failed_calls", "calls", "share", "peak_share", "budget_spent"))
    return {
        "schema": "klaviyo-nb/metrics/1",
        "window": found.window.as_json(),
        "onset": _between(when.onset),
        "recovered": _between(when.recovered),
        "ongoing": when.ongoing,
        "fixed": {
            "answer": repaired.answer,
            "says": repaired.says,
            "wait_s": repaired.wait and repaired.wait.total_seconds(),
        },
        "impact": asdict(total) if total else nothing,
        "estimates": _estimates(when.onset),
        "recovered_estimates": _estimates(when.recovered),
        "disagreement": when.onset.disagreement if when.onset else None,
        "written": _written(when.onset),
        "recovered_written": _written(when.recovered),
        "gaps": [asdict(gap) for gap in found.gaps],
    }


def _estimates(moment: Moment | None) -> list[dict[str, Any]]:
    return [
        {
            "from": each.source,
            "earliest": iso(each.earliest) if each.earliest else None,
            "latest": iso(each.latest) if each.latest else None,
            "because": each.because,
        }
        for each in (moment.estimates if moment else ())
    ]


def _written(moment: Moment | None) -> dict[str, Any] | None:
    """Who wrote it down, when, and why; None if it was derived."""
    if moment is None or moment.written is None:
        return None
    told = moment.written
    return {"who": told.who, "written_at": told.written_at and iso(told.written_at), "why": told.why}


def _between(moment: Moment | None) -> dict[str, str] | None:
    return Interval(*whole_seconds(moment.earliest, moment.latest)).as_json() if moment else None
