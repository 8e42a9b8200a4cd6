"""What charts over the window share: a sheet with axes, one that says why it is empty, words for times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from klaviyo_nb.report.canvas import Drawn, Sheet, clock, days, message, shade, span, time_axis
from klaviyo_nb.report.look import LIGHT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window


def plot(headline: str, key: Sequence[tuple[str, str]], unit: str, verdict: Verdict) -> tuple[Sheet, Axes]:
    """A sheet with one pair of axes over the window, the incident shaded."""
    sheet = Sheet(headline, 2.3, key)
    sheet.write(0.12, sheet.top, unit, color=LIGHT["muted"])
    axes = sheet.axes(sheet.top + 0.42, 1.38)
    time_axis(axes, verdict.window)
    shade(axes, verdict)
    return sheet, axes


def nothing(title: str, what: str, evidence: Evidence, says: str | None = None) -> Drawn:
    """A sheet that says what was not observed, and why; or, where somebody looked, what was said."""
    if says:
        return message(title, f"{title}: {says} {extent(evidence.window)}.")
    why = [f"{gap.signal}: {gap.reason}" for gap in evidence.gaps if gap.signal in ("logs", "metrics")]
    why += [f"{each.source}: {each.gap}" for each in evidence.coverage if each.gap]
    if evidence.calls is not None:
        why.append(f"{len(evidence.calls):,} calls were read from logs")
    told = "; ".join(why) or "neither logs nor metrics were read"
    return message(title, f"{title}: nothing told of {what}, {extent(evidence.window)}. Why: {told}.")


def extent(window: Window) -> str:
    """`05:00 to 07:00 UTC, 23 Nov 2026`."""
    return f"{clock(window.start)} to {clock(window.end)} UTC, {days(window)}"


def incident(verdict: Verdict) -> str:
    """When failures began and ended, as a sentence."""
    if verdict.onset is None:
        return "No onset was found in the window."
    began = f"Failures began at {span(verdict.onset)}"
    ended = f"ended at {span(verdict.recovered)}" if verdict.recovered else "were not seen to end"
    return f"{began} and {ended}."


def length(size_s: int) -> str:
    """`minute`, `15 minutes`, `day`."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if size_s % unit == 0:
            return name if size_s == unit else f"{size_s // unit} {name}s"
    raise ValueError(size_s)


def short(value: float) -> str:
    """Seconds as `180 ms` or `2.4 s`."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def stack(axes: Axes, table: pd.DataFrame, window: Window, roles: Sequence[str]) -> None:
    """The columns of `table` on top of each other, the first at the bottom, as steps."""
    edges = [*table.index, window.end]
    below = np.zeros(len(edges))
    for name, role in zip(table.columns, roles, strict=True):
        above = below + np.append(table[name], table[name].iloc[-1])
        axes.fill_between(edges, below, above, step="post", color=LIGHT[role], lw=0)
        below = above
    axes.set_ylim(0, max(1.0, float(below.max())) * 1.04)
