"""How Klaviyo's rate limits were used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klaviyo_nb.report import series
from klaviyo_nb.report.canvas import TEXT, Drawn, clock
from klaviyo_nb.report.charts.gallery import chart
from klaviyo_nb.report.charts.sheets import extent, incident, length, nothing, plot
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.words import shortened

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.counted import Tally
    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

_LINES = ("throttled", "series", "refused", "silent")


@chart("Use of Klaviyo's rate limits")
def rate_limit_headroom(evidence: Evidence, verdict: Verdict) -> Drawn:
    """For each endpoint the tighter of its two limits, as the share of it that was used in each minute."""
    use = series.rate_limit_use(evidence)
    if use.empty:
        return nothing("No rate limit to show", "a call to an endpoint with a known limit", evidence)
    peaks = series.peaks(use)
    shown = list(zip(_LINES, peaks, strict=False))
    key = [(role, f"{shortened(peak.endpoint, 30)}: peak {_per(peak)}") for role, peak in shown]
    headline = _use_headline(peaks[0], series.counted(evidence))
    sheet, axes = plot(headline, key, "share of the limit used", verdict)
    for role, peak in reversed(shown):
        line = _use_line(use, peak, evidence.window)
        axes.plot(line.index, line, color=LIGHT[role], lw=1.6, drawstyle="steps-post")
    axes.set_ylim(0, max(1.15, peaks[0].use * 1.1))
    axes.axhline(1, color=LIGHT["ink"], lw=1.2)
    axes.text(0, 1.02, " limit", transform=axes.get_yaxis_transform(), size=TEXT, color=LIGHT["ink"])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    told = "; ".join(
        f"{each.endpoint}: at most {_per(each)}, {each.use:.0%}, at {clock(each.timestamp)}"
        for _, each in shown
    )
    alt = f"{extent(evidence.window)}, throttled calls counted as well. {told}. {incident(verdict)}"
    return Drawn(sheet.figure, alt, use)


def _use_headline(top: Any, counts: Tally | None) -> str:
    if top.use > 1:
        return f"{shortened(top.endpoint)} asked for {top.use:.0%} of its limit"
    if counts is not None and (counts.frame["status_code"] == 429).any():
        return f"Throttled, though these calls use {top.use:.0%} of the limits: who else spends them?"
    return f"No limit was reached: at most {top.use:.0%} used"


def _use_line(use: pd.DataFrame, peak: Any, window: Window) -> pd.Series[float]:
    """Use over the whole window: the fullest minute of each bin; a minute without a call used nothing."""
    width = max(60, series.bin_s(window))
    rows = use[(use["endpoint"] == peak.endpoint) & (use["window_s"] == peak.window_s)]
    fullest = rows.groupby(rows["timestamp"].dt.floor(f"{width}s"))["use"].max()
    every: pd.Series[float] = fullest.reindex(series.starts(window, width), fill_value=0.0)
    return every


def _per(peak: Any) -> str:
    return f"{peak.calls:,} of {peak.limit:,} per {length(peak.window_s)}"
