"""`index.html`: the whole report in one file that runs no script and loads nothing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from klaviyo_nb.diagnosis.probed import is_well
from klaviyo_nb.diagnosis.shares import is_noise
from klaviyo_nb.diagnosis.thresholds import from_table
from klaviyo_nb.diagnosis.times import written_of
from klaviyo_nb.evidence import in_short, together
from klaviyo_nb.lines import many
from klaviyo_nb.report import series
from klaviyo_nb.report.look import CSP, PAGES, css
from klaviyo_nb.report.texts import findings, unseen
from klaviyo_nb.report.timeline import Entry, entries
from klaviyo_nb.report.views import written
from klaviyo_nb.report.words import TITLES, badge_and_tone, duration, share
from klaviyo_nb.window import iso, parse_time, same_day, stamp

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Coverage, Evidence
    from klaviyo_nb.report.made import Made, NotebookRun, Said, SavedChart
    from klaviyo_nb.window import Window

#: Rows of the table of endpoints.
MOST_ENDPOINTS = 12
#: Folder of a log: on a phone it would be most of what is seen; timeline.csv and the log sources have it.
_PLACE = re.compile(r"^/(?:[^/]+/)+")
_WITHIN = {"P1": "in 15 minutes", "P2": "in 1 hour", "P3": "in 4 hours", "P4": "on the next working day"}


#: One row of a table: is it bad, and its cells.
Row = tuple[bool, Sequence[str]]


def render(
    evidence: Evidence,
    document: Mapping[str, Any],
    *,
    incident: str,
    lead: str | None = None,
    charts: Sequence[SavedChart] = (),
    answers: Sequence[Said] = (),
    notebooks: Sequence[NotebookRun] = (),
    messages: Mapping[str, str] | None = None,
    problems: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        evidence: What was seen.
        document: The verdict as in `verdict.json`.
        incident: Name of the incident.
        lead: Who leads; None is shown as a blank.
        charts: As `charts.save_all` returned them; those that are missing are left out.
        answers: What the logs answer; none if no log was read.
        notebooks: How each notebook went; pages are linked as `notebooks/NAME.html`.
        messages: Name → text of each drafted message.
        problems: What went wrong while the report was made, one line each.
    """
    badge, tone = badge_and_tone(document["cause"], document["severity"])
    return PAGES.get_template("index.html.j2").render(
        csp=CSP,
        css=Markup(css()),  # noqa: S704 - our own file, no value in it
        document=document,
        titles=TITLES,
        incident=incident,
        lead=lead,
        tone=tone,
        badge=badge,
        respond=_respond(document, evidence),
        window=_extent(evidence.window),
        figures=list(_figures(document, evidence)),
        problems=problems,
        rivals=_rivals(document),
        events=[_event(entry, evidence) for entry in entries(evidence, document)],
        charts={chart.name: _picture(chart) for chart in charts},
        endpoints=list(_endpoints(evidence)),
        probes=[_probe(row) for row in document["probes"]],
        answers=answers,
        gaps=sorted(together(evidence.gaps), key=lambda gap: not gap.configured),
        findings=findings(evidence),
        coverage=[_coverage(each) for each in in_short(evidence.coverage)],
        messages=sorted((messages or {}).items()),
        notebooks=notebooks,
        collected=stamp(evidence.collected_at),
        version=evidence.context.get("tool_version") or "(version unknown)",
        budget=f"{evidence.budget.api_calls} of {evidence.budget.allowed} allowed requests to Klaviyo's API.",
    )


def page(
    evidence: Evidence,
    made: Made,
    runs: Sequence[NotebookRun],
    *,
    incident: str,
    lead: str | None,
    problems: Sequence[str],
) -> str:
    """`render` of what was made: the same arguments give the same page."""
    drafts = {Path(name).stem: text for name, text in made.texts.items() if name.startswith("messages/")}
    return render(
        evidence, json.loads(made.texts["verdict.json"]), incident=incident, lead=lead, charts=made.charts,
        answers=made.answers, notebooks=runs, messages=drafts, problems=problems,
    )  # fmt: skip


def _respond(document: Mapping[str, Any], evidence: Evidence) -> str | None:
    """`Respond by 08:00 UTC (Mon 09:00 Europe/Berlin), in 1 hour`."""
    if not document["respond_by"]:
        return None
    due = parse_time(document["respond_by"])
    zone, local = str((evidence.context.get("organisation") or {}).get("timezone") or "UTC"), ""
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):  # whoever wrote the evidence chose the name
        local = "" if zone == "UTC" else f" ({due.astimezone(ZoneInfo(zone)):%a %H:%M} {zone})"
    day = "" if due - evidence.collected_at < timedelta(hours=12) else f"{due:%a %d %b} "
    return f"Respond by {day}{due:%H:%M} UTC{local}, {_WITHIN.get(document['severity'], '')}"


