"""Metrics by series, and as the rows of a METRICS frame: each is made from the other.

A day of samples has a million rows and a few hundred series, most of them sampled at the same times: so times
and values stand in an array per series, and labels once. All that is counted is counted from these; whoever
wants rows has them made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import METRICS, UTC_NS, plain_rows
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
    """Series with their samples: what a METRICS frame holds.

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

    def __len__(self) -> int:
        """How many samples there are."""
        return sum(map(len, self.values))


#: Samples by series, or as a METRICS frame.
Metrics: TypeAlias = "Layout | pd.DataFrame"


def layout(metrics: Metrics) -> Layout:
    """The series of metrics, in whatever order a frame's rows stand; of two samples of a time the later."""
    return metrics if isinstance(metrics, Layout) else _of_rows(metrics)


@remembered
def _of_rows(metrics: pd.DataFrame) -> Layout:
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


def to_frame(found: Layout) -> pd.DataFrame:
    """METRICS frame of series, in their order, each in order of time; its layout is known."""
    of_each: dict[str, Any] = {
        "timestamp": [found.times[at] for at in found.at],
        "value": found.values,
        "le": np.array([each["le"] for each in found.labels], np.float64),
    }
    texts = {
        name: pd.Categorical(pd.array([each[name] for each in found.labels], dtype="str"))
        for name, column in METRICS.columns.items()
        if column.dtype == "category"
    }
    of_each |= {name: each.codes for name, each in texts.items()}
    columns: dict[str, Any] = _filled(of_each, [len(each) for each in found.values])
    columns["timestamp"] = pd.DatetimeIndex(columns["timestamp"], dtype=UTC_NS, copy=False)
    for name, each in texts.items():
        columns[name] = pd.Categorical.from_codes(columns[name], each.categories, validate=False)
    frame = METRICS.check(pd.DataFrame(columns, columns=list(METRICS.columns), copy=False))
    _of_rows.know(found, frame)
    return frame


def _filled(of_each: Mapping[str, Sequence[Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Columns of so many rows for each series: what it has of them, or one value for all of them.

    They stand in one piece of memory. Most of what a frame takes is to touch fresh memory, 2 µs a page: one
    of a large piece has 2 MB, for which numpy asks, and one of others 4 KB.
    """
    dtypes = {name: np.asarray(own[0]).dtype for name, own in of_each.items()}
    names = sorted(dtypes, key=lambda name: -dtypes[name].itemsize)  # so that each is aligned
    ends = np.cumsum([dtypes[name].itemsize * sum(sizes) for name in names])
    pieces = np.split(np.empty(ends[-1], np.uint8), ends[:-1])
    columns = {name: piece.view(dtypes[name]) for name, piece in zip(names, pieces, strict=True)}
    rows = [slice(end - size, end) for end, size in zip(accumulate(sizes), sizes, strict=True)]
    for name, own in of_each.items():
        for some, values in zip(rows, own, strict=True):
            columns[name][some] = values
    return columns
