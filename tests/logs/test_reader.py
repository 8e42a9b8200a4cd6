from __future__ import annotations

import gzip
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb import logs
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import gaps_of
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs import shelves
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources.base import without_credentials
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)
HOUR = timedelta(hours=1)
KEY = "pk_" + "a1b2c3" * 5 + "abcd"


def call(moment: str, status: int = 202, **more: object) -> str:
    return json.dumps(
        {
            "time": moment,
            "msg": "klaviyo call",
            "url": "https://a.klaviyo.com/api/events",
            "status": status,
            **more,
        }
    )


def read(
    folder: Path, *lines: str, name: str = "app.log", redact: Callable[[str], str] = str, **options: object
) -> LogsRead:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return logs.read([str(path)], WINDOW, redact=redact, **options)  # type: ignore[arg-type]


def test_the_frames_have_their_schemas_even_when_empty(tmp_path: Path) -> None:
    for found in (
        read(tmp_path),
        read(tmp_path, call("2026-11-23T05:00:00Z"), "[Webhook] Invalid signature rejected"),
    ):
        CALLS.check(found.calls)
        WEBHOOKS.check(found.webhooks)
    assert (len(found.calls), len(found.webhooks)) == (1, 1)


def test_rows_outside_the_window_are_left_out_and_rows_without_a_time_stay(tmp_path: Path) -> None:
    found = read(
        tmp_path, call("2026-11-23T04:59:59.999Z"), call("2026-11-23T05:00:00Z"), call("2026-11-23T06:59:59.999Z"),
        call("2026-11-23T07:00:00Z"), "Klaviyo API error: 503",
    )  # fmt: skip
    assert found.calls["line_no"].tolist() == [2, 3, 5]
    assert found.calls["timestamp"].isna().tolist() == [False, False, True]
    assert found.coverage[0].calls == 3


@pytest.mark.parametrize("count", [1, 200])  # one by one, and by column
def test_lines_that_lie_in_the_future_of_who_reads_them_are_a_gap(tmp_path: Path, count: int) -> None:
    """A log of another zone that does not say so: what is asked for lies outside the window."""
    moments = [NOW + HOUR - timedelta(seconds=step) for step in range(count)][::-1]
    found = read(tmp_path, *(call(f"{moment:%Y-%m-%d %H:%M:%S}") for moment in moments))
    (coverage,) = found.coverage
    assert (len(found.calls), coverage.got, coverage.outside) == (0, None, NOW + HOUR)
    (gap,) = gaps_of(found.coverage, NOW)
    assert gap.reason.startswith("it goes on to 2026-11-23T08:00:00Z, which has not come yet: ")
    assert not [*gaps_of(found.coverage, NOW + 2 * HOUR)]  # an earlier window was asked for


def test_lines_before_the_window_are_no_gap_and_the_latest_is_told(tmp_path: Path) -> None:
    (coverage,) = read(tmp_path, call("2026-11-23T02:00:00Z"), call("2026-11-23T03:00:00Z")).coverage
    assert coverage.outside == NOW - 4 * HOUR
    assert not [*gaps_of([coverage], NOW)]


def test_of_many_alike_lines_those_in_the_window_are_counted_and_covered(tmp_path: Path) -> None:
    moments = [NOW - HOUR * (1 + step / 1_000) for step in range(1_500, -1, -1)]
    found = read(
        tmp_path, *(call(f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z") for moment in moments), since=WINDOW.start
    )
    got = found.coverage[0].got
    assert found.calls["line_no"].tolist() == list(range(501, 1_502))
    assert got is not None
    assert (got.start, got.end - timedelta(microseconds=1)) == (moments[500], moments[-1])


def test_rows_of_several_files_come_in_the_order_of_their_time(tmp_path: Path) -> None:
    (tmp_path / "b.log").write_text(call("2026-11-23T05:00:01Z") + "\n")
    (tmp_path / "a.log").write_text(call("2026-11-23T05:00:02Z") + "\n" + call("2026-11-23T05:00:00Z") + "\n")
    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=str)
    assert [Path(source).name for source in found.calls["source"]] == ["a.log", "b.log", "a.log"]
    assert found.calls["timestamp"].is_monotonic_increasing


def test_a_row_cites_the_line_it_came_from(tmp_path: Path) -> None:
    found = read(tmp_path, "one", "two", call("2026-11-23T05:00:00Z", 429), "four")
    row = found.calls.iloc[0]
    data = (tmp_path / "app.log").read_bytes()
    assert row["source"] == str(tmp_path / "app.log")
    assert json.loads(data[row["offset"] :].split(b"\n")[0])["status"] == 429
    assert data.split(b"\n")[row["line_no"] - 1].startswith(b'{"time"')


def test_lines_that_only_name_klaviyo_are_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path, "klaviyo plugin loaded", "nothing", call("2026-11-23T05:00:00Z"), "Klaviyo sync queued"
    )
    assert (found.coverage[0].lines, found.coverage[0].calls, found.coverage[0].unparsed) == (4, 1, 2)


