"""Small files that are read as one give what each gives alone."""

from __future__ import annotations

import gzip
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from klaviyo_nb import logs
from klaviyo_nb.logs import small
from klaviyo_nb.logs.chunks import LATE, NO_ROWS, STOPPED, Job, Part, Task, partly, read_chunks
from klaviyo_nb.logs.questions import by_name
from klaviyo_nb.logs.questions.question import Records
from klaviyo_nb.logs.sources import Chunk, resolve
from klaviyo_nb.logs.sources.base import Opened
from klaviyo_nb.settings import Limits
from klaviyo_nb.window import Window, parse_time

WINDOW = Window(parse_time("2026-11-23T05:00:00Z"), parse_time("2026-11-23T07:00:00Z"))
JSON = '{"time":"2026-11-23T05:%02d:%02dZ","method":"POST","url":"https://a.klaviyo.com/api/events","status":503}\n'
HTTPX = '2026-11-23 05:00:01,100 INFO httpx: HTTP Request: POST https://a.klaviyo.com/api/profiles "HTTP/1.1 429 Too Many Requests"\n'
APPLICATION = "2026-11-23 05:00:01,102 ERROR shop.klaviyo: POST https://a.klaviyo.com/api/profiles -> 429\n"
#: What files hold, as it stands in them: (minute, second) goes into each line that has room for it.
LINES = (
    JSON,
    JSON.replace("T05", "T09"),  # outside the window
    "2026-11-23T05:%02d:%02dZ ERROR klaviyo: POST https://a.klaviyo.com/api/events failed with status 503\n",
    "2026-11-23 05:%02d:%02d ERROR sync failed\nTraceback (most recent call last):\n"
    '  File "sync.py", line 3, in push\nklaviyo_api.ApiException: (429)\nReason: Too Many Requests\n',
    "2026-11-23T05:%02d:%02dZ INFO order 7 was paid by ann@example.com\n",
    "2026-11-23T05:%02d:%02dZ WARN klaviyo is slow today\n",
    "Klaviyo API error: 429 (try %d of %d)\n",
    '2026-11-23T05:%02d:%02dZ INFO received webhook {"type":"event.klaviyo.email_delivered","topic":"event:klaviyo.email_delivered"}\n',
    HTTPX.replace("%", "%%").replace("05:00:01", "05:%02d:%02d"),
    APPLICATION.replace("05:00:01", "05:%02d:%02d"),
)
CSV = (
    "time,method,host,path,status,duration_ms\n2026-11-23T05:00:00Z,POST,a.klaviyo.com,/api/events,429,125\n"
)


def write(folder: Path, seed: int, count: int) -> list[Path]:
    """So many files, of all kinds, some of which end without a line break, and some are empty or packed."""
    rng, paths = random.Random(seed), []
    for number in range(count):
        lines = [rng.choice(LINES) % (rng.randrange(60), rng.randrange(60)) for _ in range(rng.randrange(8))]
        text = CSV if number % 50 == 7 else "".join(sorted(lines))
        data = (text if rng.random() < 0.8 else text.rstrip("\n")).encode()
        suffix = ".log.gz" if number % 10 == 3 else ".log"
        paths.append(folder / f"{'klaviyo' if number % 20 == 4 else 'app'}-{number:04d}{suffix}")
        paths[-1].write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    return paths


def jobs_of(paths: Sequence[Path], **options: Any) -> list[Job]:
    jobs = []
    for index, path in enumerate(paths):
        chunks = resolve(str(path))[0].chunks(WINDOW)
        jobs += [Job(index, chunk, WINDOW, str, None, "klaviyo" in path.name, **options) for chunk in chunks]
    return jobs


def tasks_of(jobs: Sequence[Job]) -> list[Task]:
    return small.tasks(jobs, lambda job: True)


def rows(part: Part) -> list[dict[str, Any]]:
    """Rows as they stand in a source; which columns a table has besides is its own affair."""
    each = part.calls.rows().to_pylist(), part.webhooks.rows().to_pylist()
    told = [
        {name: value for name, value in row.items() if value is not None} for kind in each for row in kind
    ]
    return sorted(told, key=lambda row: (row["line"], str(row)))


