"""What became of each logical call: how often does the ledger say it rightly?

Question: of the calls that it puts into a class, how many belong there, and of those that belong there, how many are
          put there? Without keys: how often does the truth lie between "at least" and "at most"?
Data:     made-up applications that retry through an incident (tests/logs/questions/worlds_of_calls.py), 600 calls
          each: six kinds of trouble; calls that carry an event's, a profile's or a request's key, attempts with and
          without numbers. Their truth is known by the worlds' own tables.
Rival:    each failed attempt is a lost call, as one who counts failing lines would say.
Unit:     precision and recall over all worlds.
Command:  python tests/benchmarks/bench_ledger.py [--first-seed 0] [--seeds 20]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from klaviyo_nb.frames import CALLS
from klaviyo_nb.klaviyo.outcomes import outcome
from klaviyo_nb.logs.questions.ledger import entries, ledger
from samples import WINDOW
from tests.logs.questions.worlds_of_calls import ANSWERS, make

#: Precision and recall that are wanted of each class.
GOAL = 0.99
KEYS = (("event", True), ("event", False), ("profile", True), ("profile", False), ("request", False))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    agreed, said, true, counted = (Counter[str]() for _ in range(4))
    for seed, trouble, (key, numbered) in product(seeds, ANSWERS, KEYS):
        world = make(seed, WINDOW, key, numbered=numbered, trouble=trouble)
        rows = entries(CALLS.frame(world.rows), WINDOW)
        found = dict(zip(rows["line_no"].tolist(), rows["outcome"].tolist(), strict=True))
        agreed.update(became for line, became in world.truth.items() if found.get(line) == became)
        said.update(found.values())
        true.update(world.truth.values())
        counted.update(
            outcome(row["status_code"], row["error_type"], None) or "delivered" for row in world.rows
        )
    print(f"{len(seeds) * len(ANSWERS) * len(KEYS)} worlds with keys, {true.total():,} calls")
    for name in true:
        precision, recall = agreed[name] / max(said[name], 1), agreed[name] / true[name]
        print(f"  {name:10} precision {precision:.2%}, recall {recall:.2%}, goal {GOAL:.0%}: "
              f"{'met' if min(precision, recall) >= GOAL else 'MISSED'}; "
              f"{true[name]:,} calls, attempts {counted[name] / true[name]:.2f} times as many")  # fmt: skip
    held = []
    for seed, trouble, numbered in product(seeds, ANSWERS, (True, False)):
        world = make(seed, WINDOW, "none", numbered=numbered, trouble=trouble)
        bounds = ledger(CALLS.frame(world.rows), WINDOW).set_index("outcome")
        truth = Counter(world.truth.values())
        held += [
            bounds.at[name, "at_least"] <= truth[name] <= bounds.at[name, "calls"] for name in bounds.index
        ]
    print(f"without keys the truth lies within the bounds in {sum(held):,} of {len(held):,}")


if __name__ == "__main__":
    main()
