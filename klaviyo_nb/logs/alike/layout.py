"""JSON objects of one layout, cut into their values all at once.

A logger writes the same keys with the same marks between them; only the values differ. In a line without a
backslash every second quote ends a text, so that values stand between quotes that are counted, and all else
must be as in the line that the layout was learnt from. Whatever differs is read in another way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.alike.grouping import Group, Grouping
from klaviyo_nb.logs.coded import Coded, Numbers, Texts, distinct, indices, numbers
from klaviyo_nb.logs.found import Raws

#: Of fewer lines with so many quotes none is cut: looking takes longer than reading them.
_FEWEST = 16
#: Layouts that are remembered of lines with so many quotes, and numbers of quotes.
_MOST_LAYOUTS, _MOST_QUOTES, _MOST_HOLES = 8, 256, 100
_QUOTE, _BACKSLASH, _SPACE, _NOT_ASCII = ord('"'), ord("\\"), ord(" "), 0x80
_TOKEN = expression(rb'"([^"]*)"(\s*:)?|(-?[0-9][0-9.eE+-]*)')
_NUMBER = expression(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_UUID = "00000000-0000-4000-8000-000000000000"
_HYPHENS = [at for at, char in enumerate(_UUID) if char == "-"]
_BETWEEN = [at for at, char in enumerate(_UUID) if char != "-"]
_HEX = np.zeros(256, np.bool_)
_HEX[list(b"0123456789abcdefABCDEF")] = True
#: A whole number of so many digits fits into 64 bits.
_PLAIN_DIGITS: Final = 18


class Lines:
    """Lines in one piece, and where each begins and ends, without its line break."""

    def __init__(self, raws: Raws) -> None:
        self.raws, self.data, self.bytes = raws, raws.data, raws.bytes
        self.starts, self.ends = raws.starts, raws.without_breaks()
        self.quotes = np.flatnonzero(self.bytes == _QUOTE)
        self.first_quotes = np.searchsorted(self.quotes, self.starts)
        close = int((raws.ends - raws.starts).sum()) == len(self.data)  # nothing but breaks is between them
        behind = self.first_quotes[1:] if close else np.searchsorted(self.quotes, self.ends)
        self.counts = np.append(behind, len(self.quotes))[: len(self.starts)] - self.first_quotes

    def plain(self) -> Numbers:
        """Of each line: is it UTF-8 without escapes and control characters?"""
        fits: Numbers = (self.ends > self.starts) & (self.counts > 0) & (self.counts % 2 == 0)
        if not self._have_breaks_only():
            odd = np.flatnonzero((self.bytes < _SPACE) | (self.bytes == _BACKSLASH))
            rows = np.searchsorted(self.ends, odd, side="right")
            inside = rows < len(fits)
            rows, odd = rows[inside], odd[inside]
            fits[rows[odd >= self.starts[rows]]] = False
        if not self.data.isascii():
            high = np.searchsorted(self.ends, np.flatnonzero(self.bytes >= _NOT_ASCII), side="right")
            for row in distinct(high[high < len(fits)])[0].tolist():
                fits[row] &= _is_utf8(self.raws[row])
        return fits

    def _have_breaks_only(self) -> bool:
        """Is there no escape, and no control character but their line breaks? To count takes a tenth."""
        breaks = int((self.raws.ends - self.ends).sum())
        return b"\\" not in self.data and np.count_nonzero(self.bytes < _SPACE) == breaks

    def at(self, starts: Numbers, kind: str) -> Numbers:
        """What stands at each place, as numpy's `kind`. It may not reach over the end of all."""
        length = np.dtype(kind).itemsize
        return np.ndarray((len(self.data) - length + 1,), kind, self.data, 0, (1,))[starts]

    def are(self, starts: Numbers, text: bytes) -> Numbers:
        """Of each place: does this text stand there? It may not reach over the end of all."""
        each = self.at(starts, f"V{len(text)}")
        if each.tobytes() == text * len(starts):
            return np.ones(len(starts), np.bool_)
        same: Numbers = (each.view(np.uint8).reshape(len(starts), -1) == np.frombuffer(text, np.uint8)).all(1)
        return same


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


