from __future__ import annotations

import itertools
import json
import random
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import journals
import pytest
from hypothesis import HealthCheck, given, settings

from klaviyo_nb import logs
from klaviyo_nb.errors import SourceError
from klaviyo_nb.logs.raw import around
from klaviyo_nb.logs.sources import Chunk, resolve
from klaviyo_nb.logs.sources.journals.files import JournalFiles, Span
from klaviyo_nb.logs.sources.journals.journalctl import Journal
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)
#: Fields of the header: flags, state, how many entries, where their first array is, when the last was written.
FLAGS, STATE, ENTRIES, ENTRY_ARRAY, LAST = 12, 16, 152, 176, 192
ONLINE, ARCHIVED = 1, 2
#: Of the entries of a kept file, those that belong to a record with a word.
RECORDS = [0, *range(2, 14), 15, 16]
Told = tuple[list[dict[str, Any]], list[str]]


def minute(number: float) -> datetime:
    return WINDOW.start + timedelta(minutes=number)


def told(path: Path, window: Window = WINDOW) -> Told:
    """Lines of a source, the oldest first, and what it says is missing."""
    (source,) = resolve(str(path), window)
    return given_by(source.chunks(window))


def given_by(chunks: Sequence[Chunk]) -> Told:
    lines, problems, memory = b"", list[str](), bytearray(1 << 20)
    for chunk in reversed(chunks):
        try:
            with chunk.open(None) as opened:
                while got := opened.read(memoryview(memory)):
                    lines += memory[:got]
        except SourceError as exc:
            problems.append(exc.what)
        else:
            problems += opened.problems
    return [json.loads(line) for line in lines.splitlines()], problems


def as_journalctl_does(path: Path, window: Window = WINDOW) -> list[dict[str, Any]]:
    which = f"--directory={path}" if path.is_dir() else f"--file={path}"
    chunks = reversed(Journal(str(path), (which,), (str(path),)).chunks(window))
    done = [subprocess.run(each.command(), capture_output=True, check=False) for each in chunks]  # type: ignore[attr-defined]
    assert all(each.returncode in (0, 1) and not each.stderr for each in done), done
    return [json.loads(line) for each in done for line in each.stdout.splitlines()]


def changed(path: Path, at: int, layout: str, *values: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, at, *values)
    path.write_bytes(data)


@pytest.fixture
def no_journalctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.fixture
def remote(need: Callable[[str], str]) -> None:
    need("journalctl")
    if not Path(journals.REMOTE).exists():
        need("systemd-journal-remote")


@pytest.mark.usefixtures("no_journalctl")
@pytest.mark.parametrize("name", ["plain", "compact"])
def test_a_copied_file_is_read_where_there_is_no_journalctl(tmp_path: Path, name: str) -> None:
    path, _ = journals.kept(name, tmp_path)
    found = logs.read([str(path)], WINDOW, redact=str)
    assert found.calls["status_code"].tolist() == [503, 502, 401, 429, 429, 500, 503]
    assert set(found.calls["host"]) == {"web-1", "web-2"}
    assert found.webhooks["outcome"].tolist() == ["bad_signature"]
    assert found.calls["timestamp"].iloc[0] == WINDOW.start + timedelta(minutes=1)
    (coverage,) = found.coverage
    assert (coverage.calls, coverage.gap, coverage.truncated) == (7, None, False)
    assert coverage.got == Window(WINDOW.start + timedelta(minutes=1), minute(24) + timedelta(microseconds=1))


@pytest.mark.usefixtures("no_journalctl")
@pytest.mark.parametrize("name", ["plain", "compact"])
@pytest.mark.parametrize("way", [None, "XZ", "LZ4"])
def test_lines_are_those_that_journalctl_printed(tmp_path: Path, name: str, way: str | None) -> None:
    path, printed = journals.kept(
        name, tmp_path, "klaviyo.journal"
    )  # about it as a whole: all lines are wanted
    if way is not None:
        assert len(journals.compressed(path, way)) == (2 if name == "plain" else 0)
    assert told(path) == (printed, [])
    assert told(path.rename(tmp_path / "web.journal")) == ([printed[each] for each in RECORDS], [])


@pytest.mark.usefixtures("no_journalctl")
def test_keys_come_in_one_order(tmp_path: Path) -> None:
    path, _ = journals.kept("plain", tmp_path)
    orders = {tuple(key for key in line if key != "CONTAINER_NAME") for line in told(path)[0]}
    assert len(orders) == 1


