"""One chunk to its rows: a pure function of the chunk, run wherever an engine runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from klaviyo_nb.errors import SourceError
from klaviyo_nb.logs.formats import times
from klaviyo_nb.logs.formats.understand import Told, understand
from klaviyo_nb.logs.scan import Record, Seen, every_line, find_words, scan
from klaviyo_nb.logs.sources.base import Chunk, Opened, Read
from klaviyo_nb.redact import harmless
from klaviyo_nb.window import Window

MESSAGE = 500
#: Texts that come from the log and leave with the row.
_TEXTS = (
    "message",
    "host",
    "worker",
    "caller",
    "endpoint",
    "error_pointer",
    "request_id",
    "profile_key",
    "event_key",
    "topic",
)
_EDGE = 4_096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Job:
    """What is needed to read a chunk.

    Attributes:
        source: Index of its source.
        chunk: What to read.
        window: Rows outside are left out; rows without any time stay.
        redact: Takes secrets and personal data out of text; keeps the number of lines.
        deadline: `time.monotonic` at which to stop, or None.
        about: Does the source as a whole speak of Klaviyo?
    """

    source: int
    chunk: Chunk
    window: Window
    redact: Callable[[str], str]
    deadline: float | None
    about: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A call or a webhook: microseconds since 1970, lines before it in its chunk, byte offset, columns."""

    moment: int | None
    line: int
    offset: int | None
    fields: dict[str, Any]


@dataclass(slots=True)
class Part:
    """What a chunk gave.

    Attributes:
        source: Index of its source.
        calls: Rows of the CALLS frame.
        webhooks: Rows of the WEBHOOKS frame.
        lines: Lines that begin in it.
        read: Bytes that were read.
        unparsed: Records that speak of Klaviyo and gave no row.
        first: Earliest time seen in the window, microseconds since 1970.
        last: Latest.
        truncated: Is some of it missing?
        failed: Could it not be opened at all?
        problems: Why.
    """

    source: int
    calls: list[Row] = field(default_factory=list)
    webhooks: list[Row] = field(default_factory=list)
    lines: int = 0
    read: int = 0
    unparsed: int = 0
    first: int | None = None
    last: int | None = None
    truncated: bool = False
    failed: bool = False
    problems: list[str] = field(default_factory=list)

    def saw(self, moment: int | None, span: tuple[int, int]) -> bool:
        """Note a time; is it in the window, or unknown?"""
        if moment is None:
            return True
        if not span[0] <= moment < span[1]:
            return False
        self.first = moment if self.first is None else min(self.first, moment)
        self.last = moment if self.last is None else max(self.last, moment)
        return True


def read_chunk(job: Job) -> Part:
    """Read a chunk to its end or to the deadline. A chunk that cannot be opened says so and never raises."""
    part = Part(job.source)
    if _late(job.deadline):
        part.truncated = part.failed = True
        part.problems.append("not read before the deadline")
        return part
    try:
        with job.chunk.open(job.deadline) as opened:
            _read(job, opened, part)
        part.problems += opened.problems
        part.truncated = part.truncated or opened.truncated
    except SourceError as exc:
        part.failed = True
        part.problems.append(exc.what)
    _redact(job.redact, part)
    return part


def _read(job: Job, opened: Opened, part: Part) -> None:
    near = job.window.end
    span = micros(job.window.start), micros(job.window.end)
    seen = Seen()
    edges = _Edges(opened.read)
    records = scan(
        edges.read, seen, at=opened.at, start=opened.start, stop=opened.stop,
        find=every_line if job.about else find_words, halt=partial(_late, job.deadline),
    )  # fmt: skip
    for record in records:
        if _late(job.deadline):
            seen.stopped = True
            records.close()
        _add(part, record, understand(record.raw, near, job.about), span, opened.offsets)
    for moment in edges.times(near):
        part.saw(moment, span)
    part.lines, part.read = seen.lines, seen.read
    if seen.stopped and not opened.truncated:
        part.truncated = True
        part.problems.append("it was not read to its end before the deadline")


def _add(part: Part, record: Record, told: Told, span: tuple[int, int], offsets: bool) -> None:
    if not part.saw(told.moment, span):
        return
    if told.kind in ("call", "webhook"):
        rows = part.calls if told.kind == "call" else part.webhooks
        rows.append(Row(told.moment, record.line, record.offset if offsets else None, told.fields))
    elif told.kind == "mention":
        part.unparsed += 1


def _redact(redact: Callable[[str], str], part: Part) -> None:
    """Take secrets out of all that leaves; distinct texts in one go, because that is many times faster."""
    texts: dict[str, str] = {}
    for row in (*part.calls, *part.webhooks):
        texts |= dict.fromkeys(row.fields[name] for name in _TEXTS if row.fields.get(name) is not None)
    shown = dict(zip(texts, map(_shown, _redacted(redact, list(texts))), strict=True))
    for row in (*part.calls, *part.webhooks):
        row.fields.update(
            {name: shown[row.fields[name]] for name in _TEXTS if row.fields.get(name) is not None}
        )
        if "message" in row.fields:
            row.fields["message"] = row.fields["message"][:MESSAGE]


def _redacted(redact: Callable[[str], str], texts: list[str]) -> Iterable[str]:
    lines = redact("\n".join(texts)).split("\n")
    counts = [text.count("\n") + 1 for text in texts]
    if sum(counts) != len(lines):
        return [redact(text) for text in texts]
    given = iter(lines)
    return ["\n".join(next(given) for _ in range(count)) for count in counts]


def _shown(text: str) -> str:
    return text if text.isprintable() else harmless(text)


def _late(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class _Edges:
    """Remembers the first and the last bytes that were read: they tell which time a source covers."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._head = self._tail = b""

    def read(self, memory: memoryview) -> int:
        got = self._read(memory)
        if got:
            self._head = self._head or bytes(memory[: min(got, _EDGE)])
            self._tail = bytes(memory[max(0, got - _EDGE) : got])
        return got

    def times(self, near: datetime) -> list[int]:
        """Times at the beginning of the outermost whole lines."""
        lines = (self._head.split(b"\n")[:3], self._tail.split(b"\n")[-4:])
        found = (times.search(line[:300].decode("utf-8", "replace"), near) for edge in lines for line in edge)
        return [moment[0] for moment in found if moment and moment[1] < 120]  # the head of a line
