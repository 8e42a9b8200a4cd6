"""Journal files of systemd's, without journalctl: of a copied file, and several times faster.

Words are looked for in the stored messages, and only entries that hold one are printed: as journalctl prints
them as JSON, with keys in one order (docs/design/journal-files.md). Files whose times overlap are read
together, and their entries come in journalctl's order.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, NamedTuple

from klaviyo_nb.errors import SourceError
from klaviyo_nb.logs.sources import packed
from klaviyo_nb.logs.sources.base import Chunk, Opened, slices, speaks_of_klaviyo
from klaviyo_nb.logs.sources.files import open_file
from klaviyo_nb.logs.sources.journals.header import NEVER, ONLINE, SIZE, Header
from klaviyo_nb.logs.sources.journals.journalctl import Journal
from klaviyo_nb.window import Window

#: What one part holds of the files, roughly [bytes].
_PART = 64 * 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Stored(NamedTuple):
    """A journal file, its identity, its bytes, when it begins and ends, and may there be later entries?"""

    path: str
    file_id: bytes
    size: int
    first: int
    last: int
    grows: bool


@dataclass(frozen=True, slots=True)
class JournalFiles:
    """One file, or those of a folder; of large ones, a part of its time for each `part` bytes."""

    name: str
    paths: tuple[str, ...]
    part: int = _PART

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Spans of files whose times overlap, the newest first; what cannot be read at last."""
        stored, others = list[_Stored](), dict[str, SourceError]()
        for path in self.paths:
            try:
                stored.append(_stored(path))
            except SourceError as exc:
                others[path] = exc
        groups, (start, end) = _groups(stored), (_micros(window.start), _micros(window.end))
        inside = [held for each in groups if (held := _holding(each, start, end))] or groups[:1]
        spans = [span for group in inside for span in self._spans(group, window)]
        return [*spans, *self._elsewhere(others, window, deadline)]

    def _spans(self, group: Sequence[_Stored], window: Window) -> Iterator[Chunk]:
        size, filled = sum(each.size for each in group), _filled(group)
        parts = slices(window, filled, math.ceil(size / self.part))
        everything = speaks_of_klaviyo(self.name)
        for start, end in ((start // 1_000, end // 1_000) for start, end in parts):
            held = _holding(group, start, end)
            files = tuple((os.path.abspath(each.path), each.file_id) for each in held)
            yield Span(self.name, files, start, end - 1, everything, size // len(parts))

    def _elsewhere(
        self, others: dict[str, SourceError], window: Window, deadline: float | None
    ) -> Sequence[Chunk]:
        """What journalctl may know to read, or why nobody does."""
        files = [path for path, exc in others.items() if type(exc) is Unknown]
        if files and shutil.which("journalctl"):
            arguments = tuple(f"--file={path}" for path in files)
            asked = Journal(self.name, arguments, tuple(files)).chunks(window, deadline)
        else:
            asked, files = [], []
        return [*asked, *(Unread(exc) for path, exc in others.items() if path not in files)]


class Unknown(SourceError):
    """It is a journal of a newer format than what is known here; journalctl may know it."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that cannot be read."""

    why: SourceError
    size: int = 0

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`."""
        raise self.why


@dataclass(frozen=True, slots=True)
class Span:
    """Entries of files from `since` to `until`, both included, in microseconds since 1970.

    Files are known again by their identity: journald renames one that is full.
    """

    name: str
    files: tuple[tuple[str, bytes], ...]
    since: int
    until: int
    everything: bool
    size: int = 0
    printed: ClassVar[bool] = True  # what is read of it are other bytes than those that are stored

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`."""
        from klaviyo_nb.logs.sources.journals import read  # brings numpy, which workers import meanwhile

        opened = Opened(lambda memory: 0, offsets=False)
        files = read.loaded(self.files, opened)
        lines = read.lines(files, self.since, self.until, self.everything)
        opened.read = packed.reader(lines)
        yield opened
        opened.problems += read.missing(files)
        opened.truncated = bool(opened.problems)


def _stored(path: str) -> _Stored:
    """What a file's header tells.

    Raises:
        Unknown: It is that of a newer format.
        SourceError: The file cannot be opened, or is no journal.
    """
    descriptor = open_file(path)
    try:
        head, size = Header.of(os.pread(descriptor, SIZE, 0)), os.fstat(descriptor).st_size
    except OSError as exc:
        raise SourceError(path, f"cannot be read: {exc.strerror}", f"file {path}") from None
    finally:
        os.close(descriptor)
    name = os.path.basename(path)
    if head is None:
        why = f"no journal: its {size:,} bytes do not begin with the header of one" if size else "empty"
        raise SourceError(path, f"{name}: it is {why}", f"file {path}")
    if head.unknown:
        why = f"its format is newer than what is known here (flags {head.unknown:#x})"
        raise Unknown(path, f"{name}: {why}", f"journalctl --verify --file={path}")
    known = 0 < head.first <= head.last < NEVER
    first, last = (head.first, head.last) if known else (0, NEVER)
    return _Stored(path, head.file_id, size, first, last, head.state == ONLINE)


def _groups(stored: Sequence[_Stored]) -> list[list[_Stored]]:
    """Files whose times overlap, together; the newest first."""
    groups, end = list[list[_Stored]](), -1
    for each in sorted(stored, key=lambda each: each.first):
        if each.first <= end:
            groups[-1].append(each)
        else:
            groups.append([each])
        end = max(end, each.last)
    return groups[::-1]


def _holding(group: Sequence[_Stored], start: int, end: int) -> list[_Stored]:
    """Those that may hold entries of a span [us since 1970]."""
    return [each for each in group if each.first < end and (each.grows or each.last >= start)]


def _filled(group: Sequence[_Stored]) -> Window | None:
    """From the first to the last entry, if that is known."""
    first, last = min(each.first for each in group), max(each.last for each in group)
    if last == NEVER:
        return None
    return Window(*(_EPOCH + timedelta(microseconds=each) for each in (first, last + 1)))


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
