"""Files: plain ones in ranges from their end, compressed ones whole; pipes and standard input as they come.

A file is read up to the size it had when it was found: one that grows meanwhile is cut there, one that
shrinks or is replaced is said to be truncated, and one that is renamed is found again. What compression it
has is told by its first bytes.

A range may be read on another machine that sees the same files: by their whole path, and known again by their
first bytes, since devices and inodes are numbered by each machine in its own way.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing
from klaviyo_nb.evidence import TRY
from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.sources import packed
from klaviyo_nb.logs.sources.base import CONTEXT, UTF16, Chunk, Opened, Read, is_utf16, pipe_reader, ranges
from klaviyo_nb.window import Window

#: A pipe with a name is given up if nobody writes to it for so long [s].
_SILENCE_S = 5.0
#: What is kept of a file's beginning: lines begin with their time, so that hardly two files have the same.
_HEAD = 256
#: Of a range that does not begin the file, so much of that beginning is read for the names of columns.
_EDGE = 4_096
#: What logrotate and its like put behind a name: `.1`, `.2.gz`, `-20261123`, `-20261123.gz`, `.2026-11-23`.
_ROTATED = expression(r"[.-](?:\d{1,4}|\d{4}-?\d\d-?\d\d(?:[-_T.]?\d+)?)(?:\.(?:gz|zst|bz2|xz))?")


@dataclass(frozen=True, slots=True)
class Stdin:
    """Standard input."""

    name: str = "-"

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """One: it can be read once."""
        return [Pipe("-")]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Standard input, or a pipe with a name."""

    path: str
    size: int = 0

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`."""
        own = self.path != "-"
        if not own and sys.stdin is None:
            raise SourceMissing("-", f"standard input is closed{TRY}cat app.log | klaviyo-nb logs -")
        descriptor = open_file(self.path, os.O_NONBLOCK) if own else sys.stdin.fileno()
        try:
            opened = Opened(lambda memory: 0, offsets=False)
            plain = pipe_reader(descriptor, opened, deadline, _SILENCE_S if own else None)
            opened.read = packed.reader(packed.inflated(plain, opened))
            yield opened
        finally:
            if own:
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class File:
    """A file by its path."""

    path: str

    @property
    def name(self) -> str:
        """Its path, as given."""
        return self.path

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Ranges of a plain file from its end; a compressed one whole."""
        if not os.path.isfile(self.path) and os.path.lexists(self.path):
            return [Pipe(self.path)]  # opening a pipe twice would break it
        descriptor = open_file(self.path)
        try:
            facts = os.fstat(descriptor)
            head = os.pread(descriptor, _HEAD, 0)
        except OSError as exc:
            raise SourceError(self.path, f"cannot be read: {exc.strerror}", f"file {self.path}") from None
        finally:
            os.close(descriptor)
        if is_utf16(head):
            convert = f"iconv -f UTF-16 -t UTF-8 {shlex.quote(self.path)} > utf8.log"
            raise SourceError(self.path, f"{UTF16}{TRY}{convert}")
        path, size = os.path.abspath(self.path), facts.st_size
        identity = Identity(os.uname().nodename, (facts.st_dev, facts.st_ino), len(head), _digest(head))
        if packed.is_packed(head):
            return [Range(path, 0, size, size, identity, packed=True, quick=packed.is_quick(head))]
        note = packed.misnamed(path, head)
        return [Range(path, start, stop, size, identity, note=note) for start, stop in ranges(size)]


class Identity(NamedTuple):
    """Which file it was: the machine that saw it, its device and inode there, and how it begins."""

    machine: str
    node: tuple[int, int]
    begin: int
    digest: bytes

    def fits(self, descriptor: int) -> bool:
        """Is this open file that one?"""
        if self.machine == os.uname().nodename:
            facts = os.fstat(descriptor)
            return (facts.st_dev, facts.st_ino) == self.node
        return _digest(os.pread(descriptor, self.begin, 0)) == self.digest


def _digest(head: bytes) -> bytes:
    return hashlib.sha256(head).digest()


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` to `stop` of a file that had `total` bytes and this identity; a `note` is to be told.

    A packed one is read whole, or in stretches of its text if it is `quick` to inflate.
    """

    path: str
    start: int
    stop: int
    total: int
    identity: Identity
    packed: bool = False
    quick: bool = False
    note: str | None = None
    anywhere: ClassVar[bool] = True  # whoever sees the same files may open it

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self.stop - self.start

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`."""
        descriptor = _find(self.path, self.identity)
        try:
            at = 0 if self.packed else max(0, self.start - CONTEXT)
            opened = Opened(
                lambda memory: 0, at, self.start, None if self.packed else self.stop, not self.packed
            )
            opened.read = _file_reader(descriptor, at, self.total, opened)
            opened.head = os.pread(descriptor, _EDGE, 0) if at else b""
            if not self.packed:
                yield opened
                opened.problems += [self.note] if self.note else []
                return

            opened.stored = self.total

            def begin() -> Read:
                return _file_reader(descriptor, 0, self.total, opened)

            with packed.ahead(packed.inflated_fast(begin, opened)) as pieces:
                opened.read = packed.reader(pieces)
                yield opened
        finally:
            os.close(descriptor)

    def text(self, said: Opened) -> Generator[bytes, None, None]:
        """The text of a packed file; `said` is told what is missing of it.

        Raises:
            SourceError: The file cannot be opened.
        """
        descriptor, said.stored = _find(self.path, self.identity), self.total
        try:
            yield from packed.inflated_fast(lambda: _file_reader(descriptor, 0, self.total, said), said)
        finally:
            os.close(descriptor)


