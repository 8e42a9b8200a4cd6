"""Does `kill -9` at any moment leave nothing that looks sealed, lose nothing collected, and hinder nobody?

Data: a log, a metrics server that answers late, and a stream on standard input that goes on until the end.
`klaviyo-nb bundle` is killed at random moments (from a seed), from its start to its end; then it is run to its end
with the stream closed. Unit: runs after which something was wrong, and how old the newest line of the stream was that
was kept [s], where collecting had got that far.

    python tests/benchmarks/bench_killed.py [RUNS] [SEED] [LINES OF THE LOG]
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

from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.folder import load
from klaviyo_nb.report.verify import verify

CALL = {"method": "GET", "url": "https://a.klaviyo.com/api/profiles", "status": 503}
LATE_S, STREAM_S, EVERY_S = 1.5, 600.0, 0.01


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
    command = [sys.executable, "-m", "klaviyo_nb", "bundle", "--incident", "INC-7", "--logs", "app.log", "--logs", "-",
               "--metrics", f"http://127.0.0.1:{port}", "--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z"]  # fmt: skip
    nobody = {"KLAVIYO_NB_API_URL": "http://127.0.0.1:9", "KLAVIYO_NB_STATUS_URL": "http://127.0.0.1:9"}
    with subprocess.Popen(command, cwd=folder, env=os.environ | nobody, stderr=subprocess.PIPE,
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:  # fmt: skip
        threading.Thread(target=feed, args=(process, STREAM_S if after_s else 0.1), daemon=True).start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        return process.wait(), process.stderr.read() if process.stderr else ""


def feed(process: subprocess.Popen[str], seconds: float) -> None:
    """Lines that tell when they were written, one by one; then the end."""
    assert process.stdin is not None
    until = time.monotonic() + seconds
    with suppress(BrokenPipeError, ValueError, OSError):
        while process.poll() is None and time.monotonic() < until:
            said = {"time": "2026-11-23T06:00:00Z", "msg": f"at {time.time():.3f}"}
            os.write(process.stdin.fileno(), json.dumps(said | CALL).encode() + b"\n")
            time.sleep(EVERY_S)
        process.stdin.close()


def age(path: Path, killed: float) -> float | None:
    """How old the newest line of the stream was that was kept [s]; None: nothing of it was."""
    with suppress(EvidenceError):
        calls = load(path).calls
        if calls is not None and len(told := calls.loc[calls["source"] == "-", "message"].dropna()):
            return killed - max(float(each.removeprefix("at ")) for each in told)
    return None


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


def main(runs: int, seed: int, log: int) -> int:
    rng, ages = random.Random(seed), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    failed, kept = [], 0
    with tempfile.TemporaryDirectory() as name:
        lines = (json.dumps({"time": f"2026-11-23T06:{at % 60:02}:00Z"} | CALL) for at in range(log))
        Path(name, "app.log").write_text("\n".join(lines))
        began = time.monotonic()
        assert bundle(Path(name), server.server_port, None)[0] in (0, 1)
        whole_s = time.monotonic() - began
        for run in range(runs):
            folder = Path(name, str(run))
            folder.mkdir()
            (folder / "app.log").symlink_to(Path(name, "app.log"))
            after_s = rng.uniform(0.3, whole_s)
            bundle(folder, server.server_port, after_s)
            killed = time.time()
            what, had = wrong(folder / "reports"), (folder / "reports" / "INC-7").exists()
            evidence = folder / "reports" / ".INC-7.partial" / "evidence" / "evidence.json"
            kept += evidence.exists()
            old = age(evidence.parent, killed)
            ages += [] if old is None else [old]
            status, said = bundle(folder, server.server_port, None)
            if not had and (status not in (0, 1) or not verify(folder / "reports" / "INC-7").intact):
                what = what or f"the next run: {said.splitlines()[-1]}"
            if not had and "an earlier run was stopped" not in said and evidence.parent.exists():
                what = what or "the next run did not say what was left"
            print(
                f"killed after {after_s:4.1f} s of {whole_s:.1f}: {what or 'well'}; stream kept up to {old} s",
                flush=True,
            )
            failed += [what] if what else []
    print(f"{len(failed)} of {runs} killed runs left something wrong; {kept} left evidence that can be read")
    if ages:
        print(
            f"of the stream all was kept but the last {min(ages):.1f} to {max(ages):.1f} s, in {len(ages)} runs"
        )
    return bool(failed)


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    sys.exit(main(*given, *(8, 1, 2_000)[len(given) :]))
