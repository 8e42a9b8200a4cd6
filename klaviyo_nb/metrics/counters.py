"""From counters to counts: how far each rose in each step, added up over processes.

A counter says only how far it has come, so each step's count is the difference of two samples. It is
attributed to the span that ends at the later one, and stands at that span's start, as calls from logs do.

A day of samples has a million rows and a few hundred labels. So labels are told apart in a table of kinds,
and numbers of kinds and of steps go with each count; texts are written out where a frame leaves this folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.integer[Any]]
    Mask = NDArray[np.bool_]

#: Labels that tell one scraped process from another.
TARGET = ("job", "namespace", "instance", "pod")
#: Labels that tell one kind of call from another.
KINDS = ["endpoint", "method", "status", "error_code", "le"]
_SERIES = ["name", "series"]
#: Sums are kept in an array of all steps and kinds, unless fewer than one in so many of its places are used.
_SPARSE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Rises:
    """How far counters rose: one count for each step and kind of call that was observed, in that order.

    Attributes:
        times: Starts of steps, ascending [ns].
        kinds: One row per kind: its labels.
        at: Of each count, the number of its step.
        kind: Of each count, the number of its kind.
        calls: The counts.
    """

    times: Numbers
    kinds: pd.DataFrame
    at: Numbers
    kind: Numbers
    calls: Floats

    def __len__(self) -> int:
        return len(self.calls)

    def of(self, kinds: Mask) -> Rises:
        """Those of some kinds."""
        kept = kinds[self.kind]
        number = np.cumsum(kinds) - 1
        return Rises(self.times, self.kinds[kinds], self.at[kept], number[self.kind[kept]], self.calls[kept])

    def labelled(self, **labels: Any) -> Rises:
        """With other labels of the same kinds."""
        return Rises(self.times, self.kinds.assign(**labels), self.at, self.kind, self.calls)

    def frame(self) -> pd.DataFrame:
        """`timestamp` (start of the step), the labels, `calls`."""
        times = pd.DatetimeIndex(self.times.view("datetime64[ns]"), tz="UTC").take(self.at)
        labels = {name: column.array.take(self.kind) for name, column in self.kinds.items()}
        return pd.DataFrame({"timestamp": times} | labels | {"calls": self.calls})


def together(parts: Sequence[Rises], labels: list[str]) -> Rises:
    """One count per step and kind, where `labels` alone tell kinds apart, in the order of their labels."""
    told = pd.concat([part.kinds[labels] for part in parts], ignore_index=True)
    number, firsts = _alike(told)
    kinds = told.iloc[firsts].reset_index(drop=True)
    times = np.unique(np.concatenate([part.times for part in parts]))
    before = np.cumsum([0, *(len(part.kinds) for part in parts)])
    at = np.concatenate([np.searchsorted(times, part.times)[part.at] for part in parts])
    kind = np.concatenate([number[part.kind + first] for part, first in zip(parts, before, strict=False)])
    return _added(times, kinds, at, kind, np.concatenate([part.calls for part in parts]))


def _added(times: Numbers, kinds: pd.DataFrame, at: Numbers, kind: Numbers, calls: Floats) -> Rises:
    """Counts of the same step and kind added up; what is missing is left out, and kinds without a count."""
    known, size = np.isfinite(calls), len(times) * len(kinds)
    place, calls = (at * len(kinds) + kind)[known], calls[known]
    if size <= _SPARSE * len(place):
        places = np.flatnonzero(np.bincount(place, minlength=size))
        sums: Any = np.bincount(place, calls, size)[places]
    else:
        places, where = np.unique(place, return_inverse=True)
        sums = np.bincount(where, calls, len(places))
    at, kind = np.divmod(places, max(len(kinds), 1))
    used = np.zeros(len(kinds), dtype=bool)
    used[kind] = True
    number = np.cumsum(used) - 1
    return Rises(times, kinds[used].reset_index(drop=True), at, number[kind], sums)


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
    layout, value = _layout(metrics), metrics["value"].to_numpy()
    mine = (layout.labels["role"] == role).to_numpy(dtype=bool)
    labels, step = layout.labels[mine], step_s(metrics)
    rows = layout.rows(mine) if step else slice(0)
    series, at, value = layout.series[rows], layout.at[rows], value[rows]
    if (missing := np.isnan(value)).any():
        series, at, value = series[~missing], at[~missing], value[~missing]
    place = series * len(layout.times) + at
    if (np.diff(place) < 0).any():
        order = np.argsort(place, kind="stable")
        series, at, value = series[order], at[order], value[order]
    begins = np.flatnonzero(np.diff(series, prepend=-1))
    before = np.append(np.nan, value)[:-1]
    before[begins] = np.where(layout.appeared[series[begins]], 0.0, np.nan)
    rise = np.where(value < before, value, value - before)
    number = np.zeros(len(mine), dtype=np.int64)
    number[mine], firsts = _alike(labels[KINDS])
    kinds = pd.DataFrame({name: _plain(labels[name]).array.take(firsts) for name in KINDS})
    return _added(layout.times - round((step or 0) * 1e9), kinds, at, number[series], rise)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Which series and time each row of a METRICS frame is of.

    Attributes:
        times: All times, ascending [ns].
        at: Of each row, the number of its time.
        labels: One row per role and series: all of the frame's columns, of its first row.
        series: Of each row, the number of its series.
        appeared: Of each series: was its process sampled before it appeared?
        starts: Rows at which another series begins than that of the row before.
    """

    times: Numbers
    at: Numbers
    labels: pd.DataFrame
    series: Numbers
    appeared: Mask
    starts: Numbers

    def rows(self, series: Mask) -> slice | Numbers:
        """The rows of some series; a slice, which copies nothing, where they stand together."""
        runs = np.flatnonzero(series[self.series[self.starts]])
        ends = np.append(self.starts[1:], len(self.series))
        if not len(runs) or runs[-1] - runs[0] + 1 > len(runs):
            return np.flatnonzero(series[self.series])
        return slice(int(self.starts[runs[0]]), int(ends[runs[-1]]))


