"""How long does `klaviyo-nb triage` take beside the runbook's four curl calls, one after the other?

Rival: the runbook, section 2, taken literally: status page, auth, rate-limit headers, health, by curl.
Every service answers after 300 ms. Unit: seconds of wall time, start-up included; medians of interleaved rounds.
Goal: at most 0.6 times the rival; `klaviyo-nb --help` under 0.25 s. With a log it reads 5,000 lines beside.

    python tests/benchmarks/bench_triage.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMAND = (sys.executable, "-m", "klaviyo_nb")
DELAY_S = 0.3
PAGE = {"page": {"name": "Klaviyo"}, "status": {"indicator": "none", "description": "All Systems Operational"},
        "components": [], "incidents": [], "scheduled_maintenances": []}  # fmt: skip


class Service(BaseHTTPRequestHandler):
    """Klaviyo, its status page and the application, each answering after `DELAY_S`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(DELAY_S)
        path = self.path.partition("?")[0]
        if path.startswith("/api/v2/"):
            self._answer(PAGE, {})
        elif path == "/health":
            self._answer({"status": "ok"}, {})
        else:
            keyed = "authorization" in self.headers
            body = (
                {"data": []}
                if keyed
                else {
                    "errors": [
                        {"id": "x", "status": 401, "code": "not_authenticated", "title": "", "detail": ""}
                    ]
                }
            )
            self._answer(
                body,
                {"X-Klaviyo-Req-Id": "x", "RateLimit-Limit": "75, 75;w=1, 750;w=60"},
                200 if keyed else 401,
            )

    def _answer(self, body: object, headers: dict[str, str], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/vnd.api+json",
            "Content-Length": str(len(data)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if not shutil.which("curl"):
        print("curl is not installed", file=sys.stderr)
        return 1
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    environ = environment(root)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "app.log")
        log.write_text("".join(lines(5_000)))
        work = {
            "triage": lambda: triage(environ),
            "triage with a log": lambda: triage(environ, "--logs", str(log)),
            "four curl calls": lambda: runbook(root),
            "--help": lambda: subprocess.run(
                [*COMMAND, "--help"], env=environ, check=True, capture_output=True
            ),
        }
        for each in work.values():  # compiles, and fills the caches of the disk
            each()
        took = {name: [] for name in work}
        for _ in range(rounds):
            for name, each in work.items():
                took[name].append(timed(each))
    server.shutdown()
    report(took)
    return 0


def environment(root: str) -> dict[str, str]:
    """Everything is at `root`; compiled modules are kept, as they are for anybody who runs a command twice."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    return clean | {
        "KLAVIYO_PRIVATE_KEY": "pk_" + "0" * 34,
        "KLAVIYO_NB_API_URL": root,
        "KLAVIYO_NB_STATUS_URL": root,
        "KLAVIYO_NB_HEALTH_URL": f"{root}/health",
    }


def lines(count: int) -> Iterator[str]:
    """A log of calls that succeed, the last one a second ago."""
    now = datetime.now(UTC) - timedelta(seconds=1)
    for index in range(count):
        at = now - timedelta(seconds=count - 1 - index)
        yield (
            f'{{"time":"{at.isoformat()}","level":"info","msg":"klaviyo call","method":"POST",'
            f'"url":"https://a.klaviyo.com/api/events","status":202,"duration_ms":{100 + index % 50}}}\n'
        )


def report(took: dict[str, list[tuple[float, float]]]) -> None:
    """Print medians of wall and processor time, and of the rounds' ratios."""
    for name, pairs in took.items():
        wall, cpu = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"{name:>18}: {wall:.3f} s, of which {cpu:.3f} s processor")
    for name in ("triage", "triage with a log"):
        pairs = zip(took[name], took["four curl calls"], strict=True)
        ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in pairs)
        goal = " (goal: at most 0.60)" if name == "triage" else ""
        print(f"{name} / four curl calls: {ratio:.2f}{goal}")
    seconds = statistics.median(wall for wall, _ in took["--help"])
    print(f"klaviyo-nb --help: {seconds:.3f} s (goal: under 0.25)")


def triage(environ: dict[str, str], *more: str) -> None:
    """Run triage and check that it asked, read and decided."""
    done = subprocess.run(
        [*COMMAND, "triage", "--format", "json", *more],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stdout)
    asked = {row["probe"]: row["status_code"] for row in document["probes"]}
    assert document["cause"] == "healthy", document["summary"]
    assert (document["facts"]["calls"] or 0) > 4_000 or not more, document["gaps"]
    assert {asked[name] for name in ("status_page", "auth", "rate_limit", "app_health")} == {200}, asked


def runbook(root: str) -> None:
    """The runbook's four questions, one after the other."""
    key = "Authorization: Klaviyo-API-Key pk_" + "0" * 34
    for arguments in (
        (f"{root}/api/v2/status.json",),
        ("-H", key, "-H", "revision: 2026-07-15", f"{root}/api/accounts"),
        ("-i", "-g", "-H", key, "-H", "revision: 2026-07-15", f"{root}/api/profiles?page[size]=1"),
        (f"{root}/health",),
    ):
        subprocess.run(["curl", "-sS", "--fail", *arguments], check=True, capture_output=True)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of the processes that `work` starts [s]."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


if __name__ == "__main__":
    sys.exit(main())
