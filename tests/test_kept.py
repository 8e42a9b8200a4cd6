"""Killed at any moment: what had come in can be read, and the next run says where it is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import samples
from klaviyo_nb.coming import Coming
from klaviyo_nb.evidence import Coverage, Evidence
from klaviyo_nb.folder import load, save, save_pipes
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs import LogsRead
from klaviyo_nb.window import Window
from lokis import Store, serve

CALL = {
    "time": "2026-11-23T06:00:00Z",
    "method": "GET",
    "url": "https://a.klaviyo.com/api/profiles",
    "status": 503,
}
SPAN = ("--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z")
DEADLINE_S = 60.0


class Slow(ThreadingHTTPServer):
    """Klaviyo, a status page, Loki and Prometheus in one; what stands in `hangs` is not answered."""

    daemon_threads = True
    hangs: tuple[str, ...] = ()
    ended: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: Slow

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith(self.server.hangs):
            self.server.ended.wait()
            return
        body = b'{"status":"success","data":{"resultType":"streams","result":[]}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def slow() -> Iterator[Slow]:
    server = Slow(("127.0.0.1", 0), _Handler)
    server.ended = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


@contextmanager
def running(server: Slow, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that asks it; killed at the end, if it still runs."""
    url = f"http://127.0.0.1:{server.server_port}"
    environ = os.environ | {
        "KLAVIYO_NB_API_URL": url,
        "KLAVIYO_NB_STATUS_URL": url,
        "KLAVIYO_NB_HEALTH_URL": "",
    }
    command = [sys.executable, "-m", "klaviyo_nb", *arguments, *SPAN]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], header: Path, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until what is kept holds this."""
    waiting = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        if header.exists() and holds(json.loads(header.read_text())):
            return
        waiting.wait(0.05)
    raise AssertionError(header.read_text() if header.exists() else f"no {header}")


def missing(header: dict[str, Any]) -> list[str]:
    return [gap["signal"] for gap in header["gaps"] if "was stopped before" in gap["reason"]]


def test_killed_while_it_collects_all_that_had_come_in_can_be_read_and_the_next_run_says_where(
    slow: Slow, tmp_path: Path
) -> None:
    (tmp_path / "app.log").write_text(json.dumps(CALL) + "\n")
    loki = f"127.0.0.1:{slow.server_port}/app"
    url = f"http://127.0.0.1:{slow.server_port}"
    arguments = (
        "collect",
        "--logs",
        "app.log",
        "--logs",
        f"loki://{loki}",
        "--metrics",
        url,
        "--out",
        "seen",
    )
    kept = tmp_path / ".seen.partial" / "evidence"

    slow.hangs = ("/loki/", "/api/v1/")
    with running(slow, tmp_path, *arguments) as process:
        until(process, kept / "evidence.json", lambda found: missing(found) == [f"loki://{loki}", "metrics"])
    first = load(kept)
    assert first.calls is not None
    assert first.calls["status_code"].tolist() == [503]
    assert {row["probe"] for row in first.probe_rows} >= {"status_page", "liveness"}
    assert [each.whole for each in first.coverage] == [True, False]

    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["app.log"]

    slow.hangs = ()
    with running(slow, tmp_path, *arguments) as process:
        said = process.communicate(timeout=DEADLINE_S)[1]
        assert process.returncode == 0, said
    left = ".seen.partial-1/evidence"
    assert f"what it collected, but for loki://{loki}, metrics: klaviyo-nb diagnose {left}" in said
    file, stream = load(tmp_path / "seen").coverage
    assert (file.whole, stream.truncated) == (True, False)
    assert str(stream.gap).startswith("no stream of")  # the server that now answers has none
    assert load(tmp_path / left).calls is not None
    assert not kept.exists()


def test_killed_while_a_stream_goes_on_what_it_had_sent_is_kept_redacted(slow: Slow, tmp_path: Path) -> None:
    kept = tmp_path / ".seen.partial" / "evidence"
    with running(slow, tmp_path, "collect", "--logs", "-", "--out", "seen") as process:
        assert process.stdin is not None
        for number in range(50):
            said = {"msg": f"sent for user{number}@example.com", "request_id": f"r-{number}"}
            process.stdin.write(json.dumps(CALL | said) + "\n")
        process.stdin.flush()  # and nothing more, but no end either
        until(process, kept / "evidence.json", lambda found: any(each["calls"] for each in found["coverage"]))
    evidence = load(kept)
    assert evidence.calls is not None
    assert len(evidence.calls) == 50
    texts = [path.read_text() for path in kept.glob("calls*.csv")]  # with all else, or by themselves
    assert texts
    assert "@example.com" not in "".join(texts)
    (coverage,) = evidence.coverage
    assert (coverage.lines, coverage.calls, coverage.truncated) == (50, 50, True)
    assert coverage.gap == "reading was stopped before its end"


def test_killed_while_a_stream_goes_on_what_a_worker_had_read_meanwhile_is_kept_redacted(
    slow: Slow, tmp_path: Path
) -> None:
    """Of Loki, whose turn comes after the stream's end: a whole slice, and the first page of one that hangs."""
    store = Store(most=10, hang_after=4)  # of each slice, the first request asks for too much
    for minute, count in ((100, 3), (70, 12)):
        for number in range(count):
            at = samples.WINDOW.start + timedelta(minutes=minute, seconds=number)
            said = {"time": at.isoformat(), "msg": f"sent for user{number}@example.com"}
            store.entries.append(({"app": "web"}, int(at.timestamp()) * 10**9, json.dumps(CALL | said)))
    kept = tmp_path / ".seen.partial" / "evidence"
    with serve(store) as port:
        loki = f"loki://127.0.0.1:{port}/web"
        arguments = ("--logs", "-", "--logs", loki, "--engine", "local:2", "--out", "seen")
        with running(slow, tmp_path, "collect", *arguments) as process:
            until(
                process,
                kept / "evidence.json",
                lambda found: sum(each["calls"] for each in found["coverage"]) >= 11,
            )
    evidence = load(kept)
    assert evidence.calls is not None
    minutes = evidence.calls["timestamp"].dt.minute.value_counts().to_dict()
    assert minutes == {10: 8, 40: 3}  # the last two lines of a page may go on in the next
    assert "@example.com" not in (kept / "calls.csv").read_text()
    assert {each.gap for each in evidence.coverage} == {"reading was stopped before its end"}


