"""How long does a newcomer wait for the first report, and for the second?

Question: how long does README's first command take on a fresh clone, installation included, and how long again?
Data:     a clone of this checkout's last commit in a temporary folder, without a virtual environment; what uv has
          already downloaded is used. There is no rival.
Unit:     wall seconds; the median of the runs beside the goals (60 s, and 12 s again), each as a share of its goal.
          Each run must meet the hidden truth and seal a report, or the benchmark ends with status 1.
Command:  python tests/benchmarks/bench_drill.py [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRESH_S, AGAIN_S = 60.0, 12.0
#: `uv run` of ours would hand its own environment down.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_NO_SYNC")}


def drilled(clone: Path) -> float:
    """Seconds that the command takes."""
    started = time.perf_counter()
    done = subprocess.run(["uv", "run", "klaviyo-nb", "drill"], cwd=clone, env=ENVIRONMENT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode or "the verdict met it" not in done.stdout:
        sys.exit(f"the drill went wrong:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def line(what: str, seconds: float, goal: float, note: str = "") -> None:
    """A figure beside its goal."""
    met = "ok    " if seconds < goal else "MISSED"
    print(f"  {met} {what:<34} {seconds:5.1f} s, {seconds / goal:.2f} of {goal:.0f} s {note}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="how often again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        fresh = drilled(clone)
        again = [drilled(clone) for _ in range(chosen.runs)]
        reports = len(list(clone.glob("reports/drill-*/SHA256SUMS")))
    assert reports == chosen.runs + 1, f"{reports} reports are sealed"
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    line("drill, fresh clone, installed first", fresh, FRESH_S)
    line("drill again, median", statistics.median(again), AGAIN_S, f"({min(again):.1f} to {max(again):.1f})")


if __name__ == "__main__":
    main()
