"""What a source is, and how bytes come out of a pipe before a deadline."""

from __future__ import annotations

import itertools
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from klaviyo_nb.window import Window

Read = Callable[[memoryview], int]
#: Of what was begun and not ended in time.
UNENDED = "it was not read to its end before the deadline"
#: A record holds lines at most this far before and after the one with the word [lines, bytes].
MAX_LINES = 80
REACH = 32 * 1024
#: What a range must be given of the bytes before and after it, so that records at its borders are whole
#: [bytes].
CONTEXT = 2 * REACH
#: Bytes of a plain file that are read at once; twice as many of a large one, since a range costs some 30 ms
#: whatever is in it. But not of its last eight: processes shall end at about the same time.
RANGE = 32 * 1024 * 1024
_LAST = 8
_PATIENCE_S = 0.1
#: Of a text that is UTF-16; of its every other byte, so many are NUL at least [1].
UTF16, _HALF_NUL = "its text is UTF-16", 0.8
_SLICES = 4
_SHORTEST = timedelta(minutes=10)
_JOURNAL = b"LPKSHHRH"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What lines are worth asking for where the other side can search, as a regular expression without regard to
#: case: those that may speak of Klaviyo, and those that may continue them.
MATTERS = r"klaviyo|webhook|throttled|vnd\.api|cf-mitigated|invalid input\."
CONTINUES = (
    r"\s|traceback|[\w.]*(?:error|exception)\b|reason: |http |\([1-5]\d\d\)|response (?:headers|body)|[})\]]"
)
WORTH_ASKING = rf"{MATTERS}|^(?:{CONTINUES})"


def ranges(size: int) -> Iterator[tuple[int, int]]:
    """Start and stop of the ranges that a plain file is read in, from its end."""
    stop = size
    while stop > 0:
        start = (stop - 1) // RANGE * RANGE - (RANGE if stop > _LAST * RANGE else 0)
        yield start, stop
        stop = start


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
        stored: Bytes of a packed file; 0: nobody knows.
        unread: Of what is packed, bytes that are there and gave no text; filled while reading, as far as that
            is known.
        ended: Was the end of a pipe reached? Filled while reading.
        done: Bytes of the chunk, as stored, that were read; filled while reading where that is known.
        head: How the source begins, if the chunk does not begin there.
        ends: Where the text of a packed file ends; filled when that is reached.
        idle: Called now and then while nothing comes out of a pipe.
    """

    read: Read
    at: int = 0
    start: int = 0
    stop: int | None = None
    offsets: bool = True
    problems: list[str] = field(default_factory=list)
    truncated: bool = False
    stored: int = 0
    unread: int = 0
    ended: bool = False
    done: int = 0
    head: bytes = b""
    ends: int | None = None
    idle: Callable[[], object] = bool


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
    """Something with lines in it.

    One that answers with no line where its name is wrong, too, has `if_silent(window, deadline)`: asked when
    no line came, it gives what to say, with the next command, or None where there is something of that name.
    """

    @property
    def name(self) -> str:
        """As the user named it, or as a glob was expanded; without credentials."""

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Its parts, the newest first.

        Args:
            window: The span asked about.
            deadline: `time.monotonic` by which they must be known, or None.

        Raises:
            SourceError: It cannot be read.
        """


def is_journal(path: str) -> bool:
    """Is this file a journal of systemd's, by its first bytes?"""
    try:
        with open(path, "rb") as file:
            return file.read(len(_JOURNAL)) == _JOURNAL
    except OSError:
        return False


def journals_in(folder: str) -> list[str]:
    """Files of systemd's journal in a folder and those below it, those that were found broken among them."""
    return [str(each) for ending in ("journal", "journal~") for each in Path(folder).glob(f"**/*.{ending}")]


def late(deadline: float | None) -> bool:
    """Has the deadline (`time.monotonic`) come?"""
    return deadline is not None and time.monotonic() >= deadline


def is_utf16(head: bytes) -> bool:
    """Is a text UTF-16, by its first bytes: a mark, or every other byte is NUL? No word is found in such."""
    nuls = head[::2].count(0), head[1::2].count(0)
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        min(nuls) == 0 and max(nuls) > _HALF_NUL * len(head) / 2
    )


def speaks_of_klaviyo(name: str) -> bool:
    """Does the source's own name say that all of its lines are about Klaviyo?"""
    return "klaviyo" in os.path.basename(name.rstrip("/")).lower().removeprefix("klaviyo-nb")


def without_credentials(url: str) -> str:
    """A URL without user, password and, where it may hold a signature or a token, its query."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    path, question, _ = path.partition("?") if scheme.startswith("http") else (path, "", "")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{question and '?…'}"


def slices(window: Window, filled: Window | None = None, most: int = _SLICES) -> list[tuple[int, int]]:
    """The window in parts, the newest first: first nanosecond since 1970, and the one behind the last.

    Args:
        window: Every moment of it is in one of them.
        filled: Where its lines lie, if that is known, so that each part holds some.
        most: So many parts; of a short span, one.
    """
    first, last = window.start, window.end
    if filled is not None and filled.start < last and first < filled.end:
        first, last = max(first, filled.start), min(last, filled.end)
    count = most if last - first > _SHORTEST else 1
    step = (last - first) / count
    edges = [window.start, *(first + step * index for index in range(1, count)), window.end]
    marks = [(edge - _EPOCH) // timedelta(microseconds=1) * 1_000 for edge in edges]
    return list(itertools.pairwise(marks))[::-1]


def stamp(nanoseconds: int) -> str:
    """A time since 1970, as collectors write it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


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
                    got = os.readv(descriptor, [memory])
                except BlockingIOError:
                    continue
                opened.ended = got == 0
                return got
            opened.idle()

    return read
