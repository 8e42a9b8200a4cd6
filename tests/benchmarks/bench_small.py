"""What do very many small files cost?

Question: how long does a whole process take from 100,000 files of three lines and one call each to a CALLS frame and
          a coverage for each file, beside a shell that greps them (`xargs grep -i klaviyo`) and a script that searches
          each line of each? How do time and memory grow from 20,000 files, and what does a second process save?
Data:     made in a temporary folder, read warm; calls, sources and lines are counted, and the citation of the last.
Unit:     wall seconds, the median of the rounds, rivals interleaved; the largest process [MB].
Command:  python tests/benchmarks/bench_small.py [--files 100000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench_logs import Command, script, timed

START = datetime(2026, 11, 23, 5, tzinfo=UTC)
OURS = """
import resource, sys
from datetime import datetime, UTC
from klaviyo_nb import logs
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window
window = Window(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 26, tzinfo=UTC))
found = logs.read([sys.argv[1] + "/*.log"], window, redact=Redactor(b"bench").text, engine=sys.argv[2])
files = len(found.coverage)
assert all((each.calls, each.lines, each.gap) == (1, 3, None) for each in found.coverage)
assert found.calls["source"].nunique() == files
assert set(found.calls["line_no"]) == {2}
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(len(found.calls), max(peaks) // 1024)
"""
#: What a script does that searches every line: three columns, one format, no redaction.
LOOP = """
import glob, re, sys
import pandas as pd
line = re.compile(r"(\\S+) (\\S+) klaviyo: (\\S+) (\\S+) failed with status (\\d+)")
rows = []
for path in sorted(glob.glob(sys.argv[1] + "/*.log")):
    with open(path) as file:
        for number, text in enumerate(file, 1):
            if "klaviyo" in text and (told := line.search(text)):
                rows.append((path, number, *told.groups()))
frame = pd.DataFrame(rows, columns=["source", "line_no", "time", "level", "method", "url", "status"])
frame["time"] = pd.to_datetime(frame["time"], utc=True, format="ISO8601")
print(len(frame))
"""
GREP = "find {folder} -name '*.log' -print0 | xargs -0 grep -ih klaviyo | wc -l"


def make(folder: Path, files: int) -> None:
    """So many files, of three lines each."""
    folder.mkdir()
    for number in range(files):
        at = (START + timedelta(milliseconds=10 * number)).isoformat()
        (folder / f"app-{number:06}.log").write_text(
            f"{at} INFO started\n"
            f"{at} ERROR klaviyo: POST https://a.klaviyo.com/api/events failed with status 503\n"
            f"{at} INFO done\n"
        )


def ours(folder: Path, engine: str) -> Command:
    return [sys.executable, "-c", OURS, str(folder), engine]


def main(files: int, rounds: int) -> None:
    few = files // 5
    with tempfile.TemporaryDirectory() as name:
        many, some = Path(name, "many"), Path(name, "some")
        make(many, files)
        make(some, few)
        commands: dict[str, tuple[Command, int]] = {
            "ours": (ours(many, "local"), files),
            "ours, one process": (ours(many, "local:1"), files),
            "ours, a fifth of them": (ours(some, "local"), few),
            "xargs grep -i": (GREP.format(folder=many), files),
            "a loop over lines": (script(LOOP, many), files),
        }
        seconds: dict[str, list[float]] = {each: [] for each in commands}
        peaks: dict[str, int] = {}
        for turn in range(rounds + 1):  # the first one warms up
            for each, (command, count) in commands.items():
                took, (found, *peak) = timed(command)
                assert found == count, f"{each}: {found:,} calls of {count:,}"
                peaks |= {each: peak[0]} if peak else {}
                seconds[each] += [took] if turn else []
    median = {each: statistics.median(took) for each, took in seconds.items()}
    print(f"{files:,} files of three lines, median of {rounds} rounds")
    for each, took in median.items():
        held = f", largest process {peaks[each]:,} MB" if each in peaks else ""
        print(f"  {each:<22} {took:6.2f} s, {took / commands[each][1] * 1000:.3f} ms a file{held}")
    for rival in ("xargs grep -i", "a loop over lines"):
        print(f"  ours against {rival:<18} {median['ours'] / median[rival]:5.1f} times its time")
    print(f"  two processes against one: {median['ours, one process'] / median['ours']:.2f} times as fast")
    growth = (
        median["ours"] / median["ours, a fifth of them"],
        peaks["ours"] / peaks["ours, a fifth of them"],
    )
    print(f"  five times the files: {growth[0]:.2f} times the time, {growth[1]:.2f} times the memory")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.files, given.rounds)
