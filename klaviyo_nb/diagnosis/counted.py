"""Facts that come from counting calls: the application's own experience, from its logs or its metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from klaviyo_nb.diagnosis.facts import EndpointCount
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.logs.calls import failure_kinds
from klaviyo_nb.metrics.onset import episodes
from klaviyo_nb.metrics.rates import increases, step_s
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

#: Bins of the onset search: at least this long [s], and at most this many.
BIN_S, MAX_BINS = 60, 1440


@dataclass(frozen=True, slots=True)
class Tally:
    """Counted calls.

    Attributes:
        source: Where they were counted.
        frame: `timestamp`, `endpoint`, `status_code` (Int64; 0 where no response came), `kind` (a `Failure`;
            `unknown` for a failure without a code; missing for a success), `calls` (float64), `duration_s`,
            `retry_after_s`, `host`, `worker`.
        last: The rows of the window's last part.
        part: The window's last part.
    """

    source: Literal["logs", "metrics"]
    frame: pd.DataFrame
    last: pd.DataFrame
    part: Window

    @property
    def last_calls(self) -> int:
        """Calls in the last part."""
        return round(self.last["calls"].sum())


def tally(evidence: Evidence, limits: Thresholds) -> Tally | None:
    """Count calls in logs, else in metrics: the first with enough in the last part, else the first with any.

    Returns:
        None if neither tells of a call in the window.
    """
    window = evidence.window
    start = max(window.start, window.end - timedelta(seconds=limits.last_part_s))
    part = Window(start, window.end)
    found = []
    if evidence.calls is not None:
        found.append(_tally("logs", _from_logs(evidence.calls), window, part))
        if found[0].last_calls >= limits.last_part_calls:
            return found[0]  # metrics need not be counted
    if evidence.metrics is not None:
        found.append(_tally("metrics", _from_metrics(evidence.metrics), window, part))
    found = [each for each in found if len(each.frame)]
    enough = [each for each in found if each.last_calls >= limits.last_part_calls]
    return next(iter(enough or found), None)


def counted_facts(counted: Tally, evidence: Evidence, limits: Thresholds) -> dict[str, Any]:
    """The fields of `Facts` that counting can fill; `evidence` and `because` for what the tree asks about."""
    slices = _slices(counted, evidence.window)
    quiet = _quiet_share(slices, limits)
    calls, failed = _sums(counted.last)
    enough = calls >= limits.last_part_calls
    failing = is_failing(failed, calls, quiet, limits) if enough else None
    fields: dict[str, Any] = {
        "counted_from": counted.source,
        "calls": _sums(counted.frame)[0],
        "failed_calls": _sums(counted.frame)[1],
        "last_part": counted.part,
        "last_calls": calls,
        "last_failed": failed,
        "failing": failing,
        "failed_earlier": _failed_earlier(slices, quiet, limits) if failing is not True else None,
        "slow": None,
        **_when(counted, evidence.window, evidence.metrics),
        **_durations(counted, limits),
        "evidence": {},
        "because": {},
    }
    minutes = round(counted.part.seconds / 60)
    fields["because"]["failing"] = (
        f"{failed} of {calls} calls failed in the last {minutes} minutes ({counted.source})"
    )
    fields["evidence"]["failing"] = (f"{counted.source}:last_part",)
    if fields["failed_earlier"] is not None:
        fields["evidence"]["failed_earlier"] = (f"{counted.source}:window",)
        fields["because"]["failed_earlier"] = (
            f"{fields['failed_calls']} of {fields['calls']} calls failed in the window"
        )
    if failing:
        _describe(fields, counted, limits)
    return fields


def is_failing(failed: int, calls: int, quiet_share: float, limits: Thresholds) -> bool:
    """Is this more than background noise?

    At least `noise_failures` and `noise_share`, and surely more than the quiet part of the window: the lower
    end of the 95 % Wilson interval lies above its share.
    """
    if failed < limits.noise_failures or failed < limits.noise_share * calls:
        return False
    return wilson(failed, calls)[0] > quiet_share


def wilson(hits: int, tries: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share.

    Source:
        https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval

    >>> low, high = wilson(6, 100)
    >>> round(low, 3), round(high, 3)
    (0.028, 0.125)
    """
    if tries == 0:
        return 0.0, 1.0
    share, weight = hits / tries, z * z / tries
    middle = share + weight / 2
    spread = z * math.sqrt(share * (1 - share) / tries + weight / (4 * tries))
    return (middle - spread) / (1 + weight), (middle + spread) / (1 + weight)


