"""Does `kill -9` at any moment leave nothing that looks sealed, lose nothing collected, and hinder nobody?

Data: a drill's signals, slowed by a metrics server that answers late. `klaviyo-nb bundle` is killed at random
moments, from its start to its end; then it is run to its end. Unit: runs after which something was wrong.

    python tests/benchmarks/bench_killed.py [RUNS]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from klaviyo_nb.collect import load
from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.report.verify import verify

CALL = {"method": "GET", "url": "https://a.klaviyo.com/api/profiles", "status": 503}
LATE_S = 1.5


class Late(BaseHTTPRequestHandler):
    """A metrics server without samples that takes its time."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        time.sleep(LATE_S)
        body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):
            self.wfile.write(body)


def bundle(folder: Path, port: int, after_s: float | None) -> tuple[int, str]:
    """Run it, and kill it after so long; its exit status and what it said."""
    command = [sys.executable, "-m", "klaviyo_nb", "bundle", "--incident", "INC-7", "--logs", "app.log",
               "--metrics", f"http://127.0.0.1:{port}", "--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z"]  # fmt: skip
    nobody = {"KLAVIYO_NB_API_URL": "http://127.0.0.1:9", "KLAVIYO_NB_STATUS_URL": "http://127.0.0.1:9"}
    with subprocess.Popen(command, cwd=folder, env=os.environ | nobody, stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True) as process:  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        return process.wait(), process.stderr.read() if process.stderr else ""


def wrong(reports: Path) -> str | None:
    """What is wrong with what a killed run left, if anything is."""
    for path in reports.iterdir() if reports.exists() else ():
        if not path.name.startswith("."):
            if not verify(path).intact:
                return f"{path.name} looks sealed and is not"
        elif (path / "evidence" / "evidence.json").exists():
            try:
                load(path)
            except EvidenceError as exc:
                return f"{path.name}: {exc}"
    return None


def main(runs: int) -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed, kept = [], 0
    with tempfile.TemporaryDirectory() as name:
        lines = (json.dumps({"time": f"2026-11-23T06:{at % 60:02}:00Z"} | CALL) for at in range(20_000))
        Path(name, "app.log").write_text("\n".join(lines))
        began = time.monotonic()
        assert bundle(Path(name), server.server_port, None)[0] in (0, 1)
        whole_s = time.monotonic() - began
        for run in range(runs):
            folder = Path(name, str(run))
            folder.mkdir()
            (folder / "app.log").symlink_to(Path(name, "app.log"))
            after_s = random.uniform(0.3, whole_s)
            bundle(folder, server.server_port, after_s)
            what, had = wrong(folder / "reports"), (folder / "reports" / "INC-7").exists()
            evidence = folder / "reports" / ".INC-7.partial" / "evidence" / "evidence.json"
            kept += evidence.exists()
            status, said = bundle(folder, server.server_port, None)
            if not had and (status not in (0, 1) or not verify(folder / "reports" / "INC-7").intact):
                what = what or f"the next run: {said.splitlines()[-1]}"
            if not had and "an earlier run was stopped" not in said and evidence.parent.exists():
                what = what or "the next run did not say what was left"
            print(f"killed after {after_s:4.1f} s of {whole_s:.1f}: {what or 'well'}", flush=True)
            failed += [what] if what else []
    print(f"{len(failed)} of {runs} killed runs left something wrong; {kept} left evidence that can be read")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 8))
