"""From counts to calls: how those of several counters add up, and how long calls took."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.metrics import counters
from klaviyo_nb.metrics.counters import Kind, Rises, counted, rises, step_s, together
from klaviyo_nb.metrics.layout import Metrics, laid_out, layout
from klaviyo_nb.metrics.names import SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: A series with more calls, when its process is first sampled, may have those of days.
NEW_CALLS = 20
QUANTILES = (0.5, 0.95, 0.99)
_CODE = r"[45][0-9][0-9]"
_LABELS = Kind._fields[:3]


@remembered
def increases(metrics: Metrics) -> pd.DataFrame:
    """All calls, failed ones included, per step, endpoint, method and status.

    Calls come from the requests counter. Where it says only *that* a call failed (status `error`), the
    errors counter says how, and the status is its code; failures it does not account for stay `error`.
    Nothing is scaled: where the errors counter rose further, its counts stand, and `disagreements` tells.
    Counts of the two may be a step apart, so what remains is taken from their running totals. Where the
    requests counter has no status label, or none but success, the failures are those of the errors counter.

    Args:
        metrics: METRICS, by series or as a frame.

    Returns:
        `timestamp` (start of the step), `endpoint`, `method`, `status` (`success`, the code, `unknown` for a
        call without answer, `error` for a failure of which no more is known; missing if nothing tells
        whether the calls failed), `calls` (float64). Empty if the requests counter was not observed: of
        failures alone nobody knows what share they are. `counted(metrics, "errors")` has them.
    """
    return _calls(metrics).frame(_LABELS)


@remembered
def _calls(metrics: Metrics) -> Rises:
    requests, errors = rises(metrics, "requests"), rises(metrics, "errors")
    kinds = [
        kind._replace(status="success" if _succeeded(kind.status) else kind.status) for kind in requests.kinds
    ]
    requests, statuses = replace(requests, kinds=kinds), {kind.status for kind in kinds if kind.status}
    if not len(requests) or not len(errors) or any(re.fullmatch(_CODE, status) for status in statuses):
        return _tidy([requests])
    # Of these the requests counter leaves open how they ended: failed somehow, or no status at all.
    vague = [(kind.status not in (None, "success")) if statuses else True for kind in kinds]
    calls, errors = _common(requests.of(vague), errors, {kind.endpoint for kind in kinds})
    rest = _remaining(calls, errors, "error" if statuses else "success")
    return _tidy([requests.of([not each for each in vague]), errors, rest])


def beforehand(metrics: Metrics) -> pd.DataFrame:
    """What the counters had come to at the first sample: calls since the processes began, as `increases`."""
    found = layout(metrics)
    first = found.times[:1]
    times = np.append(first - (found.step or 10**9), first)
    series = enumerate(zip(found.at, found.values, strict=True))
    held = {number: np.append(0.0, values[:1]) for number, (at, values) in series if at[0] == 0}
    since = laid_out([found.labels[number] for number in held], [times] * len(held), [*held.values()])
    return increases(since).assign(timestamp=pd.Timestamp(first.sum(), tz="UTC"))


def begun_late(metrics: Metrics) -> pd.DataFrame:
    """What the counters of processes had come to that were first sampled later than others, as `increases`.

    Nobody knows since when; where they are more than `NEW_CALLS`, the process is hardly new.
    """
    step, held = step_s(metrics) or 1.0, counters.begun_late(metrics, NEW_CALLS)
    zero = held.assign(timestamp=held["timestamp"] - pd.Timedelta(seconds=step), value=0.0)
    return increases(pd.concat([zero, held], ignore_index=True))


def _succeeded(status: str | None) -> bool:
    return status is not None and re.fullmatch(SUCCEEDED, status) is not None


def _common(calls: Rises, errors: Rises, known: set[str | None]) -> tuple[Rises, Rises]:
    """Both counters with endpoints by which they can be set against each other.

    Errors of an endpoint that the requests counter does not know (an older counter has no such label) belong
    to the failures that no error names: to their endpoint if that is one, else to none.
    """
    named = {kind.endpoint for kind in errors.kinds}
    alone = {kind.endpoint for kind in calls.kinds} - named
    if named <= known or not alone:
        return calls, errors
    pool = alone.pop() if len(alone) == 1 else None
    lone = [kind if kind.endpoint in named else kind._replace(endpoint=pool) for kind in calls.kinds]
    strays = [kind if kind.endpoint in known else kind._replace(endpoint=pool) for kind in errors.kinds]
    return replace(calls, kinds=lone), replace(errors, kinds=strays)


def _remaining(calls: Rises, errors: Rises, status: str) -> Rises:
    """The calls that the errors counter does not account for, with `status`."""
    endpoints = list(dict.fromkeys(kind.endpoint for kind in calls.kinds))
    at, rest = np.flatnonzero(calls.observed() | errors.observed()), []
    for endpoint in endpoints:
        made, failed = (
            each.sums(kind.endpoint == endpoint for kind in each.kinds) for each in (calls, errors)
        )
        ahead = np.maximum(np.cumsum(made - failed)[at], 0.0)
        rest.append(np.diff(np.maximum.accumulate(ahead), prepend=0.0))
    kinds = [Kind(endpoint, status=status) for endpoint in endpoints]
    return Rises(calls.times, kinds, [at] * len(rest), rest)


def _tidy(parts: Sequence[Rises]) -> Rises:
    kinds = ([Kind(kind.endpoint, kind.method, kind.status) for kind in part.kinds] for part in parts)
    return together([replace(part, kinds=own) for part, own in zip(parts, kinds, strict=True)])


def bins(metrics: Metrics, width: str | None = None) -> pd.DataFrame:
    """Calls and failures per bin, as `onset.episodes` and `impact.impact` take them.

    Args:
        metrics: METRICS, by series or as a frame.
        width: Width of a bin as pandas writes it, such as `1min`; None for one bin per step.

    Returns:
        `timestamp` (start of the bin), `calls`, `failed` (float64). Bins that were not observed are absent;
        `calls` is missing where only failures were counted, `failed` where nothing tells of failures.
    """
    steps, step = _calls(metrics), step_s(metrics)
    if len(steps):
        calls, failed = steps.sums(), steps.sums(kind.status != "success" for kind in steps.kinds)
        failed[steps.observed(kind.status is None for kind in steps.kinds)] = np.nan
    else:
        steps = rises(metrics, "errors")
        calls, failed = np.full(len(steps.times), np.nan), steps.sums()
    seen = steps.observed()
    counts = pd.DataFrame({"calls": calls[seen], "failed": failed[seen]})
    times = steps.starts(seen).floor(width or f"{round((step or 1) * 1000)}ms").rename("timestamp")
    return counts.groupby(times).sum(skipna=False).reset_index()


def disagreements(metrics: Metrics) -> tuple[str, ...]:
    """Sentences about endpoints of which the two counters tell different numbers of failures."""
    requests, errors = rises(metrics, "requests"), rises(metrics, "errors")
    failed = requests.of([not _succeeded(kind.status) for kind in requests.kinds])
    if not any(kind.status for kind in requests.kinds) or not len(failed) or not len(errors):
        return ()
    totals = [_per_endpoint(failed), _per_endpoint(errors)]
    found = []
    for endpoint in sorted(totals[0] | totals[1]):
        told, counted = (each.get(endpoint, 0.0) for each in totals)
        if abs(told - counted) > max(5.0, 0.05 * max(told, counted)):
            found.append(
                f"{endpoint}: {told:.0f} failures by the requests counter, {counted:.0f} by the other"
            )
    return tuple(found)


def _per_endpoint(counts: Rises) -> dict[str, float]:
    sums: dict[str, float] = {}
    for kind, calls in zip(counts.kinds, counts.calls, strict=True):
        name = kind.endpoint or "(no endpoint)"
        sums[name] = sums.get(name, 0.0) + float(calls.sum())
    return sums


def latency(metrics: Metrics, width: str | None = None, endpoint: str | None = None) -> pd.DataFrame:
    """Quantiles of call durations over time, from histogram buckets.

    Args:
        metrics: METRICS, by series or as a frame.
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
