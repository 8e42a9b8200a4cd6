"""How fast do logs become calls, and in how much memory?

Question: how long does a whole process take from a log file to a CALLS frame with all columns and calls per
          minute, beside tools that only count lines (`rg -ci`, `zgrep -ci`, `zstd -dc | rg -ci`), beside scripts
          that parse every line, and beside DuckDB? How do time and memory grow with the data, and what do more
          processes and a cluster save?
Data:     made from a seed (logs_data.py) in a temporary folder, read warm; every count is checked against it.
Unit:     wall seconds, the median of the rounds, rivals interleaved; ratios beside their goals, misses marked.
Command:  python tests/benchmarks/bench_logs.py [--size 100MB] [--rounds 3] [--only json,text,…]
          The published figures are those of --size 1GB on an idle machine; small sizes mostly show start-up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from logs_data import Truth, export_of, generate

OURS = """
import resource, sys
from datetime import datetime, UTC
from klaviyo_nb import logs
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window
window = Window(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 26, tzinfo=UTC))
found = logs.read([sys.argv[1]], window, redact=Redactor(b"bench").text, engine=sys.argv[2])
from klaviyo_nb.logs.questions.counts import by
assert by(found.calls, ["minute"])["calls"].sum() == len(found.calls)
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(len(found.calls), max(peaks) // 1024)
"""
#: What a script does that parses every line: fewer columns than ours, one format, no redaction, no citation.
LOOP = """
import sys, {module} as parser
import pandas as pd
rows = []
with open(sys.argv[1], "rb") as file:
    for line in file:
        data = parser.loads(line)
        request, response = data.get("request") or data.get("req") or data, data.get("response") or data.get("res") or data
        url = request.get("url") or ""
        if "klaviyo" in url:
            status = response.get("statusCode") or response.get("status_code") or response.get("status")
            rows.append((data.get("time") or data.get("timestamp"), data.get("hostname"), data.get("level"), request.get("method") or data.get("http_method"), url, status,
                         data.get("durationMs") or data.get("responseTime") or data.get("elapsed"), data.get("requestId") or data.get("klaviyo_request_id"), data.get("msg") or data.get("message")))
frame = pd.DataFrame(rows, columns=["time", "host", "level", "method", "url", "status", "took", "request_id", "message"])
numbers = pd.to_numeric(frame["time"], errors="coerce")
frame["time"] = pd.to_datetime(numbers, unit="ms", utc=True).fillna(pd.to_datetime(frame["time"].where(numbers.isna()), utc=True, format="ISO8601"))
frame.groupby([frame["time"].dt.floor("min"), frame["status"] >= 400]).size()
print(len(frame))
"""
GREP = """
import subprocess, sys, io, pandas as pd
text = subprocess.run(["grep", "-i", "klaviyo", sys.argv[1]], capture_output=True, check=True).stdout
frame = pd.read_json(io.BytesIO(text), lines=True, convert_dates=False)
nested = [frame[name].map(lambda value: isinstance(value, dict)) for name in ("req", "request") if name in frame]
calls = frame[frame.get("url", pd.Series(index=frame.index, dtype=object)).notna() | (pd.concat(nested, axis=1).any(axis=1) if nested else False)].copy()
numbers = pd.to_numeric(calls["time"], errors="coerce")
calls["time"] = pd.to_datetime(numbers, unit="ms", utc=True)
calls.groupby(calls["time"].dt.floor("min")).size()
print(len(calls))
"""
#: The columns of CALLS that these lines tell, the endpoint's ids replaced, calls per minute and failures.
DUCKDB = """
import sys, duckdb
wanted = "level BIGINT, time BIGINT, pid BIGINT, hostname VARCHAR, name VARCHAR, method VARCHAR, url VARCHAR, statusCode BIGINT, durationMs DOUBLE, requestId VARCHAR, msg VARCHAR"
columns = "{" + ", ".join(f"{part.split()[0]}: '{part.split()[1]}'" for part in wanted.split(", ")) + "}"
con = duckdb.connect()
con.execute(f'''create table calls as select make_timestamp(time * 1000) as happened, hostname, pid::varchar as worker, name as caller,
  case when level >= 50 then 'error' when level >= 40 then 'warning' else 'info' end as level, upper(method) as method,
  regexp_replace(regexp_replace(url, '^https?://[^/]+', ''), '/(01[0-9A-Z]{24}|[A-Za-z0-9]*[0-9][A-Za-z0-9]*)(/|$)', '/{id}\\\\2') as endpoint,
  statusCode as status, durationMs / 1000 as duration_s, requestId as request_id, nullif(regexp_extract(url, '/profiles/([A-Za-z0-9]+)', 1), '') as profile_key,
  left(msg, 500) as message, try_cast(nullif(regexp_extract(msg, 'available in (\\\\d+)', 1), '') as double) as retry_after_s
  from read_json('{sys.argv[1]}', format='newline_delimited', columns={columns}) where url ilike '%klaviyo%' ''')
frame = con.execute("select * from calls order by happened").df()
con.execute("select time_bucket(interval 1 minute, happened), count(*), count(*) filter (status >= 400), min(happened), max(happened) from calls group by 1").df()
print(len(frame))
"""
JOURNAL_FIELDS = "MESSAGE,_HOSTNAME,_PID,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,PRIORITY"
#: An installed package has its bytecode compiled, whatever the shell says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

Command = list[str] | str
Measured = tuple[float, list[int]]


def ours(path: Path, engine: str = "local") -> Command:
    return [sys.executable, "-c", OURS, str(path), engine]


def script(text: str, path: Path) -> Command:
    return [sys.executable, "-c", text, str(path)]


def timed(command: Command) -> Measured:
    started = time.perf_counter()
    shell = isinstance(command, str)
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, shell=shell, check=False)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return seconds, [int(number) for number in done.stdout.split()[-2:] if number.isdigit()]


def measured(commands: Mapping[str, tuple[Command, int]], rounds: int) -> tuple[dict[str, float], int]:
    """Median seconds by name, and our largest process [MB]; each command's count is checked."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peak = 0
    for turn in range(rounds + 1):  # the first one warms up
        for name, (command, count) in commands.items():
            took, told = timed(command)
            assert told[0] == count, f"{name} found {told[0]:,}, not {count:,}"
            peak = max(peak, *told[1:], 0)
            if turn or not rounds:
                seconds[name].append(took)
    return {name: statistics.median(each) for name, each in seconds.items()}, peak


class Report:
    """Prints ratios beside their goals."""

    def __init__(self) -> None:
        self.missed = 0

    def line(self, what: str, value: float, goal: float, at_most: bool, note: str) -> None:
        met = value <= goal if at_most else value >= goal
        self.missed += not met
        sign = "<=" if at_most else ">="
        print(
            f"  {'ok    ' if met else 'MISSED'} {what:<46} {value:5.2f}   goal {sign} {goal:<4} {note}",
            flush=True,
        )

    def slower(self, what: str, times: Mapping[str, float], rival: str, goal: float) -> None:
        """We take so many times the rival's time."""
        self.line(
            what, times["ours"] / times[rival], goal, True, f"{times['ours']:.2f} s / {times[rival]:.2f} s"
        )

    def faster(self, what: str, times: Mapping[str, float], rival: str, goal: float) -> None:
        """The rival takes so many times our time."""
        self.line(
            what, times[rival] / times["ours"], goal, False, f"{times[rival]:.2f} s / {times['ours']:.2f} s"
        )


class Bench:
    """The comparisons; each makes its data and takes it away again."""

    def __init__(self, folder: Path, size: int, rounds: int) -> None:
        self.folder, self.size, self.rounds, self.report = folder, size, rounds, Report()

    @contextmanager
    def data(self, kind: str, size: int = 0, share: float = 0.03) -> Iterator[tuple[Path, Truth]]:
        path = self.folder / f"{kind}.log"
        truth = generate(path, kind, size or self.size, share)
        print(
            f"{kind}: {truth.size / 1e6:,.0f} MB, {truth.calls:,} calls, {share:.0%} of the records are about Klaviyo",
            flush=True,
        )
        yield path, truth
        path.unlink()

    def against(self, **commands: tuple[Command, int]) -> dict[str, float]:
        times, peak = measured(commands, self.rounds)
        print(f"         our largest process: {peak} MB" if peak else "", flush=True)
        return times

    def json(self) -> None:
        with self.data("json") as (path, truth):
            grep = script(GREP, path), truth.calls
            times = self.against(
                ours=(ours(path), truth.calls), rg=(["rg", "-ci", "klaviyo", str(path)], truth.mentions), grep=grep,
                json=(script(LOOP.format(module="json"), path), truth.calls), orjson=(script(LOOP.format(module="orjson"), path), truth.calls),
            )  # fmt: skip
        self.report.slower("JSON against rg -ci, which only counts", times, "rg", 4)
        self.report.faster("JSON against a json.loads loop", times, "json", 8)
        self.report.faster("JSON against an orjson loop", times, "orjson", 4.5)
        self.report.faster("JSON against grep and pandas", times, "grep", 2.5)

    def _against_rg(self, kind: str, what: str, goal: float) -> None:
        with self.data(kind) as (path, truth):
            times = self.against(
                ours=(ours(path), truth.calls), rg=(["rg", "-ci", "klaviyo", str(path)], truth.mentions)
            )
        self.report.slower(f"{what} against rg -ci", times, "rg", goal)

    def text(self) -> None:
        self._against_rg("text", "plain text", 6)

    def journald(self) -> None:
        self._against_rg("journald", "journald JSON", 4)

    def packed(self) -> None:
        with self.data("json") as (path, truth):
            for name, pack, goal in (("gz", ["gzip", "-kf"], 3.0), ("zst", ["zstd", "-qkf"], 1.5)):
                subprocess.run([*pack, str(path)], check=True)
                small = Path(f"{path}.{name}")
                rival: Command = (
                    ["zgrep", "-ci", "klaviyo", str(small)]
                    if name == "gz"
                    else f"zstd -dc {small} | rg -ci klaviyo"
                )
                times = self.against(ours=(ours(small), truth.calls), rival=(rival, truth.mentions))
                if name == "gz":
                    self.report.faster(".gz against zgrep -ci", times, "rival", goal)
                else:
                    self.report.slower(".zst against zstd -dc | rg -ci", times, "rival", goal)
                small.unlink()

    def journal(self) -> None:
        remote = shutil.which("systemd-journal-remote") or "/lib/systemd/systemd-journal-remote"
        with self.data("journald", min(self.size, 200_000_000)) as (path, truth):
            export, journal = self.folder / "export", self.folder / "journal"
            journal.mkdir()
            export_of(path, export)
            subprocess.run(
                [remote, f"--output={journal}/web.journal", str(export)], check=True, capture_output=True
            )
        rival = f"journalctl --directory={journal} -o json --output-fields={JOURNAL_FIELDS} --no-pager | rg -ci klaviyo"
        times = self.against(ours=(ours(journal), truth.calls), rival=(rival, truth.mentions))
        self.report.faster(".journal against journalctl -o json | rg", times, "rival", 6)
        export.unlink()
        shutil.rmtree(journal)

    def hits(self) -> None:
        for share in (0.01, 0.1, 0.3, 1.0):
            with self.data("flat", self.size * 3 // 10, share) as (path, truth):
                times = self.against(
                    ours=(ours(path), truth.calls), duckdb=(script(DUCKDB, path), truth.calls)
                )
            self.report.slower(f"JSON at {share:.0%} hits against DuckDB read_json", times, "duckdb", 1)

    def growth(self) -> None:
        """Four times the data; one process and two."""
        taken = {}
        for times_ in (1, 4):
            with self.data("json", self.size * times_) as (path, truth):
                commands = {"ours": (ours(path), truth.calls)}
                if times_ > 1:
                    commands |= {name: (ours(path, f"local:{name}"), truth.calls) for name in "12"}
                taken[times_] = measured(commands, min(self.rounds, 2))
        (once, small), (more, large) = taken[1], taken[4]
        self.report.line(
            "time for 4 x the data",
            more["ours"] / once["ours"],
            4.2,
            True,
            f"{more['ours']:.2f} s / {once['ours']:.2f} s",
        )
        self.report.line("peak memory for 4 x the data", large / small, 1.1, True, f"{large} MB / {small} MB")
        self.report.line("peak memory [MB]", large, 400, True, "of the largest process, at 4 x")
        self.report.line(
            "two processes against one, 4 x the data",
            more["1"] / more["2"],
            1.7,
            False,
            f"{more['1']:.2f} s / {more['2']:.2f} s",
        )

    def cluster(self) -> None:
        """Two workers of a Dask cluster that is already there, against two processes, on 4 x the data."""
        from distributed import LocalCluster

        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # for the workers, as for all other processes here
        with (
            self.data("json", self.size * 4) as (path, truth),
            LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as made,
        ):
            there = made.scheduler_address.replace("tcp://", "dask://")
            commands = {"ours": (ours(path, there), truth.calls), "two": (ours(path, "local:2"), truth.calls)}
            times, _ = measured(commands, self.rounds)
        self.report.slower("two workers of a cluster, 4 x the data", times, "two", 1.25)


NEEDS = {
    "json": ("rg",),
    "text": ("rg",),
    "journald": ("rg",),
    "packed": ("rg", "zstd", "zgrep"),
    "journal": ("rg", "journalctl"),
    "hits": (),
    "growth": (),
    "cluster": (),
}
#: Modules that are no dependencies of ours.
MODULES = {"hits": ("duckdb",), "cluster": ("distributed",)}


def size_of(text: str) -> int:
    unit = {"MB": 10**6, "GB": 10**9}[text[-2:].upper()]
    return int(float(text[:-2]) * unit)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=size_of, default=size_of("100MB"), help="e.g. 100MB, 1GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(NEEDS), help=f"of {', '.join(NEEDS)}")
    chosen = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), chosen.size, chosen.rounds)
        for name in chosen.only.split(","):
            missing = [tool for tool in NEEDS[name] if shutil.which(tool) is None]
            missing += [module for module in MODULES.get(name, ()) if find_spec(module) is None]
            if missing:
                print(f"{name}: not measured, {', '.join(missing)} is not installed")
                continue
            compare: Callable[[], None] = getattr(bench, name)
            compare()
    print(
        f"{bench.report.missed} goals missed at {chosen.size / 1e6:,.0f} MB, load {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
