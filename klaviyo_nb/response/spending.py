"""How one endpoint's rate limit was used: which window, by whom, and what would stay below it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klaviyo_nb.klaviyo.endpoints import DAY, Endpoint, catalogue
from klaviyo_nb.klaviyo.ratelimit import WINDOWS, pace, parse_limit

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence


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
        """Calls at once that stay below the margin. None below one."""
        return pace(self.limit, self.window_s, self.p50_s).concurrency

    @property
    def pause_s(self) -> float:
        """Seconds between the starts of two calls that stay below the margin."""
        return pace(self.limit, self.window_s, self.p50_s).pause_s


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
    from klaviyo_nb.logs.questions.ratelimit import ratelimit

    groups: Any = throttled.groupby(["method", "endpoint"]).size()
    endpoint = catalogue().match(*groups.idxmax()) if len(groups) else None
    if endpoint is None:
        return None
    limits, observed = limits_of(endpoint, evidence)
    told = {f"{endpoint.method} {endpoint.path}": limits} if observed else None
    mine = calls[(calls["method"] == endpoint.method) & (calls["endpoint"] == endpoint.path)]
    rows = ratelimit(mine, evidence.window, told)
    rows = rows[rows["limit"].notna()]
    if rows.empty:
        return None
    fill = (rows["peak"] / rows["limit"]).where(rows["window_s"] != DAY, math.inf)  # no log shows a day full
    row = rows.iloc[int(fill.to_numpy().argmax())]
    who, share, p50_s = (None if row.isna()[name] else row[name] for name in ("caller", "share", "p50_s"))
    return Spending(
        endpoint=f"{endpoint.method} {endpoint.path}",
        window_s=int(row["window_s"]),
        limit=int(row["limit"]),
        observed=bool(row["observed"]),
        peak=int(row["peak"]),
        caller=who,
        share=share,
        p50_s=p50_s,
    )


def limits_of(endpoint: Endpoint, evidence: Evidence) -> tuple[Mapping[int, int], bool]:
    """Window [s] → calls allowed: the server's own word where a probe asked this endpoint."""
    for row in evidence.probe_rows:
        told = parse_limit(row["ratelimit"]) if catalogue().match("GET", row["target"]) is endpoint else None
        if told and told.windows and all(told.windows.values()):
            return told.windows, True
    return endpoint.limits, False
