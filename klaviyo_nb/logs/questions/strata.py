"""Calls and failing calls per stretch of time and value of an attribute, or of two: bounded, mergeable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: Length of a stretch is a 120th of the window, within these [s]: what belongs together (a call and its
#: retries, a burst) mostly lies in one, and a window has enough of them to compare.
SHORTEST_S, LONGEST_S = 10, 60
#: So many cells a table may have. Stretches are put together, as many as the rungs say, until it fits; a
#: table that never does is given up. Both depend on all its calls, not on the order of merging.
MOST_CELLS = 100_000
RUNGS = (1, 8, 64, 512)
#: So many counters are cheaper than looking for the cells there are.
_DENSE = 4_000_000


class Coded(NamedTuple):
    """Values of an attribute as numbers.

    Attributes:
        values: Sorted.
        codes: Place of each row's value among them; -1: it is missing.
    """

    values: Any
    codes: Any


class Strata(NamedTuple):
    """A table of counts.

    Attributes:
        rung: How many stretches were put together.
        values: Attribute → its values, sorted.
        cells: Per attribute the place among its values, then `stretch`, `calls`, `failed`; sorted.
    """

    rung: int
    values: Mapping[str, tuple[str, ...]]
    cells: pd.DataFrame


def stretch_s(window: Window) -> int:
    """Length of a stretch [s]."""
    return int(min(max(window.seconds / 120, SHORTEST_S), LONGEST_S))


def timed(calls: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, Any]:
    """Calls with a time in the window, and nanoseconds since its start."""
    times = calls["timestamp"]
    inside = ((times >= window.start) & (times < window.end)).to_numpy()
    since = (times[inside] - pd.Timestamp(window.start)).to_numpy().astype("timedelta64[ns]")
    return calls[inside], since.astype(np.int64)


def coded(values: pd.Series[str]) -> Coded | None:
    """Values as numbers; None: there are too many different ones."""
    codes, found = pd.factorize(values)
    if len(found) > MOST_CELLS:
        return None
    names = np.asarray(found, dtype=object)
    order = np.argsort(names)
    ranks = np.empty(len(names) + 1, dtype=np.int64)
    ranks[order], ranks[-1] = np.arange(len(names)), -1
    return Coded(names[order], ranks[codes])


def counted(
    attributes: Mapping[str, Coded | None],
    stretch: Any,
    calls: Any,
    failed: Any,
    rung: int = RUNGS[0],
    most: int = MOST_CELLS,
) -> Strata | None:
    """Count cells.

    Args:
        attributes: Rows in which one is missing are left out.
        stretch: Of each row, from 0.
        calls: Of each row.
        failed: Those that failed.
        rung: Of `RUNGS`: what `stretch` is counted in already.
        most: Cells it may have.

    Returns:
        None: there are too many cells.
    """
    columns = [each for each in attributes.values() if each is not None]
    if len(columns) < len(attributes):
        return None
    told = np.logical_and.reduce([each.codes >= 0 for each in columns])
    codes = [each.codes[told] for each in columns]
    sizes = [max(len(each.values), 1) for each in columns]
    stretch, calls, failed = stretch[told], calls[told], failed[told]
    for each in RUNGS[RUNGS.index(rung) :]:
        stretch, rung = stretch // (each // rung), each
        shape = (*sizes, int(stretch.max(initial=0)) + 1)
        cells, calls, failed = _sums(np.ravel_multi_index((*codes, stretch), shape), shape, calls, failed)
        *codes, stretch = np.unravel_index(cells, shape)
        if len(cells) <= most:
            return _strata(rung, dict(zip(attributes, columns, strict=True)), codes, stretch, calls, failed)
    return None


def _sums(key: Any, shape: tuple[int, ...], calls: Any, failed: Any) -> tuple[Any, Any, Any]:
    """Cells there are, in order, and what they count."""
    length = int(np.prod(shape))
    if length > _DENSE:
        cells, key = np.unique(key, return_inverse=True)
        length = len(cells)
    sums = [np.bincount(key, each, length).astype(np.int64) for each in (calls, failed)]
    if length == int(np.prod(shape)):
        cells = np.flatnonzero(sums[0])
        return cells, sums[0][cells], sums[1][cells]
    return cells, sums[0], sums[1]


def _strata(
    rung: int, columns: Mapping[str, Coded], codes: Sequence[Any], stretch: Any, calls: Any, failed: Any
) -> Strata:
    """With the values that there are."""
    values, found = {}, {}
    for (name, each), code in zip(columns.items(), codes, strict=True):
        there = np.unique(code)
        values[name] = tuple(map(str, each.values[there]))
        found[name] = np.searchsorted(there, code)
    return Strata(rung, values, pd.DataFrame(found | {"stretch": stretch, "calls": calls, "failed": failed}))


def merged(parts: Sequence[Strata | None], most: int = MOST_CELLS) -> Strata | None:
    """Tables of the same attributes added up; None if one was given up, or the sum is too large."""
    told = [part for part in parts if part is not None]
    if len(told) < len(parts) or not told:
        return None
    rung = max(part.rung for part in told)
    attributes: dict[str, Coded | None] = {}
    for name in told[0].values:
        values = np.array(sorted({value for part in told for value in part.values[name]}), dtype=object)
        places = {value: place for place, value in enumerate(values)}
        if len(values) > most:
            return None
        own = [np.array([places[value] for value in part.values[name]], dtype=np.int64) for part in told]
        codes = [place[part.cells[name].to_numpy()] for part, place in zip(told, own, strict=True)]
        attributes[name] = Coded(values, np.concatenate(codes))
    stretch = np.concatenate([part.cells["stretch"].to_numpy() // (rung // part.rung) for part in told])
    calls, failed = (
        np.concatenate([part.cells[name].to_numpy() for part in told]) for name in ("calls", "failed")
    )
    return counted(attributes, stretch, calls, failed, rung, most)
