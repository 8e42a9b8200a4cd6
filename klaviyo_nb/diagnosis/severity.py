"""How bad it is, the figure that says so, and when somebody must have responded."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.verdict import Cause, Severity
from klaviyo_nb.lines import many

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Time to respond. P4 is the next business day: see `respond_by`. Source: the runbook, section 1.
RESPOND_WITHIN = {"P1": timedelta(minutes=15), "P2": timedelta(hours=1), "P3": timedelta(hours=4)}

#: P1 when nearly every call fails, else P2.
_BY_SHARE = frozenset({"invalid_key", "network_unreachable", "klaviyo_outage", "klaviyo_server_error"})
#: P3 on one endpoint, else P2.
_BY_ENDPOINT = frozenset({"rate_limited", "missing_scope", "invalid_request"})
_FIXED: Mapping[str, Severity] = {
    "endpoint_degraded": "P3",
    "webhook_endpoint_down": "P3",
    "resolved_or_intermittent": "P3",
    "app_unhealthy": "P2",
}


def severity(
    cause: Cause, facts: Facts, advisories: int, limits: Thresholds
) -> tuple[Severity | None, str | None]:
    """The level and the figure that decided it; `(None, None)` where there is nothing to respond to."""
    if cause == "inconclusive" or (cause == "healthy" and not advisories):
        return None, None
    if cause == "healthy":
        return "P4", f"{_impact(facts)}; {advisories} {'advisory' if advisories == 1 else 'advisories'}"
    if cause == "klaviyo_server_error" and facts.failing is not True:
        return "P2", f"p95 latency {facts.p95_s:.1f} s against {facts.baseline_p95_s:.1f} s before"
    graded = level(cause, nearly_all=_nearly_all(facts, limits), one_endpoint=bool(facts.one_endpoint))
    return graded, (_figure_of(cause, facts) if cause in _FIXED else figure(facts))


def level(cause: Cause, *, nearly_all: bool, one_endpoint: bool) -> Severity | None:
    """The severity of calls that fail for a cause; None for a cause that is none."""
    if cause in _BY_SHARE:
        return "P1" if nearly_all else "P2"
    if cause in _BY_ENDPOINT:
        return "P3" if one_endpoint else "P2"
    return _FIXED.get(cause)


def figure(facts: Facts) -> str:
    """The share of calls failing since it began, and on how many endpoints."""
    if facts.counted_from == "probes" or not facts.since_calls or facts.since_failed is None:
        lately = " at the end of the window" if facts.calls else ""
        asked = f"{facts.last_failed} of {many(facts.last_calls or 0, 'probe')} of the API failed"
        return f"{asked}; no calls were counted{lately}"
    share = f"{facts.since_failed / facts.since_calls:.0%} of calls failed"
    failing = sum(endpoint.failed > 0 for endpoint in facts.endpoints or ())
    places = f" on {failing} endpoint{'' if failing == 1 else 's'}" if failing else ""
    unclear = f"; {facts.since_unclear:,} more may be the portal's" if facts.since_unclear else ""
    return f"{share}{places} ({facts.since_failed:,} of {facts.since_calls:,} {_when(facts)}{unclear})"


def _impact(facts: Facts) -> str:
    if not facts.failing_parts:
        return "no user impact"
    return f"{facts.last_failed:,} of {many(facts.last_calls or 0, 'call')} failed, too few to be an incident"


def _when(facts: Facts) -> str:
    part = facts.last_part
    if part and facts.since == part.start:
        return f"in the last {round(part.seconds / 60)} minutes"
    return f"since {facts.since:%H:%M} UTC"


def respond_by(level: Severity | None, now: datetime, organisation: Mapping[str, Any]) -> datetime | None:
    """When somebody must have responded, counted from `now`.

    A P4 is due at the end of the next working day, in the organisation's time zone.

    Args:
        level: Severity, or None.
        now: The moment of the verdict.
        organisation: `timezone` (IANA), `working_days` (0 is Monday), `day_end` (hour).
    """
    if level is None:
        return None
    if level != "P4":
        return now + RESPOND_WITHIN[level]
    zone = ZoneInfo(organisation.get("timezone", "UTC"))
    working = organisation.get("working_days", range(5))
    day = now.astimezone(zone).date() + timedelta(days=1)
    while day.weekday() not in working:
        day += timedelta(days=1)
    end = datetime.combine(day, time(organisation.get("day_end", 17)), zone)
    return end.astimezone(now.tzinfo)


def _nearly_all(facts: Facts, limits: Thresholds) -> bool:
    calls, failed = facts.since_calls, facts.since_failed
    if facts.counted_from == "probes":
        calls, failed = facts.last_calls, facts.last_failed
    return bool(calls) and failed is not None and failed >= limits.nearly_all_share * (calls or 0)


def _figure_of(cause: Cause, facts: Facts) -> str:
    if cause == "app_unhealthy":
        return f"the application's health endpoint: {facts.app_says}"
    if cause == "webhook_endpoint_down":
        return f"the webhook route: {facts.webhook_says}"
    if cause == "resolved_or_intermittent":
        every = many(facts.calls or 0, "call")
        return f"{facts.failed_calls:,} of {every} failed, {facts.last_failed:,} of them lately"
    return figure(facts)
