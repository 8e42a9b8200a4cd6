"""Verifying: one byte changed anywhere is found; what is missing, extra or odd is named; an intact bundle passes."""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.report import manifest
from klaviyo_nb.report.verify import Problem, Verification, verify
from klaviyo_nb.report.verify import problems as verifying
from mutations import MadeOnce, byte_changed, digits_changed, follows, reseal

Problems = Callable[[Path], dict[str, str]]


def first(path: Path) -> Problem | None:
    """The first problem that verifying comes to: it goes on only while it is asked for more."""
    return next(verifying(path), None)


def test_what_was_sealed_is_intact_as_folder_and_as_archive(made, made_once: MadeOnce) -> None:  # type: ignore[no-untyped-def]
    assert verify(made.bundle.path) == Verification(True, ())
    assert list(verifying(made.bundle.zip, made_once)) == []


def test_one_byte_changed_in_any_file_is_found(copied: Path) -> None:
    rng, names = random.Random(7), manifest.files(copied)
    for name in names:
        with byte_changed(copied / name, rng) as at:
            assert first(copied), (name, at)


def test_one_byte_changed_anywhere_in_the_archive_is_found(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target, rng = Path(shutil.copy(made.bundle.zip, tmp_path)), random.Random(7)
    size, directory = target.stat().st_size, target.read_bytes().rindex(b"PK\x05\x06")
    anywhere = [rng.randrange(size) for _ in range(10)]
    for at in anywhere + [rng.randrange(directory - 3000, size) for _ in range(20)]:
        with byte_changed(target, rng, at):
            assert first(target), at


def test_any_digit_changed_with_its_hashes_mended_is_found_in_all_that_follows_from_the_evidence(
    copied: Path, made_once: MadeOnce
) -> None:
    rng = random.Random(7)
    names = follows(copied)
    assert {"index.html", "postmortem.md", "charts/latency.csv", "charts/latency.svg"} <= set(names)
    for _ in range(3):
        with digits_changed(copied, names, rng) as changed:
            assert len(changed) > 20
            assert set(changed) == {problem.path for problem in verifying(copied, made_once)}


def test_a_picture_exchanged_with_its_hashes_mended_is_found(copied: Path, problems: Problems) -> None:
    shutil.copy(copied / "charts" / "ledger.png", copied / "charts" / "latency.png")
    reseal(copied)
    assert "does not follow" in problems(copied)["charts/latency.png"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/var/log/app.log", "/var/log/other.log"),
        ('"acquired_at": "2026-11-23T07', '"acquired_at": "2026-11-23T08'),
    ],
)
def test_where_a_file_comes_from_follows_from_the_evidence(
    copied: Path, problems: Problems, old: str, new: str
) -> None:
    path = copied / "manifest.json"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    reseal(copied)
    assert set(problems(copied)) == {"manifest.json"}


def test_charts_that_another_version_drew_are_held_to_their_words_and_tables(copied: Path) -> None:
    path = copied / "manifest.json"
    path.write_text(path.read_text("utf-8").replace("matplotlib ", "matplotlib 0."), "utf-8")
    drawing = copied / "charts" / "latency.svg"
    other = drawing.read_text("utf-8").replace("<path d=", '<path id="elsewhere" d=', 1)
    page = copied / "index.html"
    shown = [base64.b64encode(text.encode()).decode() for text in (drawing.read_text("utf-8"), other)]
    drawing.write_text(other, "utf-8")
    page.write_text(page.read_text("utf-8").replace(*shown), "utf-8")
    reseal(copied)
    again = MadeOnce()
    assert list(verifying(copied, again)) == []
    drawing.write_text(
        re.sub("<desc>.*?</desc>", "<desc>all is well</desc>", other, flags=re.DOTALL), "utf-8"
    )
    reseal(copied)
    assert "charts/latency.svg" in {problem.path for problem in verifying(copied, again)}


def test_bytes_added_to_the_archive_are_found(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "longer.zip").write_bytes(made.bundle.zip.read_bytes() + b"\0")
    assert first(tmp_path / "longer.zip")


def test_a_missing_file_is_named(copied: Path, problems: Problems) -> None:
    (copied / "limits.md").unlink()
    assert problems(copied) == {"limits.md": "it is missing"}


def test_an_extra_file_is_named(copied: Path, problems: Problems) -> None:
    (copied / "evidence" / "more.csv").write_text("x")
    assert problems(copied) == {"evidence/more.csv": "it was not sealed with the rest"}


