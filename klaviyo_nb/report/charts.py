"""The charts: each says one thing, in its headline, in its alt text, and in the table behind it.

Every chart is a function of evidence and verdict that returns a matplotlib figure; its label (`get_label`) is
the alt text. A chart that has nothing to show says what was not observed. `save_all` writes them as SVG, PNG
and CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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
    save_png,
    save_svg,
    seconds,
    shade,
    shortened,
    span,
    time_axis,
    when,
)
from klaviyo_nb.report.look import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from klaviyo_nb.diagnosis.counted import Tally

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Endpoints that get a row or a line of their own.
MOST_ENDPOINTS = 5
_LINES = ("throttled", "series", "refused", "invalid", "silent")


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
    """

    name: str
    title: str
    alt: str
    svg: Path
    png: Path
    csv: Path


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
    """Draw every chart and write it to `folder` as SVG, PNG and CSV; the same evidence gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(name, evidence, verdict, folder) for name in CHARTS]


def _save(name: str, evidence: Evidence, verdict: Verdict, folder: Path) -> SavedChart:
    title, draw = CHARTS[name]
    drawn = draw(evidence, verdict)
    svg, png, csv = (folder / f"{name}.{suffix}" for suffix in ("svg", "png", "csv"))
    svg.write_text(save_svg(drawn.figure, title, drawn.alt), "utf-8")
    png.write_bytes(save_png(drawn.figure))
    csv.write_text(_csv(drawn.table), "utf-8")
    return SavedChart(name, title, drawn.alt, svg, png, csv)


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
    failing = table.drop(columns="succeeded", errors="ignore")
    failed, calls = int(failing.to_numpy().sum()), int(table.to_numpy().sum())
    totals = table.sum().astype(int)
    named = [(series.CLASSES[name], f"{name} {totals[name]:,}") for name in table.columns]
    headline = f"None of {calls:,} calls failed"
    if failed:
        headline = f"{failed:,} of {calls:,} calls failed: {failed / calls:.1%}"
    sheet = Sheet(headline, 2.3, named)
    axes = sheet.axes(sheet.top + 0.42, 1.38)
    _stack(axes, table, evidence.window, [series.CLASSES[name] for name in table.columns])
    _finish(sheet, axes, evidence.window, verdict, f"calls per {_length(series.bin_s(evidence.window))}")
    return Drawn(
        sheet.figure, _calls_alt(table, failing, evidence, verdict, counts.source), table.reset_index()
    )


def _stack(axes: Axes, table: pd.DataFrame, window: Window, roles: Sequence[str]) -> None:
    """The columns of `table` on top of each other, the first at the bottom, as steps."""
    edges = [*(seconds(window, moment) for moment in table.index), window.seconds]
    below = np.zeros(len(edges))
    for name, role in zip(table.columns, roles, strict=True):
        above = below + np.append(table[name], table[name].iloc[-1])
        axes.fill_between(edges, below, above, step="post", color=LIGHT[role], lw=0)
        below = above
    axes.set_ylim(0, max(1.0, float(below.max())) * 1.04)


def _calls_alt(
    table: pd.DataFrame, failing: pd.DataFrame, evidence: Evidence, verdict: Verdict, source: str
) -> str:
    failed, calls = failing.sum(axis=1), table.sum(axis=1)
    total, every = int(failed.sum()), int(calls.sum())
    what = f"{_extent(evidence.window)}, calls counted from {source}. {total:,} of {every:,} calls failed"
    if not total:
        return f"{what}."
    kinds = failing.sum().sort_values(ascending=False, kind="stable")
    told = ", ".join(f"{int(count):,} with {name}" for name, count in kinds.items() if count)
    worst = failed.idxmax()
    peak = f"Most failures at {clock(worst)}: {failed[worst]:,} of {calls[worst]:,} calls"
    return f"{what} ({total / every:.1%}): {told}. {peak}. {_incident(verdict)}"


@_chart("Failures by endpoint over time")
def failures_by_endpoint(evidence: Evidence, verdict: Verdict) -> Drawn:
    """One row per endpoint: its calls in grey, the failing ones on top of them."""
    counts = series.counted(evidence)
    if counts is None:
        return _nothing("No endpoints to show", "a call", evidence)
    table = series.by_endpoint(counts, evidence.window)
    totals = series.endpoint_totals(counts, evidence.window)
    bad = totals[totals["failed"] > 0]
    shown = totals.head(MOST_ENDPOINTS)
    headline = (
        f"Calls fail on {len(bad)} of {len(totals)} endpoints"
        if len(bad)
        else f"No call failed on any of {len(totals)} endpoints"
    )
    if len(bad) == 1 and len(totals) > 1:
        headline = f"Only {shortened(bad['endpoint'].iloc[0])} fails, of {len(totals)} endpoints"
    row = 0.72
    kind = _most_common(counts)
    key = [(series.CLASSES[kind], f"failed, mostly {kind}")] if kind else []
    sheet = Sheet(headline, 0.28 + row * len(shown) + BOTTOM, [*key, ("well", "succeeded")])
    most = max(1, table.loc[table["endpoint"].isin(shown["endpoint"]), "calls"].max())
    for number, total in enumerate(shown.itertuples()):
        top = sheet.top + 0.25 + row * number
        sheet.write(0.12, top - 0.02, shortened(total.endpoint, 36))
        sheet.write(
            WIDTH - RIGHT, top - 0.02, _of(total.failed, total.calls), ha="right", color=LIGHT["muted"]
        )
        axes = sheet.axes(top + LINE, row - LINE - 0.12)
        row_table = _row_of(table, total.endpoint, evidence.window)
        _stack(axes, row_table, evidence.window, (series.CLASSES[kind or "succeeded"], "well"))
        axes.set_ylim(0, most)
        axes.set_yticks([most], [f"{most:,}"])
        shade(axes, verdict, label=False)
        time_axis(axes, evidence.window, labelled=number == len(shown) - 1)
    sheet.write(0.12, sheet.top, when(verdict), color=LIGHT["ink"])
    return Drawn(sheet.figure, _endpoints_alt(totals, evidence, verdict, counts.source), table)


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


def _of(failed: int, calls: int) -> str:
    return f"{failed:,} of {calls:,} failed" if failed else f"none of {calls:,} failed"


def _endpoints_alt(totals: pd.DataFrame, evidence: Evidence, verdict: Verdict, source: str) -> str:
    told = "; ".join(
        f"{row.endpoint}: {_of(row.failed, row.calls)}" for row in totals.head(MOST_ENDPOINTS).itertuples()
    )
    rest = totals.iloc[MOST_ENDPOINTS:]
    more = (
        f"; {len(rest)} more endpoints: {_of(rest['failed'].sum(), rest['calls'].sum())}" if len(rest) else ""
    )
    return f"{_extent(evidence.window)}, calls counted from {source}. {told}{more}. {_incident(verdict)}"


@_chart("How long calls took")
def latency(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Median and 95th percentile of durations over time, with what is usual as a line."""
    table = series.quantiles(evidence)
    known = table.dropna(subset="p95_s")
    if known.empty:
        return _nothing("No durations to show", "the duration of a call", evidence)
    usual = verdict.facts.get("baseline_p95_s")
    worst = known.loc[known["p95_s"].idxmax()]
    last = known.iloc[-1]
    headline = f"95 % of calls took under {_short(last['p95_s'])} at {clock(last['timestamp'])}"
    if usual:
        headline += f", usually {_short(usual)}"
    sheet = Sheet(headline, 2.3, [("series", "95th percentile"), ("band", "between it and the median")])
    axes = sheet.axes(sheet.top + 0.42, 1.38)
    x = [
        seconds(evidence.window, moment) + series.bin_s(evidence.window) / 2 for moment in table["timestamp"]
    ]
    axes.fill_between(x, table["p50_s"], table["p95_s"], color=LIGHT["band"], lw=0)
    axes.plot(x, table["p95_s"], color=LIGHT["series"], lw=1.6, marker="o", markersize=1.5)
    axes.set_ylim(0, worst["p95_s"] * 1.15)
    if usual:
        axes.axhline(usual, color=LIGHT["muted"], lw=1, ls=(0, (4, 3)))
    _finish(sheet, axes, evidence.window, verdict, "seconds")
    alt = (
        f"{_extent(evidence.window)}, {int(table['calls'].sum()):,} calls from logs that tell a duration. The 95th"
        f" percentile was highest at {clock(worst['timestamp'])} with {_short(worst['p95_s'])}"
        f" (median {_short(worst['p50_s'])}) and last {_short(last['p95_s'])}"
    )
    return Drawn(
        sheet.figure, f"{alt}{f', usually {_short(usual)}' if usual else ''}. {_incident(verdict)}", table
    )


