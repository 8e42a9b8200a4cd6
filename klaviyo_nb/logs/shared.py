"""A packed file that several processes read: stretches of its text, and what they give together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from klaviyo_nb.logs.chunks import LATE, Job, Part, too_much
from klaviyo_nb.logs.sources.base import UNENDED, late
from klaviyo_nb.logs.sources.files import Range
from klaviyo_nb.logs.sources.stretches import Stretch, forget

if TYPE_CHECKING:
    import pyarrow as pa

#: Text of a stretch; and what a file must have, as stored, to be worth sharing [bytes].
SIZE, _WORTH = 16 * 1024 * 1024, 4 * 1024 * 1024
#: Logs take so many times less when they are packed, or twice as many [1].
_PACKED = 5
_ENDLESS = 1 << 62


def text_size(job: Job) -> int:
    """Bytes of the job's text, roughly; 0 if nobody knows."""
    return job.chunk.size * (_PACKED if getattr(job.chunk, "packed", False) else 1)


def shared(job: Job) -> Shared | None:
    """The job as one that several processes do together; None if that is not worth it."""
    chunk = job.chunk
    return Shared(job, chunk) if isinstance(chunk, Range) and chunk.quick and chunk.size >= _WORTH else None


class Shared:
    """See `engines.Shared`."""

    def __init__(self, job: Job, file: Range, size: int = SIZE) -> None:
        self._job, self._file, self._size = job, file, size
        self._next = 0
        #: From there on nothing is to be read; and where the text ends, once that was seen.
        self._until = job.most or _ENDLESS
        self._ends: int | None = None

    def take(self) -> Job | None:
        """The next stretch, as long as nobody came to the end of the text."""
        start = self._next
        if start >= self._until or late(self._job.deadline):
            return None
        self._next = min(start + self._size, self._until)
        return replace(self._job, chunk=Stretch(self._file, start, self._next), most=None)

    def saw(self, part: Part) -> None:
        """A stretch was read: was it the last, or the last that can be read?"""
        if part.ends is not None:
            self._ends = part.ends
            self._until = min(self._until, part.ends)
        elif part.failed or part.truncated:
            self._until = 0

    def close(self) -> None:
        """No more are wanted."""
        forget()

    def whole(self, parts: Sequence[Part]) -> Part:
        """What the file gave, of what its stretches gave, in their order."""
        forget()
        if not parts:
            return Part.lost(self._job, LATE)
        whole = together(parts)
        whole.told = _told(self._job, parts)
        if not whole.truncated and (self._ends is None or self._ends > self._next):
            whole.truncated = True
            whole.problems.append(too_much(self._job.most) if self._next == self._job.most else UNENDED)
        return whole


def together(parts: Sequence[Part]) -> Part:
    """What stretches of one file gave, in their order, but for what they told a question."""
    lines = list(_lines_before(parts))
    whole = Part(parts[0].source)
    whole.calls = _rows([part.calls for part in parts], lines)
    whole.webhooks = _rows([part.webhooks for part in parts], lines)
    for name in ("found", "lines", "read", "unread", "unparsed"):
        setattr(whole, name, sum(getattr(part, name) for part in parts))
    whole.first = min((part.first for part in parts if part.first is not None), default=None)
    whole.last = max((part.last for part in parts if part.last is not None), default=None)
    whole.outside = max((part.outside for part in parts if part.outside is not None), default=None)
    whole.truncated = any(part.truncated or part.failed for part in parts)
    whole.failed = all(part.failed for part in parts)
    said = [UNENDED if text == LATE else text for part in parts for text in part.problems]
    whole.problems = [*dict.fromkeys(said)]
    whole.learnt = {secret: rule for part in parts for secret, rule in part.learnt.items()}
    return whole


def _lines_before(parts: Sequence[Part]) -> Iterator[int | None]:
    """Lines of the text before each part; None: nobody knows."""
    lines: int | None = 0
    for part in parts:
        yield lines
        cut_short = part.failed or (part.truncated and part.ends is None)
        lines = None if lines is None or cut_short else lines + part.lines


def _rows(tables: Sequence[pa.Table], lines: Sequence[int | None]) -> pa.Table:
    """Rows of all parts, their lines counted from the beginning of the text; missing where nobody knows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    placed = []
    for table, before in zip(tables, lines, strict=True):
        if table.num_rows:
            counted = pc.add(table["line"], pa.scalar(before, pa.int64()))
            placed.append(table.set_column(table.column_names.index("line"), "line", counted))
    return pa.concat_tables(placed, promote_options="default") if placed else pa.table({})


def _told(job: Job, parts: Sequence[Part]) -> Any:
    """What all parts told the question; None: nothing was asked, or none told anything."""
    question = job.question
    if question is None:
        return None
    placed = question.placed or (lambda told, before: told)
    told = [
        placed(part.told, before)
        for part, before in zip(parts, _lines_before(parts), strict=True)
        if part.told is not None
    ]
    return question.merge(told) if told else None
