"""How much memory do all processes of a command hold together, for how much evidence?

Question: what is the peak, over the whole run, of memory held by `drill`, and by `bundle` on logs of so many bytes:
          of the command, its log workers, its fork server and its kernels together, and of the largest alone?
Data:     a drill; logs made from a seed (logs_data.py), most lines without a call, and one in which every line is one.
Unit:     MB of proportional set size (a page that is shared counts once), sampled some thirty times a second; a goal
          of 600 MB. Each run must seal an intact report. There is no rival.
Command:  python tests/benchmarks/bench_memory.py [SIZE...]     sizes of the logs in MB; 100 and 2000 if none is given
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from logs_data import generate

GOAL_MB, EVERY_S = 600, 0.03
NOBODY = {"KLAVIYO_NB_API_URL": "http://127.0.0.1:9", "KLAVIYO_NB_STATUS_URL": "http://127.0.0.1:9",
          "KLAVIYO_NB_HEALTH_URL": ""}  # fmt: skip
WINDOW = ("--start", "2026-11-22T00:00:00Z", "--end", "2026-11-26T00:00:00Z")


def tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def held(pid: int) -> float:
    """What it holds [MB]; what it shares counts in part."""
    with suppress(OSError, StopIteration):  # it has just ended
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def named(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        return next((word for word in words if word.startswith("klaviyo_nb")), words[0])
    return "?"


def watched(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Run it; the peak of all processes, of the largest alone, how long it took, who held what at the peak."""
    began, most, largest, who = time.monotonic(), 0.0, 0.0, ""
    with subprocess.Popen(command, cwd=folder, env=os.environ | NOBODY, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        while process.poll() is None:
            now = [(held(pid), pid) for pid in tree(process.pid)]
            largest = max(largest, *(size for size, _ in now))
            if (together := sum(size for size, _ in now)) > most:
                most, at = together, time.monotonic() - began
                who = f"after {at:.1f} s: " + ", ".join(f"{named(pid)} {size:.0f}" for size, pid in now)
            time.sleep(EVERY_S)
        said = process.stderr.read() if process.stderr else ""
    assert process.returncode in (0, 1), said
    reports = [path.parent for path in folder.glob("reports/*/SHA256SUMS")]
    assert len(reports) == 1, said
    subprocess.run(
        [sys.executable, "-m", "klaviyo_nb", "verify", str(reports[0])], check=True, capture_output=True
    )
    return most, largest, time.monotonic() - began, who


def told(what: str, command: list[str], folder: Path) -> None:
    most, largest, seconds, who = watched([sys.executable, "-m", "klaviyo_nb", *command], folder)
    met = "met" if most < GOAL_MB else "MISSED"
    print(
        f"{what:<24} all {most:4.0f} MB, largest {largest:4.0f} MB, {seconds:5.1f} s; under {GOAL_MB}: {met}"
    )
    print(f"    {who}", flush=True)


def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for what in ("drill", *(f"log of {size} MB" for size in sizes), "100 MB, all calls"):
            folder = Path(name, what)
            folder.mkdir()
            if what == "drill":
                told(what, ["drill"], folder)
                continue
            words = what.split()
            size = int(words[2] if words[0] == "log" else words[0])
            log = folder / "app.log"
            generate(log, "json", size * 1_000_000, 1.0 if words[0] != "log" else 0.03)
            told(what, ["bundle", "--logs", str(log), "--incident", "INC-7", *WINDOW], folder)
            log.unlink()


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [100, 2000])
