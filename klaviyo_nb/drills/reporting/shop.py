"""The applications of the reporting worlds, and their traffic: sessions, cron jobs, queues, busy hours."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Pattern = Literal["sessions", "cron", "queue", "flood"]


@dataclass(frozen=True, slots=True)
class Part:
    """A service or job that calls Klaviyo.

    Attributes:
        name: As its lines name it.
        hosts: Where it runs.
        writer: How it logs: a name of `writers.WRITERS`.
        pattern: When it calls.
        operations: Operation ids, the most frequent first.
        calls: About how many calls it makes in the window.
        attempts: How often it tries, the first included.
        at_once: Does it try again without waiting?
        every_s: Cron: seconds between two runs.
        since: Flood: when it starts [s since the epoch].
    """

    name: str
    hosts: tuple[str, ...]
    writer: str
    pattern: Pattern
    operations: tuple[str, ...]
    calls: int
    attempts: int = 1
    at_once: bool = False
    every_s: float = 600.0
    since: float = 0.0


class Intent(NamedTuple):
    """A call that somebody is about to make."""

    at: float
    part: Part
    host: str
    operation: str
    subject: str


#: Kind of application → its parts: name, pattern, operations, share of the calls.
_SHOPS: dict[str, tuple[tuple[str, Pattern, tuple[str, ...], float], ...]] = {
    "django": (
        (
            "shop-web",
            "sessions",
            ("create_event", "create_or_update_profile", "bulk_subscribe_profiles"),
            0.55,
        ),
        ("celery-orders", "queue", ("create_event", "update_profile"), 0.25),
        ("celery-beat-crm", "cron", ("get_profiles", "add_profiles_to_list", "get_lists"), 0.2),
    ),
    "php": (
        (
            "storefront",
            "sessions",
            ("create_event", "create_back_in_stock_subscription", "create_profile"),
            0.5,
        ),
        ("cron-catalog", "cron", ("update_catalog_item", "get_catalog_items"), 0.3),
        ("cron-newsletter", "cron", ("bulk_import_profiles", "get_lists", "get_segments"), 0.2),
    ),
    "go": (
        ("gateway", "sessions", ("create_event", "create_or_update_profile"), 0.6),
        ("loyalty", "queue", ("update_profile", "create_coupon_code", "create_event"), 0.25),
        ("insights", "cron", ("query_metric_aggregates", "get_metrics", "get_campaigns"), 0.15),
    ),
    "ruby": (
        ("spree", "sessions", ("create_event", "bulk_subscribe_profiles", "create_or_update_profile"), 0.5),
        ("sidekiq", "queue", ("create_event", "update_profile", "add_profiles_to_list"), 0.35),
        ("rake-export", "cron", ("get_profiles", "get_segments", "get_events"), 0.15),
    ),
}
_WRITERS = {
    "django": ("requests", "ecs", "httpx"),
    "php": ("guzzle", "monolog", "nginx"),
    "go": ("slog", "zerolog", "nginx"),
    "ruby": ("ethon",),
}
_DAY_S = 86_400
_SHORTEST_SALE_S, _LONGEST_SALE_S = 180, 600
#: Seconds between two calls of a job that pages through something, at least.
_PAGING_S = 0.45


def application(
    rng: random.Random, calls: int, kind: str | None = None, hosts: int | None = None
) -> tuple[Part, ...]:
    """One application that makes about so many calls in the window."""
    kind = kind or rng.choice(list(_SHOPS))
    writers, pods, tries = _WRITERS[kind], rng.random() < 0.5, rng.choice((1, 2, 3))
    parts = []
    for name, pattern, operations, share in _SHOPS[kind]:
        count = 1 if pattern == "cron" else hosts or rng.randint(1, 4)
        parts.append(
            Part(
                name,
                tuple(_host(rng, name, number, pods) for number in range(1, count + 1)),
                rng.choice(writers),
                pattern,
                operations,
                max(1, round(calls * share * rng.uniform(0.7, 1.3))),
                attempts=tries,
                every_s=rng.choice((180.0, 300.0, 420.0, 600.0)),
            )
        )
    return tuple(parts)


def intents(rng: random.Random, parts: tuple[Part, ...], start: float, end: float) -> list[Intent]:
    """Everything that the parts want to do between two moments, in order."""
    rhythm = _Rhythm(rng, start, end)
    found = [each for part in parts for each in _PATTERNS[part.pattern](rng, part, rhythm)]
    return sorted((each for each in found if start <= each.at < end), key=lambda each: each.at)


class _Rhythm:
    """How busy the shop is: the hour of its day, and a sale now and then."""

    def __init__(self, rng: random.Random, start: float, end: float) -> None:
        self.start, self.end = start, end
        self.phase, self.swing = rng.uniform(0, math.tau), rng.uniform(0.1, 0.6)
        self.sales = [(at, at + rng.uniform(_SHORTEST_SALE_S, _LONGEST_SALE_S)) for at in self._starts(rng)]

    def _starts(self, rng: random.Random) -> list[float]:
        return [rng.uniform(self.start, self.end) for _ in range(rng.choice((0, 0, 1, 2)))]

    def moment(self, rng: random.Random) -> float:
        """A moment, the likelier the busier."""
        while True:
            at = rng.uniform(self.start, self.end)
            level = 1 + self.swing * math.sin((at - self.start) / _DAY_S * math.tau + self.phase)
            level += any(since <= at < until for since, until in self.sales)
            if rng.random() * (2 + self.swing) < level:
                return at


def _sessions(rng: random.Random, part: Part, rhythm: _Rhythm) -> Iterator[Intent]:
    """Visitors: identified, then some events, seldom something else."""
    made = 0
    while made < part.calls:
        at, host, who = rhythm.moment(rng), rng.choice(part.hosts), _who(rng)
        for step in range(1 + min(int(rng.expovariate(0.5)), 9)):
            operation = part.operations[0 if step or rng.random() < 0.4 else 1]
            if step and rng.random() < 0.12:
                operation = part.operations[-1]
            yield Intent(at, part, host, operation, who)
            at += rng.lognormvariate(2.8, 1.0)
            made += 1


def _cron(rng: random.Random, part: Part, rhythm: _Rhythm) -> Iterator[Intent]:
    """A job that starts on the clock and pages through something."""
    span = rhythm.end - rhythm.start
    runs = max(1, min(round(span / part.every_s), part.calls // 2))
    first = rhythm.start + rng.uniform(0, span / runs)
    for run in range(runs):
        at, host = first + run * span / runs + rng.uniform(0, 4), rng.choice(part.hosts)
        for _ in range(max(1, round(part.calls / runs * rng.uniform(0.7, 1.3)))):
            yield Intent(at, part, host, rng.choice(part.operations), _who(rng))
            at += _PAGING_S + rng.expovariate(2.0)


def _queue(rng: random.Random, part: Part, rhythm: _Rhythm) -> Iterator[Intent]:
    """Background work in clumps, a worker at a time."""
    made = 0
    while made < part.calls:
        at, host = rhythm.moment(rng), rng.choice(part.hosts)
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            operation = rng.choice((part.operations[0], *part.operations))
            yield Intent(at, part, host, operation, _who(rng))
            at += rng.expovariate(1.5)
            made += 1


def _flood(rng: random.Random, part: Part, rhythm: _Rhythm) -> Iterator[Intent]:
    """A loop that got out of hand."""
    at, pause = part.since, (rhythm.end - part.since) / part.calls
    while at < rhythm.end:
        yield Intent(at, part, rng.choice(part.hosts), rng.choice(part.operations), _who(rng))
        at += pause * rng.uniform(0.6, 1.4)


_PATTERNS = {"sessions": _sessions, "cron": _cron, "queue": _queue, "flood": _flood}
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_NAMES = ("mara", "tobias", "ines", "kofi", "lena", "ravi", "suki", "pavel", "noor", "eva")


def _host(rng: random.Random, name: str, number: int, pods: bool) -> str:
    if pods:
        return f"{name}-{''.join(rng.choices(_LETTERS, k=9))}-{''.join(rng.choices(_LETTERS, k=5))}"
    return f"{name}-{number:02d}"


def _who(rng: random.Random) -> str:
    return f"{rng.choice(_NAMES)}{rng.randrange(5000)}@example.net"
