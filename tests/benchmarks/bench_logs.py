"""How fast do logs become calls?

Question: how long does a whole process take from a log file to a CALLS frame and calls per minute, beside
`rg -ci klaviyo` (which only counts lines), a `json.loads` loop over every line, and an `orjson` loop?
Data:     one file of JSON lines per share of hits, made from a seed; read warm.
Unit:     seconds, the median of the rounds; ratios to ours, rivals interleaved with us.
Command:  python tests/benchmarks/bench_logs.py [--mb 200] [--hits 0.03] [--rounds 3] [--kind json|text|journald]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
ENDPOINTS = (
    "/api/events",
    "/api/profiles",
    "/api/profile-import",
    "/api/lists/AbC123/relationships/profiles",
)

OURS = """
import sys
from datetime import datetime, timedelta, UTC
from klaviyo_nb import logs
from klaviyo_nb.logs.calls import by
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window
window = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC))
found = logs.read([sys.argv[1]], window, redact=Redactor(b"bench").text)
by(found.calls, ["minute"])
print(len(found.calls))
"""
LOOP = """
import sys, {module} as json, collections
calls, minutes = 0, collections.Counter()
with open(sys.argv[1], "rb") as file:
    for line in file:
        data = json.loads(line)
        if "klaviyo" in str(data.get("name")).lower():
            calls += 1
            minutes[data["time"] // 60000] += 1
print(calls)
"""


def json_call(rng: random.Random, at: datetime) -> str:
    status = rng.choice((200, 202, 202, 202, 429))
    return json.dumps({
        "level": 30 if status < 400 else 50, "time": round(at.timestamp() * 1000), "pid": 17, "hostname": f"web-{rng.randint(1, 4)}",
        "name": "klaviyo", "method": "POST", "url": "https://a.klaviyo.com" + rng.choice(ENDPOINTS), "statusCode": status,
        "durationMs": rng.randint(20, 900), "requestId": f"{rng.getrandbits(32):08x}-0000-4000-8000-{rng.getrandbits(48):012x}",
        "msg": "call failed" if status >= 400 else "call done",
    })  # fmt: skip


def json_noise(rng: random.Random, at: datetime) -> str:
    return json.dumps({
        "level": 30, "time": round(at.timestamp() * 1000), "pid": 17, "hostname": f"web-{rng.randint(1, 4)}", "name": "shop",
        "path": f"/checkout/{rng.randint(1, 999)}", "statusCode": 200, "trace": f"{rng.getrandbits(128):032x}",
        "msg": rng.choice(("cart updated", "order paid and handed over to the warehouse", "cache refreshed", "page rendered through the edge")),
    })  # fmt: skip


def text_call(rng: random.Random, at: datetime) -> str:
    status = rng.choice((200, 202, 202, 202, 429))
    stamp = at.isoformat(" ", "milliseconds").replace(".", ",").removesuffix("+00:00")
    return f"{stamp} INFO [worker-{rng.randint(1, 4)}] shop.klaviyo: POST https://a.klaviyo.com{rng.choice(ENDPOINTS)} -> {status} in 0.{rng.randint(100, 999)}s"


def text_noise(rng: random.Random, at: datetime) -> str:
    stamp = at.isoformat(" ", "milliseconds").replace(".", ",").removesuffix("+00:00")
    return f"{stamp} INFO [worker-{rng.randint(1, 4)}] shop.orders: order {rng.getrandbits(40)} paid and handed over to the warehouse"


def journald(line: str, at: datetime) -> str:
    return json.dumps({
        "__REALTIME_TIMESTAMP": str(round(at.timestamp() * 1e6)), "_HOSTNAME": "web-1", "_PID": "17", "PRIORITY": "6",
        "_BOOT_ID": "a" * 32, "_MACHINE_ID": "b" * 32, "_SYSTEMD_UNIT": "shop.service", "SYSLOG_IDENTIFIER": "shop",
        "_CMDLINE": "/usr/bin/node /srv/shop/server.js --production", "_SYSTEMD_CGROUP": "/system.slice/shop.service", "MESSAGE": line,
    }, separators=(",", ":"))  # fmt: skip


def generate(path: Path, megabytes: int, share: float, kind: str) -> int:
    """Write the file; say how many calls are in it. A small pool of lines is repeated with times of their own."""
    rng = random.Random(7)
    call, noise = (text_call, text_noise) if kind != "json" else (json_call, json_noise)
    at, size, calls = START, 0, 0
    with path.open("w") as file:
        while size < megabytes * 1_000_000:
            at += timedelta(milliseconds=rng.randint(1, 9))
            hit = rng.random() < share
            calls += hit
            line = (call if hit else noise)(rng, at)
            line = journald(line, at) if kind == "journald" else line
            size += file.write(line + "\n")
    return calls


def timed(command: list[str]) -> tuple[float, int]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--hits", type=float, default=0.03)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=("json", "text", "journald"), default="json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.log"
        calls = generate(path, chosen.mb, chosen.hits, chosen.kind)
        rivals = {"ours": [sys.executable, "-c", OURS, str(path)]}
        if shutil.which("rg"):
            rivals["rg -ci, counting lines only"] = ["rg", "-ci", "klaviyo", str(path)]
        if chosen.kind == "json":
            rivals["json.loads loop"] = [sys.executable, "-c", LOOP.format(module="json"), str(path)]
            rivals["orjson loop"] = [sys.executable, "-c", LOOP.format(module="orjson"), str(path)]
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(chosen.rounds):
            for name, command in rivals.items():
                seconds, count = timed(command)
                assert count == calls, f"{name} found {count} calls of {calls}"
                times[name].append(seconds)
    ours = statistics.median(times["ours"])
    print(
        f"{chosen.kind}, {chosen.mb} MB, {calls:,} calls ({chosen.hits:.0%} of lines), median of {chosen.rounds}"
    )
    for name, each in times.items():
        median = statistics.median(each)
        print(f"  {name:<30} {median:6.2f} s   ours takes {ours / median:5.2f} x its time")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  largest process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
