"""What the calls answer: where they fail and when, what differs, how retries add up, what was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import date2num

from klaviyo_nb.logs.questions.contrast import in_words
from klaviyo_nb.logs.questions.retries import amplification
from klaviyo_nb.report import series
from klaviyo_nb.report.axis import extent, lasted, plot, told
from klaviyo_nb.report.canvas import BEHIND, BOTTOM, FONT, LINE, PAD, RIGHT, TEXT, WIDTH, Drawn, Sheet
from klaviyo_nb.report.charts.gallery import chart
from klaviyo_nb.report.charts.sheets import nothing
from klaviyo_nb.report.charts.used import used_up
from klaviyo_nb.report.look import LIGHT
from klaviyo_nb.report.views import ask
from klaviyo_nb.report.words import share, shortened, told_apart

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.counted import Tally
    from klaviyo_nb.diagnosis.facts import EndpointCount
    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window

#: Rows of the map and of the contrast at most, and the height of one [in].
MOST_ROWS, _TALL = 8, 0.46
#: Cells of a row of the map at most.
MOST_CELLS = 60
#: Share of calls that failed in a cell from which it has a colour → the colour's role and its words.
_LEVELS = (
    (0.0, "well", "under 5% failed"),
    (0.05, "throttled", "5 to 50%"),
    (0.5, "server", "over half"),
)
#: What became of calls → the colour's role and its words, in the order in which they are stacked.
_BECAME = {
    "delivered": ("well", "delivered"),
    "accepted_late": ("band", "accepted, processed late"),
    "refused": ("throttled", "refused, safe to send again"),
    "unknown": ("server", "unknown, may have been accepted"),
    "fix_first": ("invalid", "to be mended first"),
}


@chart("Where calls fail, and when")
def failure_map(evidence: Evidence, verdict: Verdict) -> Drawn:
    """One row per endpoint, a cell per stretch of time, coloured by the share of calls that failed in it."""
    counts = series.counted(evidence)
    if counts is None:
        return nothing("No map of failures", "a call", evidence)
    width = series.bin_s(evidence.window, MOST_CELLS)
    table = series.by_endpoint(counts, evidence.window, width)
    totals = series.endpoint_totals(counts, evidence.window)
    shown = totals[:MOST_ROWS]
    key = [(role, words) for _, role, words in _LEVELS] + [("grid", "no call")]
    found = _map_headline(_during(counts, evidence, verdict) or totals, verdict)
    sheet, axes = plot(found, key, "", evidence, verdict, PAD + _TALL * len(shown))
    axes.set_ylim(_TALL * len(shown), -PAD)
    axes.set_yticks([])
    names = told_apart([each.endpoint for each in shown], 40)
    for number, total in enumerate(shown):
        y = sheet.top + PAD + _TALL * number
        sheet.write(0.12, y, names[number], bbox=BEHIND)
        failed = "none failed" if not total.failed else f"{share(total.failed, total.calls)} failed"
        words = f"{failed} of {total.calls:,}"
        sheet.write(WIDTH - RIGHT, y, words, ha="right", color=LIGHT["muted"], bbox=BEHIND)
        rows = table[table["endpoint"] == total.endpoint]
        _cells(axes, rows, evidence.window, width, (_TALL * number + LINE, _TALL - LINE - 0.06))
    limits, _ = used_up(sheet, axes, evidence)
    rest = f" {len(totals) - len(shown)} more endpoints are in the table." if totals[len(shown) :] else ""
    each_one = "; ".join(f"{each.endpoint}: {each.failed:,} of {each.calls:,} failed" for each in shown)
    alt = f"{each_one}.{rest} {limits}Calls counted from {counts.source}. {told(evidence, verdict)}"
    return sheet.drawn(alt, table)


def _during(counts: Tally, evidence: Evidence, verdict: Verdict) -> list[EndpointCount]:
    """Calls per endpoint while an incident surely lasted; none if there is none, or no call failed then."""
    span = lasted(evidence, verdict)
    if span is None:
        return []
    surely = counts.frame["timestamp"].between(*span)
    during = counts.frame[surely]
    totals = series.endpoint_totals(replace(counts, frame=during), verdict.window)
    return totals if any(each.failed for each in totals) else []


def _map_headline(totals: Any, verdict: Verdict) -> str:
    bad = [each for each in totals if each.failed >= 0.05 * each.calls and each.failed]
    calls, failed = sum(each.calls for each in totals), sum(each.failed for each in totals)
    if not failed:
        return f"No call failed, of {calls:,} to {len(totals)} endpoint{'s'[: len(totals) > 1]}"
    if not bad:
        return f"No endpoint fails often, of {len(totals)}"
    worst = max(bad, key=lambda each: (each.failed / each.calls, each.failed))
    if len(bad) == len(totals) > 1:
        every = "Both" if len(totals) == 2 else f"All {len(totals)}"
        return f"{every} endpoints {'failed' if verdict.recovered else 'fail'}"
    verb, end, be = "fails", " since it began" if verdict.onset else "", ("is", "are")
    if verdict.recovered:
        verb, end, be = "failed", " while it lasted", ("was", "were")
    fails = f"{shortened(worst.endpoint, 34)} {verb} {share(worst.failed, worst.calls)}{end}"
    if len(totals) == 1:
        return f"{fails}, and nothing else {be[0]} called"
    return f"{fails}; {len(totals) - len(bad)} of {len(totals)} endpoints {be[1]} well"


def _cells(axes: Any, rows: pd.DataFrame, window: Window, width_s: int, place: tuple[float, float]) -> None:
    """A band in the colours of `_LEVELS`, its top and height at `place`; the grid's where no call was."""
    starts = series.starts(window, width_s)
    found = rows.set_index("timestamp").reindex(starts)
    shares = (found["failed"] / found["calls"]).to_numpy(dtype=float)
    level = np.searchsorted([least for least, *_ in _LEVELS], shares, side="right")
    level[np.isnan(shares)] = 0
    edges = date2num([*starts, pd.Timestamp(window.end)])
    changes = np.flatnonzero(np.diff(level, prepend=-1))
    spans = edges[changes], edges[np.append(changes[1:], len(level))]
    for number in np.unique(level):
        role = _LEVELS[number - 1][1] if number else "grid"
        bars = [
            (first, last - first)
            for at, first, last in zip(changes, *spans, strict=True)
            if level[at] == number
        ]
        axes.broken_barh(bars, place, color=LIGHT[role], lw=0, zorder=2)


