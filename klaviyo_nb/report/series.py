"""What charts, tables and texts are made from: counts and quantiles per bin, as frames. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from klaviyo_nb.diagnosis.counted import Tally, tally
from klaviyo_nb.diagnosis.facts import EndpointCount
from klaviyo_nb.diagnosis.thresholds import from_table
from klaviyo_nb.frames import CALLS, plain_rows
from klaviyo_nb.klaviyo.endpoints import MINUTE, SECOND, catalogue, path_of
from klaviyo_nb.klaviyo.ratelimit import parse_limit
from klaviyo_nb.logs.calls import latency
from klaviyo_nb.metrics.rates import increases
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

#: Lengths of bins a person can read [s], and how many of them at most.
BINS_S = (10, 60, 300, 900, 3600, 21_600, 86_400, 604_800)
MOST_BINS = 180
#: Fewer calls in a bin than this have no quantile worth drawing.
FEWEST_FOR_QUANTILE = 5

#: Status class → role of its colour, in the order in which they are stacked.
CLASSES: Mapping[str, str] = {
    "429": "throttled",
    "401/403": "refused",
    "other 4xx": "invalid",
    "5xx": "server",
    "no status": "silent",
    "other failure": "silent",
    "succeeded": "well",
}


def counted(evidence: Evidence) -> Tally | None:
    """The calls that the verdict was decided from; None if neither logs nor metrics tell of any."""
    return tally(evidence, from_table(evidence.context.get("thresholds") or {}))


def bin_s(window: Window) -> int:
    """Length of a chart's bins [s]: the shortest readable one that gives `MOST_BINS` at most."""
    return next((size for size in BINS_S if window.seconds / size <= MOST_BINS), BINS_S[-1])


def starts(window: Window, width_s: int) -> pd.DatetimeIndex:
    """Start of each bin, on round times; the first may begin before the window."""
    first = pd.Timestamp(window.start).floor(f"{width_s}s")
    return pd.date_range(first, pd.Timestamp(window.end), freq=f"{width_s}s", inclusive="left", unit="ns")


def status_classes(frame: pd.DataFrame) -> pd.Series[str]:
    """The status class (see `CLASSES`) of each row of a `Tally.frame`."""
    code = frame["status_code"].fillna(0).astype("int64")
    found = pd.Series("other failure", index=frame.index, dtype="str")
    found[(code >= 400) & (code < 500)] = "other 4xx"
    found[code >= 500] = "5xx"
    found[code.isin((401, 403))] = "401/403"
    found[code == 429] = "429"
    found[code == 0] = "no status"
    found[frame["kind"].isna()] = "succeeded"
    return found


def by_class(counts: Tally, window: Window) -> pd.DataFrame:
    """Calls per bin: index the bins' starts, a column per status class that occurs; zeros for no calls."""
    width = bin_s(window)
    frame = counts.frame
    bins = frame["timestamp"].dt.floor(f"{width}s").rename("timestamp")
    table = frame["calls"].groupby([bins, status_classes(frame).rename("class")]).sum().unstack(fill_value=0)
    table = table.reindex(index=starts(window, width), fill_value=0.0)
    return table[[name for name in CLASSES if name in table]].round().astype("int64")


def by_endpoint(counts: Tally, window: Window) -> pd.DataFrame:
    """Calls per endpoint and bin: `timestamp`, `endpoint`, `calls`, `failed`; no rows without a call."""
    frame = counts.frame
    keyed = pd.DataFrame(
        {
            "timestamp": frame["timestamp"].dt.floor(f"{bin_s(window)}s"),
            "endpoint": frame["endpoint"].fillna("endpoint not told"),
            "calls": frame["calls"],
            "failed": frame["calls"].where(frame["kind"].notna(), 0.0),
        }
    )
    sums = keyed.groupby(["timestamp", "endpoint"]).sum().round().astype("int64")
    return sums.reset_index()


def endpoint_totals(counts: Tally, window: Window) -> list[EndpointCount]:
    """Calls per endpoint in the window, most failures first."""
    sums = by_endpoint(counts, window).groupby("endpoint")[["calls", "failed"]].sum()
    totals = [
        EndpointCount(str(name), int(calls), int(failed))
        for name, calls, failed in sums.reset_index().to_numpy()
    ]
    return sorted(totals, key=lambda each: (-each.failed, -each.calls, each.endpoint))


def quantiles(evidence: Evidence) -> pd.DataFrame:
    """Durations per bin from logs: `timestamp`, `p50_s`, `p95_s`, `p99_s`, `calls`; empty if none is told.

    All calls that tell a duration, failed ones too. A bin with fewer of them than `FEWEST_FOR_QUANTILE` has
    no quantile.
    """
    width = bin_s(evidence.window)
    calls = CALLS.empty() if evidence.calls is None else _within(evidence.calls, evidence.window)
    table = latency(calls, f"{width}s").set_index("timestamp")
    if table.empty:
        return table.reset_index()
    table.loc[table["calls"] < FEWEST_FOR_QUANTILE, ["p50_s", "p95_s", "p99_s"]] = float("nan")
    table = table.reindex(starts(evidence.window, width)).rename_axis("timestamp").reset_index()
    return table.assign(calls=table["calls"].fillna(0).astype("int64"))


