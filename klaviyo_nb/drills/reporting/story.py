"""What happens in a reporting world: faults, the calls they hit, and what an expert could count of them."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple

from klaviyo_nb.drills.reporting.answers import ANSWERS, id_for
from klaviyo_nb.drills.reporting.shop import Intent, Part, intents
from klaviyo_nb.drills.ways import Quota
from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Severity

#: The end of a window that says how things are now, by contract [s].
LAST_S = 900
#: The application ran before the window opened [s].
BEFORE_S = 1200
#: What passes by itself: an answer, and its share.
_TRANSIENT = {"error": 3, "unavailable": 3, "edge_502": 2, "reset": 2, "edge_520": 1}
_P1_OR_P2 = ("klaviyo_outage", "klaviyo_server_error", "invalid_key", "network_unreachable")
_RETRIED = frozenset({429, 502, 503, 504, 524, None})
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Fault:
    """A stretch of time in which calls fail.

    Attributes:
        answers: Name of an answer → its share of the failures.
        since: Start [s since the epoch].
        until: End; inf: it goes on.
        share: Share of the touched calls that fail.
        operations: Operation ids it touches; empty: all.
        hosts: Hosts it touches; empty: all, and whoever asks from elsewhere.
        cycle_s: It comes and goes with this period, and is there for `share` of it; None: all the time.
        waits: Range of `Retry-After` [s].
    """

    answers: Mapping[str, float]
    since: float
    until: float = inf
    share: float = 1.0
    operations: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    cycle_s: float | None = None
    waits: tuple[int, int] = (1, 30)

    def answer(self, rng: random.Random, at: float, operation: str, host: str | None) -> str | None:
        """How a call that starts now ends because of this; None: it is not touched."""
        if not self.since <= at < self.until or (self.operations and operation not in self.operations):
            return None
        if self.hosts and host not in self.hosts:
            return None
        if self.cycle_s is not None:
            hit = (at - self.since) / self.cycle_s % 1 < self.share
        else:
            hit = rng.random() < self.share
        return rng.choices(list(self.answers), list(self.answers.values()))[0] if hit else None


@dataclass(frozen=True, slots=True)
class Post:
    """An incident or maintenance on the status page.

    Attributes:
        title: As on the page.
        impact: `none`, `minor`, `major`, `critical`, `maintenance`.
        components: Component → its status.
        at: When it was posted [s since the epoch].
        status: `investigating`, `identified`, `monitoring`, `in_progress`, `scheduled`.
        text: The update's words.
    """

    title: str
    impact: str
    components: Mapping[str, str]
    at: float
    status: str = "investigating"
    text: str = "We are currently investigating this issue."


@dataclass(frozen=True, slots=True)
class Plot:
    """A world before its calls are made: what breaks, what can be seen of it, what it is called.

    Attributes:
        cause: The truth.
        severity: The truth.
        second: The other cause of a pair.
        parts: The application.
        faults: What breaks calls, the first one first.
        shows: What must be seen for the truth to follow from the contract: failures of the first fault in
            the last part, none worth a word, failures that are over, too few calls to tell, or anything.
        posts: On the status page.
        page: How the page answers: `ok`, `no summary`, or the name of an answer.
        live: Operation id, `keyless` or `*` → answer, whatever the faults say.
        health: The health endpoint's status, body and its type; None: it hangs.
        app_listens: Does anybody listen on the application's port?
        webhook: Status of the webhook route to an unsigned request.
        deliveries: Status with which webhooks are answered from `deliveries_since` on; None: none come.
        deliveries_since: When that starts [s since the epoch].
        key: `good`, `none`, `blank` (a good one and a blank), `newline`.
        signals: Which of `logs`, `metrics`, `health`, `webhook` there are.
        metrics_down: The metrics server answers with an error.
        lost: Parts whose logs nobody collected.
        noise: Share of calls that fail in passing.
        skew: Host → seconds its clock is ahead; `` (nobody): Klaviyo's clock seen from ours.
        deploy: When the application was restarted [s since the epoch].
        slow: Factor of the durations, for slowness without failures.
        slow_since: When that starts [s since the epoch].
        errors_only: The logs tell of failures only.
        takes_webhooks: The application receives webhooks at all.
        retiring: The revision is deprecated.
    """

    cause: Cause
    severity: Severity | None
    parts: tuple[Part, ...]
    second: Cause | None = None
    faults: tuple[Fault, ...] = ()
    shows: Literal["failing", "well", "over", "few", "any"] = "well"
    posts: tuple[Post, ...] = ()
    page: str = "ok"
    live: Mapping[str, str] = field(default_factory=dict)
    health: tuple[int, str, str] | None = (200, '{"status":"ok"}', "application/json")
    app_listens: bool = True
    webhook: int = 401
    deliveries: int | None = 200
    deliveries_since: float = inf
    key: str = "good"
    signals: frozenset[str] = frozenset({"logs", "metrics", "health", "webhook"})
    metrics_down: bool = False
    lost: frozenset[str] = frozenset()
    noise: float = 0.0
    skew: Mapping[str, float] = field(default_factory=dict)
    deploy: float | None = None
    slow: float = 1.0
    slow_since: float = inf
    errors_only: bool = False
    takes_webhooks: bool = True
    retiring: bool = False


class Call(NamedTuple):
    """One attempt, as it really happened.

    Attributes:
        at: When it ended [s since the epoch].
        duration_s: How long it took.
        part: Who made it.
        host: Where.
        operation: Operation id.
        path: What was asked for.
        subject: Whose profile it is about.
        answer: How it ended: a name of `ANSWERS`.
        attempt: 1 for the first.
        request_id: Klaviyo's.
        wait: `Retry-After` [s].
        remaining: `RateLimit-Remaining`.
        fault: Number of the fault that made it fail; -1: the account's own quota; None: none.
    """

    at: float
    duration_s: float
    part: Part
    host: str
    operation: str
    path: str
    subject: str
    answer: str
    attempt: int
    request_id: str | None
    wait: int | None
    remaining: int | None
    fault: int | None

    @property
    def failed(self) -> bool:
        """Did it fail?"""
        return self.answer != "ok"


def endpoint(operation: str) -> Endpoint:
    """The catalogue's entry."""
    found = catalogue().by_operation(operation)
    assert found is not None, operation
    return found


