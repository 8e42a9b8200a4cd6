"""How long does a whole report take, beside doing it by hand?

Ours: one `klaviyo-nb bundle --evidence` (four notebooks, pages, charts, texts, seal, archive), process start
included. By hand: four `papermill` and four `jupyter nbconvert` commands on the same notebooks, one after the
other; no charts as files, no texts, no seal. Both give the same number of outputs, none of them an error.

Unit: seconds of wall clock and of processor time, best of the rounds; the second tells on a busy machine.
Run: python tests/benchmarks/bench_bundle.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import samples
from klaviyo_nb.folder import save
from klaviyo_nb.report.notebooks import NAMES, shipped

GOAL = 0.2
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


Cost = tuple[float, float]


def by_hand(evidence: Path, out: Path) -> Cost:
    """What papermill and nbconvert take, command by command."""
    out.mkdir(parents=True)
    started = clocks()
    for name in NAMES:
        source, target = str(shipped() / f"{name}.ipynb"), str(out / f"{name}.ipynb")
        run("papermill", source, target, "-p", "evidence", str(evidence), "--no-progress-bar")
    for name in NAMES:
        run("nbconvert", "--to", "html", str(out / f"{name}.ipynb"))
    return since(started)


def ours(evidence: Path, out: Path) -> Cost:
    """What one command of ours takes."""
    started = clocks()
    run("klaviyo_nb", "bundle", "--evidence", str(evidence), "--incident", "INC-7", "--out", str(out))
    return since(started)


def clocks() -> Cost:
    """Wall clock, and processor time of all that has ended below us [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def since(started: Cost) -> Cost:
    wall, processor = clocks()
    return wall - started[0], processor - started[1]


def run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, env=ENVIRON)


def outputs(folder: Path) -> dict[str, int]:
    """Outputs per notebook; fails if one is an error."""
    counts = {}
    for name in NAMES:
        cells = json.loads((folder / f"{name}.ipynb").read_text())["cells"]
        found = [output for cell in cells for output in cell.get("outputs", ())]
        assert not [each for each in found if each["output_type"] == "error"], name
        assert (folder / f"{name}.html").is_file(), name
        counts[name] = len([each for each in found if each["output_type"] != "stream"])
    return counts


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save(samples.rate_limited(), folder / "evidence")
        hand, own = [], []
        for number in range(rounds):
            own.append(ours(folder / "evidence", folder / f"ours-{number}"))
            hand.append(by_hand(folder / "evidence", folder / f"hand-{number}"))
        made = outputs(folder / "ours-0" / "INC-7" / "notebooks")
        assert made == outputs(folder / "hand-0"), "not the same work"
    best = [(min(each[kind] for each in own), min(each[kind] for each in hand)) for kind in (0, 1)]
    for name, (mine, theirs) in zip(("wall clock", "processor time"), best, strict=True):
        print(f"{name}: bundle {mine:.2f} s, by hand {theirs:.2f} s, ratio {mine / theirs:.2f}")
    ratio = best[0][0] / best[0][1]
    print(
        f"outputs of each: {sum(made.values())}; goal: at most {GOAL}: {'met' if ratio <= GOAL else 'MISSED'}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
