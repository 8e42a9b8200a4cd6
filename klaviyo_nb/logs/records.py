"""The records of chunks to their rows: found, understood, redacted, packed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from klaviyo_nb.errors import SourceError
from klaviyo_nb.logs.chunks import (
    LATE,
    NO_ROWS,
    STOPPED,
    Job,
    Part,
    Piece,
    Task,
    advancing,
    learnt_by,
    partly,
    too_much,
)
from klaviyo_nb.logs.formats import times
from klaviyo_nb.logs.formats.columns import Columns, columns_of
from klaviyo_nb.logs.found import Found, Objects, Record
from klaviyo_nb.logs.questions.question import Question, Records
from klaviyo_nb.logs.scan import Seen, scan
from klaviyo_nb.logs.sources.base import UNENDED, UTF16, Opened, Read, is_utf16, late
from klaviyo_nb.logs.understood import LEARNT, Understood
from klaviyo_nb.logs.words import EveryLine

#: So many objects are understood at once, so many other records, or as many as hold so many bytes: alike ones
#: are told in one go, but what was read is understood even if the deadline passes meanwhile. It is near if it
#: is no further off than this [s].
_AT_LEISURE = 16_384, 16_384, 8 * 1024 * 1024
_HURRIED, _HURRY_S = (4_096, 2_048, 4 * 1024 * 1024), 60.0
_EDGE = 4_096
#: What has been read is told after this time [s], and then after so many times what telling took [1], but not
#: later than this [s].
_SHARED_S, _PATIENCE, _LATEST_S = 1.0, 10, 5.0


def read(task: Task) -> list[Part]:
    """Read chunks, each to its end or to the deadline."""
    reading = _Reading(task)
    for job in task:
        reading.read(job)
    parts, question = reading.give(), task[0].question
    if question is not None:
        told = _told(task, parts, question)
        for part in parts:
            part.calls = part.webhooks = NO_ROWS
        parts[0].told = told
    return parts


def _told(task: Task, parts: Sequence[Part], question: Question[Any]) -> Any:
    """What rows tell a question; their lines are counted from the beginning of the chunk."""
    from klaviyo_nb.logs import frame  # brings pandas: half a second that reading alone does not need

    each = [*zip(task, parts, strict=True)]
    calls = frame.calls(Piece(job.name, 0, part.calls) for job, part in each)
    webhooks = frame.webhooks(Piece(job.name, 0, part.webhooks) for job, part in each)
    return question.part(Records(calls, webhooks), task[0].window)


class _Reading:
    """Chunks that are read as one: what they gave so far."""

    def __init__(self, task: Task) -> None:
        self._task, self._parts = task, list[Part]()
        self._understood, self._waiting = Understood(task), _Waiting(task[0].deadline)
        #: Of the chunk that is read now; its lines are counted on from those of the chunks before it.
        self._seen, self._before, self._offsets = Seen(), 0, False
        self._advanced, self._share = advancing.get(None), partly.get(None)
        self._next, self._told = time.monotonic() + _SHARED_S, 0

    def read(self, job: Job) -> None:
        """Read the next chunk."""
        self._before, self._seen = self._seen.lines, Seen(self._seen.lines)
        self._understood.begin(self._before)
        if late(job.deadline):
            self._parts.append(Part.lost(job, LATE))
            return
        part = Part(job.source)
        self._parts.append(part)
        try:
            with job.chunk.open(job.deadline) as opened:
                self._read(job, opened, part)
            part.problems += opened.problems
            part.truncated = part.truncated or opened.truncated
            part.ends, part.unread, part.done = opened.ends, opened.unread, opened.done
        except SourceError as exc:
            part.failed = True
            part.problems.append(exc.what)
        self._count(part)

    def _read(self, job: Job, opened: Opened, part: Part) -> None:
        seen, edges, begun = self._seen, _Edges(opened.read), False
        columns: Columns | None = None
        self._offsets, opened.idle = opened.offsets, self._tell_so_far

        def halt() -> bool:
            part.done = opened.done
            if self._advanced:
                self._advanced(job, opened.done)
            self._tell_so_far()
            return late(job.deadline) or _enough(job, seen)

        records = scan(
            edges.read, seen, at=opened.at, start=opened.start, stop=opened.stop,
            find=EveryLine() if job.about else LEARNT.words, halt=halt,
        )  # fmt: skip
        for found in records:
            if not begun:
                head = (opened.head or edges.head).decode("utf-8", "replace")
                columns, begun = columns_of(head.split("\n")), True
            if self._waiting.is_full_with(_told_by(columns, found) if columns else found):
                self._take()
        self._understood.edges(edges.times(job.window.end))
        if not opened.at and is_utf16(edges.head[:_EDGE]):
            part.truncated = True
            part.problems.append(UTF16)
        if seen.stopped and not opened.truncated:
            part.truncated = True
            part.problems.append(too_much(job.most) if _enough(job, seen) else UNENDED)

    def _take(self) -> None:
        self._understood.take(*self._waiting.taken(), self._offsets)

    def _count(self, part: Part) -> None:
        part.lines, part.read = self._seen.lines - self._before, self._seen.read

    def give(self) -> list[Part]:
        """What each chunk gave that was begun."""
        self._take()
        self._understood.give(self._parts)
        self._parts[0].learnt = learnt_by(self._task[0])
        return self._parts

    def _tell_so_far(self) -> None:
        """Tell what there is, so that it is kept if we are killed: if it is more, and time to.

        That is after ten times as long as telling took after the last.
        """
        if self._share is None or self._task[0].question is not None or time.monotonic() < self._next:
            return
        read = sum(part.read for part in self._parts[:-1]) + self._seen.read
        if read == self._told:
            return
        self._take()  # which had to be done anyway
        began = time.monotonic()
        parts = [replace(part, problems=[*part.problems]) for part in self._parts]
        self._count(parts[-1])
        parts[-1].truncated = True
        parts[-1].problems.append(STOPPED)
        self._understood.give(parts)
        parts[0].learnt = learnt_by(self._task[0])
        self._share(self._task[: len(parts)], parts)
        now = time.monotonic()
        wait = min(max(_SHARED_S, _PATIENCE * (now - began)), _LATEST_S)
        self._next, self._told = now + wait, read


def _told_by(columns: Columns, found: Found) -> Found:
    """Records that are rows under a header as the objects that they tell."""
    rows = [columns.row(record.raw.decode("utf-8", "replace").rstrip("\r\n")) for record in found.others]
    told = [record._replace(raw=row) for record, row in zip(found.others, rows, strict=True) if row]
    others = [record for record, row in zip(found.others, rows, strict=True) if not row]
    return Found(found.objects, [*found.few, *told], others)


class _Waiting:
    """Records that were found and are not understood yet."""

    def __init__(self, deadline: float | None) -> None:
        hurry = deadline is not None and deadline - time.monotonic() < _HURRY_S
        self._most = _HURRIED if hurry else _AT_LEISURE
        self._found: list[Found] = []
        self._counts = [0, 0, 0]

    def is_full_with(self, found: Found) -> bool:
        """Add what was found; is it enough now to be understood?"""
        self._found.append(found)
        size = len(found.objects.raws.data) + sum(len(one.raw) for one in chain(found.few, found.others))
        added = len(found.objects.lines) + len(found.few), len(found.others), size
        self._counts = [count + more for count, more in zip(self._counts, added, strict=True)]
        return any(count >= most for count, most in zip(self._counts, self._most, strict=True))

    def taken(self) -> tuple[Objects, list[Record]]:
        """All of them: whole objects, and the others; none waits any more."""
        found, self._found, self._counts = self._found, [], [0, 0, 0]
        few = Objects.of([record for each in found for record in each.few])
        many = [each.objects for each in found if len(each.objects.lines)]
        return Objects.joined([*many, few]), [record for each in found for record in each.others]


def _enough(job: Job, seen: Seen) -> bool:
    return job.most is not None and seen.read >= job.most


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
        each = dict.fromkeys(chain(*lines))  # of a small file, the first are the last, too
        found = (times.search(line[:300].decode("utf-8", "replace"), near) for line in each)
        return [moment[0] for moment in found if moment and moment[1] < 120]  # the head of a line
