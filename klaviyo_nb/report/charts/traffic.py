"""Calls over time: how many failed, where, and how long they took."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from klaviyo_nb.lines import many
from klaviyo_nb.report import series
from klaviyo_nb.report.axis import lasted, moment, plot, told
from klaviyo_nb.report.canvas import Drawn
from klaviyo_nb.report.charts.gallery import chart
from klaviyo_nb.report.charts.sheets import length, nothing, short, stack
from klaviyo_nb.report.charts.used import used_up
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.words import share

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window


@chart("Calls over time, by status class")
def calls_by_status(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Calls per bin, stacked by status class, failures below; onset, end and used-up limits marked."""
    counts = series.counted(evidence)
    if counts is None:
        return nothing("No calls to show", "a call", evidence)
    table = series.by_class(counts, evidence.window)
    failed, calls = int(series.failures(table).sum()), int(table.to_numpy().sum())
    headline = f"None of {many(calls, 'call')} failed"
    if calls == 1:
        headline = f"The only call {'failed' if failed else 'did not fail'}"
    elif failed:
        headline = f"{failed:,} of {many(calls, 'call')} failed: {share(failed, calls)}"
    key = [(series.CLASSES[name], f"{name} {table[name].sum():,}") for name in table.columns]
    unit = f"calls per {length(series.bin_s(evidence.window))}"
    sheet, axes = plot(headline, key, unit, evidence, verdict)
    stack(axes, table, evidence.window, [series.CLASSES[name] for name in table.columns])
    limits, stretches = used_up(sheet, axes, evidence)
    width = timedelta(seconds=series.bin_s(evidence.window))
    full = [any(start < at + width and at < end for start, end in stretches) for at in table.index]
    kinds = _kinds(table, evidence.window)
    alt = f"{kinds}{limits}Calls counted from {counts.source}. {told(evidence, verdict)}"
    return sheet.drawn(alt, table.reset_index().assign(limit_used_up=full))


def _kinds(table: pd.DataFrame, window: Window) -> str:
    """Which failures `series.by_class` shows, and when most of them were; nothing if no call failed."""
    worst = series.worst(table)
    if worst is None:
        return ""
    kinds = table.drop(columns="succeeded", errors="ignore").sum()
    kinds = kinds[kinds > 0].sort_values(ascending=False, kind="stable")
    named = ", ".join(f"{int(count):,} with {name}" for name, count in kinds.items())
    peak = f"{worst.failed:,} of {many(worst.calls, 'call')}"
    return f"{named[0].upper()}{named[1:]}. Most failures at {moment(worst.at, window)}: {peak}. "


@chart("How long calls took")
def latency(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Median and 95th percentile of durations over time, with what is usual as a line."""
    table = series.quantiles(evidence)
    known = table.dropna(subset="p95_s").reset_index(drop=True)
    if known.empty:
        return nothing("No durations to show", "the duration of calls", evidence)
    usual = verdict.facts.get("baseline_p95_s")
    usually = f"; usually under {short(usual)}" if usual else ""
    at, p50, p95 = known["timestamp"], known["p50_s"].to_numpy(), known["p95_s"].to_numpy()
    worst = int(p95.argmax())
    key = [("series", "95th percentile"), ("band", "between it and the median")]
    unit = f"seconds; dashed: usually {short(usual)}" if usual else "seconds"
    sheet, axes = plot(f"{_took(known, evidence, verdict)}{usually}", key, unit, evidence, verdict)
    x = table["timestamp"] + timedelta(seconds=series.bin_s(evidence.window) / 2)
    axes.fill_between(x, table["p50_s"], table["p95_s"], color=LIGHT["band"], lw=0)
    axes.plot(x, table["p95_s"], color=LIGHT["series"], lw=1.6, marker="o", markersize=1.5)
    axes.set_ylim(0, max(p95[worst], usual or 0, 0.001) * 1.15)
    if usual:
        axes.axhline(usual, color=LIGHT["ink"], lw=1, ls=(0, (4, 3)))
    limits, _ = used_up(sheet, axes, evidence)
    alt = (
        f"The 95th percentile was highest at {moment(at.iloc[worst], evidence.window)} with"
        f" {short(p95[worst])} (median {short(p50[worst])}). {table['calls'].sum():,} calls tell"
        f" their duration. {limits}{told(evidence, verdict)}"
    )
    return sheet.drawn(alt, table)


def _took(known: pd.DataFrame, evidence: Evidence, verdict: Verdict) -> str:
    """What 95% of calls took while they failed, in the middle one of its bins; else in the last bin."""
    if span := lasted(evidence, verdict):
        during = known[(known["timestamp"] >= span[0]) & (known["timestamp"] < span[1])]
        if not during.empty:
            return f"While they failed, 95% of calls took under {short(during['p95_s'].median())}"
    last = known.iloc[-1]
    return f"95% of calls took under {short(last['p95_s'])} at {moment(last['timestamp'], verdict.window)}"
