"""What is a verdict from logs alone worth, and what do contrast and rate-limit forensics add to it?

Question: where nothing but the logs was asked (no probe, metrics or status page), how often is the cause right, is
          it among the rivals, is the severity right, and do the actions name who it is: the runaway job, the one
          machine?
Rival:    the same decision on the same calls that do not tell who made them (host, worker, caller, SDK, revision,
          attempt): so there is nothing to contrast, and nobody whose calls spend a limit.
Data:     the made-up worlds of `klaviyo-nb drill --score`; those in which no log is read are left out.
Unit:     shares of worlds. Truths that logs cannot tell (an outage is one only by the status page; our health route)
          count as wrong for both: the rivals are where they belong.
Command:  python tests/benchmarks/bench_logs_only.py [--seeds 1] [--first-seed 1102] [--only realistic] [--list]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from klaviyo_nb import logs
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.drills import cells
from klaviyo_nb.drills.score import cells as tasks_of
from klaviyo_nb.drills.worlds import Truth, generator
from klaviyo_nb.evidence import Evidence, Gap
from klaviyo_nb.frames import CALLS, as_texts
from klaviyo_nb.response.actions import actions_for

WHO = ("host", "worker", "caller", "sdk", "revision", "attempt")
NOT_ASKED = tuple(Gap(name, "not asked", configured=False) for name in ("probes", "status_page", "metrics"))


class Said(NamedTuple):
    """A verdict beside the truth; `named`: do the actions name a culprit? None: there is none."""

    right: bool
    held: bool
    severe: bool
    abstained: bool
    false_alarm: bool
    named: bool | None
    cause: str


def judged(evidence: Evidence, truth: Truth, culprits: set[str]) -> Said:
    verdict = decide(evidence)
    words = " ".join(f"{each.title} {each.why} {each.command}" for each in actions_for(verdict, evidence))
    right = verdict.cause == truth.cause
    return Said(
        right,
        right or truth.cause in {each.cause for each in verdict.rivals},
        right and verdict.severity == truth.severity,
        verdict.cause == "inconclusive",
        truth.cause == "healthy" and verdict.cause not in ("healthy", "inconclusive"),
        any(name in words for name in culprits) if culprits else None,
        verdict.cause,
    )


def culprits_of(kind: str) -> set[str]:
    """Jobs that began to run, and machines on which alone calls fail to the end."""
    scenario = {**cells.ORDINARY, **cells.TRICKY}.get(kind)
    if scenario is None:
        return set()
    jobs = {each.name for each in scenario.callers if each.since_min is not None}
    return jobs | {host for phase in scenario.phases if not phase.until_min for host in phase.hosts}


def world(worlds: str, level: str, kind: str, seed: int, now: datetime) -> tuple[Said, Said, Truth] | None:
    """With and without knowing who made the calls; None: no log is read."""
    made = generator(worlds).make(level, kind, seed, now)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in made.logs.items():
            (Path(folder) / name).write_text(text, "utf-8")
        read = logs.read([f"{folder}/{name}" for name in made.logs], made.window, redact=str)
    if not read.coverage:
        return None
    evidence = Evidence(made.window, made.window.end, calls=read.calls, webhooks=read.webhooks, coverage=read.coverage,
                        gaps=NOT_ASKED)  # fmt: skip
    blank = as_texts(read.calls).assign(**dict.fromkeys(WHO))
    return (
        judged(evidence, made.truth, culprits_of(kind)),
        judged(replace(evidence, calls=CALLS.frame(blank)), made.truth, culprits_of(kind)),
        made.truth,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1102)
    parser.add_argument("--only", help="worlds whose level/kind has this in it")
    parser.add_argument("--worlds", default="development")
    parser.add_argument("--list", action="store_true", help="each world that is wrong")
    options = parser.parse_args()
    now, found = datetime(2026, 11, 23, 7, tzinfo=UTC), []
    for task in tasks_of(options.worlds, options.seeds, options.only, options.first_seed):
        told = world(options.worlds, task.level, task.kind, task.seed, now)
        if told is None:
            continue
        found.append(told)
        if options.list and (not told[0].severe or told[0] != told[1]):
            print(f"  {task.level}/{task.kind} {task.seed}: is {told[2].cause} {told[2].severity}")
            for name, each in zip(("with", "without"), told, strict=False):
                print(f"    {name}: {each.cause}, severity right: {each.severe}, named: {each.named}")
    print(f"{len(found)} worlds, logs only; with who made the calls / without")
    for name in ("right", "held", "severe", "abstained", "false_alarm"):
        both = [sum(getattr(each[which], name) for each in found) / len(found) for which in (0, 1)]
        print(f"  {name:12} {both[0]:6.1%} / {both[1]:6.1%}")
    culprits = [each for each in found if each[0].named is not None]
    named = [sum(bool(each[which].named) for each in culprits) for which in (0, 1)]
    print(f"  culprit named {named[0]} / {named[1]} of {len(culprits)}")


if __name__ == "__main__":
    main()
