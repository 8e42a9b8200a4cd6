"""Where chunks are read: this process, this process and workers beside it, or a cluster (`cluster.py`).

An engine has one method, `map`. Workers are interpreters of their own that speak pickle over pipes: forking a
process with threads in it, as every notebook's kernel is, may hang, and `multiprocessing`'s other ways import
the caller's main module again (docs/design/worker-processes.md).
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.chunks import partly

if TYPE_CHECKING:
    from klaviyo_nb.logs.chunks import Part, Task

Argument = TypeVar("Argument")
Result = TypeVar("Result")

#: What starts a worker must have to do [bytes]; and the most processes that are used unasked.
_WORTH, _MOST = 96 * 1024 * 1024, 4
_LIMIT = 64
#: How the name of a cluster begins.
CLUSTER = "dask://"


class Shared(Protocol):
    """A task that several processes may do together, as tasks that come one by one."""

    def take(self) -> Any | None:
        """The next one; None: there are no more. One thread at a time asks."""

    def saw(self, result: Any) -> None:
        """The result of one of them has come."""

    def close(self) -> None:
        """No more are wanted."""

    def whole(self, results: Sequence[Any]) -> Any:
        """The result of the task, from those of all that were taken, in their order."""


Share = Callable[[Any], Shared | None]
#: Told of a task what it has given so far, and what it gave, by any thread (`chunks.partly`).
Tell = Callable[[Any, Any], None]


class Engine(Protocol):
    """Applies a function to tasks. Functions, tasks and results are picklable.

    Attributes:
        far: Are tasks done on other machines?
    """

    @property
    def far(self) -> bool: ...  # noqa: D102 - told above

    def map(
        self,
        function: Callable[[Task], list[Part]],
        tasks: Sequence[Task],
        stays: Callable[[Task], bool],
        share: Share | None = None,
    ) -> Generator[list[Part], None, None]:
        """Begin, and give results in the order of the tasks. Who closes it ends what goes on.

        Args:
            function: Is applied to each task.
            tasks: What is to be done.
            stays: Is it one that only this process can do?
            share: The task as one that processes of this machine may do together; None if it is none.
        """


@dataclass(frozen=True, slots=True)
class Processes:
    """This process and `count - 1` workers; each takes the next task when it is done with one.

    What a worker could not do, because it was killed or the task cannot travel, is done here.
    """

    count: int
    far: bool = False

    def map(
        self,
        function: Callable[[Argument], Result],
        tasks: Sequence[Argument],
        stays: Callable[[Argument], bool],
        share: Share | None = None,
    ) -> Generator[Result, None, None]:
        """See `Engine.map`. A task is shared if there are not enough others to keep all processes busy."""
        work = Work(tasks, stays, share if self.count > 1 else None, self.count)
        parts = share is not None and any(share(task) is not None for task in tasks)
        count = self.count if parts else min(self.count, len(tasks))
        tell = partly.get(None)
        workers = [_Worker(function, work, tell) for _ in range(count - 1)]
        return _results(function, work, workers, tell)


def _results(
    function: Callable[[Any], Any], work: Work, workers: Sequence[_Worker], tell: Tell | None
) -> Generator[Any, None, None]:
    try:
        for index in range(work.count):
            while not work.is_done(index):
                if (task := work.take(here=True)) is not None:
                    _told(work, task, function(task[1]), tell)
                else:
                    work.wait(index)
            yield work.result(index)
    finally:
        for worker in workers:
            worker.stop()
        work.close()


def _told(work: Work, task: Numbered, result: Any, tell: Tell | None) -> None:
    """Put a result where it is waited for; tell it first, as others may have to come before it."""
    if tell is not None:
        tell(task[1], result)
    work.put(task[0], result)


Numbered = tuple[int, Any]


class Work:
    """Tasks that are left, those that only this process can do, and results, by number.

    What a shared task is done as has numbers of its own, behind those of the tasks.
    """

    def __init__(
        self,
        tasks: Sequence[Any],
        stays: Callable[[Any], bool],
        share: Share | None = None,
        hands: int = 1,
    ) -> None:
        self.count = len(tasks)
        self.left: deque[Numbered] = deque()
        self.staying: deque[Numbered] = deque()
        self.done: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._taking, self._share, self._hands = threading.Lock(), share, hands
        self._numbers = itertools.count(len(tasks))
        self._shared: dict[int, _Sharing] = {}
        self._parts: dict[int, Shared] = {}
        self._open: _Sharing | None = None
        for index, task in enumerate(tasks):
            (self.staying if stays(task) else self.left).append((index, task))

    def take(self, here: bool) -> Numbered | None:
        """The next task, if there is one."""
        with self._taking:
            while True:
                if self._open is not None and (more := self._more(self._open)) is not None:
                    return more
                task = self._next(here)
                if task is None or self._share is None or len(self.left) >= self._hands - 1:
                    return task
                shared = self._share(task[1])
                if shared is None:
                    return task
                self._open = self._shared[task[0]] = _Sharing(shared)

    def _more(self, sharing: _Sharing) -> Numbered | None:
        """The next part of a shared task, if there is one."""
        task = sharing.shared.take()
        if task is not None:
            number = next(self._numbers)
            sharing.numbers.append(number)
            self._parts[number] = sharing.shared
            return number, task
        with self._changed:
            self._open, sharing.all_taken = None, True
            self._changed.notify_all()
        return None

    def _next(self, here: bool) -> Numbered | None:
        with self._changed:
            queues = [queue for queue in (self.left, self.staying if here else ()) if queue]
            return min(queues, key=lambda queue: queue[0][0]).popleft() if queues else None

    def is_done(self, index: int) -> bool:
        """Is there all of a result?"""
        sharing = self._shared.get(index)
        if sharing is None:
            return index in self.done
        return sharing.all_taken and all(number in self.done for number in sharing.numbers)

    def result(self, index: int) -> Any:
        """The result of a task that is done; it is kept no longer."""
        sharing = self._shared.pop(index, None)
        if sharing is None:
            return self.done.pop(index)
        return sharing.shared.whole([self.done.pop(number) for number in sharing.numbers])

    def close(self) -> None:
        """Nothing more will be taken."""
        with self._taking:
            for sharing in self._shared.values():
                sharing.shared.close()

    def take_staying(self) -> Numbered | None:
        """The next task that only this process can do, if there is one."""
        with self._changed:
            return self.staying.popleft() if self.staying else None

    def put(self, index: int, result: Any) -> None:
        """A result; the first one counts."""
        with self._changed:
            if index not in self.done and index in self._parts:
                self._parts[index].saw(result)
            self.done.setdefault(index, result)
            self._changed.notify_all()

    def leave_here(self, task: Numbered) -> None:
        """Take back a task that no worker could do."""
        with self._changed:
            self.staying.appendleft(task)
            self._changed.notify_all()

    def wait(self, index: int, until: float | None = None) -> bool:
        """Until there is this result, or something to be done here; False if `until` comes first."""
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self.staying) or self.is_done(index),
                None if until is None else max(0.0, until - time.monotonic()),
            )


@dataclass(slots=True)
class _Sharing:
    """A task that is shared, the numbers of what was taken of it, and was that all?"""

    shared: Shared
    numbers: list[int] = field(default_factory=list)
    all_taken: bool = False


class _Worker:
    """An interpreter beside this one, and the thread that feeds it."""

    def __init__(self, function: Callable[[Any], Any], work: Work, tell: Tell | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "klaviyo_nb.logs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we stop it
        )
        self._feeder = threading.Thread(target=self._feed, args=(function, work, tell), daemon=True)
        self._feeder.start()

    def _feed(self, function: Callable[[Any], Any], work: Work, tell: Tell | None) -> None:
        while (task := work.take(here=False)) is not None:
            try:
                result = self._done(function, task[1], tell)
            except (OSError, EOFError, ValueError, pickle.PickleError, AttributeError, TypeError):
                work.leave_here(task)  # it was killed, or the task cannot travel
                return
            _told(work, task, result, tell)

    def _done(self, function: Callable[[Any], Any], task: Any, tell: Tell | None) -> Any:
        """The result; before it comes, what the worker tells so far is handed on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((function, task, tell is not None), self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        while True:
            whole, result = pickle.load(self._process.stdout)  # noqa: S301 - our own worker wrote it
            if whole or tell is None:
                return result
            tell(task, result)

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._feeder.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not yet sent
                    pipe.close()


def engine(name: str | Engine, size: int) -> Engine:
    """An engine by its name.

    Args:
        name: `local`: as many processes as are worth it; `local:4`: so many; `dask://HOST:PORT`: the workers
            of a Dask scheduler. An engine stands for itself.
        size: Bytes to be read, as far as they are known.

    Raises:
        UsageError: There is none of that name, or what it needs is not installed.
    """
    if not isinstance(name, str):
        return name
    if name.startswith(CLUSTER):
        from klaviyo_nb.logs import cluster

        return cluster.of(name)
    kind, colon, count = name.partition(":")
    if kind != "local" or (colon and not (count.isdecimal() and 0 < int(count) <= _LIMIT)):
        hint = "--engine local    (or local:4: four processes; dask://HOST:PORT: a cluster)"
        raise UsageError("--engine", f"{name!r} is not an engine", hint)
    return Processes(int(count) if count else min(_cpus(), _MOST, 1 + size // _WORTH))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
