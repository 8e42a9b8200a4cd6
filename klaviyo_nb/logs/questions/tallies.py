"""Counts by group that add up over parts of a log, and a bound on how many groups are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.frames import UTC_NS, as_texts
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

Key = TypeVar("Key", str, int, tuple[str, ...])
#: Bins of time that a window is cut into, at most.
BINS = 1_440
#: Stands for the moment of what has no time [ns since 1970].
NEVER = 1 << 62
#: A silence is unusual if it is so much longer than the next longest, and at least so long [1, s].
MUCH_LONGER, LEAST_SILENCE_S = 3.0, 300.0


def numbered(groups: pd.DataFrame) -> tuple[Any, Any]:
    """Number of each row's group, from 0; and the first row of each group."""
    number, size = np.zeros(len(groups), dtype=np.int64), 1
    for name in groups:
        codes, least, count = _coded(groups[name])
        if size * count >= 1 << 62:
            number, firsts = _dense(number, size)
            size = len(firsts)
        number *= count  # in place: a million numbers more are memory that the system must clear first
        number += codes
        number -= least
        size *= count
    return _dense(number, size)


def _coded(values: pd.Series[Any]) -> tuple[Any, int, int]:
    """Values as numbers, the least there may be, and how many there may be from it on."""
    if values.dtype.kind in "iu" and isinstance(values.dtype, np.dtype) and len(values):
        numbers = values.to_numpy(np.int64)
        least, most = int(numbers.min()), int(numbers.max())
        if most - least < 1 << 16:
            return numbers, least, most - least + 1
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy(), -1, len(values.cat.categories) + 1
    codes, distinct = pd.factorize(values)
    return codes, -1, len(distinct) + 1


def grouped(columns: Mapping[str, Any]) -> pd.DataFrame:
    """How many rows there are of each group.

    Args:
        columns: Name → values, one per row; missing is a group of its own.

    Returns:
        The groups' columns, texts as such, and `calls`; in no order.
    """
    groups = pd.DataFrame(columns)
    number, firsts = numbered(groups)
    told = as_texts(groups.iloc[firsts].reset_index(drop=True))
    return told.assign(calls=np.bincount(number, minlength=len(firsts)))


def _dense(number: Any, size: int) -> tuple[Any, Any]:
    """Numbers below `size` → numbers without gaps, and where each stands first."""
    if size > 4 * len(number) + 1_024:
        number = pd.factorize(number)[0]
        size = int(number.max(initial=-1)) + 1
    first = np.full(size, -1)
    first[number[::-1]] = np.arange(len(number))[::-1]
    known = first >= 0
    return (np.cumsum(known) - 1)[number], first[known]


def summed(counts: Iterable[Mapping[Key, tuple[int, ...]]]) -> dict[Key, tuple[int, ...]]:
    """Counts by key, added up."""
    total: dict[Key, tuple[int, ...]] = {}
    for each in counts:
        for key, values in each.items():
            old = total.get(key)
            total[key] = values if old is None else tuple(map(sum, zip(old, values, strict=True)))
    return total


def fewest(counts: dict[Key, tuple[int, ...]], most: int, rest: Key) -> dict[Key, tuple[int, ...]]:
    """At most `most` keys, those that sort first; all others under `rest`.

    Which keys are kept does not depend on how a log was cut: a key among the first of all is among the first
    of every part that has it. That would not be so of the largest counts.
    """
    names: list[Key] = sorted(key for key in counts if key != rest)
    if len(names) <= most:
        return counts
    places = enumerate([*names, rest])
    return summed({key if place < most else rest: counts[key]} for place, key in places if key in counts)


def first_names(texts: pd.Series[Any], most: int, rest: str, none: str) -> pd.Series[Any]:
    """`rest` for all but the `most` names that sort first, as `fewest`: groups of a million were no bound.

    Names that are `rest` or `none` are not counted.
    """
    codes, distinct = _distinct(texts)
    if len(distinct) <= most:
        return texts
    names = pa.array(distinct.astype("str"), pa.large_string())
    own = pa.array([rest, none], names.type)
    others = names.filter(pc.invert(pc.is_in(names, own)))
    kept = pa.concat_arrays([others.take(pc.bottom_k_unstable(others, most)), own])
    number = pc.index_in(names, kept).fill_null(len(kept) - 2).to_numpy()  # `rest`
    told = pd.Categorical.from_codes(np.append(number, -1)[codes], kept.to_pandas())
    return pd.Series(told, index=texts.index, name=texts.name)


