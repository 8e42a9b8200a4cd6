"""How often does the contrast name the culprit first, and how often one where there is none?

Question: on made-up worlds with a known culprit (a value, a pair), and on worlds without one, what is named?
Rival:    a plain chi-square test of every value on all calls, Bonferroni-corrected, largest first.
Data:     made from seeds (tests/contrast_worlds.py); those below 1,000 were used for tuning.
Unit:     share of worlds, beside its goal.
Command:  python tests/benchmarks/bench_contrast.py [--worlds 200] [--first-seed 10000]
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contrast_worlds import CULPABLE, World, mask, world
from klaviyo_nb.logs.questions.contrast import AND, contrast
from klaviyo_nb.logs.questions.counts import failure_kinds


def plain(made: World) -> list[dict[str, str]]:
    """What a chi-square test on all calls names, without pairs."""
    failed = failure_kinds(made.calls).notna()
    found, tried = [], 0
    for name in CULPABLE:
        told = made.calls[name].notna()
        base, bad = int(told.sum()), int((told & failed).sum())
        for value, calls in made.calls[name].value_counts().items():
            tried += 1
            hits = int((failed & (made.calls[name] == value)).sum())
            below = calls * (base - calls) * bad * (base - bad)
            square = base * (hits * base - calls * bad) ** 2 / below if below else 0.0
            if hits * base > calls * bad:
                found.append((square, {name: str(value)}))
    found.sort(key=lambda each: -each[0])
    return [terms for square, terms in found if math.erfc(math.sqrt(square / 2)) * tried < 0.01]


def ours(made: World) -> list[dict[str, str]]:
    rows = contrast(made.calls, made.window)
    return [
        dict(zip(row.attribute.split(AND), row.value.split(AND), strict=True)) for row in rows.itertuples()
    ]


def _is(made: World, named: dict[str, str]) -> bool:
    """The culprit, or what has the very same calls."""
    told = made.calls[[*made.culprit, *named]].notna().all(axis=1)
    return bool((mask(made.calls, named) == mask(made.calls, made.culprit))[told].all())


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--worlds", type=int, default=200)
    options.add_argument("--first-seed", type=int, default=10_000)
    options.add_argument("--wrong", action="store_true", help="print the worlds that were missed")
    given = options.parse_args()
    missed = False
    for attributes, what, goal in ((1, "culprit first, a value", 0.95), (2, "culprit first, a pair", 0.95),
                                   (0, "nothing named, no culprit", 0.99)):  # fmt: skip
        right = {"contrast": 0, "chi-square": 0}
        for seed in range(given.first_seed, given.first_seed + given.worlds):
            made = world(seed, attributes)
            for name, method in (("contrast", ours), ("chi-square", plain)):
                named = method(made)
                good = bool(named) and _is(made, named[0]) if attributes else not named
                right[name] += good
                if given.wrong and name == "contrast" and not good:
                    print(f"  seed {seed}: {made.culprit or 'nobody'}, named {named[:2]}")
        shares = {name: count / given.worlds for name, count in right.items()}
        missed |= shares["contrast"] < goal
        mark = "" if shares["contrast"] >= goal else "  MISSED"
        print(
            f"{what:28} contrast {shares['contrast']:.1%}  chi-square {shares['chi-square']:.1%}  goal {goal:.0%}{mark}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
