"""Collecting: what could not be seen is a gap by its name, and nobody is waited for past the deadline."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from klaviyo_nb.collect import RESERVE_S, _limit_s, collect
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load, save
from klaviyo_nb.logs.chunks import Part, Task
from klaviyo_nb.redact import Redactor
from klaviyo_nb.settings import Limits, Settings
from klaviyo_nb.start import to_read, window_of
from klaviyo_nb.window import Window
from probes_world import KEY

NOBODY = "http://127.0.0.1:9"
LONG_S = 60.0


def ask(
    window: Window, deadline_s: float, meanwhile: threading.Event | None = None, **chosen: object
) -> Evidence:
    settings = Settings(api_url=NOBODY, status_url=NOBODY, health_url="", **chosen)  # type: ignore[arg-type]
    doing = meanwhile.set if meanwhile else lambda: None
    work = collect(settings, window, Redactor(b"0" * 16), deadline_s=deadline_s, meanwhile=doing)
    return asyncio.run(work)


def reasons(evidence: Evidence) -> dict[str, tuple[str, bool]]:
    return {gap.signal: (gap.reason, gap.configured) for gap in evidence.gaps}


def test_what_nobody_configured_is_a_gap_and_no_trouble(window: Window) -> None:
    seen = reasons(ask(window, LONG_S))
    assert {name: configured for name, (_, configured) in seen.items() if configured} == {"status_page": True}
    assert {"logs", "metrics", "webhook", "app_health", "auth", "rate_limit"} <= set(seen)


def test_rows_have_every_column_and_make_a_frame(window: Window) -> None:
    evidence = ask(window, LONG_S)
    assert {row["probe"]: row["error_type"] for row in evidence.probe_rows} == {
        "status_page": "refused",
        "liveness": "refused",
    }
    assert list(evidence.probes["probe"]) == [row["probe"] for row in evidence.probe_rows]
    assert list(evidence.probes.columns) == list(evidence.probe_rows[0])


def test_what_is_to_be_done_meanwhile_is_done(window: Window) -> None:
    done = threading.Event()
    ask(window, LONG_S, done)
    assert done.is_set()


def test_a_pipe_that_nobody_writes_to_holds_nobody_and_other_logs_are_read(
    window: Window, tmp_path: Path
) -> None:
    pipe, log = tmp_path / "pipe.log", tmp_path / "app.log"
    os.mkfifo(pipe)
    log.write_text(
        f'{{"time":"{window.start.isoformat()}","method":"GET","url":"https://a.klaviyo.com/api/profiles","status":200}}\n'
    )
    started = time.perf_counter()
    evidence = ask(window, 20.0, logs=(str(pipe), str(log)))
    assert time.perf_counter() - started < LONG_S
    assert evidence.calls is not None
    assert len(evidence.calls) == 1
    assert "nothing was written" in reasons(evidence)[str(pipe)][0]


def test_what_logs_tell_from_shortly_before_the_window_is_kept_apart(window: Window, tmp_path: Path) -> None:
    length = window.end - window.start
    moments = [window.start - length * part for part in (0.9, 0.1, 0.05)] + [window.start + length / 2]
    line = '{{"time":"{}","method":"POST","url":"https://a.klaviyo.com/api/events","status":503}}\n'
    log = tmp_path / "app.log"
    log.write_text("".join(line.format(each.isoformat()) for each in moments))
    evidence = ask(window, LONG_S, logs=(str(log),), end=window.end.isoformat())
    assert evidence.calls is not None
    assert evidence.earlier is not None
    assert list(evidence.calls["timestamp"]) == moments[3:]
    assert list(evidence.earlier["timestamp"]) == moments[1:3]
    (coverage,) = evidence.coverage
    assert (coverage.asked, coverage.calls) == (window, 1)
    assert coverage.got is not None
    assert coverage.got.start == window.start
    save(evidence, tmp_path / "kept")
    kept = load(tmp_path / "kept").earlier
    assert kept is not None
    assert kept["line_no"].tolist() == evidence.earlier["line_no"].tolist() == [2, 3]


def test_a_log_is_not_cut_short_where_only_what_lies_before_the_window_was_left_out(
    window: Window, tmp_path: Path
) -> None:
    moments = [window.start - timedelta(seconds=each) for each in range(9, 0, -1)]
    moments += [window.start + timedelta(seconds=each) for each in range(5)]
    line = '{{"time":"{}","method":"POST","url":"https://a.klaviyo.com/api/events","status":503}}\n'
    (tmp_path / "app.log").write_text("".join(line.format(each.isoformat()) for each in moments))
    for calls, whole in ((7, True), (4, False)):
        settings = {"logs": (str(tmp_path / "app.log"),), "end": window.end.isoformat()}
        evidence = ask(window, LONG_S, **settings, limits=Limits(calls=calls))
        assert evidence.coverage[0].whole is whole
        assert (str(tmp_path / "app.log") in reasons(evidence)) is not whole


def test_a_deadline_too_short_for_anything_gives_gaps_and_no_error(window: Window, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("x\n" * 10_000)
    evidence = ask(window, 0.001, logs=(str(log),), metrics_url=NOBODY)
    assert {str(log), "metrics"} <= set(reasons(evidence))
    assert evidence.calls is None


@pytest.mark.parametrize(
    ("deadline_s", "slowness", "limit_s"),
    [(None, 4.0, None), (10.0, 1.0, 10.0 - RESERVE_S), (10.0, 3.0, 10.0 - 2 * RESERVE_S), (0.4, 1.0, 0.2)],
)
def test_a_busy_machine_has_more_kept_for_deciding_and_never_more_than_half(
    deadline_s: float | None, slowness: float, limit_s: float | None
) -> None:
    assert _limit_s(deadline_s, slowness) == limit_s


def test_a_window_that_has_not_begun_is_refused() -> None:
    settings = Settings(start="2026-11-23T07:00:00Z", end="2026-11-23T08:00:00Z")
    with pytest.raises(UsageError, match="lies in the future") as caught:
        window_of(settings, datetime(2026, 11, 23, 6, 30, tzinfo=UTC))
    assert caught.value.hint == "--since 2h"  # every command that asks over a window has it
    assert window_of(settings, datetime(2026, 11, 23, 7, 30, tzinfo=UTC)).seconds == 3600


class _Everybody(ThreadingHTTPServer):
    """API, status page, application and metrics server in one: it takes connections in the order they came.

    Attributes:
        came: Number of a connection, what was asked first on it.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.numbers: dict[object, int] = {}
        self.came: dict[int, str] = {}

    def get_request(self) -> tuple[object, object]:
        connection, address = super().get_request()
        self.numbers[address] = len(self.numbers)
        return connection, address

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: _Everybody

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.came.setdefault(self.server.numbers[self.client_address], self.path.partition("?")[0])
        body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Knocks:
    """An engine that connects to a server when logs are about to be read."""

    far = False

    def __init__(self, url: str) -> None:
        self._url = url

    def map(
        self,
        function: Callable[[Task], list[Part]],
        tasks: Sequence[Task],
        stays: object,
        share: object = None,
    ) -> Iterator[list[Part]]:
        with urllib.request.urlopen(f"{self._url}/logs"):
            pass
        return (function(task) for task in tasks)


