"""Which lines are worth looking at: those with a word that calls to Klaviyo have, in any case of letters.

Hyperscan looks for all words in one pass, at several gigabytes a second, without holding the interpreter.
"""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.coded import Numbers
from klaviyo_nb.sought import Sought

#: What a line must hold to be looked at. The vendor's name; words of deliveries and answers that may stand
#: without it.
WORDS = (b"klaviyo", b"webhook", b"throttled", b"vnd.api+json", b" input.", b"cf-mitigated")
#: A word and the rest of its line: a line is told of once, however many words are in it.
_LINE = b"(?:" + b"|".join(map(re.escape, WORDS)) + rb")[^\n]*(?:\n|\z)"
#: How a list of byte values begins under a key, which journald writes for text that it cannot print. Quote
#: and colon make it cheap: without them, looking for lists takes half as long as looking for all words.
LIST = expression(rb"\": ?\[[0-9]{1,3},[0-9]{1,3},[0-9]{1,3},")
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

    def __call__(self, data: bytearray, begin: int, end: int) -> Numbers:
        """Places in the lines of `data[begin:end]` that are wanted, ascending; several may be in one line."""


class WordFinder:
    """Finds `WORDS`, and lists of byte values that hold them."""

    def __init__(self) -> None:
        self._sought = Sought([_LINE, LIST.pattern], keep="words")

    def __call__(self, data: bytearray, begin: int, end: int) -> Numbers:
        """Where a line with a word ends; the last byte of the beginning of a list."""
        with memoryview(data) as view, view[begin:end] as part:
            found = self._sought.ends(part)
        places = [
            begin + last - 1
            for number, last in found
            if number == 0 or _is_listed(data, begin, begin + last, end)
        ]
        return np.array(places, np.int64)


def _is_listed(data: bytearray, begin: int, at: int, end: int) -> bool:
    """Does the line hold a word as a list of byte values?"""
    line = data[data.rfind(b"\n", begin, at) + 1 : data.find(b"\n", at, end) + 1 or end]
    return any(word in line for word in LISTED)


class EveryLine:
    """Instead of `WordFinder`, where the source as a whole speaks of Klaviyo."""

    def __call__(self, data: bytearray, begin: int, end: int) -> Numbers:
        """Where a line ends."""
        breaks = np.flatnonzero(np.frombuffer(data, np.uint8)[begin:end] == ord("\n")) + begin
        rest = [] if len(breaks) and breaks[-1] == end - 1 else [end - 1]
        return np.concatenate((breaks, rest)).astype(np.int64) if end > begin else breaks
