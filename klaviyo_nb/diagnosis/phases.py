"""Before, during and after an incident: what changed, by how much, and is it fixed?

Calls within an interval, that of the onset or that of the end, belong to neither side of it; those of an
earlier incident of the window are no measure of what is usual before. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from klaviyo_nb.diagnosis.counted import tally
from klaviyo_nb.diagnosis.thresholds import Thresholds, from_table
from klaviyo_nb.diagnosis.times import Times, times_of
from klaviyo_nb.evidence import Evidence, remembered
from klaviyo_nb.intervals import newcombe, wilson
from klaviyo_nb.lines import many
from klaviyo_nb.metrics.counters import counted
from klaviyo_nb.metrics.rates import histogram_quantile

PHASES = ("before", "during", "after")
#: Values of one attribute that are told: those with most calls.
MOST = 12
#: Calls that are waited for at most, before it is said that no wait will tell.
MOST_CALLS = 1_000_000
#: Fewer durations have no 95th percentile: the upper bound of its interval lies beyond the slowest [calls].
LEAST_TIMED = 60
_COLUMNS = ["attribute", "value", "calls", *(f"{name}_share" for name in PHASES), "change", "low", "high"]

#: Lower bound, estimate and upper bound [s].
_Quantile = tuple[float, float, float]
#: Endpoint → calls, and a quantile for each phase.
_Durations = dict[str, tuple[float, list[_Quantile | None]]]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Is it fixed?

    Attributes:
        answer: Missing where what was seen does not tell.
        says: One sentence with the figures.
        wait: How much longer to look, at the traffic since the end, if nothing more fails; None: not known.
    """

    answer: bool | None
    says: str
    wait: timedelta | None = None


