from __future__ import annotations

import bisect
import bz2
import gzip
import lzma
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb import logs
from klaviyo_nb.errors import SourceError
from klaviyo_nb.evidence import TRY
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import base, resolve
from klaviyo_nb.logs.sources.base import RANGE, ranges
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)


def lines(count: int) -> bytes:
    return b"".join(
        b'{"time":"2026-11-23T05:%02d:%02d.%03dZ","msg":"klaviyo","url":"https://a.klaviyo.com/api/events","status":%d}\n'
        % (n // 6000 % 60, n // 100 % 60, n % 1000, 429 if n % 7 == 0 else 202)
        for n in range(count)
    )


def read(*urls: object, **options: object) -> LogsRead:
    return logs.read([str(url) for url in urls], WINDOW, redact=str, **options)  # type: ignore[arg-type]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".log": bytes,
    ".log.gz": gzip.compress,
    ".log.zst": zstandard.ZstdCompressor().compress,
    ".log.bz2": bz2.compress,
    ".log.xz": lzma.compress,
    ".many.gz": lambda data: gzip.compress(data[:5_000]) + gzip.compress(data[5_000:]),
    ".many.zst": lambda data: b"".join(
        map(zstandard.ZstdCompressor().compress, (data[:5_000], data[5_000:]))
    ),
    ".padded.gz": lambda data: gzip.compress(data) + b"\0" * 700,
    ".named-log-but-packed.log": gzip.compress,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_is_read_however_it_is_packed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"app{suffix}"
    path.write_bytes(PACKERS[suffix](lines(3_000)))
    found = read(path)
    (coverage,) = found.coverage
    assert (coverage.lines, coverage.calls, coverage.truncated, coverage.gap) == (3_000, 3_000, False, None)
    assert found.calls["line_no"].tolist() == list(range(1, 3_001))


@pytest.mark.parametrize("suffix", [".log.gz", ".log.zst", ".log.bz2", ".log.xz"])
def test_a_torn_archive_keeps_what_is_readable_and_says_so(tmp_path: Path, suffix: str) -> None:
    data = b"".join(os.urandom(40).hex().encode() + b" klaviyo API error: 503\n" for _ in range(40_000))
    path = tmp_path / f"app{suffix}"
    whole = PACKERS[suffix](data)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    (coverage,) = read(path).coverage
    assert 20_000 < coverage.calls < 40_000
    assert coverage.truncated
    assert coverage.gap is not None
    assert "too early" in coverage.gap


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_all_that_can_be_read_of_a_torn_archive_is_kept(tmp_path: Path, suffix: str, kept: float) -> None:
    # The same bytes each time: of a torn end ISA-L gives up to two bytes less than zlib, which may begin a line.
    chance = random.Random(1)
    data = b"".join(
        b"%s klaviyo API error: 503\n" % chance.randbytes(40).hex().encode() for _ in range(20_000)
    )
    whole = PACKERS[f".log{suffix}"](data)
    torn = whole[: int(len(whole) * kept)]
    inflater = zlib.decompressobj(31) if suffix == ".gz" else zstandard.ZstdDecompressor().decompressobj()
    readable = inflater.decompress(torn)  # type: ignore[attr-defined]
    path = tmp_path / f"app.log{suffix}"
    path.write_bytes(torn)
    (coverage,) = read(path).coverage
    assert readable.count(b"503\n") <= coverage.calls <= readable.count(b"503\n") + 1
    assert coverage.lines == readable.count(b"\n") + (not readable.endswith(b"\n") and bool(readable))
    assert coverage.truncated


@pytest.mark.parametrize(
    ("data", "skipped"),
    [
        (lambda: zstandard.compress(lines(300))[:-5], None),  # one block: none of it can be read
        (lambda: gzip.compress(lines(300)) + b"x" * 900, 900),
        (lambda: gzip.compress(lines(300)) + b"\0" * 70_000 + b"x" * 200_000, 200_000),
        (lambda: zstandard.compress(lines(300)) + b"x" * 900, 900),
        (lambda: bz2.compress(lines(300))[:-5] + b"y" * 900, None),
        (lambda: b"\x1f\x8b" + b"\xff" * 5_000, None),
    ],
    ids=["torn", "behind", "far behind", "behind zstd", "broken end", "broken"],
)
def test_packed_bytes_that_could_not_be_read_are_counted(
    tmp_path: Path, data: Callable[[], bytes], skipped: int | None
) -> None:
    path = tmp_path / "app.log.packed"
    path.write_bytes(data())
    (coverage,) = read(path).coverage
    assert coverage.skipped_bytes == (skipped or path.stat().st_size)


def test_of_a_torn_archive_only_what_gave_no_text_is_skipped(tmp_path: Path) -> None:
    chance = random.Random(1)
    text = b"".join(b"%s%s\n" % (chance.randbytes(16).hex().encode(), b"." * 90) for _ in range(20_000))
    torn = zstandard.compress(text)[:-9_000]

    def inflated(end: int) -> int:
        return len(zstandard.ZstdDecompressor().decompressobj().decompress(torn[:end]))

    unread = len(torn) - bisect.bisect_left(range(len(torn)), inflated(len(torn)), key=inflated)
    assert unread > 4_000
    path = tmp_path / "app.log.zst"
    path.write_bytes(torn)
    (coverage,) = read(path).coverage
    assert unread - 1_024 <= coverage.skipped_bytes <= unread


def test_a_member_that_begins_where_a_piece_of_the_file_ends_is_read(tmp_path: Path) -> None:
    path, first, second = tmp_path / "app.log.gz", gzip.compress(lines(300)), gzip.compress(lines(200))
    path.write_bytes(first + b"\0" * (64 * 1024 - 1 - len(first)) + second)
    (coverage,) = read(path).coverage
    assert (coverage.lines, coverage.skipped_bytes, coverage.gap) == (500, 0, None)


def test_rubbish_in_an_archive_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "app.gz"
    whole = gzip.compress(lines(60_000))
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 1_000 + whole[len(whole) // 2 :])
    (coverage,) = read(path).coverage
    assert coverage.truncated
    assert coverage.calls > 0


@pytest.mark.parametrize(
    ("suffix", "name"), [(".gz", "gzip"), (".zst", "zstd"), (".bz2", "bzip2"), (".xz", "xz")]
)
def test_text_that_is_named_like_an_archive_is_read_and_said_to_be_text(
    tmp_path: Path, suffix: str, name: str
) -> None:
    path = tmp_path / f"app.log{suffix}"
    path.write_bytes(lines(3_000))
    (coverage,) = read(path).coverage
    assert (coverage.lines, coverage.calls, coverage.truncated) == (3_000, 3_000, False)
    assert coverage.gap == f"it is named like {name} and is plain text: read as such"


@pytest.mark.parametrize(
    "data", [random.Random(7).randbytes(5_000), b"\0" * 5_000, b"PK\x03\x04" + random.Random(8).randbytes(900)],
    ids=["random", "zeros", "zip"],
)  # fmt: skip
def test_what_is_named_like_an_archive_and_is_neither_that_nor_text_is_a_gap(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(data)
    (coverage,) = read(path).coverage
    assert (coverage.lines, coverage.calls) == (0, 0)
    assert coverage.gap == "it is named like gzip and is neither that nor text"


def test_an_archive_that_is_rubbish_behind_its_first_bytes_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(b"\x1f\x8b" + random.Random(9).randbytes(5_000))
    (coverage,) = read(path).coverage
    assert coverage.truncated
    assert coverage.gap == "its gzip data is broken: what came before is kept"


def test_an_empty_file_and_an_empty_archive_are_empty_not_broken(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    (tmp_path / "b.log.gz").touch()
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(b""))
    coverage = read(tmp_path / "a.log", tmp_path / "b.log.gz", tmp_path / "c.log.gz").coverage
    assert [(each.lines, each.calls, each.truncated) for each in coverage] == [(0, 0, False)] * 3
    assert coverage[0].gap == "it is empty"


@pytest.fixture
def in_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of 6,000 lines that is read in several ranges."""
    monkeypatch.setattr(base, "RANGE", 100_000)
    path = tmp_path / "app.log"
    path.write_bytes(lines(6_000))
    return path


@given(st.integers(0, 5_000_000_000))
def test_ranges_cover_a_file_of_any_size_once_and_the_last_ones_are_short(size: int) -> None:
    cut = list(ranges(size))
    assert [stop for _, stop in cut] == [*([size] if size else []), *(start for start, _ in cut[:-1])]
    assert not cut or cut[-1][0] == 0
    assert all(0 < stop - start <= (2 if stop > 8 * RANGE else 1) * RANGE for start, stop in cut)


def test_a_large_file_is_cut_into_ranges_the_newest_first(in_ranges: Path) -> None:
    (source,) = resolve(str(in_ranges))
    starts = [chunk.start for chunk in source.chunks(WINDOW)]  # type: ignore[attr-defined]
    assert len(starts) > 5
    assert starts == sorted(starts, reverse=True)
    found = read(in_ranges)
    assert found.calls["line_no"].tolist() == list(range(1, 6_001))
    assert found.coverage[0].lines == 6_000
    data = in_ranges.read_bytes()
    offset, line = found.calls.loc[4_321, ["offset", "line_no"]]
    assert data[:offset].count(b"\n") + 1 == line


def test_at_the_deadline_the_newest_lines_were_read_and_the_rest_is_a_gap(in_ranges: Path) -> None:
    deadline = time.monotonic() + 1.0

    def until_the_deadline(text: str) -> str:  # called when the newest range was read
        while time.monotonic() < deadline:
            pass
        return text

    found = logs.read([str(in_ranges)], WINDOW, redact=until_the_deadline, deadline=deadline)
    (coverage,) = found.coverage
    assert 0 < coverage.calls < 2_000
    assert found.calls["timestamp"].max() == pd.Timestamp("2026-11-23T05:00:59.999Z")
    assert found.calls["line_no"].isna().all()
    assert coverage.truncated
    assert coverage.skipped_bytes > 400_000
    assert coverage.gap == "not read before the deadline"


def test_past_the_deadline_nothing_is_read_and_that_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(lines(10))
    found = read(path, deadline=0.0)
    assert found.calls.empty
    assert found.coverage[0].truncated
    assert found.coverage[0].gap == "not read before the deadline"
    assert found.coverage[0].skipped_bytes == path.stat().st_size


def test_a_file_that_is_replaced_while_it_is_read_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(lines(10))
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    (tmp_path / "new.log").write_bytes(lines(5))
    (tmp_path / "new.log").rename(path)
    with pytest.raises(SourceError, match="replaced"), chunk.open(None):
        pass


def test_a_file_that_is_rotated_while_it_is_read_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(lines(10))
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    path.rename(tmp_path / "app.log.1")
    for new in (False, True):  # the new one comes a moment later
        if new:
            path.write_bytes(lines(3))
        with chunk.open(None) as opened:
            assert opened.read(memoryview(bytearray(10_000))) == len(lines(10))


def test_a_file_that_is_rotated_between_its_ranges_is_read_whole(in_ranges: Path, tmp_path: Path) -> None:

    def rotate(*told: object) -> None:
        if not (tmp_path / "app.log.1").exists():
            in_ranges.rename(tmp_path / "app.log.1")
            in_ranges.write_bytes(lines(3))

    found = read(in_ranges, progress=rotate)
    assert (tmp_path / "app.log.1").exists()
    assert found.calls["line_no"].tolist() == list(range(1, 6_001))
    assert found.coverage[0].gap is None


def test_a_glob_passes_over_folders(tmp_path: Path) -> None:
    (tmp_path / "a.log").mkdir()
    (tmp_path / "b.log").write_bytes(lines(2))
    (coverage,) = read(tmp_path / "*.log").coverage
    assert (coverage.source, coverage.calls, coverage.gap) == (str(tmp_path / "b.log"), 2, None)


def test_a_link_to_nowhere_among_what_a_glob_finds_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to(tmp_path / "gone")
    (tmp_path / "b.log").write_bytes(lines(2))
    assert [each.gap for each in read(tmp_path / "*.log").coverage] == ["no such file", None]


def test_a_file_that_shrinks_while_it_is_read_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(lines(10_000))
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    with chunk.open(None) as opened:
        os.truncate(path, 100)
        memory = memoryview(bytearray(10_000))
        assert opened.read(memory) == 100
        assert opened.read(memory) == 0
    assert opened.truncated
    assert opened.problems == ["it shrank while it was read"]


def test_a_file_that_grows_while_it_is_read_is_read_up_to_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(lines(10))
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(lines(10))
    with chunk.open(None) as opened:
        assert opened.read(memoryview(bytearray(1_000_000))) == size
        assert opened.read(memoryview(bytearray(10))) == 0
    assert not opened.truncated


def test_utf16_is_said_to_be_utf16(tmp_path: Path) -> None:
    path = tmp_path / "app, old.log"
    path.write_bytes("klaviyo API error: 429\n".encode("utf-16"))
    what, _, command = str(read(path).coverage[0].gap).partition(TRY)
    assert what == "its text is UTF-16"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    (coverage,) = read(tmp_path / "utf8.log").coverage
    assert (coverage.lines, coverage.calls, coverage.gap) == (1, 1, None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_seen_without_a_mark_and_in_an_archive(tmp_path: Path, encoding: str) -> None:
    text = "klaviyo API error: 429\n".encode(encoding)
    (tmp_path / "app.log").write_bytes(text)
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(text))
    for name in ("app.log", "app.log.gz"):
        assert str(read(tmp_path / name).coverage[0].gap).partition(TRY)[0] == "its text is UTF-16"


def test_nul_blocks_are_not_taken_for_utf16(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"\0" * 5_000 + b"klaviyo API error: 429\n")
    (coverage,) = read(path).coverage
    assert (coverage.calls, coverage.gap) == (1, None)


def test_standard_input_that_is_closed_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert read("-").coverage[0].gap == f"standard input is closed{TRY}cat app.log | klaviyo-nb logs -"


def test_a_named_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:  # waits for a reader
            pipe.write(lines(200))

    writer = threading.Thread(target=write)
    writer.start()
    found = read(path)
    writer.join()
    assert len(found.calls) == 200
    assert found.calls["offset"].isna().all()


def test_a_pipe_nobody_writes_to_does_not_stop_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = read(tmp_path / "pipe", deadline=time.monotonic() + 0.2)
    assert found.calls.empty
    assert found.coverage[0].gap == "nothing was written to it"


def test_standard_input_is_read_packed_or_not(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import datetime, UTC; from klaviyo_nb import logs; from klaviyo_nb.window import Window\n"
        "w = Window(datetime(2026, 11, 23, 5, tzinfo=UTC), datetime(2026, 11, 23, 7, tzinfo=UTC))\n"
        "found = logs.read(['-'], w, redact=str)\n"
        "print(len(found.calls), found.coverage[0].lines, found.calls['source'].unique().tolist())"
    )
    for data in (lines(500), gzip.compress(lines(500))):
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
        assert done.stdout.decode().strip() == "500 500 ['-']"


def test_input_that_never_ends_is_cut_at_the_deadline(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, lines(50))
        path = f"/dev/fd/{read_end}"
        found = read(path, deadline=time.monotonic() + 0.4)
    finally:
        os.close(write_end)
        os.close(read_end)
    assert len(found.calls) == 50
    assert found.coverage[0].truncated
    assert found.coverage[0].gap == "it was still sending at the deadline"
