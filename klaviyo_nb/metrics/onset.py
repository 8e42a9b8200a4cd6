"""When did calls begin to fail, and when did they stop? Answered from counts per bin, as intervals.

The counts are binomial: of `calls` in a bin, `failed` failed. The bins are cut where the share changes (the
cuts that maximise the likelihood less a penalty for each, by dynamic programming); pieces that fail for
certain are joined to episodes; and each border of an episode becomes the interval in which moving it is
about as likely. The bin in which the change fell holds calls from both sides, so its own share is left free
between theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Moments = tuple[datetime, datetime]

#: Fewer failures, or a smaller share of calls, are background noise [calls; 1].
LEAST_FAILURES, LEAST_SHARE = 5, 0.05
#: Two-sided 95 %, for the share of a piece to lie above `LEAST_SHARE`.
SURE = 1.96
#: Price of a cut [log-likelihood]: `PRICE` per log of the number of bins, plus `PRICE_EACH`.
PRICE, PRICE_EACH = 1.5, 4.0
#: Log-likelihood by which a border may fall short of the best one and still be possible.
SHORTFALL = 3.0
#: More bins than this are cut in groups; their borders are then placed on the bins themselves.
MOST_BINS = 1500
#: Calls may fail in bunches (retries): variance over binomial variance, as far as it is believed.
MOST_SPREAD = 6.0


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch in which calls failed for certain.

    Attributes:
        onset: Earliest and latest moment it can have begun; None if it was under way when the bins begin.
        recovered: Likewise its end; None if it still went on when the bins end.
        seen: First and last moment it was observed: borders of bins.
        calls: Calls in it.
        failed: How many of them failed.
    """

    onset: Moments | None
    recovered: Moments | None
    seen: Moments
    calls: float
    failed: float


@dataclass(frozen=True, slots=True)
class _Counts:
    """Bins that hold calls: their counts and borders [ns since the epoch]."""

    calls: Floats
    failed: Floats
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def episodes(bins: pd.DataFrame, lag_s: float = 0.0) -> list[Episode]:
    """Find the stretches in which calls failed, in order of time.

    A bin that is absent, holds no calls, or whose counts are missing says nothing; a border beside such bins
    becomes as wide as they are. Nothing found means only that nothing was certain: ask how many bins held
    calls before calling that quiet.

    Args:
        bins: One row per bin of equal width: `timestamp` (UTC, start of the bin), `calls`, `failed`.
        lag_s: By how much a bin can be late: 0 for logs, the scrape interval for metrics [s].
    """
    counts = _observed(bins)
    if not len(counts.calls):
        return []
    spread = _spread(counts)
    cuts = _cuts(counts, spread)
    found = []
    for first, last in _failing_runs(counts, cuts, spread):
        # The bin of a change can be a piece of its own; then its neighbour in the run shows the share.
        after = first + 2 if first < last and cuts[first + 1] - cuts[first] == 1 else first + 1
        before = last - 1 if first < last and cuts[last + 1] - cuts[last] == 1 else last
        onset = _border(counts, cuts[first - 1], cuts[after], spread) if first else None
        end = _border(counts, cuts[before], cuts[last + 2], spread) if last + 2 < len(cuts) else None
        found.append(_episode(counts, slice(cuts[first], cuts[last + 1]), onset, end))
    lag = pd.Timedelta(seconds=lag_s)
    return [
        replace(
            each,
            onset=each.onset and (each.onset[0] - lag, each.onset[1]),
            recovered=each.recovered and (each.recovered[0] - lag, each.recovered[1]),
        )
        for each in found
    ]


def _observed(bins: pd.DataFrame) -> _Counts:
    frame = bins.sort_values("timestamp")
    starts = frame["timestamp"].astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    apart = np.diff(starts)
    width = int(apart[apart > 0].min()) if (apart > 0).any() else 0
    calls = frame["calls"].to_numpy(dtype=float, na_value=np.nan)
    failed = frame["failed"].to_numpy(dtype=float, na_value=np.nan)
    kept = np.isfinite(calls) & np.isfinite(failed) & (calls > 1e-6) & (failed >= 0)
    calls, starts = calls[kept], starts[kept]
    return _Counts(calls, np.minimum(failed[kept], calls), starts, starts + width)


def _likelihood(failed: Floats, calls: Floats) -> Floats:
    """Best binomial log-likelihood of pieces with these sums (without the term that all cuts share)."""
    return _xlogx(failed) + _xlogx(calls - failed) - _xlogx(calls)


def _xlogx(x: Floats) -> Floats:
    return np.asarray(x * np.log(np.maximum(x, 1e-300)))


