"""What was compiled is kept between runs, and nothing depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEKS = """
import sys
from klaviyo_nb.sought import Sought
print(Sought([each.encode() for each in sys.argv[2:]], keep=sys.argv[1] or None).ends(b"one two three"))
"""
REDACTS = """
from klaviyo_nb.redact import Redactor
redactor = Redactor(b"key", secrets=["configured-9d1f7c22"])
print(redactor.text("password=hunter2-51f3a9 configured-9d1f7c22"), redactor.text("again hunter2-51f3a9"))
"""


def run(script: str, folder: Path, *arguments: str, **environment: str) -> str:
    """What a process says whose bytecode goes to that folder."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = plain | {"PYTHONPYCACHEPREFIX": str(folder)} | environment
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=env, check=True, capture_output=True, text=True
    )
    return done.stdout


def kept_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.hyperscan*"))


def test_what_was_compiled_once_is_read_by_the_next_process(tmp_path: Path) -> None:
    found = run(SEEKS, tmp_path, "words", "t[wh]")
    (kept,) = kept_in(tmp_path)
    before = kept.stat().st_mtime_ns
    assert run(SEEKS, tmp_path, "words", "t[wh]") == found == "[(0, 6), (0, 10)]\n"
    assert kept.stat().st_mtime_ns == before  # else it was compiled and written again


def test_other_expressions_under_the_same_name_are_compiled_anew(tmp_path: Path) -> None:
    run(SEEKS, tmp_path, "words", "t[wh]")
    assert run(SEEKS, tmp_path, "words", "one") == "[(0, 3)]\n"
    assert run(SEEKS, tmp_path, "words", "one", "two") == "[(0, 3), (1, 7)]\n"
    assert len(kept_in(tmp_path)) == 1


@pytest.mark.parametrize("at", [0, 31, 32, 48, 60, 200, -1])
def test_what_is_damaged_is_compiled_anew(tmp_path: Path, at: int) -> None:
    run(SEEKS, tmp_path, "words", "t[wh]")
    (kept,) = kept_in(tmp_path)
    whole = kept.read_bytes()
    for damaged in (
        whole[:at],
        bytes([*whole[:at], whole[at] ^ 1, *whole[len(whole) + at + 1 if at < 0 else at + 1 :]]),
    ):
        kept.write_bytes(damaged)
        assert run(SEEKS, tmp_path, "words", "t[wh]") == "[(0, 6), (0, 10)]\n"
        assert kept.read_bytes() == whole


def test_where_nothing_can_be_written_all_is_found_and_nothing_is_kept(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    assert run(SEEKS, no_folder, "words", "one") == "[(0, 3)]\n"
    assert run(SEEKS, tmp_path, "words", "one", PYTHONDONTWRITEBYTECODE="1") == "[(0, 3)]\n"
    assert not kept_in(tmp_path)


def test_no_secret_is_kept(tmp_path: Path) -> None:
    assert "hunter2" not in run(REDACTS, tmp_path)  # it was learnt, and looked for
    run(SEEKS, tmp_path, "", "hunter2")
    kept = kept_in(tmp_path)
    assert {each.stem for each in kept} >= {"clues", "breaks"}
    for each in kept:
        assert not any(secret in each.read_bytes() for secret in (b"hunter2-51f3a9", b"9d1f7c22"))
