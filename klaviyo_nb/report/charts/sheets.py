"""What charts over the window share: a sheet with axes, one that says why it is empty, words for times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from klaviyo_nb.report.canvas import TEXT, Drawn, Sheet, clock, days, message, shade, span, time_axis
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.timeline import page

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


def happened(evidence: Evidence) -> list[tuple[datetime, str]]:
    """Deploys that people noted and posts of Klaviyo's page in the window: when, and their name."""
    found = [(entry.at, "page") for entry in page(evidence)]
    if evidence.notes is not None:
        noted = evidence.notes.loc[evidence.notes["kind"] == "deploy", "at"].dropna()
        found += [(at.to_pydatetime(), "deploy") for at in noted]
    return sorted(each for each in found if evidence.window.start <= each[0] < evidence.window.end)


def mark(axes: Any, moments: Sequence[tuple[datetime, str]], window: Window) -> None:
    """A dashed line with its name for each moment; lines closer than a name is wide share the first's."""
    room, named = (window.end - window.start) * 0.11, None
    for at, name in moments:
        axes.axvline(at, color=LIGHT["ink"], lw=1, ls=(0, (3, 2)))
        if named is None or at - named >= room:
            named, before = at, window.end - at < room
            axes.annotate(
                name, (at, 0.99), xycoords=("data", "axes fraction"), xytext=(-3 if before else 3, 0),
                textcoords="offset points", ha="right" if before else "left", va="top", size=TEXT - 1,
                color=LIGHT["ink"], family=["DejaVu Sans"],
                bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1, "alpha": 0.85},
            )  # fmt: skip


def moments_told(moments: Sequence[tuple[datetime, str]]) -> str:
    """` Marked: deploy at 06:18, page at 06:40.`, or nothing."""
    return f" Marked: {', '.join(f'{name} at {clock(at)}' for at, name in moments)}." if moments else ""


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