def test_what_changes_fastest_is_asked_first_probes_and_rate_limit_then_logs_and_metrics(
    window: Window, tmp_path: Path
) -> None:
    (tmp_path / "app.log").write_text("nothing\n")
    everybody = _Everybody()
    threading.Thread(target=everybody.serve_forever, daemon=True).start()
    url = everybody.url
    settings = Settings(private_key=KEY, api_url=url, status_url=url, health_url=f"{url}/health", metrics_url=url,
                        logs=(str(tmp_path / "app.log"),), engine=_Knocks(url))  # type: ignore[arg-type]  # fmt: skip
    asyncio.run(collect(settings, window, Redactor(b"0" * 16), deadline_s=LONG_S))
    everybody.shutdown()
    everybody.server_close()
    came = [everybody.came[number] for number in sorted(everybody.came)]
    volatile = ["/api/v2/summary.json", "/api/accounts", "/api/profiles", "/api/accounts", "/health"]
    assert sorted(came[:5]) == sorted(volatile)
    assert {"/logs", "/api/v1/query"} <= set(came[5:])


@pytest.mark.parametrize(("ago_s", "past_s"), [(0.0, 120.0), (3.0, 120.0), (600.0, 0.0)])
def test_logs_are_read_past_the_end_of_a_window_that_ends_now_since_a_clock_may_be_ahead(
    window: Window, ago_s: float, past_s: float
) -> None:
    read = to_read(window, window.end + timedelta(seconds=ago_s))
    assert read.end - window.end == timedelta(seconds=past_s)
