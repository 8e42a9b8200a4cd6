"""What charts, tables and texts are made from: counts and quantiles per bin, as frames. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.diagnosis.counted import Tally, tally
from klaviyo_nb.diagnosis.facts import EndpointCount
from klaviyo_nb.diagnosis.thresholds import from_table
from klaviyo_nb.frames import CALLS
from klaviyo_nb.klaviyo.endpoints import MINUTE, SECOND, catalogue
from klaviyo_nb.logs.questions.counts import latency
from klaviyo_nb.metrics import rates
from klaviyo_nb.response.spending import limits_of
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


def bin_s(window: Window, most: int = MOST_BINS) -> int:
    """Length of a chart's bins [s]: the shortest readable one that gives `most` of them at most."""
    return next((size for size in BINS_S if window.seconds / size <= most), BINS_S[-1])


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


def failures(table: pd.DataFrame) -> pd.Series[int]:
    """Failing calls in each bin of `by_class`."""
    return table.drop(columns="succeeded", errors="ignore").sum(axis=1)


@dataclass(frozen=True, slots=True)
class Worst:
    """The bin with most failures: its start, its calls, and how many of them failed."""

    at: datetime
    failed: int
    calls: int


def worst(table: pd.DataFrame) -> Worst | None:
    """The worst bin of `by_class`; None if no call failed."""
    failed = failures(table)
    at = int(failed.to_numpy().argmax())
    if not failed.iloc[at]:
        return None
    return Worst(table.index[at].to_pydatetime(), int(failed.iloc[at]), int(table.iloc[at].sum()))


def by_endpoint(counts: Tally, window: Window, width_s: int | None = None) -> pd.DataFrame:
    """Calls per endpoint and bin: `timestamp`, `endpoint`, `calls`, `failed`; no rows without a call."""
    frame = counts.frame
    keyed = pd.DataFrame(
        {
            "timestamp": frame["timestamp"].dt.floor(f"{width_s or bin_s(window)}s"),
            "endpoint": frame["endpoint"].astype("str").fillna("endpoint not told"),
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
    """Durations per bin: `timestamp`, `p50_s`, `p95_s`, `p99_s`, `calls`; empty if none is told.

    From logs, else from the histogram of the metrics: all calls that tell a duration, failed ones too. A bin
    with fewer of them than `FEWEST_FOR_QUANTILE` has no quantile.
    """
    width = bin_s(evidence.window)
    calls = CALLS.empty() if evidence.calls is None else _within(evidence.calls, evidence.window)
    table = latency(calls, f"{width}s")
    if table.empty and evidence.metrics is not None:
        table = rates.latency(evidence.metrics, f"{width}s")
    if table.empty:
        return table
    table = table.set_index("timestamp")
    table.loc[table["calls"] < FEWEST_FOR_QUANTILE, ["p50_s", "p95_s", "p99_s"]] = float("nan")
    table = table.reindex(starts(evidence.window, width)).rename_axis("timestamp").reset_index()
    return table.assign(calls=table["calls"].fillna(0).round().astype("int64"))


def rate_limit_use(evidence: Evidence, begins: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """How much of each endpoint's limits was used, per minute.

    Args:
        evidence: Whose calls are counted.
        begins: As `views.minutes_begin`; of others, minutes are counted from the start of the window.

    Returns:
        `timestamp` (start of the minute), `endpoint` (method and path), `window_s` (1 or 60), `limit` (calls
        allowed in it), `calls` (most calls in one such window of the minute), `use` (their ratio). Endpoints
        that the catalogue does not know are left out. The window of one second is there for logs only. Calls
        that were throttled are counted as well, so that `use` can be above 1.
    """
    from_logs = evidence.calls is not None and not evidence.calls.empty
    fullest = {MINUTE: "sum"} | ({SECOND: "max"} if from_logs else {})
    parts = []
    for (method, path), rows in _calls_by_second(evidence).groupby(["method", "path"]):
        begin = evidence.window.start + timedelta(seconds=begins.get((str(method), str(path)), 0))
        minutes = rows.groupby(begin + (rows["timestamp"] - begin).dt.floor("60s"))["calls"]
        for window_s, limit in _limits(str(method), str(path), evidence).items():
            if window_s in fullest:
                calls = minutes.agg(fullest[window_s])
                part = {"endpoint": f"{method} {path}".strip(), "window_s": window_s, "limit": limit}
                used = {"calls": calls.round().astype("int64"), "use": (calls / limit).round(4)}
                parts.append(pd.DataFrame(part | used).reset_index())
    if not parts:
        return pd.DataFrame(columns=["timestamp", "endpoint", "window_s", "limit", "calls", "use"])
    return pd.concat(parts).sort_values(["endpoint", "window_s", "timestamp"], ignore_index=True)


def peaks(use: pd.DataFrame) -> list[Any]:
    """The row of each endpoint's fullest minute in `rate_limit_use`, of the tighter limit; fullest first."""
    fullest = use.sort_values(["use", "window_s"], ascending=[False, False], kind="stable")
    return list(fullest.drop_duplicates("endpoint").itertuples(index=False))


def _calls_by_second(evidence: Evidence) -> pd.DataFrame:
    """`timestamp`, `method`, `path`, `calls`: per second from logs, else per step from metrics."""
    if evidence.calls is not None and not evidence.calls.empty:
        frame = evidence.calls[["timestamp", "method", "endpoint"]].assign(calls=1.0)
    elif evidence.metrics is not None:
        frame = rates.increases(evidence.metrics)[["timestamp", "method", "endpoint", "calls"]]
    else:
        frame = CALLS.empty()[["timestamp", "method", "endpoint"]].assign(calls=1.0)
    frame = _within(frame, evidence.window).rename(columns={"endpoint": "path"}).dropna(subset="path")
    methods = frame["method"].astype("str").fillna("")
    start = evidence.window.start
    frame = frame.assign(timestamp=start + (frame["timestamp"] - start).dt.floor("1s"), method=methods)
    return frame.groupby(["timestamp", "method", "path"], as_index=False)[["calls"]].sum()


def _limits(method: str, path: str, evidence: Evidence) -> Mapping[int, int]:
    """Window [s] → calls allowed in it, where that is known.

    A call without a method has the limits of its path's operations if they are the same.
    """
    operations = [each for each in catalogue().operations(path) if not method or each.method == method]
    known = [each.limits | dict(limits_of(each, evidence)[0]) for each in operations]
    return known[0] if known and all(each == known[0] for each in known) else {}


def _within(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    return frame[(frame["timestamp"] >= window.start) & (frame["timestamp"] < window.end)]