@pytest.mark.usefixtures("no_journalctl")
def test_both_ends_of_a_span_are_in_it_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path, printed = journals.kept("compact", tmp_path, "klaviyo.journal")
    assert told(path, Window(minute(3), minute(21)))[0] == printed[2:13]
    assert told(path, Window(minute(3), minute(21) + timedelta(microseconds=1)))[0] == printed[2:14]
    assert told(path, Window(minute(3) + timedelta(microseconds=1), minute(21)))[0] == printed[3:13]


@pytest.mark.usefixtures("no_journalctl")
def test_a_citation_leads_to_its_line(tmp_path: Path) -> None:
    path, printed = journals.kept("compact", tmp_path)
    line_no = int(logs.read([str(path)], WINDOW, redact=str).calls["line_no"].iloc[1])
    (line,) = [line for line in around(str(path), WINDOW, line_no) if line.number == line_no]
    assert json.loads(line.text) == printed[2]


@pytest.mark.usefixtures("no_journalctl")
def test_a_newer_format_is_a_gap_that_says_so(tmp_path: Path) -> None:
    path, _ = journals.kept("compact", tmp_path)
    changed(path, FLAGS, "<I", 1 << 5 | 0b11100)
    (coverage,) = logs.read([str(path)], WINDOW, redact=str).coverage
    assert coverage.gap == "web.journal: its format is newer than what is known here (flags 0x20)"
    assert coverage.truncated


def test_of_a_newer_format_journalctl_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    new, _ = journals.kept("compact", tmp_path, "new.journal")
    changed(new, FLAGS, "<I", 1 << 5 | 0b11100)
    journals.kept("plain", tmp_path)
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor each; do [ "$each" = --file={new} ] && cat {journals.KEPT}/compact.json; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    window = Window(minute(0), minute(9))
    (coverage,) = logs.read([str(tmp_path)], window, redact=str).coverage
    assert (coverage.lines, coverage.gap) == (17 + 4, None)


@pytest.mark.parametrize("content", [b"", b"LPKSHHRH", b"no journal at all " * 100])
def test_what_is_no_journal_is_a_gap_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    program = tmp_path / "bin" / "journalctl"  # which names no file when it says so, and is not asked
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho Failed to open files: No data available >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    journals.kept("compact", tmp_path)
    (tmp_path / "broken.journal").write_bytes(content)
    found = logs.read([str(tmp_path)], WINDOW, redact=str)
    assert len(found.calls) == 7
    assert str(found.coverage[0].gap).startswith("broken.journal: it is ")
    assert found.coverage[0].truncated


@pytest.mark.usefixtures("no_journalctl")
def test_a_file_that_may_not_be_read_is_denied(unprivileged: None) -> None:
    with tempfile.NamedTemporaryFile(suffix=".journal") as file:
        Path(file.name).chmod(0)
        (coverage,) = logs.read([file.name], WINDOW, redact=str).coverage
        assert coverage.gap == "permission denied"


@pytest.mark.usefixtures("no_journalctl")
@pytest.mark.parametrize("state", [ONLINE, ARCHIVED])
def test_a_file_is_read_while_it_is_written_and_when_it_is_full(tmp_path: Path, state: int) -> None:
    path, _ = journals.kept("compact", tmp_path)
    whole = told(path)
    changed(path, STATE, "<B", state)
    assert len(whole[0]) == len(RECORDS)
    assert told(path) == whole


@pytest.mark.usefixtures("no_journalctl")
def test_entries_behind_the_end_that_an_open_file_told_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "klaviyo"
    folder.mkdir()
    path, printed = journals.kept("compact", folder)
    later, _ = journals.kept("plain", folder, "later.journal")
    changed(path, LAST, "<Q", int(printed[3]["__REALTIME_TIMESTAMP"]))
    changed(later, LAST - 8, "<2Q", *[round(minute(30).timestamp() * 1e6)] * 2)
    later.write_bytes(later.read_bytes()[:1_000])  # nothing is left of it
    window = Window(minute(20), minute(22))
    assert told(folder, window)[0] == []
    changed(path, STATE, "<B", ONLINE)
    assert told(folder, window)[0] == printed[12:14]


