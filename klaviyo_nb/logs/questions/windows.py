"""The fixed windows in which calls to one operation are counted, rebuilt from the calls.

The server counts in windows of 1 s, 60 s and sometimes a day. Where they begin is its secret: it is found
from what it answered. Whether refused calls count is not known; here they do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.klaviyo.endpoints import MINUTE, SECOND

#: Windows end within two neighbouring seconds by so large a share of `Retry-After`, or nobody knows where.
AGREED = 0.6
#: The right beginning has at most so many times the contradictions of a usual one.
CLEARLY = 0.25


class Seconds(NamedTuple):
    """Calls to one operation by the second.

    Attributes:
        at: Seconds since the start of the question's window, ascending; only those with a call.
        calls: In that second.
        refused: Those that were answered 429.
    """

    at: Any
    calls: Any
    refused: Any


class Filled(NamedTuple):
    """How windows of one length were filled.

    Attributes:
        window_s: Their length [s].
        limit: Calls allowed in one.
        peak: Most calls in one.
        broke: Seconds in which calls were refused above the limit, or, where none was refused, exceeded it.
        over: In which seconds were calls refused above the limit?
        busy: Which seconds lie in windows that were filled.
    """

    window_s: int
    limit: int
    peak: int
    broke: Any
    over: Any
    busy: Any

    @property
    def first(self) -> int | None:
        """The first second in which it broke; None: never."""
        return int(self.broke[0]) if len(self.broke) else None

    @property
    def last(self) -> int | None:
        """The last such second."""
        return int(self.broke[-1]) if len(self.broke) else None


def filled(seconds: Seconds, window_s: int, limit: int, phase: int) -> Filled:
    """Fill the windows of one length, which begin at `phase` [s], with the calls."""
    window = (seconds.at - phase) // window_s
    begins = np.append(True, np.diff(window) != 0)
    number = np.cumsum(begins) - 1
    total = np.cumsum(seconds.calls)
    before = (total - seconds.calls)[begins]
    so_far = total - before[number]
    over = so_far > limit
    hits = over & (seconds.refused > 0) if seconds.refused.any() else over
    whole = hits & (seconds.refused == seconds.calls)
    if window_s > SECOND and whole.any():  # calls that a second refuses share it with calls that were served
        hits = whole
    sums = np.bincount(number, seconds.calls)
    refused = over & (seconds.refused > 0)
    return Filled(window_s, limit, int(sums.max()), seconds.at[hits], refused, (sums >= limit)[number])


def stretches(at: Any, window_s: int, phase: int) -> list[tuple[float, float]]:
    """Start and end of the windows in which these seconds lie [s]; windows that touch are one stretch."""
    number = np.unique((at - phase) // window_s)
    gaps = np.flatnonzero(np.diff(number) > 1)
    firsts, lasts = np.append(0, gaps + 1), np.append(gaps, len(number) - 1)
    return [
        (float(number[one] * window_s + phase), float((number[other] + 1) * window_s + phase))
        for one, other in zip(firsts, lasts, strict=True)
    ]


def phase_of(seconds: Seconds, ends: Any) -> int | None:
    """Where windows of a minute begin [s, from 0 to 59]; None: the answers do not tell.

    Args:
        seconds: Calls to the operation.
        ends: How often an answer said that the window ends in second 0, 1, … of the minute.
    """
    if ends.sum():
        both = ends + np.roll(ends, -1)
        best = int(np.argmax(both))
        if both[best] >= AGREED * ends.sum():
            return best if ends[best] >= ends[(best + 1) % MINUTE] else (best + 1) % MINUTE
    served = seconds.calls - seconds.refused
    refused = served == 0  # a window of a second serves some calls in each
    if not refused.any():
        return None
    wrong = np.array([_contradictions(seconds.at - phase, refused, served) for phase in range(MINUTE)])
    least = np.flatnonzero(wrong == wrong.min())
    if wrong.min() > CLEARLY * np.median(wrong) or len(least) > MINUTE // 4:
        return None
    start = least[np.argmax(np.diff(least, prepend=least[-1] - MINUTE))]  # they lie round the clock
    return int((start + (len(least) - 1) // 2) % MINUTE)


def _contradictions(at: Any, refused: Any, served: Any) -> int:
    """Calls that were served after one was refused in the same window: then it was not the same."""
    window = at // MINUTE
    window = window - window[0]
    first = np.full(int(window[-1]) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, window[refused], at[refused])
    return int(served[at > first[window]].sum())


def next_end(moment: Any, window_s: int, phase: Any) -> Any:
    """When the window ends in which `moment` lies [s], a number or an array."""
    return ((moment - phase) // window_s + 1) * window_s + phase
