"""Chunks to their rows: a pure function of the chunks, run wherever an engine runs it.

One is read alone, but for small files, which are read as one (`small`): what they give travels together.

What is done with its bytes is in `records`, which brings numpy, pyarrow and every pattern: it is imported
where a chunk is read, so that workers import it while this process does.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from klaviyo_nb.evidence import UNFINISHED
from klaviyo_nb.logs import freed
from klaviyo_nb.logs.sources.base import Chunk
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import pyarrow as pa

    from klaviyo_nb.logs.formats.table import Format
    from klaviyo_nb.logs.questions.question import Question

#: Of what was not begun in time.
LATE = "not read before the deadline"
#: Of what is being read now, if reading were stopped.
STOPPED = f"reading {UNFINISHED} its end"
#: What limited it, in settings' words.
TOO_LARGE = "[limits] source_size"


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of a part: some of a table, in which those of other parts stand, too.

    Attributes:
        table: None: there are no rows.
        start: Its first row there.
        count: How many there are.
    """

    table: pa.Table | None = None
    start: int = 0
    count: int = 0

    def rows(self) -> pa.Table:
        """A table of their own."""
        import pyarrow as pa

        return pa.table({}) if self.table is None else self.table.slice(self.start, self.count)

    def newest(self, count: int) -> Section:
        """The last so many of them."""
        return Section(self.table, self.start + self.count - count, count)


NO_ROWS = Section()


class Piece(NamedTuple):
    """Rows of one part of a source.

    Attributes:
        source: Its name, to be shown.
        before: Lines of the source before the part; None: nobody knows.
        rows: As `Part` holds them.
    """

    source: str
    before: int | None
    rows: Section


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
        own: Formats of the user.
        name: Of its source, to be shown.
        question: What to ask of the rows where they are read, instead of giving them.
        most: Bytes that are read of it, or None.
    """

    source: int
    chunk: Chunk
    window: Window
    redact: Callable[[str], str]
    deadline: float | None
    about: bool
    own: tuple[Format, ...] = ()
    name: str = ""
    question: Question[Any] | None = None
    most: int | None = None


#: Jobs that are read as one: the same but for source, chunk and name.
Task = Sequence[Job]


@dataclass(slots=True)
class Part:
    """What a chunk gave.

    Attributes:
        source: Index of its source.
        calls: Rows of the CALLS frame, redacted; `moment` is microseconds since 1970, `line` counts the lines
            of the chunk before it.
        webhooks: Rows of the WEBHOOKS frame, likewise.
        told: What the rows told the question that was asked; they are not given then. Of chunks that are
            read as one, the first part has what all told.
        found: Rows of calls.
        lines: Lines that begin in it.
        read: Bytes that were read.
        unread: Bytes of a packed one that are there and gave no text.
        done: Bytes of a packed one that were inflated.
        unparsed: Records that speak of Klaviyo and gave no row.
        first: Earliest time seen in the window, microseconds since 1970.
        last: Latest.
        outside: Latest time seen outside the window.
        truncated: Is some of it missing?
        failed: Could it not be opened at all?
        ends: Where the text ends that it is a stretch of, if that was seen.
        problems: Why.
        learnt: Secrets that redaction recognised in it → rule.
    """

    source: int
    calls: Section = NO_ROWS
    webhooks: Section = NO_ROWS
    told: Any = None
    found: int = 0
    lines: int = 0
    read: int = 0
    unread: int = 0
    done: int = 0
    unparsed: int = 0
    first: int | None = None
    last: int | None = None
    outside: int | None = None
    truncated: bool = False
    failed: bool = False
    ends: int | None = None
    problems: list[str] = field(default_factory=list)
    learnt: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def lost(cls, job: Job, why: str) -> Part:
        """What a chunk gave that was not read at all."""
        return cls(job.source, truncated=True, failed=True, problems=[why])


#: Told of the bytes of a chunk that were read, while this process reads it; does not travel to workers.
advancing: ContextVar[Callable[[Job, int], None]] = ContextVar("advancing")
#: Told what chunks have given so far, now and then; a worker's hands it on to the process that started it.
partly: ContextVar[Callable[[Task, Sequence[Part]], None]] = ContextVar("partly")


@contextmanager
def no_collecting() -> Iterator[None]:
    """Reading makes very many small objects and no cycles: to look for some takes a fifth of its time.

    Importing drops little of what it makes, too.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def read_chunks(task: Task) -> list[Part]:
    """Read chunks, each to its end or to the deadline. One that cannot be opened says so and never raises."""
    freed.keep()
    with no_collecting():
        from klaviyo_nb.logs import records

        return records.read(task)


def learnt_by(job: Job) -> dict[str, str]:
    """Secrets that redaction recognised so far → rule."""
    return dict(getattr(getattr(job.redact, "__self__", None), "learnt", {}))


def too_much(most: int | None) -> str:
    """Of what is not read to its end because it is so large."""
    return f"only its first {most:,} bytes were read ({TOO_LARGE})"
