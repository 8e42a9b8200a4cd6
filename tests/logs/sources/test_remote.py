"""Files by URLs that fsspec knows: its memory, its local files, and a web server."""

from __future__ import annotations

import gzip
import random
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem

from klaviyo_nb import logs
from klaviyo_nb.errors import SourceError, SourceMissing, UsageError
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import base, remote, resolve
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)


def lines(count: int) -> bytes:
    return b"".join(
        b'{"time":"2026-11-23T05:%02d:%02d.%03dZ","msg":"klaviyo %d","url":"https://a.klaviyo.com/api/events","status":429}\n'
        % (n // 6000 % 60, n // 100 % 60, n % 1000, n)
        for n in range(count)
    )


def read(url: str, **options: Any) -> LogsRead:
    return logs.read([url], WINDOW, redact=str, **options)


@pytest.fixture
def put() -> Iterator[Callable[[str, bytes], None]]:
    """`put("bucket/app.log", data)` puts it into fsspec's memory."""
    system = fsspec.filesystem("memory")
    yield lambda path, data: system.pipe_file(f"/{path}", data)
    system.rm("/", recursive=True)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("app.log", bytes), ("app.log.gz", gzip.compress), ("app.log.zst", zstandard.ZstdCompressor().compress),
     ("packed-but-named.log", gzip.compress)],
)  # fmt: skip
def test_a_file_is_read_however_it_is_packed(
    put: Callable[[str, bytes], None], name: str, pack: Callable[[bytes], bytes]
) -> None:
    put(f"bucket/{name}", pack(lines(3_000)))
    found = read(f"memory://bucket/{name}")
    (coverage,) = found.coverage
    assert (coverage.source, coverage.lines, coverage.calls) == (f"memory://bucket/{name}", 3_000, 3_000)
    assert (coverage.gap, coverage.truncated) == (None, False)
    assert found.calls["line_no"].tolist() == list(range(1, 3_001))


def test_a_name_that_promises_an_archive_is_not_believed(put: Callable[[str, bytes], None]) -> None:
    put("bucket/text.gz", lines(3_000))
    put("bucket/noise.gz", random.Random(7).randbytes(5_000))
    found = logs.read(["memory://bucket/text.gz", "memory://bucket/noise.gz"], WINDOW, redact=str)
    assert [(each.calls, each.gap) for each in found.coverage] == [
        (3_000, "it is named like gzip and is plain text: read as such"),
        (0, "it is named like gzip and is neither that nor text"),
    ]


