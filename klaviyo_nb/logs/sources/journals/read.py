"""Journal files to lines: loaded, searched, printed and put in journalctl's order."""

from __future__ import annotations

import heapq
import mmap
import os
from collections.abc import Iterator, Sequence
from functools import cmp_to_key
from itertools import chain, islice

import numpy as np

from klaviyo_nb.errors import SourceError, SourceMissing
from klaviyo_nb.logs.sources.base import Opened, journals_in
from klaviyo_nb.logs.sources.files import open_file
from klaviyo_nb.logs.sources.journals.format import JournalFile
from klaviyo_nb.logs.sources.journals.header import ARCHIVED, SIZE, Header
from klaviyo_nb.logs.sources.journals.printing import Key, printed
from klaviyo_nb.logs.sources.journals.search import wanted

#: Lines that are handed on at once.
_TOGETHER = 500
Files = list[tuple[str, JournalFile]]


def loaded(files: Sequence[tuple[str, bytes]], opened: Opened) -> Files:
    """Files by path and identity, as they are now; `opened` is told which cannot be read, and why."""
    found = []
    for path, file_id in files:
        try:
            found.append((os.path.basename(path), _loaded(path, file_id)))
        except SourceError as exc:
            opened.problems.append(f"{os.path.basename(path)}: {exc.what}")
    return found


def lines(files: Files, since: int, until: int, everything: bool) -> Iterator[bytes]:
    """Lines of the entries of a span that matter, or of all, in pieces [us since 1970, both included]."""
    told = []
    for _, file in files:
        some = file.between(since, until)
        told.append(printed(file, some, np.arange(len(some.at)) if everything else wanted(file, some)))
    merged = _merged(told) if len(told) > 1 else (line for _, line in chain(*told))
    while piece := b"".join(islice(merged, _TOGETHER)):
        yield piece


def missing(files: Files) -> Iterator[str]:
    """What there is to say of files that were read."""
    for name, file in files:
        if file.lost:
            yield f"{name} is cut or broken: {file.lost:,} of {file.header.entries:,} entries are not there"
        if file.damaged:
            yield f"{name}: {file.damaged:,} entries are broken, and what is left of them was read"


def _loaded(path: str, file_id: bytes) -> JournalFile:
    """That very file, also if journald renamed it meanwhile.

    Raises:
        SourceError: It is gone, or cannot be read.
    """
    why: SourceError = SourceMissing(path, "it is gone", f"ls -l {path}")
    for each in _names(path):
        try:
            if (file := _read(each, file_id)) is not None:
                return file
        except SourceError as exc:
            why = exc if each == path and not isinstance(exc, SourceMissing) else why
    raise why


def _names(path: str) -> Iterator[str]:
    yield path
    yield from journals_in(os.path.dirname(path))


def _read(path: str, file_id: bytes) -> JournalFile | None:
    """None: it is another file.

    One that is still written to may be cut at any time, and who has mapped it is killed then: it is copied.
    """
    try:
        with open(open_file(path), "rb", buffering=0) as file:
            head = Header.of(os.pread(file.fileno(), SIZE, 0))
            if head is None or head.unknown or head.file_id != file_id:
                return None
            if head.state == ARCHIVED:
                return JournalFile(head, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return JournalFile(head, file.readall())
    except (OSError, ValueError) as exc:
        raise SourceError(path, f"cannot be read: {exc}", f"file {path}") from None


def _merged(told: Sequence[Iterator[tuple[Key, bytes]]]) -> Iterator[bytes]:
    """Lines of several files in journalctl's order; what stands in more than one of them, once."""
    order, before = cmp_to_key(Key.compare), None
    for key, line in heapq.merge(*told, key=lambda each: order(each[0])):
        if before is None or key.compare(before):
            yield line
        before = key
