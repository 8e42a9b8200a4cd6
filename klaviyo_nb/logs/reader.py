"""Log sources to frames: resolve, read the newest first, put the parts together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from klaviyo_nb.evidence import Coverage
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs import small
from klaviyo_nb.logs.chunks import (
    NO_ROWS,
    Job,
    Part,
    Piece,
    Task,
    advancing,
    no_collecting,
    partly,
    read_chunks,
)
from klaviyo_nb.logs.early import Early
from klaviyo_nb.logs.engines import Engine
from klaviyo_nb.logs.engines import engine as engine_named
from klaviyo_nb.logs.questions.question import Answer, Question, Records
from klaviyo_nb.logs.shared import shared, worth
from klaviyo_nb.logs.shelves import Shelf, as_moment, coverages, found, newest_first
from klaviyo_nb.logs.sources import stays
from klaviyo_nb.logs.sources.base import speaks_of_klaviyo, without_credentials
from klaviyo_nb.redact import Redactor
from klaviyo_nb.settings import Limits
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from klaviyo_nb.logs.formats.table import Format

#: What more parts than these told is put together.
_TOGETHER = 20
#: What limited the calls, in settings' words; and what limits nothing.
TOO_MANY, NO_LIMITS = "[limits] calls", Limits(source_size=1 << 62, calls=1 << 62)


class Progress(Protocol):
    """Told now and then: the source that is read, bytes read so far, bytes there are (0: unknown)."""

    def __call__(self, source: str, done: int, total: int) -> None:
        """Say how far reading got."""


class SoFar(Protocol):
    """What the logs gave until it was made; may be called later, and elsewhere."""

    def __call__(self, pipes: bool = False) -> LogsRead:
        """Put it together; `pipes`: only of what sends lines that nobody can read again."""


#: Told that there is more: what has come in its turn, and what came early.
News = Callable[[Sequence[Shelf], Early], None]


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


def read(
    urls: Sequence[str],
    window: Window,
    *,
    redact: Callable[[str], str],
    deadline: float | None = None,
    progress: Progress | None = None,
    engine: str | Engine = "local",
    formats: Sequence[Mapping[str, Any]] = (),
    limits: Limits = NO_LIMITS,
    so_far: Callable[[SoFar], None] | None = None,
    since: datetime | None = None,
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
        engine: Where chunks are read: `local`, `local:4` for four processes, `dask://HOST:PORT`, an engine.
        formats: Formats of the user, as `klaviyo-nb.toml` has them.
        limits: How much is read of each source (the newest of a file, what a stream gives first), and how
            many calls of all are kept.
        so_far: Given, whenever a part was read or has been read for a while, what all gave so far.
        since: What lies before it is good to have, and not missed where it was not read.

    Raises:
        UsageError: A URL names no kind of source, there is no such engine or it is not installed, or a format
            is malformed.
    """
    left = limits.calls

    def take(part: Part) -> None:
        nonlocal left
        left = _keep(part, left, limits.calls, since)

    def now(shelves: Sequence[Shelf], early: Early, pipes: bool = False) -> LogsRead:
        stopped, room = [], left
        for shelf in shelves:
            if not pipes or shelf.is_pipe:
                parts = [*shelf.parts]
                for part in early.of(shelf.chunks[len(parts) :]):
                    room = _keep(part, room, limits.calls, since)
                    parts.append(part)
                stopped.append(replace(shelf, parts=parts))
        return _logs_read(stopped, window, redact, since)

    def news(shelves: Sequence[Shelf], early: Early) -> None:
        assert so_far is not None
        so_far(partial(now, shelves, early))

    shelves = _read(urls, window, redact, deadline, progress, engine, formats, take, limits=limits,
                    news=news if so_far else None)  # fmt: skip
    return _logs_read(shelves, window, redact, since, last=so_far is None)


def _keep(part: Part, left: int, most: int, since: datetime | None) -> int:
    """Keep so many calls of a part, the newest; how many may be kept of the next ones."""
    if part.found > left:
        moments = part.calls.rows()["moment"].slice(0, part.found - left).to_pylist()
        part.calls, part.found = part.calls.newest(left), left
        if since is None or None in moments or as_moment(max(moments)) >= since:
            part.truncated = True
            part.problems.append(f"{most:,} newer calls were kept, and no more ({TOO_MANY})")
    return left - part.found


def _logs_read(
    shelves: Sequence[Shelf],
    window: Window,
    redact: Callable[[str], str],
    since: datetime | None,
    last: bool = False,
) -> LogsRead:
    """What the parts gave; `last`: nobody needs their rows afterwards."""
    from klaviyo_nb.logs import frame  # brings pandas, which was imported while others worked

    return LogsRead(
        frame.calls(_pieces(shelves, "calls", last)),
        frame.webhooks(_pieces(shelves, "webhooks", last)),
        _covered(shelves, window, redact, since),
    )


def _covered(
    shelves: Sequence[Shelf], window: Window, redact: Callable[[str], str], since: datetime | None = None
) -> tuple[Coverage, ...]:
    """What was read of each; what clients and servers complain of may quote a secret."""
    return tuple(
        replace(each, gap=redact(each.gap)) if each.gap else each
        for each in coverages(shelves, window, since)
    )


