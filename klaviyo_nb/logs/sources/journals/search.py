"""Entries of a journal file that are worth reading: those with a word, and what belongs to their records.

Each line of a traceback is an entry of its own, and entries of other processes lie between. A record is the
line that begins it and the lines of the same process that follow and may continue it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from klaviyo_nb.logs.sources.base import CONTINUES, MATTERS
from klaviyo_nb.logs.sources.journals.compressed import Unreadable
from klaviyo_nb.logs.sources.journals.format import Entries, JournalFile, Numbers
from klaviyo_nb.sought import Sought

#: So much is searched at once; what is no message, and longer than that, is not searched [bytes].
_AT_ONCE, _GAP = 32 * 1024 * 1024, 256 * 1024
#: Numbers of the expressions: words that matter, and how a message begins that may continue a record.
_WORDS, _BEGINS = 0, 1


@lru_cache(1)
def _sought() -> Sought:
    return Sought([MATTERS.encode(), f"MESSAGE=(?:{CONTINUES})".encode()], keep="journal")


def wanted(file: JournalFile, some: Entries) -> Numbers:
    """Which of the entries belong to a record with a word that matters in one of its messages."""
    plain, compressed = file.messages(some.data)
    found = _stored(file, plain)
    for place in compressed.tolist():
        for number in _unpacked(file, place):
            found[number].append(np.array([place]))
    speaks, follows = (some.holding(np.concatenate(each), file.places) for each in found)
    order = np.argsort(file.senders(some), kind="stable")
    return np.sort(order[_in_records(speaks[order], follows[order])])


def _in_records(speaks: Any, follows: Any) -> Any:
    """Which lines belong to a record with a word: it begins with each line that cannot follow another."""
    record = np.cumsum(~follows)
    has = np.zeros(len(record) + 1, np.bool_)
    has[record[speaks]] = True
    return has[record]


def _unpacked(file: JournalFile, place: int) -> set[int]:
    """What is found in a compressed field; one that is broken is told when it is printed."""
    try:
        text = file.payload(place)
    except Unreadable:
        return {_WORDS}
    return {number for number, _ in _sought().ends(text)} if text.startswith(b"MESSAGE=") else set()


def _stored(file: JournalFile, messages: Numbers) -> tuple[list[Numbers], list[Numbers]]:
    """Which of the messages, which ascend, hold each expression."""
    begins, ends = file.spans(messages)
    found: tuple[list[Numbers], list[Numbers]] = ([messages[:0]], [messages[:0]])
    for first, last in _runs(begins, ends):
        base = int(begins[first])
        told = np.array(_sought().ends(file.bytes[base : int(ends[last - 1])]), np.int64).reshape(-1, 2)
        at = base + told[:, 1] - 1
        which = begins.searchsorted(at, "right") - 1
        for number, places in enumerate(found):
            places.append(messages[which[(told[:, 0] == number) & (at < ends[which])]])
    return found


def _runs(begins: Numbers, ends: Numbers) -> list[tuple[int, int]]:
    """First and last + 1 of the messages that are searched at once, with all that lies between them."""
    runs, first = [], 0
    breaks = np.append(np.flatnonzero(begins[1:] - ends[:-1] > _GAP) + 1, len(begins))
    while first < len(begins):
        near = int(breaks[breaks.searchsorted(first, "right")])
        last = min(near, max(first + 1, int(begins.searchsorted(begins[first] + _AT_ONCE))))
        runs.append((first, last))
        first = last
    return runs
