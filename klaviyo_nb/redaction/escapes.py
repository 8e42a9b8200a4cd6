r"""Text with escaped letters or quotes, as `%61`, `\u0061`, `\x61`, `\141`, `&#97;`, `=61`: what it says.

No writer escapes a letter or a digit that it need not, and of quotes only those of what was put into another
text: few lines have either, so that most are never read here.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Self

from klaviyo_nb.expressions import expression

# What secrets, addresses and names of keys are made of, and quotes; in URLs only what is not everyday there.
_LETTER = "3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a]"
_SIGN = rf"22|2[be]|40|5f|{_LETTER}"

#: Expressions in Hyperscan's syntax, any case of letters: a line with none of them is read as it is.
CLUES = (
    rf"%(?:25)*(?:22|u00(?:{_SIGN})|{_LETTER})",
    rf"\\(?:u00|u0{{6}}|u\{{0*|x\{{?0*)(?:{_SIGN})",
    r"\\(?:042|05[36]|0[67][0-7]|1[0-7]{2})",
    rf"&(?:amp;)*#(?:x0*(?:{_SIGN})|0*(?:34|43|4[689]|5[0-7]|6[4-9]|[78][0-9]|9[05-9]|1[01][0-9]|12[0-2]))[^0-9a-f]",
    "&(?:amp;)*(?:quot|commat|period|plus|lowbar);",
    "(?:=[2-7][0-9a-f]){3}",
)

_NAMED = {"quot": '"', "commat": "@", "period": ".", "plus": "+", "lowbar": "_"}
# In each: the number in base 16, 10 or 8, or the name. Mail has = in ordinary words, so one alone is none.
_ESCAPE = expression(
    r"%(?:25)*(?:u([0-9a-f]{4})|([0-9a-f]{2}))"
    r"|\\+(?:u(?:0000)?([0-9a-f]{4})|x([0-9a-f]{2})|[ux]\{0*([0-9a-f]{2,4})\})"
    r"|&(?:amp;)*#x0*([0-9a-f]{2,4})(?:;|(?![0-9a-f]))"
    r"|(?:=([2-7][0-9a-f]))(?:(?=(?:=[2-7][0-9a-f]){2})|(?<==..=..)(?==[2-7][0-9a-f])|(?<==..=..=..))"
    r"|&(?:amp;)*#0*([0-9]{2,5})(?:;|(?![0-9]))"
    r"|\\+([01]?[0-7]{2})"
    r"|&(?:amp;)*(quot|commat|period|plus|lowbar);",
    re.IGNORECASE,
)
_DECIMAL, _OCTAL, _NAME = 8, 9, 10


class AsWritten:
    """A text that rules look at.

    Attributes:
        raw: As it is written.
        text: What rules see.
    """

    def __init__(self, raw: str) -> None:
        self.raw = self.text = raw

    def written(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of `text` stands in `raw`."""
        return start, end

    def in_one(self, start: int, end: int) -> bool:
        """Does a part of `text` lie within one field of JSON or CSV?"""
        return True

    def replaced(self, found: Sequence[tuple[int, int, str]]) -> Self:
        """It with other text in some places of `raw`: start, end and what stands there then, in order."""
        if not found:
            return self
        pieces, done = [], 0
        for start, end, token in found:
            pieces += [self.raw[done:start], token]
            done = end
        return type(self)("".join([*pieces, self.raw[done:]]))


class Plain(AsWritten):
    """A text and what it says: `text` has what is printable in place of its escapes, but no backslash."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        pieces, done, length = [], 0, 0
        self._said, self._written = array("q", [0]), array("q", [0])  # where each escape ends
        for escape in _ESCAPE.finditer(raw):
            meant = _meant(escape)
            if meant and meant.isprintable() and meant != "\\":
                pieces += [raw[done : escape.start()], meant]
                length, done = length + escape.start() - done + 1, escape.end()
                self._said.append(length)
                self._written.append(done)
        self.text = "".join([*pieces, raw[done:]])

    def written(self, start: int, end: int) -> tuple[int, int]:
        """See `AsWritten.written`."""
        return self._at(start), self._at(end)

    def in_one(self, start: int, end: int) -> bool:
        """Does it hold no mark that JSON or CSV sees and the rules, for an escaped quote, did not?"""
        start, end = self.written(start, end)
        part = self.raw[start:end]
        return '"' not in part and ("," not in part or self.raw.count('"', 0, start) % 2 == 1)

    def _at(self, said: int) -> int:
        near = bisect_right(self._said, said) - 1
        return self._written[near] + said - self._said[near]


def _meant(escape: re.Match[str]) -> str:
    kind = escape.lastindex or 0
    if kind == _NAME:
        return _NAMED[escape[kind].lower()]
    return chr(int(escape[kind], {_DECIMAL: 10, _OCTAL: 8}.get(kind, 16)))
