"""Two drawings that are no plots: the timeline, and the decision tree with the path taken."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.lines import Line2D

from klaviyo_nb.diagnosis.tree import TREE, Question
from klaviyo_nb.report import series
from klaviyo_nb.report.canvas import (
    BOTTOM,
    PER_LINE,
    RIGHT,
    WIDTH,
    Drawn,
    Sheet,
    clock,
    drawable,
    seconds,
    shade,
    time_axis,
    when,
)
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.timeline import Entry, entries
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Cause, Verdict
    from klaviyo_nb.evidence import Evidence

#: Lane → role of its colour, and its name.
_LANES = {
    "calls": ("server", "our calls"),
    "page": ("series", "Klaviyo's page"),
    "us": ("muted", "this tool"),
}
_ROW, _ENTRY, _SKYLINE = 0.172, 0.235, 0.35


def message(title: str, alt: str) -> Drawn:
    """A sheet that says in words why there is nothing to see."""
    lines = textwrap.wrap(drawable(alt.removeprefix(f"{title}: ")), 60)[:12]
    sheet = Sheet(title, 0.15 + 0.18 * len(lines))
    sheet.write(0.12, sheet.top, "\n".join(lines), color=LIGHT["muted"], linespacing=1.35)
    return Drawn(sheet.figure, alt, pd.DataFrame({"not_observed": [alt]}))


def timeline(evidence: Evidence, verdict: Verdict) -> Drawn:
    """A row per entry on one UTC axis; the numbers are those of the list of entries."""
    told = entries(evidence, _document(verdict))
    window = _span(told, verdict.window)
    rows = _ENTRY * len(told) + 0.1
    sheet = Sheet(_headline(verdict), rows + _SKYLINE + BOTTOM, list(_LANES.values()))
    axes = sheet.axes(sheet.top, rows + _SKYLINE, left=RIGHT)
    axes.set_ylim(rows + _SKYLINE, 0)
    axes.grid(visible=False)
    axes.set_yticks([])
    _skyline(axes, evidence, window, rows + _SKYLINE)
    shade(axes, verdict, window=window, label=False)
    for number, entry in enumerate(told, 1):
        _mark(axes, number, entry, _ENTRY * (number - 0.5) + 0.05, window)
    time_axis(axes, window)
    frame = pd.DataFrame(
        [(n, iso(e.at), iso(e.until) if e.until else None, e.what, e.source) for n, e in enumerate(told, 1)],
        columns=["number", "at", "until", "what", "source"],
    )
    return Drawn(sheet.figure, _timeline_alt(told, verdict), frame)


def _document(verdict: Verdict) -> dict[str, object]:
    """As much of the verdict's document as the timeline reads."""
    return {
        "cause": verdict.cause,
        "severity": verdict.severity,
        "onset": verdict.onset and verdict.onset.as_json(),
        "recovered": verdict.recovered and verdict.recovered.as_json(),
        "facts": verdict.facts,
    }


def _headline(verdict: Verdict) -> str:
    said = when(verdict)
    return f"{said[0].upper()}{said[1:]}" if said else "No onset was found in this window"


def _span(told: Sequence[Entry], window: Window) -> Window:
    """The window, longer where entries lie outside, by its own length at most."""
    length = window.end - window.start
    first = max(min((each.at for each in told), default=window.start), window.start - length)
    last = min(max((each.until or each.at for each in told), default=window.end), window.end + length)
    return Window(min(first, window.start), max(last, window.end))


def _skyline(axes: Axes, evidence: Evidence, window: Window, floor: float) -> None:
    """The failing share of calls, as a skyline on the axis."""
    counts = series.counted(evidence)
    if counts is None:
        return
    table = series.by_class(counts, evidence.window)
    calls = table.sum(axis=1)
    share = (table.drop(columns="succeeded", errors="ignore").sum(axis=1) / calls.where(calls > 0)).fillna(
        0.0
    )
    x = [seconds(window, moment) for moment in share.index]
    axes.fill_between(x, floor, floor - _SKYLINE * 0.9 * share, step="post", color=LIGHT["server"], lw=0)