def _alike(labels: pd.DataFrame) -> tuple[Numbers, Numbers]:
    """Of each row the number of its labels, in order, missing ones last; and the first row of each number."""
    codes = [pd.factorize(column, sort=True)[0] for _, column in labels.items()]
    told = np.array([np.where(each < 0, len(labels), each) for each in codes])
    _, firsts, number = np.unique(told, axis=1, return_index=True, return_inverse=True)
    return number.reshape(-1), firsts  # numpy 2.0 gives it a second axis


@remembered
def _layout(metrics: pd.DataFrame) -> _Layout:
    keys, other = ["role", *_SERIES], np.ones(len(metrics), dtype=bool)
    codes = [pd.Categorical(metrics[name]).codes for name in keys]
    other[1:] = np.logical_or.reduce([each[1:] != each[:-1] for each in codes])
    starts = np.flatnonzero(other)
    firsts = metrics.iloc[starts]
    number, each = _alike(firsts[keys])
    number = np.argsort(np.argsort(each))[number]  # as they come: so rows need no sorting
    series = np.repeat(number, np.diff(starts, append=len(metrics)))
    labels = firsts.iloc[np.sort(each)]
    nanoseconds = metrics["timestamp"].to_numpy(dtype="datetime64[ns]").view(np.int64)
    at, times = _numbered(nanoseconds)
    since = np.minimum.reduceat(nanoseconds, starts) if len(starts) else nanoseconds
    since = pd.Series(since).groupby(number).min().to_numpy()
    return _Layout(times, at, labels, series, _appeared(labels, since), starts)


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
    firsts = metrics.iloc[layout.starts].assign(new=layout.appeared[layout.series[layout.starts]])
    firsts = firsts[firsts["role"].isin(["requests", "errors"])]
    late = (firsts["timestamp"] > firsts["timestamp"].min()) & (firsts["value"] <= most) & ~firsts["new"]
    return firsts.loc[late, metrics.columns]


def _target(series: str) -> tuple[str | None, ...]:
    labels = json.loads(series)
    return tuple(labels.get(label) for label in TARGET)


def _plain(column: Any) -> Any:
    """Texts as texts: what follows replaces some of them."""
    return column.astype("str") if column.dtype == "category" else column
