"""Samples that a server repeats where it has none.

Prometheus gives a series' last sample for five minutes more. Where it was itself down, or scraped more
seldom, that looks as if nothing had been called. When samples were taken tells `timestamp()`; it is asked
only where all counters stand still at once, which those of a busy application do nowhere else, and of a few
series: for 200 of a day Prometheus 2.42 took 41 s.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from klaviyo_nb.metrics.matrix import Numbers, Series


#: No server repeats a sample for longer [s]: what says so is no time.
_LONGEST_S = 3600
#: So many series are asked about at most.
_SERIES = 3
#: A label that every server takes in a selector as it stands.
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


def still(every: Sequence[Series], first: int, step: int) -> Numbers:
    """The times [ns] at which no series has another value than a step before.

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
            break
    return (first + np.flatnonzero(seen & ~moved) * step) * 10**9


def question(every: Sequence[Series], times: Numbers) -> str:
    """When the newest sample of a few series was taken [s], of those sampled at most of the times."""
    asked: list[str] = []
    while len(times) and len(asked) < _SERIES:
        best = max(every, key=lambda each: np.searchsorted(times, each.times[[0, -1]]) @ [-1, 1])
        left = times[(times < best.times[0]) | (times > best.times[-1])]
        if len(left) == len(times):
            break
        asked.append(f"timestamp({_selector(best.labels)})")
        times = left
    return f"max({' or '.join(asked)})"


def _selector(labels: Mapping[str, str]) -> str:
    plain = (name for name in labels if _LABEL.fullmatch(name))
    inside = (f"{name}={json.dumps(labels[name], ensure_ascii=False)}" for name in plain)
    return f"{{{','.join(inside)}}}"


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
