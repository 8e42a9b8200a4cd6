"""What was read before its turn is told in order, and what is missing before it says so."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from klaviyo_nb.logs.chunks import STOPPED, Job, Part, Task, read_chunks
from klaviyo_nb.logs.early import Early
from klaviyo_nb.logs.shared import Shared
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.logs.sources.files import Range
from klaviyo_nb.window import Window, parse_time

WINDOW = Window(parse_time("2026-11-23T05:00:00Z"), parse_time("2026-11-23T07:00:00Z"))
CALL = b'{"time":"2026-11-23T05:10:%02dZ","method":"POST","url":"https://a.klaviyo.com/api/events","status":503}\n'
RECORDS, SIZE = 60, 2_000


@pytest.fixture
def file(tmp_path: Path) -> Job:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"".join(CALL % n for n in range(RECORDS))))
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    return Job(0, chunk, WINDOW, str, None, about=False)


def stretches(file: Job) -> list[Task]:
    assert isinstance(file.chunk, Range)
    whole, taken = Shared(file, file.chunk, SIZE), []
    while (task := whole.take()) is not None:
        taken.append(task)
        whole.saw(read_chunks(task))
    return taken


def lines(part: Part) -> list[int | None]:
    return part.calls.rows()["line"].to_pylist() if part.calls.count else []


def test_stretches_in_any_order_are_the_file(file: Job) -> None:
    early = Early()
    for task in reversed(stretches(file)):
        early.take(task, read_chunks(task))
    (part,) = early.of([file.chunk])
    assert lines(part) == list(range(RECORDS))
    assert (part.found, part.problems, part.truncated) == (RECORDS, [], False)
    early.forget(file.chunk)
    assert early.of([file.chunk]) == []


def test_behind_a_stretch_that_is_missing_nobody_knows_the_lines(file: Job) -> None:
    early, tasks = Early(), stretches(file)
    assert len(tasks) > 3
    for task in (*tasks[:1], *tasks[2:]):
        early.take(task, read_chunks(task))
    (part,) = early.of([file.chunk])
    first, missing = (read_chunks(task)[0].found for task in tasks[:2])
    assert lines(part) == [*range(first), *[None] * (RECORDS - first - missing)]
    assert (part.problems, part.truncated) == ([STOPPED], True)


def test_of_a_chunk_the_last_that_was_told_counts_and_one_before_it_says_that_it_gave_nothing(
    file: Job,
) -> None:
    early, (whole,) = Early(), read_chunks([file])
    older = replace(file.chunk)  # equal, and another one
    early.take([file], [Part(0, truncated=True, problems=[STOPPED])])
    early.take([file], [whole])
    before, told = early.of([older, file.chunk])
    assert (before.problems, before.failed, before.lines) == ([STOPPED], True, 0)
    assert told == whole
    told.problems.append("it is a copy")
    assert whole.problems == []
    assert early.of([file.chunk, older]) == [whole]
