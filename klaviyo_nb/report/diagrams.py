"""Two drawings that are no plots: the timeline, and the decision tree with the path taken."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D

from klaviyo_nb.diagnosis.tree import TREE, Question
from klaviyo_nb.lines import many, one_line
from klaviyo_nb.report import series
from klaviyo_nb.report.axis import clock, is_long, plot
from klaviyo_nb.report.canvas import BEHIND, FONT, LEFT, PER_LINE, RIGHT, WIDTH, Drawn, Sheet, drawable
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.timeline import Entry, before, entries, under_way, unknown
from klaviyo_nb.report.words import duration
from klaviyo_nb.window import iso, parse_time, same_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Cause, Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Lane → role of its colour, and its name.
_LANES = {
    "calls": ("server", "our calls"),
    "page": ("series", "Klaviyo's page"),
    "us": ("muted", "our side"),
}
_ROW, _ENTRY, _SKYLINE = 0.172, 0.235, 0.5
#: What the skyline takes of its place at most; its words are above it.
_HIGH = 0.62
#: An entry this far outside the window is drawn on its edge as if it were there.
_NEAR = timedelta(minutes=1)


def timeline(evidence: Evidence, verdict: Verdict) -> Drawn:
    """A row per entry on one UTC axis; the numbers are those of the list of entries."""
    document = _document(verdict)
    told = entries(evidence, document)
    rows = _ENTRY * len(told) + 0.1
    sheet, axes = plot(
        _headline(evidence, document), list(_LANES.values()), "", evidence, verdict, rows + _SKYLINE
    )
    axes.set_ylim(rows + _SKYLINE, 0)
    axes.grid(visible=False)
    axes.set_yticks([])
    _skyline(axes, evidence, rows + _SKYLINE)
    for number, entry in enumerate(told, 1):
        _mark(axes, number, entry, _ENTRY * (number - 0.5) + 0.05, evidence.window)
    frame = pd.DataFrame(
        [(n, iso(e.at), iso(e.until) if e.until else None, e.what, e.source) for n, e in enumerate(told, 1)],
        columns=["number", "at", "until", "what", "source"],
    )
    return sheet.drawn(_timeline_alt(told, evidence.window), frame)


def _document(verdict: Verdict) -> dict[str, object]:
    """As much of the verdict's document as the timeline reads."""
    return {
        "window": verdict.window.as_json(),
        "cause": verdict.cause,
        "severity": verdict.severity,
        "onset": verdict.onset and verdict.onset.as_json(),
        "recovered": verdict.recovered and verdict.recovered.as_json(),
        "facts": verdict.facts,
    }


def _headline(evidence: Evidence, document: Mapping[str, Any]) -> str:
    if lasted := duration(document):
        past = len(before(evidence, parse_time(document["onset"]["earliest"])))
        earlier = f", after {many(past, 'earlier incident')}" if past else ""
        return f"Failures lasted {lasted}{earlier}"
    if under_way(evidence):
        return "Failures began before what was read"
    return unknown(evidence)


def _skyline(axes: Axes, evidence: Evidence, floor: float) -> None:
    """The failing share of calls, as a skyline on the axis."""
    counts = series.counted(evidence)
    if counts is None:
        return
    calls = series.by_class(counts, evidence.window)
    share = (series.failures(calls) / calls.sum(axis=1)).fillna(0.0)
    top = floor - _SKYLINE * _HIGH * share
    axes.fill_between(share.index, floor, top, step="post", color=LIGHT["server"], lw=0)
    axes.annotate(
        "share of calls failing", (0, floor), xycoords=("axes fraction", "data"),
        xytext=(0, 72 * _SKYLINE * _HIGH + 1.5), textcoords="offset points", size=8, color=LIGHT["muted"],
        family=FONT, bbox=BEHIND, zorder=4,
    )  # fmt: skip


def _mark(axes: Any, number: int, entry: Entry, y: float, window: Window) -> None:
    """One entry: a numbered mark, a bar as long as the time is unsure, and its words beside it."""
    role, _ = _LANES[entry.lane]
    start = min(max(entry.at, window.start), window.end)
    end = min(max(entry.until or start, start), window.end)
    axes.plot([start, end], [y, y], color=LIGHT[role], lw=3, solid_capstyle="butt")
    over: dict[str, Any] = {"zorder": 5}  # the dashed lines of deploys and posts
    axes.plot([start], [y], "o", markersize=11, color=LIGHT[role], markeredgewidth=0, clip_on=False, **over)
    style: dict[str, Any] = {"va": "center", "parse_math": False, "family": FONT}
    axes.text(
        start, y + 0.005, f"{number}", size=7.5 if number < 10 else 6.5, ha="center", color=LIGHT["paper"],
        weight="bold", **over, **style,
    )  # fmt: skip
    before, after = start - window.start, window.end - end
    to_the_right = after > before
    inch = (window.end - window.start) / (WIDTH - LEFT - RIGHT)
    room = max(before, after) / inch + (RIGHT if to_the_right else LEFT) - 0.22
    said = _when_outside(entry, window) + entry.what
    axes.annotate(
        one_line(drawable(said), max(12, int(room / 0.063))),
        (end if to_the_right else start, y),
        xytext=(9 if to_the_right else -9, 0),
        textcoords="offset points",
        ha="left" if to_the_right else "right",
        size=8.5,
        color=LIGHT["ink"],
        bbox=BEHIND,
        zorder=4,
        **style,
    )


