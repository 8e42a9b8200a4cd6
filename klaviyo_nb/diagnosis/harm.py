"""How bad it was: of the calls that the verdict is decided from. Every page shows this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, cast

from klaviyo_nb.diagnosis.counted import Tally, tally
from klaviyo_nb.diagnosis.probed import asked_in_vain
from klaviyo_nb.diagnosis.severity import level
from klaviyo_nb.diagnosis.shares import is_noise
from klaviyo_nb.diagnosis.thresholds import Thresholds, from_table
from klaviyo_nb.diagnosis.tree import cause_of
from klaviyo_nb.evidence import Evidence, remembered
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.logs.questions.reach import of_some
from klaviyo_nb.metrics.counters import step_s
from klaviyo_nb.metrics.impact import Impact, burn_rates, impact
from klaviyo_nb.metrics.rates import bins
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.verdict import Cause
    from klaviyo_nb.klaviyo.answers import Failure
    from klaviyo_nb.logs.questions.question import Answer

#: A severity is told of so long a slice of the window, as the alerts do.
SLICE = timedelta(minutes=5)
#: Metrics and logs count the same failed calls if their numbers differ by no more [calls; share].
_APART, _APART_SHARE = 5, 0.05


@dataclass(frozen=True, slots=True)
class Harm:
    """What the failures of a window came to.

    Attributes:
        source: Where calls were counted: the verdict's choice, logs first where they are whole.
        total: What they came to there.
    """

    source: Literal["logs", "metrics"]
    total: Impact


@remembered
def counts(evidence: Evidence) -> tuple[Literal["logs", "metrics"], pd.DataFrame] | None:
    """Where calls are counted, and `timestamp`, `calls`, `failed` there; None if neither was read."""
    if counted := _counted(evidence):
        failed = counted.frame["calls"].where(counted.frame["kind"].notna(), 0.0)
        return counted.source, counted.frame[["timestamp", "calls"]].assign(failed=failed)
    return None if evidence.metrics is None else ("metrics", bins(evidence.metrics))


@remembered
def harm(evidence: Evidence) -> Harm | None:
    """What the failures came to; None if neither logs nor metrics were read."""
    found = counts(evidence)
    return None if found is None else Harm(found[0], impact(found[1], evidence.window))


@remembered
def burning(evidence: Evidence) -> pd.DataFrame | None:
    """`burn_rates` of the calls that `counts` counts; None if neither logs nor metrics were read."""
    found = counts(evidence)
    return found and burn_rates(found[1], evidence.window, _observed(evidence, found[0]))


def _observed(evidence: Evidence, source: Literal["logs", "metrics"]) -> Window | None:
    """The part of the window in which a call would have been counted: logs may begin in it, samples end too.

    What a log without an older line holds may be all that is kept of it.
    """
    window, metrics = evidence.window, evidence.metrics
    if source == "metrics" and metrics is not None:
        times = metrics.loc[metrics["role"] != "alerts", "timestamp"]
        last = times.max() + timedelta(seconds=step_s(metrics) or 0.0)  # the next sample may be due later
        span = max(times.min(), window.start), min(last, window.end)
    else:
        older = any(each.outside and each.outside < window.start for each in evidence.coverage)
        began = [each.got.start for each in evidence.coverage if each.got]
        span = window.start if older else max(min(began, default=window.end), window.start), window.end
    return Window(*span) if span[0] < span[1] else None


@remembered
def touched(evidence: Evidence) -> Answer | None:
    """Distinct profiles, events, lists that failed calls name, with bounds; None if no logs were read.

    Where metrics count clearly more failed calls than the logs tell of, or a log was not read whole, each
    call that nobody saw may touch another one.
    """
    calls, window = evidence.calls, evidence.window
    if calls is None:
        return None
    failed: int | None = int(failure_kinds(calls).notna().sum())
    metrics = evidence.metrics
    counted = None if metrics is None else impact(bins(metrics), window).failed_calls
    if counted is None and not all(each.whole for each in evidence.coverage):
        failed = None
    elif counted and failed is not None and counted - failed > max(_APART, _APART_SHARE * counted):
        failed = counted
    return of_some(calls, window, failed)


@remembered
def at_each_severity(evidence: Evidence, cause: Cause) -> dict[str, timedelta]:
    """How long it was how bad, in slices of five minutes, each graded as the whole would be.

    What is over is graded by what most failures of a slice look like: its end says nothing of how bad it was.

    Returns:
        Severity → time; `none` where failures are no more than noise; `not known` where nothing was
        called, or too few calls failed to grade. Empty without calls, or for a cause that has no severity.
    """
    limits, counted = _limits(evidence), _counted(evidence)
    if counted is None or level(cause, nearly_all=False, one_endpoint=False) is None:
        return {}
    window, frame = evidence.window, counted.frame
    number = (frame["timestamp"] - window.start) // SLICE
    found: dict[str, timedelta] = {}
    slices = dict(iter(frame.groupby(number)))
    for index in range(-(-(window.end - window.start) // SLICE)):
        name = "not known"
        if index in slices:
            calls = slices[index]
            bad = calls[calls["kind"].notna()]
            every, failed = float(calls["calls"].sum()), float(bad["calls"].sum())
            if not is_noise(failed, every, limits):
                nearly_all = failed >= limits.nearly_all_share * every
                meant = _then(bad) if cause == "resolved_or_intermittent" else cause
                name = str(level(meant, nearly_all=nearly_all, one_endpoint=bad["endpoint"].nunique() == 1))
            elif failed < limits.noise_share * every:
                name = "none"
        span = min(SLICE, window.end - window.start - index * SLICE)
        found[name] = found.get(name, timedelta(0)) + span
    return dict(sorted(found.items(), key=lambda each: (each[0][0] != "P", each[0] == "not known", each[0])))


def _then(bad: pd.DataFrame) -> Cause:
    """What failures meant while they lasted; where none tells its kind, no more than that they were."""
    calls = bad.loc[bad["kind"] != "unknown"].groupby("kind")["calls"].sum()
    return "resolved_or_intermittent" if calls.empty else cause_of(cast("Failure", calls.idxmax()))


def _counted(evidence: Evidence) -> Tally | None:
    limits = _limits(evidence)
    whole = "some logs" not in asked_in_vain(evidence, {}, limits)
    return tally(evidence, limits, whole)


def _limits(evidence: Evidence) -> Thresholds:
    return from_table(evidence.context.get("thresholds") or {})
