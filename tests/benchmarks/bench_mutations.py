"""Does `verify` find every change of a byte or a digit?

Half of the changes: one bit of one byte, anywhere in any file of a sealed bundle or in its archive; what a
failing disk does, and whoever does not know of the hashes. Half: one digit of a file that follows from the
evidence (verdict, postmortem, messages, limits, tables and drawings of charts, page), with manifest and sums
made anew; what a forger does. The second kind changes one digit in each of these files at a time and asks that
each be named. The rival is `sha256sum -c`, which sees none of these.

Unit: changes found of changes made. Run: python tests/benchmarks/bench_mutations.py [CHANGES] [SEED]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import samples
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report import manifest
from klaviyo_nb.report.bundle import Bundle, make
from klaviyo_nb.report.verify import problems
from mutations import MadeOnce, byte_changed, digits_changed, follows


def bytes_found(bundle: Bundle, rng: random.Random, changes: int) -> int:
    """One change in ten is in the archive."""
    names, found = manifest.files(bundle.path), 0
    for number in range(changes):
        path = bundle.path / rng.choice(names) if number % 10 else bundle.zip
        with byte_changed(path, rng):
            found += next(problems(path if path == bundle.zip else bundle.path), None) is not None
    return found


def digits_found(bundle: Bundle, rng: random.Random, changes: int) -> tuple[int, int]:
    """Found by verify, and rounds in which `sha256sum -c` complains."""
    names, again, found, seen = follows(bundle.path), MadeOnce(), 0, 0
    assert not list(problems(bundle.path, again)), "it was not intact to begin with"
    while changes > 0:
        with digits_changed(bundle.path, rng.sample(names, min(changes, len(names))), rng) as changed:
            assert changed
            changes -= len(changed)
            found += len(set(changed) & {problem.path for problem in problems(bundle.path, again)})
            rival = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
            seen += subprocess.run(rival, cwd=bundle.path, capture_output=True).returncode != 0
    return found, seen


def main(changes: int, seed: int) -> int:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = make(
            samples.rate_limited(),
            out=Path(scratch),
            incident="INC-7",
            lead="Jo",
            redactor=Redactor(b"k" * 16),
        )
        single, digits = changes // 2, changes - changes // 2
        found = bytes_found(bundle, rng, single)
        named, seen = digits_found(bundle, rng, digits)
    print(f"bytes changed: {found} of {single} found")
    print(
        f"digits changed, hashes made anew: {named} of {digits} found; sha256sum complains in {seen} rounds"
    )
    met = found + named == changes
    print(f"ratio {(found + named) / changes:.4f}; goal: 1: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(*(int(each) for each in (sys.argv[1:] + ["1000", "7"][len(sys.argv) - 1 :]))))
