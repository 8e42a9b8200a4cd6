"""Log sources to frames: resolve, read the newest first, put the parts together."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from klaviyo_nb.errors import SourceError
from klaviyo_nb.evidence import EMPTY, UNFINISHED, Coverage
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.chunks import LATE, TOO_LARGE, Job, Part, advancing, read_chunk
from klaviyo_nb.logs.engines import engine as engine_named
from klaviyo_nb.logs.questions.question import Answer, Question, Records
from klaviyo_nb.logs.sources import Chunk, Source, resolve, stays
from klaviyo_nb.logs.sources.base import speaks_of_klaviyo, without_credentials
from klaviyo_nb.redact import Redactor
from klaviyo_nb.settings import Limits
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from klaviyo_nb.logs.formats.table import Format
    from klaviyo_nb.logs.rows import Piece

#: Of the time up to the deadline, what looking at the files that globs found may take [1].
_FINDING = 0.15
#: So many files that the deadline came before are each told of; what so many parts told is put together.
_TOGETHER = 20
#: What limited the calls, in settings' words; and what limits nothing.
TOO_MANY, NO_LIMITS = "[limits] calls", Limits(source_size=1 << 62, calls=1 << 62)


class Progress(Protocol):
    """Told now and then: the source that is read, bytes read so far, bytes there are (0: unknown)."""

    def __call__(self, source: str, done: int, total: int) -> None:
        """Say how far reading got."""


@dataclass(frozen=True, slots=True)
class LogsRead:
    """What the logs gave.

    Attributes:
        calls: CALLS frame, by time; rows without a time last.
        webhooks: WEBHOOKS frame, likewise.
        coverage: One per source, in the order given. Of very many files that a glob names, those that the
            deadline came before are told of together, behind the others.
    """

    calls: pd.DataFrame
    webhooks: pd.DataFrame
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the logs answered to a question.

    Attributes:
        answer: Their answer.
        coverage: As in `LogsRead`.
    """

    answer: Answer
    coverage: tuple[Coverage, ...]


@dataclass(slots=True)
class _Shelf:
    """A source, its chunks (newest first) and what they gave.

    Attributes:
        name: Of the source.
        url: That named it.
        written: When it was last written, if a glob found it [s since 1970].
        chunks: Its parts.
        parts: What they gave, as far as they were read.
        gap: Why it has no parts, or not all of them.
        left_out: Bytes of it that are too many.
    """

    name: str
    url: str
    written: float = math.inf
    chunks: Sequence[Chunk] = ()
    parts: list[Part] = field(default_factory=list)
    gap: str | None = None
    left_out: int = 0

    def limit(self, most: int) -> None:
        """Leave out its oldest parts, if it is too large; one is always read."""
        sizes = itertools.accumulate(chunk.size for chunk in self.chunks)
        fit = max(1, sum(size <= most for size in sizes))
        self.left_out = sum(chunk.size for chunk in self.chunks[fit:])
        if self.left_out:
            self.chunks = self.chunks[:fit]
            read = sum(chunk.size for chunk in self.chunks)
            self.gap = f"only its newest {read:,} bytes were read ({TOO_LARGE})"


def read(
    urls: Sequence[str],
    window: Window,
    *,
    redact: Callable[[str], str],
    deadline: float | None = None,
    progress: Progress | None = None,
    engine: str = "local",
    formats: Sequence[Mapping[str, Any]] = (),
    limits: Limits = NO_LIMITS,
    so_far: Callable[[Callable[[], LogsRead]], None] | None = None,
) -> LogsRead:
    """Read calls to Klaviyo and its webhooks out of logs.

    The newest part of every source is read first. Rows outside the window are left out; rows without a time
    stay. A source that cannot be read, or not to its end, says so in its coverage and stops no other.

    Args:
        urls: Log source URLs.
        window: The span asked about.
        redact: Takes secrets and personal data out of text; must keep the number of lines.
        deadline: `time.monotonic` at which reading stops, or None.
        progress: Told now and then.
        engine: Where chunks are read: `local`, `local:4` for four processes, or `dask://HOST:PORT`.
        formats: Formats of the user, as `klaviyo-nb.toml` has them.
        limits: How much is read of each source (the newest of a file, what a stream gives first), and how
            many calls of all are kept.
        so_far: Given, whenever a part was read and others are left, what tells what all parts gave so far;
            that may be called later, and elsewhere.

    Raises:
        UsageError: A URL names no kind of source, there is no such engine or it is not installed, or a format
            is malformed.
    """
    left = limits.calls

    def take(part: Part, shelves: Sequence[_Shelf]) -> None:
        nonlocal left
        left = _keep(part, left, limits.calls)
        if so_far is not None:
            so_far(lambda: _logs_read([replace(shelf, parts=[*shelf.parts]) for shelf in shelves], window))

    shelves = _read(urls, window, redact, deadline, progress, engine, formats, take=take, limits=limits)
    return _logs_read(shelves, window)