def ask(
    question: Question[Any],
    urls: Sequence[str],
    window: Window,
    *,
    redact: Callable[[str], str],
    progress: Progress | None = None,
    engine: str | Engine = "local",
    formats: Sequence[Mapping[str, Any]] = (),
) -> Asked:
    """Ask a question of logs, each part of them where it is read; only what it tells travels.

    Takes and raises what `read` does.
    """
    told = [question.part(Records(CALLS.empty(), WEBHOOKS.empty()), window)]
    placed = question.placed

    def take(part: Part) -> None:
        if placed is None and part.told is not None:
            told.append(part.told)
            part.told = None
            if len(told) > _TOGETHER:  # what a long log told stays small
                told[:] = [question.merge(told)]

    shelves = _read(urls, window, redact, None, progress, engine, formats, take, question=question)
    if placed is not None:
        for shelf in shelves:
            parts = zip(shelf.parts, shelf.first_lines(), strict=True)
            told.extend(placed(part.told, lines) for part, lines in parts if part.told is not None)
    answer = question.answer(question.merge(told), window)
    return Asked(_without_secrets(answer, redact), _covered(shelves, window, redact))


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
    engine: str | Engine,
    formats: Sequence[Mapping[str, Any]],
    take: Callable[[Part], None],
    *,
    question: Question[Any] | None = None,
    limits: Limits = NO_LIMITS,
    news: News | None = None,
) -> list[Shelf]:
    engine_named(engine, 0)  # a mistake is told before anything is opened
    what = {"window": window, "redact": redact, "own": _own(formats)}
    shelves = found(urls, window, deadline)
    for shelf in shelves:
        if shelf.chunks:  # of 100,000 most may have none, for the deadline
            shelf.limit(limits.source_size)
    stop = None if deadline is None else deadline - sum(shelf.took for shelf in shelves)
    jobs = _jobs(shelves, limits.source_size, **what, deadline=stop, question=question)
    tasks = small.tasks(jobs, lambda job: shelves[job.source].is_one_chunk)
    chosen = engine_named(engine, sum(map(worth, jobs)))
    run = _Run(shelves, jobs, redact, progress, take, news)
    telling = advancing.set(run.advanced)
    sharing = partly.set(run.gave_so_far) if news else None  # before workers are started
    try:
        given = chosen.map(read_chunks, tasks, lambda task: stays(task[0].chunk, chosen.far), shared)
        with no_collecting():
            import_module("klaviyo_nb.logs.records")  # workers, which were started, do the same meanwhile
        threading.Thread(target=import_module, args=("klaviyo_nb.logs.frame",), daemon=True).start()
        with closing(given):  # at Ctrl-C too, whoever still holds the frames of this function
            for task, parts in zip(tasks, given, strict=True):
                run.gave(task, parts)
        for shelf in shelves:
            shelf.ask_if_there(window, deadline)
    finally:
        advancing.reset(telling)
        if sharing:
            partly.reset(sharing)
    return shelves


class _Run:
    """How far reading got, and who is told."""

    def __init__(
        self,
        shelves: Sequence[Shelf],
        jobs: Sequence[Job],
        redact: Callable[[str], str],
        progress: Progress | None,
        take: Callable[[Part], None],
        news: News | None,
    ) -> None:
        self._shelves, self._progress, self._take, self._news = shelves, progress, take, news
        self._early, self._redactor = Early(), getattr(redact, "__self__", None)
        self._total, self._done = sum(job.chunk.size for job in jobs), 0

    def advanced(self, job: Job, read: int) -> None:
        """So many bytes of a chunk were read."""
        if self._progress is not None:
            self._progress(self._shelves[job.source].name, self._done + read, self._total)

    def gave_so_far(self, task: Task, parts: Sequence[Part]) -> None:
        """Chunks have given so much before their turn, or before their end; any thread may tell it."""
        self._learn(parts)
        self._early.take(task, parts)
        self._tell()

    def gave(self, task: Task, parts: Sequence[Part]) -> None:
        """All that chunks give, in their turn."""
        self._learn(parts)
        for job, part in zip(task, parts, strict=True):
            self._shelves[part.source].parts.append(part)
            self._early.forget(job.chunk)
            self._take(part)
            self._done += job.chunk.size or part.read
        self._tell()
        self.advanced(task[-1], 0)

    def _learn(self, parts: Sequence[Part]) -> None:
        if isinstance(self._redactor, Redactor):  # so that it is found in what others read, too
            for part in parts:
                self._redactor.learn(part.learnt)

    def _tell(self) -> None:
        if self._news is not None:
            self._news(self._shelves, self._early)


def _own(formats: Sequence[Mapping[str, Any]]) -> tuple[Format, ...]:
    if not formats:
        return ()
    from klaviyo_nb.logs.formats.own import own_formats  # brings all patterns, which workers import too

    return own_formats(formats)


def _jobs(shelves: Sequence[Shelf], most: int, **what: Any) -> list[Job]:
    """What is to be read, the newest first."""
    jobs = []
    for index, chunk in newest_first(shelves):
        name = shelves[index].name
        about = speaks_of_klaviyo(name)
        stream = not chunk.size or getattr(chunk, "packed", False)  # its bytes are not known before
        jobs.append(Job(source=index, chunk=chunk, about=about, name=without_credentials(name),
                        most=most if stream else None, **what))  # fmt: skip
    return jobs


def _pieces(shelves: Iterable[Shelf], which: Literal["calls", "webhooks"], last: bool) -> Iterator[Piece]:
    """Rows of every part, the oldest part of a source first; `last`: they are taken out of it."""
    for shelf in (shelf for shelf in shelves if shelf.parts):
        name = without_credentials(shelf.name)
        for part, before in reversed(list(zip(shelf.parts, shelf.first_lines(), strict=True))):
            rows = part.calls if which == "calls" else part.webhooks
            if last:
                setattr(part, which, NO_ROWS)
            yield Piece(name, before, rows)
