"""The incidents that can be rehearsed, as data: what breaks, for whom, since when, and what it is called.

To add one: add an entry to `SCENARIOS`. Everything else (logs, metrics, status page, live answers, the truth)
is generated from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Severity


@dataclass(frozen=True, slots=True)
class Caller:
    """A part of the pretend application that calls Klaviyo.

    Attributes:
        name: Service or job, as its log lines name it.
        hosts: Machines it runs on.
        log: Which log it writes: `web` (pino JSON) or `worker` (text of the Python SDK).
        per_s: Calls per second, over all hosts.
        operations: Operation id → share of its calls.
        since_min: Minutes before the end at which it starts; None: it always runs.
        retries: Does it wait and try again when throttled?
    """

    name: str
    hosts: tuple[str, ...]
    log: str
    per_s: float
    operations: Mapping[str, float]
    since_min: float | None = None
    retries: bool = True


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the window in which calls fail.

    Attributes:
        since_min: Minutes before the end at which it starts.
        ways: Name of a way (see `ways.WAYS`) → its share of the failures.
        until_min: Minutes before the end at which it ends; 0: it is still going on.
        share: Share of the touched calls that fail.
        operations: Operation ids it touches; empty: all.
        hosts: Hosts it touches; empty: all.
        retry_after_s: What a throttled call is told to wait [s]; None: some seconds.
        passing: Is it the usual trouble of a deploy, and no incident?
    """

    since_min: float
    ways: Mapping[str, float]
    until_min: float = 0.0
    share: float = 1.0
    operations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    retry_after_s: int | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """A stretch of the window in which calls take longer.

    Attributes:
        since_min: Minutes before the end at which it starts.
        until_min: Minutes before the end at which it ends.
        factor: By how much.
    """

    since_min: float
    until_min: float
    factor: float