def _keep(part: Part, left: int, most: int) -> int:
    """Keep so many calls of a part, the newest; how many may be kept of the next ones."""
    if part.found > left:
        part.calls, part.found = part.calls.slice(part.found - left), left
        part.truncated = True
        part.problems.append(f"{most:,} newer calls were kept, and no more ({TOO_MANY})")
    return left - part.found


def _logs_read(shelves: Sequence[_Shelf], window: Window) -> LogsRead:
    from klaviyo_nb.logs import frame  # brings pandas, which was imported while others worked

    return LogsRead(
        frame.calls(_pieces(shelves, lambda part: part.calls)),
        frame.webhooks(_pieces(shelves, lambda part: part.webhooks)),
        tuple(_coverages(shelves, window)),
    )


def ask(
    question: Question[Any],
    urls: Sequence[str],
    window: Window,
    *,
    redact: Callable[[str], str],
    progress: Progress | None = None,
    engine: str = "local",
    formats: Sequence[Mapping[str, Any]] = (),
) -> Asked:
    """Ask a question of logs, each part of them where it is read; only what it tells travels.

    Takes and raises what `read` does.
    """
    told = [question.part(Records(CALLS.empty(), WEBHOOKS.empty()), window)]
    placed = question.placed

    def take(part: Part, _: Sequence[_Shelf]) -> None:
        if placed is None and part.told is not None:
            told.append(part.told)
            part.told = None
            if len(told) > _TOGETHER:  # what a long log told stays small
                told[:] = [question.merge(told)]

    shelves = _read(urls, window, redact, None, progress, engine, formats, question, take)
    if placed is not None:
        for shelf in shelves:
            parts = zip(shelf.parts, _first_lines(shelf), strict=True)
            told.extend(placed(part.told, lines) for part, lines in parts if part.told is not None)
    answer = question.answer(question.merge(told), window)
    return Asked(_without_secrets(answer, redact), tuple(_coverages(shelves, window)))


def _without_secrets(answer: Answer, redact: Callable[[str], str]) -> Answer:
    """A cluster's workers do not know the secrets that this process knows by heart."""
    rows = answer.rows.copy()
    for name in rows.select_dtypes(["str", "object"]):
        cleaned = [redact(each) if isinstance(each, str) else each for each in rows[name]]
        if cleaned != rows[name].tolist():
            rows[name] = cleaned
    return replace(answer, says=redact(answer.says), rows=rows, covers=tuple(map(redact, answer.covers)))


def _read(
    urls: Sequence[str],
    window: Window,
    redact: Callable[[str], str],
    deadline: float | None,
    progress: Progress | None,
    engine: str,
    formats: Sequence[Mapping[str, Any]],
    question: Question[Any] | None = None,
    take: Callable[[Part, Sequence[_Shelf]], None] | None = None,
    limits: Limits = NO_LIMITS,
) -> list[_Shelf]:
    engine_named(engine, 0)  # a mistake is told before anything is opened
    what = {"window": window, "redact": redact, "deadline": deadline, "own": _own(formats)}
    shelves = _shelves(urls, window, deadline)
    for shelf in shelves:
        shelf.limit(limits.source_size)
    jobs = _jobs(shelves, limits.source_size, **what, question=question)
    total, done = sum(job.chunk.size for job in jobs), 0
    chosen = engine_named(engine, total)
    parts = chosen.map(read_chunk, jobs, lambda job: stays(job.chunk, chosen.far))
    import_module("klaviyo_nb.logs.records")  # workers, which were started, do the same meanwhile
    threading.Thread(target=import_module, args=("klaviyo_nb.logs.frame",), daemon=True).start()

    def tell(job: Job, read: int) -> None:
        if progress is not None:
            progress(shelves[job.source].name, done + read, total)

    telling, redactor = advancing.set(tell), getattr(redact, "__self__", None)
    try:
        with closing(parts):  # at Ctrl-C too, whoever still holds the frames of this function
            for job, part in zip(jobs, parts, strict=True):
                shelves[part.source].parts.append(part)
                if isinstance(redactor, Redactor):  # so that it is found in what others read, too
                    redactor.learn(part.learnt)
                if take is not None:
                    take(part, shelves)
                done += job.chunk.size or part.read
                tell(job, 0)
    finally:
        advancing.reset(telling)
    return shelves


def _own(formats: Sequence[Mapping[str, Any]]) -> tuple[Format, ...]:
    if not formats:
        return ()
    from klaviyo_nb.logs.formats.own import own_formats  # brings all patterns, which workers import too

    return own_formats(formats)


def _jobs(shelves: Sequence[_Shelf], most: int, **what: Any) -> list[Job]:
    """What is to be read, the newest first."""
    jobs = []
    for index, chunk in _newest_first(shelves):
        name = shelves[index].name
        about = speaks_of_klaviyo(name)
        stream = not chunk.size or getattr(chunk, "packed", False)  # its bytes are not known before
        jobs.append(Job(source=index, chunk=chunk, about=about, name=without_credentials(name),
                        most=most if stream else None, **what))  # fmt: skip
    return jobs


