"""Chunks read by the workers of a Dask cluster, which see the same files (docs/design/cluster.md).

The scheduler is given a few chunks at a time, the newest first. Whatever goes wrong there, from one chunk to
the whole cluster, becomes what those chunks say of themselves.

Sources:
    https://distributed.dask.org/en/stable/api.html · https://distributed.dask.org/en/stable/killed.html
"""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from klaviyo_nb import __version__
from klaviyo_nb.errors import SourceError, UsageError
from klaviyo_nb.evidence import TRY
from klaviyo_nb.logs.chunks import LATE, Job, Part, Task
from klaviyo_nb.logs.engines import Share, Work
from klaviyo_nb.logs.rows import MESSAGE
from klaviyo_nb.logs.sources.files import Range
from klaviyo_nb.logs.sources.remote import RemoteRange
from klaviyo_nb.redact import Redactor

_INSTALL = "pip install 'klaviyo-nb[cluster]'"
#: The next command to type where another engine helps.
_HERE = "--engine local"
#: What may take how long: knocking at the port, connecting, waiting for a first worker or one that comes
#: back, looking whether there is one, leaving [s].
_KNOCK_S, _CONNECT_S, _WORKERS_S, _LOOK_S, _GOODBYE_S = 5.0, 20.0, 15.0, 1.0, 2.0
#: What results may take to arrive after the deadline: at most, and of the time there was [s, 1].
_GRACE_S, _GRACE = 1.0, 0.2
#: Chunks that each thread of a worker is given at once, so that none waits for the next; and the most at all.
_AHEAD, _MOST = 2, 256
_WORDS = 200

Read = Callable[[Task], list[Part]]


def of(name: str) -> Cluster:
    """The cluster of a URL.

    Raises:
        UsageError: It is no such URL, or dask.distributed is not installed.
    """
    try:
        parts = urlsplit(name)
        usable = (
            parts.hostname and parts.port and not (parts.path.strip("/") or parts.query or parts.username)
        )
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("--engine", f"{name!r} is not an engine", "--engine dask://HOST:8786")
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--engine", f"dask:// needs dask.distributed: {_INSTALL}", _INSTALL)
    assert parts.hostname
    assert parts.port
    return Cluster(parts.hostname, parts.port)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a Dask scheduler. What cannot travel is read here meanwhile.

    Attributes:
        host: Of the scheduler.
        port: Likewise.
        connect_s: What connecting may take [s].
        workers_s: How long a first worker is waited for, or one that comes back [s].
        far: See `Engine`.
    """

    host: str
    port: int
    connect_s: float = _CONNECT_S
    workers_s: float = _WORKERS_S
    far: bool = True

    @property
    def name(self) -> str:
        """As the user gave it."""
        return f"dask://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def map(
        self,
        function: Read,
        tasks: Sequence[Task],
        stays: Callable[[Task], bool],
        share: Share | None = None,
    ) -> Generator[list[Part], None, None]:
        """See `Engine.map`. Nothing is shared: other chunks keep a cluster's workers busy."""
        work = Work(tasks, stays)
        until = min((task[0].deadline for task in tasks if task[0].deadline is not None), default=None)
        crew = _Crew(self, function, work, until) if work.left else None
        return _results(function, tasks, work, crew, until)


def _results(
    function: Read, tasks: Sequence[Task], work: Work, crew: _Crew | None, until: float | None
) -> Generator[list[Part], None, None]:
    if until is not None:
        until += min(_GRACE_S, _GRACE * max(0.0, until - time.monotonic()))
    try:
        for index, task in enumerate(tasks):
            while index not in work.done:
                if (staying := work.take_staying()) is not None:
                    work.put(staying[0], function(staying[1]))
                elif not work.wait(index, until):
                    work.put(index, lost(task, LATE))
            yield cleaned(work.done.pop(index), task)
    finally:
        if crew is not None:
            crew.stop()


