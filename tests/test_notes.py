"""What people note during an incident is kept whole, in order, without secrets, and goes into the evidence."""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import samples
from klaviyo_nb.errors import EvidenceError, ReportError, UsageError
from klaviyo_nb.folder import load, save
from klaviyo_nb.notes import add, path_of, read, with_notes
from klaviyo_nb.redact import Redactor
from test_cli import run

NOW = datetime(2026, 11, 23, 6, 40, tzinfo=UTC)
KEY = "pk_0123456789abcdef0123456789abcdef01"


def noted(out: Path, text: str = "restarted the workers", kind: str = "note", at: datetime = NOW) -> Path:
    return add(out, "INC-7", text, kind=kind, at=at, who="ann", now=NOW, redact=Redactor(b"k" * 16).text)


def test_notes_are_told_in_the_order_of_what_they_tell_of(tmp_path: Path) -> None:
    noted(tmp_path, "second")
    noted(tmp_path, "first", "acknowledged", NOW - timedelta(minutes=5))
    found = read(tmp_path, "INC-7")
    assert found is not None
    assert list(found["text"]) == ["first", "second"]
    assert list(found["kind"]) == ["acknowledged", "note"]
    assert set(found["who"]) == {"ann"}


def test_notes_of_many_people_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: noted(tmp_path, f"note {number}"), range(40)))
    found = read(tmp_path, "INC-7")
    assert found is not None
    assert sorted(found["text"]) == sorted(f"note {number}" for number in range(40))


def test_a_line_that_was_cut_short_takes_no_other_with_it(tmp_path: Path) -> None:
    path = noted(tmp_path)
    path.write_bytes(path.read_bytes() + b"2026-11-23T06:4")
    found = read(tmp_path, "INC-7")
    assert found is not None
    assert list(found["text"]) == ["restarted the workers"]


def test_what_does_not_fit_on_the_disk_leaves_the_other_notes_whole(tmp_path: Path) -> None:
    before = noted(tmp_path).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(ReportError, match="cannot be written"):
            noted(tmp_path, "one more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path_of(tmp_path, "INC-7").read_bytes() == before


@pytest.mark.parametrize("text", ["", " \n ", "\u202e\x00", "x" * 2_001])
def test_a_note_that_says_nothing_or_too_much_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        noted(tmp_path, text)
    assert read(tmp_path, "INC-7") is None


def test_a_note_is_one_harmless_line_without_secrets(tmp_path: Path) -> None:
    path = noted(tmp_path, f"key {KEY}\nof ann@example.com \x1b[31m\u202e =1+1")
    assert KEY not in path.read_text()
    assert "ann@" not in path.read_text()
    found = read(tmp_path, "INC-7")
    assert found is not None
    assert found["text"][0].startswith("key [redacted:klaviyo-key] of email-")
    assert len(path.read_text().splitlines()) == 2


def test_a_file_of_something_else_is_an_error_with_a_hint(tmp_path: Path) -> None:
    path_of(tmp_path, "INC-7").write_text("colour\nred\n")
    with pytest.raises(EvidenceError) as error:
        read(tmp_path, "INC-7")
    assert "mv" in str(error.value.hint)


def test_notes_are_part_of_the_evidence_and_survive_it(tmp_path: Path) -> None:
    noted(tmp_path, "first")
    once = with_notes(samples.rate_limited(), read(tmp_path, "INC-7"))
    save(once, tmp_path / "evidence")
    again = load(tmp_path / "evidence")
    assert again.notes is not None
    assert list(again.notes["text"]) == ["first"]
    noted(tmp_path, "second")
    both = with_notes(again, read(tmp_path, "INC-7")).notes
    assert both is not None
    assert list(both["text"]) == ["first", "second"]
    assert with_notes(again, None) is again


def test_the_command_notes_lists_and_gives_them_to_the_bundle(tmp_path: Path) -> None:
    nothing = run("note", "--incident", "INC-7", cwd=tmp_path)
    assert nothing.returncode == 2
    assert 'try: klaviyo-nb note "what was seen or done" --incident INC-7' in nothing.stderr
    moment = ("--kind", "acknowledged", "--at", "2026-11-23T06:10:00+01:00", "--by", "ann")
    assert run("note", "on it", "--incident", "INC-7", *moment, cwd=tmp_path).returncode == 0
    listed = run("note", "--incident", "INC-7", cwd=tmp_path)
    assert listed.stdout == "2026-11-23 05:10:00 UTC  acknowledged  ann: on it\n"
    wrong = run("note", "x", "--incident", "INC-7", "--at", "soon", cwd=tmp_path)
    assert wrong.returncode == 2
    save(samples.rate_limited(), tmp_path / "evidence")
    sealed = run("bundle", "--evidence", "evidence", "--incident", "INC-7", cwd=tmp_path)
    assert sealed.returncode == 0, sealed.stderr
    assert "on it" in (tmp_path / "reports" / "INC-7" / "evidence" / "notes.csv").read_text()
    late = run("note", "too late", "--incident", "INC-7", cwd=tmp_path)
    assert late.returncode == 2
    assert "sealed" in late.stderr
    assert "bundle --evidence reports/INC-7 --incident INC-7-2" in late.stderr
    assert os.listdir(tmp_path / "reports").count("INC-7.notes.csv") == 1