def _shelves(urls: Sequence[str], window: Window, deadline: float | None) -> list[_Shelf]:
    """One per source, each once, however often it was named."""
    shelves: dict[str, _Shelf] = {}
    sources: dict[str, Source] = {}
    for url in urls:
        try:
            for source in resolve(url, window):
                if source.name not in shelves:
                    shelves[source.name] = _Shelf(source.name, url, getattr(source, "written", math.inf))
                    sources[source.name] = source
        except SourceError as exc:
            shelves.setdefault(url, _Shelf(url, url, gap=exc.what))
    now = time.monotonic()
    until = None if deadline is None else now + _FINDING * (deadline - now)
    for shelf in sorted(shelves.values(), key=lambda shelf: -shelf.written):
        if shelf.name in sources:
            _find_chunks(shelf, sources[shelf.name], window, deadline, until)
    return list(shelves.values())


def _find_chunks(
    shelf: _Shelf, source: Source, window: Window, deadline: float | None, until: float | None
) -> None:
    if until is not None and time.monotonic() > until and shelf.written != math.inf:
        shelf.gap = LATE
        return
    try:
        shelf.chunks = source.chunks(window, deadline)
        shelf.gap = None if shelf.chunks else EMPTY
    except SourceError as exc:
        shelf.gap = exc.what


def _newest_first(shelves: Sequence[_Shelf]) -> list[tuple[int, Chunk]]:
    """Every chunk with the index of its source: the newest of each, then the next ones."""
    order = sorted(range(len(shelves)), key=lambda index: -shelves[index].written)
    ranks = itertools.zip_longest(*(shelves[index].chunks for index in order))
    return [(index, chunk) for rank in ranks for index, chunk in zip(order, rank, strict=True) if chunk]


def _first_lines(shelf: _Shelf) -> list[int | None]:
    """Lines of the source before each part; None where an older part was not read to its end, or not yet."""
    before: list[int | None] = []
    whole = len(shelf.parts) == len(shelf.chunks) and not shelf.left_out
    lines: int | None = 0 if whole else None
    for part in reversed(shelf.parts):
        before.append(lines)
        lines = None if lines is None or part.truncated or part.failed else lines + part.lines
    return before[::-1]


def _pieces(shelves: Iterable[_Shelf], which: Callable[[Part], pa.Table]) -> Iterator[Piece]:
    """Rows of every part, the oldest part of a source first."""
    from klaviyo_nb.logs.rows import Piece

    for shelf in shelves:
        name = without_credentials(shelf.name)
        for part, before in reversed(list(zip(shelf.parts, _first_lines(shelf), strict=True))):
            yield Piece(name, before, which(part))


def _coverages(shelves: Sequence[_Shelf], window: Window) -> Iterator[Coverage]:
    late = {id(shelf): shelf.url for shelf in shelves if shelf.written != math.inf and _late(shelf)}
    many = {url: count for url, count in Counter(late.values()).items() if count > _TOGETHER}
    yield from (_coverage(shelf, window) for shelf in shelves if late.get(id(shelf)) not in many)
    for url, count in many.items():
        unread = sum(
            sum(chunk.size for chunk in shelf.chunks) for shelf in shelves if late.get(id(shelf)) == url
        )
        yield Coverage(
            source=without_credentials(url), asked=window, got=None, lines=0, calls=0, unparsed=0,
            skipped_bytes=unread, truncated=True, gap=f"{count:,} of its files were {LATE}",
        )  # fmt: skip


def _late(shelf: _Shelf) -> bool:
    """Was nothing of it read, for the deadline?"""
    return shelf.gap == LATE or (bool(shelf.parts) and all(part.problems == [LATE] for part in shelf.parts))


def _coverage(shelf: _Shelf, window: Window) -> Coverage:
    parts = shelf.parts
    first = min((part.first for part in parts if part.first is not None), default=None)
    last = max((part.last for part in parts if part.last is not None), default=None)
    got = (
        Window(_moment(first), _moment(last) + timedelta(microseconds=1))
        if first is not None and last is not None
        else None
    )
    left = shelf.chunks[len(parts) :]  # of a run that is stopped now
    gaps = [gap for gap in (shelf.gap, f"reading {UNFINISHED} its end" if left else None) if gap]
    reasons = dict.fromkeys(gaps + [text for part in parts for text in part.problems])
    unread = (
        sum(
            max(0, chunk.size - part.read)
            for chunk, part in zip(shelf.chunks, parts, strict=False)
            if part.truncated
        )
        + sum(chunk.size for chunk in left)
        + shelf.left_out
    )
    return Coverage(
        source=without_credentials(shelf.name),
        asked=window,
        got=got,
        lines=sum(part.lines for part in parts),
        calls=sum(part.found for part in parts),
        unparsed=sum(part.unparsed for part in parts),
        skipped_bytes=unread,
        truncated=shelf.gap == LATE
        or bool(left or shelf.left_out)
        or any(part.truncated or part.failed for part in parts),
        gap="; ".join(list(reasons)[:3]) or None,
    )


def _moment(value: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=value)
