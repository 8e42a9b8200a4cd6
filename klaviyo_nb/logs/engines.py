"""Where chunks are read. An engine has one method, `map`; this process is the only engine so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from klaviyo_nb.errors import UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Applies a function to tasks. Functions, tasks and results are picklable."""

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Results in the order of the tasks."""


class Local:
    """This process, one chunk after the other."""

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine.map`."""
        return map(function, tasks)


_ENGINES: dict[str, Callable[[], Engine]] = {"local": Local}


def engine(name: str) -> Engine:
    """An engine by its name.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return _ENGINES[name]()
    except KeyError:
        known = ", ".join(_ENGINES)
        raise UsageError(
            "--engine", f"{name!r} is not an engine", f"--engine local    (known: {known})"
        ) from None
