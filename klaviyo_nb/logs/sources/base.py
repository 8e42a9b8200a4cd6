"""What a source is, and how bytes come out of a pipe before a deadline."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from klaviyo_nb.window import Window

Read = Callable[[memoryview], int]
_PATIENCE_S = 0.1


@dataclass(slots=True)
class Opened:
    """A chunk, ready to be read.

    Attributes:
        read: Fills memory and says how many bytes; 0 at the end.
        at: Offset of the first byte it gives.
        start: First byte of the chunk.
        stop: End of the chunk; None: the end of the stream.
        offsets: Are offsets those of a file that can be opened again?
        problems: Why something is missing; filled while reading.
        truncated: Is the end missing? Filled while reading.
    """

    read: Read
    at: int = 0
    start: int = 0
    stop: int | None = None
    offsets: bool = True
    problems: list[str] = field(default_factory=list)
    truncated: bool = False


class Chunk(Protocol):
    """A part of a source; picklable."""

    @property
    def size(self) -> int:
        """Bytes in it, as stored; 0 if nobody knows."""

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """Open it where it is read.

        Raises:
            SourceError: It cannot be opened.
        """


class Source(Protocol):
    """Something with lines in it."""

    @property
    def name(self) -> str:
        """As the user named it, or as a glob was expanded."""

    def chunks(self, window: Window) -> Sequence[Chunk]:
        """Its parts, the newest first.

        Raises:
            SourceError: It cannot be read.
        """


def speaks_of_klaviyo(name: str) -> bool:
    """Does the source's own name say that all of its lines are about Klaviyo?"""
    return "klaviyo" in os.path.basename(name.rstrip("/")).lower().removeprefix("klaviyo-nb")


def pipe_reader(
    descriptor: int, opened: Opened, deadline: float | None, silence_s: float | None = None
) -> Read:
    """Read what comes out of a pipe until it ends or the deadline (`time.monotonic`) has passed.

    Args:
        descriptor: Of its reading end.
        opened: Is told when the end was not reached.
        deadline: When to stop, or None.
        silence_s: How long to wait for the first byte; None: as long as it takes.
    """
    first = None if silence_s is None else time.monotonic() + silence_s

    def read(memory: memoryview) -> int:
        nonlocal first
        while True:
            now = time.monotonic()
            late = (deadline is not None and now >= deadline) or (first is not None and now >= first)
            if late:
                opened.truncated = True
                silent = first is not None
                opened.problems.append(
                    "nothing was written to it" if silent else "it was still sending at the deadline"
                )
                return 0
            if select.select([descriptor], [], [], _PATIENCE_S)[0]:
                first = None
                try:
                    return os.readv(descriptor, [memory])
                except BlockingIOError:
                    continue

    return read