@remembered
def changed(evidence: Evidence) -> pd.DataFrame | None:
    """Share of failing calls in each phase, of all calls, by endpoint and by caller.

    Returns:
        `attribute`, `value`, `calls` (all phases), `before_share`, `during_share`, `after_share` (missing
        where no call was counted), `change` (during less before), `low`, `high` (its 95 % interval); most
        changed first within an attribute. None if no calls were counted, or no incident was found.
    """
    frame, when = _counted(evidence)
    if frame is None or not when.failed:
        return None
    named = frame.assign(all="all calls")
    rows = [row for name in ("all", "endpoint", "caller") if name in named for row in _rows(named, name)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def slower(evidence: Evidence) -> pd.DataFrame | None:
    """95th percentile of durations in each phase, by endpoint, from logs, or else from a histogram.

    Returns:
        `endpoint`, `calls`, `before_s`, `during_s`, `after_s`, `times` (during over before), `low`, `high`
        (its interval, from the 95 % intervals of both by order statistics, and as wide as the buckets are).
        None likewise, or without durations.
    """
    frame, when = _counted(evidence)
    if frame is None or not when.failed:
        return None
    found = _timed(frame)
    if not found and evidence.metrics is not None:
        found = _timed_in_buckets(evidence.metrics, when)
    rows = []
    for endpoint, (calls, spans) in found.items():
        before, during = spans[:2]
        ratio = [np.nan] * 3
        if before and during and before[0] > 0:
            ratio = [during[1] / before[1], during[0] / before[2], during[2] / before[0]]
        rows.append((endpoint, round(calls), *(each[1] if each else np.nan for each in spans), *ratio))
    if not rows:
        return None
    names = ["endpoint", "calls", *(f"{name}_s" for name in PHASES), "times", "low", "high"]
    told = pd.DataFrame(rows, columns=names).sort_values("calls", ascending=False, kind="stable")
    return told.head(MOST).reset_index(drop=True)


def fixed(evidence: Evidence) -> Fixed:
    """Do calls fail no more often since the end than before the beginning, but for noise?"""
    limits = _limits(evidence)
    frame, when = _counted(evidence)
    if frame is None:
        return Fixed(None, "Cannot tell: neither logs nor metrics tell of calls.")
    if not when.failed:
        return Fixed(None, "Nothing was seen that would have to be fixed.")
    if when.ongoing or when.recovered is None:
        what = "calls still fail at the end of the window" if when.ongoing else "no end of it was observed"
        return Fixed(False if when.ongoing else None, f"{'No' if when.ongoing else 'Cannot tell'}: {what}.")
    (tries, hits), (base, base_hits) = (_sums(frame[frame["phase"] == number]) for number in (2, 0))
    low, high = _more(hits, tries, base_hits, base)
    since = f"since the end {hits:,.0f} of {tries:,.0f} calls failed"
    than = "than before" if base else "than none (nothing was seen before it began)"
    if tries and high < limits.noise_share:
        most = math.ceil(high * 1000) / 1000  # a bound is rounded outward
        more = f"at most {most:.1%} more" if most > 0 else "no more"
        return Fixed(True, f"Yes: {since}, {more} {than}.")
    if low > 0 and hits / tries >= limits.noise_share:
        return Fixed(False, f"No: {since}, {low:.1%} to {high:.1%} more {than}.")
    wait = _wait(evidence.window.end - when.recovered.latest, tries, hits, base, base_hits, limits)
    minutes = 0 if wait is None else math.ceil(wait / timedelta(minutes=1))
    more = f"; {many(minutes, 'more minute')} without a failure would tell" if minutes else ""
    return Fixed(None, f"Not enough calls to tell: {since}{more}.", wait)


@remembered
def _counted(evidence: Evidence) -> tuple[pd.DataFrame | None, Times]:
    """The calls that the verdict counts, each with its phase (-1: none), and when it was."""
    when, found = times_of(evidence), tally(evidence, _limits(evidence))
    if found is None:
        return None, when
    return found.frame.assign(phase=_phase(found.frame["timestamp"], when)), when


def _phase(moment: pd.Series[pd.Timestamp], when: Times) -> Any:
    """0 before, 1 during, 2 after; -1 within an interval or an earlier incident, or where nothing failed."""
    phase = np.full(len(moment), -1)
    begun = (when.onset.earliest, when.onset.latest) if when.onset else None
    over = (when.recovered.earliest, when.recovered.latest) if when.recovered else None
    if when.failed:
        phase[_within(moment, begun[1] if begun else None, over[0] if over else None)] = 1
        if begun:
            phase[_within(moment, None, begun[0])] = 0
            for each in when.earlier:
                whole = sorted([*each.seen, *(each.onset or ()), *(each.recovered or ())])
                phase[_within(moment, whole[0], whole[-1]) & (phase == 0)] = -1
        if over:
            phase[_within(moment, over[1], None)] = 2
    return phase


def _within(moment: pd.Series[pd.Timestamp], start: datetime | None, end: datetime | None) -> Any:
    inside = np.ones(len(moment), dtype=bool)
    if start:
        inside &= (moment >= start).to_numpy()
    if end:
        inside &= (moment < end).to_numpy()
    return inside


def _limits(evidence: Evidence) -> Thresholds:
    return from_table(evidence.context.get("thresholds") or {})


def _sums(frame: pd.DataFrame) -> tuple[float, float]:
    """Calls, and how many of them failed."""
    return float(frame["calls"].sum()), float(frame.loc[frame["kind"].notna(), "calls"].sum())


def _rows(frame: pd.DataFrame, name: str) -> Iterator[tuple[Any, ...]]:
    told = frame.loc[(frame["phase"] >= 0) & frame[name].notna(), [name, "phase", "calls", "kind"]]
    rows: list[tuple[Any, ...]] = []
    for value, calls in told.groupby(name):
        sums = [_sums(calls[calls["phase"] == number]) for number in range(3)]
        shares = [hits / tries if tries else np.nan for tries, hits in sums]
        (base, base_hits), (tries, hits) = sums[:2]
        bounds = _more(hits, tries, base_hits, base) if base and tries else (np.nan, np.nan)
        every = round(sum(each[0] for each in sums))
        rows.append((name, value, every, *shares, shares[1] - shares[0], *bounds))
    rows.sort(key=lambda row: -row[2])
    yield from sorted(rows[:MOST], key=lambda row: (np.isnan(row[6]), -abs(row[6])))


def _more(hits: float, tries: float, base_hits: float, base: float) -> tuple[float, float]:
    """By how much the share is larger than the other: at least, at most; itself where there is no other."""
    return newcombe(hits, tries, base_hits, base) if base else wilson(hits, tries)


def _timed(frame: pd.DataFrame) -> _Durations:
    if "duration_s" not in frame:
        return {}
    timed = frame.loc[
        frame["duration_s"].notna() & (frame["phase"] >= 0), ["endpoint", "phase", "duration_s"]
    ]
    return {
        str(endpoint): (
            len(calls), [_p95(calls.loc[calls["phase"] == number, "duration_s"]) for number in range(3)]
        )
        for endpoint, calls in timed.groupby("endpoint")
    }  # fmt: skip


def _timed_in_buckets(metrics: pd.DataFrame, when: Times) -> _Durations:
    steps = counted(metrics, "duration_bucket")
    steps = steps[steps["le"].notna()].assign(endpoint=steps["endpoint"].fillna("all calls"))
    phase, found = _phase(steps["timestamp"], when), {}
    for endpoint in steps["endpoint"].unique():
        own = steps["endpoint"] == endpoint
        sums = [steps[own & (phase == number)].groupby("le")["calls"].sum() for number in range(3)]
        every = sum(float(each.iloc[-1]) for each in sums if len(each))
        found[str(endpoint)] = every, [_p95_in(each) for each in sums]
    return found


def _p95(seconds: pd.Series[float]) -> _Quantile | None:
    """95th percentile between the bounds of its 95 % interval; None of too few values to have one."""
    count = len(seconds)
    if count < LEAST_TIMED:
        return None
    values, spread = np.sort(seconds.to_numpy(dtype=float)), 1.96 * (count * 0.95 * 0.05) ** 0.5
    places = [int(np.clip(round(count * 0.95 + each), 1, count)) - 1 for each in (-spread, 0, spread)]
    low, middle, high = values[places]
    return float(low), float(middle), float(high)


def _p95_in(buckets: pd.Series[float]) -> _Quantile | None:
    """Likewise, of calls per bucket, cumulative: each bound is that of the bucket it lies in."""
    count = float(buckets.iloc[-1]) if len(buckets) > 1 and np.isinf(buckets.index[-1]) else 0.0
    if count < LEAST_TIMED:
        return None
    bounds, spread = np.append(0.0, buckets.index), 1.96 * (count * 0.95 * 0.05) ** 0.5
    held = np.maximum.accumulate(buckets.to_numpy())
    first, last = np.searchsorted(held, np.minimum(count * 0.95 + np.array([-spread, spread]), count))
    middle = histogram_quantile(buckets.rename_axis("le").rename("count").reset_index(), 0.95)
    return float(bounds[first]), float(middle or 0.0), float(bounds[last + 1])


def _wait(
    span: timedelta, tries: float, hits: float, base: float, base_hits: float, limits: Thresholds
) -> timedelta | None:
    """How much longer it takes at the traffic of `span` until no more failures would tell."""
    if not tries or span <= timedelta(0):
        return None
    needed = tries
    while needed < MOST_CALLS:
        if _more(hits, needed, base_hits, base)[1] < limits.noise_share:
            return span * ((needed - tries) / tries)
        needed = np.ceil(needed * 1.05)
    return None
