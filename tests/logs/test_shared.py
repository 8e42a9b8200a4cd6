"""A packed file that several processes read gives what one process finds in it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klaviyo_nb import logs
from klaviyo_nb.logs.chunks import LATE, Job, Part, Task, read_chunks
from klaviyo_nb.logs.questions import by_name
from klaviyo_nb.logs.shared import Shared, shared
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.logs.sources.base import UNENDED
from klaviyo_nb.logs.sources.files import Range
from klaviyo_nb.logs.understood import micros
from klaviyo_nb.window import Window, parse_time

WINDOW = Window(parse_time("2026-11-23T05:00:00Z"), parse_time("2026-11-23T07:00:00Z"))
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "many.gz": lambda data: gzip.compress(data[: len(data) // 3]) + gzip.compress(data[len(data) // 3 :]),
    "zst": zstandard.ZstdCompressor().compress,
}
CALL = b'{"time":"2026-11-23T05:10:%02dZ","method":"POST","url":"https://a.klaviyo.com/api/events","status":%d}\n'
TRACE = (
    b"2026-11-23 05:20:%02d ERROR sync failed\nTraceback (most recent call last):\n"
    b'  File "sync.py", line 3, in push\nklaviyo_api.ApiException: (429)\nReason: Too Many Requests\n'
)
NOISE = b"2026-11-23 05:30:00 INFO order %d paid\n"


def text(seed: int, records: int) -> bytes:
    rng = random.Random(seed)
    kinds = (
        lambda n: CALL % (n % 60, rng.choice((202, 429))),
        lambda n: TRACE % (n % 60),
        lambda n: NOISE % n,
    )
    return b"".join(rng.choice(kinds)(n) for n in range(records))


def job_of(path: Path, **options: object) -> Job:
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    return replace(Job(0, chunk, WINDOW, str, None, about=False), **options)  # type: ignore[arg-type]


def stretched(job: Job, size: int, pick: Callable[[int], int] = lambda count: 0, hands: int = 1) -> Part:
    """What the file gives in stretches, of which so many are out at once and come back in any order."""
    assert isinstance(job.chunk, Range)
    whole = Shared(job, job.chunk, size)
    out: list[tuple[int, Task]] = []
    parts: dict[int, list[Part]] = {}
    given = 0
    while True:
        while len(out) < hands and (taken := whole.take()) is not None:
            out.append((given, taken))
            given += 1
        if not out:
            return whole.whole([parts[number] for number in range(given)])[0]
        number, taken = out.pop(pick(len(out)))
        parts[number] = read_chunks(taken)
        whole.saw(parts[number])


def rows(part: Part) -> list[dict[str, object]]:
    return sorted(part.calls.rows().to_pylist(), key=lambda row: row["line"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    records=st.integers(0, 900),
    size=st.integers(300, 40_000),
    kind=st.sampled_from(sorted(PACK)),
    ends=st.sampled_from([b"", b"\n", b"2026-11-23 05:30:00 INFO no line break behind it"]),
    hands=st.integers(1, 4),
)
def test_stretches_give_together_what_the_whole_gives(
    tmp_path: Path, seed: int, records: int, size: int, kind: str, ends: bytes, hands: int
) -> None:
    path = tmp_path / f"app.log.{kind}"
    path.write_bytes(PACK[kind](text(seed, records) + ends))
    job = job_of(path)
    part, whole = stretched(job, size, random.Random(seed).randrange, hands), read_chunks([job])[0]
    assert rows(part) == rows(whole)
    assert (part.lines, part.found, part.unparsed) == (whole.lines, whole.found, whole.unparsed)
    if (
        whole.first is not None and whole.last is not None
    ):  # times are also seen where stretches begin and end
        assert part.first is not None
        assert part.last is not None
        assert part.first <= whole.first <= whole.last <= part.last
    assert (part.truncated, part.failed, part.problems) == (False, False, [])


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("hands", [1, 3])
def test_a_torn_archive_gives_all_that_can_be_read_and_says_so_once(
    tmp_path: Path, kind: str, hands: int
) -> None:
    path = tmp_path / f"app.log.{kind}"
    before, behind = (random.Random(n).randbytes(400_000).hex("\n", 40).encode() + b"\n" for n in (3, 4))
    path.write_bytes(PACK[kind](before + text(1, 300) + behind)[:-100_000])
    job = job_of(path)
    part, whole = stretched(job, 50_000, hands=hands), read_chunks([job])[0]
    assert rows(part) == rows(whole)
    assert part.found > 100
    assert (part.truncated, part.failed) == (True, False)
    assert part.problems == whole.problems
    assert part.lines == whole.lines


def test_the_limit_of_a_source_ends_it_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(CALL % (7, 429) * 10_000))
    part = stretched(job_of(path, most=100_000), 30_000)
    assert 0 < part.found < 2_000
    assert part.truncated
    assert part.problems == ["only its first 100,000 bytes were read ([limits] source_size)"]
    part = stretched(job_of(path, most=10**9), 30_000)
    assert (part.found, part.truncated) == (10_000, False)


def test_behind_a_stretch_that_was_not_read_to_its_end_lines_are_not_known(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(CALL % (7, 429) * 1_000))
    job = job_of(path)
    assert isinstance(job.chunk, Range)
    whole = Shared(job, job.chunk, 20_000)
    tasks = [taken for taken in (whole.take() for _ in range(4)) if taken is not None]
    parts = [read_chunks(tasks[0]), [Part.lost(tasks[1][0], LATE)], *map(read_chunks, tasks[2:])]
    for part in parts:
        whole.saw(part)
    assert whole.take() is None
    (told,) = whole.whole(parts)
    known = [row["line"] for row in told.calls.rows().to_pylist() if row["line"] is not None]
    assert sorted(known) == list(range(parts[0][0].found))
    assert told.found == sum(part.found for (part,) in parts) > len(known)
    assert (told.truncated, told.failed, told.problems) == (True, False, [UNENDED])


def test_the_latest_time_outside_the_window_is_that_of_all_stretches(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    late = CALL.replace(b"05:10:%02d", b"09:%02d:10")
    path.write_bytes(gzip.compress(b"".join(late % (n // 20, 429) for n in range(1_000)) + CALL % (7, 429)))
    assert stretched(job_of(path), 20_000).outside == read_chunks([job_of(path)])[0].outside
    assert stretched(job_of(path), 20_000).outside == micros(parse_time("2026-11-23T09:49:10Z"))


def test_a_deadline_that_has_come_leaves_it_unread(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(CALL % (7, 429) * 1_000))
    part = stretched(job_of(path, deadline=time.monotonic() - 1), 20_000)
    assert (part.truncated, part.failed, part.problems) == (True, True, [LATE])


def test_a_file_that_is_replaced_meanwhile_is_a_problem_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(CALL % (7, 429) * 1_000))
    job = job_of(path)
    path.rename(tmp_path / "elsewhere")
    path.write_bytes(gzip.compress(b"another\n"))
    part = stretched(job, 20_000)
    assert (part.found, part.truncated, part.failed) == (0, True, True)
    assert part.problems == ["it was replaced while it was read"]


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_two_processes_find_the_same_in_a_large_archive_as_one(tmp_path: Path, kind: str) -> None:
    noise = random.Random(5).randbytes(7_000_000).hex("\n", 40).encode() + b"\n"
    data = b"".join(noise[at : at + 900_000] + b"\n" + text(at, 60) for at in range(0, len(noise), 900_000))
    path = tmp_path / f"app.log.{kind}"
    path.write_bytes(gzip.compress(data, 1) if kind == "gz" else PACK[kind](data))
    assert shared([job_of(path)]) is not None
    one, two = (logs.read([str(path)], WINDOW, redact=str, engine=name) for name in ("local:1", "local:2"))
    assert len(one.calls) > 500
    assert one.calls.equals(two.calls)
    assert one.coverage == two.coverage
    asked = [
        logs.ask(by_name("templates"), [str(path)], WINDOW, redact=str, engine=name).answer.rows
        for name in ("local:1", "local:2")
    ]
    assert asked[0].equals(asked[1])
    assert len(asked[0])


def test_nothing_stays_open_and_no_thread_is_left(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(CALL % (7, 429) * 1_000))

    before = threading.active_count()
    stretched(job_of(path), 20_000)
    assert str(path) not in [
        os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")
    ]
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["app.log.bz2", "app.log.xz", "small.gz"])
def test_what_is_slow_to_inflate_or_small_is_not_shared(tmp_path: Path, name: str) -> None:
    data = random.Random(1).randbytes(5_000_000)
    path = tmp_path / name
    pack = {
        "bz2": bz2.compress,
        "xz": lambda data: lzma.compress(data, preset=0),
        "gz": lambda data: gzip.compress(data[:9]),
    }
    path.write_bytes(pack[path.suffix[1:]](data))
    assert shared([job_of(path)]) is None
