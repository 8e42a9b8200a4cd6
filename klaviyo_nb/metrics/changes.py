"""Where the share of failing calls changes: cuts that maximise a binomial likelihood, and how sure each is.

The bins are cut by dynamic programming (PELT) with a price for each cut. Calls that fail in bunches vary more
than a binomial does, so its likelihood is divided by how much more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from klaviyo_nb.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: Fewer failures, or a smaller share of calls, are background noise [calls; 1].
LEAST_FAILURES, LEAST_SHARE = 5, 0.05
#: Two-sided 95 %, for the share of a piece to lie above `LEAST_SHARE`.
SURE = 1.96
#: Price of a cut [log-likelihood]: `PRICE` per log of the number of bins, plus `PRICE_EACH`.
PRICE, PRICE_EACH = 1.5, 4.0
#: Log-likelihood by which a border may fall short of the best one and still be possible.
SHORTFALL = 3.0
#: Likewise for a beginning that is later than the best one, or an end that is earlier: by chance a call fails
#: just before a fault, or just after.
LATER = 5.0
#: Log-likelihood by which successes before the first failure must tell that it was not under way already.
BEGUN = 2.0
#: Log-likelihood by which the share must be seen to rise within a piece, to be told that it began in it.
CHANGED = 6.0
#: More pieces than this are not tried: bins are cut in groups; borders are placed on the bins themselves.
MOST_BINS = 1500
#: Pieces that end in so many places are weighed at once.
_AT_ONCE = 32
#: Calls may fail in bunches (retries): variance over binomial variance, as far as it is believed; and the
#: least width of the bins that it is taken from [ns].
MOST_SPREAD, SPREAD_NS = 6.0, 60 * 10**9

#: Failures belong to a stretch that begins so soon after them [ns], if they are more than is usual; where no
#: call failed before, so many of as many calls may [calls].
FORERUN_NS, FEW = 120 * 10**9, 0.1

#: Earliest and latest moment [ns since the epoch].
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins that hold calls, in order: their counts, when they start, and how wide they are [ns]."""

    calls: Floats
    failed: Floats
    starts: Ints
    width: int

    @property
    def ends(self) -> Ints:
        """When they end."""
        return self.starts + self.width


@dataclass(frozen=True, slots=True)
class Run:
    """Bins that fail for certain.

    Attributes:
        seen: From the start of the first to the end of the last; of the first piece, from its onset on.
        onset: When its first call failed; None if the bins begin with it.
        recovered: When its last call failed; None if they end with it.
        calls: Calls in it.
        failed: How many of them failed.
    """

    seen: Span
    onset: Span | None
    recovered: Span | None
    calls: float
    failed: float


def failing_runs(bins: Bins, among: int = 1) -> Iterator[Run]:
    """The stretches that fail for certain, in order.

    Args:
        bins: What was counted.
        among: How many such series are looked at: the more, the surer each has to be.
    """
    spread = _spread(bins)
    cuts = _cuts(bins, spread, among)
    for first, last in _pieces(bins, cuts, spread, among):
        # The bin of a change can be a piece of its own, in the run or beside it; its neighbour
        # then shows the share.
        alone = np.diff(cuts) == 1
        since = first - 2 if first > 1 and alone[first - 1] else first - 1
        after = first + 2 if first < last and alone[first] else first + 1
        before = last - 1 if first < last and alone[last] else last
        until = last + 3 if last + 3 < len(cuts) and alone[last + 1] else last + 2
        onset, end = None if first else _begun(bins, cuts[1], spread), None
        if first:
            onset = _border(bins, cuts[since], cuts[after], spread, rising=True)
        if until < len(cuts):
            end = _border(bins, cuts[before], cuts[until], spread, rising=False)
        begins = int(np.searchsorted(bins.starts, onset[0])) if onset and not first else cuts[first]
        where = slice(begins, cuts[last + 1])
        seen = int(bins.starts[where][0]), int(bins.ends[where][-1])
        yield Run(seen, onset, end, float(bins.calls[where].sum()), float(bins.failed[where].sum()))


def _likelihood(failed: Floats, calls: Floats) -> Floats:
    """Best binomial log-likelihood of pieces with these sums (without the term that all cuts share)."""
    return _xlogx(failed) + _xlogx(calls - failed) - _xlogx(calls)


def _xlogx(x: Floats) -> Floats:
    return np.asarray(x * np.log(np.maximum(x, 1e-300)))