class _Crew:
    """A thread that keeps the connection to a cluster, and threads that give it tasks and wait for results.

    Every task that is taken comes back, as a result or as lost.
    """

    def __init__(self, cluster: Cluster, function: Read, work: Work, until: float | None) -> None:
        self._cluster, self._function, self._work, self._until = cluster, function, work, until
        self._ended = threading.Event()
        #: Given to the cluster and not yet come back.
        self._given: dict[int, Task] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel what was not done, and leave; a scheduler that says nothing is not waited for."""
        self._ended.set()
        self._thread.join(_GOODBYE_S)

    def _run(self) -> None:
        with _quiet():
            client = end = _answer(_connected, self._cluster, self._left(self._cluster.connect_s))
            if not isinstance(client, Exception):
                end = _answer(self._work_with, client)
            if isinstance(end, SourceError):
                self._give_up(f"{end.what}{TRY}{end.hint}")
            elif isinstance(end, Exception):
                self._give_up(f"{self._cluster.name} failed: {_words(end)}{TRY}{_HERE}")
            if not isinstance(client, Exception):
                _answer(client.close, _GOODBYE_S)  # the scheduler drops what nobody waits for; it may be gone

    def _work_with(self, client: Any) -> None:
        """Let tasks be done as long as there are workers."""
        threads, clocks = _workers(client, self._cluster, self._left(self._cluster.workers_s))
        for _ in range(min(_MOST, _AHEAD * threads, len(self._work.left))):
            threading.Thread(target=self._feed, args=(client, clocks), daemon=True).start()
        seen = time.monotonic()
        while not self._ended.wait(_LOOK_S):
            there_are = _answer(client.nthreads)
            if there_are and not isinstance(there_are, Exception):
                seen = time.monotonic()
            elif time.monotonic() - seen > self._cluster.workers_s:
                raise SourceError(self._cluster.name, f"{self._cluster.name} lost its workers", _HERE)

    def _left(self, most: float) -> float:
        return most if self._until is None else max(0.0, min(most, self._until - time.monotonic()))

    def _feed(self, client: Any, clocks: Mapping[str, float]) -> None:
        while not self._ended.is_set() and (task := self._work.take(here=False)) is not None:
            index, jobs = task
            self._given[index] = jobs
            self._work.put(index, self._asked(client, jobs, clocks))
            del self._given[index]

    def _asked(self, client: Any, task: Task, clocks: Mapping[str, float]) -> list[Part]:
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        job = task[0]

        def read() -> Any:
            left = None if job.deadline is None else job.deadline - time.monotonic()
            return client.submit(there, self._function, fit_to_leave(task), clocks, left, pure=False).result()

        parts = _answer(read)
        if isinstance(parts, list):
            return parts
        if isinstance(parts, CancelledError | CommClosedError):  # before it, or while its answer came
            why = f"{self._cluster.name} was lost while it read{TRY}{_HERE}"
            self._give_up(why)
            return lost(task, why)
        if isinstance(parts, KilledWorker):
            return lost(task, f"{_which(job)}: the workers that read it died")
        if isinstance(parts, Exception):
            return lost(task, job.redact(f"{_which(job)}: reading it failed there: {_words(parts)}"))
        return lost(task, f"{_which(job)}: no answer")

    def _give_up(self, why: str) -> None:
        """Nothing that is not done will be."""
        self._ended.set()
        while (task := self._work.take(here=False)) is not None:
            self._work.put(task[0], lost(task[1], why))
        for index, jobs in self._given.copy().items():
            self._work.put(index, lost(jobs, why))


def there(function: Read, task: Task, clocks: Mapping[str, float], left_s: float | None) -> list[Part]:
    """On a worker: the task, its deadline by this machine's clock.

    Args:
        function: Reads it.
        task: As it was on the machine that asks.
        clocks: Address of a worker → what its clock shows more than the asking machine's [s].
        left_s: To the deadline when it was asked for; counts where the clock is not known.
    """
    from distributed import get_worker

    address = str(get_worker().address)
    deadline = task[0].deadline
    if deadline is not None and left_s is not None:
        ahead = clocks.get(address)
        by = time.monotonic() + left_s if ahead is None else deadline + ahead
        task = [replace(job, deadline=by) for job in task]
    parts = function(task)
    for part in parts:
        if part.failed:
            worker = urlsplit(address).hostname
            part.problems = [
                text if text == LATE else f"{text} on worker {worker}: do the workers see the same files?"
                for text in part.problems
            ]
    return parts


def lost(task: Task, why: str) -> list[Part]:
    """What a task gave that was not done."""
    return [Part.lost(job, why) for job in task]


def about() -> str:
    """On a worker and on the scheduler: which version of this package is here."""
    return __version__


def _connected(cluster: Cluster, limit_s: float) -> Any:
    """A client of the scheduler.

    Raises:
        SourceError: It cannot be reached.
    """

    def connect() -> Any:
        with socket.create_connection((cluster.host, cluster.port), min(limit_s, _KNOCK_S)) as knocking:
            knocking.settimeout(limit_s)
            knocking.recv(1)  # a scheduler speaks first; for one that does not, Dask would wait without end
        from distributed import Client

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what must be the same, we look at ourselves
            return Client(
                f"tcp://{cluster.authority}", timeout=limit_s, set_as_default=False, name="klaviyo-nb"
            )

    client = _answer(connect)
    if isinstance(client, Exception):
        words = getattr(client, "strerror", None) or _words(client)
        raise SourceError(cluster.name, f"{cluster.name} cannot be reached: {words}", _HERE)
    return client


def _workers(client: Any, cluster: Cluster, limit_s: float) -> tuple[int, dict[str, float]]:
    """Threads of all workers together; what each worker's clock shows more than ours.

    Raises:
        SourceError: There are none, or this very version is not installed on all of them.
    """
    _answer(client.wait_for_workers, 1, limit_s)  # we count them ourselves
    threads = _answer(client.nthreads)
    if not threads or isinstance(threads, Exception):
        raise SourceError(cluster.name, f"{cluster.name} has no workers", f"dask worker {cluster.authority}")
    versions: dict[str, Any] = {"the scheduler": _answer(client.run_on_scheduler, about)}
    versions |= client.run(about, on_error="return")
    for who, version in versions.items():
        if version != __version__ and not isinstance(version, OSError):  # that one is gone
            has = version if isinstance(version, str) else "none that can be used"
            what = f"{cluster.name} needs klaviyo_nb {__version__}, on {who} there is {has}"
            raise SourceError(cluster.name, what, f"pip install 'klaviyo-nb[cluster]=={__version__}' there")
    clocks = client.run(time.monotonic, on_error="ignore")
    now = time.monotonic()
    return sum(threads.values()), {address: told - now for address, told in clocks.items()}


def _answer(ask: Callable[..., Any], *about_what: Any) -> Any:
    """What a cluster answers, or what it raised instead: our function, Dask, or whoever listens there."""
    try:
        return ask(*about_what)
    except Exception as exc:  # noqa: BLE001 - they share no narrower class (docs/design/cluster.md)
        return exc


def _words(exc: Exception) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}".removesuffix(": ")[:_WORDS]


def _which(job: Job) -> str:
    """Which part of its source a job is about."""
    chunk = job.chunk
    if isinstance(chunk, Range | RemoteRange) and not chunk.packed:
        return f"bytes {chunk.start:,} to {chunk.stop:,}"
    return "it"


def fit_to_leave(task: Task) -> Task:
    """The task without what must not leave this machine: secrets are looked for when its rows are back."""
    redactor = getattr(task[0].redact, "__self__", None)
    if not isinstance(redactor, Redactor):
        return task
    redact = redactor.without_secrets().text
    return [replace(job, redact=redact) for job in task]


def cleaned(parts: list[Part], task: Task) -> list[Part]:
    """Take out what only this process knows to be secret."""
    redactor = getattr(task[0].redact, "__self__", None)
    if not isinstance(redactor, Redactor):
        return parts
    tables = {id(rows.table): rows.table for part in parts for rows in (part.calls, part.webhooks)}
    clean = {key: table and _without(redactor, table) for key, table in tables.items()}
    for part in parts:
        part.calls = replace(part.calls, table=clean[id(part.calls.table)])
        part.webhooks = replace(part.webhooks, table=clean[id(part.webhooks.table)])
    return parts


def _without(redactor: Redactor, table: pa.Table) -> pa.Table:
    for index, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if not pa.types.is_large_string(column.type):
            continue
        texts = before = column.to_pylist() if name == "message" else []
        texts = [
            redactor.without_cut_secret(text) if text and len(text) == MESSAGE else text for text in texts
        ]
        if any(redactor.knows_of(bytes(chunk.buffers()[2] or b"")) for chunk in column.chunks):
            texts = [text and redactor.text(text) for text in texts or column.to_pylist()]
        if texts != before:
            table = table.set_column(index, name, pa.array(texts, column.type))
    return table


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask would print of a lost connection, we say ourselves."""
    loud = [
        logging.getLogger(name)
        for name in (*logging.root.manager.loggerDict,)
        if name.startswith("distributed")
    ]
    levels = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)