def rotated(path: str, since: float) -> list[str]:
    """What `path` was rotated to and was written after `since` [s since 1970], the newest first."""
    found = []
    for each in _siblings(path):
        with suppress(OSError):  # it is gone meanwhile
            found.append((os.stat(each).st_mtime, each))
    return [
        each for written, each in sorted(found, reverse=True) if written >= since and os.path.isfile(each)
    ]


def _siblings(path: str) -> Iterator[str]:
    """Looked for when asked for: the folder may hold 100,000 files."""
    folder, base = os.path.split(path)
    with suppress(OSError):
        for name in os.listdir(folder or "."):
            if base and name.startswith(base) and _ROTATED.fullmatch(name, len(base)):
                yield os.path.join(folder, name)


def _find(path: str, identity: Identity) -> int:
    """Open that very file, also if it was rotated meanwhile."""
    for each in itertools.chain([path], _siblings(path)):
        try:
            descriptor = open_file(each)
        except SourceMissing:
            continue
        if identity.fits(descriptor):
            return descriptor
        os.close(descriptor)
    raise SourceError(path, "it was replaced while it was read", f"klaviyo-nb logs '{path}*'")


def open_file(path: str, flags: int = 0) -> int:
    """A descriptor of a file that may be read.

    Raises:
        SourceMissing, SourceDenied, SourceError: It cannot be opened.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    except FileNotFoundError:
        raise SourceMissing(path, "no such file", f"ls -l {path}") from None
    except PermissionError:
        raise SourceDenied(path, "permission denied", f"sudo klaviyo-nb logs {path}") from None
    except OSError as exc:
        raise SourceError(path, f"cannot be opened: {exc.strerror}", f"ls -l {path}") from None


def _file_reader(descriptor: int, at: int, total: int, opened: Opened) -> Read:
    place = at

    def read(memory: memoryview) -> int:
        nonlocal place
        want = min(len(memory), total - place)
        if want <= 0:
            return 0
        try:
            got = os.preadv(descriptor, [memory[:want]], place)
        except OSError as exc:
            opened.problems.append(f"reading failed at byte {place:,}: {exc.strerror}")
            got = 0
        if got == 0:
            opened.truncated = True
            opened.problems = opened.problems or ["it shrank while it was read"]
        place += got
        opened.done = place - at
        return got

    return read
