from __future__ import annotations

import os
import pickle
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from klaviyo_nb import logs
from klaviyo_nb.errors import SourceDenied, SourceMissing, UsageError
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.logs.sources.base import speaks_of_klaviyo
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)


def test_a_path_and_a_file_url_name_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a log.log"
    path.write_text("x\n")
    assert [source.name for source in resolve(str(path))] == [str(path)]
    assert [source.name for source in resolve(f"file://{tmp_path}/a%20log.log")] == [str(path)]


def test_a_glob_names_its_files_in_order(tmp_path: Path) -> None:
    for name in ("app.log.1", "app.log", "other.txt"):
        (tmp_path / name).write_text("x\n")
    assert [Path(source.name).name for source in resolve(f"{tmp_path}/app*")] == ["app.log", "app.log.1"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "app[1].log"
    path.write_text("x\n")
    assert [source.name for source in resolve(str(path))] == [str(path)]


@pytest.mark.parametrize("text", ["nowhere.log", "nowhere*.log", "", "a\0b"])
def test_what_is_not_there_is_missing(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceMissing):
        resolve(str(tmp_path / text) if text else "/nowhere/")


def test_a_folder_without_journals_is_no_source_and_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as caught:
        resolve(str(tmp_path))
    assert str(caught.value.hint).endswith("*.log*'")


def test_what_may_not_be_read_is_denied(unprivileged: None) -> None:
    with tempfile.TemporaryDirectory() as closed:
        Path(closed).chmod(0)
        with pytest.raises(SourceDenied):
            resolve(f"{closed}/app.log")


def test_an_unknown_scheme_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="not a log source"):
        resolve("gopher://x/y")


def test_a_journald_url_names_a_unit() -> None:
    (source,) = resolve("journald:///web.service")
    assert source.name == "journald:///web.service"
    assert source.arguments == ("--unit=web.service",)  # type: ignore[attr-defined]
    assert resolve("journald:///")[0].arguments == ()  # type: ignore[attr-defined]


def test_a_unit_that_looks_like_an_option_stays_a_unit() -> None:
    assert resolve("journald:///--vacuum-size=1")[0].arguments == ("--unit=--vacuum-size=1",)  # type: ignore[attr-defined]


def test_chunks_can_be_sent_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("x\n")
    chunks = resolve(str(path))[0].chunks(WINDOW)
    assert pickle.loads(pickle.dumps(chunks)) == chunks


@pytest.mark.parametrize(
    ("name", "speaks"),
    [("/var/log/klaviyo.log", True), ("journald:///klaviyo-sync.service", True), ("/srv/klaviyo/app.log", False),
     ("/tmp/klaviyo-nb-1/app.log", False), ("-", False)],
)  # fmt: skip
def test_the_name_of_a_source_says_if_all_of_it_is_about_klaviyo(name: str, speaks: bool) -> None:
    assert speaks_of_klaviyo(name) == speaks


@pytest.mark.parametrize("url", ["loki://[::1/app", "docker://a/b", "k8s://a/b"])
def test_what_is_no_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError):
        resolve(url)


def rotate(tmp_path: Path, name: str, hours_ago: float) -> None:
    path = tmp_path / name
    path.write_text("x\n")
    written = NOW.timestamp() - hours_ago * 3_600
    os.utime(path, (written, written))


def test_a_path_names_what_it_was_rotated_to_as_far_as_the_window_reaches(tmp_path: Path) -> None:
    names = {"app.log": 0, "app.log.1": 0.5, "app.log.2.gz": 1, "app.log-20261123.zst": 1.5, "app.log.3.gz": 3,
             "app.log.old": 0, "app.log2": 0, "app.logs.1": 0, "app.log.1.swp": 0, "xapp.log.1": 0}  # fmt: skip
    for name, hours in names.items():
        rotate(tmp_path, name, hours)
    (tmp_path / "app.log.4").mkdir()
    found = [Path(source.name).name for source in resolve(str(tmp_path / "app.log"), WINDOW)]
    assert found == ["app.log", "app.log.1", "app.log.2.gz", "app.log-20261123.zst"]
    assert [Path(source.name).name for source in resolve(str(tmp_path / "app.log.1"), WINDOW)] == [
        "app.log.1"
    ]


def test_what_a_path_was_rotated_to_is_read_though_nothing_was_written_since(tmp_path: Path) -> None:
    (tmp_path / "app.log.1").write_text("2026-11-23T05:30:00Z klaviyo API error: 503\n")
    found = logs.read([str(tmp_path / "app.log")], WINDOW, redact=str)
    assert [(each.calls, each.gap) for each in found.coverage] == [(0, "no such file"), (1, None)]


def test_a_glob_names_what_it_matches_and_nothing_else(tmp_path: Path) -> None:
    for name in ("app.log", "app.log.1"):
        rotate(tmp_path, name, 0)
    assert [Path(source.name).name for source in resolve(f"{tmp_path}/*.log", WINDOW)] == ["app.log"]


def test_one_file_of_a_glob_that_is_not_there_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b.log").write_text("2026-11-23T05:30:00Z klaviyo API error: 503\n")
    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=str)
    assert len(found.calls) == 1
    assert found.coverage[0].gap == "no such file"
