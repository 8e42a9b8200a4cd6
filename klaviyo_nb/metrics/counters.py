"""From counters to counts: how far each rose in each step, added up over processes.

A counter says only how far it has come, so each step's count is the difference of two samples. It is
attributed to the span that ends at the later one, and stands at that span's start, as calls from logs do.

Series are counted one by one, in arrays that stay in the processor's cache, and the counts of each kind of
call stand in an array of their own. Of a few hundred kinds Python's texts are fastest; labels are written out
where a frame leaves this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import METRICS, UTC_NS
from klaviyo_nb.metrics.layout import Layout, Metrics, layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.integer[Any]]
    Mask = NDArray[np.bool_]

#: Sums of a kind are made in an array of all steps, unless fewer than one in so many of its places are used.
_SPARSE = 8
#: A counter that fell began from 0 if what is left is no more than this share of what was, so many calls, or
#: so many times the most that it rose by between two samples.
_PART, _FEW, _MORE = 0.25, 20.0, 10.0


class Kind(NamedTuple):
    """What tells one kind of call from another; None is missing."""

    endpoint: str | None = None
    method: str | None = None
    status: str | None = None
    error_code: str | None = None
    le: float | None = None

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts kinds by their labels, missing ones last."""
        return tuple((label is None, label) for label in self)


