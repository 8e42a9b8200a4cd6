"""The charts: each says one thing, in its headline, in its alt text, and in the table behind it.

Every chart is a function of evidence and verdict that returns a matplotlib figure; its label (`get_label`) is
the alt text. A chart that has nothing to show says what was not observed. `save_all` writes them as SVG, PNG
and CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from klaviyo_nb.report import diagrams, series
from klaviyo_nb.report.canvas import (
    BOTTOM,
    LINE,
    RIGHT,
    TEXT,
    WIDTH,
    Drawn,
    Sheet,
    clock,
    days,
    message,
    save_png,
    save_svg,
    shade,
    span,
    time_axis,
    when,
)
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.words import share, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from klaviyo_nb.diagnosis.counted import Tally
    from klaviyo_nb.diagnosis.facts import EndpointCount
    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Endpoints that get a row or a line of their own.
MOST_ENDPOINTS = 5
_LINES = ("throttled", "series", "refused", "silent")
#: Height of the row of one endpoint [in].
_ROW = 0.72


@dataclass(frozen=True, slots=True)
class SavedChart:
    """A chart as it was written.

    Attributes:
        name: Stem of the three files.
        title: What it shows.
        alt: What is to be seen, in words with figures.
        svg: File.
        png: File.
        csv: File: the table behind it.
        size: Width and height [CSS px].
    """

    name: str
    title: str
    alt: str
    svg: Path
    png: Path
    csv: Path
    size: tuple[int, int]


Draw = Callable[["Evidence", "Verdict"], Drawn]
#: Name → title and how to draw it, in the order in which a report shows them.
CHARTS: dict[str, tuple[str, Draw]] = {}


def _chart(title: str) -> Callable[[Draw], Callable[[Evidence, Verdict], Figure]]:
    def register(draw: Draw) -> Callable[[Evidence, Verdict], Figure]:
        @wraps(draw)
        def figure(evidence: Evidence, verdict: Verdict) -> Figure:
            drawn = draw(evidence, verdict)
            drawn.figure.set_label(drawn.alt)
            return drawn.figure

        CHARTS[draw.__name__] = (title, draw)
        return figure

    return register


def save_all(evidence: Evidence, verdict: Verdict, folder: Path) -> list[SavedChart]:
    """Draw every chart and write it as SVG, PNG and CSV; the same evidence gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(name, evidence, verdict, folder) for name in CHARTS]


def _save(name: str, evidence: Evidence, verdict: Verdict, folder: Path) -> SavedChart:
    title, draw = CHARTS[name]
    drawn = draw(evidence, verdict)
    svg, png, csv = (folder / f"{name}.{suffix}" for suffix in ("svg", "png", "csv"))
    svg.write_text(save_svg(drawn.figure, title, drawn.alt), "utf-8")
    png.write_bytes(save_png(drawn.figure))
    csv.write_text(_csv(drawn.table), "utf-8")
    width, height = (round(96 * side) for side in drawn.figure.get_size_inches())
    return SavedChart(name, title, drawn.alt, svg, png, csv, (width, height))


def _csv(table: pd.DataFrame) -> str:
    """CSV in which no cell is a formula to a spreadsheet."""
    texts = {
        name: table[name].map(_no_formula) for name in table.columns if table[name].dtype in ("str", object)
    }
    return str(table.assign(**texts).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))


def _no_formula(value: object) -> object:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