class Cut:
    """A column of values as they stand in lines: texts, or numbers."""

    def __init__(self, lines: Lines, starts: Numbers, ends: Numbers, number: bool) -> None:
        self._lines, self._starts, self._ends, self.number = lines, starts, ends, number
        self._lengths = ends - starts

    def only(self, rows: Numbers) -> Cut:
        """Some of the rows."""
        return Cut(self._lines, self._starts[rows], self._ends[rows], self.number)

    @cached_property
    def texts(self) -> pa.Array:
        """As they are written."""
        count = len(self._starts)
        if self._equal is not None:
            borders = np.arange(count + 1) * self._equal.shape[1]
            buffers = [None, pa.py_buffer(borders), pa.py_buffer(self._equal)]
            return pa.Array.from_buffers(pa.large_string(), count, buffers)
        # Every second one is what stands between two values.
        borders = np.empty(2 * count + 1, np.int64)
        borders[0:-1:2], borders[1::2], borders[-1] = self._starts, self._ends, self._ends[-1]
        buffers = [None, pa.py_buffer(borders), pa.py_buffer(self._lines.data)]
        return pa.Array.from_buffers(pa.large_string(), 2 * count, buffers).take(
            indices(2 * np.arange(count))
        )

    @cached_property
    def _equal(self) -> Numbers | None:
        """Their bytes, a row each; None if their lengths differ, or there are none."""
        length = int(self._lengths[0])
        if not length or (self._lengths != length).any():
            return None
        return self._lines.at(self._starts, f"V{length}").view(np.uint8).reshape(-1, length)

    @cached_property
    def encoded(self) -> tuple[Numbers, pa.Array]:
        """Row → place of its text among the distinct ones; and these."""
        found = self.texts.dictionary_encode()
        return numbers(found.indices, np.int32).astype(np.int64), found.dictionary

    @cached_property
    def coded(self) -> Coded:
        """Each distinct one once, as Python has it."""
        codes, texts = self.encoded
        values = texts.to_pylist()
        return Coded(codes, list(map(orjson.loads, values)) if self.number else values)

    @cached_property
    def whole(self) -> Numbers | None:
        """They as whole numbers; None if not all of them are plain ones."""
        if not self.number or self._lengths.min() < 1 or self._lengths.max() > _PLAIN_DIGITS:
            return None
        data = np.frombuffer(self.texts.buffers()[2], np.uint8)
        first = self._lines.bytes[self._starts]
        digits = (data >= ord("0")) & (data <= ord("9"))
        if not digits.all() or ((first == ord("0")) & (self._lengths > 1)).any():
            return None
        return numbers(self.texts.cast(pa.int64()), np.int64)

    @property
    def letters(self) -> Numbers | None:
        """Texts of equal length, a row each; None if they are none."""
        return None if self.number else self._equal

    @property
    def uuids(self) -> Texts | None:
        """They, if all are UUIDs."""
        letters = self.letters
        if letters is None or letters.shape[1] != len(_UUID):
            return None
        sound = (letters[:, _HYPHENS] == ord("-")).all() and _HEX[letters[:, _BETWEEN]].all()
        return Texts(self.texts) if sound else None

    def fitting(self) -> Numbers:
        """Of each: may it stand there? A number must be one; a text must not be JSON itself."""
        if self.number:
            if self.whole is not None:
                return np.ones(len(self._starts), np.bool_)
            codes, texts = self.encoded
            return Coded(codes, texts.to_pylist()).having(_NUMBER.fullmatch)
        first, last = self._lines.bytes[self._starts], self._lines.bytes[self._ends - 1]
        begun: Numbers = (first == ord("{")) | (first == ord("["))
        if not begun.any():
            return ~begun
        ended: Numbers = (last == ord("}")) | (last == ord("]")) | (last <= _SPACE)
        return np.logical_not(begun & ended)


def coded(column: Any) -> Coded:
    """A group's column, in which values may repeat."""
    if isinstance(column, Cut):
        return column.coded
    return column if isinstance(column, Coded) else Coded.of(column)


