"""A pretend application's traffic: every call of a window, from one scenario and a seed.

The logs, the metrics and the truth are all written from these calls, so they agree.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

from klaviyo_nb.drills.scenarios import CALLERS, Caller, Phase, Scenario
from klaviyo_nb.drills.ways import RETRIED, WAYS, Quota, uuid
from klaviyo_nb.drills.worlds import Truth
from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.window import Window

SPAN = timedelta(hours=2)
#: The application runs before the window opens, so that counters and logs do not begin at its border.
WARM_UP = timedelta(minutes=10)
ATTEMPTS = 3
_WEBHOOKS_PER_S = 1 / 25
_TOPICS = ("event:klaviyo.opened_email", "event:klaviyo.clicked_email", "event:klaviyo.bounced_email")
_FIRST_NAMES = ("ada", "bela", "carmen", "deniz", "emeka", "farida", "goran", "hana", "ivo", "jun")
_SLUGS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Call(NamedTuple):
    """One attempt of one call, as the application saw it.

    Attributes:
        at: When it ended, and was logged and counted [s since the epoch].
        duration_s: How long it took.
        caller: Who made it.
        operation: Operation id.
        host: Where.
        path: Path asked for, ids filled in.
        profile: Address of the profile it is about.
        unique_id: Of the event it sends, else None.
        way: Name of the way it ended.
        attempt: 1 for the first.
        request_id: Klaviyo's id; None if none came.
        retry_after_s: Seconds to wait, where it was throttled.
        remaining: Calls left in the shortest window, where the answer said so.
        noise: Did it fail for no particular reason?
    """

    at: float
    duration_s: float
    caller: Caller
    operation: str
    host: str
    path: str
    profile: str
    unique_id: str | None
    way: str
    attempt: int
    request_id: str | None
    retry_after_s: int | None
    remaining: int | None
    noise: bool


class Delivery(NamedTuple):
    """One webhook delivery that reached the application."""

    at: float
    host: str
    topic: str
    event: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened inside the window, counted.

    Attributes:
        calls: Calls, every attempt.
        failed_calls: How many failed, passing noise included.
        failed_by: Path template → failures.
        deliveries: Webhooks that arrived.
    """

    calls: int
    failed_calls: int
    failed_by: Mapping[str, int]
    deliveries: int


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that happened around one pretend application.

    Attributes:
        scenario: What was asked for.
        seed: Of all that is random.
        window: The two hours that end now.
        key: The made-up private key.
        calls: All attempts, by the time they ended; some before the window.
        deliveries: All webhook deliveries, likewise.
        truth: What really happened.
        counts: How often.
    """

    scenario: Scenario
    seed: int
    window: Window
    key: str
    calls: tuple[Call, ...]
    deliveries: tuple[Delivery, ...]
    truth: Truth
    counts: Counts


def tell(scenario: Scenario, seed: int, now: datetime) -> Story:
    """Make up what happened until `now`; the same arguments give the same story."""
    rng = random.Random(f"{scenario.name}/{seed}")  # noqa: S311 - made-up traffic
    key = "pk_" + "".join(rng.choices("0123456789abcdef", k=34))
    window = Window.last(SPAN, now.astimezone(UTC))
    start, end = (window.start - WARM_UP).timestamp(), window.end.timestamp()
    last = end - scenario.silent_min * 60
    calls = tuple(
        sorted((call for call in _Traffic(scenario, rng, start, end).run() if call.at < last), key=_at)
    )
    deliveries = tuple(_deliveries(scenario, rng, start, end))
    truth, counts = _truth(scenario, window, calls), _counts(window, calls, deliveries)
    return Story(scenario, seed, window, key, calls, deliveries, truth, counts)


class _About(NamedTuple):
    """What stays the same over the attempts of one call."""

    caller: Caller
    operation: str
    host: str
    path: str
    profile: str
    unique_id: str | None


class _Traffic:
    """The application at work: callers, retries, the account's quota."""

    def __init__(self, scenario: Scenario, rng: random.Random, start: float, end: float) -> None:
        self.scenario, self.rng, self.start, self.end = scenario, rng, start, end
        self.callers = (*CALLERS, *scenario.callers)
        self.quota = Quota()
        self.count = count()  # breaks ties among them
        self.retries: list[tuple[float, int, int, _About]] = []  # a heap, the earliest first
        pairs = [(name, host) for each in self.callers for name in each.operations for host in each.hosts]
        self.phases = {pair: _phases(scenario, *pair, end) for pair in pairs}
        self.limits = {name: endpoint_of(name).limits for name, _ in pairs}
        self.paths = {name: _path(name, rng) for name in self.limits}

    def run(self) -> Iterator[Call]:
        rng = self.rng
        firsts = [list(self._schedule(rank, caller)) for rank, caller in enumerate(self.callers)]
        for moment, _, caller, operation in heapq.merge(*firsts):
            yield from self._again(moment)
            host, event = rng.choice(caller.hosts), _event_id(operation, rng)
            about = _About(caller, operation, host, self.paths[operation], _address(rng), event)
            yield from self._attempt(moment, 1, about)
        yield from self._again(self.end)

    def _schedule(self, rank: int, caller: Caller) -> Iterator[tuple[float, int, Caller, str]]:
        """First attempts of one caller, in order of time; `rank` breaks ties."""
        names, weights = list(caller.operations), list(caller.operations.values())
        rate, moment = caller.per_s * self.scenario.pace, self.start
        if caller.since_min is not None:
            rate, moment = caller.per_s, self.end - caller.since_min * 60
        while (moment := moment + self.rng.expovariate(rate)) < self.end:
            yield moment, rank, caller, self.rng.choices(names, weights)[0]

    def _again(self, until: float) -> Iterator[Call]:
        """Make the attempts that are due before `until`."""
        while self.retries and self.retries[0][0] < until:
            moment, _, attempt, about = heapq.heappop(self.retries)
            yield from self._attempt(moment, attempt, about)

    def _attempt(self, started: float, attempt: int, about: _About) -> Iterator[Call]:
        """Make one attempt; if it fails and may be tried again, put that down."""
        name, noise, wait, left = self._outcome(started, about)
        way = WAYS[name]
        duration = way.seconds or self.rng.lognormvariate(-1.75, 0.4) * self._slowed(started)
        at = started + duration
        if at < self.end:  # else it is still under way, and nobody has logged it yet
            request_id = uuid(self.rng) if way.has_request_id else None
            remaining = left if way.has_limits else None
            yield Call(at, duration, *about, name, attempt, request_id, wait, remaining, noise)
        if way.status in RETRIED and about.caller.retries and attempt < ATTEMPTS:
            pause = wait or 0.5 * 1.5**attempt * self.rng.uniform(0.5, 1.5)
            heapq.heappush(self.retries, (at + pause, next(self.count), attempt + 1, about))

    def _slowed(self, moment: float) -> float:
        """By what factor calls take longer at this moment."""
        ago = (self.end - moment) / 60
        return max(
            (slow.factor for slow in self.scenario.slow if slow.until_min <= ago < slow.since_min),
            default=1.0,
        )

    def _outcome(self, moment: float, about: _About) -> tuple[str, bool, int | None, int | None]:
        """Name of the way, whether it is noise, seconds to wait, calls left."""
        for phase, since, until in self.phases[about.operation, about.host]:
            if since <= moment < until and self.rng.random() < phase.share:
                way = self.rng.choices(list(phase.ways), list(phase.ways.values()))[0]
                wait = phase.retry_after_s or self.rng.randrange(1, 30) if way == "throttled" else None
                return way, phase.passing, wait, None
        wait, left = self.quota.take(about.operation, self.limits[about.operation], moment)
        if wait is not None:
            return "throttled", False, wait, None
        if self.rng.random() < self.scenario.noise:
            return self.rng.choice(self.scenario.noise_ways), True, None, left
        return "ok", False, None, left