def _spread(counts: _Counts) -> float:
    """Variance of the failures over that of a binomial, at least 1, from neighbouring bins.

    Neighbours see through changes of the share; the largest tenth is left out, since they are the changes.
    """
    n, k = counts.calls, counts.failed
    both, hits = n[1:] + n[:-1], k[1:] + k[:-1]
    usable = (hits > 0) & (hits < both)
    if usable.sum() < 20:
        return 1.0
    gap = (k[1:] / n[1:] - k[:-1] / n[:-1])[usable]
    share, weight = (hits / both)[usable], (n[1:] * n[:-1] / both)[usable]
    squares = np.sort(weight * gap**2 / (share * (1 - share)))
    return float(np.clip(squares[: math.ceil(len(squares) * 0.9)].mean(), 1.0, MOST_SPREAD))


def _cuts(counts: _Counts, spread: float) -> list[int]:
    """Borders of the pieces, as indices of bins: the first 0, the last the number of bins."""
    size = len(counts.calls)
    group = math.ceil(size / MOST_BINS)
    ends = np.append(np.arange(0, size, group), size)
    failed = np.append(0.0, np.cumsum(counts.failed))[ends]
    calls = np.append(0.0, np.cumsum(counts.calls))[ends]
    price = PRICE * math.log(max(len(ends) - 1, 2)) + PRICE_EACH
    best = np.zeros(len(ends))
    came_from = np.zeros(len(ends), dtype=np.int64)
    alive = np.zeros(1, dtype=np.int64)  # candidates that can still be the last cut (PELT)
    for end in range(1, len(ends)):
        whole = best[alive] + _likelihood(failed[end] - failed[alive], calls[end] - calls[alive]) / spread
        at = int(np.argmax(whole))
        best[end], came_from[end] = whole[at] - price, alive[at]
        alive = np.append(alive[whole >= best[end]], end)
    path = [len(ends) - 1]
    while path[-1]:
        path.append(int(came_from[path[-1]]))
    return [int(ends[index]) for index in reversed(path)]


def _failing_runs(counts: _Counts, cuts: list[int], spread: float) -> Iterator[tuple[int, int]]:
    """First and last piece of each run of pieces that fail for certain."""
    failing = [
        _fails(counts.failed[start:end].sum(), counts.calls[start:end].sum(), spread)
        for start, end in pairwise(cuts)
    ]
    edges = np.flatnonzero(np.diff([False, *failing, False]))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        yield int(first), int(after) - 1


def _fails(failed: float, calls: float, spread: float) -> bool:
    """Enough failures, and a share whose Wilson interval lies above `LEAST_SHARE`."""
    share, weight = failed / calls, SURE**2 * spread / calls
    lower = share + weight / 2 - math.sqrt(weight * share * (1 - share) + weight**2 / 4)
    return failed >= LEAST_FAILURES and lower / (1 + weight) > LEAST_SHARE


def _border(counts: _Counts, start: int, end: int, spread: float) -> Moments:
    """When the share changed, in the bins `start:end`: a profile-likelihood interval.

    For each bin that could hold the change: the bins before it have one share, those after it another, its
    own lies between the two. The interval is the span of the bins whose likelihood falls short of the best
    by no more than `SHORTFALL`, together with the unobserved time before each.
    """
    calls, failed = counts.calls[start:end], counts.failed[start:end]
    n_before, k_before = _before(calls), _before(failed)
    n_after, k_after = calls.sum() - n_before - calls, failed.sum() - k_before - failed
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = k_before / n_before, k_after / n_after
        own = np.clip(failed / calls, np.minimum(one, other), np.maximum(one, other))
    own = np.where(np.isnan(own), failed / calls, own)  # no bin on one side: its own share is that side's
    profile = _likelihood(k_before, n_before) + _likelihood(k_after, n_after)
    profile += failed * np.log(np.maximum(own, 1e-12)) + (calls - failed) * np.log(np.maximum(1 - own, 1e-12))
    possible = start + np.flatnonzero(profile >= profile.max() - SHORTFALL * spread)
    earliest = counts.ends[possible[0] - 1] if possible[0] else counts.starts[0]
    return _moment(earliest), _moment(counts.ends[possible[-1]])


def _before(values: Floats) -> Floats:
    return np.cumsum(values) - values


def _episode(counts: _Counts, where: slice, onset: Moments | None, recovered: Moments | None) -> Episode:
    seen = _moment(counts.starts[where][0]), _moment(counts.ends[where][-1])
    return Episode(
        onset, recovered, seen, float(counts.calls[where].sum()), float(counts.failed[where].sum())
    )


def _moment(nanoseconds: int) -> datetime:
    return pd.Timestamp(int(nanoseconds), unit="ns", tz="UTC").to_pydatetime()
