from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs import read
from klaviyo_nb.logs.chunks import Job, Task, read_chunks
from klaviyo_nb.logs.engines import Processes, engine
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window

WINDOW = Window.last(timedelta(hours=2), datetime(2026, 11, 23, 7, 0, tzinfo=UTC))


def task_of(folder: Path) -> Task:
    path = folder / "app.log"
    path.write_text("2026-11-23T05:00:00Z Klaviyo API error: 503\n")
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    return [Job(0, chunk, WINDOW, Redactor(b"test").text, None, about=False)]


def here(task: object) -> bool:
    return False


# A worker knows no function of ours; it can evaluate, and that slowly enough for both processes to get some.
WHERE = "(__import__('time').sleep(0.02), __import__('os').getpid())[1]"


@pytest.mark.parametrize("name", ["local", "local:1", "local:2"])
def test_results_come_in_the_order_of_the_tasks(name: str) -> None:
    assert list(engine(name, 0).map(str, [3, 1, 2], here)) == ["3", "1", "2"]
    assert list(engine(name, 0).map(str, [], here)) == []


def test_both_processes_work_and_a_task_that_must_stay_does() -> None:
    tasks = [WHERE + ("#stays" if number % 4 == 0 else "") for number in range(80)]
    done = list(Processes(2).map(eval, tasks, lambda task: task.endswith("#stays")))
    assert set(done[::4]) == {os.getpid()}
    assert len(set(done)) == 2


def test_what_a_worker_that_died_could_not_do_is_done_here() -> None:
    task = f"{WHERE} == {os.getpid()} or __import__('os')._exit(1)"
    assert list(Processes(3).map(eval, [task] * 20, here)) == [True] * 20


def test_what_cannot_travel_is_done_here() -> None:
    assert list(Processes(2).map(lambda task: task + 1, [1, 2, 3], here)) == [2, 3, 4]


def test_an_error_of_the_function_reaches_the_caller_and_leaves_no_worker() -> None:
    with pytest.raises(ZeroDivisionError):
        list(Processes(2).map(eval, ["1 / 0"] * 4, here))


@pytest.mark.parametrize(("size", "most"), [(0, 1), (50_000_000, 1), (10**12, 4)])
def test_workers_are_started_only_for_what_is_worth_it(size: int, most: int) -> None:
    chosen = engine("local", size)
    assert isinstance(chosen, Processes)
    assert 1 <= chosen.count <= most


@pytest.mark.parametrize("name", ["abacus", "local:", "local:0", "local:x", "local:1000"])
def test_an_unknown_engine_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="not an engine"):
        engine(name, 0)


def test_a_large_file_gives_the_same_from_two_processes_as_from_one(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    call = '{"time":%d,"url":"https://a.klaviyo.com/api/events","method":"POST","status":429,"email":"ann@example.com"}\n'
    path.write_text("".join(call % (1795410000000 + n) + "x" * 3_000 + "\n" for n in range(25_000)))
    one, two = (
        read([str(path)], WINDOW, redact=Redactor(b"test").text, engine=name)
        for name in ("local:1", "local:2")
    )
    assert len(one.calls) == 25_000
    assert one.calls.equals(two.calls)
    assert one.coverage == two.coverage
    assert "ann@" not in one.calls.to_csv()


def test_a_chunk_is_read_alike_in_another_process(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    whole, (there,) = pickle.loads(
        subprocess.run(
            [sys.executable, "-m", "klaviyo_nb.logs.worker"],
            input=pickle.dumps((read_chunks, task, False)),
            capture_output=True,
            check=True,
        ).stdout
    )
    assert whole
    assert there.calls.rows()["status_code"].to_pylist() == [503]
    assert [there] == read_chunks(task)


class Sum:
    """A task that is shared: `eval` of each of its terms, and their sum; the last is told by what came of it."""

    def __init__(self, *terms: str) -> None:
        self.terms, self.seen, self.closed = [*terms], list[int](), False

    def take(self) -> str | None:
        return self.terms.pop(0) if self.terms else None

    def saw(self, result: int) -> None:
        self.seen.append(result)

    def close(self) -> None:
        self.closed = True

    def whole(self, results: Sequence[int]) -> int:
        assert sorted(results) == sorted(self.seen)
        return sum(results)


def terms(task: str) -> Sum | None:
    return Sum(*task.split("+")) if "+" in task else None


def test_a_task_that_is_shared_is_done_by_all_processes() -> None:
    (pids,) = Processes(2).map(eval, ["+".join([WHERE] * 60)], here, terms)
    assert pids % os.getpid()
    assert os.getpid() * 60 != pids


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks_when_some_are_shared(count: int) -> None:
    tasks = ["1+2+3", "4", "5+6", "7", "8", "9+10"]
    assert list(Processes(count).map(eval, tasks, here, terms)) == [6, 4, 11, 7, 8, 19]


def test_what_a_worker_that_died_could_not_do_of_a_shared_task_is_done_here() -> None:
    term = f"({WHERE} == {os.getpid()} or __import__('os')._exit(1))"
    assert list(Processes(3).map(eval, ["+".join([term] * 20)], here, terms)) == [20]


def test_a_shared_task_is_closed_if_nobody_wants_the_rest() -> None:
    made: list[Sum] = []

    def share(task: str) -> Sum:
        made.append(Sum(*task.split("+")))
        return made[-1]

    with pytest.raises(ZeroDivisionError):
        list(Processes(2).map(eval, ["+".join(["1 / 0"] * 9)], here, share))
    assert made[-1].closed