@_chart("Use of Klaviyo's rate limits")
def rate_limit_headroom(evidence: Evidence, verdict: Verdict) -> Drawn:
    """For each endpoint the tighter of its two limits, as the share of it that was used in each minute."""
    use = series.rate_limit_use(evidence)
    if use.empty:
        return _nothing("No rate limit to show", "a call to an endpoint with a known limit", evidence)
    peaks = series.peak_use(use)
    top = peaks.iloc[0]
    shown = peaks.head(4)
    key = [
        (role, f"{shortened(row.endpoint, 30)}: peak {_per(row)}")
        for role, row in zip(_LINES, shown.itertuples(), strict=False)
    ]
    sheet = Sheet(_use_headline(peaks.iloc[0], series.counted(evidence)), 2.3, key)
    axes = sheet.axes(sheet.top + 0.42, 1.38)
    for role, row in reversed(list(zip(_LINES, shown.itertuples(), strict=False))):
        line = _use_line(
            use[(use["endpoint"] == row.endpoint) & (use["window_s"] == row.window_s)], evidence.window
        )
        x = [seconds(evidence.window, moment) for moment in line.index]
        axes.plot(x, line, color=LIGHT[role], lw=1.6, drawstyle="steps-post")
    axes.set_ylim(0, max(1.15, top["use"] * 1.1))
    axes.axhline(1, color=LIGHT["ink"], lw=1.2)
    axes.text(
        0, 1.02, " limit", transform=axes.get_yaxis_transform(), size=TEXT, va="bottom", color=LIGHT["ink"]
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _finish(sheet, axes, evidence.window, verdict, "share of the limit used")
    told = "; ".join(
        f"{row.endpoint}: at most {_per(row)}, {row.use:.0%}, at {clock(row.timestamp)}"
        for row in shown.itertuples()
    )
    alt = f"{_extent(evidence.window)}, throttled calls counted as well. {told}. {_incident(verdict)}"
    return Drawn(sheet.figure, alt, use)


def _use_headline(top: pd.Series[Any], counts: Tally | None) -> str:
    used = f"{top['use']:.0%}"
    if top["use"] > 1:
        return f"{shortened(top['endpoint'])} asked for {used} of its limit"
    if counts is not None and (counts.frame["status_code"] == 429).any():
        return f"Throttled, though these calls use {used} of the known limits at most: who else spends them?"
    return f"No limit was reached: at most {used} used"


def _use_line(use: pd.DataFrame, window: Window) -> pd.Series[float]:
    """Use over the whole window: the fullest minute of each bin; a minute without a call used nothing."""
    width = max(60, series.bin_s(window))
    line = use.set_index("timestamp")["use"]
    return (
        line.groupby(line.index.floor(f"{width}s"))
        .max()
        .reindex(series.starts(window, width), fill_value=0.0)
    )


def _per(row: object) -> str:
    span = {1: "second", 60: "minute"}[row.window_s]  # type: ignore[attr-defined]
    return f"{row.calls:,} of {row.limit:,} per {span}"  # type: ignore[attr-defined]


timeline = _chart("Timeline")(diagrams.timeline)
decision_path = _chart("The path through the decision tree")(diagrams.decision_path)


def _finish(sheet: Sheet, axes: Axes, window: Window, verdict: Verdict, unit: str) -> None:
    shade(axes, verdict)
    time_axis(axes, window)
    sheet.write(0.12, sheet.top, unit, color=LIGHT["muted"])


def _nothing(title: str, what: str, evidence: Evidence) -> Drawn:
    """A sheet that says what was not observed, and why."""
    told = [f"{gap.signal}: {gap.reason}" for gap in evidence.gaps if gap.signal in ("logs", "metrics")]
    told += [f"{each.source}: {each.gap}" for each in evidence.coverage if each.gap]
    why = (
        "; ".join(told) or "neither logs nor metrics were read"
        if evidence.calls is None
        else f"{len(evidence.calls):,} calls were read from logs"
    )
    alt = f"{title}: nothing told of {what} in the window {_extent(evidence.window)}. {why}."
    return diagrams.message(title, alt)


def _extent(window: Window) -> str:
    """`05:00 to 07:00 UTC on 23 Nov 2026`."""
    return f"{clock(window.start)} to {clock(window.end)} UTC, {days(window)}"


def _incident(verdict: Verdict) -> str:
    if verdict.onset is None:
        return "No onset was found in the window."
    began = f"Failures began at {span(verdict.onset)}"
    return (
        f"{began} and ended at {span(verdict.recovered)}."
        if verdict.recovered
        else f"{began} and were not seen to end."
    )


def _length(size_s: int) -> str:
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if size_s % unit == 0:
            return name if size_s == unit else f"{size_s // unit} {name}s"
    return f"{size_s} seconds"


def _short(value: float) -> str:
    """Seconds as `180 ms` or `2.4 s`."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"