def moments(nanoseconds: Numbers) -> pd.DatetimeIndex:
    """Times since the epoch."""
    return pd.DatetimeIndex(nanoseconds, dtype=UTC_NS, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class Rises:
    """How far counters rose: one count for each step in which a kind of call was observed.

    Attributes:
        times: Starts of all steps of the frame that they are of, ascending [ns].
        kinds: What was counted.
        at: Of each kind, the numbers of the steps in which it was observed, ascending.
        calls: Of each kind, its counts in them.
    """

    times: Numbers
    kinds: Sequence[Kind]
    at: Sequence[Numbers]
    calls: Sequence[Floats]

    def __len__(self) -> int:
        return sum(map(len, self.calls))

    def of(self, kinds: Sequence[bool]) -> Rises:
        """Those of some kinds."""
        at, calls = list(compress(self.at, kinds)), list(compress(self.calls, kinds))
        return Rises(self.times, list(compress(self.kinds, kinds)), at, calls)

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
        return moments(self.times[steps])

    def frame(self, labels: Sequence[str] = Kind._fields) -> pd.DataFrame:
        """`timestamp` (start of the step), the labels, `calls`; in order of steps, then of kinds."""
        counts = np.zeros(len(self.times), np.int64)
        for at in self.at:
            counts[at] += 1
        place = np.cumsum(counts) - counts  # of each step, the row that its next kind gets
        kind, calls = np.empty(len(self), np.int32), np.empty(len(self))
        for number, (at, found) in enumerate(zip(self.at, self.calls, strict=True)):
            rows = place[at]
            kind[rows], calls[rows] = number, found
            place[at] += 1
        columns = {}
        for name in labels:
            told = [getattr(each, name) for each in self.kinds]
            columns[name] = pd.array(told, "float64" if name == "le" else "str").take(kind)
        starts = moments(np.repeat(self.times, counts))
        return pd.DataFrame({"timestamp": starts} | columns | {"calls": calls}, copy=False)


def together(parts: Sequence[Rises]) -> Rises:
    """Counts of the same step and kind added up, in the order of their labels; without kinds without a count.

    Args:
        parts: All of the same frame.
    """
    same: dict[Kind, list[tuple[Numbers, Floats]]] = {}
    for part in parts:
        for kind, at, calls in zip(part.kinds, part.at, part.calls, strict=True):
            if len(calls):
                same.setdefault(kind, []).append((at, calls))
    kinds = sorted(same, key=lambda kind: kind.order)
    sums = [_summed(same[kind], len(parts[0].times)) for kind in kinds]
    return Rises(parts[0].times, kinds, [at for at, _ in sums], [calls for _, calls in sums])


def _summed(parts: list[tuple[Numbers, Floats]], size: int) -> tuple[Numbers, Floats]:
    """Steps and counts of one kind, of so many steps in all."""
    if len(parts) == 1:
        return parts[0]
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


def step_s(metrics: Metrics) -> float | None:
    """Seconds between samples; None if there are fewer than two times."""
    return layout(metrics).step / 1e9 or None


@remembered
def counted(metrics: Metrics, role: str) -> pd.DataFrame:
    """How far the counters of one role rose in each step, as `rises`, with all labels written out.

    Args:
        metrics: METRICS, by series or as a frame.
        role: A counter's.

    Returns:
        `timestamp` (start of the step), `endpoint`, `method`, `status`, `error_code`, `le`, `calls`; a row
        for each series and step in which it was sampled, also where `calls` is 0.
    """
    return rises(metrics, role).frame()


def rises(metrics: Metrics, role: str) -> Rises:
    """How far the counters of one role rose in each step, added up over processes.

    * A sample below the one before means that the process began anew: it counts from 0 (`begun_anew`).
    * A series that appears during the window counts from 0 if its process was sampled earlier (client
      libraries create a counter at its first use). Otherwise its first sample is only what the next is
      counted from, since it may hold the calls of days.
    * Where samples are missing the rise over the hole stands in the last step before the next sample.

    Args:
        metrics: METRICS, by series or as a frame.
        role: A counter's.
    """
    return risen(layout(metrics), role)


@remembered
def risen(found: Layout, role: str) -> Rises:
    """`rises` of a frame's layout."""
    kinds: list[Kind] = []
    ats: list[Numbers] = []
    counts: list[Floats] = []
    last: dict[Kind, int] = {}
    for each, at, values, new in zip(found.labels, found.at, found.values, found.appeared, strict=True):
        if each["role"] == role:
            kind = Kind(*(each[name] for name in Kind._fields))
            at, calls = _rises(at, values, new)
            if kind in last and np.array_equal(ats[last[kind]], at):
                counts[last[kind]] += calls  # kept apart, the counts of all series would take fresh memory
                continue
            last[kind] = len(kinds)
            kinds.append(kind)
            ats.append(at)
            counts.append(calls)
    return together([Rises(found.times - found.step, kinds, ats, counts)])


def _rises(at: Numbers, value: Floats, new: bool) -> tuple[Numbers, Floats]:
    """Where one series was seen to rise, and how far; from 0 if it is new."""
    known = np.isfinite(value)
    if not known.all():
        at, value = at[known], value[known]
    rise = np.diff(value, prepend=0.0)
    if (rise < 0).any():
        rise = np.where(rise < 0, np.where(begun_anew(value), value, 0.0), rise)
    seen = slice(0 if new else 1, None)
    return at[seen], rise[seen]


def begun_anew(value: Floats) -> Mask:
    """Of each sample, is it so low that a counter which fell to it can have begun from 0?

    Of a sum of several processes one may begin anew or end: then it falls by a part, and how much the others
    rose meanwhile nobody knows.
    """
    before = np.append(0.0, value[:-1])
    most = float(np.diff(value).max(initial=0.0))
    anew: Mask = (value <= _PART * before) | (value <= max(_FEW, _MORE * most))
    return anew


def begun_late(metrics: Metrics, most: float) -> pd.DataFrame:
    """First samples of counters whose process was first sampled later than others: rows of `metrics`.

    Args:
        metrics: METRICS, by series or as a frame.
        most: Those that had come to more are left out.
    """
    found = layout(metrics)
    series = zip(found.labels, found.appeared, found.at, found.values, strict=True)
    counting = [one for one in series if one[0]["role"] in ("requests", "errors")]
    since = min((at[0] for _, _, at, _ in counting), default=0)
    return METRICS.frame(
        {**labels, "timestamp": pd.Timestamp(found.times[at[0]], tz="UTC"), "value": values[0]}
        for labels, new, at, values in counting
        if at[0] > since and values[0] <= most and not new
    )
