"""When windows of rate limits were used up, as a mark below the axis of a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klaviyo_nb.report.axis import clock, moment
from klaviyo_nb.report.charts.sheets import length
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.views import broken
from klaviyo_nb.report.words import shortened

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.report.canvas import Sheet
    from klaviyo_nb.window import Window

#: Stretches in which a limit was used up that are told in words.
MOST_TOLD = 6


def used_up(sheet: Sheet, axes: Any, evidence: Evidence) -> tuple[str, list[tuple[Any, Any]]]:
    """Mark below the axis when windows of limits were used up, and say which.

    Returns:
        `Used up: … `, or nothing if none was; start and end of each stretch that is marked.
    """
    found = broken(evidence)
    if found.empty:
        return "", []
    times = _together(found, evidence.window)
    inch = 1 / (axes.get_position().height * sheet.height)
    axes.broken_barh(
        [(start, end - start) for start, end in times], (-0.117 * inch, 0.09 * inch),
        transform=axes.get_xaxis_transform(), color=LIGHT["ink"], lw=0, clip_on=False,
    )  # fmt: skip
    axes.tick_params(axis="x", pad=10)
    lengths: dict[str, set[int]] = {}
    for method, path, window_s in found[["method", "endpoint", "window_s"]].to_numpy():
        lengths.setdefault(f"{method} {path}", set()).add(window_s)
    told = [f"{name} per {' and '.join(map(length, sorted(each)))}" for name, each in lengths.items()]
    which = shortened(next(iter(lengths)), 23) if len(told) == 1 else f"{len(told)} endpoints"
    sheet.write(0.12, sheet.height - 0.215, f"▬ limit used up: {which}")
    spans = [f"{moment(start, evidence.window)}–{clock(end)}" for start, end in times[:MOST_TOLD]]
    rest = f" and {len(times) - MOST_TOLD} more times" if len(times) > MOST_TOLD else ""
    return f"Used up: {'; '.join(told)}, at {', '.join(spans)}{rest}. ", times


def _together(found: pd.DataFrame, window: Window) -> list[tuple[Any, Any]]:
    """Stretches within the window, by start; those too close to be seen apart are one, none is too thin."""
    least = (window.end - window.start) / 200
    times: list[tuple[Any, Any]] = []
    for start, end in zip(found["start"], found["end"], strict=True):
        start = max(start, window.start)
        end = min(max(end, start + least), window.end)
        if times and start <= times[-1][1] + least:
            start, end = times[-1][0], max(end, times.pop()[1])
        times.append((start, end))
    return times