@pytest.mark.parametrize("name", ["manifest.json", "SHA256SUMS", "verdict.json", "evidence/evidence.json"])
def test_no_file_is_beyond_missing(copied: Path, problems: Problems, name: str) -> None:
    (copied / name).unlink()
    assert problems(copied)


def test_a_link_is_refused_before_anything_is_read(copied: Path, problems: Problems) -> None:
    (copied / "limits.md").unlink()
    (copied / "limits.md").symlink_to("/etc/hostname")
    assert problems(copied) == {"limits.md": "it is a symbolic link or no plain file"}


def test_a_pipe_is_refused_and_not_waited_for(copied: Path, problems: Problems) -> None:
    os.mkfifo(copied / "pipe")
    assert list(problems(copied)) == ["pipe"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("postmortem.md", "115", "116"),
        ("verdict.json", '"rate_limited"', '"invalid_key"'),
        ("messages/slack-investigating.md", "profiles", "events"),
        ("limits.md", "3,600", "3,601"),
        ("support-packet/README.md", "GET", "PUT"),
        ("support-packet/calls.csv", ",429,", ",428,"),
    ],
)
def test_a_figure_changed_with_its_hashes_mended_does_not_follow_from_the_evidence(
    copied: Path, problems: Problems, name: str, old: str, new: str
) -> None:
    path = copied / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    reseal(copied)
    assert "does not follow from evidence/" in problems(copied)[name]


@pytest.mark.parametrize(("old", "new"), [('"planted": ', '"planted": 9'), ('"count": 1', '"count": 2')])
def test_redaction_that_is_told_otherwise_with_its_hashes_mended_is_found(
    copied: Path, problems: Problems, old: str, new: str
) -> None:
    path = copied / "redaction.json"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    reseal(copied)
    assert set(problems(copied)) == {"redaction.json"}


def test_evidence_that_is_not_as_it_was_acquired_is_found_though_no_figure_shows_it(
    copied: Path, problems: Problems
) -> None:
    path = copied / "evidence" / "calls.csv"
    path.write_text(path.read_text("utf-8").replace("/var/log/app.log,1,", "/var/log/app.log,9,", 1), "utf-8")
    reseal(copied)
    assert "between acquisition and sealing" in problems(copied)["evidence/calls.csv"]


def test_evidence_changed_with_its_hashes_mended_contradicts_the_texts(
    copied: Path,
) -> None:
    path = copied / "evidence" / "calls.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if ",429," not in line))
    reseal(copied)
    found = {problem.path for problem in verify(copied).problems}
    assert {"verdict.json", "charts/calls_by_status.csv", "index.html"} <= found


def test_a_secret_is_found_though_the_hashes_are_right(copied: Path, problems: Problems) -> None:
    (copied / "charts" / "latency.csv").write_text("x\npk_0123456789abcdef0123456789abcdef01\n")
    reseal(copied)
    assert "klaviyo-key" in problems(copied)["charts/latency.csv"]


def test_text_inside_a_picture_is_found(copied: Path, problems: Problems) -> None:
    path = copied / "charts" / "latency.png"
    data, body = path.read_bytes(), b"tEXtComment\0pk_secret"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:33] + chunk + data[33:])
    reseal(copied)
    assert "carries text" in problems(copied)["charts/latency.png"]


def test_another_schema_is_named(copied: Path, problems: Problems) -> None:
    path = copied / "redaction.json"
    path.write_text(path.read_text().replace("redaction/1", "redaction/9"))
    reseal(copied)
    assert "klaviyo-nb/redaction/9" in problems(copied)["redaction.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"files": [1]}', '{"schema": "klaviyo-nb/manifest/1", "files": null}']
)
def test_a_manifest_that_is_none_is_a_problem_and_no_crash(
    copied: Path, problems: Problems, text: str
) -> None:
    (copied / "manifest.json").write_text(text)
    assert "manifest.json" in problems(copied)


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path, problems: Problems) -> None:
    assert "no sealed bundle" in problems(tmp_path)["SHA256SUMS"]


def test_a_file_that_is_no_archive_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(UsageError) as caught:
        verify(tmp_path / "x.txt")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "INC-7/../../evil", "INC-7//x", "INC-7\\x/y"])
def test_an_archive_that_leads_out_is_refused_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(name, "x")
    assert not verify(tmp_path / "x.zip").intact
    assert not (tmp_path / "evil").exists()


def test_a_compressed_archive_is_no_sealed_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("INC-7/zeros", b"\0" * 1_000_000)
    assert "compressed" in verify(tmp_path / "bomb.zip").problems[0].what


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        link = zipfile.ZipInfo("INC-7/link")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    assert "symbolic link" in verify(tmp_path / "x.zip").problems[0].what
