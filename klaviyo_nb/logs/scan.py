"""Find the records that matter in a stream of bytes: fast, complete, in bounded memory.

Blocks are read into one buffer that is used again. A `Finder` says which lines to look at; the lines that
continue them are cut with them.

A range of a file is scanned like a whole one: a record belongs to the range in which its first line begins.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.logs.coded import Numbers
from klaviyo_nb.logs.formats.envelopes import NOT_ALONE, alone, begins, dated, follows
from klaviyo_nb.logs.found import NO_OBJECTS, Found, Objects, Raws, Record
from klaviyo_nb.logs.sources.base import CONTEXT, MAX_LINES, REACH, Read
from klaviyo_nb.logs.words import Finder, WordFinder
from klaviyo_nb.sought import Sought

BLOCK = 256 * 1024
#: A longer line is read in pieces [bytes].
MAX_LINE = 16 * 1024 * 1024

#: From so many places in a block on its lines are cut together: arrays cost as much for one as for many.
MANY = 48

_ENDLESS = 1 << 62


@dataclass(slots=True)
class Seen:
    """What went through a scan: `lines` that began in the range, `read` bytes, `stopped` before the end.

    Lines are counted on from what it is given: those of other streams before it.
    """

    lines: int = 0
    read: int = 0
    stopped: bool = False


class _Hits(NamedTuple):
    """Lines that were found: where each begins and ends in the buffer, and the lines before it."""

    starts: Numbers
    ends: Numbers
    lines: Numbers


class _Buffer:
    """Part of the stream: `data[:end]`, whose first byte is the stream's byte `base`.

    Attributes:
        bytes: `data` as numbers.
        begin: Where the first line begins whose beginning is known.
        looked: Up to where words were searched and lines were counted; a line begins there.
        lines: Lines that begin in the range, as far as `looked`.
    """

    def __init__(self, base: int, start: int, stop: int | None, lines: int) -> None:
        self._give(bytearray(CONTEXT + 2 * BLOCK))
        self.base, self.start = base, start
        #: Line breaks from here on (offset in the stream) begin no line of the range.
        self.last_break = _ENDLESS if stop is None else stop - 1
        self.end = self.begin = self.looked = 0
        self.lines = lines + int(start == 0)

    def _give(self, data: bytearray) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, dtype=np.uint8)
        self._breaks = np.empty(len(data), dtype=np.bool_)

    def fill(self, read: Read) -> int:
        """Read on; keep what may still be needed, grow for a long line."""
        if self.end + BLOCK > len(self.data):
            keep = max(0, self.looked - CONTEXT)
            kept, breaks = self.data[keep : self.end], self._breaks[keep : self.end].copy()
            if len(kept) + BLOCK > len(self.data):
                self._give(bytearray(2 * len(self.data)))
            self.data[: len(kept)], self._breaks[: len(kept)] = kept, breaks
            self.base, self.end = self.base + keep, len(kept)
            self.looked, self.begin = self.looked - keep, max(0, self.begin - keep)
        got = read(memoryview(self.data)[self.end : self.end + BLOCK])
        new = slice(self.end, self.end + got)
        np.equal(self.bytes[new], ord("\n"), out=self._breaks[new])
        self.end += got
        return got

    def align(self) -> bool:
        """Drop the end of a line that began before the buffer; False while that end was not read."""
        found = self.data.find(b"\n", self.looked, self.end)
        self.looked = self.begin = found + 1 or self.end
        if found >= 0 and self.start - 1 <= self.base + found < self.last_break:
            self.lines += 1
        return found >= 0

    @property
    def past_range(self) -> bool:
        """Was all searched that a record of the range may reach into?"""
        return self.base + self.looked > self.last_break + CONTEXT

    @property
    def begins_none(self) -> bool:
        """Was a line counted that would begin where the stream has ended, in the range?"""
        end = self.base + self.end
        ends_open = self.end == 0 or self.data[self.end - 1] == ord("\n")
        return ends_open and self.start <= end <= self.last_break

    def whole(self, longest: int) -> int:
        """Where the last whole line ends; the end of the buffer if the line is longer than that already."""
        found = self.data.rfind(b"\n", self.looked, self.end) + 1
        return found or (self.end if self.end - self.looked >= longest else self.looked)

    def advance(self, until: int) -> None:
        """Count the lines up to `until`."""
        begin = max(self.looked, self.start - 1 - self.base)
        end = min(until, self.last_break - self.base)
        self.looked = max(self.looked, until)
        if end > begin:
            self.lines += self.breaks(begin, end)

    def breaks(self, begin: int, end: int) -> int:
        """Line breaks in `data[begin:end]`."""
        return int(np.count_nonzero(self._breaks[begin:end]))

    def lines_before(self, first: int) -> int:
        """Lines of the range before the one that begins at `first`; `first` is in the range."""
        looked = self.looked
        if first < looked:
            counted = min(looked, self.last_break - self.base)
            return self.lines - 1 - (self.breaks(first, counted) if counted > first else 0)
        if self.base + looked < self.start - 1:
            self.advance(first)
        else:
            self.lines += self.breaks(looked, first)
            self.looked = first
        return self.lines - 1

    def hits(self, places: Numbers, limit: int) -> _Hits:
        """The lines of `data[looked:limit]` that hold these places, which ascend."""
        breaks = self._breaks[self.looked : limit].nonzero()[0] + self.looked
        which = breaks.searchsorted(places)
        first = np.ones(len(which), np.bool_)  # of those in a line
        np.not_equal(which[1:], which[:-1], out=first[1:])
        which = which[first]
        borders = np.concatenate(([self.line_start(self.looked)], breaks + 1, [limit]))
        outside = breaks.searchsorted(self.start - 1 - self.base)  # begin lines before the range
        return _Hits(borders[which], borders[which + 1], self.lines - 1 + which - outside)

    def holds(self, begin: Any) -> Any:
        """Does a line that begins there begin in the range? Of one place, or of each of many."""
        return (begin >= self.start - self.base) & (begin <= self.last_break - self.base)

    def line_start(self, at: int) -> int:
        """Where the line that holds `at` begins."""
        return self.data.rfind(b"\n", self.begin, at) + 1 or self.begin

    def line_end(self, at: int, limit: int) -> int:
        """Just behind the line break that ends the line holding `at`, at most `limit`."""
        return self.data.find(b"\n", at, limit) + 1 or limit

    def around(self, begin: int, end: int, line: bytes, limit: int) -> tuple[int, int]:
        """Begin and end of the record that a line belongs to; `limit` is its end if more bytes may follow."""
        return begin if begins(line) else self._back(begin, line), self._ahead(end, line, limit)

    def _back(self, begin: int, line: bytes) -> int:
        first, lines, sure = begin, 1, False
        while first > self.begin and lines < MAX_LINES and not sure:
            before = self.line_start(first - 1)
            text = bytes(self.data[before:first])
            if begin - before > REACH or not follows(text, line):
                break
            first, line, lines, sure = before, text, lines + 1, begins(text)
        while first < begin and not line.strip():
            first = self.line_end(first, begin)
            line = bytes(self.data[first : self.line_end(first, begin)])
        return first

    def _ahead(self, end: int, line: bytes, limit: int) -> int:
        begin, lines = end, 1
        while end < limit and lines < MAX_LINES:
            after = self.line_end(end, limit)
            text = bytes(self.data[end:after])
            if after - begin > REACH or begins(text) or not follows(line, text):
                break
            end, line, lines = after, text, lines + 1
        return end


def scan(
    read: Read,
    seen: Seen,
    *,
    at: int = 0,
    start: int = 0,
    stop: int | None = None,
    find: Finder | None = None,
    longest: int = MAX_LINE,
    many: int = MANY,
    halt: Callable[[], bool] = bool,
) -> Generator[Found, None, None]:
    """The records that hold one of `WORDS` and begin in `[start, stop)`, block by block.

    Args:
        read: Fills a part of the memory it is given and says how many bytes; 0 at the end of the stream.
        seen: Filled while scanning.
        at: Offset of the first byte that `read` gives: `start` less `CONTEXT`, at least 0.
        start: First byte of the range.
        stop: End of the range; None: of the stream.
        find: `WordFinder()` if None, or `EveryLine()`.
        longest: A longer line is read in pieces [bytes].
        many: Places in a block from which on its lines are cut together.
        halt: Asked once per block; True ends the scan.
    """
    buffer, got, aligned = _Buffer(at, start, stop, seen.lines), 1, at == 0
    find = find or WordFinder()
    cutter = _Cutter(buffer)
    try:
        while got and not seen.stopped and not buffer.past_range:
            got = buffer.fill(read)
            seen.read += got
            aligned = aligned or buffer.align()
            limit = looked = (buffer.whole(longest) if got else buffer.end) if aligned else buffer.looked
            places = find(buffer.data, buffer.looked, limit)
            if len(places):
                cut = cutter.together if len(places) >= many else cutter.one_by_one
                found, looked = cut(places, limit, bool(got))
                yield found
            buffer.advance(looked)
            seen.lines = buffer.lines - 1  # so far
            seen.stopped = bool(got) and halt()
    finally:  # also when nobody wants the rest
        seen.lines = buffer.lines - (not seen.stopped and buffer.begins_none)


class _Cutter:
    """Cuts records out of a buffer."""

    def __init__(self, buffer: _Buffer) -> None:
        self._buffer = buffer
        self._free = 0  # the stream's offset up to which records were cut

    def one_by_one(self, places: Numbers, limit: int, more: bool) -> tuple[Found, int]:
        """The same as `together`, faster where there are few."""
        buffer, found, behind, looked = self._buffer, Found(NO_OBJECTS, [], []), 0, limit
        for place in places.tolist():
            if place < behind:  # in a line that was looked at
                continue
            first, behind = buffer.line_start(place), buffer.line_end(place, limit)
            if buffer.base + first < self._free:  # in a record that was cut
                continue
            last, raw = behind, bytes(buffer.data[first:behind])
            if not (whole := alone(raw)):
                extent = self._extent(first, last, raw, limit, more)
                if extent is None:
                    looked = first
                    break
                first, last = max(extent[0], self._free - buffer.base), extent[1]
                raw = bytes(buffer.data[first:last])
            self._free = buffer.base + last
            if buffer.holds(first):
                record = Record(buffer.base + first, buffer.lines_before(first), raw)
                (found.few if whole else found.others).append(record)
        return found, looked

    def together(self, places: Numbers, limit: int, more: bool) -> tuple[Found, int]:
        """The records of lines that hold these places, and up to where the buffer was looked at.

        Args:
            places: Where words were found, ascending.
            limit: Where the last whole line ends.
            more: May more bytes follow behind it?
        """
        hits = self._buffer.hits(places, limit)
        buffer, others, looked = self._buffer, list[Record](), limit
        free, held = self._free - buffer.base, buffer.holds(hits.starts)
        rows, raws = self._whole(hits)
        taken = np.zeros(len(hits.starts), np.bool_)
        taken[rows] = hits.starts[rows] >= free
        whole = set(rows.tolist())
        each = zip(*(part.tolist() for part in hits), strict=True)
        for row, (first, last, line) in enumerate(each) if len(rows) < len(taken) else ():
            if row in whole:
                continue
            if row - 1 in whole:
                free = max(free, int(hits.ends[row - 1]))
            if first < free:  # in a record that was cut
                continue
            raw = bytes(buffer.data[first:last])
            extent = self._extent(first, last, raw, limit, more)
            if extent is None:
                looked = first
                taken[row:] = False
                break
            begin, end = max(extent[0], free), extent[1]
            if (begin, end) != (first, last):
                raw = bytes(buffer.data[begin:end])
                taken[row:] &= hits.starts[row:] >= end
            free = end
            if buffer.holds(begin):
                line = line if begin == first else buffer.lines_before(begin)
                others.append(Record(buffer.base + begin, line, raw))
        if taken.any():
            free = max(free, int(hits.ends[taken.nonzero()[0][-1]]))
        self._free = free + buffer.base
        kept = (taken & held)[rows]
        objects = Objects(raws, hits.starts[rows] + buffer.base, hits.lines[rows])
        return Found(objects if kept.all() else objects.only(kept), [], others), looked

    def _extent(self, first: int, last: int, raw: bytes, limit: int, more: bool) -> tuple[int, int] | None:
        """Where the record of a line begins and ends; None: it may go on in what was not read yet."""
        if last < limit and dated(raw) and dated(self._buffer.data, last):
            return first, last
        begin, end = self._buffer.around(first, last, raw, limit)
        return None if end == limit and more else (begin, end)

    def _whole(self, hits: _Hits) -> tuple[Numbers, Raws]:
        """Which of the lines are `alone`, and their bytes."""
        buffer = self._buffer
        rows = (buffer.bytes[hits.starts] == ord("{")).nonzero()[0]
        if not len(rows):
            return rows, Raws.of(())
        raws = Raws.cut(buffer.data, hits.starts[rows], hits.ends[rows])
        sure = raws.bytes[raws.without_breaks() - 1] == ord("}")
        for end in {end for _, end in _not_alone().ends(raws.data)}:
            sure[np.searchsorted(raws.ends, end)] = False
        for row in np.flatnonzero(~sure).tolist():
            sure[row] = alone(raws[row])
        return (rows, raws) if sure.all() else (rows[sure], raws.only(sure))


@lru_cache(1)
def _not_alone() -> Sought:
    return Sought(NOT_ALONE, caseless=False, keep="envelopes")