def endpoint_of(operation: str) -> Endpoint:
    """The catalogue's entry of an operation that is known to be there."""
    endpoint = catalogue().by_operation(operation)
    assert endpoint is not None, operation
    return endpoint


def status_of(call: Call) -> int | None:
    """The HTTP status that the application got; None if no answer came."""
    return endpoint_of(call.operation).success[0] if call.way == "ok" else WAYS[call.way].status


def _phases(scenario: Scenario, operation: str, host: str, end: float) -> list[tuple[Phase, float, float]]:
    return [
        (phase, end - phase.since_min * 60, end - phase.until_min * 60)
        for phase in scenario.phases
        if operation in (phase.operations or (operation,)) and host in (phase.hosts or (host,))
    ]


def _path(operation: str, rng: random.Random) -> str:
    return endpoint_of(operation).path.replace("{id}", "".join(rng.choices(_SLUGS, k=6)))


def _address(rng: random.Random) -> str:
    return f"{_FIRST_NAMES[int(rng.random() * 10)]}.{int(rng.random() * 4000)}@example.com"


def _event_id(operation: str, rng: random.Random) -> str | None:
    return f"order-{int(rng.random() * 1e8):08d}" if operation == "create_event" else None


def _deliveries(scenario: Scenario, rng: random.Random, start: float, end: float) -> Iterator[Delivery]:
    until, moment = end - scenario.webhooks_until_min * 60, start
    while (moment := moment + rng.expovariate(_WEBHOOKS_PER_S)) < until:
        yield Delivery(moment, rng.choice(("web-1", "web-2")), rng.choice(_TOPICS), uuid(rng))


def _truth(scenario: Scenario, window: Window, calls: tuple[Call, ...]) -> Truth:
    incident = [call.at for call in _inside(window, calls) if call.way != "ok" and not call.noise]
    phases = [phase for phase in scenario.phases if not phase.passing]
    over = bool(phases) and all(phase.until_min > 0 for phase in phases)
    return Truth(
        scenario.cause,
        scenario.severity,
        _moment(incident[0]) if incident else None,
        _moment(incident[-1]) if incident and over else None,
        scenario.second,
    )


def _counts(window: Window, calls: tuple[Call, ...], deliveries: tuple[Delivery, ...]) -> Counts:
    inside = _inside(window, calls)
    failed = [call for call in inside if call.way != "ok"]
    return Counts(
        len(inside),
        len(failed),
        dict(Counter(endpoint_of(call.operation).path for call in failed).most_common()),
        sum(window.start.timestamp() <= each.at < window.end.timestamp() for each in deliveries),
    )


def _inside(window: Window, calls: tuple[Call, ...]) -> list[Call]:
    start, end = window.start.timestamp(), window.end.timestamp()
    return [call for call in calls if start <= call.at < end]


def _at(call: Call) -> float:
    return call.at


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
