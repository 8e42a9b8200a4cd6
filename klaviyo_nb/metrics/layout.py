"""Which series and time each row of a METRICS frame is of.

A day of samples has a million rows and a few hundred series, most of them sampled at the same times: so times
and values stand in an array per series, and labels once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import plain_rows
from klaviyo_nb.metrics.replicas import REPLICA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.integer[Any]]
    Mask = NDArray[np.bool_]

#: Labels that tell one scraped process from another. What a server took from another one, or from a collector
#: or gateway, has its own in `exported_…`; where another replica goes on, samples are of its process, too.
_OWN = ("job", "namespace", "instance", "pod", "service_instance_id")
_TARGET = ("cluster", *REPLICA, *_OWN, *(f"exported_{label}" for label in _OWN))
#: Columns that tell one series from another.
_SERIES = ["role", "name", "series"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layout:
    """The series of a METRICS frame.

    Attributes:
        times: All times, ascending [ns].
        labels: Of each series, its columns but for time and value; what is missing is None.
        appeared: Of each series: was its process sampled before it appeared?
        at: Of each series, the numbers of its times, ascending; one array for those that have the same.
        values: Of each series, its samples.
    """

    times: Numbers
    labels: Sequence[Mapping[str, Any]]
    appeared: Sequence[bool]
    at: Sequence[Numbers]
    values: Sequence[Floats]

    @property
    def step(self) -> int:
        """Least time between two samples [ns]; 0 if there are fewer than two times."""
        return int(np.diff(self.times).min()) if len(self.times) > 1 else 0


@remembered
def layout(metrics: pd.DataFrame) -> Layout:
    """The series of a METRICS frame, in whatever order its rows stand; of two samples of a time the later."""
    starts = np.flatnonzero(_changes(_codes(metrics)))
    later = np.diff(_nanoseconds(metrics), prepend=0) > 0
    later[starts] = True
    if not later.all() or metrics.iloc[starts][_SERIES].duplicated().any():
        metrics = metrics.iloc[np.lexsort((_nanoseconds(metrics), *_codes(metrics)))]
        last = _changes([*_codes(metrics), _nanoseconds(metrics)])
        metrics = metrics[np.append(last[1:], True)]
        starts = np.flatnonzero(_changes(_codes(metrics)))
    times, values = (
        np.split(column, starts[1:]) if len(starts) else []
        for column in (_nanoseconds(metrics), metrics["value"].to_numpy())
    )
    return laid_out(plain_rows(metrics.iloc[starts].drop(columns=["timestamp", "value"])), times, values)


def _codes(metrics: pd.DataFrame) -> list[Numbers]:
    return [pd.Categorical(metrics[name]).codes for name in _SERIES]


def _nanoseconds(metrics: pd.DataFrame) -> Numbers:
    return metrics["timestamp"].to_numpy(dtype="datetime64[ns]").view(np.int64)


def _changes(columns: Sequence[Numbers]) -> Mask:
    """Where a row differs from the one before in any column; the first does."""
    found = np.zeros(len(columns[0]), dtype=bool)
    found[:1] = True
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return found


def laid_out(
    labels: Sequence[Mapping[str, Any]], times: Sequence[Numbers], values: Sequence[Floats]
) -> Layout:
    """The layout of series.

    Args:
        labels: Of each series, its columns but for time and value; no two are of the same role and labels.
        times: Of each series, its times, ascending [ns].
        values: Of each series, its samples.
    """
    which, few = _few(times)
    at, every = _numbered(np.concatenate([np.empty(0, np.int64), *few]))
    ats = np.split(at, np.cumsum([len(axis) for axis in few])[:-1])
    return Layout(every, labels, _appeared(labels, times), [ats[axis] for axis in which], values)


def _few(axes: Sequence[Numbers]) -> tuple[list[int], list[Numbers]]:
    """Of each array of times the number of one like it, and all that differ."""
    which: list[int] = []
    few: list[Numbers] = []
    last: dict[tuple[int, int], int] = {}
    for times in axes:
        key = len(times), int(times[0])
        if key not in last or not (few[last[key]] is times or np.array_equal(few[last[key]], times)):
            last[key] = len(few)
            few.append(times)
        which.append(last[key])
    return which, few


def _numbered(nanoseconds: Numbers) -> tuple[Numbers, Numbers]:
    """Of each time its number among all times, and all times: reckoned where samples lie on a grid."""
    apart = np.diff(nanoseconds)
    step, first = apart.min(initial=2**62, where=apart > 0), nanoseconds.min(initial=2**62)
    place = (nanoseconds - first) // step
    if place.max(initial=0) > len(place) or (place * step + first != nanoseconds).any():
        return pd.factorize(nanoseconds, sort=True)
    used = np.bincount(place) > 0
    return (np.cumsum(used) - 1)[place], np.flatnonzero(used) * step + first


def _appeared(labels: Sequence[Mapping[str, Any]], axes: Sequence[Numbers]) -> list[bool]:
    """Were the processes of these series sampled before they appeared?"""
    targets = [None if each["role"] == "alerts" else _target(each["series"]) for each in labels]
    first: dict[object, int] = {}
    for target, times in zip(targets, axes, strict=True):
        first[target] = min(first.get(target, times[0]), times[0])
    # Alerts are made by the server itself.
    return [bool(target and times[0] > first[target]) for target, times in zip(targets, axes, strict=True)]


def _target(series: str) -> tuple[str | None, ...]:
    labels = json.loads(series)
    return tuple(labels.get(label) for label in _TARGET)
