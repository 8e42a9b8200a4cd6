"""From a citation back to the lines: the same numbers as the reader gives, wherever the source is cut."""

from __future__ import annotations

import gzip
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.raw import BEFORE, BEHIND, around
from klaviyo_nb.logs.reader import read
from klaviyo_nb.logs.sources import base
from klaviyo_nb.window import Window

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
CALL = "2026-11-23T05:00:00Z ERROR klaviyo POST /api/events 429"


def log(lines: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        CALL if rng.random() < 0.02 else f"{'x' * rng.randrange(200)} {number}" for number in range(lines)
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_every_citation_of_the_reader_leads_to_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(base, "RANGE", 100_000)
    lines = log(8_000, seed=1)
    path = tmp_path / ("app.log.gz" if packed else "app.log")
    data = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    calls = read([str(path)], DAY, redact=str).calls
    assert len(calls) == lines.count(CALL)
    for line_no in calls["line_no"].sample(20, random_state=1):
        shown = {line.number: line.text for line in around(str(path), DAY, int(line_no))}
        assert shown[int(line_no)] == CALL
        assert shown == {
            number: lines[number - 1]
            for number in range(max(1, line_no - BEFORE), min(len(lines), line_no + BEHIND) + 1)
        }


@pytest.mark.parametrize("line_no", [1, 3])
def test_the_first_and_the_last_line_can_be_shown(tmp_path: Path, line_no: int) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\r\ntwo\nthree")
    assert {line.number: line.text for line in around(str(path), DAY, line_no)} == {
        1: "one",
        2: "two",
        3: "three",
    }


def test_a_line_behind_the_end_is_refused_with_what_to_type(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\n")
    with pytest.raises(UsageError) as caught:
        around(str(path), DAY, 2)
    assert "has no line 2 now" in str(caught.value)
    assert str(path) in str(caught.value.hint)


def test_a_glob_with_two_files_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.log").write_text("x\n")
    with pytest.raises(UsageError, match="names 2 sources"):
        around(f"{tmp_path}/*.log", DAY, 1)


def test_of_an_endless_line_only_the_beginning_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"y" * 5_000_000 + b"\n" + CALL.encode())
    first, second = around(str(path), DAY, 2)
    assert (set(first.text), len(first.text) < 100_000, second.text) == ({"y"}, True, CALL)
