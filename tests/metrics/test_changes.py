from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from klaviyo_nb.metrics import changes
from klaviyo_nb.metrics.changes import Bins


def told(bins: Bins, start: int, end: int) -> float:
    """Log-likelihood of a piece, less its price."""
    price = changes.PRICE * math.log(len(bins.calls)) + changes.PRICE_EACH
    return float(changes._likelihood(bins.failed[start:end].sum(), bins.calls[start:end].sum())) - price


def most(bins: Bins) -> float:
    """The most that any cuts come to: all are tried."""
    found = [0.0]
    for end in range(1, len(bins.calls) + 1):
        found.append(max(found[start] + told(bins, start, end) for start in range(end)))
    return found[-1]


@pytest.mark.parametrize("seed", range(8))
def test_no_other_cuts_are_better(seed: int):
    rng = np.random.default_rng(seed)
    share = np.repeat(rng.choice([0.0, 0.02, 0.1, 0.2, 0.8], 9), rng.integers(1, 50, 9))
    calls = rng.poisson(8, len(share)) + 1.0
    bins = Bins(calls, rng.binomial(calls.astype(int), share).astype(float), np.arange(len(share)), 1)
    cuts = changes._cuts(bins, 1.0, 1)
    assert len(cuts) > 2
    assert sum(told(bins, *piece) for piece in pairwise(cuts)) == pytest.approx(most(bins))