def happen(plot: Plot, rng: random.Random, start: float, end: float) -> list[Call]:
    """All calls of the application, in the order in which they ended."""
    made = _Happening(plot, rng, end)
    calls = [call for call in made.run(intents(rng, plot.parts, start - BEFORE_S, end)) if call.at < end]
    return sorted(calls, key=lambda call: call.at)


class _Happening:
    def __init__(self, plot: Plot, rng: random.Random, end: float) -> None:
        self.plot, self.rng, self.end, self.quota = plot, rng, end, Quota()
        self.later: list[tuple[float, int, int, Intent, str]] = []
        self.number = count()
        self.ids = {"{id}": "".join(rng.choices(_LETTERS, k=6))}

    def run(self, wanted: list[Intent]) -> Iterator[Call]:
        for intent in wanted:
            yield from self._due(intent.at)
            path = endpoint(intent.operation).path.replace("{id}", "".join(self.rng.choices(_LETTERS, k=8)))
            yield from self._try(intent.at, 1, intent, path)
        yield from self._due(self.end)

    def _due(self, until: float) -> Iterator[Call]:
        while self.later and self.later[0][0] < until:
            at, _, attempt, intent, path = heapq.heappop(self.later)
            yield from self._try(at, attempt, intent, path)

    def _try(self, at: float, attempt: int, intent: Intent, path: str) -> Iterator[Call]:
        host = self._host(at, intent)
        if host is None:
            return
        name, fault, wait, left = self._end(at, intent, host)
        way, part = ANSWERS[name], intent.part
        took = way.seconds or self.rng.lognormvariate(-1.9, 0.5) * (
            self.plot.slow if at >= self.plot.slow_since else 1.0
        )
        left = left if way.has_limits else None
        about = (part, host, intent.operation, path, intent.subject, name, attempt)
        yield Call(at + took, took, *about, id_for(way, self.rng), wait, left, fault)
        if name != "ok" and way.status in _RETRIED and way.by != "portal" and attempt < part.attempts:
            pause = (
                0.05 if part.at_once else min(wait or 0, 60) + 0.6 * 2**attempt * self.rng.uniform(0.5, 1.5)
            )
            heapq.heappush(self.later, (at + took + pause, next(self.number), attempt + 1, intent, path))

    def _host(self, at: float, intent: Intent) -> str | None:
        """Where it runs now; None while that is being restarted."""
        deploy = self.plot.deploy
        if deploy is None or at < deploy:
            return intent.host
        if at < deploy + 12:
            return None
        stem, dash, tail = intent.host.rpartition("-")
        return f"{stem}-{tail[::-1]}" if dash and not tail.isdecimal() else intent.host

    def _end(self, at: float, intent: Intent, host: str) -> tuple[str, int | None, int | None, int | None]:
        """Name of the answer, which fault, seconds to wait, calls left."""
        rng = self.rng
        for number, fault in enumerate(self.plot.faults):
            name = fault.answer(rng, at, intent.operation, host)
            if name is not None:
                wait = rng.randint(*fault.waits) if ANSWERS[name].status == 429 else None
                return name, number, wait, None
        wait, left = self.quota.take(intent.operation, endpoint(intent.operation).limits, at)
        if wait is not None:
            return "throttled", -1, wait, None
        if rng.random() < self.plot.noise:
            return rng.choices(list(_TRANSIENT), list(_TRANSIENT.values()))[0], None, None, None
        return "ok", None, None, left


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be counted in the sources of a world; `hit` are failures of the first fault.

    Attributes:
        last: Calls of the last part.
        last_failed: Failures among them.
        last_hit: Of those, the first fault's (or the quota's).
        last_second: Of those, the second fault's.
        since: Calls since the first hit.
        since_failed: Failures among them.
        before_hit: Hits before the last part.
        before: Calls between the first and the last hit.
        calls: In the window.
        failed: Failures in the window.
        endpoints: Paths that a good part of the hits of the last part fall on.
    """

    last: int
    last_failed: int
    last_hit: int
    last_second: int
    since: int
    since_failed: int
    before_hit: int
    before: int
    calls: int
    failed: int
    endpoints: frozenset[str]


def count_seen(plot: Plot, calls: Iterable[Call], start: float, end: float) -> Seen:
    """Count what the logs hold, or the metrics if there are no logs."""
    seen = [call for call in calls if start <= call.at < end and shown(plot, call)]
    last = [call for call in seen if call.at >= end - LAST_S]
    hits = [call for call in seen if call.fault in (0, -1)]
    since = [call for call in seen if hits and call.at >= hits[0].at]
    before = [call for call in hits if call.at < end - LAST_S]
    touched = Counter(endpoint(call.operation).path for call in last)
    hit = Counter(endpoint(call.operation).path for call in last if call.fault in (0, -1))
    return Seen(
        last=len(last),
        last_failed=sum(call.failed for call in last),
        last_hit=sum(call.fault in (0, -1) for call in last),
        last_second=sum(call.fault == 1 for call in last),
        since=len(since),
        since_failed=sum(call.failed for call in since),
        before_hit=len(before),
        before=sum(before[0].at <= call.at <= before[-1].at for call in seen) if before else 0,
        calls=len(seen),
        failed=sum(call.failed for call in seen),
        endpoints=frozenset(
            path for path, n in hit.items() if n >= max(5, 0.15 * hit.total(), 0.15 * touched[path])
        ),
    )


def shown(plot: Plot, call: Call) -> bool:
    """Does any source tell of this call, and of how it ended?"""
    if call.part.writer == "mute" and "logs" in plot.signals:
        return False
    if "logs" in plot.signals and call.part.name not in plot.lost:
        return call.failed or not plot.errors_only
    return "metrics" in plot.signals and "logs" not in plot.signals and not plot.metrics_down


def supports(plot: Plot, seen: Seen) -> bool:
    """Does the contract's "Causes" lead from what can be counted to the truth, and not by a hair?"""
    if plot.errors_only:
        return seen.last_failed <= 4 and 1 <= seen.failed <= 12
    if plot.shows == "failing":
        return _failing(plot, seen)
    if plot.shows == "well":
        quiet = seen.last_failed < 5 or seen.last_failed < 0.04 * seen.last
        return quiet and seen.failed < max(5, 0.04 * seen.calls) and (seen.last >= 15 or not seen.calls)
    if plot.shows == "over":
        hit_enough = seen.before_hit >= 10 and seen.before_hit >= 0.15 * seen.before
        return hit_enough and not seen.last_hit and seen.last >= 25 and seen.last_failed <= 0.03 * seen.last
    return plot.shows == "any" or seen.last <= 7


def _failing(plot: Plot, seen: Seen) -> bool:
    if seen.last < 15 or seen.last_hit < max(7, 0.1 * seen.last):
        return False
    if plot.severity == "P1":
        return seen.since_failed >= 0.97 * seen.since
    if plot.cause in _P1_OR_P2 and seen.last_failed > 0.75 * seen.last:
        return False
    if (len(seen.endpoints) > 1) != (plot.severity != "P3"):
        return False
    paired = len(plot.faults) > 1 and plot.second is not None
    return not paired or max(5, 0.06 * seen.last) <= seen.last_second <= 0.5 * seen.last_hit
