"""Counts by group that add up over parts of a log, and a bound on how many groups are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

Key = TypeVar("Key", str, int, tuple[str, ...])
#: Bins of time that a window is cut into, at most.
BINS = 1_440


def counted(groups: pd.DataFrame, what: Mapping[str, Any]) -> pd.DataFrame:
    """Sums of `what` per distinct row of `groups`.

    Args:
        groups: Columns to group by; missing is a group of its own.
        what: Name → numbers, one per row.

    Returns:
        The group's columns, then the sums as int64.
    """
    codes, firsts = numbered(groups)
    told: pd.DataFrame = groups.iloc[firsts].reset_index(drop=True)
    for name, values in what.items():
        told[name] = np.bincount(codes, weights=values, minlength=len(firsts)).astype(np.int64)
    return told


def numbered(groups: pd.DataFrame) -> tuple[Any, Any]:
    """Number of each row's group, from 0; and the first row of each group."""
    number, size = np.zeros(len(groups), dtype=np.int64), 1
    for name in groups:
        codes, values = pd.factorize(groups[name])
        if size * (len(values) + 1) >= 1 << 62:
            number, firsts = _dense(number, size)
            size = len(firsts)
        number, size = number * (len(values) + 1) + codes + 1, size * (len(values) + 1)
    return _dense(number, size)


def _dense(number: Any, size: int) -> tuple[Any, Any]:
    """Numbers below `size` → numbers without gaps, and where each stands first."""
    if size > 4 * len(number) + 1_024:
        _, firsts, codes = np.unique(number, return_index=True, return_inverse=True)
        return codes, firsts
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


def width(window: Window) -> timedelta:
    """Length of the bins that a window is cut into: whole minutes, so that there are at most `BINS`."""
    return timedelta(minutes=-(-int(window.seconds) // (60 * BINS)) or 1)
