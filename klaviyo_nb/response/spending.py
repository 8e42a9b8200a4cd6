"""How one endpoint's rate limit was used: which window, by whom, and what would stay below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.klaviyo.ratelimit import parse_limit

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence

#: Length of the windows in which Klaviyo counts calls [s], and what people call them.
WINDOWS = {1: "second", 60: "minute", 86400: "day"}
DAY_S = 86400
#: A `Retry-After` above it is that of a daily limit [s]: a minute's window frees within a minute.
LONGEST_MINUTE_S = 60
#: Share of a limit that leaves room for other integrations of the account and for bursts.
MARGIN = 0.8


@dataclass(frozen=True, slots=True)
class Spending:
    """How one endpoint's rate limit was used.

    Attributes:
        endpoint: Method and path.
        window_s: The window that was filled most, of those Klaviyo counts in [s].
        limit: Calls it allows.
        observed: Did an answer of Klaviyo's tell the limit? Else it is the catalogue's.
        peak: Most calls counted in one such window.
        caller: Who made most of the calls in that window, if the logs tell.
        share: That caller's share of them.
        p50_s: Median duration of a call [s], if the logs tell.
    """

    endpoint: str
    window_s: int
    limit: int
    observed: bool
    peak: int
    caller: str | None
    share: float | None
    p50_s: float | None

    @property
    def window(self) -> str:
        """The window as people call it."""
        return WINDOWS.get(self.window_s, f"{self.window_s} s")

    @property
    def exhausted(self) -> bool:
        """Do the calls seen here fill the window by themselves?"""
        return self.peak >= self.limit

    @property
    def concurrency(self) -> int | None:
        """Calls at once that stay below the margin: rate times duration, by Little's law. None below one."""
        if not self.p50_s:
            return None
        return int(MARGIN * self.limit / self.window_s * self.p50_s) or None

    @property
    def pause_s(self) -> float:
        """Seconds between the starts of two calls that stay below the margin."""
        return round(self.window_s / (MARGIN * self.limit), 3)


def spending(evidence: Evidence, throttled: pd.DataFrame | None) -> Spending | None:
    """How the limit of the endpoint with most throttled calls was used.

    Args:
        evidence: Its `calls` are counted, its probes may tell the limits.
        throttled: The rows of `calls` that were throttled.

    Returns:
        None without logs, or for an endpoint that the catalogue does not know.
    """
    calls = evidence.calls
    if calls is None or throttled is None or throttled.empty:
        return None
    groups: Any = throttled.groupby(["method", "endpoint"]).size()
    endpoint = catalogue().match(*groups.idxmax()) if len(groups) else None
    if endpoint is None:
        return None
    mine = calls[(calls["method"] == endpoint.method) & (calls["endpoint"] == endpoint.path)]
    limits, observed = limits_of(endpoint, evidence)
    fullest = {window_s: _fullest(mine, window_s) for window_s in limits}
    window_s = max(limits, key=lambda each: len(fullest[each]) / limits[each])
    if DAY_S in limits and (throttled["retry_after_s"] > LONGEST_MINUTE_S).any():
        window_s = DAY_S  # a log of two hours cannot show it full
    callers = fullest[window_s]["caller"].value_counts(normalize=True)
    durations = mine["duration_s"].dropna()
    return Spending(
        endpoint=f"{endpoint.method} {endpoint.path}",
        window_s=window_s,
        limit=limits[window_s],
        observed=observed,
        peak=len(fullest[window_s]),
        caller=str(callers.index[0]) if len(callers) else None,
        share=float(callers.iloc[0]) if len(callers) else None,
        p50_s=float(durations.median()) if len(durations) else None,
    )


def limits_of(endpoint: Endpoint, evidence: Evidence) -> tuple[Mapping[int, int], bool]:
    """Window [s] → calls allowed: the server's own word where a probe asked this endpoint."""
    for row in evidence.probe_rows:
        told = parse_limit(row["ratelimit"]) if catalogue().match("GET", row["target"]) is endpoint else None
        if told and told.windows and all(told.windows.values()):
            return told.windows, True
    return endpoint.limits, False


def _fullest(calls: pd.DataFrame, window_s: int) -> pd.DataFrame:
    """The calls of the fixed window that holds most; calls without a time are in none."""
    starts = calls["timestamp"].dt.floor(f"{window_s}s")
    return calls[starts == starts.value_counts().idxmax()] if starts.notna().any() else calls.iloc[:0]
