"""Does `klaviyo-nb triage --deadline` keep its deadline and its memory, whatever everybody else does?

One real process per fault: status page, API, application, webhook route and metrics server all have the fault,
and it reads a log of 200 MB beside a named pipe that nobody writes to. Then the same without logs and metrics.
Unit: seconds of wall time over the deadline, start-up included, and MB of resident memory. There is no rival.
Goals: at most 0.5 s over, under 200 MB. Exits 1 if a process did not decide, or a probe's row or a gap is missing.

    python tests/benchmarks/bench_deadline.py [--deadline 3] [--log-mb 200] [--only FAULT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from probes_world import ALL, ASKED, FAULTS, KEY, Fault, World, loop_for_ever, many_heads

METRICS = "/api/v1/query_range"
OVER_S, MEMORY_MB = 0.5, 200
#: Faults whose rows differ from probe to probe: only that there is one is checked, or a gap of its name.
OTHERS = {"redirects for ever": loop_for_ever, "interim answers for ever": many_heads}


@dataclass(frozen=True)
class Run:
    """One process."""

    fault: str
    history: bool
    wall_s: float
    memory_mb: float
    wrong: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deadline", type=float, default=3.0)
    parser.add_argument("--log-mb", type=int, default=200)
    parser.add_argument("--only", help="one fault")
    given = parser.parse_args()
    faults = {name: fault.route for name, fault in FAULTS.items()} | OTHERS
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        logs = (big_log(Path(folder, "app.log"), given.log_mb), silent_pipe(Path(folder, "pipe.log")))
        triage(
            World(), "http://127.0.0.1:9", logs, given.deadline
        )  # compiles, and fills the caches of the disk
        for name in [given.only] if given.only else faults:
            world = World(dict.fromkeys((*ALL, METRICS), faults[name]))
            with served(world) as root:
                for history in (False, True):
                    run = checked(name, world, root, logs if history else (), given.deadline)
                    runs.append(run)
                    show(run, given.deadline)
    worst = max(run.wall_s for run in runs) - given.deadline
    most = max(run.memory_mb for run in runs)
    print(
        f"worst overrun {worst:+.2f} s (goal: at most {OVER_S}); most memory {most:.0f} MB (goal: under {MEMORY_MB})"
    )
    return 1 if any(run.wrong for run in runs) else 0


def show(run: Run, deadline_s: float) -> None:
    """One line per process."""
    with_what = "with logs and metrics" if run.history else "probes only"
    print(
        f"{run.fault:>28}, {with_what:<21}: {run.wall_s - deadline_s:+6.2f} s, {run.memory_mb:4.0f} MB",
        *run.wrong,
    )


def checked(name: str, world: World, root: str, logs: tuple[Path, ...], deadline_s: float) -> Run:
    """Run one process and say what is missing from its answer."""
    document, wall_s, memory_mb, said = triage(world, root, logs, deadline_s)
    if document is None:
        return Run(name, bool(logs), wall_s, memory_mb, (f"it did not decide: {said[-300:]}",))
    rows = {row["probe"]: (row["status_code"], row["error_type"]) for row in document["probes"]}
    gaps = {gap["signal"] for gap in document["gaps"]}
    wrong = [f"{probe} is neither row nor gap" for probe in ASKED if probe not in rows and probe not in gaps]
    fault: Fault | None = FAULTS.get(name)
    for probe in ASKED if fault else ():
        if probe in rows and rows[probe] != fault.expected(probe):
            wrong.append(f"{probe}: {rows[probe]}, not {fault.expected(probe)}")
    wrong += [
        f"no gap for {what}"
        for what in (*map(str, logs[1:]), *(["metrics"] if logs else []))
        if what not in gaps
    ]
    if logs and not document["facts"]["calls"] and str(logs[0]) not in gaps:
        wrong.append("nothing of the log was read, and no gap says so")
    if document["budget"]["api_calls"] > document["budget"]["allowed"]:
        wrong.append(f"{document['budget']['api_calls']} API calls")
    return Run(name, bool(logs), wall_s, memory_mb, tuple(wrong))


def triage(
    world: World, root: str, logs: tuple[Path, ...], deadline_s: float
) -> tuple[Any, float, float, str]:
    """The verdict (None if there is none), seconds, MB, and what was said on stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    environ = clean | {
        "KLAVIYO_PRIVATE_KEY": KEY, "KLAVIYO_NB_API_URL": root, "KLAVIYO_NB_STATUS_URL": root,
        "KLAVIYO_NB_HEALTH_URL": f"{root}/health", "KLAVIYO_NB_WEBHOOK_URL": f"{root}/hook",
    }  # fmt: skip
    sources = [word for path in logs for word in ("--logs", str(path))] + (
        ["--metrics", root] if logs else []
    )
    command = [
        sys.executable,
        "-m",
        "klaviyo_nb",
        "triage",
        "--format",
        "json",
        "--deadline",
        f"{deadline_s:g}s",
        *sources,
    ]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=err)
        _, _, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        text, said = out.read().decode(), err.read().decode()
    return (json.loads(text) if text else None), wall_s, usage.ru_maxrss / 1024, said


def big_log(path: Path, megabytes: int) -> Path:
    """Calls that succeed, evenly over the last two hours."""
    now = datetime.now(UTC)
    line = '{{"time":"{}","level":"info","msg":"klaviyo call","method":"POST","url":"https://a.klaviyo.com/api/events","status":202,"duration_ms":120}}\n'
    count = megabytes * 1_000_000 // len(line.format(now.isoformat()))
    with path.open("w") as file:
        for index in range(count):
            at = now - timedelta(seconds=7_200 * (count - 1 - index) / count)
            file.write(line.format(at.isoformat()))
    return path


def silent_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@contextmanager
def served(world: World) -> Iterator[str]:
    """`world` behind a port, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(world._serve, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(world._hang_up(), loop).result()
        loop.call_soon_threadsafe(loop.stop)


if __name__ == "__main__":
    sys.exit(main())
