"""What the records of chunks tell: rows, and what each chunk covers.

Lines are counted through all chunks that are read as one: a record's line tells its chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import compress

import numpy as np
import pyarrow as pa

from klaviyo_nb.logs.alike.json_lines import Alike, Calls
from klaviyo_nb.logs.alike.likeness import Likeness
from klaviyo_nb.logs.chunks import NO_ROWS, Part, Section, Task
from klaviyo_nb.logs.coded import Coded, Numbers, Texts, indices, numbers
from klaviyo_nb.logs.formats import times
from klaviyo_nb.logs.formats.table import Format
from klaviyo_nb.logs.formats.understand import Told
from klaviyo_nb.logs.found import Objects, Record, places
from klaviyo_nb.logs.pairs import joined
from klaviyo_nb.logs.rows import Column, Rows
from klaviyo_nb.logs.words import WordFinder
from klaviyo_nb.window import Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: In place of a time: nobody knows it; none was seen that is as late, or as early.
_UNKNOWN = _EARLIEST = np.iinfo(np.int64).min
_LATEST = np.iinfo(np.int64).max


class _Learnt(threading.local):
    """What was learnt from earlier chunks serves the next ones; bounded (docs/design/alike-lines.md).

    Each thread learns for itself: a cluster's worker may read several chunks at once.
    """

    def __init__(self) -> None:
        self.of = lru_cache(2)(self._make)
        self.words = WordFinder()

    @staticmethod
    def _make(near: datetime, about: bool, own: tuple[Format, ...]) -> tuple[Alike, Likeness]:
        return Alike(near, own), Likeness(near, about, own)


LEARNT = _Learnt()


class Understood:
    """What the records of chunks told so far."""

    def __init__(self, task: Task) -> None:
        job = task[0]  # what counts here is the same of all
        self._near = job.window.end
        self._alike, self._likeness = LEARNT.of(self._near, job.about, job.own)
        self._calls, self._webhooks = Rows(job.redact), Rows(job.redact)
        self._firsts: list[int] = []
        self._covered = _Covered(job.window, len(task))

    def begin(self, lines: int) -> None:
        """Another chunk begins; those before it have so many lines."""
        self._firsts.append(lines)

    def edges(self, moments: Sequence[int]) -> None:
        """Times at the beginning and at the end of the chunk that began last."""
        self._covered.see(np.full(len(moments), len(self._firsts) - 1), np.array(moments, np.int64))

    def give(self, parts: Sequence[Part]) -> None:
        """Note in the part of each chunk what it gave so far."""
        calls = self._apart(joined(self._calls.table(), self._chunks))
        for part, rows, webhooks in zip(parts, calls, self._apart(self._webhooks.table()), strict=True):
            part.calls, part.webhooks, part.found = rows, webhooks, rows.count
        self._covered.tell(parts)

    def _chunks(self, lines: Numbers) -> Numbers:
        """Which chunk each line is of."""
        return np.searchsorted(self._firsts, lines, "right") - 1

    def _apart(self, rows: pa.Table) -> list[Section]:
        """Rows of each chunk, whose lines are counted from its beginning."""
        if len(self._firsts) == 1 or not rows.num_rows:
            return [Section(rows, 0, rows.num_rows) if rows.num_rows else NO_ROWS] * len(self._firsts)
        lines = np.concatenate([numbers(each, np.int64) for each in rows["line"].chunks])
        order = np.argsort(lines, kind="stable")
        chunks = self._chunks(lines)
        own = indices(lines - np.array(self._firsts)[chunks])
        placed = rows.set_column(rows.column_names.index("line"), "line", pa.chunked_array([own]))
        table = placed.unify_dictionaries().take(indices(order))
        counts = np.bincount(chunks, minlength=len(self._firsts))
        starts = np.cumsum(counts) - counts
        return [
            Section(table, start, count) if count else NO_ROWS
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]

    def take(self, objects: Objects, others: Sequence[Record], offsets: bool) -> None:
        """Understand records: objects by column, then lines of known kinds by column, all else one by one.

        Args:
            objects: Records that are whole JSON objects.
            others: All others.
            offsets: Are offsets those of a file that can be opened again?
        """
        left = np.ones(len(objects.lines), np.bool_)
        for told in self._alike.calls(objects.raws):
            left[told.rows] = False
            self._add_alike(objects.offsets if offsets else None, objects.lines, told)
        records = [*objects.only(left).records(), *others]
        known, others_told = self._likeness.tell([record.raw for record in records])
        places_of, lines = places(records)
        for told in known:
            self._add_alike(places_of if offsets else None, lines, told)
        rows = np.array([row for row, _ in others_told], np.int64)
        inside = self._see(lines[rows], [told.moment for _, told in others_told])
        for row, told_one in compress(others_told, inside.tolist()):
            self._add(records[row], told_one, offsets)

    def _see(self, lines: Numbers, moments: Sequence[int | None] | Numbers) -> Numbers:
        """Note the times of lines; which are in the window, or unknown?"""
        if not isinstance(moments, np.ndarray):
            moments = np.array([_UNKNOWN if each is None else each for each in moments], np.int64)
        return self._covered.see(self._chunks(lines), moments)

    def _add(self, record: Record, told: Told, offsets: bool) -> None:
        if told.kind in ("call", "webhook"):
            rows = self._calls if told.kind == "call" else self._webhooks
            row = {**told.fields, "moment": told.moment, "line": record.line}
            if told.kind == "webhook":
                row["sent_at"] = times.of(row["sent_at"], self._near)
            elif offsets:
                row["offset"] = record.offset
            rows.add(row)
        elif told.kind == "mention":
            self._covered.mention(self._chunks(np.array([record.line])))

    def _add_alike(self, offsets: Numbers | None, lines: Numbers, told: Calls) -> None:
        moments, lines = told.moments, lines[told.rows]
        inside = self._see(lines, moments)
        if told.kind == "mention":
            self._covered.mention(self._chunks(lines[inside]))
        if told.kind != "call":
            return
        columns: dict[str, Column] = {**told.columns, "moment": moments, "line": lines}
        if offsets is not None:
            columns["offset"] = offsets[told.rows]
        if not inside.all():
            columns = {name: _only(values, inside) for name, values in columns.items()}
        self._calls.extend(columns, len(columns["moment"]))


def _only(column: Column, rows: Numbers) -> Column:
    return column.only(rows) if isinstance(column, Coded | Texts) else list(compress(column, rows))


class _Covered:
    """Of each of several chunks, by number: the times that were seen in it, and what gave no row."""

    def __init__(self, window: Window, count: int) -> None:
        self._begin, self._end = micros(window.start), micros(window.end)
        self._first = np.full(count, _LATEST)
        self._last, self._outside = np.full(count, _EARLIEST), np.full(count, _EARLIEST)
        self._unparsed = np.zeros(count, np.int64)

    def see(self, chunks: Numbers, moments: Numbers) -> Numbers:
        """Note times; which are in the window, or unknown?"""
        known = moments != _UNKNOWN
        inside = (moments >= self._begin) & (moments < self._end)
        outside = known & ~inside
        np.minimum.at(self._first, chunks[inside], moments[inside])
        np.maximum.at(self._last, chunks[inside], moments[inside])
        np.maximum.at(self._outside, chunks[outside], moments[outside])
        there: Numbers = ~outside
        return there

    def mention(self, chunks: Numbers) -> None:
        """Note a record that gave no row in each of these."""
        np.add.at(self._unparsed, chunks, 1)

    def tell(self, parts: Sequence[Part]) -> None:
        """Note it in the part of each chunk."""
        columns = (self._unparsed, self._first, self._last, self._outside)
        each = zip(*(column.tolist() for column in columns), strict=True)
        for part, (unparsed, first, last, outside) in zip(parts, each, strict=False):  # some may be to come
            part.unparsed = unparsed
            part.first = None if first == _LATEST else first
            part.last, part.outside = (None if time == _EARLIEST else time for time in (last, outside))


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
