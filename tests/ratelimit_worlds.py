"""A made-up server that counts calls in fixed windows, and clients that call it; made from a seed.

Knows nothing of how `ratelimit` works. What a log would tell until some moment is the frame; the simulation goes
on after it, so that it is known when calls were accepted again and when all that had been refused was served.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace
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
        world: As it was at `cut_s`.
    """

    calls: pd.DataFrame
    window: Window
    cut_s: float
    frees_s: dict[int, float]
    clears_s: float | None
    phase_s: float
    world: World


@dataclass
class World:
    """Clients and a server while time goes on.

    Attributes:
        events: A heap: when, number, caller (`""`: of somebody else's), attempt, when it was refused before
            (None: it was not).
        waiting: Calls that were refused and not yet served.
        told: Per call: when, caller, attempt, status, seconds to wait.
    """

    rng: np.random.Generator
    server: Server
    heeds: bool
    events: list[tuple[float, int, str, int, tuple[float, float] | None]]
    waiting: int = 0
    told: list[Any] = field(default_factory=list)
    frees: dict[int, float] = field(default_factory=dict)

    def until(self, end_s: float, served: bool = False) -> float | None:
        """Go on; with `served`, until nothing waits, and say when that was."""
        while self.events and self.events[0][0] < end_s:
            at, number, caller, attempt, _ = heapq.heappop(self.events)
            answer = self.server.ask(at)
            if not caller:
                continue
            length, wait = answer or (0, None)
            self.told.append((at, caller, attempt, 200 if wait is None else 429, wait))
            if wait is not None:
                self.frees[length] = at + wait
                self.waiting += attempt == 1
                again = (at + self.pause(wait, attempt), number, caller, attempt + 1, (at, wait))
                heapq.heappush(self.events, again)
            elif attempt > 1:
                self.waiting -= 1
                if served and not self.waiting:
                    return at
        return None

    def pause(self, wait: float, attempt: int) -> float:
        """Until a refused call is tried again [s]."""
        if self.heeds:
            return float(math.ceil(wait) + self.rng.random() * 3)
        return float(min(2.0**attempt, 32) * self.rng.uniform(0.8, 1.2))

    def another(self, seed: int, rates: dict[str, Any], now_s: float, until_s: float) -> World:
        """As it is now, with another chance from now on: pauses that go on end otherwise, other calls come."""
        server = replace(self.server, used=dict(self.server.used))
        found = World(np.random.default_rng(seed), server, self.heeds, [], self.waiting)
        for _, number, caller, attempt, refused in self.events:
            if refused:
                at, wait = refused
                while (again := at + found.pause(wait, attempt - 1)) < now_s:
                    pass
                found.events.append((again, number, caller, attempt, refused))
        found.events += _new(found.rng, rates, now_s, until_s)
        heapq.heapify(found.events)
        return found


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
    world = World(rng, server, heeds, _new(rng, rates | {"": lambda _: others_per_s}, 0.0, until_s))
    heapq.heapify(world.events)
    world.until(cut_s)
    told = [(*each, math.ceil(wait) if wait is not None and tells else None) for *each, wait in world.told]
    calls, frees = _frame(told, endpoint, method, np.random.default_rng(seed)), dict(world.frees)
    now = replace(world, server=replace(server, used=dict(server.used)), events=list(world.events))
    clears = world.until(until_s, served=True) if world.waiting else None
    return Story(calls, Window(START, START + timedelta(seconds=cut_s)), cut_s, frees, clears,
                 server.phases.get(60, 0.0) % 60, now)  # fmt: skip


def _new(rng: np.random.Generator, rates: dict[str, Any], start_s: float, until_s: float) -> list[Any]:
    """Calls that nobody has tried yet, as events."""
    return [
        (at, number, caller, 1, None)
        for caller, rate in rates.items()
        for number, at in enumerate(_arrivals(rng, rate, start_s, until_s))
    ]


def _arrivals(rng: np.random.Generator, rate: Any, start_s: float, until_s: float) -> list[float]:
    most = max(rate(second) for second in range(int(start_s), int(until_s)))
    if not most:
        return []
    at = start_s + np.sort(rng.random(rng.poisson(most * (until_s - start_s))) * (until_s - start_s))
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