def bins(counted: Tally, window: Window) -> pd.DataFrame:
    """Counts per bin over the window: `timestamp`, `calls`, `failed`; a bin without calls has zeros."""
    width = max(BIN_S, math.ceil(window.seconds / MAX_BINS / 60) * 60)
    start = pd.Timestamp(window.start)
    number = (counted.frame["timestamp"] - start).dt.total_seconds() // width
    weights = counted.frame["calls"]
    sums = (
        pd.DataFrame({"calls": weights, "failed": weights.where(counted.frame["kind"].notna(), 0.0)})
        .groupby(number)
        .sum()
    )
    sums = sums.reindex(range(math.ceil(window.seconds / width)), fill_value=0.0).round().astype("int64")
    sums.insert(0, "timestamp", start + pd.to_timedelta(sums.index * width, unit="s"))
    return sums.reset_index(drop=True)


def _tally(source: Literal["logs", "metrics"], frame: pd.DataFrame, window: Window, part: Window) -> Tally:
    frame = frame[(frame["timestamp"] >= window.start) & (frame["timestamp"] < window.end)]
    return Tally(source, frame, frame[frame["timestamp"] >= part.start], part)


def _from_logs(calls: pd.DataFrame) -> pd.DataFrame:
    frame = calls[["timestamp", "endpoint", "duration_s", "host", "worker", "retry_after_s"]].copy()
    frame["status_code"] = calls["status_code"].fillna(0)
    frame["kind"] = failure_kinds(calls)
    frame["calls"] = 1.0
    return frame


def _from_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    steps = increases(metrics)
    steps = steps[steps["status"].notna()]  # calls of which nothing tells whether they failed
    frame = steps[["timestamp", "endpoint", "calls"]].copy()
    codes = pd.to_numeric(steps["status"], errors="coerce")
    frame["status_code"] = codes.fillna(0).astype("Int64")
    kinds = {status: _kind_of(status) for status in steps["status"].dropna().unique()}
    frame["kind"] = steps["status"].map(kinds)
    for absent in ("duration_s", "retry_after_s"):
        frame[absent] = float("nan")
    for absent in ("host", "worker"):
        frame[absent] = pd.Series(None, index=frame.index, dtype="str")
    return frame[frame["calls"] > 0]


def _kind_of(status: str) -> str | None:
    if status == "success":
        return None
    if status.isdigit():
        return failure(int(status), None, None)
    return (
        "server" if status == "unknown" else "unknown"
    )  # "unknown" is the published label for "no response"


def _sums(frame: pd.DataFrame) -> tuple[int, int]:
    return round(frame["calls"].sum()), round(frame.loc[frame["kind"].notna(), "calls"].sum())


