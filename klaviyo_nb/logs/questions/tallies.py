"""Counts by group that add up over parts of a log, and a bound on how many groups are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

Key = TypeVar("Key", str, int, tuple[str, ...])


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
    """Number of each row's group, from 0; and a row of each group."""
    number = np.zeros(len(groups), dtype=np.int64)
    for name in groups:
        codes, values = pd.factorize(groups[name])
        number = number * (len(values) + 1) + codes + 1
        _, firsts, number = np.unique(number, return_index=True, return_inverse=True)
    if groups.shape[1] == 0 or not len(groups):
        return number, np.arange(min(len(groups), 1))
    return number, firsts


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
    return summed(
        {key if place < most else rest: counts[key]}
        for place, key in enumerate([*names, rest])
        if key in counts
    )
