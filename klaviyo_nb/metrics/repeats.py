"""Samples that a server repeats where it has none.

Prometheus gives a series' last sample for five minutes more. Where it was itself down, or scraped more
seldom, that looks as if nothing had been called. When samples were taken tells `timestamp()`; it is asked
only where all counters stand still at once, which those of a busy application do nowhere else.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from klaviyo_nb.metrics.matrix import Numbers, Series


#: No server repeats a sample for longer [s]: what says so is no time.
_LONGEST_S = 3600


def question(expr: str) -> str:
    """When the newest sample of some series was taken [s since the epoch]."""
    return f"max(timestamp({expr}))"


def stand_still(every: Sequence[Series], first: int, step: int) -> bool:
    """Is there a time at which no series has another value than a step before?

    Args:
        every: Sampled at multiples of the step.
        first: The first time that was asked for [s since the epoch].
        step: Seconds between samples.
    """
    size = (max(int(each.times[-1]) for each in every) // 10**9 - first) // step + 1
    seen, moved = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for each in every:
        at = (each.times // 10**9 - first) // step
        seen[at] = True
        moved[at[1:]] |= each.values[1:] != each.values[:-1]
        moved[at[0]] = True
        if moved.all():
            return False
    return bool((seen & ~moved).any())


def repeated(newest: Series, step: int) -> Numbers:
    """The times [ns] at which the newest sample was taken a step earlier or more, so that all are repeats."""
    age = newest.times / 1e9 - newest.values
    return newest.times[(age >= step) & (age < max(_LONGEST_S, step))]


def without(every: Sequence[Series], times: Numbers) -> list[Series]:
    """The series without their samples at some times; none that would be left empty."""
    kept = [(each, ~np.isin(each.times, times)) for each in every]
    return [
        replace(each, times=each.times[stays], values=each.values[stays])
        for each, stays in kept
        if stays.any()
    ]
