"""Killed at any moment: what had come in can be read, and the next run says where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from klaviyo_nb.collect import load

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
    assert all(each.whole for each in load(tmp_path / "seen").coverage)
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
    assert "@example.com" not in (kept / "calls.csv").read_text()
    (coverage,) = evidence.coverage
    assert (coverage.lines, coverage.calls, coverage.truncated) == (50, 50, True)
    assert coverage.gap == "reading was stopped before its end"
