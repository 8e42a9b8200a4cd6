"""What disks, collectors and crashes make of logs: no call is lost, nothing crashes, the rest is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb.logs.reader import LogsRead, read
from klaviyo_nb.window import Window

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
AT = pd.Timestamp("2026-11-23T05:00:00Z")
CALL: dict[str, Any] = {"time": 1795410000000, "msg": "klaviyo", "method": "POST", "url": "https://a.klaviyo.com/api/events", "status": 429}  # fmt: skip
LINE = json.dumps(CALL).encode()
TEXT = (
    b"2026-11-23 05:00:00,000 ERROR shop: POST https://a.klaviyo.com/api/events failed: 429 Too Many Requests"
)


def got(tmp_path: Path, data: bytes) -> LogsRead:
    path = tmp_path / "app.log"
    path.write_bytes(data)
    return read([str(path)], DAY, redact=str)


@pytest.mark.parametrize("line", [LINE, TEXT], ids=["JSON", "text"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xef\xbb\xbf", b"\n"),
        (b"\0" * 5_000, b"\n"),
        (b"", b"\r\n"),
        (b"", b""),
        (b"\n\n\r\n", b"\n\n"),
        (b"\xfd\xff\xfe broken\n", b"\n\x80\x81\n"),
        (b"\x1b[31m\x07\x08\n", b"\n"),
        (b'{"time":1795409999000,"msg":"torn in the mid\n', b'\n{"msg":"klav'),
        (b"x" * 10_000_000 + b"\n", b"\n" + b"y" * 10_000_000),
    ],
    ids=["BOM", "hole", "CRLF", "no end", "blank lines", "UTF-8", "control", "torn", "10 MB"],
)
def test_what_stands_around_a_call_does_not_hide_it(
    tmp_path: Path, line: bytes, before: bytes, after: bytes
) -> None:
    calls = got(tmp_path, before + line + after).calls
    assert calls[["status_code", "endpoint"]].to_numpy().tolist() == [[429, "/api/events"]]
    assert calls["timestamp"].tolist() == [AT]


@pytest.mark.parametrize(
    "odd", [b"\xff\xfe", b"\xe2\x80", b"\x00", b"\x01\x1b[31m", b"\t", b"\\ud800", b"\xe2\x80\xa8", b"\xef\xbb\xbf"],
    ids=["UTF-8", "half a character", "NUL", "control", "tab", "half a pair", "line separator", "BOM"],
)  # fmt: skip
def test_what_stands_within_a_call_does_not_hide_it(tmp_path: Path, odd: bytes) -> None:
    read_ = got(tmp_path, LINE.replace(b'"klaviyo"', b'"klaviyo ' + odd + b' said"') + b"\n" + TEXT + odd)
    assert read_.calls["status_code"].tolist() == [429, 429]
    assert read_.calls["timestamp"].tolist() == [AT, AT]
    assert read_.coverage[0].unparsed == 0


@pytest.mark.parametrize("line", [LINE, TEXT], ids=["JSON", "text"])
def test_a_line_torn_anywhere_is_a_call_or_counted(tmp_path: Path, line: bytes) -> None:
    torn = [line[:at] for at in range(line.find(b"klaviyo") + 7, len(line), 7)]
    read_ = got(tmp_path, b"\n".join([*torn, line]))
    assert len(read_.calls) + read_.coverage[0].unparsed == len(torn) + 1
    assert read_.coverage[0].lines == len(torn) + 1
    assert 429 in read_.calls["status_code"].tolist()


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_line_of_ten_megabytes_is_read(tmp_path: Path, place: str) -> None:
    long = {"blob": "x" * 10_000_000}
    line = json.dumps({**CALL, **long} if place == "first" else {**long, **CALL}).encode()
    assert got(tmp_path, LINE + b"\n" + line + b"\n" + LINE).calls["status_code"].tolist() == [429] * 3


def test_json_a_thousand_deep_is_one_record(tmp_path: Path) -> None:
    deep = b'{"a":' * 1_000 + b"1" + b"}" * 1_000
    whole = LINE[:-1] + b',"deep":' + deep + b"}"
    read_ = got(tmp_path, b"\n".join([whole, b'{"msg":"klaviyo","deep":' + deep + b"}", LINE]))
    assert read_.calls["status_code"].tolist() == [429, 429]
    assert read_.coverage[0].unparsed == 1


@pytest.mark.parametrize(
    "time",
    [1795410000, 1795410000.0, 1795410000000, 1795410000000000, 1795410000000000000, "1795410000", "1795410000000",
     "2026-11-23T05:00:00Z", "2026-11-23T05:00:00", "2026-11-23T00:00:00-05:00", "2026-11-23T10:30:00+0530", "2026-11-23 05:00:00.000000000Z",
     "23/Nov/2026:05:00:00 +0000", "Mon, 23 Nov 2026 05:00:00 GMT"],
    ids=str,
)  # fmt: skip
def test_times_are_told_apart_by_their_size_and_shape(tmp_path: Path, time: object) -> None:
    line = json.dumps(CALL | {"time": time}).encode()
    assert got(tmp_path, line).calls["timestamp"].tolist() == [AT]


@pytest.mark.parametrize(
    "time", ["2026-11-23 05:00:00", "2026-11-23T05:00:00.000", "2026-11-23T05:00:00Z", "2026-11-23T00:00:00-05:00", "2026-11-23T10:30:00+0530",
             "2026-11-23 06:00:00 +01:00", "2026/11/23 05:00:00", "[2026-11-23 05:00:00,000]", "[23/Nov/2026:05:00:00 +0000]", "1795410000", "1795410000.000"],
)  # fmt: skip
def test_times_of_text_are_told_apart_by_their_shape(tmp_path: Path, time: str) -> None:
    line = f"{time} ERROR shop: POST https://a.klaviyo.com/api/events failed: 429".encode()
    assert got(tmp_path, line).calls["timestamp"].tolist() == [AT]


@pytest.mark.parametrize("shape", ['{"time":"%s","url":"https://a.klaviyo.com/api/events","status":503}', "%s ERROR klaviyo answered 503"], ids=["JSON", "text"])  # fmt: skip
def test_a_clock_that_jumps_back_reorders_and_loses_nothing(tmp_path: Path, shape: str) -> None:
    times = ["2026-11-23T05:00:03Z", "2026-11-23T05:00:04Z", "2026-11-23T05:00:01Z", "2026-11-23T05:00:02Z"]
    read_ = got(tmp_path, "\n".join(shape % time for time in times).encode())
    assert read_.calls["line_no"].tolist() == [3, 4, 1, 2]
    assert read_.calls["timestamp"].is_monotonic_increasing


def test_numbers_may_be_texts(tmp_path: Path) -> None:
    texts = {"status": "429", "durationMs": "132", "retryAfter": "7", "attempt": "2", "level": "50"}
    row = got(tmp_path, json.dumps(CALL | texts).encode()).calls.iloc[0]
    assert (row["status_code"], row["duration_s"], row["retry_after_s"], row["attempt"], row["level"]) == (
        429, pytest.approx(0.132), 7.0, 2, "error",
    )  # fmt: skip


def test_what_cannot_be_understood_is_counted(tmp_path: Path) -> None:
    lines = [
        b"klaviyo",
        b'{"klaviyo',
        b"\xff klaviyo \0",
        b'{"msg":"klaviyo","status":"many"}',
        b"nothing",
        LINE,
    ]
    read_ = got(tmp_path, b"\n".join(lines))
    assert (len(read_.calls), read_.coverage[0].unparsed, read_.coverage[0].lines) == (1, 4, 6)
