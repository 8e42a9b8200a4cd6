"""How often the verdict is right: worlds with a hidden truth, triaged on the path that users take, counted.

Nothing is short-cut: services on local sockets, probes, log files through the reader, the metrics client,
`decide`. The score is of the verdict, not of this machine: the reading of logs has no deadline, and a world
is judged again, whatever was said, if this process got no time to run meanwhile. Beside it stand rules that
look at one thing only.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from klaviyo_nb.collect import collect
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.drills.baselines import RULES
from klaviyo_nb.drills.worlds import GENERATORS, Truth, generator
from klaviyo_nb.settings import load
from klaviyo_nb.start import redactor_for, utc_now, window_of

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Severity
    from klaviyo_nb.evidence import Evidence

SCHEMA = "klaviyo-nb/score/1"
#: Worlds at a time per processor: a verdict mostly waits, for a service that hangs up to the deadline.
AT_A_TIME = 2
#: Probes give up after some seconds: a process that stood still so long cannot tell who was late [s].
STOOD_STILL_S, TRIES = 1.5, 4
#: What a verdict imports; else the first one of each process would spend its time on that.
_PRELOADED = [
    __name__,
    "klaviyo_nb.drills.server",
    "klaviyo_nb.logs",
    "klaviyo_nb.metrics",
    *GENERATORS.values(),
]


@dataclass(frozen=True, slots=True)
class Task:
    """One world to judge."""

    worlds: str
    level: str
    kind: str
    seed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One world, and what was said of it.

    Attributes:
        task: Which.
        truth: What is hidden in it; None if it crashed.
        said: The verdict's cause; None if it crashed.
        severity: The verdict's.
        rivals: The verdict's, in order.
        seconds: From the first question to the verdict.
        api_calls: Requests to the API host.
        rules: Baseline → the cause that it names.
        crash: What went wrong instead.
        again: How often it was judged while the process stood still; `TRIES`: this time as well.
    """

    task: Task
    truth: Truth | None = None
    said: Cause | None = None
    severity: Severity | None = None
    rivals: tuple[Cause, ...] = ()
    seconds: float | None = None
    api_calls: int | None = None
    rules: Mapping[str, Cause] | None = None
    crash: str | None = None
    again: int = 0


def judge(task: Task) -> Judged:
    """Make the world, serve it, triage it; again, while this process gets no time to run."""
    for again in range(TRIES):
        judged, still_s = _judge(task)
        if still_s < STOOD_STILL_S:
            return replace(judged, again=again)
    return replace(judged, again=TRIES)


def _judge(task: Task) -> tuple[Judged, float]:
    """What was said, and how long at most the process stood still meanwhile [s]."""
    from klaviyo_nb.drills.server import serve

    now = utc_now()
    world = generator(task.worlds).make(task.level, task.kind, task.seed, now)
    with (
        tempfile.TemporaryDirectory(prefix="klaviyo-nb-score-") as folder,
        serve(world, Path(folder)) as services,
    ):
        settings = load(services.environ)
        started = perf_counter()
        asking = collect(settings, window_of(settings, now), redactor_for(settings))
        evidence, still_s = asyncio.run(_watched(asking))
        verdict = decide(evidence)
        seconds = perf_counter() - started
    judged = Judged(
        task,
        world.truth,
        verdict.cause,
        verdict.severity,
        tuple(rival.cause for rival in verdict.rivals),
        seconds,
        evidence.budget.api_calls,
        {name: rule(evidence) for name, rule in RULES.items()},
    )
    return judged, still_s


async def _watched(asking: Coroutine[Any, Any, Evidence]) -> tuple[Evidence, float]:
    """What was collected, and the longest delay of a timer meanwhile [s]."""
    task, still_s, tick_s = asyncio.create_task(asking), 0.0, 0.05
    while not task.done():
        before = perf_counter()
        await asyncio.wait([task], timeout=tick_s)
        still_s = max(still_s, perf_counter() - before - tick_s)
    return task.result(), still_s


