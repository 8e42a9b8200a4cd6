"""Simple rules to compare with: what one would say who looks at one thing only. Each reads the same evidence.

The third baseline, to name always the most frequent cause, is in `score`: it needs all truths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Cause
    from klaviyo_nb.evidence import Evidence


def first_error(evidence: Evidence) -> Cause:
    """The first failing call of the window, else the first probe of the API that failed, names the cause."""
    return next((cause for cause in _errors(evidence) if cause), "healthy")


def runbook(evidence: Evidence) -> Cause:
    """The runbook's tree, in its order, by its words: one failing call is "failing", any post "acknowledged".

    What most failures look like is read from the logs, without logs from the probes.
    """
    rows = {row["probe"]: row for row in evidence.probes.to_dict("records")}
    failures = [cause for cause in _errors(evidence) if cause]
    page = evidence.status_page or {}
    if failures:
        if page.get("indicator") not in (None, "none"):
            return "klaviyo_outage"
        if evidence.status_page is None and all(cause == "network_unreachable" for cause in failures):
            return "network_unreachable"
        return max(dict.fromkeys(failures), key=failures.count)
    if "app_health" in rows and _status(rows["app_health"]) != 200:
        return "app_unhealthy"
    if "webhook" in rows and (_status(rows["webhook"]) or 500) >= 404:
        return "webhook_endpoint_down"
    return "healthy" if evidence.calls is not None or "auth" in rows else "inconclusive"


#: Name → rule.
RULES: Mapping[str, Callable[[Evidence], Cause]] = {"first_error": first_error, "runbook": runbook}


def _errors(evidence: Evidence) -> Iterator[Cause | None]:
    """What each answer says by its status alone: the application's calls by time, else the probes."""
    frame: pd.DataFrame = evidence.probes[evidence.probes["probe"].isin(["auth", "rate_limit"])]
    if evidence.calls is not None and len(evidence.calls):
        frame = evidence.calls.sort_values("timestamp", kind="stable")
    for row in frame[["status_code", "error_type"]].to_dict("records"):
        yield _named(_status(row), isinstance(row["error_type"], str))


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
