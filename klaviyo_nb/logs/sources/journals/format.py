"""systemd's journal file format: entries and the data they hold, as arrays, out of bytes that may be broken.

A file is trusted in nothing: what an entry array, an entry or a piece of data says is checked before it is
followed. Entries are those that the chain of entry arrays leads to; if these are fewer than the header
counts, whatever has the shape of an entry is taken too.

Source:
    https://systemd.io/JOURNAL_FILE_FORMAT/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.logs.sources.journals.compressed import FLAGS, unpacked
from klaviyo_nb.logs.sources.journals.header import NEVER, Header

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_COMPACT = 0b10000
_DATA, _ENTRY, _ENTRY_ARRAY = 1, 3, 6
#: Bytes of an entry before its items, and of an entry array.
_ENTRY_HEAD, _ARRAY_HEAD = 64, 24
#: Words of an entry: what each is.
_SEQNUM, _REALTIME, _MONOTONIC, _BOOT, _XOR = 2, 3, 4, slice(40, 56), 7
#: How a field's text begins, as a word: of a message, of the process that wrote it, of its container.
_MESSAGE, _CONTAINER = (int.from_bytes(text, "little") for text in (b"MESSAGE=", b"CONTAINE"))
_PID, _PID_ONLY = int.from_bytes(b"_PID=", "little"), (1 << 40) - 1


class Entry(NamedTuple):
    """One entry: `items` are places of its data; times are in microseconds."""

    seqnum: int
    realtime: int
    monotonic: int
    boot_id: bytes
    xor_hash: int
    items: list[int]


@dataclass(slots=True)
class Entries:
    """Some of a file's entries, in the order in which they were written.

    Attributes:
        at: Offset of each.
        counts: How many items each has.
        items: Places of the data of all of them, one entry after the other.
        data: Places of all data that can be read, each once, ascending.
    """

    at: Numbers
    counts: Numbers
    items: Numbers
    data: Numbers

    def holding(self, data: Numbers, places: int) -> Flags:
        """Which of them hold any of the data, of a file with so many places?"""
        held = np.zeros(places, np.bool_)
        held[data] = True
        return _any_of(held[self.items], self.counts)

    def last_of(self, data: Numbers, places: int) -> Numbers:
        """Of each, the last of the data that it holds; 0: none."""
        held = np.zeros(places, np.bool_)
        held[data] = True
        found: Numbers = _by_entry(np.maximum, self.items * held[self.items], self.counts)
        return found


def _by_entry(ufunc: np.ufunc, items: Any, counts: Numbers) -> Any:
    """Reduce what stands for each item to what stands for each entry; none is without items."""
    if not len(counts):
        return items
    return ufunc.reduceat(items, np.concatenate(([0], np.cumsum(counts)[:-1])))


def _any_of(items: Flags, counts: Numbers) -> Flags:
    found: Flags = _by_entry(np.logical_or, items, counts)
    return found


class JournalFile:
    """What is in a file. A place is an offset divided by eight: every object begins at such a one.

    Attributes:
        header: Its header, which can be read.
        lost: Entries that its header counts and nobody finds.
        damaged: Entries of those asked for that were broken, in part or as a whole.
    """

    def __init__(self, head: Header, data: Any) -> None:
        """`data` is the file from its first byte on, as far as it is there."""
        self.header = head
        whole = len(data) // 8 * 8
        self.bytes = memoryview(data)
        self._words = np.frombuffer(data, "<i8", whole // 8)
        self._halves = np.frombuffer(data, "<u4", whole // 4)
        self._compact = bool(head.incompatible & _COMPACT)
        self._item, self._payload = (4, 72) if self._compact else (16, 64)
        self._found = self._chained()
        if len(self._found) < head.entries:
            self._found = self._rescued()
        self.lost = max(0, min(head.entries, whole // _ENTRY_HEAD) - len(self._found))
        self.damaged = 0

    @property
    def places(self) -> int:
        """How many there are."""
        return len(self._words)

    def between(self, since: int, until: int) -> Entries:
        """The entries of a span, both ends included [us since 1970]; `damaged` counts those that are."""
        moments = self._words[self._found // 8 + _REALTIME]
        at = self._found[(moments >= since) & (moments <= until)]
        counts = (self._sizes(at // 8) - _ENTRY_HEAD) // self._item
        items = self._items(at, counts)
        known = np.zeros(self.places, np.bool_)
        known[items] = True
        data = np.flatnonzero(known)
        readable = self._are(data, _DATA, self._payload + 1)
        if not readable.all():
            known[data[readable]] = False  # what is left of it is broken
            self.damaged = int(np.count_nonzero(_any_of(known[items], counts)))
        return Entries(at, counts, items, data[readable])

    def entries(self, some: Entries, which: Numbers) -> Iterator[Entry]:
        """Those of `some` with these numbers, one by one; of one that is damaged, what can be read."""
        ends = np.cumsum(some.counts)
        readable = set(some.data.tolist()) if self.damaged else None
        for number in which.tolist():
            at, end = int(some.at[number]), int(ends[number])
            boot_id = bytes(self.bytes[at:][_BOOT])
            items = some.items[end - int(some.counts[number]) : end].tolist()
            words = self._words[at // 8 : at // 8 + 8].view("<u8").tolist()
            yield Entry(
                words[_SEQNUM], words[_REALTIME], words[_MONOTONIC], boot_id, words[_XOR],
                items if readable is None else [each for each in items if each in readable],
            )  # fmt: skip

    def messages(self, data: Numbers) -> tuple[Numbers, Numbers]:
        """Which of the data are messages that are not compressed, and which are compressed."""
        flags = (self._words[data] >> 8) & FLAGS
        return data[(self._beginning(data) == _MESSAGE) & (flags == 0)], data[flags != 0]

    def senders(self, some: Entries) -> Numbers:
        """Which process or container each entry is of, as a number; 0: of none."""
        begin = self._beginning(some.data)
        return some.last_of(some.data[(begin & _PID_ONLY == _PID) | (begin == _CONTAINER)], self.places)

    def _beginning(self, data: Numbers) -> Numbers:
        return self._words[np.minimum(data + self._payload // 8, self.places - 1)]

    def spans(self, data: Numbers) -> tuple[Numbers, Numbers]:
        """Where each of the data begins and ends, as it is stored [offsets]."""
        return data * 8 + self._payload, data * 8 + self._sizes(data)

    def payload(self, place: int) -> bytes:
        """`NAME=value` of the data there.

        Raises:
            Unreadable: It is compressed, and broken.
        """
        head, size = self._words[place : place + 2].tolist()
        return unpacked(self.bytes[place * 8 + self._payload : place * 8 + size], (head >> 8) & FLAGS)

    def _sizes(self, places: Numbers) -> Numbers:
        return self._words[places + 1]

    def _are(self, places: Numbers, kind: int, least: int) -> Flags:
        """Is an object of that kind at each of the places, and as a whole? All are within the file."""
        inside = np.minimum(places, self.places - 2)
        sizes = self._sizes(inside)
        fit = (sizes >= least) & (sizes <= self.places * 8) & (places * 8 + sizes <= self.places * 8)
        found: Flags = fit & ((self._words[inside] & 0xFF) == kind) & (inside == places)
        return found

    def _chained(self) -> Numbers:
        """Entries that the chain of entry arrays leads to, as far as it can be followed."""
        arrays, seen, at = [np.zeros(0, np.int64)], set[int](), self.header.entry_array
        while at % 8 == 0 and 0 < at < self.places * 8 and at not in seen:
            seen.add(at)
            if not self._are(np.array([at // 8]), _ENTRY_ARRAY, _ARRAY_HEAD)[0]:
                break
            end = at + int(self._words[at // 8 + 1])
            begin, numbers = at + _ARRAY_HEAD, self._halves if self._compact else self._words
            arrays.append(numbers[begin // numbers.itemsize : end // numbers.itemsize].astype(np.int64))
            at = int(self._words[at // 8 + 2])
        return self._entries_among(np.concatenate(arrays))

    def _rescued(self) -> Numbers:
        """Those, and whatever else has the shape of an entry, lies in no data, and has all of its data."""
        shaped = self._entries_among(np.flatnonzero(self._words == _ENTRY) * 8)
        shaped = shaped[self._words[shaped // 8 + _SEQNUM] > 0]
        counts = (self._sizes(shaped // 8) - _ENTRY_HEAD) // self._item
        whole = self._are(self._items(shaped, counts), _DATA, self._payload + 1)
        shaped = shaped[~_any_of(~whole, counts)] if len(shaped) else shaped
        for known in (self._found, shaped):  # text may hold what looks like an entry
            if len(known):
                shaped = shaped[~self._in_data(shaped, known)]
        return np.union1d(self._found, shaped)

    def _in_data(self, at: Numbers, entries: Numbers) -> Flags:
        """Do these offsets lie within data of the entries?"""
        data = np.unique(self._items(entries, (self._sizes(entries // 8) - _ENTRY_HEAD) // self._item))
        begins, ends = self.spans(data[self._are(data, _DATA, self._payload + 1)])
        if not len(begins):
            return np.zeros(len(at), np.bool_)
        before = begins.searchsorted(at, "right") - 1
        return (before >= 0) & (at < ends[before])

    def _entries_among(self, at: Numbers) -> Numbers:
        """Which of these offsets are entries, ascending, each once."""
        at = np.unique(at[(at > 0) & (at % 8 == 0) & (at < self.places * 8 - _ENTRY_HEAD)])
        at = at[self._are(at // 8, _ENTRY, _ENTRY_HEAD + self._item)]
        moments = self._words[at // 8 + _REALTIME]
        rest = (self._sizes(at // 8) - _ENTRY_HEAD) % self._item
        found: Numbers = at[(rest == 0) & (moments > 0) & (moments < NEVER)]
        return found

    def _items(self, at: Numbers, counts: Numbers) -> Numbers:
        """Places of the data of entries; 0, where the header is, for one that cannot be."""
        numbers, step = (self._halves, 1) if self._compact else (self._words, 2)
        before = np.concatenate(([0], np.cumsum(counts)[:-1])) if len(counts) else counts
        begins = (at + _ENTRY_HEAD) // numbers.itemsize - before * step
        index = np.repeat(begins, counts) + np.arange(int(counts.sum())) * step
        offsets = numbers[index].astype(np.int64)
        # Shifts: to divide some millions of numbers takes twice as long.
        return np.where((offsets & 7 == 0) & (offsets > 0) & (offsets < self.places * 8), offsets >> 3, 0)
