"""Which lines are worth looking at: those with a word that calls to Klaviyo have, in any case of letters.

Hyperscan looks for all words in one pass, at several gigabytes a second, without holding the interpreter.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import hyperscan

#: What a line must hold to be looked at. The vendor's name; words of deliveries and answers that may stand
#: without it.
WORDS = (b"klaviyo", b"webhook", b"throttled", b"vnd.api+json", b" input.", b"cf-mitigated")
#: How a list of byte values begins, which journald writes for text that it cannot print.
LIST = re.compile(rb"\[[0-9]{1,3},[0-9]{1,3},[0-9]{1,3},")
#: The same words in such a list, or as much of them as no other has.
LISTED = (
    b"118,105,121",
    b"86,73,89",
    b"111,116,116,108,101,100",
    b"118,110,100,46,97,112,105",
    b"105,110,112,117,116,46",
    b"109,105,116,105,103,97",
)


class Finder(Protocol):
    """Says which lines to look at."""

    def __call__(self, data: bytearray, begin: int, end: int) -> Iterable[int]:
        """Places in the lines of `data[begin:end]` that are wanted, ascending; several may be in one line."""


class Sought:
    """Expressions that are looked for all at once, in any case of letters. One thread uses it at a time."""

    def __init__(self, expressions: Sequence[bytes]) -> None:
        self._database = hyperscan.Database()
        self._database.compile(
            expressions=expressions,
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(expressions),
        )

    def ends(self, data: Any) -> list[tuple[int, int]]:
        """Number of the expression and where it ends, for each place in `data` (bytes) where one does."""
        found: list[tuple[int, int]] = []

        def note(number: int, first: int, last: int, flags: int, context: object) -> None:
            found.append((number, last))

        self._database.scan(data, match_event_handler=note)
        return found

    def among(self, texts: Sequence[bytes]) -> list[bool]:
        """Of each text: is any of the expressions in it?"""
        ends = list(accumulate(len(text) + 1 for text in texts))
        found = [False] * len(texts)
        for _, last in self.ends(b"\0".join(texts)):
            found[bisect_left(ends, last)] = True
        return found


class WordFinder:
    """Finds `WORDS`, and lists of byte values that hold them."""

    def __init__(self) -> None:
        self._sought = Sought([*map(re.escape, WORDS), LIST.pattern])

    def __call__(self, data: bytearray, begin: int, end: int) -> Iterable[int]:
        """The last byte of a word or of the beginning of a list."""
        with memoryview(data) as view, view[begin:end] as part:
            found = self._sought.ends(part)
        return [
            begin + last - 1
            for number, last in found
            if number < len(WORDS) or _is_listed(data, begin, begin + last, end)
        ]


def _is_listed(data: bytearray, begin: int, at: int, end: int) -> bool:
    """Does the line hold a word as a list of byte values?"""
    line = data[data.rfind(b"\n", begin, at) + 1 : data.find(b"\n", at, end) + 1 or end]
    return any(word in line for word in LISTED)


class EveryLine:
    """Instead of `WordFinder`, where the source as a whole speaks of Klaviyo."""

    def __call__(self, data: bytearray, begin: int, end: int) -> Iterable[int]:
        """Where a line begins."""
        while begin < end:
            yield begin
            begin = data.find(b"\n", begin, end) + 1 or end
