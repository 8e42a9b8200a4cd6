"""Facts that come from counting calls: the application's own experience, from its logs or its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from klaviyo_nb.diagnosis.failures import describe
from klaviyo_nb.diagnosis.shares import is_failing, is_noise
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.evidence import remembered
from klaviyo_nb.intervals import wilson
from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.metrics.counters import counted as risen
from klaviyo_nb.metrics.counters import step_s
from klaviyo_nb.metrics.rates import beforehand, begun_late, histogram_quantile, increases
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.times import Times
    from klaviyo_nb.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Tally:
    """Counted calls.

    Attributes:
        source: Where they were counted.
        frame: `timestamp`, `endpoint`, `status_code` (Int64; 0 where no response came), `kind` (a `Failure`;
            `unknown` for a failure without a code; missing for a success), `calls` (float64), `duration_s`,
            `retry_after_s` and the rest of `_LOGGED`; `clock` (the host, else the source, that stamped it).
        last: The rows of the window's last part.
        part: The window's last part.
        ahead: Hosts whose lines lay in the future, and by how much at least [s]; theirs were moved back.
        slices: Calls and failures per slice as long as the last part, latest first, without that part.
    """

    source: Literal["logs", "metrics"]
    frame: pd.DataFrame
    last: pd.DataFrame
    part: Window
    ahead: Mapping[str, float]
    slices: list[tuple[int, int]]

    @property
    def last_calls(self) -> int:
        """Calls in the last part."""
        return round(self.last["calls"].sum())


#: Columns of a `Tally.frame` that only logs have.
_LOGGED = ("duration_s", "retry_after_s", "host", "worker", "caller", "error_type", "error_code",
           "answered_by", "request_id")  # fmt: skip


def tally(evidence: Evidence, limits: Thresholds, whole: bool = True) -> Tally | None:
    """Calls as counted in logs, else in metrics: the first with enough in the last part, else with any.

    Logs of which some hide what they hold of the last part are no longer `whole`: then metrics come first.

    Returns:
        None if neither tells of a call in the window.
    """
    return chosen(tallies(evidence, limits), limits, whole)


@remembered
def tallies(evidence: Evidence, limits: Thresholds) -> dict[str, Tally]:
    """`logs` and `metrics`, as far as they tell of a call in the window."""
    window, part, found = evidence.window, limits.last_part(evidence.window), {}
    if evidence.calls is not None:
        ahead = clocks_ahead(evidence.calls, evidence)
        found["logs"] = _tally("logs", _from_logs(evidence.calls, ahead), window, part, ahead)
    if evidence.metrics is not None:
        found["metrics"] = _tally("metrics", _from_steps(increases(evidence.metrics)), window, part, {})
    return {name: each for name, each in found.items() if len(each.frame)}


def earlier(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """What logs tell of the time before the window, and what the metrics' counters had come to by then.

    As a `Tally.frame`; the latter all at the first sample, since nothing tells when they were counted.
    """
    found = {}
    if evidence.earlier is not None and evidence.calls is not None:
        found["logs"] = _from_logs(evidence.earlier, clocks_ahead(evidence.calls, evidence))
    if evidence.metrics is not None:
        steps, step = increases(evidence.metrics), pd.Timedelta(seconds=step_s(evidence.metrics) or 0.0)
        cut = steps[steps["timestamp"] < evidence.window.start]
        known = pd.concat([beforehand(evidence.metrics), cut])
        until = (cut["timestamp"] + step).max()
        found["metrics"] = _from_steps(known if cut.empty else known.assign(timestamp=until))
    return found


def with_new(evidence: Evidence, found: Mapping[str, Tally]) -> dict[str, Tally]:
    """The same `tallies`; metrics also with what new processes had counted when they were first sampled.

    It is good to know when something happened, and not counted: it may be of the time before.
    """
    if "metrics" not in found or evidence.metrics is None:
        return dict(found)
    frame = pd.concat([found["metrics"].frame, _from_steps(begun_late(evidence.metrics))])
    return {**found, "metrics": replace(found["metrics"], frame=frame)}


def chosen(found: Mapping[str, Tally], limits: Thresholds, whole: bool = True) -> Tally | None:
    """Which of `tallies` the decision is made from; see `tally`."""
    order = list(found.values()) if whole else list(found.values())[::-1]
    enough = [each for each in order if each.last_calls >= limits.last_part_calls]
    return next(iter(enough or order), None)


def clocks_ahead(calls: pd.DataFrame, evidence: Evidence) -> dict[str, float]:
    """Host (else source) → by how much its clock is ahead of ours at least [s].

    No line was written after it was read: one that says so was stamped by a clock that is ahead.
    """
    future = calls[calls["timestamp"] > evidence.collected_at]
    if future.empty:
        return {}
    latest = future["timestamp"].groupby(_written_by(future)).max()
    return {str(name): (moment - evidence.collected_at).total_seconds() for name, moment in latest.items()}


def counted_facts(counted: Tally, when: Times, evidence: Evidence, limits: Thresholds) -> dict[str, Any]:
    """The fields of `Facts` that counting can fill; `evidence` and `because` for what the tree asks about.

    `when` is `times.times` of the same evidence.
    """
    slices, quiet = counted.slices, _quiet_share(counted.slices, limits)
    calls, failed = _sums(counted.last)
    enough = calls >= limits.last_part_calls
    failing = _is_failing_now(failed, calls, slices, quiet, limits) if enough else None
    fields: dict[str, Any] = {
        "counted_from": counted.source,
        "calls": _sums(counted.frame)[0],
        "failed_calls": _sums(counted.frame)[1],
        "last_part": counted.part,
        "last_calls": calls,
        "last_failed": failed,
        "failing": failing,
        "failed_earlier": _failed_earlier(slices, quiet, counted, evidence, limits) if not failing else None,
        "clocks_ahead": counted.ahead or None,
        "onset": when.onset and Interval(when.onset.earliest, when.onset.latest),
        "recovered": when.recovered and Interval(when.recovered.earliest, when.recovered.latest),
        **_durations(counted, evidence, limits),
        "evidence": {},
        "because": {},
    }
    minutes = round(counted.part.seconds / 60)
    fields["because"]["failing"] = (
        f"{failed:,} of {many(calls, 'call')} failed in the last {minutes} minutes ({counted.source})"
    )
    fields["evidence"]["failing"] = (f"{counted.source}:last_part",)
    if fields["failed_earlier"] is not None:
        fields["evidence"]["failed_earlier"] = (f"{counted.source}:window",)
        fields["because"]["failed_earlier"] = (
            f"{fields['failed_calls']:,} of {many(fields['calls'], 'call')} failed in the window"
        )
    if fields.get("slow") is not None:
        usual = fields.get("baseline_p95_s")
        before = f", before {usual:.2f} s" if usual is not None else ""
        fields["evidence"]["slow"] = (f"{counted.source}:duration_s",)
        fields["because"]["slow"] = f"p95 {fields['p95_s']:.2f} s{before}"
    return fields


def failing_facts(counted: Tally, fields: Mapping[str, Any], limits: Thresholds) -> dict[str, Any]:
    """What the failing calls look like, where they fall, and what share they are since they began."""
    quiet = _quiet_share(counted.slices, limits)
    return _since(counted, fields["onset"], limits) | describe(counted, quiet, limits)


def newest_fail(counted: Tally, limits: Thresholds) -> bool:
    """Do most of the newest calls fail, as many as a last part needs? Fresh trouble shows here first."""
    newest = counted.last.sort_values("timestamp", ascending=False, kind="stable")
    before = newest["calls"].cumsum() - newest["calls"]
    since = newest["timestamp"][before < limits.last_part_calls].min()
    calls, failed = _sums(newest[newest["timestamp"] >= since])
    return failed >= limits.noise_failures and failed >= calls / 2


def _tally(
    source: Literal["logs", "metrics"],
    frame: pd.DataFrame,
    window: Window,
    part: Window,
    ahead: Mapping[str, float],
) -> Tally:
    frame = frame[(frame["timestamp"] >= window.start) & (frame["timestamp"] < window.end)]
    return Tally(source, frame, frame[frame["timestamp"] >= part.start], part, ahead, _slices(frame, part))


def _from_logs(calls: pd.DataFrame, ahead: Mapping[str, float]) -> pd.DataFrame:
    frame = calls[["timestamp", "endpoint", *_LOGGED]].copy()
    if ahead:
        frame["timestamp"] -= pd.to_timedelta(_written_by(calls).map(ahead).fillna(0.0), unit="s")
    frame["status_code"] = calls["status_code"].fillna(0)
    frame["clock"] = _written_by(calls)
    frame["kind"] = failure_kinds(calls)
    frame["calls"] = 1.0
    return frame


def _written_by(calls: pd.DataFrame) -> pd.Series[str]:
    return calls["host"].astype("str").fillna(calls["source"].astype("str"))


def _from_steps(steps: pd.DataFrame) -> pd.DataFrame:
    steps = steps[steps["status"].notna()]  # calls of which nothing tells whether they failed
    frame = steps[["timestamp", "endpoint", "calls"]].assign(clock="")
    codes = pd.to_numeric(steps["status"], errors="coerce")
    frame["status_code"] = codes.fillna(0).astype("Int64")
    kinds = {status: _kind_of(status) for status in steps["status"].dropna().unique()}
    frame["kind"] = steps["status"].map(kinds)
    for absent in _LOGGED:
        number = absent in ("duration_s", "retry_after_s")
        frame[absent] = pd.Series(None, index=frame.index, dtype="float64" if number else "str")
    return frame[frame["calls"] > 0]


def _kind_of(status: str) -> str | None:
    if status == "success":
        return None
    if status.isdigit():
        return failure(int(status), None, None)
    # Some libraries count classes of codes; "unknown" is the published label for "no response".
    return "server" if status.lower() in ("5xx", "unknown") else "unknown"


def _sums(frame: pd.DataFrame) -> tuple[int, int]:
    return round(frame["calls"].sum()), round(frame.loc[frame["kind"].notna(), "calls"].sum())


def _age(frame: pd.DataFrame, part: Window) -> pd.Series[float]:
    """How many slices of the last part's length lie between it and each row; -1 in the last part."""
    since = (frame["timestamp"] - pd.Timestamp(part.start)).dt.total_seconds()
    return (-(since // part.seconds) - 1).clip(lower=-1)


def _slices(frame: pd.DataFrame, part: Window) -> list[tuple[int, int]]:
    """Calls and failures per slice as long as the last part, latest first, without the last part itself."""
    counts = pd.DataFrame(
        {"calls": frame["calls"], "failed": frame["calls"].where(frame["kind"].notna(), 0.0)}
    )
    sums = counts.groupby(_age(frame, part)).sum().drop(-1.0, errors="ignore").round().astype(int)
    return list(zip(sums["calls"].tolist(), sums["failed"].tolist(), strict=True))


def _surely(calls: int, failed: int, limits: Thresholds) -> bool:
    """Is this slice more than background noise, beyond doubt?"""
    return is_failing(failed, calls, limits.noise_share, limits)


def _quiet_share(slices: list[tuple[int, int]], limits: Thresholds) -> float:
    """The share that may fail when all is well: the upper end of the Wilson interval over the quiet slices.

    At most `noise_share`; 0 where no slice is quiet, or too little was called to say.
    """
    quiet = [each for each in slices if not _surely(*each, limits)]
    calls, failed = sum(calls for calls, _ in quiet), sum(failed for _, failed in quiet)
    if calls < limits.last_part_calls:
        return 0.0
    return min(wilson(failed, calls, limits.sure_z)[1], limits.noise_share)


def _is_failing_now(
    failed: int, calls: int, slices: list[tuple[int, int]], quiet: float, limits: Thresholds
) -> bool:
    """Is the last part failing, by its own calls or as the latest of slices that were no noise either?

    A doubt that few calls leave is settled by the slices before: what failed beyond doubt goes on until a
    slice is back within noise, and an endpoint that is called seldom is no less broken for that.
    """
    if is_noise(failed, calls, limits):
        return False
    run_failed, run_calls = failed, calls
    for calls_before, failed_before in takewhile(lambda each: not is_noise(each[1], each[0], limits), slices):
        run_failed, run_calls = run_failed + failed_before, run_calls + calls_before
    return is_failing(failed, calls, quiet, limits) or is_failing(run_failed, run_calls, quiet, limits)


def _failed_earlier(
    slices: list[tuple[int, int]], quiet: float, counted: Tally, evidence: Evidence, limits: Thresholds
) -> bool | None:
    if not slices:
        return None if counted.part.start > evidence.window.start else False
    if any(_surely(*each, limits) for each in slices):
        return True
    calls, failed = sum(calls for calls, _ in slices), sum(failed for _, failed in slices)
    if not is_failing(failed, calls, quiet, limits):
        return False
    # Strewn over hours they are no stretch of time: that they ended, only calls that succeed now can show.
    return True if counted.last_calls >= limits.last_part_calls else None


def _since(counted: Tally, onset: Interval | None, limits: Thresholds) -> dict[str, Any]:
    """Calls and failures since the onset, if it lies in the last part and enough were made; else in it.

    Few calls, or failures in one burst, leave the onset uncertain by minutes, so that few come after its
    latest moment: then since the first failure that can be it.
    """
    start, rows = counted.part.start, counted.last
    if onset and onset.latest > start:
        first = rows.loc[rows["kind"].notna() & (rows["timestamp"] >= onset.earliest), "timestamp"].min()
        for since in (onset.latest, first):
            later = rows[rows["timestamp"] >= since]
            calls, failed = _sums(later)
            if calls >= limits.last_part_calls and failed >= limits.noise_failures:
                start, rows = pd.Timestamp(since).to_pydatetime(), later
                break
    calls, failed = _sums(rows)
    return {"since": start, "since_calls": calls, "since_failed": failed, "since_unclear": _unclear(rows)}


def _unclear(rows: pd.DataFrame) -> int:
    """Calls that look well, and that nothing tells from those that a portal answered."""
    portals = rows["answered_by"] == "portal"
    plain = rows["kind"].isna() & rows["request_id"].isna() & rows["answered_by"].isna()
    plain &= rows["status_code"].isin(rows.loc[portals, "status_code"].unique())
    return round(rows.loc[plain, "calls"].sum())


def _durations(counted: Tally, evidence: Evidence, limits: Thresholds) -> dict[str, Any]:
    """p95 of the last part and the quiet part, and whether calls are slow; from calls that did not fail.

    Where the calls carry no durations, the metrics' histogram tells, failing calls included.
    """
    good = counted.frame[counted.frame["kind"].isna() & counted.frame["duration_s"].notna()]
    groups = good.groupby(_age(good, counted.part))["duration_s"]
    p95s = groups.quantile(0.95)[groups.size() >= limits.last_part_calls]
    if good.empty and evidence.metrics is not None:
        p95s = _timed(evidence.metrics, counted.part, limits)
    if -1 not in p95s:
        return {}
    p95, usual = float(p95s[-1]), p95s.drop(-1)
    if usual.empty:
        return {"p95_s": p95} | ({"slow": False} if p95 <= limits.slow_p95_s else {})
    quiet = float(usual.quantile(0.25, interpolation="lower"))  # slowness that began long ago is no baseline
    slow = p95 > limits.slow_p95_s and p95 > limits.slow_factor * quiet
    return {"p95_s": p95, "baseline_p95_s": quiet, "slow": slow}


def _timed(metrics: pd.DataFrame, part: Window, limits: Thresholds) -> pd.Series[float]:
    """p95 per slice, by age, from the metrics' histogram."""
    steps = risen(metrics, "duration_bucket")
    steps = steps[steps["le"].notna()]
    found = {}
    for age, rows in steps.groupby(_age(steps, part)):
        buckets = rows.groupby("le")["calls"].sum().rename("count").reset_index()
        whole = len(buckets) > 1 and math.isinf(buckets["le"].iloc[-1])
        if whole and buckets["count"].iloc[-1] >= limits.last_part_calls:
            found[age] = histogram_quantile(buckets, 0.95)
    return pd.Series(found, dtype="float64")
