"""Simple rules to compare with: what one would say who looks at one thing only. Each reads the same evidence.

The third baseline, to name always the most frequent cause, is in `score`: it needs all truths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause
    from klaviyo_nb.evidence import Evidence

#: The runbook's alert: more than this share of calls fails.
_ALERT_SHARE = 0.05
_LAST_PART = timedelta(minutes=15)


def first_error(evidence: Evidence) -> Cause:
    """The first failing call of the window, else the first probe of the API that failed, names the cause."""
    failures = [cause for cause in (*_calls(evidence), *_probes(evidence)) if cause]
    return failures[0] if failures else "healthy"


def runbook(evidence: Evidence) -> Cause:
    """The runbook's tree, in its order, by its words: any post is "acknowledged", statuses say who failed.

    Calls fail if more than its alert's share of them did in the last quarter of an hour, or a probe does.
    """
    rows = {row["probe"]: row for row in evidence.probe_rows}
    calls, probed = _calls(evidence, evidence.window.end - _LAST_PART), _probes(evidence)
    failures = [cause for cause in (calls if _alert(calls) else probed) if cause]
    page = evidence.status_page or {}
    if failures:
        if page.get("indicator") not in (None, "none"):
            return "klaviyo_outage"
        if evidence.status_page is None and set(failures) == {"network_unreachable"}:
            return "network_unreachable"
        return max(dict.fromkeys(failures), key=failures.count)
    if "app_health" in rows and _status(rows["app_health"]) != 200:
        return "app_unhealthy"
    if "webhook" in rows and (_status(rows["webhook"]) or 500) >= 404:
        return "webhook_endpoint_down"
    if _alert(_calls(evidence)):
        return "resolved_or_intermittent"
    return "healthy" if calls or probed else "inconclusive"


#: Name → rule.
RULES: Mapping[str, Callable[[Evidence], Cause]] = {"first_error": first_error, "runbook": runbook}


def _alert(named: Sequence[Cause | None]) -> bool:
    return sum(cause is not None for cause in named) > _ALERT_SHARE * len(named)


def _calls(evidence: Evidence, since: Any = None) -> list[Cause | None]:
    """What each call of the application says by its status alone, in order of time; None: it worked."""
    if evidence.calls is None:
        return []
    frame = evidence.calls[evidence.calls["timestamp"] >= (since or evidence.window.start)]
    columns = frame.sort_values("timestamp", kind="stable")[["status_code", "error_type"]]
    return _each(columns.to_dict("records"))


def _probes(evidence: Evidence) -> list[Cause | None]:
    """The same of the probes that carry the key."""
    return _each(row for row in evidence.probe_rows if row["probe"] in ("auth", "rate_limit"))


def _each(rows: Iterable[Mapping[Any, Any]]) -> list[Cause | None]:
    return [_named(_status(row), isinstance(row["error_type"], str)) for row in rows]


def _status(row: Mapping[Any, Any]) -> int | None:
    status = row["status_code"]
    return int(status) if isinstance(status, int | float) and status == status else None


def _named(status: int | None, silent: bool) -> Cause | None:
    if status is None:
        return "network_unreachable" if silent else None
    if status >= 500:
        return "klaviyo_server_error"
    refused: Mapping[int, Cause] = {401: "invalid_key", 403: "missing_scope", 429: "rate_limited"}
    return refused.get(status, "invalid_request") if status >= 400 else None
