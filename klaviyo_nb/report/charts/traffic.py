"""Calls over time: how many failed, where, and how long they took."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from klaviyo_nb.report import series
from klaviyo_nb.report.canvas import Drawn, clock
from klaviyo_nb.report.charts.gallery import chart
from klaviyo_nb.report.charts.sheets import (
    extent,
    happened,
    incident,
    length,
    mark,
    moments_told,
    nothing,
    plot,
    short,
    stack,
)
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.words import share

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence


@chart("Calls over time, by status class")
def calls_by_status(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Calls per bin, stacked by status class, failures below; onset and end marked."""
    counts = series.counted(evidence)
    if counts is None:
        return nothing("No calls to show", "a call", evidence)
    table = series.by_class(counts, evidence.window)
    failed, calls = int(series.failures(table).sum()), int(table.to_numpy().sum())
    headline = f"None of {calls:,} calls failed"
    if failed:
        headline = f"{failed:,} of {calls:,} calls failed: {share(failed, calls)}"
    key = [(series.CLASSES[name], f"{name} {table[name].sum():,}") for name in table.columns]
    sheet, axes = plot(headline, key, f"calls per {length(series.bin_s(evidence.window))}", verdict)
    stack(axes, table, evidence.window, [series.CLASSES[name] for name in table.columns])
    moments = happened(evidence)
    mark(axes, moments, evidence.window)
    told = (
        f"{extent(evidence.window)}, calls counted from {counts.source}. {_told(table)} {incident(verdict)}"
        f"{moments_told(moments)}"
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


@chart("How long calls took")
def latency(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Median and 95th percentile of durations over time, with what is usual as a line."""
    table = series.quantiles(evidence)
    known = table.dropna(subset="p95_s").reset_index(drop=True)
    if known.empty:
        return nothing("No durations to show", "the duration of calls", evidence)
    usual = verdict.facts.get("baseline_p95_s")
    usually = f", usually {short(usual)}" if usual else ""
    at, p50, p95 = known["timestamp"], known["p50_s"].to_numpy(), known["p95_s"].to_numpy()
    worst = int(p95.argmax())
    last = f"{short(p95[-1])} at {clock(at.iloc[-1])}"
    key = [("series", "95th percentile"), ("band", "between it and the median")]
    sheet, axes = plot(f"95% of calls took under {last}{usually}", key, "seconds", verdict)
    x = table["timestamp"] + timedelta(seconds=series.bin_s(evidence.window) / 2)
    axes.fill_between(x, table["p50_s"], table["p95_s"], color=LIGHT["band"], lw=0)
    axes.plot(x, table["p95_s"], color=LIGHT["series"], lw=1.6, marker="o", markersize=1.5)
    axes.set_ylim(0, max(p95[worst], usual or 0, 0.001) * 1.15)
    if usual:
        axes.axhline(usual, color=LIGHT["muted"], lw=1, ls=(0, (4, 3)))
    alt = (
        f"{extent(evidence.window)}, {table['calls'].sum():,} calls tell their duration. The 95th"
        f" percentile was highest at {clock(at.iloc[worst])} with {short(p95[worst])} (median"
        f" {short(p50[worst])}) and last {last}{usually}. {incident(verdict)}"
    )
    return Drawn(sheet.figure, alt, table)
