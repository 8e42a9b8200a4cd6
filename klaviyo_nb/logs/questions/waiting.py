"""Calls that wait for a limit of calls per minute, and when they are served.

The server serves so many calls in each fixed window of a minute, and no more until the next one begins.
What waits is tried again: by clients that wait for the end of the window, when the next one begins; by
others after pauses of their own. So a queue is served in steps, a minute apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.klaviyo.endpoints import MINUTE
from klaviyo_nb.logs.questions.windows import Seconds

#: The truth lies so many standard deviations at most from what is likely, in 98 of 100 cases.
SURE_Z = 2.33
#: So much more or less may wait than was counted [1]: lines get lost.
MISCOUNTED = 0.1
#: A window is full when so much of what it serves was served [1].
NEARLY = 0.95
#: Calls that are tried less often than so many times in a window wait for its end; they come back within so
#: many seconds of it.
TRIES, TOGETHER_S = 2.0, 3.0
#: Pauses grow from try to try: the longest is so many times the mean. Of calls that do not wait for long, it
#: is only so much of that; and it may be so much more [1].
LONGEST, YOUNG, SLOW = 2.0, 0.25, 1.5
#: Moments are told by the second, and found to within so many [s].
SLACK_S = 5.0
#: Windows after which nobody knows: a day.
MOST_WINDOWS = 1_440


class Queue(NamedTuple):
    """What waits at the end of a log.

    Attributes:
        waiting: Calls that were refused and not yet served.
        comes: New calls per second.
        known: Minutes from which that rate was taken.
        capacity: Calls that are served in a window.
        left: Of those, in the window that goes on.
        into: How much of that window is over [s].
        at_once: Calls that are served in one second, at most.
        longest_s: The longest pause between two tries of a call.
        slack_s: How far off the beginning of windows may be.
    """

    waiting: float
    comes: float
    known: int
    capacity: float
    left: float
    into: float
    at_once: float
    longest_s: float
    slack_s: float


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


def queue_of(
    seconds: Seconds, first: Any, onset: int, whole: int, phase: int | None, at_once: float | None
) -> Queue | None:
    """The queue behind a limit of calls per minute.

    Args:
        seconds: Calls to the operation.
        first: First attempts per minute, from the start of the window.
        onset: Minute in which calls were first refused.
        whole: Minutes that are over.
        phase: Where windows begin [s]; None: nobody knows.
        at_once: Calls that are allowed in a second; None: nobody knows.

    Returns:
        None: nothing waits, or no window was seen full from its beginning to its end.
    """
    served = seconds.calls - seconds.refused
    waiting = float(first[onset:].sum() - served[seconds.at >= onset * MINUTE].sum())
    if waiting <= 0 or whole < onset + 2:
        return None
    begin = phase or 0
    number = (seconds.at - begin) // MINUTE
    begin, number = begin + int(number[0]) * MINUTE, number - number[0]
    sums, refused = (np.bincount(number, each) for each in (served, seconds.refused))
    starts, now = begin + np.arange(len(sums)) * MINUTE, int(seconds.at[-1]) + 1
    full = (refused > 0) & (starts >= onset * MINUTE) & (starts + MINUTE <= now)
    if not full.any():
        return None
    capacity = float(np.median(sums[full]))
    recent = lately(first[:onset], first[onset:whole])
    used = sums[-1] if now < starts[-1] + MINUTE else 0.0
    tries = _tries(seconds, first, starts[full & (sums >= NEARLY * capacity)], NEARLY * capacity)
    return Queue(
        waiting, float(recent.mean()) / MINUTE, len(recent), capacity, max(capacity - used, 0.0),
        float((now - begin) % MINUTE), float(at_once or served.max()),
        LONGEST * MINUTE / tries if tries > TRIES else TOGETHER_S, MINUTE if phase is None else SLACK_S,
    )  # fmt: skip


def _tries(seconds: Seconds, first: Any, starts: Any, enough: float) -> float:
    """How often a waiting call is tried in a minute while a window is full; 0: nobody knows."""
    told = np.array([_while_full(seconds, first, start, enough) for start in starts.tolist()])
    tries, waits = told.sum(axis=0) if len(told) else (0.0, 0.0)
    return float(tries / waits) if waits else 0.0


def _while_full(seconds: Seconds, first: Any, start: float, enough: float) -> tuple[float, float]:
    """Of a window, from when it was full to its end: calls that were tried again, and minutes of waiting."""
    served = np.cumsum(seconds.calls - seconds.refused)
    begin, end = np.searchsorted(seconds.at, (start, start + MINUTE - 1))
    before = served[begin - 1] if begin else 0
    since = begin + int(np.searchsorted(served[begin:end], before + enough)) + 1
    if since >= end:
        return 0.0, 0.0
    at, until = float(seconds.at[since]), start + MINUTE - 1
    edges, came = np.arange(len(first) + 1) * MINUTE, np.append(0, np.cumsum(first))
    came_at, came_until = np.interp((at, until), edges, came)
    waiting = (came_at + came_until) / 2 - served[since]
    if until - at <= SLACK_S or waiting <= 0:
        return 0.0, 0.0
    new = came_until - came_at
    return float(seconds.refused[since:end].sum() - new), float(waiting * (until - at) / MINUTE)


def clears_in_s(queue: Queue) -> Clears | None:
    """How long until what waits is served, if all of it is tried again and all else goes on.

    Calls come independently of each other (Poisson): how many come until then is chance, and so was how many
    came lately.

    Returns:
        None: calls come as fast as they are served.
    """
    likely = _served_in_s(queue)
    if likely is None:
        return None
    comes, minutes = queue.comes * MINUTE, max(likely / MINUTE, 1.0)
    spread = SURE_Z * (comes / minutes + comes / queue.known) ** 0.5 / MINUTE
    soonest, latest = (
        _served_in_s(
            queue._replace(
                waiting=queue.waiting * (1 + sign * MISCOUNTED),
                comes=max(queue.comes + sign * spread, 0.0),
                longest_s=queue.longest_s * pauses,
            )
        )
        for sign, pauses in ((-1, YOUNG), (1, SLOW))
    )
    return Clears(
        likely,
        max(min(likely, soonest or 0.0) - queue.slack_s, 0.0),
        None if latest is None else max(likely, latest) + queue.slack_s,
    )


def _served_in_s(queue: Queue) -> float | None:
    """Seconds until nothing waits, window by window; None: more than a day, or never."""
    waiting, left, into, passed = queue.waiting, queue.left, queue.into, 0.0
    if queue.comes >= min(queue.capacity / MINUTE, queue.at_once):
        return None
    for _ in range(MOST_WINDOWS):
        rest, lasts = MINUTE - into, 0.0
        if left >= 1:
            # Pauses end one after the other; those of all who wait, when the longest does.
            whole = max(queue.longest_s * waiting / (waiting + 1), waiting / (queue.at_once - queue.comes))
            if whole <= rest and waiting + queue.comes * whole <= left:
                return passed + whole
            lasts = min(rest, left / (waiting / whole + queue.comes))
            waiting -= lasts * waiting / whole
        waiting += queue.comes * (rest - lasts)
        passed, into, left = passed + rest, 0.0, queue.capacity
    return None


def lately(before: Any, since: Any) -> Any:
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