def test_a_file_about_something_else_gives_no_call_and_no_alarm(tmp_path: Path) -> None:
    found = read(
        tmp_path, "2026-11-23T05:00:00Z ERROR redis timeout", "HTTP 500", '{"status":429,"url":"/checkout"}'
    )
    assert found.calls.empty
    assert found.coverage[0].unparsed == 0
    assert found.coverage[0].gap is None


def test_coverage_says_from_when_to_when_the_source_speaks(tmp_path: Path) -> None:
    found = read(
        tmp_path, "2026-11-23T04:00:00Z INFO start", "2026-11-23T05:10:00Z INFO x", call("2026-11-23T05:20:00Z"),
        *("2026-11-23T05:30:00Z INFO y",) * 5, "2026-11-23T06:40:00Z INFO end",
    )  # fmt: skip
    got = found.coverage[0].got
    assert got is not None
    assert (got.start.isoformat(), got.end.isoformat()[:19]) == (
        "2026-11-23T05:10:00+00:00",
        "2026-11-23T06:40:00",
    )


def test_a_source_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(call("2026-11-23T05:00:00Z") + "\n")
    found = logs.read(
        [str(tmp_path / "gone.log"), str(tmp_path), str(tmp_path / "app.log")], WINDOW, redact=str
    )
    assert [coverage.gap for coverage in found.coverage] == [
        "no such file",
        "it is a folder without .journal files",
        None,
    ]
    assert len(found.calls) == 1


def test_a_file_that_may_not_be_read_is_a_gap(unprivileged: None) -> None:
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        file.write(b"x\n")
        Path(file.name).chmod(0)
        assert logs.read([file.name], WINDOW, redact=str).coverage[0].gap == "permission denied"


def test_a_source_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(call("2026-11-23T05:00:00Z") + "\n")
    found = logs.read([str(tmp_path / "app.log"), f"{tmp_path}/*.log"], WINDOW, redact=str)
    assert (len(found.calls), len(found.coverage)) == (1, 1)


@pytest.mark.parametrize("url", ["docker://", "k8s://shop/web", "gopher://x"])
def test_a_scheme_that_cannot_be_read_is_the_users_mistake(url: str) -> None:
    with pytest.raises(UsageError):
        logs.read([url], WINDOW, redact=str)


def test_an_engine_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an engine"):
        read(tmp_path, engine="abacus")


def test_secrets_and_addresses_do_not_leave(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        call("2026-11-23T05:00:00Z", 429, email="ann@example.com", detail=f"key {KEY} of ann@example.com"),
        f"2026-11-23T05:00:01Z ERROR klaviyo 401 Authorization: Klaviyo-API-Key {KEY}\nTraceback (most recent call last):\n  File \"x\"",
        f"2026-11-23T05:00:02Z klaviyo GET https://a.klaviyo.com/api/v1/lists?api_key={KEY} FAILED with 504",
        redact=Redactor(b"test").text,
    )  # fmt: skip
    text = found.calls.to_csv() + found.webhooks.to_csv()
    assert len(found.calls) == 3
    assert KEY not in text
    assert "ann@" not in text
    assert str(found.calls["profile_key"].iloc[0]).startswith("email-")
    assert found.calls["profile_domain"].iloc[0] == "example.com"
    assert "\n" in found.calls["message"].iloc[1]


