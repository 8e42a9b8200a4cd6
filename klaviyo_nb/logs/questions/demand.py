"""What made calls too many for a limit, and when what waits is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from klaviyo_nb.klaviyo.endpoints import MINUTE

#: A backlog gets so much of what live calls leave of a limit.
BACKLOG = 0.5
#: A loop: one caller makes such a share of the additional calls, and so many times what it made before.
LOOP_SHARE, LOOP_TIMES = 0.6, 3.0
#: Calls that are no more than so many times what they were have not grown.
STEADY_TIMES = 1.3

#: The truth lies so many standard deviations at most from what is likely, in 98 of 100 cases.
SURE_Z = 2.33

Kind = Literal["loop", "retries", "growth"]


def kind_of(
    per_minute: Any, retries: Any, limit: float, onset: int, callers: Mapping[str, Any]
) -> Kind | None:
    """What used a limit up; None: it cannot be told.

    Args:
        per_minute: Calls per minute, from the start of the window.
        retries: Those that are no first attempt; None: the log does not tell attempts.
        limit: Calls allowed per minute.
        onset: Minute in which calls were first refused.
        callers: Caller → its calls per minute.
    """
    during = slice(onset, max(onset + 1, int(np.flatnonzero(per_minute)[-1]) + 1))
    before = slice(0, max(onset - 1, 0))  # the minute before may have begun the trouble
    calls = per_minute[during]
    if retries is not None and np.median(calls - retries[during]) <= limit < np.median(calls):
        return "retries"
    if before.stop < 3:
        return None
    usual, now = per_minute[before].mean(), per_minute[during].mean()
    if now <= STEADY_TIMES * usual:
        return None
    more = {name: calls[during].mean() - calls[before].mean() for name, calls in callers.items()}
    if more:
        name = max(more, key=lambda each: more[each])
        was, total = callers[name][before].mean(), sum(each for each in more.values() if each > 0)
        if (
            more[name] >= LOOP_SHARE * total
            and callers[name][during].mean() >= LOOP_TIMES * was
            and len(more) > 1
        ):
            return "loop"
    return "growth"


class Clears(NamedTuple):
    """How long until calls that wait are served [s].

    Attributes:
        likely: As calls came lately.
        soonest: With the fewest calls that may come, given how many came.
        latest: With the most; None: then they may come as fast as they are served.
    """

    likely: float
    soonest: float
    latest: float | None


def clears_in_s(first: Any, served: Any, onset: int, whole: int) -> Clears | None:
    """How long until the calls that were refused are served, if all are tried again and all else goes on.

    Calls come independently of each other (Poisson): how many come until then is chance, and so was how many
    came lately. What waits is served in windows of a minute, and tried again after as long at most.

    Args:
        first: First attempts per minute, from the start of the window.
        served: Calls per minute that were not refused.
        onset: Minute in which calls were first refused.
        whole: Minutes that are over.

    Returns:
        None: nothing waits, or calls come as fast as they are served.
    """
    waiting = float(first[onset:].sum() - served[onset:].sum())
    if waiting <= 0 or whole < onset + 2:
        return None
    recent = _lately(first[:onset], first[onset:whole])
    serves, comes = float(np.median(served[onset + 1 : whole])), float(recent.mean())
    if serves <= comes:
        return None
    minutes = waiting / (serves - comes)
    soonest, latest = (_minutes(waiting, serves, comes, len(recent), sign) for sign in (-SURE_Z, SURE_Z))
    assert soonest is not None
    return Clears(
        MINUTE * minutes,
        MINUTE * max(soonest - 1, 0.0),
        None if latest is None else MINUTE * (latest + 1),
    )


def _minutes(waiting: float, serves: float, comes: float, known: int, z: float) -> float | None:
    """Minutes until `waiting` calls are served if `z` standard deviations more come; None: never.

    The least t with (serves - comes) t = waiting + z sqrt(comes (t + t²/known)): chance in t minutes to come,
    and in the `known` minutes that the rate was taken from.
    """
    net, spread = serves - comes, z * z * comes
    # (net t - waiting)² = spread (t + t²/known)
    square, half = net * net - spread / known, net * waiting + spread / 2
    if square <= 0 and z > 0:
        return None
    root: float = (half * half - square * waiting * waiting) ** 0.5
    return waiting * waiting / (half + root) if z < 0 else (half + root) / square


def _lately(before: Any, since: Any) -> Any:
    """The last counts, back to where they were others, and those before, if they are alike."""
    last = len(since) - 1
    while last and _alike(since[last - 1], since[last:]):
        last -= 1
    recent = since[last:]
    usual = before[:-1]  # calls may have begun to grow in the minute before
    if len(usual) and _alike(recent.mean(), usual, len(recent)):
        recent = np.concatenate([usual, recent])
    return recent


def _alike(count: float, others: Any, minutes: int = 1) -> bool:
    """Is it within three standard deviations of a count of that mean?"""
    return bool(abs(count - others.mean()) <= 3 * (max(others.mean(), 1) / minutes) ** 0.5)
