"""How often does the interval of onset and recovery hold the truth, and how wide is it?

Question: on reporting worlds with a known first and last failing call, does the interval hold it? Does a healthy
          world have an onset? What was under way when the window began should have none.
Rivals:   PELT with a BIC penalty on the share of failures per minute (`ruptures`, `jump=1`), and the first minute
          with over 5 % failures. Each gives a minute; its interval is that minute with a scrape interval around it.
          They are given the counts that the verdict is decided from; their end is the last border, or last bin.
Data:     worlds of drills/reporting, served, collected and read as users do. Each ends at a moment that its name
          gives, not now: where the window begins within a second and between two scrapes is part of the world.
Unit:     share of worlds; median widths of onset and end in scrape intervals of 15 s.
Command:  python tests/benchmarks/bench_onset.py [--seeds 3] [--first-seed 701]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import ruptures

from klaviyo_nb.collect import collect
from klaviyo_nb.diagnosis.counted import tally
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.times import times_of
from klaviyo_nb.drills.score import Task, cells
from klaviyo_nb.drills.server import serve
from klaviyo_nb.drills.worlds import generator
from klaviyo_nb.settings import load
from klaviyo_nb.start import redactor_for, window_of

SCRAPE, MINUTE, NOISE = timedelta(seconds=15), timedelta(minutes=1), 0.05
#: Worlds end on this day.
DAY = datetime(2026, 3, 2, tzinfo=UTC)
Span = tuple[datetime, datetime] | None


class Found(NamedTuple):
    """Onset and end by one method."""

    onset: Span
    recovered: Span


def ours(evidence: Any) -> Found:
    times = times_of(evidence)
    return Found(*(each and (each.earliest, each.latest) for each in (times.onset, times.recovered)))


def _minutes(evidence: Any) -> tuple[Any, Any]:
    """Calls and failures per minute of what the verdict counts."""
    counted = tally(evidence, Thresholds())
    size = math.ceil(evidence.window.seconds / 60)
    if counted is None:
        return np.zeros(size), np.zeros(size)
    frame = counted.frame
    at = ((frame["timestamp"] - evidence.window.start) // MINUTE).to_numpy()
    calls = frame["calls"].to_numpy()
    failed = np.where(frame["kind"].notna(), calls, 0.0)
    return np.bincount(at, calls, size)[:size], np.bincount(at, failed, size)[:size]


def _around(evidence: Any, minute: int) -> Span:
    start = evidence.window.start + minute * MINUTE
    return start - SCRAPE, start + MINUTE + SCRAPE


def first_bin(evidence: Any) -> Found:
    calls, failed = _minutes(evidence)
    over = np.flatnonzero(failed > NOISE * np.maximum(calls, 1e-9))
    if not len(over):
        return Found(None, None)
    ended = over[-1] < len(calls) - 15  # the last part of the window is well
    return Found(
        _around(evidence, over[0]) if over[0] else None, _around(evidence, over[-1]) if ended else None
    )


def pelt(evidence: Any) -> Found:
    calls, failed = _minutes(evidence)
    kept = np.flatnonzero(calls > 0)
    if len(kept) < 4:
        return Found(None, None)
    share = failed[kept] / calls[kept]
    penalty = 2 * np.log(len(share)) * max(share.var(), 1e-9)
    cuts = [0, *ruptures.Pelt(model="l2", jump=1, min_size=2).fit(share).predict(pen=penalty)]
    bad = [
        failed[kept[a:b]].sum() > NOISE * calls[kept[a:b]].sum() for a, b in zip(cuts, cuts[1:], strict=False)
    ]
    if not any(bad):
        return Found(None, None)
    last = max(number for number, fails in enumerate(bad) if fails)
    first = last
    while first and bad[first - 1]:
        first -= 1
    begun = _around(evidence, kept[cuts[first]]) if first else None
    return Found(begun, _around(evidence, kept[cuts[last + 1] - 1]) if last + 1 < len(bad) else None)


METHODS: dict[str, Callable[[Any], Found]] = {
    "ours": ours,
    "PELT, BIC": pelt,
    "first bin over 5 %": first_bin,
}


def look(task: Task) -> tuple[Task, Any, Any, bool, dict[str, Found]]:
    """Make a world, serve it, collect, and ask each method; truth, window, was a call counted, what was found."""
    now = _end_of(task)
    world = generator(task.worlds).make(task.level, task.kind, task.seed, now)
    with tempfile.TemporaryDirectory() as folder, serve(world, Path(folder), now.timestamp) as services:
        settings = load(services.environ)
        asking = collect(settings, window_of(settings, now), redactor_for(settings), clock=lambda: now)
        evidence = asyncio.run(asking)
    seen = tally(evidence, Thresholds()) is not None
    return task, world.truth, evidence.window, seen, {name: find(evidence) for name, find in METHODS.items()}


def _end_of(task: Task) -> datetime:
    """When its window ends; the same whenever and however often it is made."""
    rng = random.Random(f"{task.level}/{task.kind}/{task.seed}")
    return DAY + timedelta(seconds=rng.uniform(0, 86_400))


def _holds(span: Span, moment: datetime | None, start: datetime) -> bool:
    if span is None:  # right where nothing began, or before anybody looked
        return moment is None or moment < start
    return moment is not None and span[0] <= moment <= span[1]


def _line(level: str, name: str, rows: list[Any]) -> str:
    broken = [row for row in rows if row[1].onset is not None and row[3]]
    healthy = [row for row in rows if row[1].cause == "healthy"]
    begun = [_holds(row[4][name].onset, row[1].onset, row[2].start) for row in broken]
    over = [_holds(row[4][name].recovered, row[1].recovered, row[2].start) for row in broken]
    false = [row[4][name].onset is not None for row in healthy]
    widths = [
        _width(row[4][name].onset for row in broken),
        _width(row[4][name].recovered for row in broken if row[1].recovered),
    ]
    shares = [f"{sum(each) / len(each):.1%}" if each else "–" for each in (begun, over, false)]
    n = f"{len(broken)}+{len(healthy)}"
    cells = [shares[0], widths[0], shares[1], widths[1], shares[2]]
    return f"| {level:<11} | {name:<18} | {n:>8} | " + " | ".join(f"{each:>6}" for each in cells) + " |"


def _width(found: Iterable[Span]) -> str:
    """Median of those that were found, in scrape intervals."""
    spans = [span for span in found if span]
    return f"{median((until - since) / SCRAPE for since, until in spans):.1f}" if spans else "–"


def _print(rows: Iterable[Any], wrong: bool) -> None:
    by_level = defaultdict(list)
    for row in rows:
        by_level[row[0].level].append(row)
    print("| level       | method             |   worlds |  onset |  width |    end |  width |  false |")
    print("|-------------|--------------------|---------:|-------:|-------:|-------:|-------:|-------:|")
    for level, group in by_level.items():
        for name in METHODS:
            print(_line(level, name, group))
    for task, truth, window, seen, found in (row for group in by_level.values() for row in group if wrong):
        if truth.onset and seen and not _holds(found["ours"].onset, truth.onset, window.start):
            print(f"  {task.level}/{task.kind} {task.seed}: {truth.onset}, found {found['ours'].onset}")


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--first-seed", type=int, default=701)
    options.add_argument("--wrong", action="store_true", help="print the worlds whose onset was missed")
    given = options.parse_args()
    tasks = cells("reporting", given.seeds, None, given.first_seed)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("forkserver")) as pool:
        rows = [each.result() for each in as_completed([pool.submit(look, task) for task in tasks])]
    order = {task: number for number, task in enumerate(tasks)}
    _print(sorted(rows, key=lambda row: order[row[0]]), given.wrong)
    return 0


if __name__ == "__main__":
    sys.exit(main())
