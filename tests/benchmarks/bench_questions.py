"""How long does a question about calls take, in how much memory, and how does that grow?

Question: how long does each question of `logs --ask` take on a frame of 1,000,000 calls (or webhooks), how much
          memory does the whole process take, the frame included, and how does the time grow for 4 x the calls? How
          much memory if each call has a path and a message (each webhook a topic) of its own? How long do three of
          them take beside what one would write by hand in DuckDB's SQL and in pandas, on the same frame?
Data:     made from a seed; half an hour of failures in two hours, retried, with keys. What rivals find is
          checked against ours.
Unit:     seconds of processor time over all threads, the least of the rounds, in a process that has everything
          imported; beside rivals, seconds that pass, interleaved. Ratios beside their goals, misses marked.
Command:  python tests/benchmarks/bench_questions.py [--calls 1000000] [--rounds 5] [--only overview,ledger]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import QUESTIONS, by_name
from klaviyo_nb.logs.questions.overview import over_time
from klaviyo_nb.logs.questions.question import Answer, Records
from klaviyo_nb.window import Window

WINDOW = Window.last(timedelta(hours=2), datetime(2026, 11, 23, 7, tzinfo=UTC))
PLACES = [
    ("POST", "/api/events"),
    ("GET", "/api/profiles/{id}"),
    ("GET", "/api/lists"),
    ("POST", "/api/profile-import"),
    ("GET", "/api/campaigns"),
]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
FAILED = "(status_code >= 400 or error_type is not null)"


def texts(form: str, numbers: Any) -> pa.Array:
    return pa.array([form % number for number in numbers.tolist()], pa.large_string())


def calls_of(count: int, seed: int = 1, distinct: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    since = np.sort(rng.integers(0, round(WINDOW.seconds * 1e6), count))
    place = rng.choice(len(PLACES), count, p=[0.5, 0.2, 0.1, 0.15, 0.05])
    methods, paths = (np.array([each[part] for each in PLACES]) for part in (0, 1))
    draw, bad = rng.random(count), since > 5_400 * 10**6
    status = np.select(
        [bad & (draw < 0.2), bad & (draw < 0.35), bad & (draw < 0.5)],
        [429, 503, 500],
        np.where(methods[place] == "POST", 202, 200),
    )
    key = np.cumsum(rng.random(count) < 0.7)
    start = round(WINDOW.start.timestamp() * 1e6)
    columns = {
        "timestamp": pa.array(start + since, pa.timestamp("us", "UTC")), "source": texts("app.log%.0s", since), "line_no": np.arange(1, count + 1),
        "host": texts("web-%d", rng.integers(0, 8, count)), "worker": texts("w%d", rng.integers(0, 32, count)),
        "caller": texts("job-%d", rng.integers(0, 6, count)), "method": pa.array(methods[place]), "endpoint": pa.array(paths[place]),
        "status_code": status, "error_code": pa.array(np.where(status == 429, "throttled", None).tolist(), pa.large_string()),
        "answered_by": texts("klaviyo%.0s", since), "duration_s": rng.lognormal(-1.8, 0.4, count),
        "retry_after_s": np.where(status == 429, 10.0, np.nan), "request_id": texts("00000000-0000-4000-8000-%012x", rng.integers(0, 2**47, count)),
        "profile_key": texts("01GDDKASAP8TKDDA%06d", key // 3), "event_key": texts("order-%010d-paid", key),
        "revision": pa.array(np.where(rng.random(count) < 0.1, "2024-10-15", "2026-07-15")),
        "message": texts("klaviyo call %d took some time", rng.integers(0, count, count)),
    }  # fmt: skip
    if distinct:  # letters, so that no mask makes them alike
        letters = [np.char.mod("%c", 97 + np.arange(count) // 26**place % 26) for place in range(5)]
        columns["endpoint"] = texts("/api/things/x%07d", np.arange(count))
        columns["message"] = pa.array(
            ["broke at " + "".join(each) for each in zip(*letters, strict=True)], pa.large_string()
        )
    return CALLS.check(CALLS.frame(pa.table(columns).to_pandas()))


def webhooks_of(count: int, seed: int = 1, distinct: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sent = pd.Timestamp(WINDOW.start) + pd.to_timedelta(
        np.sort(rng.random(count) * (WINDOW.seconds - 200)), unit="s"
    )
    outcome = np.where(rng.random(count) < 0.01, "bad_signature", "accepted")
    topic = np.array(
        [f"event:klaviyo.{name}" for name in ("opened_email", "clicked_email", "received_email")]
    )[rng.integers(0, 3, count)]
    if distinct:
        topic = np.char.mod("topic-%07d", np.arange(count))
    return WEBHOOKS.frame(
        pd.DataFrame(
            {
                "timestamp": sent + pd.Timedelta(seconds=90),
                "sent_at": sent,
                "topic": topic,
                "outcome": outcome,
            }
        )
    )


# In a process of its own


def memory_mb(what: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(what)) // 1024


def one_question(name: str, count: int, rounds: int, distinct: bool = False) -> dict[str, float]:
    """Seconds; memory of the frames, and the most there was beside them [MB]."""
    asked = by_name(name)
    records = Records(
        CALLS.empty() if name == "webhooks" else calls_of(count, distinct=distinct),
        webhooks_of(count, distinct=distinct) if name == "webhooks" else WEBHOOKS.empty(),
    )
    asked.ask(Records(records.calls[:1_000], records.webhooks[:1_000]), WINDOW)  # imports
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)  # what making the frames left behind
    before = memory_mb("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts from here
    took = []
    for _ in range(rounds):
        started = time.process_time()
        answer = asked.ask(records, WINDOW)
        took.append(time.process_time() - started)
    assert distinct or not answer.says.startswith("Cannot tell"), answer.says
    assert not distinct or len(answer.rows) <= 5_000
    frames = sum(int(frame.memory_usage(deep=True).sum()) for frame in records) // 2**20
    return {
        "seconds": min(took),
        "frames_mb": frames,
        "more_mb": memory_mb("VmHWM") - before,
        "whole_mb": memory_mb("VmHWM"),
    }


Run = Callable[[], Any]


def sql(calls: pd.DataFrame, *queries: str) -> Run:
    def run() -> list[list[tuple[Any, ...]]]:
        import duckdb

        con = duckdb.connect()
        con.register("calls", pa.Table.from_pandas(calls, preserve_index=False))
        return [con.execute(query).fetchall() for query in queries]

    return run


def overview_rivals(calls: pd.DataFrame) -> dict[str, Run]:
    def by_hand() -> Any:
        failed = (calls["status_code"] >= 400).fillna(False) | calls["error_type"].notna()
        at = calls["timestamp"].where(failed)
        frame = calls[["method", "endpoint", "duration_s"]].assign(failed=failed, at=at)
        groups = frame.groupby(["method", "endpoint"], dropna=False)
        told = groups.agg(
            calls=("failed", "size"), failed=("failed", "sum"), first=("at", "min"), last=("at", "max")
        )
        quantiles = groups["duration_s"].quantile([0.5, 0.95])
        minutes = calls.groupby(
            [calls["timestamp"].dt.floor("min"), "method", "endpoint", calls["status_code"] // 100],
            dropna=False,
        )["timestamp"].agg(["size", "min", "max"])
        return told, quantiles, minutes

    duck = sql(
        calls,
        f"select method, endpoint, count(*), count(*) filter (where {FAILED}), min(timestamp) filter (where {FAILED}), max(timestamp) filter (where {FAILED}),"
        " quantile_cont(duration_s, [0.5, 0.95]) from calls group by all",
        "select time_bucket(interval 1 minute, timestamp), method, endpoint, status_code // 100, error_type, answered_by, count(*), min(timestamp), max(timestamp) from calls group by all",
        # the quiet part of the window: durations by five minutes
        "select time_bucket(interval 5 minute, timestamp), method, endpoint, quantile_cont(duration_s, [0.5, 0.95]) from calls group by all",
    )  # fmt: skip
    return {"duckdb": duck, "pandas": by_hand}


def overview_agrees(answer: Answer, duck: Any, calls: pd.DataFrame) -> None:
    ours = {(row.method, row.endpoint): row for row in answer.rows.itertuples()}
    for method, endpoint, count, failed, _, _, (half, high) in duck[0]:
        row: Any = ours[method, endpoint]
        assert (row.calls, row.failed) == (count, failed)
        assert abs(row.p50_s / half - 1) < 0.03
        assert abs(row.p95_s / high - 1) < 0.03
    assert over_time(calls, WINDOW)["calls"].sum() == sum(row[6] for row in duck[1])


def scopes_rivals(calls: pd.DataFrame) -> dict[str, Run]:
    def by_hand() -> Any:
        frame = calls[["method", "endpoint"]].assign(
            refused=(calls["status_code"] == 403) & calls["answered_by"].isin(["klaviyo", None]), worked=calls["status_code"].between(200, 399)
        )  # fmt: skip
        return frame.groupby(["method", "endpoint"], dropna=False).sum()

    return {"duckdb": sql(calls, "select method, endpoint, count(*) filter (where status_code = 403 and coalesce(answered_by, 'klaviyo') = 'klaviyo'),"
                                 " count(*) filter (where status_code between 200 and 399) from calls group by all"), "pandas": by_hand}  # fmt: skip


def scopes_agree(answer: Answer, duck: Any, calls: pd.DataFrame) -> None:
    assert int(answer.rows["refused"].sum()) == sum(row[2] for row in duck[0])


def revisions_rivals(calls: pd.DataFrame) -> dict[str, Run]:
    def by_hand() -> Any:
        failed = (calls["status_code"] >= 400).fillna(False) | calls["error_type"].notna()
        return failed.groupby(calls["revision"], dropna=False).agg(["size", "sum"])

    return {"duckdb": sql(calls, f"select revision, count(*), count(*) filter (where {FAILED}) from calls group by 1"), "pandas": by_hand}  # fmt: skip


def revisions_agree(answer: Answer, duck: Any, calls: pd.DataFrame) -> None:
    ours = sorted(answer.rows[["revision", "calls", "failed"]].itertuples(index=False, name=None))
    assert ours == sorted(duck[0])


RIVALS: Mapping[
    str, tuple[Callable[[pd.DataFrame], dict[str, Run]], Callable[[Answer, Any, pd.DataFrame], None]]
] = {
    "overview": (overview_rivals, overview_agrees),
    "scopes": (scopes_rivals, scopes_agree),
    "revisions": (revisions_rivals, revisions_agree),
}


def beside_rivals(name: str, count: int, rounds: int) -> dict[str, float]:
    """Seconds of ours and of each rival, on the same frame."""
    calls = calls_of(count)
    calls.loc[::50, "status_code"] = 403
    make, agree = RIVALS[name]
    asked, records = by_name(name), Records(calls, WEBHOOKS.empty())
    runs: dict[str, Run] = {"ours": lambda: asked.ask(records, WINDOW)} | make(calls)
    agree(runs["ours"](), runs["duckdb"](), calls)
    runs["pandas"]()
    took: dict[str, list[float]] = {each: [] for each in runs}
    for _ in range(rounds):
        for each, run in runs.items():
            started = time.perf_counter()
            run()
            took[each].append(time.perf_counter() - started)
    return {each: min(values) for each, values in took.items()}


# The report


def child(what: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    return found


def line(what: str, value: float, goal: float, note: str) -> bool:
    met = value <= goal
    print(
        f"  {'ok    ' if met else 'MISSED'} {what:<44} {value:7.2f}   goal <= {goal:<5g} {note}", flush=True
    )
    return met


def report(count: int, rounds: int, only: list[str]) -> int:
    missed = 0
    print(f"{count:,} calls, or webhooks; seconds are the least of {rounds}")
    for name in only:
        small, large = (
            child("question", name, count, rounds),
            child("question", name, 4 * count, rounds),
        )
        missed += not line(f"{name} [s]", small["seconds"], 2.0, "")
        missed += not line(
            f"{name}: memory of the process [MB]",
            small["whole_mb"],
            600,
            f"the frame takes {small['frames_mb']:.0f}, the answer {small['more_mb']:.0f} more",
        )
        missed += not line(
            f"{name}: time for 4 x the calls",
            large["seconds"] / small["seconds"],
            4.4,
            f"{large['seconds']:.2f} s / {small['seconds']:.2f} s",
        )
        distinct = child("distinct", name, count, 1)
        missed += not line(
            f"{name}: memory, all different [MB]", distinct["whole_mb"], 600, f"{distinct['seconds']:.2f} s"
        )
    for name in filter(RIVALS.__contains__, only):
        times = child("rivals", name, count, rounds)
        missed += not line(
            f"{name} against DuckDB's SQL",
            times["ours"] / times["duckdb"],
            1.2,
            f"{times['ours']:.3f} s / {times['duckdb']:.3f} s",
        )
        print(
            f"         {name} against pandas, by hand {times['ours'] / times['pandas']:22.2f}   {times['ours']:.3f} s / {times['pandas']:.3f} s",
            flush=True,
        )
    return missed


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        what, name, count, rounds = sys.argv[2:6]
        if what == "rivals":
            found = beside_rivals(name, int(count), int(rounds))
        else:
            found = one_question(name, int(count), int(rounds), what == "distinct")
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(QUESTIONS))
    options = parser.parse_args()
    missed = report(options.calls, options.rounds, options.only.split(","))
    print(f"{missed} goals missed")


if __name__ == "__main__":
    main()
