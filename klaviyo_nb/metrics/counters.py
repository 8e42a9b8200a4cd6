"""From counters to counts: how far each rose in each step, added up over processes.

A counter says only how far it has come, so each step's count is the difference of two samples. It is
attributed to the span that ends at the later one, and stands at that span's start, as calls from logs do.

A day of samples has a million rows and a few hundred series, most of them sampled at the same times. So
series are counted one by one, in arrays that stay in the processor's cache, and the counts of each kind of
call stand in an array of their own; labels are written out where a frame leaves this folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.integer[Any]]
    Mask = NDArray[np.bool_]

#: Labels that tell one scraped process from another.
TARGET = ("job", "namespace", "instance", "pod")
#: Labels that tell one kind of call from another.
KINDS = ["endpoint", "method", "status", "error_code", "le"]
_SERIES = ["name", "series"]
#: Sums of a kind are made in an array of all steps, unless fewer than one in so many of its places are used.
_SPARSE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Rises:
    """How far counters rose: one count for each step in which a kind of call was observed.

    Attributes:
        times: Starts of all steps of the frame that they are of, ascending [ns].
        kinds: One row per kind: its labels.
        at: Of each kind, the numbers of the steps in which it was observed, ascending.
        calls: Of each kind, its counts in them.
    """

    times: Numbers
    kinds: pd.DataFrame
    at: Sequence[Numbers]
    calls: Sequence[Floats]

    def __len__(self) -> int:
        return sum(map(len, self.calls))

    def of(self, kinds: Mask) -> Rises:
        """Those of some kinds."""
        at, calls = list(compress(self.at, kinds)), list(compress(self.calls, kinds))
        return Rises(self.times, self.kinds[kinds], at, calls)

    def labelled(self, **labels: Any) -> Rises:
        """With other labels of the same kinds."""
        return Rises(self.times, self.kinds.assign(**labels), self.at, self.calls)

    def sums(self, kinds: Iterable[bool] = repeat(True)) -> Floats:
        """Counts of some kinds added up: one for each step, 0 where nothing was observed."""
        found = np.zeros(len(self.times))
        for at, calls in compress(zip(self.at, self.calls, strict=True), kinds):
            found[at] += calls
        return found

    def observed(self, kinds: Iterable[bool] = repeat(True)) -> Mask:
        """Of each step, was one of these kinds observed?"""
        found = np.zeros(len(self.times), dtype=bool)
        for at in compress(self.at, kinds):
            found[at] = True
        return found

    def starts(self, steps: Mask | Numbers) -> pd.DatetimeIndex:
        """When some steps began."""
        return pd.DatetimeIndex(self.times[steps].view("datetime64[ns]"), tz="UTC")

    def frame(self) -> pd.DataFrame:
        """`timestamp` (start of the step), the labels, `calls`; in order of steps, then of kinds."""
        at = np.concatenate([np.empty(0, np.int64), *self.at])
        kind = np.repeat(np.arange(len(self.kinds)), [len(each) for each in self.at])
        order = np.argsort(at * len(self.kinds) + kind, kind="stable")  # merges what is in order already
        at, kind = at[order], kind[order]
        labels = {name: column.array.take(kind) for name, column in self.kinds.items()}
        calls = np.concatenate([np.empty(0), *self.calls])[order]
        return pd.DataFrame({"timestamp": self.starts(at)} | labels | {"calls": calls})


def together(parts: Sequence[Rises], labels: list[str]) -> Rises:
    """One count per step and kind, where `labels` alone tell kinds apart, in the order of their labels.

    Args:
        parts: All of the same frame.
        labels: Some of theirs.
    """
    told = pd.concat([part.kinds[labels] for part in parts], ignore_index=True)
    at, calls = (each for part in parts for each in part.at), (each for part in parts for each in part.calls)
    return _added(parts[0].times, told, at, calls)


def _added(times: Numbers, labels: pd.DataFrame, at: Iterable[Numbers], calls: Iterable[Floats]) -> Rises:
    """Counts of the same step and kind added up, in the order of their labels; without kinds without a count.

    Args:
        times: Starts of steps [ns].
        labels: A row per series of counts.
        at: Of each series, the numbers of its steps, ascending.
        calls: Of each series, its counts.
    """
    number, firsts = _alike(labels)
    parts: list[list[tuple[Numbers, Floats]]] = [[] for _ in firsts]
    for kind, own_at, own in zip(number, at, calls, strict=True):
        if len(own):
            parts[kind].append((own_at, own))
    sums = [_summed(some, len(times)) for some in parts if some]
    kinds = labels.iloc[[first for first, some in zip(firsts, parts, strict=True) if some]]
    return Rises(times, kinds.reset_index(drop=True), [each for each, _ in sums], [each for _, each in sums])


def _summed(parts: list[tuple[Numbers, Floats]], size: int) -> tuple[Numbers, Floats]:
    """Steps and counts of one kind, of so many steps in all."""
    same = parts[0][0]
    if all(np.array_equal(at, same) for at, _ in parts):
        return same, np.add.reduce([calls for _, calls in parts])
    at, calls = np.concatenate([at for at, _ in parts]), np.concatenate([each for _, each in parts])
    sums: Any
    if size > _SPARSE * len(at):
        places, where = np.unique(at, return_inverse=True)
        sums = np.bincount(where, calls, len(places))
    else:
        places = np.flatnonzero(np.bincount(at))
        sums = np.bincount(at, calls)[places]
    return places, sums


def step_s(metrics: pd.DataFrame) -> float | None:
    """Seconds between samples; None if there are fewer than two times."""
    times = _layout(metrics).times
    return float(np.diff(times).min()) / 1e9 if len(times) > 1 else None


@remembered
def counted(metrics: pd.DataFrame, role: str) -> pd.DataFrame:
    """How far the counters of one role rose in each step, as `rises`, with all labels written out.

    Args:
        metrics: METRICS frame.
        role: A counter's.

    Returns:
        `timestamp` (start of the step), `endpoint`, `method`, `status`, `error_code`, `le`, `calls`; a row
        for each series and step in which it was sampled, also where `calls` is 0.
    """
    return rises(metrics, role).frame()


@remembered
def rises(metrics: pd.DataFrame, role: str) -> Rises:
    """How far the counters of one role rose in each step, added up over processes.

    * A sample below the one before means that the process began anew: it counts from 0.
    * A series that appears during the window counts from 0 if its process was sampled earlier (client
      libraries create a counter at its first use). Otherwise its first sample is only what the next is
      counted from, since it may hold the calls of days.
    * Where samples are missing the rise over the hole stands in the last step before the next sample.

    Args:
        metrics: METRICS frame.
        role: A counter's.
    """
    layout = _layout(metrics)
    value = layout.ordered(metrics["value"].to_numpy())
    mine = (layout.labels["role"] == role).to_numpy(dtype=bool)
    every = [
        _rises(at, value[rows], new)
        for at, rows, new in compress(zip(layout.at, layout.rows(), layout.appeared, strict=True), mine)
    ]
    step = round((step_s(metrics) or 0) * 1e9)
    kinds = pd.DataFrame({name: _plain(layout.labels[name][mine]).array for name in KINDS})
    return _added(layout.times - step, kinds, [at for at, _ in every], [calls for _, calls in every])


def _rises(at: Numbers, value: Floats, new: bool) -> tuple[Numbers, Floats]:
    """Where one series was seen to rise, and how far; from 0 if it is new."""
    known = np.isfinite(value)
    if not known.all():
        at, value = at[known], value[known]
    rise = np.diff(value, prepend=0.0)
    seen = slice(0 if new else 1, None)
    return at[seen], np.where(rise < 0, value, rise)[seen]


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Which series and time each row of a METRICS frame is of, in order of series and time.

    Attributes:
        times: All times, ascending [ns].
        labels: One row per role and series: all of the frame's columns, of its first sample.
        appeared: Of each series: was its process sampled before it appeared?
        at: Of each series, the numbers of its times; one array for those that have the same.
        order: The rows; None if they stand in order.
    """

    times: Numbers
    labels: pd.DataFrame
    appeared: Mask
    at: Sequence[Numbers]
    order: Numbers | None

    def ordered(self, column: Floats) -> Floats:
        """A column of the frame in this order."""
        return column if self.order is None else column[self.order]

    def rows(self) -> Iterator[slice]:
        """Of each series, where it stands in this order."""
        ends = np.cumsum([len(at) for at in self.at])
        return (slice(end - len(at), end) for at, end in zip(self.at, ends, strict=True))


