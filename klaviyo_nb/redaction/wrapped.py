r"""Base64 that is broken into lines, as MIME, PEM and `openssl base64` write it: where it stands in a text.

Lines may be indented or quoted, or be written as `\n`, `\\n` or `%0A` in one. Of a secret that lies across a
break, rules that read line by line see two halves, and often not even a clue.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from klaviyo_nb.expressions import expression

if TYPE_CHECKING:
    from klaviyo_nb.sought import Sought

#: A block begins so near to its first break, and so much text at most is kept together for its sake.
_NEAR, _TOGETHER = 2_048, 65_536

_FILL = rb"""[ \t"',;>|#*]|\+(?=[ \t\r\n])|\\+["'t]"""
_BREAK = rb"\r?\n|\\+(?:[nr]|u000[adAD])|%(?:25)*0[adAD]"
_BETWEEN = rb"(?:%b)*(?:%b)(?:%b|%b)*+" % (_FILL, _BREAK, _FILL, _BREAK)
_EDGE = rb"(?:(?<=\\[nrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2})|(?<![\w+/%\\-]))"
# The first word of an ordinary line is no part of a block: that ends with its line, or with its quotes.
_ENDED = rb"""(?:={1,2}(?![\w=])|(?=["'\\<%)\]},;&]|[ \t\r]*(?:\n|\Z)))"""
_BLOCK = expression(_EDGE + rb"[\w+/-]{16,}+(?:" + _BETWEEN + rb"[\w+/-]++" + _ENDED + rb")+")
# Within a block, where all but its parts is between them: to begin with a set is ten times as fast.
_SEPARATOR = expression(
    rb"[^\w+/-](?:(?<![\\%%])|(?<=\\)\\*(?:[nrt\"']|u000[adAD])|(?<=%%)(?:25)*0[adAD])(?:%b|%b)*+"
    % (_FILL, _BREAK)
)
_MAY_GO_ON = expression(r"""[\w+/-]{16}[ \t"',;+\\\r]*\n\Z""")


class Block:
    """Base64 in several lines; words that stand below each other are like it.

    Attributes:
        start: Where it begins in the text [bytes].
        end: Where it ends.
        joined: What it holds, in one.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.start, self.end = start, end
        self._block = data[start:end].rstrip(b"=")
        self.joined = _SEPARATOR.sub(b"", self._block).decode()

    def without(self, found: Iterable[tuple[int, int, str]]) -> bytes:
        """It without the parts that hold some of what was found.

        Args:
            found: Start and end in `joined`, and the rule that it was found by.
        """
        parts, between = _SEPARATOR.split(self._block), _SEPARATOR.findall(self._block)
        tokens = [b""] * len(parts)
        ends = list(accumulate(map(len, parts)))
        for start, end, rule in sorted(found):
            first, last = bisect_right(ends, start), bisect_left(ends, end)
            tokens[first] = tokens[first] or f"[redacted:{rule}]".encode()
            parts[first : last + 1] = [b""] * (last + 1 - first)
        shown = [token or part for token, part in zip(tokens, parts, strict=True)]
        return b"".join(map(bytes.__add__, shown, [*between, b""]))


def blocks(data: bytes) -> Iterator[Block]:
    """All of a text, in order."""
    done = 0
    for last in sorted({last for _, last in _breaks().ends(data)}):
        if last > done:
            line = max(data.rfind(b"\n", 0, last - 1), 0)
            begin = max(done, data.rfind(b"\n", 0, line) + 1, last - _NEAR)
            if last - begin > 16 and (near := _BLOCK.search(data, begin, last)):
                done = found.end() if (found := _BLOCK.match(data, near.start())) else last
                if found:
                    yield Block(data, *found.span())


def before_open_end(text: str, start: int, end: int) -> int:
    """Where a text that was to be cut at `end`, behind a line, is cut instead: the last block may go on."""
    cut = end
    while _MAY_GO_ON.search(text, max(cut - 128, start), cut):
        cut = text.rfind("\n", start, cut - 1) + 1
        if cut <= start or end - cut > _TOGETHER:
            return end
    return cut


@functools.cache
def _breaks() -> Sought:
    """What finds where a block may go on: a line of it, its last line, or a break that is written in one."""
    from klaviyo_nb.sought import Sought

    alone = rb"""\n[ \t"',;>|#*]*[\w+/-]+={0,2}(?:["',;+\\)\]}\r \t]*(?:\n|\z)|["'][ \t;)])"""
    at_its_end = rb"""\n[ \t"',;>|#*]*[\w+/-]+={1,2}["']?[\s,;)]|\n[ \t>|#*]*[\w+/-]+(?:==)?["']"""
    written = rb"""(?:\\{1,8}(?:[nr]|u000[adAD])|%(?:25){0,3}0[adAD]){1,2}"""
    inside = rb"""[\w+/-]{16}["' \t+,]{0,4}%b[ \t"',;>|#*\\nrt]*[\w+/-]+(?:[="'\\<%%)\]},;&]|\s*\z)"""
    return Sought([alone, at_its_end, inside % written], caseless=False, keep="breaks")
