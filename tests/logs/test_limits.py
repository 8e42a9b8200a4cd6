"""A log that is huge: what is read and kept of it is limited, and what is missing is told."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from klaviyo_nb import logs
from klaviyo_nb.logs.chunks import LATE, Part
from klaviyo_nb.logs.reader import NO_LIMITS
from klaviyo_nb.logs.shelves import Shelf, coverages
from klaviyo_nb.settings import Limits
from klaviyo_nb.window import Window, parse_time

WINDOW = Window(parse_time("2026-11-23T05:00:00Z"), parse_time("2026-11-23T07:00:00Z"))
MUCH = 1 << 40


def lines(first: int, count: int) -> bytes:
    call = {"method": "POST", "url": "https://a.klaviyo.com/api/events", "status": 503}
    times = (f"2026-11-23T06:{at // 60 % 60:02}:{at % 60:02}Z" for at in range(first, first + count))
    return b"".join(json.dumps({"time": time, **call}).encode() + b"\n" for time in times)


def read(*paths: Path, limits: Limits = NO_LIMITS) -> logs.LogsRead:
    return logs.read([str(path) for path in paths], WINDOW, redact=str, limits=limits)


def test_of_too_many_calls_the_newest_of_a_source_are_kept_and_the_rest_is_told(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(lines(0, 100))
    found = read(tmp_path / "app.log", limits=Limits(source_size=MUCH, calls=30))
    assert found.calls["line_no"].tolist() == list(range(71, 101))
    (coverage,) = found.coverage
    assert (coverage.truncated, coverage.calls, coverage.lines) == (True, 30, 100)
    assert "[limits] calls" in str(coverage.gap)


def test_as_many_calls_as_may_be_are_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(lines(0, 100))
    (coverage,) = read(tmp_path / "app.log", limits=Limits(source_size=MUCH, calls=100)).coverage
    assert coverage.whole


@pytest.mark.parametrize(("since", "whole"), [("06:01:10", True), ("06:01:09", False)])
def test_calls_left_out_are_not_missed_where_they_lie_before_what_was_asked_for(
    tmp_path: Path, since: str, whole: bool
) -> None:
    (tmp_path / "app.log").write_bytes(lines(0, 100))
    found = logs.read(
        [str(tmp_path / "app.log")], WINDOW, redact=str, limits=Limits(source_size=MUCH, calls=30),
        since=parse_time(f"2026-11-23T{since}Z"),
    )  # fmt: skip
    assert found.calls["line_no"].tolist() == list(range(71, 101))
    assert (found.coverage[0].whole, found.coverage[0].truncated) == (whole, not whole)


def test_parts_left_out_are_not_missed_where_they_lie_before_what_was_asked_for() -> None:
    since = WINDOW.start + timedelta(minutes=15)
    early, late = (int(each.timestamp() * 1e6) for each in (since - timedelta(seconds=1), since))
    newest = Part(0, lines=9, read=10, first=late, last=late)
    shelf = Shelf("app.log", "app.log", chunks=[_Chunk(10)] * 3)
    for second, whole in (
        (Part(0, lines=9, read=10, first=early, last=late), True),
        (Part(0, lines=9, read=10, first=late, last=late), False),
        (Part(0, lines=9, read=5, first=early, last=late, truncated=True), False),
    ):
        shelf.parts = [newest, second, Part(0, truncated=True, problems=[LATE])]
        (coverage,) = coverages([shelf], WINDOW, since)
        assert (coverage.whole, coverage.skipped_bytes == 0) == (whole, whole)
        (coverage,) = coverages([shelf], WINDOW)
        assert not coverage.whole


def test_an_archive_is_read_so_far_and_cut_at_a_line_border(tmp_path: Path) -> None:
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(lines(0, 9_000)))
    found = read(tmp_path / "app.log.gz", limits=Limits(source_size=400_000, calls=MUCH))
    (coverage,) = found.coverage
    assert 0 < len(found.calls) < 9_000
    assert found.calls["status_code"].eq(503).all()
    assert coverage.truncated
    assert "only its first 400,000 bytes were read ([limits] source_size)" in str(coverage.gap)


@dataclass(frozen=True)
class _Chunk:
    size: int

    def open(self, deadline: float | None) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(("most", "fit"), [(10, 1), (40, 1), (79, 1), (80, 2), (119, 2), (120, 3)])
def test_of_a_file_that_is_too_large_the_newest_parts_are_read(most: int, fit: int) -> None:
    shelf = Shelf("app.log", "app.log", chunks=[_Chunk(40) for _ in range(3)])
    shelf.limit(most)
    assert len(shelf.chunks) == fit
    assert shelf.left_out == 40 * (3 - fit)
    assert (shelf.gap is None) == (fit == 3)


@pytest.mark.parametrize("engine", ["local:1", "local:2"])
def test_of_a_packed_log_that_is_not_read_to_its_end_the_rest_is_counted_as_it_is_stored(
    tmp_path: Path, engine: str
) -> None:
    random = Random(1)
    filler = b"".join(b'{"n":"%s"}\n' % (random.randbytes(15).hex().encode() * 10) for _ in range(300_000))
    packed = gzip.compress(lines(0, 100) + filler, 1)
    (tmp_path / "app.log.gz").write_bytes(packed)
    found = logs.read(
        [str(tmp_path / "app.log.gz")], WINDOW, redact=str, engine=engine,
        limits=Limits(source_size=len(filler) // 4, calls=MUCH),
    )  # fmt: skip
    (coverage,) = found.coverage
    assert len(found.calls) == 100
    assert len(packed) // 2 < coverage.skipped_bytes < len(packed)
