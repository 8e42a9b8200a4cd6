"""How Klaviyo's rate limits were used."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from klaviyo_nb.report import series
from klaviyo_nb.report.axis import moment, plot, told
from klaviyo_nb.report.canvas import BEHIND, LINE, PAD, RIGHT, WIDTH, Drawn
from klaviyo_nb.report.charts.gallery import chart
from klaviyo_nb.report.charts.sheets import length, nothing
from klaviyo_nb.report.charts.used import used_up
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.views import minutes_begin
from klaviyo_nb.report.words import shortened, told_apart

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.counted import Tally
    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Endpoints that are shown, and the height of what one has [in].
MOST_ROWS, _TALL = 4, 0.56
#: Bars are cut above so many times the limit; the words beside them tell how many.
_MOST_TIMES = 3.0


@chart("Use of Klaviyo's rate limits")
def rate_limit_headroom(evidence: Evidence, verdict: Verdict) -> Drawn:
    """For each endpoint the tighter of its two limits, as the share of it that was used in each minute."""
    begins = minutes_begin(evidence)
    use = series.rate_limit_use(evidence, begins)
    if use.empty:
        return nothing("No rate limit to show", "a call to an endpoint with a known limit", evidence)
    peaks = series.peaks(use)
    shown = peaks[:MOST_ROWS]
    headline = _use_headline(peaks[0], series.counted(evidence))
    key = [("series", "share of the limit used"), ("throttled", "above the limit")]
    sheet, axes = plot(
        headline, key[: 1 + (peaks[0].use > 1)], "", evidence, verdict, PAD + _TALL * len(shown)
    )
    most = min(max(1.0, peaks[0].use), _MOST_TIMES)
    full = (_TALL - LINE - 0.11) / most  # what 100% is high; alike in all rows
    below = [_TALL * (number + 1) - 0.07 for number in range(len(shown))]
    names = told_apart([each.endpoint for each in shown], 36)
    for floor, peak, name in zip(below, shown, names, strict=True):
        line = _use_line(use, peak, evidence.window)
        for role, least, upto in (("series", 0.0, 1.0), ("throttled", 1.0, most)):
            part = floor - full * line.clip(least, upto)
            axes.fill_between(line.index, floor - full * least, part, step="post", color=LIGHT[role], lw=0)
        axes.axhline(floor, color=LIGHT["line"], lw=0.8)
        axes.axhline(floor - full, color=LIGHT["ink"], lw=0.8)
        y = sheet.top + PAD + floor - _TALL + 0.06
        sheet.write(0.12, y, name, bbox=BEHIND)
        sheet.write(WIDTH - RIGHT, y, f"peak {_per(peak)}", ha="right", color=LIGHT["muted"], bbox=BEHIND)
    axes.set_ylim(_TALL * len(shown), -PAD)
    axes.grid(visible=False)
    axes.set_yticks([floor - full for floor in below], ["limit"] * len(below))
    peaked = "; ".join(
        f"{each.endpoint}: at most {_per(each)}, {_percent(each.use)},"
        f" at {moment(each.timestamp, evidence.window)}"
        for each in shown
    )
    limits, _ = used_up(sheet, axes, evidence)
    minutes = (
        "Klaviyo's own minutes, as its answers tell them" if begins else "minutes from the window's start"
    )
    how = f"Counted by {minutes}; throttled calls are counted as well."
    return sheet.drawn(f"{peaked}. {how} {limits}{told(evidence, verdict)}", use)


def _use_headline(top: Any, counts: Tally | None) -> str:
    if top.use > 1:
        return f"{shortened(top.endpoint)} asked for {_times(top.use)} its limit"
    if counts is not None and (counts.frame["status_code"] == 429).any():
        return f"Throttled, though these calls use {top.use:.0%} of the limits: who else spends them?"
    return f"No limit was passed; {shortened(top.endpoint)} came closest with {_percent(top.use)}"


def _times(use: float) -> str:
    """`127% of`, but `48 times`: a number of four digits is no size that anybody sees."""
    return f"{use:.0f} times" if use > _MOST_TIMES else f"{use:.0%} of"


def _percent(part: float) -> str:
    return f"{part:.0%}" if part >= 0.005 else "under 1%"


def _use_line(use: pd.DataFrame, peak: Any, window: Window) -> pd.Series[float]:
    """Use over the whole window: the fullest minute of each bin; a minute without a call used nothing.

    A minute is of the bin that holds its middle, as Klaviyo's begin when they like.
    """
    width = max(60, series.bin_s(window))
    starts = series.starts(window, width)
    rows = use[(use["endpoint"] == peak.endpoint) & (use["window_s"] == peak.window_s)]
    bins = (rows["timestamp"] + timedelta(seconds=30)).dt.floor(f"{width}s").clip(starts[0], starts[-1])
    every: pd.Series[float] = rows.groupby(bins)["use"].max().reindex(starts, fill_value=0.0)
    return every


def _per(peak: Any) -> str:
    return f"{peak.calls:,} of {peak.limit:,} per {length(peak.window_s)}"