@pytest.mark.usefixtures("no_journalctl")
def test_a_file_that_journald_renamed_meanwhile_is_found_again(tmp_path: Path) -> None:
    path, _ = journals.kept("compact", tmp_path)
    whole = told(path)
    chunks = resolve(str(path), WINDOW)[0].chunks(WINDOW)
    full = path.rename(tmp_path / "system@1-2-3.journal")
    journals.kept("plain", tmp_path)  # a new one in its place
    assert given_by(chunks) == whole
    full.unlink()
    assert given_by(chunks) == ([], ["web.journal: it is gone"])


@pytest.mark.usefixtures("no_journalctl")
@pytest.mark.parametrize("name", ["plain", "compact"])
def test_entries_are_found_without_the_arrays_that_lead_to_them(tmp_path: Path, name: str) -> None:
    path, _ = journals.kept(name, tmp_path)
    whole = told(path)
    changed(path, ENTRY_ARRAY, "<Q", 8)
    assert told(path) == whole


@pytest.mark.usefixtures("no_journalctl")
def test_arrays_that_lead_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    path, _ = journals.kept("plain", tmp_path)
    whole = told(path)
    (first,) = struct.unpack_from("<Q", path.read_bytes(), ENTRY_ARRAY)
    changed(path, first + 16, "<Q", first)
    assert told(path) == (whole[0], [])


@pytest.mark.usefixtures("no_journalctl")
def test_a_cut_file_keeps_the_entries_that_are_whole_and_counts_the_others(tmp_path: Path) -> None:
    path, printed = journals.kept("plain", tmp_path, "klaviyo.journal")
    data = path.read_bytes()
    at = [at for at, kind, _ in journals.objects(data) if kind == 3]
    cut = printed[:-3], ["klaviyo.journal is cut or broken: 3 of 17 entries are not there"]
    path.write_bytes(data[: at[-3]])
    assert told(path) == cut
    path.write_bytes(data[: at[-3]].ljust(len(data), b"\0"))
    assert told(path) == cut
    (coverage,) = logs.read([str(path)], WINDOW, redact=str).coverage
    assert (coverage.gap, coverage.truncated) == (cut[1][0], True)


@pytest.mark.usefixtures("no_journalctl")
def test_beside_a_cut_file_no_byte_of_a_whole_one_is_told_as_skipped(tmp_path: Path) -> None:
    path, _ = journals.kept("compact", tmp_path)
    whole = path.read_bytes()
    last = max(at for at, kind, _ in journals.objects(whole) if kind == 3)
    (tmp_path / "cut.journal").write_bytes(whole[:last])
    (coverage,) = logs.read([str(tmp_path)], WINDOW, redact=str).coverage
    assert str(coverage.gap).startswith("cut.journal is cut or broken: ")
    assert (coverage.calls, coverage.truncated, coverage.skipped_bytes) == (7, True, 0)


@pytest.mark.usefixtures("no_journalctl")
def test_an_entry_with_a_broken_field_keeps_the_others_and_is_counted(tmp_path: Path) -> None:
    path, printed = journals.kept("plain", tmp_path, "klaviyo.journal")
    changed(path, path.read_bytes().index(b"_HOSTNAME=web-2") - 64, "<B", 7)
    del printed[12]["_HOSTNAME"]
    assert told(path) == (
        printed,
        ["klaviyo.journal: 1 entries are broken, and what is left of them was read"],
    )


@pytest.mark.usefixtures("no_journalctl")
@pytest.mark.parametrize(("way", "flag"), [("XZ", 1), ("LZ4", 2), ("ZSTD", 4)])
def test_a_field_that_cannot_be_unpacked_is_counted(tmp_path: Path, way: str, flag: int) -> None:
    name, head = ("compact", 72) if way == "ZSTD" else ("plain", 64)
    path, printed = journals.kept(name, tmp_path)
    data = bytearray(path.read_bytes())
    packed = [at for at, kind, _ in journals.objects(data) if kind == 1 and data[at + 1] == flag]
    if way != "ZSTD":
        packed = journals.compressed(path, way)
        data = bytearray(path.read_bytes())
    begin = packed[0] + head + (8 if way == "LZ4" else 0)  # where its length stands
    data[begin : begin + 12] = b"\xff" * 12
    path.write_bytes(data)
    del printed[4]["MESSAGE"]
    assert len(packed) == 2
    assert told(path) == (
        [printed[each] for each in RECORDS],
        ["web.journal: 1 entries are broken, and what is left of them was read"],
    )