def _slices(counted: Tally, window: Window) -> list[tuple[int, int]]:
    """Calls and failures per slice as long as the last part, latest first, without the last part itself."""
    earlier = counted.frame[counted.frame["timestamp"] < counted.part.start]
    age = (pd.Timestamp(counted.part.start) - earlier["timestamp"]).dt.total_seconds()
    return [_sums(rows) for _, rows in earlier.groupby(age // counted.part.seconds)]


def _quiet_share(slices: list[tuple[int, int]], limits: Thresholds) -> float:
    """The share failing when all is well: the median over earlier slices, or 0 if most of them fail too."""
    shares = sorted(failed / calls for calls, failed in slices if calls >= limits.last_part_calls)
    median = shares[len(shares) // 2] if shares else 0.0
    return median if median < limits.noise_share else 0.0


def _failed_earlier(slices: list[tuple[int, int]], quiet: float, limits: Thresholds) -> bool | None:
    if not slices:
        return None
    return any(is_failing(failed, calls, quiet, limits) for calls, failed in slices)


def _when(counted: Tally, window: Window, metrics: pd.DataFrame | None) -> dict[str, Interval | None]:
    lag_s = (step_s(metrics) or 0.0) if counted.source == "metrics" and metrics is not None else 0.0
    found = episodes(bins(counted, window), lag_s=lag_s)
    if not found:
        return {"onset": None, "recovered": None}
    last = found[-1]
    return {
        "onset": _interval(last.onset),
        "recovered": _interval(last.recovered),
    }


def _interval(pair: tuple[datetime, datetime] | None) -> Interval | None:
    return None if pair is None else Interval(*pair)


def _durations(counted: Tally, limits: Thresholds) -> dict[str, Any]:
    """p95 of the last part and the quiet part, and whether calls are slow; from calls that did not fail."""
    good = counted.frame[counted.frame["kind"].isna() & counted.frame["duration_s"].notna()]
    last = good.loc[good["timestamp"] >= counted.part.start, "duration_s"]
    if len(last) < limits.last_part_calls:
        return {}
    p95 = float(last.quantile(0.95))
    earlier = good[good["timestamp"] < counted.part.start]
    age = (pd.Timestamp(counted.part.start) - earlier["timestamp"]).dt.total_seconds() // counted.part.seconds
    groups = earlier.groupby(age)["duration_s"]
    usual = groups.quantile(0.95)[groups.size() >= limits.last_part_calls]
    if usual.empty:
        return {"p95_s": p95} | ({"slow": False} if p95 <= limits.slow_p95_s else {})
    quiet = float(usual.median())
    slow = p95 > limits.slow_p95_s and p95 > limits.slow_factor * quiet
    return {
        "p95_s": p95,
        "baseline_p95_s": quiet,
        "slow": slow,
    }


def _describe(fields: dict[str, Any], counted: Tally, limits: Thresholds) -> None:
    """Fill in what the failures look like and where they fall. Changes `fields`."""
    failed = counted.last[counted.last["kind"].notna()]
    kinds = (
        failed.groupby("kind")["calls"].sum().sort_values(ascending=False, kind="stable").round().astype(int)
    )
    known = kinds.drop("unknown", errors="ignore")
    fields["failures"] = {str(kind): int(count) for kind, count in kinds.items()}
    by_status = failed.groupby("status_code")["calls"].sum().round().astype(int)
    fields["status_codes"] = {int(str(status)): int(count) for status, count in by_status.items()}
    if not known.empty and known.iloc[0] >= kinds.iloc[0]:
        fields["failure"] = known.index[0]
        rest = known.iloc[1:]
        loud = rest[(rest >= limits.noise_failures) & (rest >= limits.noise_share * fields["last_calls"])]
        fields["second_failure"] = loud.index[0] if len(loud) else None
        statuses = failed.loc[failed["kind"] == known.index[0], "status_code"].unique()
        fields["evidence"]["failure"] = tuple(
            f"{counted.source}:status_code={status}" if status else f"{counted.source}:no response"
            for status in sorted(statuses)
        )
        fields["because"]["failure"] = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    fields["retry_after_s"] = _maximum(counted.last["retry_after_s"])
    _locate(fields, counted, limits)
    answered = counted.last["status_code"] > 0
    if bool(answered.any()):
        fields["nothing_answers"] = False
        fields["evidence"]["nothing_answers"] = (f"{counted.source}:last_part",)
        fields["because"]["nothing_answers"] = (
            f"{round(counted.last.loc[answered, 'calls'].sum())} calls got an answer"
        )


def _locate(fields: dict[str, Any], counted: Tally, limits: Thresholds) -> None:
    """Fill in on which endpoints and hosts the calls of the dominant kind fail. Changes `fields`."""
    counts = _grouped(counted.last, "endpoint")
    fields["endpoints"] = tuple(
        EndpointCount(str(name), int(row.calls), int(row.failed)) for name, row in counts.iterrows()
    )
    if counts.empty:
        return
    worst, rest = counts.iloc[0], counts.iloc[1:].sum()
    fields["evidence"]["one_endpoint"] = (f"{counted.source}:endpoint",)
    fields["because"]["one_endpoint"] = (
        f"{counts.index[0]}: {worst.failed} of {worst.calls} failed; {len(counts) - 1} other endpoints:"
        f" {rest.failed} of {rest.calls}"
    )
    if rest.calls >= limits.noise_failures:
        rest_fails = rest.failed >= limits.noise_failures and rest.failed >= limits.noise_share * rest.calls
        fields["one_endpoint"] = not rest_fails
    elif len(counts) > 1:
        fields["one_endpoint"] = None
    for place in ("host", "worker"):
        hosts = _grouped(counted.last, place)
        share = hosts["failed"] / hosts["calls"]
        bad = share >= 0.5
        if bad.any() and (share[~bad] < limits.noise_share).all() and (~bad).any():
            fields["failing_hosts"] = tuple(str(name) for name in hosts.index[bad])
            return


def _grouped(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Calls and failures per value of `column`, most failures first."""
    keyed = pd.DataFrame(
        {
            "key": frame[column],
            "calls": frame["calls"],
            "failed": frame["calls"].where(frame["kind"].notna(), 0.0),
        }
    )
    sums = keyed.dropna(subset="key").groupby("key").sum().round().astype(int)
    return sums.sort_values(["failed", "calls"], ascending=False, kind="stable")


def _maximum(values: pd.Series[float]) -> float | None:
    return float(values.max()) if values.notna().any() else None
