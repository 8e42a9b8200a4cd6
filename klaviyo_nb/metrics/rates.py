"""From counters to calls: what was counted in each step, how it adds up, and how long calls took.

A counter says only how far it has come, so each step's count is the difference of two samples. It is
attributed to the span that ends at the later one, and stands at that span's start, as calls from logs do.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.metrics.names import SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.integer[Any]]
    Texts = pd.Series[str]

#: Labels that tell one scraped process from another.
TARGET = ("job", "namespace", "instance", "pod")
#: A series with more calls, when its process is first sampled, may have those of days.
NEW_CALLS = 20
QUANTILES = (0.5, 0.95, 0.99)
_CODE = r"[45][0-9][0-9]"
_KEYS = ["timestamp", "endpoint", "method", "status", "error_code", "le"]
_SERIES = ["name", "series"]
_COLUMNS = ["timestamp", "endpoint", "method", "status", "calls"]


def step_s(metrics: pd.DataFrame) -> float | None:
    """Seconds between samples; None if there are fewer than two times."""
    times = np.sort(pd.unique(_nanoseconds(metrics)))
    return float(np.diff(times).min()) / 1e9 if len(times) > 1 else None


@remembered
def counted(metrics: pd.DataFrame, role: str) -> pd.DataFrame:
    """How far the counters of one role rose in each step, added up over processes.

    * A sample below the one before means that the process began anew: it counts from 0.
    * A series that appears during the window counts from 0 if its process was sampled earlier (client
      libraries create a counter at its first use). Otherwise its first sample is only what the next is
      counted from, since it may hold the calls of days.
    * Where samples are missing the rise over the hole stands in the last step before the next sample.

    Args:
        metrics: METRICS frame.
        role: A counter's.

    Returns:
        `timestamp` (start of the step), `endpoint`, `method`, `status`, `error_code`, `le`, `calls`; a row
        for each series and step in which it was sampled, also where `calls` is 0.
    """
    frame = metrics[((metrics["role"] == role) & metrics["value"].notna()).to_numpy()]
    step = step_s(metrics)
    if step is None or frame.empty:
        frame = metrics.head(0)
        return pd.DataFrame({key: _plain(frame[key]) for key in _KEYS} | {"calls": frame["value"]})
    starts = _stretches(frame)
    firsts = frame.iloc[starts]
    number = firsts.groupby(_SERIES, sort=False, dropna=False).ngroup().to_numpy()
    series = np.repeat(number, np.diff(starts, append=len(frame)))
    at, times = pd.factorize(_nanoseconds(frame), sort=True)
    order = np.argsort(series * len(times) + at, kind="stable")
    series, at, value = series[order], at[order], frame["value"].to_numpy()[order]
    begins = np.flatnonzero(np.diff(series, prepend=-1))
    firsts = frame.iloc[order[begins]]
    before = np.append(np.nan, value[:-1])
    before[begins] = np.where(_appeared(firsts, metrics), 0.0, np.nan)
    rise = np.where(value < before, value, value - before)
    begun = pd.DatetimeIndex(times, tz="UTC") - pd.Timedelta(seconds=step)
    return _added(rise, begun, at, firsts, series)


def _added(
    calls: Floats, times: pd.DatetimeIndex, at: Numbers, labels: pd.DataFrame, series: Numbers
) -> pd.DataFrame:
    """Sums per time and labels of calls, each with the number of its time and of its series."""
    kind = labels.groupby(_KEYS[1:], dropna=False).ngroup().to_numpy()
    many = kind.max() + 1
    sums = pd.Series(calls).groupby(at * many + kind[series]).sum(min_count=1).dropna()
    moments, kinds = np.divmod(sums.index.to_numpy(), many)
    told = labels.iloc[np.unique(kind, return_index=True)[1]]
    found = {key: _plain(told[key]).array.take(kinds) for key in _KEYS[1:]}
    return pd.DataFrame({"timestamp": times.take(moments)} | found | {"calls": sums.to_numpy()})


def _stretches(metrics: pd.DataFrame) -> Numbers:
    """Where another series begins than that of the row before."""
    codes = [pd.Categorical(metrics[name]).codes for name in _SERIES]
    return np.flatnonzero(np.any([np.diff(each, prepend=-2) != 0 for each in codes], axis=0))


def _nanoseconds(metrics: pd.DataFrame) -> NDArray[np.int64]:
    return metrics["timestamp"].to_numpy(dtype="datetime64[ns]").view(np.int64)


def _plain(column: Any) -> Any:
    """Texts as texts: what follows replaces some of them."""
    return column.astype("str") if column.dtype == "category" else column


def _summed(counts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return counts.groupby(keys, dropna=False)["calls"].sum().reset_index()


def _appeared(firsts: pd.DataFrame, metrics: pd.DataFrame) -> NDArray[np.bool_]:
    """Was the process of these series, given by their first numbers, sampled before they appeared?"""
    starts = _stretches(metrics)
    parts = metrics.iloc[starts].assign(timestamp=np.minimum.reduceat(_nanoseconds(metrics), starts))
    parts = parts[parts["role"] != "alerts"]  # those the server makes itself
    seen = parts.groupby(_SERIES, sort=False, dropna=False)["timestamp"].min().reset_index()
    targets = seen["series"].astype("str").map(_target)
    seen["appeared"] = seen["timestamp"] > seen["timestamp"].groupby(targets).transform("min")
    return firsts[_SERIES].merge(seen, how="left")["appeared"].to_numpy(dtype=bool)


def _target(series: str) -> tuple[str | None, ...]:
    labels = json.loads(series)
    return tuple(labels.get(label) for label in TARGET)


@remembered
def increases(metrics: pd.DataFrame) -> pd.DataFrame:
    """All calls, failed ones included, per step, endpoint, method and status.

    Calls come from the requests counter. Where it says only *that* a call failed (status `error`), the
    errors counter says how, and the status is its code; failures it does not account for stay `error`.
    Nothing is scaled: where the errors counter rose further, its counts stand, and `disagreements` tells.
    Counts of the two may be a step apart, so what remains is taken from their running totals. Where the
    requests counter has no status label, or none but success, the failures are those of the errors counter.

    Args:
        metrics: METRICS frame.

    Returns:
        `timestamp` (start of the step), `endpoint`, `method`, `status` (`success`, the code, `unknown` for a
        call without answer, `error` for a failure of which no more is known; missing if nothing tells
        whether the calls failed), `calls` (float64). Empty if the requests counter was not observed: of
        failures alone nobody knows what share they are. `counted(metrics, "errors")` has them.
    """
    requests, errors = counted(metrics, "requests"), counted(metrics, "errors")
    succeeded = requests["status"].str.fullmatch(SUCCEEDED).fillna(False)
    requests = requests.assign(status=requests["status"].mask(succeeded, "success"))
    vague = _vague(requests["status"])
    if requests.empty or errors.empty or requests["status"].str.fullmatch(_CODE).any():
        return _tidy([requests])
    calls, known = requests[vague], requests["endpoint"].unique()
    pair = _common(calls["endpoint"], errors["endpoint"], known)
    calls, errors = calls.assign(endpoint=pair[0]), errors.assign(endpoint=pair[1])
    rest = _remaining(calls, errors, "error" if requests["status"].notna().any() else "success")
    return _tidy([requests[~vague], errors, rest])


def beforehand(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the counters had come to at the first sample: calls since the processes began, as `increases`."""
    step, first = step_s(metrics) or 1.0, metrics["timestamp"].min()
    held = metrics[metrics["timestamp"] == first]
    zero = held.assign(timestamp=first - pd.Timedelta(seconds=step), value=0.0)
    return increases(pd.concat([zero, held], ignore_index=True)).assign(timestamp=first)