@pytest.mark.usefixtures("remote")
@pytest.mark.real
@pytest.mark.parametrize("compact", ["0", "1"])
@pytest.mark.parametrize("keyed", ["0", "1"])
@pytest.mark.parametrize("way", ["ZSTD", "XZ", "LZ4", None])
def test_all_lines_are_those_that_journalctl_prints(
    tmp_path: Path, compact: str, keyed: str, way: str | None
) -> None:
    """Of files of several hosts, one after the other and at once, with fields of every kind."""
    rng = random.Random(f"{compact}{keyed}{way}")
    folder = tmp_path / "klaviyo"
    folder.mkdir()
    for number, begin in enumerate((0, 0, 60)):
        path = journals.written(
            folder / f"klaviyo-{number}.journal", made_up(rng, number, minute(begin)), way == "ZSTD",
            SYSTEMD_JOURNAL_COMPACT=compact, SYSTEMD_JOURNAL_KEYED_HASH=keyed,
        )  # fmt: skip
        assert way in (None, "ZSTD") or journals.compressed(path, str(way))
    for path in (folder, *sorted(folder.iterdir())):
        lines, problems = told(path)
        assert problems == []
        assert lines == as_journalctl_does(path)
    assert len(lines) == 200


def made_up(rng: random.Random, number: int, at: datetime) -> Iterator[bytes]:
    """Entries of one host, which was started twice."""
    for index in range(200):
        at += timedelta(milliseconds=rng.randrange(1, 10_000))
        message = rng.choice((
            b"klaviyo 503", b"", b"two\nlines", b"caf\xe9", b"\x1b[31mred", "naïve \u2028 \ufffe \x7f".encode(), b"=", b"a=b",
            b"x" * rng.choice((511, 512, 600, 70_000)) + str(rng.random()).encode(), rng.randbytes(700), str(index).encode(),
        ))  # fmt: skip
        more = [
            ("_BOOT_ID", b"%032x" % (2 * number + (index > 100))),
            ("_HOSTNAME", b"web-%d" % number),
            *((("CONTAINER_NAME", rng.randbytes(600)),) if rng.random() < 0.1 else ()),
            *((("PRIORITY", b"3"), ("PRIORITY", b"4")) if rng.random() < 0.1 else ()),
        ]
        yield journals.entry(at, message, rng.choice(("shop.service", "web.service")), *more)


@pytest.mark.usefixtures("remote")
@pytest.mark.real
def test_an_entry_that_stands_in_two_files_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "klaviyo"
    folder.mkdir()
    path, printed = journals.kept("plain", folder)
    (folder / "copy.journal").write_bytes(path.read_bytes())
    assert told(folder) == (printed, [])
    assert as_journalctl_does(folder) == printed


@pytest.mark.usefixtures("remote")
@pytest.mark.real
def test_lines_of_other_processes_do_not_part_a_record(tmp_path: Path) -> None:
    traceback = (
        b"sync failed",
        b"Traceback (most recent call last):",
        b"  at klaviyo",
        b"ValueError: 1",
        b"done",
    )
    noise = (b"web", b"  indented", b"web", b"  indented", b"web")
    at = (minute(n / 60) for n in itertools.count())
    lines = [
        journals.entry(next(at), text, "shop.service", ("_PID", pid))
        for pair in zip(traceback, noise, strict=True)
        for pid, text in zip((b"17", b"18"), pair, strict=True)
    ]
    path = journals.written(tmp_path / "web.journal", lines)
    assert [line["MESSAGE"].encode() for line in told(path)[0]] == [*traceback[:4]]


@pytest.mark.usefixtures("remote")
@pytest.mark.real
def test_a_message_that_looks_like_an_entry_is_none(tmp_path: Path) -> None:
    entries = [journals.entry(minute(1), b"klaviyo 500")]
    path = journals.written(tmp_path / "first.journal", entries, compress=False, SYSTEMD_JOURNAL_COMPACT="0")
    data = path.read_bytes()
    ((at, size),) = [(at, size) for at, kind, size in journals.objects(data) if kind == 3]
    forged = journals.entry(
        minute(2), b"12345678" + data[at : at + size], "web.service"
    )  # at a place for objects
    path = journals.written(
        tmp_path / "klaviyo.journal", [*entries, forged], False, SYSTEMD_JOURNAL_COMPACT="0"
    )
    assert data[at : at + size] in path.read_bytes()
    changed(path, ENTRIES, "<Q", 3)  # so that more is looked for
    lines, problems = told(path)
    assert len(lines) == 2
    assert problems == ["klaviyo.journal is cut or broken: 1 of 3 entries are not there"]