def facts(part: Part) -> Part:
    return replace(part, calls=NO_ROWS, webhooks=NO_ROWS, learnt={})


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_small_files_give_what_each_gives_alone(tmp_path: Path, seed: int) -> None:
    jobs = jobs_of(write(tmp_path, seed, 1_000))
    tasks = tasks_of(jobs)
    assert len(tasks) < len(jobs) / 5
    found = 0
    for task in tasks:
        for job, part in zip(task, read_chunks(task), strict=True):
            (alone,) = read_chunks([job])
            assert rows(part) == rows(alone)
            assert facts(part) == facts(alone)
            found += part.found
    assert found > 1_000


@pytest.mark.parametrize("engine", ["local:1", "local:2"])
def test_a_glob_of_small_files_has_the_citations_and_the_coverage_of_each(
    tmp_path: Path, engine: str
) -> None:
    paths = write(tmp_path, 3, 200)
    whole = logs.read([f"{tmp_path}/*"], WINDOW, redact=str, engine=engine)
    sampled = sorted(random.Random(4).sample(paths, 25))
    coverage = {each.source: each for each in whole.coverage}
    assert len(coverage) == 200
    for path in sampled:
        alone = logs.read([str(path)], WINDOW, redact=str)
        assert alone.coverage == (coverage[str(path)],)
        for name in ("calls", "webhooks"):
            told, frame = getattr(alone, name), getattr(whole, name)
            mine = frame[frame["source"] == str(path)].reset_index(drop=True)
            assert mine.astype(object).equals(told.astype(object)), path
    assert sum(each.calls for each in whole.coverage) == len(whole.calls) > 200


def test_a_question_is_told_the_same_of_small_files_however_they_are_read(tmp_path: Path) -> None:
    write(tmp_path, 5, 150)
    question = by_name("templates")
    read = logs.read([f"{tmp_path}/*"], WINDOW, redact=str)
    wanted = question.ask(Records(read.calls, read.webhooks), WINDOW).rows
    for engine in ("local:1", "local:2"):
        asked = logs.ask(question, [f"{tmp_path}/*"], WINDOW, redact=str, engine=engine)
        assert asked.answer.rows.equals(wanted)
    assert len(wanted)


def test_what_a_file_ends_with_does_not_go_on_in_the_next(tmp_path: Path) -> None:
    texts = (HTTPX, APPLICATION, HTTPX + APPLICATION, "2026-11-23 05:00:00 ERROR klaviyo sync failed",
             "  File \"sync.py\", line 3\nklaviyo_api.ApiException: (429)\n")  # fmt: skip
    paths = [tmp_path / f"{number}.log" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    parts = read_chunks(jobs_of(paths))
    assert [part.found for part in parts[:3]] == [1, 1, 1]
    messages = [row["message"] for part in parts[3:] for row in rows(part)]
    assert not any("sync failed" in text and "ApiException" in text for text in messages)
    assert [part.lines for part in parts] == [1, 1, 2, 1, 2]


def test_a_file_that_is_gone_is_a_gap_and_those_around_it_are_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.log" for number in range(9)]
    for path in paths:
        path.write_text(JSON % (1, 1))
    jobs = jobs_of(paths)
    paths[4].unlink()
    (tmp_path / "link.log").symlink_to(paths[4])
    parts = read_chunks(jobs)
    assert [part.found for part in parts] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert (parts[4].failed, parts[4].problems) == (True, ["it was replaced while it was read"])
    assert not any(part.failed or part.problems for part in parts if part is not parts[4])
    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=str)
    assert {Path(each.source).name: each.gap for each in found.coverage if each.gap} == {
        "link.log": "no such file"
    }
    assert len(found.calls) == 8


@dataclass(frozen=True)
class _Slow:
    """A file that takes until a moment to be opened."""

    chunk: Chunk
    until: float

    @property
    def size(self) -> int:
        return self.chunk.size

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        with self.chunk.open(deadline) as opened:
            while time.monotonic() < self.until:
                pass
            yield opened


