"""A packed file that several processes read: stretches of its text, and what they give together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from klaviyo_nb.logs.chunks import LATE, NO_ROWS, Job, Part, Section, Task, too_much
from klaviyo_nb.logs.sources.base import UNENDED, late
from klaviyo_nb.logs.sources.files import Range
from klaviyo_nb.logs.sources.stretches import Stretch, forget

#: Text of a stretch; and what a file must have, as stored, to be worth sharing [bytes].
SIZE, _WORTH = 16 * 1024 * 1024, 4 * 1024 * 1024
#: Logs take so many times less when they are packed, or twice as many [1].
_PACKED = 5
#: Opening a file takes as long as reading so many bytes.
_OPENING = 96 * 1024
_ENDLESS = 1 << 62


def worth(job: Job) -> int:
    """What reading it takes, as bytes of text, roughly; 0 if nobody knows."""
    size = job.chunk.size * (_PACKED if getattr(job.chunk, "packed", False) else 1)
    return size and size + _OPENING


def shared(task: Task) -> Shared | None:
    """The task as one that several processes do together; None if that is not worth it."""
    job, chunk = task[0], task[0].chunk
    return Shared(job, chunk) if isinstance(chunk, Range) and chunk.quick and chunk.size >= _WORTH else None


class Shared:
    """See `engines.Shared`."""

    def __init__(self, job: Job, file: Range, size: int = SIZE) -> None:
        self._job, self._file, self._size = job, file, size
        self._next = 0
        #: From there on nothing is to be read; and where the text ends, once that was seen.
        self._until = job.most or _ENDLESS
        self._ends: int | None = None

    def take(self) -> Task | None:
        """The next stretch, as long as nobody came to the end of the text."""
        start = self._next
        if start >= self._until or late(self._job.deadline):
            return None
        self._next = min(start + self._size, self._until)
        return (replace(self._job, chunk=Stretch(self._file, start, self._next), most=None),)

    def saw(self, parts: Sequence[Part]) -> None:
        """A stretch was read: was it the last, or the last that can be read?"""
        (part,) = parts
        if part.ends is not None:
            self._ends = part.ends
            self._until = min(self._until, part.ends)
        elif part.failed or part.truncated:
            self._until = 0

    def close(self) -> None:
        """No more are wanted."""
        forget()

    def whole(self, each: Sequence[Sequence[Part]]) -> list[Part]:
        """What the file gave, of what its stretches gave, in their order."""
        forget()
        if not each:
            return [Part.lost(self._job, LATE)]
        parts = [part for (part,) in each]
        whole = together(parts)
        whole.told = _told(self._job, parts)
        if not whole.truncated and (self._ends is None or self._ends > self._next):
            whole.truncated = True
            whole.problems.append(too_much(self._job.most) if self._next == self._job.most else UNENDED)
        return [whole]


def together(parts: Sequence[Part]) -> Part:
    """What stretches of one file gave, in their order, but for what they told a question."""
    lines = list(_lines_before(parts))
    whole = Part(parts[0].source)
    whole.calls = _rows([part.calls for part in parts], lines)
    whole.webhooks = _rows([part.webhooks for part in parts], lines)
    for name in ("found", "lines", "read", "unread", "unparsed"):
        setattr(whole, name, sum(getattr(part, name) for part in parts))
    whole.done = max(part.done for part in parts)  # each inflates from the beginning
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


def _rows(sections: Sequence[Section], lines: Sequence[int | None]) -> Section:
    """Rows of all parts, their lines counted from the beginning of the text; missing where nobody knows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    placed = []
    for section, before in zip(sections, lines, strict=True):
        if section.count:
            table = section.rows()
            counted = pc.add(table["line"], pa.scalar(before, pa.int64()))
            placed.append(table.set_column(table.column_names.index("line"), "line", counted))
    if not placed:
        return NO_ROWS
    rows = pa.concat_tables(placed, promote_options="default")
    return Section(rows, 0, rows.num_rows)


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