def _rivals(document: Mapping[str, Any]) -> list[tuple[str | None, str | None, list[str]]]:
    """Why they are still possible, what would tell, and the causes of which both is true."""
    found: dict[tuple[str | None, str | None], list[str]] = {}
    for each in document["rival_details"]:
        found.setdefault((each["because"], each["ask"]), []).append(each["cause"])
    return [(*alike, causes) for alike, causes in found.items()]


def _extent(window: Window) -> str:
    return f"{stamp(window.start)} to {same_day(window.start, window.end)} UTC"


def _figures(document: Mapping[str, Any], evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """What a lead wants to know first: label, value, and a line below it."""
    facts = document["facts"]
    calls, failed, source = facts.get("calls"), facts.get("failed_calls"), facts.get("counted_from")
    if facts.get("since_calls") and source != "probes":  # what the summary tells of
        since = f"{facts['since_failed']:,} of {many(facts['since_calls'], 'call')}"
        yield "Failing since it began", share(facts["since_failed"], facts["since_calls"]) or "unknown", since
    elif facts.get("last_calls") and source != "probes":
        lately = f"{facts['last_failed']:,} of {facts['last_calls']:,} at the end of the window"
        yield "Calls failing lately", share(facts["last_failed"], facts["last_calls"]) or "unknown", lately
    counts = series.counted(evidence)
    known = f"{failed:,} of {calls:,}, counted from {counts.source}" if calls and counts else None
    yield "In the whole window", share(failed, calls) or "unknown", known or "no call was counted"
    onset, recovered = document["onset"], document["recovered"]
    yield _bounds("onset", onset, evidence) if onset else ("Began", unseen(evidence)[0], "")
    if onset or recovered:
        label, ended, by = (
            _bounds("recovered", recovered, evidence) if recovered else ("Ended", "not seen to end", "")
        )
        lasted = f"lasted {duration(document)}" if onset else ""
        yield label, ended, "; ".join(filter(None, (lasted, by)))
    rivals = len(document["rivals"])
    open_causes = f"{many(rivals, 'other cause')} possible" if rivals else "no other cause is left open"
    yield "Verdict is", document["certainty"] or "undecided", open_causes


def _bounds(name: str, interval: Mapping[str, str], evidence: Evidence) -> tuple[str, str, str]:
    """`Began between`, `06:19 and 06:21 UTC`, dated where it is not the window's last day; who wrote it."""
    note, what = written_of(evidence, name), {"onset": "Began", "recovered": "Ended"}[name]
    by = written(note) if note else ""
    both = (same_day(evidence.window.end, parse_time(interval[end])) for end in ("earliest", "latest"))
    earliest, latest = (text.removesuffix(":00") for text in both)
    if earliest == latest:
        return what, f"{earliest} UTC", by
    return f"{what} between", f"{earliest} and {latest} UTC", by


def _event(entry: Entry, evidence: Evidence) -> dict[str, str]:
    first = same_day(evidence.window.end, entry.at)
    until = f" to {same_day(entry.at, entry.until)}" if entry.until else ""
    return {
        "iso": iso(entry.at),
        "time": first + until,
        "what": entry.what,
        "source": _PLACE.sub("…/", entry.source),
    }


def _picture(chart: SavedChart) -> dict[str, Any]:
    """What the page needs to embed a chart, its SVG as a data URI."""
    svg = base64.b64encode(chart.svg.read_bytes()).decode()
    return asdict(chart) | {"data": f"data:image/svg+xml;base64,{svg}"}


def _endpoints(evidence: Evidence) -> Iterator[Row]:
    """Endpoint, calls, failed calls, their share; marked where more fail than is noise to the verdict."""
    counts, limits = series.counted(evidence), from_table(evidence.context.get("thresholds") or {})
    for each in series.endpoint_totals(counts, evidence.window)[:MOST_ENDPOINTS] if counts else ():
        part = share(each.failed, each.calls) or "–"
        bad = not is_noise(each.failed, each.calls, limits)
        yield bad, (each.endpoint, f"{each.calls:,}", f"{each.failed:,}", part)


def _probe(row: Mapping[str, Any]) -> Row:
    """Probe, answer, by whom, how long it took, what was said, request id."""
    status, took = row["status_code"], row["duration_s"]
    answer = f"HTTP {status}" if status is not None else f"none: {row['error_type'] or 'unknown'}"
    said = "; ".join(str(row[name]) for name in ("state", "error_code", "detail") if row[name])
    time = None if took is None else f"{took * 1000:.0f} ms"
    cells = (row["probe"], answer, row["answered_by"], time, said, row["request_id"])
    return not is_well(row), [str(cell or "–") for cell in cells]


def _coverage(each: Coverage) -> Row:
    """Source, span that was got, lines, calls, lines not understood, trouble."""
    trouble = "; ".join(text for text in (each.gap, "cut short" if each.truncated else None) if text)
    counts = (f"{count:,}" for count in (each.lines, each.calls, each.unparsed))
    got = _extent(each.got) if each.got else "–"
    return bool(trouble), (each.source, got, *counts, trouble or "–")