def _when_outside(entry: Entry, window: Window) -> str:
    """`← 04:12:00 `, for an entry so far outside the window that its place on the edge is not its time."""
    if window.start - _NEAR <= (entry.until or entry.at) and entry.at <= window.end + _NEAR:
        return ""
    return f"{'←' if entry.at < window.start else '→'} {same_day(window.end, entry.at)} "


def _timeline_alt(told: Sequence[Entry], window: Window) -> str:
    said = "; ".join(f"{number}. {_dated(each, window)} {each.what}" for number, each in enumerate(told, 1))
    return f"{many(len(told), 'entry', 'entries')}: {said}."


def _dated(entry: Entry, window: Window) -> str:
    """Its time; with the day where the window has that time twice, or does not hold it."""
    at = entry.at.astimezone(UTC)
    known = window.start - _NEAR <= at <= window.end + _NEAR and not is_long(window)
    return clock(at) if known else f"{at.day} {at:%b} {clock(at)}"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the drawn tree: its depth, what stands there, whether the path goes through it."""

    depth: int
    text: str
    taken: bool
    leaf: bool


def decision_path(_evidence: Evidence, verdict: Verdict) -> Drawn:
    """The whole tree as an outline; the path taken is dark, the rest is grey."""
    lines = [
        (line, textwrap.wrap(line.text, PER_LINE + 10 - 3 * line.depth)) for line in _outline(TREE, verdict)
    ]
    height = sum(_ROW * len(wrapped) + 0.05 for _, wrapped in lines)
    sheet = Sheet(f"{len(verdict.path)} questions lead to {verdict.cause}", height + 0.2)
    y = sheet.top
    corners: dict[int, float] = {}
    for line, wrapped in lines:
        if line.depth:
            _connect(sheet, line, corners[line.depth - 1], y + 0.08)
        sheet.write(
            0.12 + 0.2 * line.depth, y, "\n".join(wrapped), linespacing=1.25,
            color=LIGHT["ink" if line.taken else "muted"],
            weight="bold" if line.taken and line.leaf else "normal",
        )  # fmt: skip
        y += _ROW * len(wrapped) + 0.05
        corners[line.depth] = y - 0.04
    told = ". ".join(
        f"{step.question} {step.answer}{f' ({step.because})' if step.because else ''}"
        for step in verdict.path
    )
    table = pd.DataFrame(
        [(s.question, s.answer, s.because, " ".join(s.evidence)) for s in verdict.path],
        columns=["question", "answer", "because", "evidence"],
    )
    return sheet.drawn(f"{told}. So the verdict is {verdict.cause}.", table)


def _outline(
    node: Question | Cause, verdict: Verdict, depth: int = 0, answer: str = "", taken: bool = True
) -> Iterator[_Line]:
    if not isinstance(node, Question):
        unproven = f", not proven: {verdict.cause}" if taken and node != verdict.cause else ""
        yield _Line(depth, f"{answer} → {node}{unproven}", taken, leaf=True)
        return
    yield _Line(depth, f"{answer}: {node.text}" if answer else node.text, taken, leaf=False)
    given = next((step.answer for step in verdict.path if step.question == node.text), None)
    walked = node.unknown if given == "unknown" else given
    for each, branch in node.branches.items():
        label = f"not answered, taken as {each}" if given == "unknown" and each == walked else each
        yield from _outline(branch, verdict, depth + 1, label, taken and each == walked)


def _connect(sheet: Sheet, line: _Line, start: float, end: float) -> None:
    """An elbow from the question above, which ends at `start` [in from the top], to this line at `end`."""
    x = 0.12 + 0.2 * (line.depth - 1) + 0.06
    xs, ys = [x / WIDTH, x / WIDTH, (x + 0.1) / WIDTH], [1 - y / sheet.height for y in (start, end, end)]
    role, width, order = ("ink", 1.8, 3) if line.taken else ("line", 1, 1)
    sheet.figure.add_artist(Line2D(xs, ys, color=LIGHT[role], lw=width, zorder=order))