class _Hole(NamedTuple):
    """Where a value stands: behind a quote, and before the next one or the end of the line.

    Attributes:
        quote: The number of the quote before it.
        after: So far behind it.
        before: So far before the next one.
        number: Is it a number, and no text?
    """

    quote: int
    after: int
    before: int
    number: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Objects with the same keys and the same marks between values.

    Attributes:
        pieces: What stands before, between and behind the values.
        holes: Where these stand.
        like: A group with one such object: a text for each hole, which is its number. None: such objects
            are left alone.
    """

    pieces: tuple[bytes, ...]
    holes: tuple[_Hole, ...]
    like: Group | None

    @classmethod
    def of(cls, raw: bytes, grouping: Grouping) -> Layout | None:
        """That of a plain line; None if it has no values, or too many."""
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        quotes = [at for at, char in enumerate(raw) if char == _QUOTE] + [len(raw)]
        pieces, holes, done, passed = list[bytes](), list[_Hole](), 0, 0
        for token in _TOKEN.finditer(raw):
            number = token[3] is not None
            passed += 0 if number else 2
            if token[2]:  # a key
                continue
            start, end = token.span(3 if number else 1)
            before = passed - (1 if number else 2)
            if before < 0 or (holes and holes[-1].quote == before):  # two numbers in a list
                return None
            holes.append(_Hole(before, start - quotes[before], quotes[before + 1] - end, number))
            pieces.append(raw[done:start])
            done = end
        if not 0 < len(holes) <= _MOST_HOLES:
            return None
        pieces.append(raw[done:])
        texts = [b"%d" % place if not hole.number else b'"%d"' % place for place, hole in enumerate(holes)]
        probe = b"".join(part for both in zip(pieces, [*texts, b""], strict=True) for part in both)
        return cls(tuple(pieces), tuple(holes), next(grouping.groups([probe]), None))

    def cut(self, lines: Lines, rows: Numbers) -> tuple[Numbers, list[Cut]]:
        """Which of the lines have this layout, and their values; all have as many quotes as the first one."""
        fits, places = self._compared(lines, rows)
        if not fits.all():
            rows = rows[fits]
            places = [(start[fits], end[fits]) for start, end in places]
        cuts = [Cut(lines, *place, hole.number) for place, hole in zip(places, self.holes, strict=True)]
        sound = np.ones(len(rows), np.bool_)
        for cut in cuts if len(rows) else ():
            sound &= cut.fitting()
        if not sound.all():
            rows, cuts = rows[sound], [cut.only(sound) for cut in cuts]
        return rows, cuts

    def _compared(self, lines: Lines, rows: Numbers) -> tuple[Numbers, list[tuple[Numbers, Numbers]]]:
        """Of each line: does all between the values fit? And where they begin and end, if so."""
        first = lines.first_quotes[rows]
        count = int(lines.counts[rows[0]])
        done, fits = lines.starts[rows], np.ones(len(rows), np.bool_)
        places = []
        for piece, hole in zip(self.pieces, self.holes, strict=False):
            start = lines.quotes[first + hole.quote] + hole.after
            following = hole.quote + 1
            end = (lines.quotes[first + following] if following < count else lines.ends[rows]) - hole.before
            fits &= (start - done == len(piece)) & (end >= start + hole.number)
            places.append((start, end))
            done = end
        fits &= lines.ends[rows] - done == len(self.pieces[-1])
        begins = [lines.starts[rows], *(end for _, end in places)]
        for piece, begin in zip(self.pieces, begins, strict=True):
            some = slice(None) if fits.all() else np.flatnonzero(fits)
            if piece and len(at := begin[some]):
                fits[some] = lines.are(at, piece)
        return fits, places


@dataclass(slots=True)
class Layouts:
    """Layouts that were met, by the number of quotes. One thread uses it at a time."""

    _known: dict[int, list[Layout]] = field(default_factory=lambda: defaultdict(list))
    _grouping: Grouping = field(default_factory=Grouping)

    def groups(self, raws: Sequence[bytes]) -> tuple[list[Group], Numbers]:
        """Groups of the records that have a known layout, and the rows of the others."""
        if len(raws) < _FEWEST:
            return [], np.arange(len(raws))
        lines, found = Lines(Raws.of(raws)), list[Group]()
        left, plain = np.ones(len(raws), np.bool_), np.flatnonzero(lines.plain())
        for count in distinct(lines.counts[plain])[0].tolist():
            rows = plain[lines.counts[plain] == count]
            for group in self._cut(lines, rows, count):
                left[group.rows] = False
                found.append(group)
        return found, np.flatnonzero(left)

    def _cut(self, lines: Lines, rows: Numbers, count: int) -> Iterator[Group]:
        if count not in self._known and len(self._known) >= _MOST_QUOTES:
            self._known.clear()
        known = self._known[count]
        for layout in known:
            if len(rows) >= _FEWEST:
                rows = yield from _those(layout, lines, rows)
        for _ in range(_MOST_LAYOUTS):
            if len(rows) < _FEWEST:
                break
            first, new = rows[0], Layout.of(lines.raws[rows[0]], self._grouping)
            left = (yield from _those(new, lines, rows)) if new else rows
            if new and len(left) < len(rows):
                known.append(new)
            rows = left[left != first]  # an odd one has no layout
        del known[:-_MOST_LAYOUTS]  # logs that are read now have others


def _those(layout: Layout, lines: Lines, rows: Numbers) -> Generator[Group, None, Numbers]:
    """A group of the lines that have a layout; the others."""
    those, cuts = layout.cut(lines, rows)
    if len(those) and layout.like is not None:
        yield _group(layout.like, lines, those, cuts)
    left = np.ones(len(rows), np.bool_)
    left[np.searchsorted(rows, those)] = False
    return rows[left]


def _group(like: Group, lines: Lines, rows: Numbers, cuts: Sequence[Cut]) -> Group:
    columns: list[Any] = []
    for column in like.columns:
        (value,) = column
        columns.append(cuts[int(value)] if type(value) is str else Coded.constant(value, len(rows)))
    return Group(like.plan, rows, lines.raws.only(rows), columns)