def test_each_part_of_a_large_file_holds_entries_and_together_they_hold_all(tmp_path: Path) -> None:
    path, printed = journals.kept("plain", tmp_path, "klaviyo.journal")
    source = JournalFiles(str(path), (str(path),), part=path.stat().st_size // 3 + 1)
    chunks = source.chunks(Window(WINDOW.start - timedelta(days=9), WINDOW.end + timedelta(days=9)))
    assert len(chunks) == 3
    assert all(given_by([chunk])[0] for chunk in chunks)
    assert given_by(chunks) == (printed, [])


@pytest.mark.usefixtures("no_journalctl")
def test_of_a_large_folder_a_part_opens_the_files_of_its_span_alone(tmp_path: Path) -> None:
    """One user's file may span all of the system's: opened for each part, they would be read many times over."""
    for number in range(5):
        path, _ = journals.kept("plain", tmp_path, f"{number}.journal")
        first, last = minute(60 * number), minute(60 * (5 if number == 0 else number + 0.9))
        changed(path, STATE, "B", ARCHIVED)
        changed(path, LAST - 8, "<QQ", *(round(each.timestamp() * 1e6) for each in (first, last)))
    files = sorted(tmp_path.iterdir())
    source = JournalFiles("", tuple(map(str, files)), part=files[0].stat().st_size * 5 // 8)

    def names(window: Window) -> list[list[str]]:
        spans = (each for each in source.chunks(window) if isinstance(each, Span))
        return [[Path(path).stem for path, _ in each.files] for each in spans]

    day = names(Window(minute(0), minute(24 * 60)))
    assert [day[0], day[-1]] == [["0", "4"], ["0"]]
    assert max(map(len, day)) == 3
    assert names(Window(minute(125), minute(135))) == [["0", "2"]]


def stored(content: bytes, item: int, payload: int) -> Iterator[tuple[set[int], set[int]]]:
    """Of each entry, the offsets of all bytes that tell something of it, and those of its time."""
    for at, kind, size in journals.objects(content):
        if kind == 3:
            told_by = set(range(at, at + size))
            for place in range(at + 64, at + size, item):
                (data,) = struct.unpack_from("<Q" if item == 16 else "<I", content, place)
                told_by |= {
                    *range(data, data + 16),
                    *range(data + payload, data + struct.unpack_from("<Q", content, data + 8)[0]),
                }
            yield told_by, set(range(at + 24, at + 32))


@pytest.mark.usefixtures("no_journalctl")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize(("name", "item", "payload"), [("plain", 16, 64), ("compact", 4, 72)])
def test_whatever_is_changed_or_cut_an_entry_that_is_whole_is_found(
    tmp_path: Path, name: str, item: int, payload: int, data: st.DataObject
) -> None:
    path, printed = journals.kept(name, tmp_path, "klaviyo.journal")
    content = path.read_bytes()
    entries = list(stored(content, item, payload))
    heads = [
        at + n
        for at, kind, size in journals.objects(content)
        if kind not in (4, 5)
        for n in range(min(size, 128))
    ]
    changes = data.draw(st.dictionaries(st.sampled_from(heads), st.integers(0, 255), max_size=6))
    cut = data.draw(st.sampled_from([len(content), *heads]))
    broken = bytearray(content[:cut])
    for at, value in changes.items():
        broken[at : at + 1] = bytes([value] if at < cut else [])
    path.write_bytes(broken)
    lines, problems = told(path)
    touched = {at for at, value in changes.items() if content[at] != value}
    whole = [
        line
        for line, (bytes_, _) in zip(printed, entries, strict=True)
        if not bytes_ & touched and max(bytes_) < cut
    ]
    moved = sum(bool(moment & touched) for _, moment in entries)  # to another time, which nobody can see
    assert problems or len(printed) - moved <= len(lines) <= len(printed)
    assert all(line in lines for line in whole)


@pytest.mark.usefixtures("no_journalctl")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(8, 207), st.integers(0, 255), min_size=1, max_size=6), st.integers(0, 300))
def test_no_header_stops_the_program(tmp_path: Path, changes: dict[int, int], cut: int) -> None:
    path, _ = journals.kept("compact", tmp_path)
    content = bytearray(path.read_bytes())
    for at, value in changes.items():
        content[at] = value
    for end in (None, cut):
        path.write_bytes(content[:end])
        (coverage,) = logs.read([str(path)], WINDOW, redact=str).coverage
        assert end is None or coverage.gap