def test_ranges_lose_and_double_nothing_and_keep_their_offsets(
    put: Callable[[str, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "RANGE", 100_000)
    monkeypatch.setattr(remote, "_PIECE", 7_001)
    data = lines(6_000)
    put("bucket/app.log", data)
    assert len(resolve("memory://bucket/app.log")[0].chunks(WINDOW)) > 5
    found = read("memory://bucket/app.log")
    assert found.calls["line_no"].tolist() == list(range(1, 6_001))
    offset, line = found.calls.loc[4_321, ["offset", "line_no"]]
    assert data[:offset].count(b"\n") + 1 == line


def test_a_glob_names_its_files(put: Callable[[str, bytes], None]) -> None:
    for name in ("app.log", "app.log.1", "other.txt"):
        put(f"bucket/{name}", lines(1))
    assert [source.name for source in resolve("memory://bucket/app*")] == [
        "memory://bucket/app.log",
        "memory://bucket/app.log.1",
    ]
    assert len(read("memory://bucket/app*").calls) == 2


def test_a_torn_archive_keeps_what_is_readable(put: Callable[[str, bytes], None]) -> None:
    put("bucket/app.gz", gzip.compress(lines(60_000))[:-40_000])
    (coverage,) = read("memory://bucket/app.gz").coverage
    assert coverage.calls > 0
    assert coverage.truncated


def test_what_is_missing_empty_or_a_folder_is_a_gap(put: Callable[[str, bytes], None]) -> None:
    put("bucket/empty.log", b"")
    gaps = [
        read(f"memory://bucket/{name}").coverage[0].gap for name in ("none.log", "none*.log", "empty.log", "")
    ]
    assert gaps == ["no such file", "no file matches", "it is empty", "it is a folder"]


def test_a_file_that_shrinks_or_is_replaced_is_truncated(put: Callable[[str, bytes], None]) -> None:
    put("bucket/app.log", lines(1_000))
    (chunk,) = resolve("memory://bucket/app.log")[0].chunks(WINDOW)
    put("bucket/app.log", lines(10))
    with chunk.open(None) as opened:
        while opened.read(memoryview(bytearray(1_000_000))):
            pass
    assert opened.truncated
    assert opened.problems == ["it shrank while it was read"]


def test_past_the_deadline_nothing_is_asked(put: Callable[[str, bytes], None]) -> None:
    (coverage,) = read("memory://bucket/app.log", deadline=time.monotonic() - 1).coverage
    assert coverage.gap is not None


class Versioned(MemoryFileSystem):  # type: ignore[misc]
    """The same memory, whose files are asked for as s3fs has it: a version stands before the bytes."""

    protocol = "versioned"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.removeprefix("versioned://")))

    def cat_file(
        self, path: str, version_id: str | None = None, start: int | None = None, end: int | None = None
    ) -> bytes:
        assert version_id is None
        return bytes(super().cat_file(path, start, end))


def test_bytes_of_a_storage_that_keeps_versions_are_those_that_were_asked_for(
    put: Callable[[str, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("versioned", f"{__name__}.Versioned", clobber=True)
    monkeypatch.setattr(base, "RANGE", 100_000)
    put("bucket/app.log", lines(3_000))
    (coverage,) = read("versioned://bucket/app.log").coverage
    assert (coverage.calls, coverage.gap) == (3_000, None)


def test_a_glob_within_an_archive_names_files_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.log").write_bytes(lines(1))  # of the same name, and not asked for
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("logs.zip", "w") as archive:
        archive.writestr("app.log", lines(20))
        archive.writestr("old/app.log", lines(30))
    found = logs.read(["zip://*.log::logs.zip", "zip://old/*::logs.zip"], WINDOW, redact=str)
    assert [(each.source, each.calls) for each in found.coverage] == [
        ("zip://app.log::logs.zip", 20),
        ("zip://old/app.log::logs.zip", 30),
    ]


def test_a_storage_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "requests", "aiohttp"):
        monkeypatch.setitem(sys.modules, name, None)
    found = logs.read(["s3://bucket/app.log", "https://host/app.log"], WINDOW, redact=str)
    assert [each.gap for each in found.coverage] == [
        "its library is not installed: pip install s3fs",
        "its library is not installed: pip install requests aiohttp",
    ]


def test_without_fsspec_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="needs fsspec") as caught:
        resolve("s3://bucket/app.log")
    assert str(caught.value.hint).startswith("pip install 'klaviyo-nb[remote]'")


def test_what_fsspec_does_not_know_is_no_source() -> None:
    with pytest.raises(UsageError, match="not a log source"):
        resolve("gopher://host/app.log")


def test_credentials_are_never_shown() -> None:
    (source,) = resolve("ftp://user:s3cret@host/app.log")
    assert "s3cret" not in repr(source)
    assert source.name == "ftp://host/app.log"


def test_errors_of_a_storage_are_ours(tmp_path: Path) -> None:
    class Odd(Exception):
        pass

    with pytest.raises(SourceError, match="cannot be read: Odd: it broke"), remote._translated("x://y"):
        raise Odd("it  broke")
    with pytest.raises(SourceMissing, match="pip install paramiko"), remote._translated("sftp://y"):
        raise ImportError('SFTPFileSystem requires "paramiko" to be installed')
