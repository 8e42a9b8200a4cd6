"""How long do sealing and verifying take, beside `sha256sum` over the same files, and how much memory?

A folder of synthetic evidence without anything to redact. Ours: hashing at acquisition, sealing (hashes, manifest,
sums), and of verifying what reads every byte (hashes, secrets); each in a process of its own, which tells its peak
of memory. What verifying makes again is told apart: it depends on the number of calls, not of bytes.

Unit: seconds of wall clock, interleaved; ratio to `sha256sum`. Run: python tests/benchmarks/bench_seal.py [MB] [ROUNDS]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import samples
from klaviyo_nb.diagnosis.verdict import SCHEMA as VERDICT_SCHEMA
from klaviyo_nb.folder import load, save
from klaviyo_nb.report import canaries, manifest
from klaviyo_nb.report.verify import Problem, problems

GOAL, MOST_MB = 2.0, 600


def filled(folder: Path, size: int) -> None:
    """Log lines as evidence keeps them, in four files."""
    lines = "".join(
        f"2026-11-23T06:{n // 60 % 60:02}:{n % 60:02}.000000Z,/var/log/app.log,{n},POST,/api/events,202,0.{n % 997},"
        f"01JD{n:022},Klaviyo POST /api/events answered 202 on attempt 1\n"
        for n in range(40_000)
    ).encode()
    save(samples.rate_limited(calls_per_minute=1), folder / "evidence")
    (folder / "verdict.json").write_text(json.dumps({"schema": VERDICT_SCHEMA}))
    for number in range(4):
        with (folder / "evidence" / f"part-{number}.csv").open("wb") as file:
            for _ in range(max(1, size // 4 // len(lines))):
                file.write(lines)
    (folder / manifest.REDACTION).write_text(json.dumps(manifest.redaction(folder, canaries.told())))


def reading(folder: Path) -> Iterator[Problem]:
    """`verify`, but for what is made again."""
    return problems(folder, lambda *_: {})


def ours(folder: Path) -> None:
    """What the process of its own does: acquire, seal, verify. Prints seconds of each, and its peak [MB]."""
    clock = [time.perf_counter()]
    names = [name for name in manifest.files(folder) if name.startswith("evidence/")]
    acquired = manifest.hashed(folder, names)
    clock.append(time.perf_counter())
    about = {"incident": "INC-7", "lead": None, "notebooks": []}
    manifest.seal(folder, about, load(folder / "evidence"), "2026-11-23T07:00:00Z", acquired)
    clock.append(time.perf_counter())
    found = list(reading(folder))
    clock.append(time.perf_counter())
    assert not found, found
    changed = folder / "evidence" / "part-0.csv"
    with changed.open("r+b") as file:
        file.seek(changed.stat().st_size // 2)
        file.write(b"~")
    assert next(reading(folder), None), "it does not look"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([*(after - before for before, after in zip(clock, clock[1:], strict=False)), peak]))


def main(megabytes: int, rounds: int) -> None:
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            folder = Path(scratch, str(number))
            filled(folder, megabytes * 1_000_000)
            size = sum((folder / name).stat().st_size for name in manifest.files(folder))
            began = time.perf_counter()
            subprocess.run(
                ["sha256sum", *manifest.files(folder)], cwd=folder, check=True, capture_output=True
            )
            rival = time.perf_counter() - began
            command = [sys.executable, __file__, "--ours", str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append((rival, *json.loads(done.stdout)))
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    rival, acquire, seal, check, peak = (min(each) for each in zip(*found, strict=True))
    ratio = (seal + check) / rival
    print(
        f"{size / 1e6:.0f} MB: sha256sum {rival:.2f} s; acquire {acquire:.2f} s, seal {seal:.2f} s, verify {check:.2f} s"
    )
    print(
        f"ratio of sealing and verifying {ratio:.2f}; goal: at most {GOAL}: {'met' if ratio <= GOAL else 'MISSED'}"
    )
    print(f"peak {peak:.0f} MB; goal: under {MOST_MB}: {'met' if peak < MOST_MB else 'MISSED'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        ours(Path(sys.argv[2]))
    else:
        main(*(int(each) for each in (sys.argv[1:] + ["1000", "2"][len(sys.argv) - 1 :])))
