"""When is what a rate limit refused served? Is it then, and within the interval that is told?

Question: how often does `clears_at` of `logs --ask ratelimit` lie within 10 % of the truth, how often does the
          interval hold the truth, and how wide is it? How well would somebody do who knows the rate of calls to
          come, and guesses the chance only (the rival)?
Data:     made-up servers and clients (tests/ratelimit_worlds.py): rates, length of the burst, end of the log,
          waiting or hammering clients, `Retry-After` told or not, all from the seed.
Unit:     shares of worlds in which it will be served within the simulation.
Command:  python tests/benchmarks/bench_recovery.py [--first-seed 5000] [--worlds 60]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from klaviyo_nb.logs.questions.ratelimit import ratelimit
from ratelimit_worlds import START, story

#: Calls that the made-up server serves in a minute.
LIMIT = 150


def world(seed: int) -> tuple[float, float, float, float, float] | None:
    """Seconds from the end of the log: the truth, what is said, soonest, latest, the rival's; None: not told."""
    rng = np.random.default_rng(seed)
    web, usual, burst = rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.5), rng.uniform(3, 5)
    begins, lasts, after = rng.uniform(600, 1200), rng.uniform(120, 600), rng.uniform(120, 400)
    cut = begins + lasts + after
    found = story(
        seed, rates={"web": lambda _: web, "job": lambda at: burst if begins <= at < begins + lasts else usual},
        heeds=bool(rng.random() < 0.5), tells=bool(rng.random() < 0.5), cut_s=cut, until_s=cut + 4000,
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
    waits = (found.calls["attempt"] == 1).sum() - (found.calls["status_code"] == 200).sum()
    return found.clears_s - cut, said, soonest, latest, 60 * waits / (LIMIT - 60 * (web + usual))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--worlds", type=int, default=60)
    options = parser.parse_args()
    told = [world(options.first_seed + number) for number in range(options.worlds)]
    truth, said, soonest, latest, rival = np.array([each for each in told if each]).T
    off, theirs = said / truth - 1, rival / truth - 1
    held, long = (soonest <= truth) & (truth <= latest), truth > 600
    print(
        f"{len(truth)} of {len(told)} worlds have a time to tell, {long.sum()} of them over ten minutes away"
    )
    print(
        f"within 10 %: {np.mean(np.abs(off) < 0.1):.0%}, over ten minutes away {np.mean(np.abs(off[long]) < 0.1):.0%}"
    )
    print(f"knowing the rate: {np.mean(np.abs(theirs) < 0.1):.0%}, {np.mean(np.abs(theirs[long]) < 0.1):.0%}")
    print(
        f"the interval holds the truth: {held.mean():.0%}; median width {np.median((latest - soonest) / truth):.0%} of it"
    )
    for number in np.flatnonzero(~held):
        print(f"  missed: {truth[number]:.0f} s, said {soonest[number]:.0f} to {latest[number]:.0f}")


if __name__ == "__main__":
    main()