@_chart("Calls over time, by status class")
def calls_by_status(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Calls per bin, stacked by status class, failures below; onset and end marked."""
    counts = series.counted(evidence)
    if counts is None:
        return _nothing("No calls to show", "a call", evidence)
    table = series.by_class(counts, evidence.window)
    failed, calls = int(series.failures(table).sum()), int(table.to_numpy().sum())
    headline = f"None of {calls:,} calls failed"
    if failed:
        headline = f"{failed:,} of {calls:,} calls failed: {share(failed, calls)}"
    key = [(series.CLASSES[name], f"{name} {table[name].sum():,}") for name in table.columns]
    sheet, axes = _plot(headline, key, f"calls per {_length(series.bin_s(evidence.window))}", verdict)
    _stack(axes, table, evidence.window, [series.CLASSES[name] for name in table.columns])
    told = (
        f"{_extent(evidence.window)}, calls counted from {counts.source}. {_told(table)} {_incident(verdict)}"
    )
    return Drawn(sheet.figure, told, table.reset_index())


def _told(table: pd.DataFrame) -> str:
    """What `series.by_class` shows, in words."""
    total, every = int(series.failures(table).sum()), int(table.to_numpy().sum())
    worst = series.worst(table)
    if worst is None:
        return f"None of {every:,} calls failed."
    kinds = table.drop(columns="succeeded", errors="ignore").sum()
    kinds = kinds[kinds > 0].sort_values(ascending=False, kind="stable")
    told = ", ".join(f"{int(count):,} with {name}" for name, count in kinds.items())
    peak = f"{worst.failed:,} of {worst.calls:,} calls"
    return (
        f"{total:,} of {every:,} calls failed ({share(total, every)}): {told}."
        f" Most failures at {clock(worst.at)}: {peak}."
    )


def _stack(axes: Axes, table: pd.DataFrame, window: Window, roles: Sequence[str]) -> None:
    """The columns of `table` on top of each other, the first at the bottom, as steps."""
    edges = [*table.index, window.end]
    below = np.zeros(len(edges))
    for name, role in zip(table.columns, roles, strict=True):
        above = below + np.append(table[name], table[name].iloc[-1])
        axes.fill_between(edges, below, above, step="post", color=LIGHT[role], lw=0)
        below = above
    axes.set_ylim(0, max(1.0, float(below.max())) * 1.04)


@_chart("Failures by endpoint over time")
def failures_by_endpoint(evidence: Evidence, verdict: Verdict) -> Drawn:
    """One row per endpoint, each on its own scale: failing calls in colour, the others in grey above them."""
    counts = series.counted(evidence)
    if counts is None:
        return _nothing("No endpoints to show", "a call", evidence)
    table = series.by_endpoint(counts, evidence.window)
    totals = series.endpoint_totals(counts, evidence.window)
    shown = totals[:MOST_ENDPOINTS]
    kind = _most_common(counts)
    key = [(series.CLASSES[kind], f"failed, mostly {kind}")] if kind else []
    sheet = Sheet(
        _endpoints_headline(totals), 0.16 + _ROW * len(shown) + BOTTOM, [*key, ("well", "succeeded")]
    )
    sheet.write(0.12, sheet.top, when(verdict))
    for number, total in enumerate(shown):
        top = sheet.top + 0.25 + _ROW * number
        sheet.write(0.12, top - 0.02, shortened(total.endpoint, 36))
        sheet.write(WIDTH - RIGHT, top - 0.02, _of(total), ha="right", color=LIGHT["muted"])
        axes = sheet.axes(top + LINE, _ROW - LINE - 0.12)
        row = _row_of(table, total.endpoint, evidence.window)
        _stack(axes, row, evidence.window, (series.CLASSES[kind or "succeeded"], "well"))
        most = max(1, int(row.sum(axis=1).max()))
        axes.set_ylim(0, most)
        axes.set_yticks([most], [f"{most:,}"])
        shade(axes, verdict, label=False)
        time_axis(axes, evidence.window, labelled=number == len(shown) - 1)
    told = "; ".join(f"{each.endpoint}: {_of(each)}" for each in shown)
    rest = f"; {len(totals) - len(shown)} more endpoints are in the table" if totals[len(shown) :] else ""
    extent = f"{_extent(evidence.window)}, calls counted from {counts.source}"
    return Drawn(sheet.figure, f"{extent}. {told}{rest}. {_incident(verdict)}", table)


def _endpoints_headline(totals: Sequence[EndpointCount]) -> str:
    bad = [each for each in totals if each.failed]
    if not bad:
        return f"No call failed on any of {len(totals)} endpoints"
    if len(bad) == 1 and len(totals) > 1:
        return f"Only {shortened(bad[0].endpoint)} fails, of {len(totals)} endpoints"
    return f"Calls fail on {len(bad)} of {len(totals)} endpoints"


def _most_common(counts: Tally) -> str | None:
    """The status class of most failures."""
    sums = counts.frame["calls"].groupby(series.status_classes(counts.frame)).sum()
    sums = sums.drop("succeeded", errors="ignore")
    return str(sums.idxmax()) if len(sums) else None


def _row_of(table: pd.DataFrame, endpoint: str, window: Window) -> pd.DataFrame:
    """`failed` and `succeeded` of one endpoint in every bin of the window."""
    rows = table[table["endpoint"] == endpoint].set_index("timestamp")
    every = rows.reindex(series.starts(window, series.bin_s(window)))[["calls", "failed"]].fillna(0)
    return every.assign(succeeded=every["calls"] - every["failed"])[["failed", "succeeded"]]


def _of(total: EndpointCount) -> str:
    return (
        f"{total.failed:,} of {total.calls:,} failed" if total.failed else f"none of {total.calls:,} failed"
    )


@_chart("How long calls took")
def latency(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Median and 95th percentile of durations over time, with what is usual as a line."""
    table = series.quantiles(evidence)
    known = table.dropna(subset="p95_s").reset_index(drop=True)
    if known.empty:
        return _nothing("No durations to show", "the duration of calls", evidence)
    usual = verdict.facts.get("baseline_p95_s")
    usually = f", usually {_short(usual)}" if usual else ""
    at, p50, p95 = known["timestamp"], known["p50_s"].to_numpy(), known["p95_s"].to_numpy()
    worst = int(p95.argmax())
    last = f"{_short(p95[-1])} at {clock(at.iloc[-1])}"
    key = [("series", "95th percentile"), ("band", "between it and the median")]
    sheet, axes = _plot(f"95% of calls took under {last}{usually}", key, "seconds", verdict)
    x = table["timestamp"] + timedelta(seconds=series.bin_s(evidence.window) / 2)
    axes.fill_between(x, table["p50_s"], table["p95_s"], color=LIGHT["band"], lw=0)
    axes.plot(x, table["p95_s"], color=LIGHT["series"], lw=1.6, marker="o", markersize=1.5)
    axes.set_ylim(0, max(p95[worst], usual or 0, 0.001) * 1.15)
    if usual:
        axes.axhline(usual, color=LIGHT["muted"], lw=1, ls=(0, (4, 3)))
    alt = (
        f"{_extent(evidence.window)}, {table['calls'].sum():,} calls tell their duration. The 95th"
        f" percentile was highest at {clock(at.iloc[worst])} with {_short(p95[worst])} (median"
        f" {_short(p50[worst])}) and last {last}{usually}. {_incident(verdict)}"
    )
    return Drawn(sheet.figure, alt, table)


@_chart("Use of Klaviyo's rate limits")
def rate_limit_headroom(evidence: Evidence, verdict: Verdict) -> Drawn:
    """For each endpoint the tighter of its two limits, as the share of it that was used in each minute."""
    use = series.rate_limit_use(evidence)
    if use.empty:
        return _nothing("No rate limit to show", "a call to an endpoint with a known limit", evidence)
    peaks = series.peaks(use)
    shown = list(zip(_LINES, peaks, strict=False))
    key = [(role, f"{shortened(peak.endpoint, 30)}: peak {_per(peak)}") for role, peak in shown]
    headline = _use_headline(peaks[0], series.counted(evidence))
    sheet, axes = _plot(headline, key, "share of the limit used", verdict)
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
    alt = f"{_extent(evidence.window)}, throttled calls counted as well. {told}. {_incident(verdict)}"
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
    return f"{peak.calls:,} of {peak.limit:,} per {_length(peak.window_s)}"


timeline = _chart("Timeline")(diagrams.timeline)
decision_path = _chart("The path through the decision tree")(diagrams.decision_path)


def _plot(headline: str, key: Sequence[tuple[str, str]], unit: str, verdict: Verdict) -> tuple[Sheet, Axes]:
    """A sheet with one pair of axes over the window, the incident shaded."""
    sheet = Sheet(headline, 2.3, key)
    sheet.write(0.12, sheet.top, unit, color=LIGHT["muted"])
    axes = sheet.axes(sheet.top + 0.42, 1.38)
    time_axis(axes, verdict.window)
    shade(axes, verdict)
    return sheet, axes


def _nothing(title: str, what: str, evidence: Evidence) -> Drawn:
    """A sheet that says what was not observed, and why."""
    why = [f"{gap.signal}: {gap.reason}" for gap in evidence.gaps if gap.signal in ("logs", "metrics")]
    why += [f"{each.source}: {each.gap}" for each in evidence.coverage if each.gap]
    if evidence.calls is not None:
        why.append(f"{len(evidence.calls):,} calls were read from logs")
    told = "; ".join(why) or "neither logs nor metrics were read"
    return message(title, f"{title}: nothing told of {what}, {_extent(evidence.window)}. Why: {told}.")


def _extent(window: Window) -> str:
    """`05:00 to 07:00 UTC, 23 Nov 2026`."""
    return f"{clock(window.start)} to {clock(window.end)} UTC, {days(window)}"


def _incident(verdict: Verdict) -> str:
    if verdict.onset is None:
        return "No onset was found in the window."
    began = f"Failures began at {span(verdict.onset)}"
    ended = f"ended at {span(verdict.recovered)}" if verdict.recovered else "were not seen to end"
    return f"{began} and {ended}."


def _length(size_s: int) -> str:
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if size_s % unit == 0:
            return name if size_s == unit else f"{size_s // unit} {name}s"
    raise ValueError(size_s)


def _short(value: float) -> str:
    """Seconds as `180 ms` or `2.4 s`."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"