@pytest.mark.parametrize(
    ("keys", "sdk", "domain"),
    [
        ({"user_agent": "klaviyo-api-node/9.1 (linux)", "email": "Ann@Shop.EXAMPLE"}, "klaviyo-api-node/9.1", "shop.example"),
        ({"headers": {"User-Agent": "@klaviyo/x"}, "profile_id": "01GDDKASAP8TKDDA2GRZDSVP4H"}, None, None),
        ({"user_agent": "", "email": "nobody"}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_library_and_the_domain_of_an_address_are_told(
    tmp_path: Path, keys: dict[str, Any], sdk: str | None, domain: str | None
) -> None:
    calls = read(tmp_path, call("2026-11-23T05:00:00Z", 429, **keys), redact=Redactor(b"test").text).calls
    told = calls[["sdk", "profile_domain"]].iloc[0]
    assert [None if pd.isna(each) else each for each in told] == [sdk, domain]


def test_hostile_marks_do_not_leave(tmp_path: Path) -> None:
    found = read(
        tmp_path, "2026-11-23T05:00:00Z klaviyo \x1b]0;title\x07 \u202e503 \x1b[31merror 503\x1b[0m \x00"
    )
    message = found.calls["message"].iloc[0]
    assert not set(message) & {"\x1b", "\x07", "\u202e", "\x00"}


def test_a_message_is_at_most_so_long(tmp_path: Path) -> None:
    found = read(tmp_path, "Klaviyo API error: 503 " + "x" * 100_000)
    assert len(found.calls["message"].iloc[0]) == 500


def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    read(tmp_path, call("2026-11-23T05:00:00Z"), progress=lambda *said: told.append(said))
    size = (tmp_path / "app.log").stat().st_size
    assert set(told) == {(str(tmp_path / "app.log"), size, size)}


def test_progress_within_a_packed_file_is_told_in_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(random.Random(1).randbytes(8_000_000).hex("\n").encode()))
    told: list[int] = []
    logs.read([str(path)], WINDOW, redact=str, progress=lambda _, done, total: told.append(done))
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
    assert len({done for done in told if done < told[-1]}) > 3


def test_credentials_in_a_url_do_not_reach_the_coverage() -> None:
    assert without_credentials("loki://user:secret@host:3100/app") == "loki://host:3100/app"
    assert without_credentials("https://u:p@host/app.log?X-Signature=abc") == "https://host/app.log?…"
    assert without_credentials("s3://bucket/app?.log") == "s3://bucket/app?.log"
    assert without_credentials("/var/log/a@b.log") == "/var/log/a@b.log"


def test_a_clock_that_jumps_back_loses_no_row(tmp_path: Path) -> None:
    found = read(
        tmp_path, call("2026-11-23T06:00:00Z"), call("2026-11-23T05:00:00Z"), call("2026-11-23T06:30:00Z")
    )
    assert found.calls["line_no"].tolist() == [2, 1, 3]


def test_many_files_are_read_without_holding_them_open(tmp_path: Path) -> None:
    for number in range(2_000):
        (tmp_path / f"{number}.log").write_text(call("2026-11-23T05:00:00Z") + "\n")
    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=str)
    assert (len(found.calls), len(found.coverage)) == (2_000, 2_000)


def test_of_many_files_the_newest_are_read_by_the_deadline_and_the_rest_is_one_gap(tmp_path: Path) -> None:
    for number in range(300):
        path = tmp_path / f"{number:03d}.log"
        path.write_text(call("2026-11-23T05:00:00Z") + "\n")
        os.utime(path, (number, 1_000 if number == 17 else number))
    deadline = time.monotonic() + 1.0

    def until_the_deadline(text: str) -> str:
        while time.monotonic() < deadline:
            pass
        return text

    found = logs.read([f"{tmp_path}/*.log"], WINDOW, redact=until_the_deadline, deadline=deadline)
    names = [Path(source).name for source in found.calls["source"]]
    assert sorted(names) == sorted(["017.log", "299.log", "298.log", "297.log", "296.log"][: len(names)])
    *each, rest = found.coverage
    assert len(each) == len(names) > 0
    assert all((one.calls, one.gap) == (1, None) for one in each)
    left = 300 - len(names)
    assert (Path(rest.source).name, rest.gap) == (
        "*.log",
        f"{left} of its files were not read before the deadline",
    )
    assert rest.truncated
    assert rest.skipped_bytes == left * path.stat().st_size


def test_reading_leaves_as_much_time_to_tell_of_the_files_of_a_glob_as_looking_at_them_took(
    tmp_path: Path,
) -> None:
    class Kept:
        """Keeps what it was given to read."""

        far = False

        def map(self, function: Any, tasks: Any, *_: Any) -> Any:
            self.jobs = [job for task in tasks for job in task]
            yield from map(function, tasks)

    for number in range(30):
        (tmp_path / f"{number:02d}.log").write_text(call("2026-11-23T05:00:00Z") + "\n")
    deadline = time.monotonic() + 60
    kept = Kept()
    for name, leaves in (("*.log", True), ("17.log", False)):
        logs.read([f"{tmp_path}/{name}"], WINDOW, redact=str, deadline=deadline, engine=kept)
        assert {job.deadline < deadline for job in kept.jobs} == {leaves}
        assert all(deadline - job.deadline < 30 for job in kept.jobs)


def test_looking_at_many_files_ends_early_enough_to_read_some(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02d}.log").write_text(call("2026-11-23T05:00:00Z") + "\n")
    urls = [f"{tmp_path}/*.log", f"{tmp_path}/17.log"]
    found = shelves.found(urls, WINDOW, time.monotonic() + 60, finding=0.0)
    assert not any(shelf.chunks for shelf in found)
    (coverage,) = shelves.coverages(found, WINDOW)
    assert (coverage.gap, coverage.truncated) == ("30 of its files were not read before the deadline", True)
    apart = list(shelves.coverages(found, WINDOW, each=100))
    assert [each.gap for each in apart] == ["not read before the deadline"] * 30
    assert all(each.truncated for each in apart)
