"""Attempts that no key joins: how many were followed by others, as far as their numbers tell."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd

from klaviyo_nb.logs.questions.attempts import (
    FIX_FIRST,
    MOST_ATTEMPTS,
    REFUSED,
    SOON,
    UNKNOWN,
)
from klaviyo_nb.logs.questions.tallies import width

if TYPE_CHECKING:
    from klaviyo_nb.window import Window


def went_on(bare: pd.DataFrame, window: Window) -> Counter[int]:
    """Failed attempts that were no call's last, by what became of them.

    Whose second attempt one is nobody knows, but it went on from one of the first attempts that had failed by
    then. That is sure only where all attempts on a path tell their number and their time, and not of those
    that may have begun before the window.

    Args:
        bare: As in `Attempts`.
        window: Asked about.
    """
    less: Counter[int] = Counter()
    early = -(-SOON // pd.Timedelta(width(window)).value)
    untold = bare.loc[(bare["attempt"] == 0) | (bare["bin"] < 0), "place"]
    for _, tries in bare[~bare["place"].isin(untold)].groupby("place"):
        failed = tries[tries["became"].isin([REFUSED, UNKNOWN, FIX_FIRST])]
        ended = 0
        for number in sorted(set(failed["attempt"].tolist())):
            mine = failed[failed["attempt"] == number]
            later = tries[(tries["attempt"] == number + 1) & (tries["bin"] >= early)]
            last = int(mine["calls"].sum())
            if number + 1 < MOST_ATTEMPTS:  # else their numbers are not told apart
                last -= _followed(mine, later)
            for became in (REFUSED, FIX_FIRST):
                less[became] += max(0, int(mine.loc[mine["became"] == became, "calls"].sum()) - last)
            ended += last
        # what may have been accepted stays unknown, however its call's last attempt ends
        less[UNKNOWN] += max(0, int(failed.loc[failed["became"] == UNKNOWN, "calls"].sum()) - ended)
    return less


def _followed(failed: pd.DataFrame, later: pd.DataFrame) -> int:
    """How many failed attempts were followed by a later one, each by another one."""
    moves = pd.concat([failed.assign(follows=0), later.assign(follows=1)])
    followed = waiting = 0
    for follows, calls in moves.sort_values(["bin", "follows"])[["follows", "calls"]].to_numpy().tolist():
        taken = min(waiting, calls) if follows else 0
        followed += taken
        waiting += -taken if follows else calls
    return followed
