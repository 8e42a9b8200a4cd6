"""When is what a rate limit refused served? Is it then, and within the interval that is told?

Question: how often does `clears_at` of `logs --ask ratelimit` lie within 10 % of the truth, how often does the
          interval hold the truth, and how wide is it? In how many worlds could anybody know it?
Data:     made-up servers and clients (tests/ratelimit_worlds.py): rates, length of the burst, end of the log,
          waiting or hammering clients, `Retry-After` told or not, all from the seed.
Rival:    somebody who knows the server, its windows and what is left of them, each waiting call, the rule of
          its pauses and the rates of what comes: everything but chance. The end of the log is played on 50 times
          from the very state there, and the middle of the times is what the rival says.
Predictable: a world in which at least 90 % of those 50 lie within 10 % of their middle. Where they do not, the
          same log has different ends, and no answer can be within 10 % of all of them.
Unit:     shares of worlds in which it will be served within the simulation.
Command:  python tests/benchmarks/bench_recovery.py [--first-seed 5000] [--worlds 60]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from klaviyo_nb.logs.questions.ratelimit import ratelimit
from ratelimit_worlds import START, story

#: How long after the end of a log it is looked at [s].
FOLLOWED_S = 4000
#: Ends of each log that are played, and the share of them that must be alike where anybody could know.
ENDS, ALIKE = 50, 0.9
#: So far off is right enough [1].
CLOSE = 0.1


class Told(NamedTuple):
    """Of a world, seconds from the end of its log.

    Attributes:
        truth: When nothing waited any more.
        said: What the answer says.
        soonest: The earliest that it names.
        latest: The latest that it names; inf: none.
        ends: When nothing waited, of other ends of the same log.
    """

    truth: float
    said: float
    soonest: float
    latest: float
    ends: Any

    @property
    def rival(self) -> float:
        """The middle of what could have been."""
        return float(np.median(self.ends))

    @property
    def alike(self) -> float:
        """Share of the ends that are close to their middle."""
        return float(np.mean(np.abs(self.ends / self.rival - 1) < CLOSE))


def world(seed: int) -> Told | None:
    """One world; None: it has no time to tell, or none is told."""
    rng = np.random.default_rng(seed)
    web, usual, burst = rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.5), rng.uniform(3, 5)
    begins, lasts, after = rng.uniform(600, 1200), rng.uniform(120, 600), rng.uniform(120, 400)
    cut = begins + lasts + after
    rates = {"web": lambda _: web, "job": lambda at: burst if begins <= at < begins + lasts else usual}
    found = story(
        seed, rates=rates, heeds=bool(rng.random() < 0.5), tells=bool(rng.random() < 0.5), cut_s=cut,
        until_s=cut + FOLLOWED_S,
    )  # fmt: skip
    rows = ratelimit(found.calls, found.window)
    rows = rows[(rows["window_s"] == 60) & rows["clears_at"].notna()]
    if found.clears_s is None or rows.empty:
        return None
    row = rows.iloc[0]
    said, soonest, latest = (
        np.inf if pd.isna(row[name]) else (row[name] - pd.Timestamp(START)).total_seconds() - cut
        for name in ("clears_at", "clears_from", "clears_until")
    )
    ends = [
        found.world.another(seed * ENDS + number, rates, cut, cut + FOLLOWED_S).until(
            cut + FOLLOWED_S, served=True
        )
        for number in range(ENDS)
    ]
    return Told(found.clears_s - cut, said, soonest, latest, np.array([end or np.inf for end in ends]) - cut)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--worlds", type=int, default=60)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.worlds)
    told = {seed: found for seed in seeds if (found := world(seed))}
    print(f"{len(told)} of {len(seeds)} worlds have a time to tell")
    could = [each for each in told.values() if each.alike >= ALIKE]
    print(f"in {len(could)} of them anybody could know it: at least {ALIKE:.0%} of ends are alike")
    for name, which in (("all", list(told.values())), ("predictable", could)):
        if which:
            print(f"{name}: {_figures(which)}")
    for seed, each in told.items():
        if not (each.soonest <= each.truth <= each.latest) or abs(each.said / each.truth - 1) >= CLOSE:
            print(f"  {seed}: {each.truth:.0f} s, said {each.said:.0f}, {each.soonest:.0f} to {each.latest:.0f}; "
                  f"could have been {np.quantile(each.ends, 0.05):.0f} to {np.quantile(each.ends, 0.95):.0f}, "
                  f"{each.rival:.0f} in the middle, {each.alike:.0%} alike")  # fmt: skip


def _figures(worlds: list[Told]) -> str:
    truth, said, soonest, latest, rival = np.array([[*each[:4], each.rival] for each in worlds]).T
    off, theirs = np.abs(said / truth - 1), np.abs(rival / truth - 1)
    held, long = (soonest <= truth) & (truth <= latest), truth > 600
    return (
        f"within 10 % {np.mean(off < CLOSE):.0%} (rival {np.mean(theirs < CLOSE):.0%}, expected "
        f"{np.mean([each.alike for each in worlds]):.0%}), median error {np.median(off):.1%} (rival {np.median(theirs):.1%}), "
        f"over ten minutes away {long.sum()}; the interval holds {held.sum()} of {len(held)}, "
        f"median width {np.median((latest - soonest) / truth):.0%} of the truth"
    )


if __name__ == "__main__":
    main()