def _spread(bins: Bins) -> float:
    """Variance of the failures over that of a binomial, at least 1, from neighbouring bins.

    Neighbours see through changes of the share; the largest tenth is left out, since they are the changes.
    """
    first = np.flatnonzero(np.diff(bins.starts // max(SPREAD_NS, bins.width), prepend=-1))
    n, k = np.add.reduceat(bins.calls, first), np.add.reduceat(bins.failed, first)
    both, hits = n[1:] + n[:-1], k[1:] + k[:-1]
    usable = (hits > 0) & (hits < both)
    if usable.sum() < 20:
        return 1.0
    gap = (k[1:] / n[1:] - k[:-1] / n[:-1])[usable]
    share, weight = (hits / both)[usable], (n[1:] * n[:-1] / both)[usable]
    squares = np.sort(weight * gap**2 / (share * (1 - share)))
    return float(np.clip(squares[: math.ceil(len(squares) * 0.9)].mean(), 1.0, MOST_SPREAD))


def _cuts(bins: Bins, spread: float, among: int) -> list[int]:
    """Borders of the pieces, as indices of bins: the first 0, the last the number of bins."""
    ends = _candidates(bins)
    failed = np.append(0.0, np.cumsum(bins.failed))[ends]
    calls = np.append(0.0, np.cumsum(bins.calls))[ends]
    price = PRICE * math.log(max(len(bins.calls), 2)) + PRICE_EACH + math.log(among)
    best = np.zeros(len(ends))
    came_from = np.zeros(len(ends), dtype=np.int64)
    alive = np.zeros(1, dtype=np.int64)  # candidates that can still be the last cut (PELT)
    for first in range(1, len(ends), _AT_ONCE):
        block = np.arange(first, min(first + _AT_ONCE, len(ends)))
        cuts = np.append(alive, block[:-1])
        told = failed[block, None] - failed[cuts], calls[block, None] - calls[cuts]
        # A row per end; cuts behind it are not looked at.
        pieces = _likelihood(*np.maximum(told, 0.0)) / spread
        pieces[:, : len(alive)] += best[alive]
        for row, end in zip(pieces, block, strict=True):
            known = len(alive) + end - first
            at = int(np.argmax(row[:known]))
            best[end], came_from[end] = row[at] - price, cuts[at]
            pieces[:, known : known + 1] += best[end]
        alive = np.append(cuts[row >= best[end]], end)
    path = [len(ends) - 1]
    while path[-1]:
        path.append(int(came_from[path[-1]]))
    return [int(ends[index]) for index in reversed(path)]


def _candidates(bins: Bins) -> Ints:
    """Where a cut can be best: not between bins that all succeeded, or that all failed; grouped if many."""
    size = len(bins.calls)
    kind = np.where(bins.failed <= 0, 0, np.where(bins.failed >= bins.calls, 1, 2))
    inner = 1 + np.flatnonzero((kind[1:] != kind[:-1]) | (kind[1:] == 2))
    inner = inner[:: math.ceil(len(inner) / MOST_BINS) or 1]
    return np.concatenate([[0], inner, [size]]).astype(np.int64)


def _pieces(bins: Bins, cuts: list[int], spread: float, among: int) -> Iterator[tuple[int, int]]:
    """First and last piece of each run of pieces that fail for certain."""
    weight = (SURE**2 + 2 * math.log(among)) * spread
    failing = [
        _fails(bins.failed[start:end].sum(), bins.calls[start:end].sum(), weight)
        for start, end in pairwise(cuts)
    ]
    edges = np.flatnonzero(np.diff([False, *failing, False]))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        yield int(first), int(after) - 1


def _fails(failed: float, calls: float, weight: float) -> bool:
    """Enough failures, and a share whose Wilson interval lies above `LEAST_SHARE`."""
    return failed >= LEAST_FAILURES and wilson(failed, calls, math.sqrt(weight))[0] > LEAST_SHARE


def _begun(bins: Bins, end: int, spread: float) -> Span | None:
    """When the first piece began to fail, if calls succeeded before; None if it may have been under way.

    The successes before are too few for a piece of their own, but more than come by chance; so are single
    failures among many successes, as noise has them.
    """
    calls, failed = bins.calls[:end], bins.failed[:end]
    whole = _likelihood(failed.sum(), calls.sum())
    told = _splits(calls, failed, rising=True) - whole
    first, at = int(np.flatnonzero(failed > 0)[0]), int(np.argmax(told))
    noise = first < at and failed[first:at].sum() < LEAST_SHARE * calls[first:at].sum()
    if noise and told[at] >= CHANGED * spread:
        return _border(bins, 0, end, spread, rising=True)
    if _likelihood(failed.sum(), calls[first:].sum()) - whole < BEGUN * spread:
        return None
    alone = int(bins.ends[first - 1]), int(bins.ends[first])
    if told[at] >= max(told[first] + SHORTFALL, CHANGED) * spread:
        return alone[0], max(alone[1], _border(bins, 0, end, spread, rising=True)[1])
    return alone


def first_of_rise(bins: Bins, before: int, usual: float, among: int) -> int | None:
    """Number of the first failing bin from which on more fails than before, and for certain than is usual.

    Args:
        bins: What was counted.
        before: What fails until this moment [ns] has to make it certain.
        usual: Share of other calls that fails.
        among: How many such series are looked at: the more, the surer each has to be.

    Returns:
        None if it is not higher.
    """
    told = _splits(bins.calls, bins.failed, rising=True) - _likelihood(bins.failed.sum(), bins.calls.sum())
    if told.max() < BEGUN:
        return None
    first = int(np.flatnonzero((bins.failed > 0) & (told >= told.max() - SHORTFALL))[0])
    until = int(np.searchsorted(bins.starts, before))
    calls, failed = bins.calls[first:until].sum(), bins.failed[first:until].sum()
    if failed <= usual * calls:
        return None
    by_chance = failed * math.log(usual) + (calls - failed) * math.log(1 - usual)
    return first if _likelihood(failed, calls) - by_chance >= CHANGED + math.log(among) else None


def _splits(calls: Floats, failed: Floats, *, rising: bool) -> Floats:
    """Log-likelihood of a rise (or fall) of the share before each bin; -inf where it does not."""
    n, k = np.append(0.0, np.cumsum(calls)), np.append(0.0, np.cumsum(failed))
    told = (_likelihood(k, n) + _likelihood(k[-1] - k, n[-1] - n))[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = (k[-1] - k[:-1]) / (n[-1] - n[:-1]) - k[:-1] / n[:-1]
    told[~(change > 0 if rising else change < 0)] = -math.inf
    return told


def _border(bins: Bins, start: int, end: int, spread: float, *, rising: bool) -> Span:
    """Where the first (or last) failing call of a stretch lies, in the bins `start:end`, as an interval.

    The share changed between two bins, or within one that holds both failures and successes and whose share
    then lies between those before and after it. What falls short of the best by `SHORTFALL` at most is
    possible. The first failing call is that of the first bin with one after the change, and it is told
    apart from the call before it by the time between them.
    """
    calls, failed = bins.calls[start:end], bins.failed[start:end]
    n, k = np.append(0.0, np.cumsum(calls)), np.append(0.0, np.cumsum(failed))
    between = _splits(calls, failed, rising=rising)
    mixed = np.flatnonzero((failed > 0) & (failed < calls))
    within = _within(calls, failed, n, k)[mixed]
    best = max(between.max(), within.max(initial=-math.inf))
    at = np.concatenate([np.arange(len(between)), mixed + (0 if rising else 1)])
    told = np.concatenate([between, within])
    peak = at[int(np.argmax(told))]
    short = np.where(at > peak if rising else at < peak, LATER, SHORTFALL) * spread
    splits = start + at[told >= best - short]
    bad = np.flatnonzero(bins.failed > 0)
    at = np.unique(np.searchsorted(bad, splits) - (0 if rising else 1))
    if rising:
        at = bad[[_first(bins, bad[: at[0] + 1]), *at]]
        return int(np.where(at > 0, bins.ends[at - 1], bins.starts[at]).min()), int(bins.ends[at].max())
    at = bad[at]
    after = np.append(bins.starts, bins.ends[-1])[at + 1]
    return int(bins.starts[at].min()), int(np.maximum(after, bins.ends[at]).max())


def _first(bins: Bins, bad: Ints) -> int:
    """The first of the failing bins `bad` that is more likely a forerunner of the last one than noise.

    Faults begin with single failures: they belong to what follows closely, where hardly any are usual. What
    gets worse slowly has forerunners of forerunners.
    """
    last = len(bad) - 1
    while True:
        near = np.flatnonzero(bins.starts[bad[:last]] > bins.starts[bad[last]] - FORERUN_NS)
        first = next((int(at) for at in near if _runs_before(bins, int(bad[at]), int(bad[last]))), last)
        if first == last:
            return last
        last = first


def _runs_before(bins: Bins, at: int, last: int) -> bool:
    """Fail more calls from one bin until another than the share before would have fail?"""
    calls, failed = bins.calls[at:last].sum(), bins.failed[at:last].sum()
    usual = (bins.failed[:at].sum() + FEW) / (bins.calls[:at].sum() + 1.0) * calls
    return bool(failed > usual + 2 * math.sqrt(usual))


def _within(calls: Floats, failed: Floats, n: Floats, k: Floats) -> Floats:
    """Log-likelihood of a change within each bin: before it one share, after it another."""
    n_after, k_after = n[-1] - n[1:], k[-1] - k[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other, own = k[:-1] / n[:-1], k_after / n_after, failed / calls
        share = np.clip(own, np.minimum(one, other), np.maximum(one, other))
    share = np.where(np.isnan(share), own, share)  # no bin on one side: its own share is that side's
    found = _likelihood(k[:-1], n[:-1]) + _likelihood(k_after, n_after)
    found += failed * np.log(np.maximum(share, 1e-12))
    return np.asarray(found + (calls - failed) * np.log(np.maximum(1 - share, 1e-12)))
