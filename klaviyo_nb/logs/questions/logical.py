"""Which attempts are one logical call (`attempts` says what joins them)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.logs.questions.attempts import DELIVERED, FIX_FIRST, PROFILE, REFUSED, SOON, UNKNOWN
from klaviyo_nb.logs.questions.tallies import NEVER

#: Lines of one answer are not so far apart, but for clocks: two files may tell of it [ns].
_APART = 10**9


class Joined(NamedTuple):
    """Attempts in the order of their calls, and by time within a call.

    Attributes:
        order: Places in `Attempts.rows`; rows that stand there twice are left out.
        starts: Where in `order` each call begins.
        ids_join: Do request ids join attempts? Otherwise a call that has nothing else may have been tried
            again under another id.
    """

    order: Any
    starts: Any
    ids_join: bool


def joined(rows: Any) -> Joined:
    """Attempts joined to logical calls."""
    order = _sorted(rows)
    ids_join, order, sub = _by_id(rows, order)
    if sub.any():
        again = np.lexsort((np.arange(len(order)), sub, rows["key"][order]))
        order, sub = order[again], sub[again]
    new = _differs(rows["key"][order]) | _differs(sub)
    loose = (rows["by"][order] == PROFILE) & (sub == 0)
    if loose.any():
        rows = rows[order]
        new |= loose & _begins(rows)
        within, new = _interleaved(rows, new, loose)
        order = order[within]
    return Joined(order, np.flatnonzero(new), ids_join)


class Calls(NamedTuple):
    """Logical calls, one value each.

    Attributes:
        became: What became of it: delivered if one attempt was; else unknown if one may have been accepted;
            else what the last one says.
        row: The row that says so.
        first: Its first row.
        attempts: How many.
        last: When the last one was made [ns since 1970].
    """

    became: Any
    row: Any
    first: Any
    attempts: Any
    last: Any


def calls_of(rows: Any, found: Joined) -> Calls:
    """What became of each logical call."""
    if not len(found.starts):
        nothing = np.zeros(0, dtype=np.int64)
        return Calls(nothing, nothing, nothing, nothing, nothing)
    became = rows["became"][found.order]
    attempts = np.diff(np.append(found.starts, len(found.order)))
    ends = found.starts + attempts - 1
    place = np.arange(len(found.order))
    at = ends
    for wanted in (UNKNOWN, DELIVERED):
        last = np.maximum.reduceat(np.where(became == wanted, place, -1), found.starts)
        at = np.where(last >= 0, last, at)
    return Calls(
        became[at], found.order[at], found.order[found.starts], attempts, rows["moment"][found.order[ends]]
    )


def _sorted(rows: Any) -> Any:
    """By key, then time, each row once. Most keys have a single row and need no time."""
    order = np.argsort(rows["key"], kind="stable")
    several = np.flatnonzero(_several(rows["key"][order]))
    if not len(several):
        return order
    some = rows[order[several]]
    names = ("became", "answer", "same", "attempt", "moment", "key")
    inner = np.lexsort(tuple(some[name] for name in names))
    order[several] = order[several][inner]
    some = some[inner]
    twice = np.ones(len(some), dtype=bool)
    for name in names:
        twice &= ~_differs(some[name])
    keep = np.ones(len(order), dtype=bool)
    keep[several[twice & (some["moment"] != NEVER)]] = False
    return order[keep]


def _several(keys: Any) -> Any:
    """Does each key, in order, stand there more than once?"""
    new = _differs(keys)
    return ~new | ~np.append(new[1:], True)[: len(new)]


def _differs(values: Any) -> Any:
    """Is each value another than the one before it?"""
    new = np.ones(len(values), dtype=bool)
    new[1:] = values[1:] != values[:-1]
    return new


def _by_id(rows: Any, order: Any) -> tuple[bool, Any, Any]:
    """Do request ids join attempts?

    Returns:
        Whether they do; the order without rows that repeat an answer under its id, if they do not; and per
        row the id that joins it to others of its key, or 0.
    """
    several = np.flatnonzero(_several(rows["key"][order]))
    named = several[rows["same"][order[several]] != 0]
    some = rows[order[named]]
    named = named[np.lexsort((some["same"], some["key"]))]
    some = rows[order[named]]
    repeats = ~(_differs(some["key"]) | _differs(some["same"]))
    another = repeats & (_differs(some["answer"]) | _differs(some["attempt"]))
    apart = repeats & (np.diff(some["moment"], prepend=0) > _APART) & (some["moment"] != NEVER)
    ids_join = bool(another.any() or (apart[1:] & apart[:-1]).any())
    sub = np.zeros(len(order), dtype=np.uint64)
    if ids_join:
        by_id = named[some["by"] == PROFILE]
        sub[by_id] = rows["same"][order[by_id]]
    else:
        keep = np.ones(len(order), dtype=bool)
        keep[named[repeats]] = False
        order, sub = order[keep], sub[keep]
    return ids_join, order, sub


def _begins(rows: Any) -> Any:
    """Does a row begin a call, as far as it and the one before it tell?"""
    begins = np.zeros(len(rows), dtype=bool)
    attempt, before = rows["attempt"][1:], rows["attempt"][:-1]
    pause = rows["moment"][1:] - rows["moment"][:-1] - (rows["wait"][:-1] * 1e9).astype(np.int64)
    over = (rows["became"][:-1] == DELIVERED) | (pause > SOON)
    begins[1:] = np.where(attempt == 0, over, (attempt == 1) | ((before > 0) & (attempt <= before)))
    return begins


def _interleaved(rows: Any, new: Any, loose: Any) -> tuple[Any, Any]:
    """Calls of one profile that were tried side by side, told apart by the numbers of their attempts.

    Returns:
        The order of the rows, and where calls begin in it.
    """
    attempt, order, begins = rows["attempt"], np.arange(len(rows)), new.copy()
    tries_again = np.isin(rows["became"][:-1], (REFUSED, UNKNOWN))
    follows = np.append(False, (attempt[1:] == attempt[:-1] + 1) & tries_again)
    odd = loose & (attempt > 1) & ~follows
    odd[1:] &= ~_differs(rows["key"])[1:]
    if not odd.any():
        return order, begins
    keys = np.unique(rows["key"][odd])
    inside = np.flatnonzero(loose & np.isin(rows["key"], keys))
    call = _first_come(rows[inside], new[inside])
    within = np.lexsort((inside, call))
    order[inside] = inside[within]
    begins[inside] = _differs(call[within])
    return order, begins


def _first_come(rows: Any, new: Any) -> Any:
    """Number of each row's call: a later attempt goes to the call that waited longest, but not too long."""
    call, number, key = np.zeros(len(rows), dtype=np.int64), -1, None
    waiting: list[tuple[int, int, int, int]] = []  # is mended first, attempt, call, until when [ns]
    names = ("key", "attempt", "became", "moment", "wait")
    for place, (this, attempt, became, moment, wait) in enumerate(
        zip(*(rows[name].tolist() for name in names), strict=True)
    ):
        if this != key:
            waiting, key = [], this
        fits = [each for each in waiting if each[1] < attempt and moment <= each[3]]
        if fits:
            chosen = min(fits, key=lambda each: (each[0], -each[1], each[2]))
            waiting.remove(chosen)
            call[place] = chosen[2]
        elif attempt == 0 and not new[place]:
            call[place] = call[place - 1]
        else:
            number += 1
            call[place] = number
        if became != DELIVERED:
            waiting.append(
                (int(became == FIX_FIRST), attempt, int(call[place]), moment + int(wait * 1e9) + SOON)
            )
    return call