def test_what_a_pipe_sends_is_kept_beside_a_log_that_takes_long_to_be_kept(tmp_path: Path) -> None:
    """All is kept so often as its size allows; what nobody can read again is kept in between."""
    window, here = samples.WINDOW, tmp_path / "evidence"
    log = read_of("app.log", [at(window, minute) for minute in range(5)])
    kept = asyncio.run(keep_while(window, here, log))
    assert kept == [False, True, True]  # the second and third only of the pipe
    assert sorted(path.name for path in here.iterdir() if "calls" in path.name) == [
        "calls-of-pipes.csv", "calls.csv"
    ]  # fmt: skip
    found = load(here)
    assert found.calls is not None
    assert found.calls["source"].value_counts().to_dict() == {"app.log": 5, "-": 3}
    assert found.calls["timestamp"].is_monotonic_increasing
    assert {each.source: each.calls for each in found.coverage} == {"app.log": 5, "-": 3}
    CALLS.check(found.calls)

    save(found, here)  # the whole has all rows: none stands twice
    assert not (here / "calls-of-pipes.csv").exists()
    again = load(here)
    assert again.calls is not None
    assert len(again.calls) == 8


def at(window: Window, minute: int) -> dict[str, Any]:
    return {"timestamp": window.start + timedelta(minutes=minute), "method": "GET", "status_code": 503}


def read_of(source: str, rows: list[dict[str, Any]]) -> LogsRead:
    calls = CALLS.frame([row | {"source": source, "line_no": line} for line, row in enumerate(rows, 1)])
    got = Coverage(source, samples.WINDOW, samples.WINDOW, len(rows), len(rows), 0, 0, True, "goes on")
    return LogsRead(calls, WEBHOOKS.empty(), (got,))


async def keep_while(window: Window, folder: Path, log: LogsRead) -> list[bool]:
    """Keep what has come in three times: when nothing of the pipe had, and then each time it has more."""
    kept, sent = [], 1

    def so_far(pipes: bool = False) -> LogsRead:
        of_pipe = read_of("-", [at(window, minute) for minute in range(sent)])
        rows = CALLS.joined([*([] if pipes else [log.calls]), of_pipe.calls])
        coverage = (*(() if pipes else log.coverage), *of_pipe.coverage)
        return LogsRead(rows.sort_values("timestamp", ignore_index=True), WEBHOOKS.empty(), coverage)

    def keep(evidence: Evidence, /, *, pipes: bool) -> None:
        nonlocal sent
        kept.append(pipes)
        (save_pipes if pipes else save)(evidence, folder, str)
        sent += 1
        loop.call_soon_threadsafe(coming.more if sent <= 3 else over.set)

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    coming = Coming(window, {}, lambda: window.end, ["app.log", "-"], keep, patience=1e6, pipes_s=0.0)
    coming.reading = so_far
    coming.more()
    keeping = asyncio.create_task(coming.keeping())
    await over.wait()
    keeping.cancel()
    return kept
