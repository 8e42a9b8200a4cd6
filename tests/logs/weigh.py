"""Weighs the words of the labelled lines: which make it likely that a record tells of a call, which that it does not.

`python tests/logs/weigh.py` writes klaviyo_nb/logs/formats/wording.tsv anew; `--judge` leaves out each set of other
platforms in turn, and prints how many of its lines the words alone tell apart.

It is logistic regression with a penalty on the squares of the weights, solved exactly by Newton's steps; a small
table is made of it by leaving out light words.

Source:
    https://hastie.su.domains/ElemStatLearn/ (4.4.1, 18.3.5: as many unknowns as there are lines, not words)
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2])]

from klaviyo_nb.logs.formats import wording  # noqa: E402
from klaviyo_nb.logs.formats.reading import read  # noqa: E402
from tests.logs.accuracy import NEAR, WHOLE, Line, whole_lines  # noqa: E402

#: What is learnt from.
FILES = ("messages.txt", "sdk.txt", *WHOLE)
#: Lines that hold a word so that it is weighed; the penalty; the lightest weight that is kept.
FEWEST, PENALTY, LIGHTEST = 3, 0.7, 0.2
STEPS = 7
_Array = np.ndarray[Any, Any]


def lines() -> list[Line]:
    """What is learnt from."""
    return [line for file in FILES for line in whole_lines(file)]


def table(lines: Sequence[Line]) -> dict[str, float]:
    """Word → weight; of words that are in no line of the table, none."""
    told = [wording.words(read(line.text.encode(), NEAR).text) for line in lines]
    counts = Counter(word for words in told for word in words)
    names = sorted(word for word, count in counts.items() if count >= FEWEST)
    place = {name: at for at, name in enumerate(names)}
    holds = np.zeros((len(lines), len(names)))
    for row, words in enumerate(told):
        holds[row, [place[word] for word in words if word in place]] = 1
    weights, bias = _solved(holds, np.array([line.kind == "call" for line in lines], dtype=float))
    heavy = {name: round(float(weight), 2) for name, weight in zip(names, weights, strict=True)}
    return {wording.BIAS: round(bias, 2)} | {n: w for n, w in heavy.items() if abs(w) >= LIGHTEST}


def _solved(holds: _Array, call: _Array) -> tuple[_Array, float]:
    """Weights and bias of the least penalised loss, in terms of one unknown per line."""
    alike = holds @ holds.T + 1
    unknown = np.zeros(len(call))
    for _ in range(STEPS):
        score = alike @ unknown
        likely = 1 / (1 + np.exp(-score))
        spread = np.maximum(likely * (1 - likely), 1e-9)
        unknown = np.linalg.solve(alike + np.diag(PENALTY / spread), score + (call - likely) / spread)
    return holds.T @ unknown, float(unknown.sum())


def judged() -> str:
    """How many lines of each set are told apart by the words of the others."""
    sets = {file: list(whole_lines(file)) for file in FILES}
    right = total = 0
    for file in (each for each in FILES if re.fullmatch(r"platforms\d+\.txt", each)):
        known = table([line for other, lines in sets.items() if other != file for line in lines])
        for line in sets[file]:
            told = wording.words(read(line.text.encode(), NEAR).text)
            call = known[wording.BIAS] + sum(known.get(word, 0.0) for word in told) > 0
            right, total = right + (call == (line.kind == "call")), total + 1
    return f"{right} of {total} lines ({right / total:.1%}) told apart by words alone"


def written(known: dict[str, float]) -> str:
    """The table as it is kept, the heaviest first."""
    ordered = sorted(known.items(), key=lambda each: (each[0] != wording.BIAS, -each[1], each[0]))
    return "".join(f"{weight:.2f}\t{word}\n" for word, weight in ordered)


def main() -> None:
    """Write the table, or judge it."""
    if "--judge" in sys.argv:
        print(judged())
        return
    known = table(lines())
    Path(wording.__file__).with_name("wording.tsv").write_text(written(known), "utf-8")
    print(f"{len(known)} words")


if __name__ == "__main__":
    main()
