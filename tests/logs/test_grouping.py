"""The measure itself: tests/logs/grouping.py prints it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).with_name("grouping.py")))
CSV = "LineId,Content,EventId\n1,user 17 logged in,E1\n2,user 18 logged in,E1\n3,disk full,E2\n"


def test_a_group_counts_only_if_it_is_the_same_set_of_messages() -> None:
    assert SCRIPT["accuracy"](list("aab"), [1, 1, 2]) == 1.0
    assert SCRIPT["accuracy"](list("aaa"), [1, 1, 2]) == 0.0
    assert SCRIPT["accuracy"](list("abc"), [1, 1, 2]) == pytest.approx(1 / 3)


def test_files_are_measured_and_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Shop_2k.log_structured.csv").write_text(CSV)
    assert SCRIPT["main"](str(tmp_path)) == 0
    told = capsys.readouterr().out
    assert "Shop_2k.log_structured" in told
    assert "mean" in told
    assert SCRIPT["main"](str(tmp_path / "nowhere")) == 2