def begun_late(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the counters of processes had come to that were first sampled later than others, as `increases`.

    Nobody knows since when; where they are more than `NEW_CALLS`, the process is hardly new.
    """
    step, firsts = step_s(metrics) or 1.0, metrics.iloc[_stretches(metrics)]
    firsts = firsts[firsts["role"].isin(["requests", "errors"])]
    late = (firsts["timestamp"] > firsts["timestamp"].min()) & (firsts["value"] <= NEW_CALLS)
    held = firsts[late.to_numpy() & ~_appeared(firsts, metrics)]
    zero = held.assign(timestamp=held["timestamp"] - pd.Timedelta(seconds=step), value=0.0)
    return increases(pd.concat([zero, held], ignore_index=True))


def _vague(status: pd.Series[str]) -> pd.Series[bool]:
    """Calls of which the requests counter leaves open how they ended: failed somehow, or no status at all."""
    failed = status.notna() & (status != "success")
    return failed if status.notna().any() else status.isna()


def _common(calls: Texts, errors: Texts, known: Any) -> tuple[Texts, Texts]:
    """Endpoints by which both counters can be set against each other.

    Errors of an endpoint that the requests counter does not know (an older counter has no such label) belong
    to the failures that no error names: to their endpoint if that is one, else to none.
    """
    strays, alone = ~errors.isin(known), ~calls.isin(errors.unique())
    if not (strays.any() and alone.any()):
        return calls, errors
    candidates = calls[alone].unique()
    pool = candidates[0] if len(candidates) == 1 else None
    return calls.mask(alone, pool), errors.mask(strays, pool)


def _remaining(calls: pd.DataFrame, errors: pd.DataFrame, status: str) -> pd.DataFrame:
    """The calls that the errors counter does not account for, with `status`."""
    if calls.empty:
        return calls
    called, erred = _running(calls), _running(errors)
    ahead = called.index.union(erred.index)
    called = called.reindex(ahead).ffill().fillna(0.0)
    erred = erred.reindex(index=ahead, columns=called.columns).ffill().fillna(0.0)
    total = (called - erred).clip(lower=0.0).cummax()
    frame = total.diff().fillna(total).melt(ignore_index=False, value_name="calls").reset_index()
    return frame.assign(endpoint=frame["endpoint"].replace("", None), method=None, status=status)


def _running(counts: pd.DataFrame) -> pd.DataFrame:
    """Running totals, a row per step and a column per endpoint."""
    endpoint = counts["endpoint"].fillna("")
    return counts.groupby(["timestamp", endpoint])["calls"].sum().unstack(fill_value=0).cumsum()


def _tidy(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(
        [part[_COLUMNS] for part in parts if len(part)] or [parts[0][_COLUMNS]], ignore_index=True
    )
    return _summed(frame, _COLUMNS[:-1])


def bins(metrics: pd.DataFrame, width: str | None = None) -> pd.DataFrame:
    """Calls and failures per bin, as `onset.episodes` and `impact.impact` take them.

    Args:
        metrics: METRICS frame.
        width: Width of a bin as pandas writes it, such as `1min`; None for one bin per step.

    Returns:
        `timestamp` (start of the bin), `calls`, `failed` (float64). Bins that were not observed are absent;
        `calls` is missing where only failures were counted, `failed` where nothing tells of failures.
    """
    steps, step = increases(metrics), step_s(metrics)
    if steps.empty:
        steps = counted(metrics, "errors")
        counts = pd.DataFrame({"calls": np.nan, "failed": steps["calls"]})
    else:
        failed = steps["calls"].where(steps["status"] != "success", 0.0)
        counts = pd.DataFrame({"calls": steps["calls"], "failed": failed.where(steps["status"].notna())})
    times = steps["timestamp"].dt.floor(width or f"{round((step or 1) * 1000)}ms")
    return counts.groupby(times).sum(skipna=False).reset_index()


def disagreements(metrics: pd.DataFrame) -> tuple[str, ...]:
    """Sentences about endpoints of which the two counters tell different numbers of failures."""
    requests, errors = counted(metrics, "requests"), counted(metrics, "errors")
    if requests.empty or errors.empty or not requests["status"].notna().any():
        return ()
    failed = requests[~requests["status"].str.fullmatch(SUCCEEDED).fillna(False)]
    if failed.empty:
        return ()
    totals = pd.DataFrame({"requests": _per_endpoint(failed), "errors": _per_endpoint(errors)}).fillna(0.0)
    apart = (totals["requests"] - totals["errors"]).abs() > np.maximum(5.0, 0.05 * totals.max(axis=1))
    return tuple(
        f"{endpoint}: {row.requests:.0f} failures by the requests counter, {row.errors:.0f} by the other"
        for endpoint, row in totals[apart].iterrows()
    )


def _per_endpoint(counts: pd.DataFrame) -> pd.Series[float]:
    return counts.groupby(counts["endpoint"].fillna("(no endpoint)"))["calls"].sum()


def latency(metrics: pd.DataFrame, width: str | None = None, endpoint: str | None = None) -> pd.DataFrame:
    """Quantiles of call durations over time, from histogram buckets.

    Args:
        metrics: METRICS frame.
        width: As in `bins`.
        endpoint: Path template, or None for all calls together.

    Returns:
        `timestamp` (start of the bin), `calls`, `p50_s`, `p95_s`, `p99_s`; missing where no call was timed.
    """
    steps, step = counted(metrics, "duration_bucket"), step_s(metrics)
    steps = steps[steps["le"].notna() & ((steps["endpoint"] == endpoint) | (endpoint is None))]
    times = steps["timestamp"].dt.floor(width or f"{round((step or 1) * 1000)}ms")
    table = steps.assign(timestamp=times).pivot_table(
        index="timestamp", columns="le", values="calls", aggfunc="sum"
    )
    bounds, counts = table.columns.to_numpy(dtype=float), table.to_numpy(dtype=float)
    usable = len(bounds) > 1 and math.isinf(bounds[-1])
    rows: dict[str, Any] = {"timestamp": table.index, "calls": counts[:, -1] if usable else np.nan}
    for q in QUANTILES:
        found = [_quantile(bounds, row, q) if usable else None for row in counts]
        rows[f"p{q * 100:.0f}_s"] = pd.Series(found, dtype="float64").to_numpy()
    return pd.DataFrame(rows)


def histogram_quantile(buckets: pd.DataFrame, q: float) -> float | None:
    """Estimate a quantile of durations from histogram buckets, as PromQL's function of that name does.

    Within the bucket that holds it the quantile is interpolated linearly, the lowest bucket beginning at 0.
    In the bucket without an upper bound nothing is known but where it begins, so that is the answer.

    Args:
        buckets: One row per bucket, ascending: `le` float64 [s] upper bound, the last one inf; `count`
            float64 [calls] cumulative.
        q: Quantile, 0..1.

    Returns:
        Seconds, or None if no call was observed.

    Raises:
        ValueError: `q` is outside 0..1, or there are not two buckets or more, ascending to inf.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile

    >>> buckets = pd.DataFrame({"le": [0.1, 0.5, np.inf], "count": [50.0, 90.0, 100.0]})
    >>> histogram_quantile(buckets, 0.25)
    0.05
    """
    bounds = buckets["le"].to_numpy(dtype=float)
    if not 0 <= q <= 1:
        raise ValueError(f"quantile {q} is outside 0..1")
    if len(bounds) < 2 or not math.isinf(bounds[-1]) or not (np.diff(bounds) > 0).all():
        raise ValueError("needs two buckets or more, ascending to inf")
    return _quantile(bounds, buckets["count"].to_numpy(dtype=float), q)


def _quantile(bounds: Floats, counts: Floats, q: float) -> float | None:
    counts = np.maximum.accumulate(np.nan_to_num(counts))  # buckets are not read at the same instant
    if counts[-1] <= 0:
        return None
    rank = q * counts[-1]
    at = int(np.searchsorted(counts, rank))
    if at == len(bounds) - 1:
        return float(bounds[-2])
    if at == 0 and bounds[0] <= 0:
        return float(bounds[0])
    low, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    inside = counts[at] - below
    return float(low + (bounds[at] - low) * ((rank - below) / inside if inside else 1.0))
