"""What charts share: a sheet that says why it is empty, steps on top of each other, words for lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from klaviyo_nb.report.axis import extent
from klaviyo_nb.report.canvas import Drawn, message
from klaviyo_nb.report.look import LIGHT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window


def nothing(title: str, what: str, evidence: Evidence, says: str | None = None) -> Drawn:
    """A sheet that says what was not observed, and why; or, where somebody looked, what was said."""
    if says:
        return message(title, f"{title}: {says} {extent(evidence.window)}.")
    why = [f"{gap.signal}: {gap.reason}" for gap in evidence.gaps if gap.signal in ("logs", "metrics")]
    why += [f"{each.source}: {each.gap}" for each in evidence.coverage if each.gap]
    if evidence.calls is not None:
        count, lines = len(evidence.calls), sum(each.lines for each in evidence.coverage)
        none = f"no call to Klaviyo was found in {lines:,} lines of logs"
        read = "one call was" if count == 1 else f"{count:,} calls were"
        why.append(f"{read} read from logs" if count else none)
    told = "; ".join(why) or "neither logs nor metrics were read"
    return message(title, f"{title}: nothing told of {what}, {extent(evidence.window)}. Why: {told}.")


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
    axes.locator_params(axis="y", integer=True)
    axes.set_ylim(0, max(1.0, float(below.max())) * 1.15)  # shading is seen above what is in front of it