@dataclass(frozen=True, slots=True)
class Notice:
    """An incident on the status page, or a maintenance in progress.

    Attributes:
        title: As Klaviyo would call it.
        impact: `minor`, `major` or `critical`.
        components: Component name → its status.
        since_min: Minutes before the end at which it was posted.
        text: The first update's words.
        planned: Is it a maintenance?
    """

    title: str
    impact: str
    components: Mapping[str, str]
    since_min: float
    text: str
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """How the pretend services answer now.

    Attributes:
        api: Operation id, or `*` for every other → name of a way.
        page: Name of a way for the status page.
        health: Status of the application's health endpoint; None: it hangs.
        health_says: JSON `status` of it; None: what fits; empty: it is HTML.
        webhook: Status of the webhook route to an unsigned request.
        metrics: Name of a way for the metrics server.
    """

    api: Mapping[str, str] = field(default_factory=dict)
    page: str = "ok"
    health: int | None = 200
    health_says: str | None = None
    webhook: int = 401
    metrics: str = "ok"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One incident.

    Attributes:
        name: What the user types.
        title: One line on what happens.
        cause: What it is called: the hidden truth.
        severity: How bad it is: the hidden truth.
        phases: When and how calls fail.
        callers: Callers beside the usual ones.
        pace: The usual traffic is multiplied by this.
        live: How things answer now.
        notices: What the status page tells.
        webhooks_until_min: Minutes before the end after which no webhook arrives; 0: they still do.
        webhooks_refused: Does the application take every signature for a wrong one?
        key: What is configured as private key, with `{key}` for the good one; empty: none is.
        without: What is not there or not configured: `logs`, `metrics`, `health`, `webhook`.
        noise: Share of calls that fail at any time with one of `noise_ways`.
        noise_ways: How they do.
        second: In a pair, the cause that is not the dominant one.
        slow: When calls take longer.
        silent_min: Minutes before the end at which the application stops calling; 0: it does not.
        restarts_min: Minutes before the end at which its processes, and with them the counters, start anew.
        log_skew_s: Name of a log → seconds by which its clock is ahead.
        date_skew_s: Seconds by which Klaviyo's clock is ahead of ours.
        chatter: Do its logs tell of failures that are no calls to Klaviyo?
    """

    name: str
    title: str
    cause: Cause
    severity: Severity | None
    phases: tuple[Phase, ...] = ()
    callers: tuple[Caller, ...] = ()
    pace: float = 1.0
    live: Live = Live()
    notices: tuple[Notice, ...] = ()
    webhooks_until_min: float = 0.0
    webhooks_refused: bool = False
    key: str = "{key}"
    without: frozenset[str] = frozenset()
    noise: float = 0.003
    noise_ways: tuple[str, ...] = ("error", "unavailable")
    second: Cause | None = None
    slow: tuple[Slow, ...] = ()
    silent_min: float = 0.0
    restarts_min: tuple[float, ...] = ()
    log_skew_s: Mapping[str, float] = field(default_factory=dict)
    date_skew_s: float = 0.0
    chatter: bool = False


_WEB, _WORKER = ("web-1", "web-2"), ("worker-1",)
#: Who calls Klaviyo on an ordinary day.
CALLERS: tuple[Caller, ...] = (
    Caller("checkout", _WEB, "web", 0.45, {"create_event": 0.7, "create_or_update_profile": 0.3}),
    Caller("newsletter", _WEB, "web", 0.12, {"get_lists": 0.4, "add_profiles_to_list": 0.6}),
    Caller("profile-sync", _WORKER, "worker", 0.3, {"get_profiles": 0.7, "bulk_import_profiles": 0.3}),
    Caller("reporting", _WORKER, "worker", 0.08, {"get_metrics": 0.6, "query_metric_aggregates": 0.4}),
)

#: Components of the status page that its incidents have named; the full list is not published.
COMPONENTS = (
    "Klaviyo API",
    "Analytics",
    "Segmentation",
    "List Subscription",
    "Signup Forms",
    "Flow Triggering",
    "Campaign Email Sending",
    "Flow Email Sending",
    "Klaviyo App",
)

_SERVER_ERRORS = {"unavailable": 0.5, "error": 0.2, "edge_525": 0.2, "hang": 0.1}
#: A job that reads profiles and sends them on, as fast as it can.
_EXPORT = {"get_profiles": 0.8, "bulk_import_profiles": 0.2}
#: What needs the scopes `lists:read` and `lists:write`.
_LISTS = ("get_lists", "add_profiles_to_list", "bulk_import_profiles")

_ALL = (
    Scenario(
        "rate_limited", "a job that ignores 429 spends the account's quota", "rate_limited", "P2",
        callers=(
            Caller("segment-export", ("worker-2",), "worker", 21.0, _EXPORT, since_min=9.0, retries=False),
        ),
        live=Live({"get_profiles": "throttled", "bulk_import_profiles": "throttled"}),
    ),
    Scenario(
        "invalid_key", "the private key was revoked", "invalid_key", "P1",
        phases=(Phase(37.0, {"unauthorized": 1.0}),),
        live=Live({"*": "unauthorized"}),
    ),
    Scenario(
        "klaviyo_outage", "Klaviyo's API fails and the status page says so, late", "klaviyo_outage", "P1",
        phases=(Phase(52.0, _SERVER_ERRORS, share=0.97),),
        live=Live({"*": "unavailable"}),
        notices=(
            Notice("API 503 Errors", "major", {"Klaviyo API": "major_outage"}, 19.0,
                   "We are investigating elevated error rates on our APIs."),
        ),
    ),
    Scenario(
        "klaviyo_server_error", "Klaviyo's API fails in part and the status page is green",
        "klaviyo_server_error", "P2",
        phases=(Phase(33.0, {"error": 0.5, "edge_520": 0.3, "reset": 0.2}, share=0.45),),
        live=Live({"get_profiles": "edge_520"}),
    ),
    Scenario(
        "missing_scope", "a new key lacks the scopes for lists", "missing_scope", "P2",
        phases=(Phase(41.0, {"forbidden": 1.0}, operations=_LISTS),),
        live=Live(dict.fromkeys(_LISTS, "forbidden")),
    ),
    Scenario(
        "invalid_request", "a deploy sends addresses that Klaviyo does not accept", "invalid_request", "P3",
        phases=(Phase(29.0, {"invalid_email": 1.0}, share=0.9, operations=("create_or_update_profile",)),),
    ),
    Scenario(
        "endpoint_degraded", "one endpoint of Klaviyo's fails, the rest is well", "endpoint_degraded", "P3",
        phases=(Phase(26.0, {"error": 0.6, "unavailable": 0.4}, share=0.8, operations=_LISTS[2:]),),
        live=Live({"bulk_import_profiles": "error"}),
    ),
    Scenario(
        "network_unreachable", "our egress is cut: neither the API nor the status page can be reached",
        "network_unreachable", "P1",
        phases=(Phase(18.0, {"refused": 1.0}),),
        live=Live({"*": "refused"}, page="refused"),
        webhooks_until_min=18.0,
    ),
    Scenario(
        "app_unhealthy", "our application's database is gone; Klaviyo is well", "app_unhealthy", "P2",
        live=Live(health=503),
    ),
    Scenario(
        "webhook_endpoint_down", "a deploy removed the webhook route", "webhook_endpoint_down", "P3",
        live=Live(webhook=404),
        webhooks_until_min=44.0,
    ),
    Scenario(
        "resolved_or_intermittent", "Klaviyo's API failed for half an hour and is well again",
        "resolved_or_intermittent", "P3",
        phases=(Phase(84.0, {"unavailable": 0.7, "error": 0.3}, until_min=55.0, share=0.6),),
    ),
    Scenario("healthy", "nothing is wrong", "healthy", None),
    Scenario(
        "inconclusive", "no key, no metrics and too few calls to tell", "inconclusive", None,
        phases=(Phase(14.0, {"error": 1.0}, share=0.5),),
        pace=0.004,
        key="",
        without=frozenset({"metrics"}),
        noise=0.0,
    ),
)  # fmt: skip

#: Name → scenario, the default first.
SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
