"""Do calls of one sort fail more often than others of the same time, although failures come in clumps?"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

#: Fewer failing calls of a sort are not looked at.
LEAST = 5
#: Failing calls of a sort lie in so many stretches at least, or they are one burst.
LEAST_STRETCHES = 3
#: Pairs of neighbouring stretches from which clumping can be measured.
LEAST_PAIRS = 20
#: Clumping may be larger than measured, by so many standard deviations.
SURE_Z = 1.645


class Tested(NamedTuple):
    """Sorts of calls beside all that they are compared with; each an array with one value per sort.

    Attributes:
        calls: Of the sort.
        failed: Those that failed.
        clump: Failing calls that count as one.
        gain: How much better the calls are explained if the sort fails in its own way: logarithm of the ratio
            of likelihoods, clumps or not.
        chance: Probability of so much gain by chance; 1: they do not fail more than others, or too few do.
    """

    calls: Any
    failed: Any
    clump: Any
    gain: Any
    chance: Any


def tested(cells: pd.DataFrame, group: Any, base: Any) -> Tested:
    """Test sorts of calls.

    Within a stretch, failing calls would be spread over the sorts like all calls are: so many are expected.

    Args:
        cells: `stretch`, `calls`, `failed`.
        group: Number of the sort of each cell, from 0.
        base: Number of what each cell is compared with: cells of one stretch.
    """
    order = np.lexsort((cells["stretch"].to_numpy(), group))
    base, totals = pd.factorize(base)
    group, base, count = group[order], base[order], int(group.max(initial=-1)) + 1
    n, f = (cells[name].to_numpy()[order].astype(float) for name in ("calls", "failed"))
    all_n, all_f = (np.bincount(base, each, len(totals))[base] for each in (n, f))
    mean = n * all_f / all_n
    spread = mean * (all_n - n) * (all_n - all_f) / np.maximum(all_n * (all_n - 1), 1)
    calls, failed, all_calls, all_failed, expected, stretches = (
        np.bincount(group, each, count) for each in (n, f, all_n, all_f, mean, f > 0)
    )
    clump = _clump(group, f, f - mean, spread, failed)
    enough = (failed >= LEAST) & (stretches >= LEAST_STRETCHES) & (failed > expected)
    gain = _divergence(failed, expected, calls)
    gain += _divergence(all_failed - failed, all_failed - expected, all_calls - calls)
    # Twice the gain is the square of a standard normal variable, if failing calls are independent.
    chance = [math.erfc(math.sqrt(max(each, 0.0))) / 2 for each in gain / clump]
    return Tested(calls.astype(np.int64), failed.astype(np.int64), clump, gain, np.where(enough, chance, 1.0))


def _divergence(seen: Any, expected: Any, draws: Any) -> Any:
    """Draws times the Kullback-Leibler divergence of the seen share from the expected one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(seen > 0, seen * np.log(seen / expected), 0.0)
        miss = np.where(draws > seen, (draws - seen) * np.log((draws - seen) / (draws - expected)), 0.0)
    return np.nan_to_num(hit + miss, nan=0.0, posinf=0.0, neginf=0.0)


def _clump(group: Any, failed: Any, surplus: Any, spread: Any, per_sort: Any) -> Any:
    """How many failing calls count as one, per sort; the cells are by sort and time.

    Of two estimates, both too large rather than too small, the smaller. If all failing calls of a stretch
    were one event, it is the mean size of such an event, as a call sees it. And it is how much more the
    surplus varies from one stretch to the next than with independent calls: a surplus that lasts does not
    vary, a burst does.
    """
    count = len(per_sort)
    events = np.bincount(group, failed**2, count) / np.maximum(per_sort, 1)
    same = group[1:] == group[:-1]
    steps = np.where(same, np.diff(surplus) ** 2, 0.0)
    usual = np.where(same, spread[1:] + spread[:-1], 0.0)
    pairs = np.bincount(group[1:], same & (usual > 0), count)
    measured = np.bincount(group[1:], steps, count) / np.maximum(np.bincount(group[1:], usual, count), 1e-12)
    freedom = np.maximum(pairs * 2 / 3, 1)  # neighbouring pairs share a stretch
    room = freedom - SURE_Z * np.sqrt(2 * freedom)
    known = (pairs >= LEAST_PAIRS) & (room > 0)
    varying = np.where(known, measured * freedom / np.where(known, room, 1), np.inf)
    return np.maximum(np.minimum(events, varying), 1.0)
