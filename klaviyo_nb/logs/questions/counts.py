"""Questions on a CALLS frame: frame in, frame out. No question touches disk, net or clock.

A call failed if `klaviyo.answers.failure` says so of its status, error type and who answered; a call of which
only a duration is known did not fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from klaviyo_nb.errors import UsageError
from klaviyo_nb.frames import as_texts
from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.logs.questions.tallies import numbered

#: What `by` can group by: columns of the frame, and two that are derived.
GROUPS = ("endpoint", "status", "caller", "minute", "host", "worker", "method", "level", "error_code",
          "error_type", "error_pointer", "answered_by", "request_id", "revision", "source",
          "sdk", "profile_domain", "kind")  # fmt: skip
#: The columns that say what became of a call.
ANSWER = ("status_code", "error_type", "answered_by")
_QUANTILES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}


def failure_kinds(calls: pd.DataFrame) -> pd.Series[str]:
    """What each call's failure looks like from outside, on the index of `calls`; missing: it did not fail."""
    return pd.Series(answered(calls, failure), index=calls.index, dtype="str", name="kind")


def answered(calls: pd.DataFrame, what: Callable[[int | None, str | None, str | None], Any]) -> Any:
    """`what` of each call's status, error type and who answered, worked out once for those that agree."""
    told = calls[list(ANSWER)]
    codes, firsts = numbered(told)
    found = [what(*_plain(*row)) for row in told.iloc[firsts].itertuples(index=False)]
    return np.array([*found, None], dtype=object)[:-1][codes]


def _plain(status: float, error_type: Any, answered_by: Any) -> tuple[int | None, str | None, str | None]:
    return (
        None if pd.isna(status) else int(status),
        None if pd.isna(error_type) else error_type,
        None if pd.isna(answered_by) else answered_by,
    )


def by(calls: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Calls and failures per group, most failures first; time groups in their order.

    Args:
        calls: CALLS frame.
        columns: Of `GROUPS`. `status` is the HTTP status, or why no response came; `minute` is its beginning.

    Returns:
        The group's columns (missing: the log does not tell), then `calls`, `failed`, `first`, `last`.

    Raises:
        UsageError: A column is not of `GROUPS`, or none is given.
    """
    unknown = [column for column in columns if column not in GROUPS]
    if unknown or not columns:
        known = ", ".join(GROUPS)
        raise UsageError("--by", f"{', '.join(unknown) or 'nothing'} is not a group", f"use one of: {known}")
    columns = list(dict.fromkeys(columns))
    kinds = failure_kinds(calls)
    frame = pd.DataFrame({column: _group(calls, column, kinds) for column in columns})
    frame["failed"], frame["when"] = kinds.notna(), calls["timestamp"]
    grouped = frame.groupby(columns, dropna=False, sort=False, observed=True)
    told = grouped.agg(
        calls=("failed", "size"), failed=("failed", "sum"), first=("when", "min"), last=("when", "max")
    ).reset_index()
    told = as_texts(told)
    order = [*(["minute"] if "minute" in columns else []), "failed", "calls"]
    told = told.sort_values(order, ascending=[name == "minute" for name in order], kind="stable")
    return told.reset_index(drop=True)


def _group(calls: pd.DataFrame, column: str, kinds: pd.Series[str]) -> Any:
    if column == "minute":
        return calls["timestamp"].dt.floor("min")
    if column == "kind":
        return kinds
    if column == "status":
        known = calls["status_code"].notna() & (calls["status_code"] != 0)
        return (
            calls["status_code"].astype(object).where(known.fillna(False), calls["error_type"].astype(object))
        )
    return calls[column]


def latency(calls: pd.DataFrame, freq: str) -> pd.DataFrame:
    """Quantiles of the durations per bin of time.

    Args:
        calls: CALLS frame.
        freq: Length of a bin, as pandas writes it: `1min`, `15min`.

    Returns:
        `timestamp` (beginning of the bin), `calls` (with a duration), `p50_s`, `p95_s`, `p99_s`; only bins
        with such calls.
    """
    known = calls[calls["duration_s"].notna() & calls["timestamp"].notna()]
    grouped = known.groupby(known["timestamp"].dt.floor(freq))["duration_s"]
    told = pd.DataFrame(
        {"calls": grouped.size()} | {name: grouped.quantile(q) for name, q in _QUANTILES.items()}
    )
    return told.rename_axis("timestamp").reset_index()
