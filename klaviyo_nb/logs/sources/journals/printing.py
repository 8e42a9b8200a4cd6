"""Entries of a journal file, as journalctl prints them as JSON.

Sources:
    https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import orjson

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.sources.journals.compressed import Unreadable
from klaviyo_nb.logs.sources.journals.format import Entries, JournalFile, Numbers
from klaviyo_nb.logs.sources.journals.journalctl import FIELDS

_RANKS = {name.encode(): rank for rank, name in enumerate(FIELDS)}
#: What so many fields are as JSON is remembered.
_REMEMBERED = 50_000
#: journalctl prints text that holds one of these as a list of numbers.
_UNPRINTABLE = expression(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(17))
    + "]"
)


class Key(NamedTuple):
    """What entries are put in order by, as journalctl does."""

    seqnum_id: bytes
    seqnum: int
    boot_id: bytes
    monotonic: int
    realtime: int
    xor_hash: int

    def compare(self, other: Key) -> int:
        """Below, above or 0: before it, behind it, or the same entry."""
        if self.seqnum_id == other.seqnum_id and self.seqnum != other.seqnum:
            return -1 if self.seqnum < other.seqnum else 1
        if self.boot_id == other.boot_id and self.monotonic != other.monotonic:
            return -1 if self.monotonic < other.monotonic else 1
        mine, others = (self.realtime, self.xor_hash), (other.realtime, other.xor_hash)
        return (mine > others) - (mine < others)


def printed(file: JournalFile, some: Entries, which: Numbers) -> Iterator[tuple[Key, bytes]]:
    """Each of the entries with these numbers, and its line; `file.damaged` counts those that are broken."""
    fields, seqnum_id = _Fields(file), file.header.seqnum_id
    for entry in file.entries(some, which):
        key = Key(seqnum_id, entry.seqnum, entry.boot_id, entry.monotonic, entry.realtime, entry.xor_hash)
        told = [found for item in entry.items if (found := fields[item])]
        file.damaged += _BROKEN in told
        yield key, _line(key, sorted(told, key=itemgetter(0)))


def _line(key: Key, told: Sequence[tuple[int, bytes]]) -> bytes:
    """One line of JSON. A field that stands there more than once is a list."""
    boot = key.boot_id.hex()
    head = (
        f'{{"__REALTIME_TIMESTAMP":"{key.realtime}","__MONOTONIC_TIMESTAMP":"{key.monotonic}",'
        f'"__CURSOR":"s={key.seqnum_id.hex()};i={key.seqnum:x};b={boot};m={key.monotonic:x};'
        f't={key.realtime:x};x={key.xor_hash:x}","_BOOT_ID":"{boot}"'
    ).encode()
    parts = [head]
    for rank, same in groupby(told, itemgetter(0)):
        values = [value for _, value in same]
        if rank >= 0:
            value = values[0] if len(values) == 1 else b"[" + b",".join(values) + b"]"
            parts.append(b'"%s":%s' % (FIELDS[rank].encode(), value))
    return b",".join(parts) + b"}\n"


#: Instead of a field that is broken.
_BROKEN = (-1, b"")


class _Fields(dict[int, tuple[int, bytes] | None]):
    """Place of a field → its rank and its value as JSON; None: it is not printed."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def __missing__(self, place: int) -> tuple[int, bytes] | None:
        """Read it; entries have most of their fields in common."""
        if len(self) >= _REMEMBERED:
            self.clear()
        self[place] = told = self._read(place)
        return told

    def _read(self, place: int) -> tuple[int, bytes] | None:
        try:
            name, _, value = self._file.payload(place).partition(b"=")
        except Unreadable:
            return _BROKEN
        rank = _RANKS.get(name)
        return None if rank is None else (rank, _as_json(value))


def _as_json(value: bytes) -> bytes:
    """A string, or a list of byte values where it is no text that can be printed."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    return (
        b"[%s]" % b",".join(b"%d" % byte for byte in value)
        if _UNPRINTABLE.search(text)
        else orjson.dumps(text)
    )