def rate_limit_use(evidence: Evidence) -> pd.DataFrame:
    """How much of each endpoint's limits was used, per minute.

    Returns:
        `timestamp` (start of the minute), `endpoint` (method and path), `window_s` (1 or 60), `limit` (calls
        allowed in it), `calls` (most calls in one such window of the minute), `use` (their ratio). Endpoints
        that the catalogue does not know are left out. The window of one second is there for logs only. Calls
        that were throttled are counted as well, so that `use` can be above 1.
    """
    counts = _calls_by_second(evidence)
    counts["minute"] = counts["timestamp"].dt.floor("60s")
    groups = counts.groupby(["minute", "method", "path"], as_index=False)
    sums = groups.agg(total=("calls", "sum"), most=("calls", "max"))
    table = sums.merge(_limits(evidence, sums), on=["method", "path"])
    windows = [("total", "steady", MINUTE)]
    if evidence.calls is not None and not evidence.calls.empty:
        windows.append(("most", "burst", SECOND))
    parts = [_used(table, calls, limit, window_s) for calls, limit, window_s in windows]
    return pd.concat(parts, ignore_index=True).sort_values(
        ["endpoint", "window_s", "timestamp"], ignore_index=True
    )


@dataclass(frozen=True, slots=True)
class Peak:
    """The fullest minute of one endpoint, as in a row of `rate_limit_use`."""

    timestamp: datetime
    endpoint: str
    window_s: int
    limit: int
    calls: int
    use: float


def peaks(use: pd.DataFrame) -> list[Peak]:
    """For each endpoint of `rate_limit_use` its fullest minute, of the tighter limit; fullest first."""
    fullest = use.sort_values(["use", "window_s"], ascending=[False, False], kind="stable")
    return [Peak(**row) for row in plain_rows(fullest.drop_duplicates("endpoint"))]


def _used(table: pd.DataFrame, calls: str, limit: str, window_s: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "timestamp": table["minute"],
            "endpoint": table["endpoint"],
            "window_s": window_s,
            "limit": table[limit],
            "calls": table[calls].round().astype("int64"),
            "use": (table[calls] / table[limit]).round(4),
        }
    )


def _calls_by_second(evidence: Evidence) -> pd.DataFrame:
    """`timestamp`, `method`, `path`, `calls`: per second from logs, else per step from metrics."""
    if evidence.calls is not None and not evidence.calls.empty:
        frame = evidence.calls[["timestamp", "method", "endpoint"]].assign(calls=1.0)
    elif evidence.metrics is not None:
        frame = increases(evidence.metrics)[["timestamp", "method", "endpoint", "calls"]]
    else:
        frame = CALLS.empty()[["timestamp", "method", "endpoint"]].assign(calls=1.0)
    frame = _within(frame, evidence.window).rename(columns={"endpoint": "path"}).dropna(subset="path")
    frame = frame.assign(timestamp=frame["timestamp"].dt.floor("1s"), method=frame["method"].fillna(""))
    return frame.groupby(["timestamp", "method", "path"], as_index=False)[["calls"]].sum()


def _limits(evidence: Evidence, calls: pd.DataFrame) -> pd.DataFrame:
    """`method`, `path`, `endpoint`, `burst`, `steady` of each operation in `calls` whose limits are known.

    What a probe was told by the server wins over the catalogue. A call without a method has the limits of its
    path's operations if they are the same.
    """
    observed = _observed_limits(evidence.probes)
    rows = []
    for method, path in calls[["method", "path"]].drop_duplicates().itertuples(index=False):
        found = [each for each in catalogue().operations(path) if not method or each.method == method]
        told = {
            (limits[SECOND], limits[MINUTE])
            for each in found
            if (limits := each.limits | observed.get((each.method, path), {}))
        }
        if len(told) == 1:
            rows.append((method, path, f"{method} {path}".strip(), *told.pop()))
    return pd.DataFrame(rows, columns=["method", "path", "endpoint", "burst", "steady"])


def _observed_limits(probes: pd.DataFrame) -> dict[tuple[str, str], dict[int, int]]:
    """(method, path) → window [s] → limit, as the server told our probes, which only GET."""
    found = {}
    for target, header in probes[["target", "ratelimit"]].dropna().itertuples(index=False):
        limits = parse_limit(header)
        found["GET", path_of(target).rstrip("/")] = dict(limits.windows) if limits else {}
    return found


def _within(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    return frame[(frame["timestamp"] >= window.start) & (frame["timestamp"] < window.end)]
