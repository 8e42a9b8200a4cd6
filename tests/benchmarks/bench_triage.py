"""How long does `klaviyo-nb triage` take beside the runbook's four curl calls, one after the other?

Rival: the runbook, section 2, taken literally: status page, auth, rate-limit headers, health, by curl.
Every service answers after 300 ms. Unit: seconds of wall time, start-up included; medians of interleaved rounds.
Goal: at most 0.6 times the rival; `klaviyo-nb --help` under 0.25 s.

    python tests/benchmarks/bench_triage.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    environ = clean | {"KLAVIYO_PRIVATE_KEY": "pk_" + "0" * 34, "KLAVIYO_NB_API_URL": root, "KLAVIYO_NB_STATUS_URL": root,
                       "KLAVIYO_NB_HEALTH_URL": f"{root}/health"}  # fmt: skip
    ours, rival, helped = [], [], []
    for _ in range(rounds):
        ours.append(timed(lambda: triage(environ)))
        rival.append(timed(lambda: runbook(root)))
        helped.append(
            timed(
                lambda: subprocess.run(
                    [sys.executable, "-m", "klaviyo_nb", "--help"], check=True, capture_output=True
                )
            )
        )
    server.shutdown()
    mine, theirs, seconds = statistics.median(ours), statistics.median(rival), statistics.median(helped)
    print(
        f"triage {mine:.3f} s | four curl calls {theirs:.3f} s | ratio {mine / theirs:.2f} (goal: at most 0.60)"
    )
    print(f"klaviyo-nb --help {seconds:.3f} s (goal: under 0.25)")
    return 0


def triage(environ: dict[str, str]) -> None:
    """Run triage and check that it asked and decided."""
    done = subprocess.run(
        [sys.executable, "-m", "klaviyo_nb", "triage", "--format", "json"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stdout)
    asked = {row["probe"]: row["status_code"] for row in document["probes"]}
    assert document["cause"] == "healthy", document["summary"]
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


def timed(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