def _mark(axes: Axes, number: int, entry: Entry, y: float, window: Window) -> None:
    """One entry: a numbered mark, a bar as long as the time is unsure, and its words beside it."""
    role, _ = _LANES[entry.lane]
    x = min(max(seconds(window, entry.at), 0.0), window.seconds)
    end = min(max(seconds(window, entry.until), x), window.seconds) if entry.until else x
    per_inch = window.seconds / (WIDTH - 2 * RIGHT)
    axes.plot([x, end], [y, y], color=LIGHT[role], lw=3, solid_capstyle="butt")
    axes.plot([x], [y], "o", markersize=11, markerfacecolor=LIGHT[role], markeredgewidth=0, clip_on=False)
    axes.text(
        x, y + 0.005, str(number), size=7.5, ha="center", va="center", color=LIGHT["paper"], weight="bold"
    )
    left, right = x - 0.12 * per_inch, end + 0.12 * per_inch
    fits_right = window.seconds - right > left
    room = (window.seconds - right if fits_right else left) / per_inch + RIGHT - 0.1
    axes.text(
        right if fits_right else left,
        y,
        textwrap.shorten(drawable(entry.what), max(12, int(room / 0.068)), placeholder=" …"),
        ha="left" if fits_right else "right",
        va="center",
        size=8.5,
        color=LIGHT["ink"],
        parse_math=False,
    )


def _timeline_alt(told: Sequence[Entry], verdict: Verdict) -> str:
    said = "; ".join(f"{number}. {clock(each.at)} {each.what}" for number, each in enumerate(told, 1))
    return f"{_headline(verdict)}. {len(told)} entries: {said}."


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the drawn tree: its depth, its answer, its text, and whether the path goes through it."""

    depth: int
    answer: str
    text: str
    taken: bool
    leaf: bool


def decision_path(_evidence: Evidence, verdict: Verdict) -> Drawn:
    """The whole tree as an outline; the path taken is dark, the rest is grey."""
    answers = {step.question: step.answer for step in verdict.path}
    lines = [(line, _wrapped(line, verdict.cause)) for line in _outline(TREE, 0, "", answers, taken=True)]
    height = sum(_ROW * len(wrapped) + 0.05 for _, wrapped in lines)
    sheet = Sheet(f"{len(verdict.path)} questions lead to {verdict.cause}", height + 0.2)
    y = sheet.top
    corners: dict[int, float] = {}
    for line, wrapped in lines:
        _connect(sheet, line, y, corners)
        _outline_text(sheet, line, wrapped, y)
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
    return Drawn(sheet.figure, f"{told}. So the verdict is {verdict.cause}.", table)


def _outline(
    node: Question | Cause, depth: int, answer: str, answers: dict[str, str], *, taken: bool
) -> Iterator[_Line]:
    if not isinstance(node, Question):
        yield _Line(depth, answer, node, taken, leaf=True)
        return
    yield _Line(depth, answer, node.text, taken, leaf=False)
    given = answers.get(node.text)
    walked = node.unknown if given == "unknown" else given
    for each, branch in node.branches.items():
        label = f"not answered, taken as {each}" if given == "unknown" and each == walked else each
        yield from _outline(branch, depth + 1, label, answers, taken=taken and each == walked)


def _wrapped(line: _Line, cause: Cause) -> list[str]:
    text = f"{line.answer}: {line.text}" if line.answer else line.text
    if line.leaf:
        text = f"{line.answer} → {line.text}"
        if line.taken and line.text != cause:
            text += f", not proven: {cause}"
    return textwrap.wrap(text, PER_LINE + 10 - 3 * line.depth)


def _connect(sheet: Sheet, line: _Line, y: float, corners: dict[int, float]) -> None:
    """An elbow from the question above to this line."""
    if not line.depth:
        return
    x, start, middle = 0.12 + 0.2 * (line.depth - 1) + 0.06, corners[line.depth - 1], y + 0.08
    style = (
        {"color": LIGHT["ink"], "lw": 1.8, "zorder": 3}
        if line.taken
        else {"color": LIGHT["line"], "lw": 1, "zorder": 1}
    )
    points = [(x, start), (x, middle), (x + 0.1, middle)]
    xs, ys = [px / WIDTH for px, _ in points], [1 - py / sheet.height for _, py in points]
    sheet.figure.add_artist(Line2D(xs, ys, **style))  # type: ignore[arg-type]


def _outline_text(sheet: Sheet, line: _Line, wrapped: list[str], y: float) -> None:
    weight = "bold" if line.taken and line.leaf else "normal"
    colour = LIGHT["ink"] if line.taken else LIGHT["muted"]
    sheet.write(0.12 + 0.2 * line.depth, y, "\n".join(wrapped), color=colour, weight=weight, linespacing=1.25)
