"""What made calls too many for a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

#: A backlog gets so much of what live calls leave of a limit.
BACKLOG = 0.5
#: A loop: one caller makes such a share of the additional calls, and so many times what it made before.
LOOP_SHARE, LOOP_TIMES = 0.6, 3.0
#: Calls that are no more than so many times what they were have not grown.
STEADY_TIMES = 1.3

Kind = Literal["loop", "retries", "growth"]


def kind_of(
    per_minute: Any, retries: Any, limit: float, onset: int, over: int, callers: Mapping[str, Any]
) -> Kind | None:
    """What used a limit up; None: it cannot be told.

    Args:
        per_minute: Calls per minute, from the start of the window.
        retries: Those that are no first attempt; None: the log does not tell attempts.
        limit: Calls allowed per minute.
        onset: Minute in which calls were first refused.
        over: Minute in which they were last: what comes after it used nothing up.
        callers: Caller → its calls per minute.
    """
    during = slice(onset, max(onset, over) + 1)
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
