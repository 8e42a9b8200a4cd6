"""A made-up server that counts calls in fixed windows, and clients that call it; made from a seed.

Knows nothing of how `ratelimit` works. What a log would tell until some moment is the frame; the simulation goes
on after it, so that it is known when calls were accepted again and when all that had been refused was served.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from klaviyo_nb.frames import CALLS
from klaviyo_nb.window import Window

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)


@dataclass
class Server:
    """Fixed windows with a secret beginning each; a call that is refused counts or not."""

    limits: dict[int, int]
    phases: dict[int, float]
    refused_count: bool
    used: dict[tuple[int, int], int] = field(default_factory=dict)

    def ask(self, at: float) -> tuple[int, float] | None:
        """None: accepted; else the longest window that is full, and seconds until it ends."""
        keys = {length: (length, math.floor((at - self.phases[length]) / length)) for length in self.limits}
        full = [length for length, key in keys.items() if self.used.get(key, 0) >= self.limits[length]]
        if not full or self.refused_count:
            for key in keys.values():
                self.used[key] = self.used.get(key, 0) + 1
        if not full:
            return None
        length = max(full)
        return length, (keys[length][1] + 1) * length + self.phases[length] - at


@dataclass(frozen=True)
class Story:
    """What the log tells, and what it does not.

    Attributes:
        calls: Until `cut_s`.
        cut_s: Seconds since `START`.
        frees_s: Length of a window → when the last of it that was seen full ends.
        clears_s: When nothing waits any more; None: never within the simulation.
        phase_s: Where windows of a minute begin, modulo 60.
    """

    calls: pd.DataFrame
    window: Window
    cut_s: float
    frees_s: dict[int, float]
    clears_s: float | None
    phase_s: float


def story(
    seed: int, *, endpoint: str = "/api/campaigns", method: str = "GET", limits: dict[int, int] | None = None,
    rates: dict[str, Any], others_per_s: float = 0.0, heeds: bool = True, tells: bool = True, cut_s: float = 1800.0,
    until_s: float = 3600.0, refused_count: bool = False,
) -> Story:  # fmt: skip
    """A story: `rates` is caller → function of the second, calls per second.

    Args:
        heeds: Do clients wait as long as Retry-After says? Else 2, 4, 8 … up to 32 s.
        tells: Does the log tell Retry-After?
    """
    rng = np.random.default_rng(seed)
    limits = limits or {1: 10, 60: 150}
    server = Server(limits, {length: float(rng.random() * length) for length in limits}, refused_count)
    events = [
        (at, number, caller, 1, at)
        for caller, rate in rates.items()
        for number, at in enumerate(_arrivals(rng, rate, until_s))
    ] + [(at, number, "", 1, at) for number, at in enumerate(_arrivals(rng, lambda _: others_per_s, until_s))]
    heapq.heapify(events)
    rows, waiting, clears, frees = [], 0, None, {}
    counter = len(events)
    while events:
        at, _, caller, attempt, born = heapq.heappop(events)
        answer = server.ask(at)
        if not caller:
            continue
        length, wait = answer or (0, None)
        if at < cut_s:
            told = math.ceil(wait) if wait is not None and tells else None
            rows.append((at, caller, attempt, 429 if wait is not None else 200, told))
            if wait is not None:
                frees[length] = at + wait
        if wait is not None:
            waiting += attempt == 1
            pause = (
                math.ceil(wait) + rng.random() * 3 if heeds else min(2.0**attempt, 32) * rng.uniform(0.8, 1.2)
            )
            counter += 1
            heapq.heappush(events, (at + pause, counter, caller, attempt + 1, born))
        elif attempt > 1:
            waiting -= 1
            if at >= cut_s and not waiting and clears is None:
                clears = at
    return Story(_frame(rows, endpoint, method, rng), Window(START, START + timedelta(seconds=cut_s)), cut_s, frees, clears,
                 server.phases.get(60, 0.0) % 60)  # fmt: skip


def _arrivals(rng: np.random.Generator, rate: Any, until_s: float) -> list[float]:
    most = max(rate(second) for second in range(int(until_s)))
    if not most:
        return []
    at = np.sort(rng.random(rng.poisson(most * until_s)) * until_s)
    keep = rng.random(len(at)) * most < np.array([rate(each) for each in at])
    return at[keep].tolist()


def _frame(rows: list[Any], endpoint: str, method: str, rng: np.random.Generator) -> pd.DataFrame:
    at, caller, attempt, status, wait = zip(*rows, strict=True)
    frame = pd.DataFrame({"caller": caller, "attempt": attempt, "status_code": status, "retry_after_s": wait})
    frame["timestamp"] = pd.Timestamp(START) + pd.to_timedelta(np.array(at), unit="s")
    frame["endpoint"], frame["method"] = endpoint, method
    frame["host"] = [f"web-{each}" for each in rng.integers(1, 4, len(frame))]
    frame["duration_s"] = rng.lognormal(-1.6, 0.3, len(frame))
    return CALLS.frame(frame)