@chart("What differs between failing calls and the others")
def contrast(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Values ranked by how telling they are: share of failing calls that have it less that of the others."""
    answer = ask(evidence, "contrast")
    if answer is None or answer.rows.empty:
        why = "a log that tells of calls" if answer is None else "a difference"
        return nothing("No difference to show", why, evidence, answer.says if answer else None)
    rows = answer.rows.head(MOST_ROWS).reset_index(drop=True)
    first = rows.iloc[0]
    sheet = Sheet(
        f"{shortened(in_words(first), 46)}: {first['fails']:.0%} of its calls fail,"
        f" of all others {share(first['others_fail'], 1)}",
        0.35 + _TALL * len(rows) + BOTTOM,
    )
    unit = "how much more common among failing calls than among the others"
    sheet.write(0.12, sheet.top, unit, color=LIGHT["muted"])
    top = sheet.top + 0.3
    axes = sheet.axes(top, _TALL * len(rows), left=0.12)
    axes.set_ylim(_TALL * len(rows), 0)
    axes.set_yticks([])
    labels = told_apart([in_words(row) for _, row in rows.iterrows()], 40)
    for number, ((_, row), label) in enumerate(zip(rows.iterrows(), labels, strict=True)):
        sheet.write(0.12, top + _TALL * number, label, weight="bold" if number == 0 else "normal")
        words = f"{row['failed']:,} of its {row['calls']:,} failed"
        sheet.write(WIDTH - RIGHT, top + _TALL * number, words, ha="right", color=LIGHT["muted"])
        y, at = _TALL * number + 0.7 * _TALL, row["failing_share"] - row["other_share"]
        axes.plot([0, 0], [y - 0.1, y + 0.1], color=LIGHT["muted"], lw=1)
        axes.plot([row["low"], row["high"]], [y, y], color=LIGHT["server"], lw=2.4, solid_capstyle="butt")
        axes.plot([at], [y], "o", color=LIGHT["server"], markersize=6)
    axes.set_xlim(-0.25, 1.1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "+25%", "+50%", "+75%", "+100%"])
    ranked = "; ".join(
        f"{in_words(row)}: {row['failing_share']:.0%} of the failing calls,"
        f" {row['other_share']:.0%} of the others (95% interval of the difference {row['low']:.0%} to"
        f" {row['high']:.0%})"
        for _, row in rows.iterrows()
    )
    return sheet.drawn(f"{ranked}. {extent(evidence.window)}.", answer.rows)


@chart("How retries add to the load")
def retries(evidence: Evidence, verdict: Verdict) -> Drawn:
    """Attempts per call over time, of calls whose attempts can be told to be of one call."""
    answer = ask(evidence, "retries")
    if answer is None or answer.rows.empty:
        return nothing("No retries to show", "a call", evidence, answer.says if answer else None)
    assert evidence.calls is not None
    table = amplification(evidence.calls, evidence.window)
    if not table["calls"].sum():
        return nothing("No retries to show", "which attempts are of one call", evidence, answer.says)
    calls, attempts = int(table["calls"].sum()), int(table["attempts"].sum())
    factor = attempts / calls
    few = "No call is" if attempts == calls else "Hardly any call is"
    headline = f"{factor:.2f} attempts per call" if factor >= 1.005 else f"{few} tried again"
    sheet, axes = plot(headline, [], "attempts per call", evidence, verdict)
    edges: Any = [*table["timestamp"], evidence.window.end]
    line = table["amplification"].to_numpy()
    axes.step(edges, np.append(line, line[-1]), where="post", color=LIGHT["series"], lw=1.6)
    axes.axhline(1, color=LIGHT["ink"], lw=1, zorder=1)  # behind the line, which mostly lies on it
    axes.annotate("each call once", (0, 1), xycoords=("axes fraction", "data"), xytext=(3, -3),
                  textcoords="offset points", size=TEXT, va="top",
              color=LIGHT["muted"], family=FONT)  # fmt: skip
    most = np.nanmax(line) if np.isfinite(line).any() else 1.0
    axes.set_ylim(0, max(2.0, most * 1.1))
    limits, _ = used_up(sheet, axes, evidence)
    covers = " ".join(answer.covers)
    return sheet.drawn(f"{answer.says} {covers} {limits}{told(evidence, verdict)}", table)


@chart("What became of the calls")
def ledger(evidence: Evidence, verdict: Verdict) -> Drawn:
    """One bar: logical calls by what became of them."""
    answer = ask(evidence, "ledger")
    if answer is None or answer.rows.empty:
        return nothing("No ledger of calls", "a call", evidence, answer.says if answer else None)
    became = {row["outcome"]: (int(row["calls"]), int(row["at_least"])) for _, row in answer.rows.iterrows()}
    shown = {name: became[name] for name in _BECAME if became.get(name, (0, 0))[0]}
    key = [(_BECAME[name][0], f"{_BECAME[name][1]}: {_bounds(*both)}") for name, both in shown.items()]
    total = sum(most for most, _ in shown.values())
    lost = sum(most for name, (most, _) in shown.items() if name not in ("delivered", "accepted_late"))
    exact = all(most == least for most, least in shown.values())
    if total == 1:
        headline = f"The only call {'is not known to be' if lost else 'was'} delivered"
    elif lost:
        headline = f"{'' if exact else 'At most '}{lost:,} of {total:,} calls are not known to be delivered"
    else:
        headline = f"All {total:,} calls were delivered"
    sheet = Sheet(headline, 0.95, key)
    axes = sheet.axes(sheet.top + 0.1, 0.34, left=0.12)
    left = 0
    for name, (count, _) in shown.items():
        axes.barh(0, count, left=left, height=1, color=LIGHT[_BECAME[name][0]], lw=0)
        left += count
    axes.set_xlim(0, max(left, 1))
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.set_xlabel("calls", loc="right", size=TEXT, color=LIGHT["muted"], labelpad=3)
    alt = f"{answer.says} {' '.join(answer.covers)} {extent(evidence.window)}."
    return sheet.drawn(alt, answer.rows)


def _bounds(most: int, least: int) -> str:
    return f"{most:,}" if most == least else f"{least:,} to {most:,}"