def _alike(labels: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Of each row the number of its labels, in order, missing ones last; and the first row of each number."""
    codes = [pd.factorize(column, sort=True)[0] for _, column in labels.items()]
    told = np.array([np.where(each < 0, len(labels), each) for each in codes])
    _, firsts, number = np.unique(told, axis=1, return_index=True, return_inverse=True)
    return number.reshape(-1), firsts  # numpy 2.0 gives it a second axis


@remembered
def _layout(metrics: pd.DataFrame) -> _Layout:
    keys, other = ["role", *_SERIES], np.zeros(len(metrics), dtype=bool)
    other[:1] = True
    for codes in (pd.Categorical(metrics[name]).codes for name in keys):
        other[1:] |= codes[1:] != codes[:-1]
    starts = np.flatnonzero(other)
    number, firsts = _alike(metrics.iloc[starts][keys])
    nanoseconds, order = metrics["timestamp"].to_numpy(dtype="datetime64[ns]").view(np.int64), None
    which, axes = _axes(nanoseconds, starts)
    if len(starts) > len(firsts) or not all((np.diff(axis) > 0).all() for axis in axes):
        number = np.argsort(np.argsort(firsts))[number]  # as they come
        series = np.repeat(number, np.diff(starts, append=len(metrics)))
        order = np.lexsort((nanoseconds, series))
        nanoseconds, series = nanoseconds[order], series[order]
        last = (np.diff(nanoseconds, append=-1) != 0) | (np.diff(series, append=-1) != 0)
        order, nanoseconds, series = order[last], nanoseconds[last], series[last]
        starts = np.flatnonzero(np.diff(series, prepend=-1))
        which, axes = _axes(nanoseconds, starts)
    at, times = _numbered(np.concatenate([np.empty(0, np.int64), *axes]))
    ats = np.split(at, np.cumsum([len(axis) for axis in axes])[:-1])
    labels = metrics.iloc[starts if order is None else order[starts]]
    return _Layout(
        times, labels, _appeared(labels, nanoseconds[starts]), [ats[axis] for axis in which], order
    )


def _axes(nanoseconds: Numbers, starts: Numbers) -> tuple[list[int], list[Numbers]]:
    """Times of the rows from each start on: the number of such an array, and all that differ."""
    which: list[int] = []
    axes: list[Numbers] = []
    last: dict[tuple[int, int], int] = {}
    for times in np.split(nanoseconds, starts[1:]) if len(starts) else ():
        key = len(times), int(times[0])
        if key not in last or not np.array_equal(axes[last[key]], times):
            last[key] = len(axes)
            axes.append(times)
        which.append(last[key])
    return which, axes


def _numbered(nanoseconds: Numbers) -> tuple[Numbers, Numbers]:
    """Of each time its number among all times, and all times: reckoned where samples lie on a grid."""
    apart = np.diff(nanoseconds)
    step, first = apart.min(initial=2**62, where=apart > 0), nanoseconds.min(initial=2**62)
    place = (nanoseconds - first) // step
    if place.max(initial=0) > len(place) or (place * step + first != nanoseconds).any():
        return pd.factorize(nanoseconds, sort=True)
    used = np.bincount(place) > 0
    return (np.cumsum(used) - 1)[place], np.flatnonzero(used) * step + first


def _appeared(labels: pd.DataFrame, since: Numbers) -> Mask:
    """Were the processes of these series sampled before they appeared, at the times `since`?"""
    made = (labels["role"] == "alerts").to_numpy(dtype=bool)  # by the server itself
    targets = labels["series"].astype("str").map(_target)
    seen = pd.Series(since, labels.index)[~made]
    first = seen.groupby(targets[~made]).transform("min").reindex(labels.index)
    return (since > first.to_numpy()) & ~made


def begun_late(metrics: pd.DataFrame, most: float) -> pd.DataFrame:
    """First samples of counters whose process was first sampled later than others: rows of `metrics`.

    Args:
        metrics: METRICS frame.
        most: Those that had come to more are left out.
    """
    layout = _layout(metrics)
    counting = layout.labels["role"].isin(["requests", "errors"])
    firsts, new = layout.labels[counting], layout.appeared[counting]
    late = (firsts["timestamp"] > firsts["timestamp"].min()) & (firsts["value"] <= most) & ~new
    found: pd.DataFrame = firsts[late]
    return found


def _target(series: str) -> tuple[str | None, ...]:
    labels = json.loads(series)
    return tuple(labels.get(label) for label in TARGET)


def _plain(column: Any) -> Any:
    """Texts as texts: what follows replaces some of them."""
    return column.astype("str") if column.dtype == "category" else column
