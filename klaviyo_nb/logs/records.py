"""The records of a chunk to its rows: found, understood, redacted, packed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain, compress
from typing import TYPE_CHECKING, Any

import numpy as np

from klaviyo_nb.logs.alike.json_lines import Alike, Calls
from klaviyo_nb.logs.alike.likeness import Likeness
from klaviyo_nb.logs.chunks import STOPPED, Job, Part, advancing, learnt_by, partly, too_much
from klaviyo_nb.logs.coded import Coded, Numbers, Texts
from klaviyo_nb.logs.formats import times
from klaviyo_nb.logs.formats.columns import Columns, columns_of
from klaviyo_nb.logs.formats.table import Format
from klaviyo_nb.logs.formats.understand import Told
from klaviyo_nb.logs.found import Found, Objects, Record, places
from klaviyo_nb.logs.pairs import joined
from klaviyo_nb.logs.questions.question import Question, Records
from klaviyo_nb.logs.rows import Column, Piece, Rows
from klaviyo_nb.logs.scan import Seen, scan
from klaviyo_nb.logs.sources.base import UNENDED, UTF16, Opened, Read, is_utf16, late
from klaviyo_nb.logs.words import EveryLine, WordFinder

if TYPE_CHECKING:
    import pyarrow as pa

#: So many objects are understood at once, so many other records, or as many as hold so many bytes: alike ones
#: are told in one go, but what was read is understood even if the deadline passes meanwhile. It is near if it
#: is no further off than this [s].
_AT_LEISURE = 16_384, 16_384, 8 * 1024 * 1024
_HURRIED, _HURRY_S = (4_096, 2_048, 4 * 1024 * 1024), 60.0
_EDGE = 4_096
#: What has been read is told after this time [s], and then after so many times what telling took [1], but not
#: later than this [s].
_SHARED_S, _PATIENCE, _LATEST_S = 1.0, 10, 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(job: Job, opened: Opened, part: Part) -> None:
    """Read what was opened, to its end or to the deadline, into `part`."""
    seen, edges, reading = Seen(), _Edges(opened.read), _Reading(job, opened.offsets)
    waiting: tuple[list[Objects], list[Record], list[Record]] = ([], [], [])
    tell = advancing.get(None)

    def take() -> None:
        head = (opened.head or edges.head).decode("utf-8", "replace")
        many, few, others = waiting
        objects, others = Objects.joined([*many, Objects.of(few)]), [*others]
        for each in waiting:
            each.clear()
        reading.take(objects, others, columns_of(head.split("\n")))

    so_far = _SoFar(job, reading, seen, take)
    opened.idle = so_far.tell

    def halt() -> bool:
        if tell:
            tell(job, opened.done)
        so_far.tell()
        return late(job.deadline) or _enough(job, seen)

    records = scan(
        edges.read, seen, at=opened.at, start=opened.start, stop=opened.stop,
        find=EveryLine() if job.about else _LEARNT.words, halt=halt,
    )  # fmt: skip
    hurry = job.deadline is not None and job.deadline - time.monotonic() < _HURRY_S
    for _ in _filled(records, _HURRIED if hurry else _AT_LEISURE, *waiting):
        take()
    for moment in edges.times(job.window.end):
        reading.saw(moment)
    calls, webhooks = reading.give(part, seen)
    if job.question is None:
        part.calls, part.webhooks = calls, webhooks
    else:
        part.told = _told(job, job.question, calls, webhooks)
    if not opened.at and is_utf16(edges.head[:_EDGE]):
        part.truncated = True
        part.problems.append(UTF16)
    if seen.stopped and not opened.truncated:
        part.truncated = True
        part.problems.append(too_much(job.most) if _enough(job, seen) else UNENDED)


class _SoFar:
    """Tells what a chunk has given so far, so that it is kept if we are killed."""

    def __init__(
        self,
        job: Job,
        reading: _Reading,
        seen: Seen,
        take: Callable[[], None],
    ) -> None:
        self._job, self._reading, self._seen, self._take = job, reading, seen, take
        self._share = partly.get(None) if job.question is None else None
        self._next, self._told = time.monotonic() + _SHARED_S, 0

    def tell(self) -> None:
        """Tell it, if there is more and it is time: ten times as long as telling took after the last."""
        if self._share is None or time.monotonic() < self._next or self._seen.read == self._told:
            return
        self._take()  # which had to be done anyway
        began = time.monotonic()
        part = Part(self._job.source, truncated=True, problems=[STOPPED])
        part.calls, part.webhooks = self._reading.give(part, self._seen)
        part.learnt = learnt_by(self._job)
        self._share(self._job, part)
        now = time.monotonic()
        wait = min(max(_SHARED_S, _PATIENCE * (now - began)), _LATEST_S)
        self._next, self._told = now + wait, self._seen.read


def _told(job: Job, question: Question[Any], calls: pa.Table, webhooks: pa.Table) -> Any:
    """What rows tell a question; their lines are counted from the beginning of the chunk."""
    from klaviyo_nb.logs import frame  # brings pandas: half a second that reading alone does not need

    frames = frame.calls([Piece(job.name, 0, calls)]), frame.webhooks([Piece(job.name, 0, webhooks)])
    return question.part(Records(*frames), job.window)


def _filled(
    found: Iterable[Found],
    most: tuple[int, int, int],
    objects: list[Objects],
    few: list[Record],
    others: list[Record],
) -> Iterator[None]:
    """Put what was found into the lists; tells when they are to be emptied."""
    most_objects, most_others, most_bytes = most
    count = size = 0
    for each in found:
        if len(each.objects.lines):
            objects.append(each.objects)
        few.extend(each.few)
        others.extend(each.others)
        count += len(each.objects.lines)
        size += len(each.objects.raws.data) + sum(len(one.raw) for one in chain(each.few, each.others))
        if count + len(few) >= most_objects or len(others) >= most_others or size >= most_bytes:
            yield
            count = size = 0
    yield


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


_LEARNT = _Learnt()


class _Reading:
    """What the records of a chunk told so far."""

    def __init__(self, job: Job, offsets: bool) -> None:
        self._offsets = offsets
        self._near = job.window.end
        self._begin, self._end = micros(job.window.start), micros(job.window.end)
        self._alike, self._likeness = _LEARNT.of(self._near, job.about, job.own)
        self.calls, self.webhooks = Rows(job.redact), Rows(job.redact)
        self.unparsed = 0
        self.first: int | None = None
        self.last: int | None = None
        self.outside: int | None = None

    def give(self, part: Part, seen: Seen) -> tuple[pa.Table, pa.Table]:
        """Calls and webhooks so far; what else is known so far is noted in `part`."""
        calls, webhooks = joined(self.calls.table()), self.webhooks.table()
        part.found = calls.num_rows
        part.unparsed = self.unparsed
        part.first, part.last, part.outside = self.first, self.last, self.outside
        part.lines, part.read = seen.lines, seen.read
        return calls, webhooks

    def take(self, objects: Objects, others: Sequence[Record], columns: Columns | None = None) -> None:
        """Understand records: objects by column, then lines of known kinds by column, all else one by one."""
        if columns is not None:
            rows = [columns.row(record.raw.decode("utf-8", "replace").rstrip("\r\n")) for record in others]
            told_rows = [record._replace(raw=row) for record, row in zip(others, rows, strict=True) if row]
            objects = Objects.joined([objects, Objects.of(told_rows)])
            others = [record for record, row in zip(others, rows, strict=True) if not row]
        left = np.ones(len(objects.lines), np.bool_)
        for told in self._alike.calls(objects.raws):
            left[told.rows] = False
            self._add_alike(objects.offsets, objects.lines, told)
        records = [*objects.only(left).records(), *others]
        known, others_told = self._likeness.tell([record.raw for record in records])
        offsets, lines = places(records)
        for told in known:
            self._add_alike(offsets, lines, told)
        for row, one in others_told:
            self._add(records[row], one)

    def saw(self, moment: int | None) -> bool:
        """Note a time; is it in the window, or unknown?"""
        if moment is None:
            return True
        if not self._begin <= moment < self._end:
            self.outside = moment if self.outside is None else max(self.outside, moment)
            return False
        self.first = moment if self.first is None else min(self.first, moment)
        self.last = moment if self.last is None else max(self.last, moment)
        return True

    def _add(self, record: Record, told: Told) -> None:
        if not self.saw(told.moment):
            return
        if told.kind in ("call", "webhook"):
            rows = self.calls if told.kind == "call" else self.webhooks
            row = {**told.fields, "moment": told.moment, "line": record.line}
            if told.kind == "webhook":
                row["sent_at"] = times.of(row["sent_at"], self._near)
            elif self._offsets:
                row["offset"] = record.offset
            rows.add(row)
        elif told.kind == "mention":
            self.unparsed += 1

    def _add_alike(self, offsets: Numbers, lines: Numbers, told: Calls) -> None:
        moments = told.moments
        if isinstance(moments, np.ndarray):
            known = [int(moments.min()), int(moments.max())]
        else:
            known = [moment for moment in moments if moment is not None]
        inside = None
        if known and not (self.saw(min(known)) and self.saw(max(known))):
            each = moments.tolist() if isinstance(moments, np.ndarray) else moments  # Python's own numbers
            inside = np.fromiter(map(self.saw, each), np.bool_, len(each))
        if told.kind == "mention":
            self.unparsed += len(told.rows) if inside is None else int(inside.sum())
        if told.kind != "call":
            return
        columns: dict[str, Column] = {**told.columns, "moment": moments, "line": lines[told.rows]}
        if self._offsets:
            columns["offset"] = offsets[told.rows]
        if inside is not None:
            columns = {name: _only(values, inside) for name, values in columns.items()}
        self.calls.extend(columns, len(columns["moment"]))


def _only(column: Column, rows: np.ndarray[Any, Any]) -> Column:
    return column.only(rows) if isinstance(column, Coded | Texts) else list(compress(column, rows))


def _enough(job: Job, seen: Seen) -> bool:
    return job.most is not None and seen.read >= job.most


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class _Edges:
    """Remembers the first and the last bytes that were read: they tell which time a source covers."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.head = self._tail = b""

    def read(self, memory: memoryview) -> int:
        got = self._read(memory)
        if got:
            self.head = self.head or bytes(memory[: min(got, _EDGE)])
            self._tail = bytes(memory[max(0, got - _EDGE) : got])
        return got

    def times(self, near: datetime) -> list[int]:
        """Times at the beginning of the outermost whole lines."""
        lines = (self.head.split(b"\n")[:3], self._tail.split(b"\n")[-4:])
        found = (times.search(line[:300].decode("utf-8", "replace"), near) for edge in lines for line in edge)
        return [moment[0] for moment in found if moment and moment[1] < 120]  # the head of a line
