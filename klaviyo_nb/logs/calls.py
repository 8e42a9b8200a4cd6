"""Questions on a CALLS frame. Pure: frame in, frame out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.klaviyo.answers import failure

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: What `by` can group on besides the columns of CALLS.
DERIVED = ("status", "minute")


def failure_kinds(calls: pd.DataFrame) -> pd.Series[str]:
    """What each call's failure looks like: a `klaviyo.answers.Failure`; missing where it did not fail.

    Args:
        calls: CALLS frame.

    Returns:
        str, on the index of `calls`.
    """
    # Few distinct answers, many rows: each combination is judged once.
    keys = calls[["status_code", "error_type", "answered_by"]]
    codes = keys.groupby(list(keys.columns), dropna=False, sort=False).ngroup()
    firsts = keys[~codes.duplicated()].astype(object)
    firsts = firsts.where(firsts.notna(), None)
    numbers = codes[~codes.duplicated()]
    kinds = {
        number: failure(*row) for number, row in zip(numbers, firsts.itertuples(index=False), strict=True)
    }
    return codes.map(kinds).astype("str")


def by(calls: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Calls and failures per group, most failures first.

    Args:
        calls: CALLS frame.
        columns: Columns of CALLS, `status` (the code, or why no response came) or `minute`.

    Returns:
        The group columns, then `calls` and `failed` (int64), `first` and `last` (time of the group's calls).
    """
    frame = pd.DataFrame({column: _column(calls, column) for column in columns})
    frame["failed"] = failure_kinds(calls).notna()
    frame["timestamp"] = calls["timestamp"]
    groups = frame.groupby(list(columns), dropna=False, sort=True)
    counted = groups.agg(
        calls=("failed", "size"),
        failed=("failed", "sum"),
        first=("timestamp", "min"),
        last=("timestamp", "max"),
    )
    counted = counted.reset_index()
    if "minute" in columns:
        return counted
    return counted.sort_values(["failed", "calls"], ascending=False, kind="stable").reset_index(drop=True)


def overview(calls: pd.DataFrame, window: Window, freq: str = "1min") -> pd.DataFrame:
    """Calls per minute by status class over the whole window.

    Returns:
        One row per minute: `timestamp`, then `ok`, and one column per kind of failure met (int64); a minute
        without a call has zeros.
    """
    inside = calls[(calls["timestamp"] >= window.start) & (calls["timestamp"] < window.end)]
    kinds = failure_kinds(inside).fillna("ok")
    minutes = pd.date_range(
        pd.Timestamp(window.start).floor(freq), window.end, freq=freq, inclusive="left", name="timestamp"
    )
    counted = pd.crosstab(inside["timestamp"].dt.floor(freq), kinds).reindex(minutes, fill_value=0)
    if "ok" not in counted:
        counted.insert(0, "ok", 0)
    counted.columns.name = None
    others = sorted(column for column in counted.columns if column != "ok")
    return counted[["ok", *others]].rename_axis("timestamp").reset_index()


def latency(calls: pd.DataFrame, freq: str = "5min") -> pd.DataFrame:
    """Quantiles of durations over time.

    Returns:
        `timestamp`, `p50_s`, `p95_s`, `p99_s` (float64; missing without durations), `calls` (int64).
    """
    timed = calls[calls["timestamp"].notna() & calls["duration_s"].notna()]
    groups = timed.groupby(timed["timestamp"].dt.floor(freq))["duration_s"]
    found = pd.DataFrame({f"p{round(q * 100)}_s": groups.quantile(q) for q in (0.5, 0.95, 0.99)})
    found["calls"] = groups.size()
    return found.rename_axis("timestamp").reset_index()


def _column(calls: pd.DataFrame, name: str) -> Any:
    if name == "minute":
        return calls["timestamp"].dt.floor("1min")
    if name == "status":
        return calls["status_code"].astype("str").where(calls["status_code"].notna(), calls["error_type"])
    return calls[name]