def _distinct(texts: pd.Series[Any]) -> tuple[Any, Any]:
    """Number of each row's text, -1 if it is missing; and the texts there are."""
    if not isinstance(texts.dtype, pd.CategoricalDtype):
        return pd.factorize(texts)
    categories, codes = texts.cat.categories, texts.cat.codes.to_numpy()
    used = np.zeros(len(categories) + 1, dtype=bool)  # the last one: missing
    used[codes] = True
    number = np.append(np.cumsum(used[:-1]) - 1, -1)
    return number[codes], categories[used[:-1]]


def width(window: Window) -> timedelta:
    """Length of the bins that a window is cut into: whole minutes, so that there are at most `BINS`."""
    return timedelta(minutes=-(-int(window.seconds) // (60 * BINS)) or 1)


def bins_of(moments: Any, window: Window) -> Any:
    """Number of each moment's bin, from 0; -1: no time (`NEVER`).

    Args:
        moments: Nanoseconds since 1970.
        window: That is cut into bins of `width`.
    """
    start, bin_ns = pd.Timestamp(window.start).value, pd.Timedelta(width(window)).value
    bins = moments - start
    bins //= bin_ns
    never = moments == NEVER
    if never.any():
        bins[never] = -1
    return bins


def moments_of(times: pd.Series[pd.Timestamp]) -> Any:
    """Nanoseconds since 1970; `NEVER` where there is no time."""
    moments = times.to_numpy("datetime64[ns]").view(np.int64)
    return np.where(times.isna(), NEVER, moments) if times.hasnans else moments


def stamps(moments: Any) -> Any:
    """Moments as times; missing where there is none."""
    known = np.abs(moments) < NEVER
    times: Any = pd.Series(pd.to_datetime(np.where(known, moments, 0), utc=True))
    return times.astype(UTC_NS).where(known)


def added(frames: Sequence[pd.DataFrame], by: Sequence[str], how: Mapping[str, str]) -> pd.DataFrame:
    """Rows of several frames, those of a group as one, in the order of the groups.

    Args:
        frames: With the columns of `by` and `how`.
        by: Columns to group by.
        how: Column → `sum`, `min` or `max`.
    """
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    found: pd.DataFrame = rows.groupby([*by], dropna=False, sort=True).agg(how).reset_index()
    return found


class Silence(NamedTuple):
    """The longest time without an arrival, the edges of the window included.

    Attributes:
        longest_s: How long it lasted [s].
        since: When it began [ns since 1970].
        usual_s: The next longest [s].
    """

    longest_s: float
    since: int
    usual_s: float

    @property
    def unusual(self) -> bool:
        """Is it much longer than any other?"""
        return self.longest_s >= max(LEAST_SILENCE_S, MUCH_LONGER * self.usual_s)

    @property
    def words(self) -> str:
        """As people say it."""
        since = stamp(pd.Timestamp(self.since, tz="UTC"))
        return (
            f"silent for {lasting(self.longest_s)} since {since} UTC (else {lasting(self.usual_s)} at most)"
        )


def lasting(seconds: float) -> str:
    """`45 s`, `41 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def silence(first: Any, last: Any, window: Window) -> Silence:
    """The longest silence, from the first and the last arrival of each bin of time.

    A silence shorter than a bin may stand within one and is not seen.

    Args:
        first: Moments, ascending.
        last: Moments, likewise.
        window: From whose start to whose end silence counts.
    """
    start, end = pd.Timestamp(window.start).value, pd.Timestamp(window.end).value
    begins, ends = np.append(start, last), np.append(first, end)
    gaps = ends - begins
    longest = int(np.argmax(gaps))
    others = np.delete(gaps, longest)
    usual = float(others.max()) / 1e9 if len(others) else 0.0
    return Silence(float(gaps[longest]) / 1e9, int(begins[longest]), usual)


#: Texts that are hashed at a time: each is a Python object meanwhile, so many fit into a processor's cache.
HASHED = 1 << 16


def hashed(values: pd.Series[str]) -> Any:
    """64-bit hashes, the same in every process; 0 for what is missing."""
    if isinstance(values.dtype, pd.CategoricalDtype) and len(values.cat.categories) > len(values):
        values = values.astype("str")
    if isinstance(values.dtype, pd.CategoricalDtype):
        return np.append(hashed(pd.Series(values.cat.categories)), np.uint64(0))[values.cat.codes]
    found = np.empty(len(values), dtype=np.uint64)
    for start in range(0, len(values), HASHED):
        some = values.iloc[start : start + HASHED]
        hashes = pd.util.hash_pandas_object(some, index=False, categorize=False)
        found[start : start + HASHED] = np.where(some.isna(), np.uint64(0), hashes.to_numpy(np.uint64))
    return found


def mixed(values: Any) -> Any:
    """A bijection in which every bit depends on all others (splitmix64's finalizer)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values
