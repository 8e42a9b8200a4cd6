"""What must hold of whatever bytes a log is made of; `fuzz_logs.py` makes them up."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import zstandard

from klaviyo_nb.logs import chunks
from klaviyo_nb.logs.formats.columns import columns_of
from klaviyo_nb.logs.formats.envelopes import alone
from klaviyo_nb.logs.formats.table import formats
from klaviyo_nb.logs.formats.understand import understand
from klaviyo_nb.logs.found import Record
from klaviyo_nb.logs.scan import Seen, scan
from klaviyo_nb.logs.sources import packed
from klaviyo_nb.logs.sources.base import CONTEXT, Opened
from klaviyo_nb.logs.understood import LEARNT, micros
from klaviyo_nb.logs.words import LISTED, WORDS, EveryLine, WordFinder
from klaviyo_nb.window import Window
from tests.logs.scanned import each_of

WINDOW = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    gzip.compress,
    zstandard.ZstdCompressor().compress,
    bz2.compress,
    partial(lzma.compress, preset=0),
)


@dataclass(frozen=True)
class Bytes:
    """A chunk that holds its bytes."""

    data: bytes
    packed: bool = False
    size: int = 0

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        opened = Opened(io.BytesIO(self.data).readinto)
        if self.packed:
            opened.read = packed.reader(packed.inflated(opened.read, opened))
        yield opened


def check(data: bytes) -> None:
    """What must hold of one input. The slower questions are asked of some inputs only; which, they decide."""
    lot = zlib.crc32(data)
    prefilter_finds_every_word(data)
    however_it_is_cut_it_is_the_same(data)
    # Three times over, because what was learnt from a line is used from its second on.
    every_record_is_told_of_or_counted(b"\n".join([data] * 3), about=lot % 4 == 0)
    if lot % 8 == 0:
        packed_or_not_it_is_the_same(data, PACKERS[lot // 8 % len(PACKERS)])


def prefilter_finds_every_word(data: bytes) -> None:
    """What a slow search finds is in a record, and no record is without a word."""
    records, _ = _records(data)
    low, inside = data.lower(), bytearray(len(data))
    for record in records:
        inside[record.offset : record.offset + len(record.raw)] = b"\1" * len(record.raw)
        assert any(word in record.raw.lower() for word in (*WORDS, *LISTED)), record
    for word in WORDS:
        for at in _places(low, word):
            assert all(inside[at : at + len(word)]), (word, at)


def however_it_is_cut_it_is_the_same(data: bytes) -> None:
    """Ranges of any size give the records and lines of the whole; their bytes are those of the stream."""
    records, seen = _records(data)
    assert seen.read == len(data)
    assert seen.lines == data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
    for record in records:
        assert data[record.offset : record.offset + len(record.raw)] == record.raw
        assert data[: record.offset].count(b"\n") == record.line
    step = 1 + len(data) * 3 // 7
    found: list[Record] = []
    lines = 0
    for start in range(0, len(data), step):
        at, part = max(0, start - CONTEXT), Seen()
        stop = min(start + step, len(data))
        for record in each_of(scan(io.BytesIO(data[at:]).readinto, part, at=at, start=start, stop=stop)):
            found.append(record._replace(line=record.line + lines))
        lines += part.lines
    assert (found, lines) == (records, seen.lines)


def every_record_is_told_of_or_counted(data: bytes, about: bool) -> None:
    """The fast ways give as many calls, webhooks and unparsed records as `understand` does one by one."""
    seen = Seen()
    kinds: Counter[str] = Counter()
    begin, end = micros(WINDOW.start), micros(WINDOW.end)
    header = columns_of(data.decode("utf-8", "replace").split("\n"))
    for record in each_of(scan(io.BytesIO(data).readinto, seen, find=EveryLine() if about else WordFinder())):
        row = (
            header
            and not alone(record.raw)
            and header.row(record.raw.decode("utf-8", "replace").rstrip("\r\n"))
        )
        told = understand(row or record.raw, WINDOW.end, about)
        assert told.kind != "other" or b"klaviyo" not in record.raw.lower(), record.raw
        if told.moment is None or begin <= told.moment < end:
            kinds[told.kind] += 1
    part = _read(Bytes(data), about)
    assert (part.lines, part.read) == (seen.lines, len(data))
    assert part.unparsed == kinds["mention"], (part.unparsed, kinds)
    assert part.webhooks.count == kinds["webhook"], (part.webhooks.count, kinds)
    # A library's line and the application's own about one call are one row.
    assert min(1, kinds["call"]) <= part.calls.count <= kinds["call"], (part.calls.count, kinds)
    assert not part.problems, part.problems


def packed_or_not_it_is_the_same(data: bytes, pack: Callable[[bytes], bytes]) -> None:
    """A packed file gives what the plain one gives; a torn or broken one says so and raises nothing."""
    plain = _read(Bytes(data))
    whole = pack(data)
    part = _read(Bytes(whole, packed=True))
    assert (part.calls.rows(), part.lines, part.unparsed) == (plain.calls.rows(), plain.lines, plain.unparsed)
    assert not part.problems
    for broken in (whole[: len(whole) * 2 // 3], whole[:6] + data):
        part = _read(Bytes(broken, packed=True))
        assert part.problems or not packed.is_packed(broken)


def samples() -> list[bytes]:
    """Each sample of each format."""
    return sorted({text.encode() for each in formats() for text, _ in each.samples})


def seeds() -> list[bytes]:
    """The same and each labelled line; some of them in the clothes of collectors."""
    from tests.logs.accuracy import labelled
    from tests.logs.wrappers import WRAPPERS

    texts = sorted({*map(bytes.decode, samples())} | {line.text for line in labelled()})
    made = [text.encode() for text in texts]
    for index, text in enumerate(texts[::7]):
        wrap = WRAPPERS[index % len(WRAPPERS)]
        made.append("\n".join(wrap(text.split("\n"))).encode())
    return made


def _read(chunk: Bytes, about: bool = False) -> chunks.Part:
    LEARNT.of.cache_clear()  # an input alone decides what happens
    return chunks.read_chunks([chunks.Job(0, chunk, WINDOW, str, None, about)])[0]


def _records(data: bytes) -> tuple[list[Record], Seen]:
    seen = Seen()
    return each_of(scan(io.BytesIO(data).readinto, seen)), seen


def _places(low: bytes, word: bytes) -> Iterator[int]:
    at = low.find(word)
    while at >= 0:
        yield at
        at = low.find(word, at + 1)
