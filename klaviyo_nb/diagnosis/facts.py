"""`Facts`: what the tree asks about, each one thing, each None while unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.klaviyo.answers import Failure
from klaviyo_nb.window import Window


@dataclass(frozen=True, slots=True)
class EndpointCount:
    """Calls to one endpoint in the last part of the window, and its first and last failure in the window."""

    endpoint: str
    calls: int
    failed: int
    first_failed: datetime | None = None
    last_failed: datetime | None = None


@dataclass(frozen=True, slots=True)
class HostCount:
    """The same for one host, or one worker where the logs name no hosts."""

    host: str
    calls: int
    failed: int
    first_failed: datetime | None = None
    last_failed: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailingPart:
    """A part of the application, or an endpoint: most of its calls fail, too few to be an incident by share.

    Attributes:
        attribute: Column of CALLS.
        value: Of that column.
        calls: Its calls in the last part of the window.
        failed: How many of them failed.
        others_fail: Share of the other calls that failed.
        looks: What its failures look like.
    """

    attribute: str
    value: str
    calls: int
    failed: int
    others_fail: float
    looks: str

    @property
    def words(self) -> str:
        """As a part of a sentence."""
        every = f"all {self.calls:,}" if self.failed == self.calls else f"{self.failed:,} of {self.calls:,}"
        return f"{every} calls of {self.attribute} {self.value} failed ({self.looks})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was observed, reduced to what decides. None means nobody saw it.

    Attributes:
        counted_from: `logs`, `metrics` or `probes`: what `failing` was read from.
        calls: Calls in the window.
        failed_calls: How many of them failed.
        last_part: The part of the window that says how things are now.
        last_calls: Calls in it.
        last_failed: Failures in it.
        since: From when on the share of failing calls is measured: the onset, if it lies in the last part.
        since_calls: Calls since then.
        since_failed: Failures since then.
        since_unclear: Calls since then that look well, as all calls do that a portal answers: not counted.
        failing: Are calls to Klaviyo failing now?
        failure: What most failures look like.
        failure_alone: What they look like by themselves, where our own call told more of them.
        answered_by: Who gave most of those answers; None if nobody did or the logs do not tell.
        error_code: `errors[].code` of most of them.
        other_failures: Kinds of failure that are an incident of their own beside it → what they look like.
        probe_failure: What the refusal of our probes looks like, where the calls look different.
        failures: Failures in the last part, by kind.
        status_codes: Failures in the last part, by HTTP status; 0 where no response came.
        endpoints: Calls and failures in the last part, by endpoint, most failures first.
        one_endpoint: Do all failures fall on one endpoint while others succeed?
        hosts: Likewise by host, or by worker.
        slow: Are calls slow against threshold and quiet part, without failing?
        p95_s: 95th percentile of the last part's durations [s].
        baseline_p95_s: The same for the quiet part of the window [s].
        nothing_answers: Are both the API and the status page silent?
        acknowledged: Does Klaviyo's page tell of an incident that concerns the failing calls?
        acknowledged_as: The page's own words for it.
        acknowledged_at: When the page first told of it.
        acknowledged_in_part: The page's words for what concerns calls we make, but not most that fail.
        unrelated: The page's words for incidents that do not concern them.
        app_healthy: Does our application's health endpoint say it is well?
        app_says: What it said instead.
        webhooks_arrive: Does the webhook route live, and are signatures accepted?
        webhook_says: What it said instead.
        failed_earlier: Did calls fail earlier in the window, and none now, with traffic flowing?
        failing_hosts: Hosts or workers on which calls fail while they succeed on others.
        failing_parts: Where most calls fail, if calls as a whole do not.
        differs: What else most failing calls have in common and others do not, in words.
        onset: When failures began.
        recovered: When they ended.
        retry_after_s: Longest Retry-After seen [s].
        frees_at: When the last call that was told to wait may be made again.
        clocks_ahead: Hosts whose log lines lie in the future → by how much at least [s].
        presumed: Facts read from a lesser source, because a better one was asked in vain → what was.
        evidence: Fact name → where it was read, as citations for the path.
        because: Fact name → the figure or words that say so.
    """

    counted_from: Literal["logs", "metrics", "probes"] | None = None
    calls: int | None = None
    failed_calls: int | None = None
    last_part: Window | None = None
    last_calls: int | None = None
    last_failed: int | None = None
    since: datetime | None = None
    since_calls: int | None = None
    since_failed: int | None = None
    since_unclear: int | None = None
    failing: bool | None = None
    failure: Failure | None = None
    failure_alone: Failure | None = None
    answered_by: str | None = None
    error_code: str | None = None
    other_failures: Mapping[Failure, str] | None = None
    probe_failure: Failure | None = None
    failures: Mapping[str, int] | None = None
    status_codes: Mapping[int, int] | None = None
    endpoints: tuple[EndpointCount, ...] | None = None
    one_endpoint: bool | None = None
    hosts: tuple[HostCount, ...] | None = None
    slow: bool | None = None
    p95_s: float | None = None
    baseline_p95_s: float | None = None
    nothing_answers: bool | None = None
    acknowledged: bool | None = None
    acknowledged_as: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_in_part: str | None = None
    unrelated: str | None = None
    app_healthy: bool | None = None
    app_says: str | None = None
    webhooks_arrive: bool | None = None
    webhook_says: str | None = None
    failed_earlier: bool | None = None
    failing_hosts: tuple[str, ...] | None = None
    failing_parts: tuple[FailingPart, ...] | None = None
    differs: str | None = None
    onset: Interval | None = None
    recovered: Interval | None = None
    retry_after_s: float | None = None
    frees_at: datetime | None = None
    clocks_ahead: Mapping[str, float] | None = None
    presumed: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    because: Mapping[str, str] = field(default_factory=dict)
