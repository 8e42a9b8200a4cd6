"""When the first call failed, by the clocks of hosts of which some may be off.

Most hosts' clocks are right; a few are off by up to two minutes. The lines of each clock tell how likely it
is that the fault hit at some second, if the clock is right, and if it is off by so much. Clocks that agree
make each other sure; where nothing confirms the one that tells, the interval is as wide as that doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from klaviyo_nb.metrics.onset import Episode, Moments

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

#: Chance that a clock is off, and by how much at most [s].
OFF, MOST_OFF_S = 0.12, 120.0
#: By how much a clock may be ahead, as far as that is told apart [s], and the chance of each.
OFFS = np.append(0.0, np.arange(-MOST_OFF_S, MOST_OFF_S + 1, 8.0))
CHANCES = np.append(1 - OFF, np.full(len(OFFS) - 1, OFF / (len(OFFS) - 1)))
#: How sure the interval has to be. One clock alone makes it surer than 1 - `OFF` only if the interval holds
#: most of what such a clock may be off.
SURE = 0.97
#: Lines of a source that names no hosts are of one clock where no longer pause lies between them [s].
BURST_S = 10.0
#: A pause is unusual that is longer than this times what 99 in a hundred pauses are no longer than [1].
UNUSUAL = 2.5
#: Least distance of the moments that are told apart [s], and about how many there are.
STEP_S, MOMENTS = 2.0, 300
#: Clocks that are looked at: those with most lines.
MOST_CLOCKS = 100
#: Lines are looked at for so long after the last moment [s]; later ones tell of no beginning.
AFTER_S = 300.0
#: Pauses of a host that its newest line's age is held against: the last ones, and so many at least. Clocks
#: that are kept right may be off by so much [s].
PAUSES, FEWEST, CLOCK_S = 200, 5, 4.0
#: An interval that doubt makes wider by less is not worth a sentence.
SLIGHT = timedelta(seconds=10)
#: Bounds of the share of calls that fails before a fault, and by how much it rises at least [1].
LEAST, MOST, RISE = 0.01, 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of calls that fail before a fault, and from it on: between 0 and 1, the latter is the larger."""

    before: float
    after: float


def as_sure_as_clocks(found: Episode, frame: pd.DataFrame, until: datetime | None) -> Episode:
    """The same, beginning as early or late as the clocks of the log leave possible.

    Args:
        found: What logs alone tell; where metrics tell of it too, their clock confirms it, or does not.
        frame: A `Tally.frame` of logs, with the time before the window.
        until: When the newest lines were read; None if there may be newer ones.
    """
    if found.onset is None:
        return found
    chances: dict[str, Floats] = {}
    frame = frame.assign(named=frame["host"].notna())
    if until:
        times = {str(name): own for name, own in frame.groupby("clock")["timestamp"]}
        chances = {name: chances_by_age(own, until) for name, own in times.items()}
        since = {name: _last_burst(own) for name, own in times.items()}
        frame["named"] |= frame["timestamp"] >= pd.to_datetime(
            frame["clock"].astype("str").map(since), utc=True
        )
    for label, values in found.concerns.items():
        if label != "kind":
            frame = frame[frame["clock" if label == "host" else label].isin(values)]
    kinds = found.concerns.get("kind")
    failed = frame["kind"].isin(kinds) if kinds else frame["kind"].notna()
    calls = frame[["timestamp", "clock", "named"]].assign(failed=failed)
    old = failed[calls["timestamp"] < found.onset[0] - timedelta(seconds=MOST_OFF_S)]
    before = float(np.clip((old.sum() + 0.5) / (len(old) + 20.0), LEAST, MOST))
    after = float(np.clip(found.failed / found.calls, before + RISE, 1 - 2 * LEAST))
    earliest, latest = first_failure(calls, found.onset, Shares(before, after), chances)
    onset = min(found.onset[0], earliest), max(found.onset[1], latest)
    if found.onset[0] - onset[0] < SLIGHT and onset[1] - found.onset[1] < SLIGHT:
        return replace(found, onset=onset)
    told = calls[failed & calls["timestamp"].between(*found.onset)]
    return replace(found, onset=onset, unconfirmed=tuple(told["clock"].unique()))