def slow(folder: Path, count: int, at: int, until: float, **options: Any) -> Task:
    """Files with a call each, of which one is slow."""
    paths = [folder / f"{number}.log" for number in range(count)]
    for path in paths:
        path.write_text(JSON % (1, 1))
    jobs = [replace(job, **options) for job in jobs_of(paths)]
    return [replace(job, chunk=_Slow(job.chunk, until)) if n == at else job for n, job in enumerate(jobs)]


def test_a_deadline_in_the_middle_leaves_the_rest_unread_and_what_was_read_is_kept(tmp_path: Path) -> None:
    deadline = time.monotonic() + 0.5
    parts = read_chunks(slow(tmp_path, 30, 20, deadline, deadline=deadline))
    assert [part.found for part in parts] == [1] * 21 + [0] * 9
    assert [part.problems for part in parts[21:]] == [[LATE]] * 9
    assert all(part.truncated for part in parts[21:])
    assert not any(part.problems for part in parts[:20])


def test_what_is_slow_is_told_so_far_and_the_file_that_is_read_then_says_so(tmp_path: Path) -> None:
    told: list[tuple[Task, Sequence[Part]]] = []
    token = partly.set(lambda task, parts: told.append((task, parts)))
    try:
        whole = read_chunks(slow(tmp_path, 30, 20, time.monotonic() + 1.5))
    finally:
        partly.reset(token)
    ((task, parts),) = told
    assert len(task) == len(parts) == 21
    assert [part.found for part in parts] == [1] * 21
    assert [part.problems for part in parts] == [[]] * 20 + [[STOPPED]]
    assert [rows(part) for part in parts] == [rows(part) for part in whole[:21]]
    assert not any(part.problems for part in whole)


def test_of_too_many_calls_those_of_the_newest_files_are_kept_and_each_of_the_others_says_so(
    tmp_path: Path,
) -> None:
    for number in range(100):
        path = tmp_path / f"{number:03d}.log"
        path.write_text(JSON % (number % 60, 1) + JSON % (number % 60, 2))
        os.utime(path, (number, number))
    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=str, limits=Limits(source_size=1 << 40, calls=7))
    names = found.calls["source"].map(lambda name: int(Path(name).stem))
    assert sorted(names) == [96, 97, 97, 98, 98, 99, 99]
    cut = found.calls[names == 96]
    assert cut["line_no"].tolist() == [2]
    assert [each.calls for each in found.coverage] == [0] * 96 + [1, 2, 2, 2]
    assert sum("newer calls were kept" in (each.gap or "") for each in found.coverage) == 97


def test_files_are_read_as_one_in_their_order_and_not_more_than_is_good() -> None:
    rng = random.Random(6)
    jobs = [
        Job(
            n,
            _File(rng.choice((10, 200_000, 250_000, 250_000, 0, 300_000)), n % 3 == 0),
            WINDOW,
            str,
            None,
            n % 7 == 0,
        )
        for n in range(5_000)
    ]
    tasks = small.tasks(jobs, lambda job: job.source % 11 != 5)
    assert sorted(job.source for task in tasks for job in task) == list(range(5_000))
    assert [task[0].source for task in tasks] == sorted(task[0].source for task in tasks)
    for task in tasks:
        assert [job.source for job in task] == sorted(job.source for job in task)
        assert len({(job.about, job.chunk.packed) for job in task}) == 1  # type: ignore[attr-defined]
        assert len(task) == 1 or sum(job.chunk.size for job in task) <= 8 * 1024 * 1024
        assert len(task) == 1 or all(
            0 < job.chunk.size <= 256 * 1024 and job.source % 11 != 5 for job in task
        )
    assert max(map(len, tasks)) > 10


def test_few_small_files_are_spread_over_processes() -> None:
    jobs = [Job(n, _File(100, False), WINDOW, str, None, False) for n in range(640)]
    assert 58 <= len(tasks_of(jobs)) <= 64
    assert [len(task) for task in tasks_of(jobs[:40])] == [1] * 40
    assert max(map(len, tasks_of(jobs * 200))) == 1_000


@dataclass(frozen=True)
class _File:
    size: int
    packed: bool
    anywhere: bool = True

    def open(self, deadline: float | None) -> Any:
        raise NotImplementedError
