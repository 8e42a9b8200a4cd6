"""Calls that wait for a limit of calls per minute, and when they are served.

The server serves so many calls in each fixed window of a minute, and no more until the next one begins.
What was refused is tried again: by clients that wait for the end of the window, when the next one begins; by
others after pauses of their own, which depend on how often they tried. How long these are is seen in the
log. So what waits at its end is known call by call, and what is chance is played many times: which calls
come, and when the pauses end that go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.klaviyo.endpoints import MINUTE, SECOND
from klaviyo_nb.logs.questions.windows import Seconds, next_end

#: What may happen is played so many times; the interval that is told holds all of them.
PLAYED = 64
#: Calls come in more clumps than independent ones would: what is known of their rate is so many times less.
CLUMPED = 2.0
#: A window serves what the limit says, if what it was seen to serve is less than so much off [1].
NEARLY = 0.05
#: Clients wait for the end of a window if so many [1] of the calls that it refused come back so soon after
#: it [s].
MOSTLY, TOGETHER_S = 0.8, 5.0
#: Attempts that are told apart: the last stands for all later ones too.
MOST_ATTEMPTS = 9
#: Pauses after a number of attempts are known from so many; of a number, the last so many are looked at.
ENOUGH, LAST = 5, 5_000
#: A minute whose end is so close is taken as over [s].
OVER_S = 3
#: Calls that were not tried again for so many times the longest pause were given up.
GIVEN_UP = 2.0
#: Moments are told by the second, and found to within so many [s].
SLACK_S = 3.0
#: More calls than so many are played in grains of several.
MOST_PLAYED = 400
#: Windows after which nobody knows: a day. A queue that lasts for more than `LONG` is played from where it is
#: down to `SHORT`; before, every window is full.
MOST_WINDOWS, LONG, SHORT = 1_440, 5, 3
#: It is played for so long [s].
PLAYED_S = 15 * MINUTE


class Pauses(NamedTuple):
    """How long refused calls wait until they are tried again [s].

    Attributes:
        after: By number of attempts, from 1: pauses that were seen. Later attempts wait as the last one.
        opens: From the end of the window until calls come back that it refused; None: nobody waits for that.
    """

    after: tuple[Any, ...]
    opens: Any | None


class Queue(NamedTuple):
    """What waits at the end of a log.

    Attributes:
        at: When each waiting call was refused [s since the window's start].
        attempt: Which attempt that was.
        now: The end of the log [s since the window's start].
        comes: New calls per minute.
        known: Minutes from which that rate was taken.
        capacity: Calls that are served in a window.
        at_once: Calls that are served in one second, at most.
        phase: Where windows begin [s]; None: nobody knows.
        served: Calls that were served in each second of the last minute.
        shut: Was nothing served in the last second?
        pauses: Of waiting calls.
    """

    at: Any
    attempt: Any
    now: int
    comes: float
    known: int
    capacity: float
    at_once: float
    phase: int | None
    served: Any
    shut: bool
    pauses: Pauses


class Clears(NamedTuple):
    """How long until calls that wait are served [s].

    Attributes:
        likely: The middle of what may happen.
        soonest: Hardly sooner.
        latest: Hardly later; None: then calls may come as fast as they are served.
    """

    likely: float
    soonest: float
    latest: float | None


def queue_of(
    seconds: Seconds, tried: Mapping[int, Seconds], onset: int, now: int, phase: int | None,
    limits: Mapping[int, int],
) -> Queue | None:  # fmt: skip
    """The queue behind a limit of calls per minute.

    Args:
        seconds: Calls to the operation.
        tried: Number of the attempt, from 1 → calls that tell it.
        onset: Minute in which calls were first refused.
        now: The end of the log [s].
        phase: Where windows begin [s]; None: nobody knows.
        limits: Length of a window [s] → calls that are allowed in it.

    Returns:
        None: nothing waits, or no window was seen full from its beginning to its end.
    """
    whole = (now + OVER_S) // MINUTE
    if whole < onset + 2:
        return None
    served = seconds.calls - seconds.refused
    begin = phase or 0
    number = (seconds.at - begin) // MINUTE
    begin, number = begin + int(number[0]) * MINUTE, number - number[0]
    sums, refused = (np.bincount(number, each) for each in (served, seconds.refused))
    starts = begin + np.arange(len(sums)) * MINUTE
    full = (refused > 0) & (starts >= onset * MINUTE) & (starts + MINUTE <= now)
    if not full.any():
        return None
    capacity = float(np.median(sums[full]))
    limit = float(limits.get(MINUTE, capacity))
    if abs(capacity - limit) < NEARLY * limit:
        capacity = limit
    used_up = (served == 0) & (seconds.refused > 0)  # a window that is open serves some in each second
    at, attempt, pauses = _waits(tried, seconds.at[used_up], phase, now)
    if not len(at):
        return None
    new = tried.get(1, Seconds(*[np.zeros(0, np.int64)] * 3))
    first = np.bincount(new.at // MINUTE, new.calls, whole)
    recent = lately(first[:onset], first[onset:whole])
    last = seconds.at >= now - MINUTE
    in_last = np.bincount(seconds.at[last] - now + MINUTE, served[last], MINUTE)
    at_once = float(limits.get(SECOND, served.max()))
    shut = bool(used_up[-1] and seconds.at[-1] == now - 1)
    return Queue(
        at, attempt, now, float(recent.mean()), len(recent), capacity, at_once, phase, in_last, shut, pauses
    )


def _waits(tried: Mapping[int, Seconds], full: Any, phase: int | None, now: int) -> tuple[Any, Any, Pauses]:
    """When each waiting call was refused, which attempt that was, and how long such calls wait.

    Args:
        tried: As in `queue_of`.
        full: Seconds in which a window was full.
        phase: As in `queue_of`.
        now: The end of the log.
    """
    last = max(tried)
    nothing = Seconds(*[np.zeros(0, np.int64)] * 3)
    pairs = [(tried.get(number, nothing), tried.get(number + 1, nothing)) for number in range(1, last + 1)]
    if last == MOST_ATTEMPTS:  # it stands for later ones too
        pairs[-2:] = [(_both(*pairs[-2]), pairs[-1][0])]
    joined = [_joined(*each) for each in pairs]
    pauses = [(again - before)[-LAST:] for before, again, _ in joined]
    known = [each for each in pauses if len(each) >= ENOUGH] or [np.concatenate([*pauses, [TOGETHER_S]])]
    longest = GIVEN_UP * max(MINUTE, *(each.max() for each in known))
    waiting = [_still(again, left, now - longest) for _, again, left in joined]
    attempt = np.repeat(np.arange(1, len(waiting) + 1), [len(each) for each in waiting])
    opens = None
    if phase is not None:
        before, again = (np.concatenate([each[place][-LAST:] for each in joined]) for place in (0, 1))
        held = np.isin(before, full)
        late = again - next_end(before, MINUTE, phase)
        together = (late >= -1) & (late <= TOGETHER_S)
        if held.sum() >= ENOUGH and np.mean(together[held]) >= MOSTLY:
            opens = np.maximum(late[held & together], 0)
            soon = (again - before)[~held & ~together]
            known = [soon if len(soon) >= ENOUGH else np.array([1.0])]
    return np.concatenate(waiting), attempt, Pauses(tuple(known), opens)


def _joined(these: Seconds, those: Seconds) -> tuple[Any, Any, Any]:
    """Refused calls and their next attempts, the first that was refused with the first that comes after.

    Returns:
        When calls were refused that were tried again; when that was; when those were refused that were not.
    """
    refused = np.repeat(these.at, these.refused)
    again = np.repeat(those.at, those.calls)
    number = np.searchsorted(refused, again, side="right")  # refused until then
    extra = np.maximum.accumulate(np.append(0, np.arange(1, len(again) + 1) - number))
    again = again[np.diff(extra) == 0]  # others are tried again after what is not in this log
    return refused[: len(again)], again, refused[len(again) :]


def _still(again: Any, left: Any, since: float) -> Any:
    """Of refused calls those that wait.

    Those of before `since` were given up; so were all, if nothing that was tried so often was tried again.
    """
    return left[:0] if not len(again) and (left < since).any() else left[left >= since]


def _both(these: Seconds, those: Seconds) -> Seconds:
    order = np.argsort(np.append(these.at, those.at), kind="stable")
    return Seconds(*(np.append(one, other)[order] for one, other in zip(these, those, strict=True)))


def clears_in_s(queue: Queue) -> Clears | None:
    """How long until what waits is served, if all of it is tried again and all else goes on.

    How many calls come until then is chance (Poisson), and so was how many came lately.

    Returns:
        None: calls come as fast as they are served.
    """
    if queue.comes >= min(queue.capacity, queue.at_once * MINUTE):
        return None
    took = np.sort(_Play(queue).took())
    soonest, likely, latest = took[0], took[PLAYED // 2], took[-1]
    if not np.isfinite(likely):
        return None
    return Clears(
        float(likely),
        max(float(soonest) - SLACK_S, 0.0),
        float(latest) + SLACK_S if np.isfinite(latest) else None,
    )


class _Play:
    """What may happen after the end of a log, many times side by side; moments as in `Queue`."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.rng = np.random.default_rng(0)
        known = queue.known / CLUMPED
        self.comes = self.rng.gamma(queue.comes * known + 0.5, 1 / known, PLAYED)
        phase = self.rng.integers(0, MINUTE, PLAYED)
        self.phase = phase if queue.phase is None else np.full(PLAYED, queue.phase)
        skipped, kept = self._far()
        self.skipped = skipped * MINUTE
        self.grain = max(1.0, kept.max() / MOST_PLAYED)
        some = np.arange(0, len(queue.at), max(1, len(queue.at) // (9 * MOST_PLAYED)))
        chance = self.rng.random((PLAYED, len(some))).argsort(axis=1).argsort(axis=1)
        self.who, which = np.nonzero(chance < np.ceil(kept / self.grain)[:, None])
        self.attempt = queue.attempt[some[which]]
        at = queue.at[some[which]] + self.rng.random(len(which))
        into = (queue.now - self.phase) % MINUTE
        used = np.array([queue.served[MINUTE - each :].sum() if each else 0.0 for each in into])
        full = queue.shut & (used > (1 - 2 * NEARLY) * queue.capacity)
        self.left = np.where(full, 0.0, np.maximum(queue.capacity - used, 0.0)) / self.grain
        self.due = self._tried_again(at)

    def _far(self) -> tuple[Any, Any]:
        """Windows that are surely full, and what waits after them."""
        waits, queue = len(self.queue.at), self.queue
        lasts = waits / np.maximum(queue.capacity - self.comes, waits / MOST_WINDOWS)
        skipped = np.where(lasts > LONG, lasts.astype(np.int64) - SHORT, 0)
        came = self.rng.poisson(self.comes * skipped)
        return skipped, np.maximum(waits + came - queue.capacity * skipped, 1)

    def _tried_again(self, at: Any) -> Any:
        """When calls are tried that were refused `at` and not tried again until now."""
        full, now = self.left[self.who] < 1, self.queue.now
        again = self._again(at, full, self.who, self.attempt)
        for _ in range(9):
            again = np.where(again < now, self._again(at, full, self.who, self.attempt), again)
        return np.where(again < now, now + TOGETHER_S * self.rng.random(len(at)), again)

    def _again(self, at: Any, full: Any, who: Any, attempt: Any) -> Any:
        """When calls are tried again that are refused `at`, in a window that is `full` or not."""
        after, opens = self.queue.pauses
        which, again = np.minimum(attempt, len(after)) - 1, at + self.rng.uniform(-0.5, 0.5, len(at))
        for number, pauses in enumerate(after):
            mine = which == number
            again[mine] += self.rng.choice(pauses, int(mine.sum()))
        if opens is None:
            return again
        late = self.rng.choice(opens, len(at)) + self.rng.random(len(at))
        return np.where(full, next_end(at, MINUTE, self.phase[who]) + late, again)

    def took(self) -> Any:
        """Seconds until nothing waits; inf: much later."""
        done = np.full(PLAYED, np.inf)
        for second in range(self.queue.now, self.queue.now + PLAYED_S):
            self.left[(second - self.phase) % MINUTE == 0] = self.queue.capacity / self.grain
            last = self._second(second)
            served = np.isinf(done) & (np.bincount(self.who, minlength=PLAYED) == 0)
            done[served] = last[served]
            if not len(self.who):
                break
            going = np.isinf(done)[self.who]
            self.who, self.attempt, self.due = (each[going] for each in (self.who, self.attempt, self.due))
        return done - self.queue.now + self.skipped

    def _second(self, second: int) -> Any:
        """Serve what is tried in a second; the rest is tried again. When was the last one tried?"""
        comes = self.rng.poisson(self.comes / MINUTE / self.grain)
        tried, new = self.due < second + 1, int(comes.sum())
        who = np.concatenate([self.who[tried], np.repeat(np.arange(PLAYED), comes)])
        due = np.concatenate([self.due[tried], second + self.rng.random(new)])
        attempt = np.concatenate([self.attempt[tried] + 1, np.ones(new, np.int64)])
        order = np.lexsort((due, who))
        who, due, attempt = who[order], due[order], attempt[order]
        place = np.arange(len(who)) - np.searchsorted(who, who)
        serves = np.floor(self.queue.at_once / self.grain + self.rng.random())
        refused = place + 1 > np.minimum(self.left, serves)[who]
        self.left -= np.bincount(who[~refused], minlength=PLAYED)
        last = np.full(PLAYED, float(second))
        np.maximum.at(last, who, due)
        who, due, attempt = who[refused], due[refused], attempt[refused]
        again = self._again(due, self.left[who] < 1, who, attempt)
        self.who, self.attempt, self.due = (
            np.concatenate([kept[~tried], more])
            for kept, more in ((self.who, who), (self.attempt, attempt), (self.due, again))
        )
        return last


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
