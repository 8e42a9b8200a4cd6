"""What was read of a log before its turn, or in part: put in order, as if reading were stopped now."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from klaviyo_nb.logs.chunks import STOPPED, Job, Part, Task
from klaviyo_nb.logs.shared import together
from klaviyo_nb.logs.sources.base import Chunk
from klaviyo_nb.logs.sources.stretches import Stretch

#: Where it begins, where it ends, what it has given; both are 0 of what is no stretch.
_Told = tuple[int, tuple[int, Part]]


@dataclass(slots=True)
class Early:
    """What chunks have given whose whole results are not there yet, or wait for those of others.

    Several threads may tell it. Of each chunk, or stretch of a packed one, the last that was told counts.
    """

    _told: dict[int, dict[int, tuple[int, Part]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, task: Task, parts: Sequence[Part]) -> None:
        """Parts have been read, or half of them."""
        with self._lock:
            for job, part in zip(task, parts, strict=True):
                self._take(job, part)

    def _take(self, job: Job, part: Part) -> None:
        chunk: Chunk = job.chunk
        start = stop = 0
        if isinstance(chunk, Stretch):
            chunk, start, stop = chunk.file, chunk.start, chunk.stop
        self._told.setdefault(id(chunk), {})[start] = stop, part

    def forget(self, chunk: Chunk) -> None:
        """Its turn has come."""
        with self._lock:
            self._told.pop(id(chunk), None)

    def of(self, chunks: Sequence[Chunk]) -> list[Part]:
        """What these gave, up to the last that gave something; those before it that did not say so."""
        with self._lock:
            told = [sorted(self._told.get(id(chunk), {}).items()) for chunk in chunks]
        while told and not told[-1]:
            told.pop()
        return [_part(told[-1][0][1][1].source, each) for each in told]


def _part(source: int, told: Sequence[_Told]) -> Part:
    """A part of its own of what a chunk, or its stretches, told."""
    parts = [*_without_holes(source, told)]
    return together(parts) if len(parts) > 1 else replace(parts[0], problems=[*parts[0].problems])


def _without_holes(source: int, told: Sequence[_Told]) -> Iterator[Part]:
    """Stretches; where one is missing before another, or all are, that it was not read."""
    unread = Part(source, truncated=True, failed=True, problems=[STOPPED])
    end = 0
    for start, (stop, part) in told:
        if start > end:
            yield unread
        yield part
        end = stop
    if not told:
        yield unread
