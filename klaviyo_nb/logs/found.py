"""What a scan finds: records, and whole JSON objects many at once.

Of many lines in one piece none is an object of Python's before somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.logs.coded import Numbers


class Record(NamedTuple):
    """A line that matters, with the lines that continue it.

    Attributes:
        offset: Byte offset of its first line in the stream.
        line: Lines before it in the scanned range.
        raw: Its bytes.
    """

    offset: int
    line: int
    raw: bytes


class Raws(Sequence[bytes]):
    """Bytes of records in one piece: those of each are cut when they are asked for.

    Attributes:
        data: All of them; others may stand between.
        bytes: The same as numbers.
        starts: Where each begins, ascending.
        ends: Where it ends.
    """

    def __init__(self, data: bytes, starts: Numbers, ends: Numbers) -> None:
        self.data, self.starts, self.ends = data, starts, ends
        self.bytes = np.frombuffer(data, np.uint8)

    @classmethod
    def of(cls, raws: Sequence[bytes]) -> Raws:
        """These."""
        if isinstance(raws, Raws):
            return raws
        lengths = np.fromiter(map(len, raws), np.int64, len(raws))
        ends = np.cumsum(lengths)
        return cls(b"".join(raws), ends - lengths, ends)

    @classmethod
    def cut(cls, data: bytes | bytearray, starts: Numbers, ends: Numbers) -> Raws:
        """A copy of those that stand there in `data`, ascending."""
        lengths = ends - starts
        after = np.cumsum(lengths)
        # Neighbours are copied together.
        apart = np.ones(len(starts) + 1, np.bool_)
        apart[1:-1] = starts[1:] != ends[:-1]
        firsts, lasts = starts[apart[:-1]].tolist(), ends[apart[1:]].tolist()
        with memoryview(data) as view:
            copied = b"".join([view[first:last] for first, last in zip(firsts, lasts, strict=True)])
        return cls(copied, after - lengths, after)

    @classmethod
    def joined(cls, parts: Sequence[Raws]) -> Raws:
        """Several as one."""
        before = np.cumsum([0, *(len(part.data) for part in parts)]).tolist()
        starts = [part.starts + shift for part, shift in zip(parts, before, strict=False)]
        ends = [part.ends + shift for part, shift in zip(parts, before, strict=False)]
        data = b"".join([part.data for part in parts])
        return cls(data, np.concatenate([_NONE, *starts]), np.concatenate([_NONE, *ends]))

    def only(self, rows: Numbers) -> Raws:
        """Some of them, by their numbers or as a mask."""
        return Raws(self.data, self.starts[rows], self.ends[rows])

    def without_breaks(self) -> Numbers:
        """Where each ends without its line break."""
        ends = self.ends
        for mark in b"\n\r":
            ended = (ends > self.starts) & (self.bytes[np.maximum(ends - 1, 0)] == mark)
            ends = ends - ended
        return ends

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: Any) -> Any:
        return self.data[self.starts[row] : self.ends[row]]

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        return (data[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True))


_NONE = np.zeros(0, np.int64)


def places(records: Sequence[Record]) -> tuple[Numbers, Numbers]:
    """Their offsets and lines."""
    count = len(records)
    offsets = np.fromiter([record.offset for record in records], np.int64, count)
    return offsets, np.fromiter([record.line for record in records], np.int64, count)


class Objects(NamedTuple):
    """Records that are one whole JSON object each, and no envelope.

    Attributes:
        raws: Their bytes.
        offsets: As `Record.offset`.
        lines: As `Record.line`.
    """

    raws: Raws
    offsets: Numbers
    lines: Numbers

    @classmethod
    def of(cls, records: Sequence[Record]) -> Objects:
        """These."""
        return cls(Raws.of([record.raw for record in records]), *places(records))

    @classmethod
    def joined(cls, parts: Sequence[Objects]) -> Objects:
        """Several as one."""
        offsets = np.concatenate([_NONE, *(part.offsets for part in parts)])
        lines = np.concatenate([_NONE, *(part.lines for part in parts)])
        return cls(Raws.joined([part.raws for part in parts]), offsets, lines)

    def only(self, rows: Numbers) -> Objects:
        """Some of them, by their numbers or as a mask."""
        return Objects(self.raws.only(rows), self.offsets[rows], self.lines[rows])

    def records(self) -> list[Record]:
        """Each of them."""
        return list(map(Record, self.offsets.tolist(), self.lines.tolist(), self.raws))


#: None of them.
NO_OBJECTS = Objects.of(())


class Found(NamedTuple):
    """What a block gave.

    Attributes:
        objects: Whole JSON objects, if there were many.
        few: Whole JSON objects, if there were few.
        others: All other records.
    """

    objects: Objects
    few: list[Record]
    others: list[Record]
