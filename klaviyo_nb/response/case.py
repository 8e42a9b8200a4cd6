"""What the actions and messages of one verdict need to know of it, read once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.logs.calls import failure_kinds

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence

#: Length of the windows in which Klaviyo counts calls [s], and what people call them.
WINDOWS = {1: "second", 60: "minute", 86400: "day"}


@dataclass(frozen=True, slots=True)
class Spending:
    """How one endpoint's rate limit was used.

    Attributes:
        endpoint: Method and path.
        window_s: The tightest window: the one filled most.
        limit: Calls it allows.
        peak: Most calls counted in one such window.
        caller: Who made most of them, if the logs tell.
        share: That caller's share of the calls.
        p50_s: Median duration of a call [s], if the logs tell.
    """

    endpoint: str
    window_s: int
    limit: int
    peak: int
    caller: str | None
    share: float | None
    p50_s: float | None

    @property
    def concurrency(self) -> int | None:
        """Calls at once that stay below 80 % of the limit: rate times duration, by Little's law."""
        if not self.p50_s:
            return None
        return max(1, int(0.8 * self.limit / self.window_s * self.p50_s))

    @property
    def pause_s(self) -> float:
        """Seconds between calls of one worker that stay below 80 % of the limit."""
        return round(self.window_s / (0.8 * self.limit), 3)


@dataclass(frozen=True, slots=True)
class Case:
    """One verdict with the values that its actions are filled with."""

    verdict: Verdict
    evidence: Evidence

    def context(self, name: str, default: str) -> str:
        """A setting the evidence was collected with, safe to paste into a shell."""
        return shlex.quote(str(self.evidence.context.get(name) or default))

    @property
    def api_url(self) -> str:
        """Root of the API."""
        return self.context("api_url", "https://a.klaviyo.com")

    @property
    def api_host(self) -> str:
        """Host of the API."""
        return shlex.quote(
            str(self.evidence.context.get("api_url") or "https://a.klaviyo.com").split("//")[-1].split("/")[0]
        )

    @property
    def revision(self) -> str:
        """Revision that was pinned."""
        return str(self.evidence.context.get("revision") or catalogue().revision)

    def curl(self, path: str, more: str = "") -> str:
        """A call with the key from the environment that prints the status and the headers that matter."""
        url = f"{self.api_url}{path}"
        return (
            'curl -sS -g -o /dev/null -D - -H "Authorization: Klaviyo-API-Key $KLAVIYO_PRIVATE_KEY"'
            f' -H "revision: {self.revision}"{more} "{url}"'
        )

    @property
    def failing_endpoints(self) -> list[str]:
        """Path templates on which calls failed, most failures first."""
        return [str(each["endpoint"]) for each in self.verdict.facts.get("endpoints") or [] if each["failed"]]

    def failing_calls(self) -> pd.DataFrame | None:
        """The failing calls of the kind the verdict names, from the logs; None without logs."""
        calls, kind = self.evidence.calls, self.verdict.facts.get("failure")
        if calls is None:
            return None
        return calls[failure_kinds(calls) == kind] if kind else calls[failure_kinds(calls).notna()]

    def most_common(self, column: str) -> tuple[str, int] | None:
        """The value that most failing calls carry in `column`, with its count."""
        calls = self.failing_calls()
        counts = calls[column].value_counts() if calls is not None else None
        return None if counts is None or counts.empty else (str(counts.index[0]), int(counts.iloc[0]))

    def operations(self) -> list[Endpoint]:
        """The catalogue's operations behind the failing calls."""
        calls = self.failing_calls()
        if calls is None or calls.empty:
            return [each for path in self.failing_endpoints for each in catalogue().operations(path)]
        pairs = calls[["method", "endpoint"]].dropna(subset=["endpoint"]).drop_duplicates()
        found = (catalogue().match(_text(method), path) for method, path in pairs.itertuples(index=False))
        return [each for each in found if each]

    def spending(self) -> Spending | None:
        """The throttled endpoint whose limit was filled most, from the logs."""
        calls, throttled = self.evidence.calls, self.failing_calls()
        if calls is None or throttled is None or throttled.empty:
            return None
        groups: Any = throttled.groupby(["method", "endpoint"]).size()
        if groups.empty:
            return None
        method, path = groups.idxmax()
        endpoint = catalogue().match(method, path)
        if endpoint is None:
            return None
        mine = calls[(calls["method"] == method) & (calls["endpoint"] == path) & calls["timestamp"].notna()]
        used = {
            window_s: int(mine.groupby(mine["timestamp"].dt.floor(f"{window_s}s")).size().max())
            for window_s in endpoint.limits
            if window_s <= max(60.0, self.evidence.window.seconds)
        }
        window_s = max(used, key=lambda each: used[each] / endpoint.limits[each])
        callers = mine["caller"].value_counts(normalize=True)
        durations = mine["duration_s"].dropna()
        return Spending(
            endpoint=f"{method} {path}",
            window_s=window_s,
            limit=endpoint.limits[window_s],
            peak=used[window_s],
            caller=str(callers.index[0]) if len(callers) else None,
            share=float(callers.iloc[0]) if len(callers) else None,
            p50_s=float(durations.median()) if len(durations) else None,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