def judge_all(tasks: Sequence[Task], progress: Callable[[str], None] = lambda _: None) -> list[Judged]:
    """Judge all, several at a time in processes of their own; a crash is a result as well."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    workers = min(len(tasks), AT_A_TIME * (os.cpu_count() or 1))
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(judge, task): task for task in tasks}
        for number, _ in enumerate(as_completed(futures), 1):
            if number % 100 == 0 or number == len(tasks):
                progress(f"{number} of {len(tasks)} worlds")
        return [_result(future, task) for future, task in futures.items()]


def _result(future: Future[Judged], task: Task) -> Judged:
    trouble = future.exception()
    return Judged(task, crash=f"{type(trouble).__name__}: {trouble}") if trouble else future.result()


def cells(worlds: str, seeds: int, only: str | None = None, first_seed: int = 1) -> list[Task]:
    """The tasks of every cell whose `level/kind` contains `only`, `seeds` of each from `first_seed` on."""
    return [
        Task(worlds, level, kind, seed)
        for level, kinds in generator(worlds).LEVELS.items()
        for kind in kinds
        if only is None or only in f"{level}/{kind}"
        for seed in range(first_seed, first_seed + seeds)
    ]


def document(judged: Sequence[Judged], worlds: str, seeds: int, first_seed: int = 1) -> dict[str, Any]:
    """The score as plain values: `cells`, `levels`, `confusion`, `wrong`, `judged_again`, `crashed`.

    Of each cell and level: `n` worlds; shares of them, 0 to 1: `top1` (the cause is the truth),
    `truth_in_rivals` (the truth is the cause or among its rivals), `abstained` (said `inconclusive`),
    `false_alarms` (an incident in a healthy world), `baselines` (top-1 of each rule); `severity_right`, a
    share of those whose cause is right, and `second_named`, of those that hold a second cause: None where
    there is none; `seconds` (median) and `api_calls` (mean) per verdict. A crash is a world that is wrong.
    """
    majority = _majority(judged)
    by_cell = _grouped(judged, lambda each: (each.task.level, each.task.kind))
    by_level = _grouped(judged, lambda each: (each.task.level,))
    confusion = Counter((each.truth.cause, each.said) for each in judged if each.truth)
    return {
        "schema": SCHEMA,
        "worlds": worlds,
        "seeds": seeds,
        "first_seed": first_seed,
        "cells": [
            {"level": level, "kind": kind} | summed(rows, majority) for (level, kind), rows in by_cell.items()
        ],
        "levels": [{"level": level} | summed(rows, majority) for (level,), rows in by_level.items()],
        "confusion": [
            {"truth": truth, "said": said, "n": count} for (truth, said), count in sorted(confusion.items())
        ],
        "wrong": list(_wrong(judged)),
        "judged_again": sum(each.again for each in judged),
        "crashed": [asdict(each.task) | {"crash": each.crash} for each in judged if each.crash],
    }


def summed(rows: Sequence[Judged], majority: str | None) -> dict[str, Any]:
    """The figures of one group of worlds; see `document`."""
    right = [each for each in rows if each.truth and each.said == each.truth.cause]
    pairs = [(each, each.truth.second) for each in rows if each.truth and each.truth.second]
    found = {"majority": sum(each.truth is not None and each.truth.cause == majority for each in rows)}
    found |= {name: sum(_rule_is_right(each, name) for each in rows) for name in RULES}
    seconds = [each.seconds for each in rows if each.seconds is not None]
    calls = [each.api_calls for each in rows if each.api_calls is not None]
    return {
        "n": len(rows),
        "top1": _share(len(right), len(rows)),
        "truth_in_rivals": _share(sum(map(_holds_the_truth, rows)), len(rows)),
        "abstained": _share(sum(each.said == "inconclusive" for each in rows), len(rows)),
        "severity_right": _share(sum(map(_severity_is_right, right)), len(right)),
        "false_alarms": _share(sum(map(_is_false_alarm, rows)), len(rows)),
        "second_named": _share(sum(second in each.rivals for each, second in pairs), len(pairs)),
        "crashed": sum(each.crash is not None for each in rows),
        "seconds": round(median(seconds), 2) if seconds else None,
        "api_calls": round(mean(calls), 2) if calls else None,
        "baselines": {name: _share(count, len(rows)) for name, count in found.items()},
    }


def _majority(judged: Iterable[Judged]) -> str | None:
    """The most frequent truth of all."""
    counts = Counter(each.truth.cause for each in judged if each.truth)
    return counts.most_common(1)[0][0] if counts else None


def _grouped(
    judged: Iterable[Judged], key: Callable[[Judged], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Judged]]:
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for each in judged:
        groups.setdefault(key(each), []).append(each)
    return groups


def _wrong(judged: Iterable[Judged]) -> Iterator[dict[str, Any]]:
    """Worlds whose cause, or severity, was missed."""
    for each in judged:
        if each.truth and (each.said != each.truth.cause or not _severity_is_right(each)):
            yield {
                **{name: getattr(each.task, name) for name in ("level", "kind", "seed")},
                "truth": each.truth.cause,
                "said": each.said,
                "truth_severity": each.truth.severity,
                "said_severity": each.severity,
                "rivals": list(each.rivals),
            }


def _holds_the_truth(each: Judged) -> bool:
    return each.truth is not None and each.truth.cause in (each.said, *each.rivals)


def _severity_is_right(each: Judged) -> bool:
    return each.truth is not None and each.severity == each.truth.severity


def _is_false_alarm(each: Judged) -> bool:
    return (
        each.truth is not None
        and each.truth.cause == "healthy"
        and each.said not in ("healthy", "inconclusive")
    )


def _rule_is_right(each: Judged, rule: str) -> bool:
    return each.truth is not None and each.rules is not None and each.rules[rule] == each.truth.cause


def _share(count: int, whole: int) -> float | None:
    return round(count / whole, 4) if whole else None