def first_failure(
    calls: pd.DataFrame, around: Moments, shares: Shares, chances: Mapping[str, Floats]
) -> Moments:
    """The narrowest interval that holds the first failing call with a probability of `SURE`.

    Where no call failed in the time that is looked at, it is `around`.

    Args:
        calls: Those that the fault concerns, one a row: `timestamp` (UTC), `failed` (bool), `clock` (what
            stamped it: a host, or a source that names none), `named` (bool: did one clock stamp all of its
            lines that are so?).
        around: It is sought from `MOST_OFF_S` before the first of these moments to so long after the second.
        shares: Which share of them fails.
        chances: Name of a host → the chance of each of `OFFS`; the usual ones where it is absent.
    """
    start = pd.Timestamp(around[0]) - timedelta(seconds=MOST_OFF_S)
    length = (around[1] - around[0]).total_seconds() + 2 * MOST_OFF_S
    step = max(STEP_S, length / MOMENTS)
    moments = np.arange(0.0, length + step, step)
    at = (calls["timestamp"] - start).dt.total_seconds()
    near = calls.assign(at=at)[(at > -MOST_OFF_S) & (at < length + MOST_OFF_S + AFTER_S)]
    near = near[near["clock"].isin(near["clock"].value_counts().index[:MOST_CLOCKS])]
    told, none_by = np.zeros(len(moments)), np.ones((len(moments), len(moments)))
    for host, times, failed in _clocks(near.sort_values("at", kind="stable")):
        own, first = _told(times, failed, moments, shares, chances.get(host, CHANCES))
        told += own
        none_by *= first
    hit = np.exp(told - told.max())
    failed_by = 1.0 - hit / hit.sum() @ none_by
    if failed_by[-1] < LEAST:
        return around
    since, until = _narrowest(np.append(0.0, failed_by / failed_by[-1]))
    earliest, latest = (start + timedelta(seconds=step * (n - 1)) for n in (since, until))
    return earliest.to_pydatetime(), latest.to_pydatetime()


def chances_by_age(moments: pd.Series[pd.Timestamp], until: datetime) -> Floats:
    """The chance of each of `OFFS` by the age of a host's newest line when its log is read.

    Who looks at some moment meets a pause of the host, the likelier the longer it is, and finds it begun by
    any time. If the clock is behind, that time is shorter than it seems to be, and if it is ahead, longer.

    Args:
        moments: Times of all lines of the host.
        until: When they were read.
    """
    pauses = np.sort(moments.sort_values().diff().dt.total_seconds().tail(PAUSES).dropna().to_numpy())
    if len(pauses) < FEWEST:
        return CHANCES
    begun = (until - moments.max()).total_seconds() + OFFS
    longer = len(pauses) - np.searchsorted(pauses, begun)
    likely = CHANCES * np.where(begun < -CLOCK_S, 0.0, longer + 1.0)
    return np.asarray(likely / likely.sum()) if likely.any() else CHANCES


def _clocks(calls: pd.DataFrame) -> Iterator[tuple[str, Floats, Flags]]:
    """Host, times of lines [s], and whether they failed, of one clock each.

    A source that names no hosts may be written by several: a burst of its lines comes from one of them.
    """
    for (name, _), own in calls.groupby(["clock", "named"], sort=False):
        times, failed = own["at"].to_numpy(), own["failed"].to_numpy()
        if own["named"].iloc[0]:
            yield str(name), times, failed
            continue
        pauses: list[int] = (1 + np.flatnonzero(np.diff(times) > BURST_S)).tolist()
        for part, hits in zip(np.split(times, pauses), np.split(failed, pauses), strict=True):
            yield "", part, hits


def _last_burst(moments: pd.Series[pd.Timestamp]) -> pd.Timestamp:
    """Since when no pause was unusual: the clock that stamped the newest line stamped all."""
    ordered = moments.sort_values()
    pauses = ordered.diff().dt.total_seconds().fillna(np.inf)
    usual = float(pauses[1:].tail(PAUSES).quantile(0.99)) if len(pauses) > 1 else 0.0
    newest: pd.Timestamp = ordered[pauses > max(BURST_S, UNUSUAL * usual)].iloc[-1]
    return newest


def _told(
    times: Floats, failed: Flags, moments: Floats, shares: Shares, chances: Floats
) -> tuple[Floats, Floats]:
    """What the lines of one clock tell.

    Returns:
        The log-likelihood of each moment for the fault to hit; and for each of them (rows) the probability
        that no call of this clock had failed by each of them (columns).
    """
    stamped = moments[:, None] + OFFS  # when it hits, as this clock has it
    gains = np.where(failed, shares.after / shares.before, (1 - shares.after) / (1 - shares.before))
    since = np.append(np.cumsum(np.log(gains)[::-1])[::-1], 0.0)  # of all lines from each on
    likely = since[np.searchsorted(times, stamped)]
    best = likely.max(axis=1, keepdims=True)
    weights = np.exp(likely - best) * chances + np.finfo(float).tiny
    whole = weights.sum(axis=1, keepdims=True)
    size, bad = len(moments), times[failed]
    first = np.append(bad, np.inf)[np.searchsorted(bad, stamped)] - OFFS
    column = np.ceil(np.clip(first / (moments[1] - moments[0]), 0, size)).astype(int)
    row = np.arange(size)[:, None] * (size + 1)
    share = np.bincount((row + column).ravel(), (weights / whole).ravel(), size * (size + 1))
    none = 1.0 - np.cumsum(share.reshape(size, size + 1)[:, :-1], axis=1)
    return (best + np.log(whole))[:, 0], np.asarray(none)


def _narrowest(reached: Floats) -> tuple[int, int]:
    """Between which two of these growing probabilities `SURE` lies, if they are to be as near as can be."""
    until = np.searchsorted(reached, reached + SURE - 1e-9)
    since = np.flatnonzero(until < len(reached))
    best = int(since[np.argmin(until[since] - since)])
    return best, int(until[best])
