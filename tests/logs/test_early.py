"""What was read before its turn is told in order, and what is missing before it says so."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from klaviyo_nb.logs.chunks import STOPPED, Job, Part, read_chunk
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


def stretches(file: Job) -> list[Job]:
    assert isinstance(file.chunk, Range)
    whole, taken = Shared(file, file.chunk, SIZE), []
    while (job := whole.take()) is not None:
        taken.append(job)
        whole.saw(read_chunk(job))
    return taken


def lines(part: Part) -> list[int | None]:
    return part.calls["line"].to_pylist() if part.calls.num_rows else []


def test_stretches_in_any_order_are_the_file(file: Job) -> None:
    early = Early()
    for job in reversed(stretches(file)):
        early.take(job, read_chunk(job))
    (part,) = early.of([file.chunk])
    assert lines(part) == list(range(RECORDS))
    assert (part.found, part.problems, part.truncated) == (RECORDS, [], False)
    early.forget(file.chunk)
    assert early.of([file.chunk]) == []


def test_behind_a_stretch_that_is_missing_nobody_knows_the_lines(file: Job) -> None:
    early, jobs = Early(), stretches(file)
    assert len(jobs) > 3
    for job in (*jobs[:1], *jobs[2:]):
        early.take(job, read_chunk(job))
    (part,) = early.of([file.chunk])
    first, missing = (read_chunk(job).found for job in jobs[:2])
    assert lines(part) == [*range(first), *[None] * (RECORDS - first - missing)]
    assert (part.problems, part.truncated) == ([STOPPED], True)


def test_of_a_chunk_the_last_that_was_told_counts_and_one_before_it_says_that_it_gave_nothing(
    file: Job,
) -> None:
    early, whole = Early(), read_chunk(file)
    older = replace(file.chunk)  # equal, and another one
    early.take(file, Part(0, truncated=True, problems=[STOPPED]))
    early.take(file, whole)
    before, told = early.of([older, file.chunk])
    assert (before.problems, before.failed, before.lines) == ([STOPPED], True, 0)
    assert told == whole
    told.problems.append("it is a copy")
    assert whole.problems == []
    assert early.of([file.chunk, older]) == [whole]
