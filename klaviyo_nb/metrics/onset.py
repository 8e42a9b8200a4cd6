"""When did calls begin to fail, and when did they stop? Answered from counts per bin, as intervals.

Each endpoint, each host and each kind of failure is looked at by itself as well as all together, and the
borders of what is found are placed on the calls that it concerns. `changes` finds borders, `concerns` calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd

from klaviyo_nb.metrics.changes import (
    LEAST_SHARE,
    SHORTFALL,
    Bins,
    Run,
    Span,
    failing_runs,
    first_of_rise,
)
from klaviyo_nb.metrics.concerns import (
    MOST_VALUES,
    comparable,
    concern_of,
    nanoseconds,
    only_kinds,
    parts_of,
    usable,
)

Moments = tuple[datetime, datetime]

#: Stretches that are less apart belong to one episode, because faults come and go [ns].
PAUSE = 5 * 60 * 10**9
#: So many failures of an endpoint before the bins begin are not chance, if it goes on failing.
AGO = 3
#: A silence so many times as long as any later one is no chance.
LONGER = 2


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch in which calls failed for certain.

    Attributes:
        onset: Earliest and latest moment it can have begun; None if it was under way when the bins begin.
        recovered: Likewise its end; None if it still went on when the bins end.
        seen: First and last moment it was observed: borders of bins.
        calls: Calls in it, of those that it concerns.
        failed: How many of them failed.
        good_until: The call before its first failing one, of those that it concerns, was not before this.
        concerns: `kind`, `endpoint`, `host` → values; a label that is absent: all of it.
        unconfirmed: What stamped its first failing calls, if nothing confirms that clock and `onset` allows
            for it.
        proven: Of those that it concerns no more than noise had failed before the bins begin, of some.
    """

    onset: Moments | None
    recovered: Moments | None
    seen: Moments
    calls: float
    failed: float
    proven: bool = False
    good_until: datetime | None = None
    concerns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unconfirmed: tuple[str, ...] = ()


def episodes(
    counts: pd.DataFrame,
    lag_s: float = 0.0,
    width_s: float | None = None,
    before: pd.DataFrame | None = None,
) -> list[Episode]:
    """Find the stretches in which calls failed, in order of time.

    A bin that is absent, holds no calls, or whose counts are missing says nothing; a border beside such bins
    becomes as wide as they are. Nothing found means only that nothing was certain: ask how many bins held
    calls before calling that quiet.

    Args:
        counts: Bins of equal width: `timestamp` (UTC, start of the bin), `calls`, `failed`. A bin may have
            several rows, told apart by `endpoint`, `host` and `kind` (of failures; missing for successes).
        lag_s: By how much a bin can be late: 0 for logs, the scrape interval for metrics [s].
        width_s: Width of a bin [s]; None: the least distance between two.
        before: What had been counted when the bins begin, since nobody knows when: with the same columns,
            `timestamp` is that moment. It tells whether what fails from the first bin on was under way.
    """
    width = round(width_s * 1e9) if width_s else _width(counts)
    past = usable(before) if before is not None else None
    frame = comparable(usable(counts), past)
    parts = list(parts_of(frame))
    seen = [
        (label, value, run) for label, value, part in parts for run in _runs(label, part, width, len(parts))
    ]
    kinds = dict[str, int]()  # since when each that was seen to begin or to end may fail
    for label, value, run in seen:
        if label == "kind":
            kinds.setdefault(value, run.onset[0] if run.onset else 0)
    spans, lag, found = _joined([run.seen for *_, run in seen]), round(lag_s * 1e9), []
    end = int(frame["at"].max()) + width if len(frame) else 0
    for former, span, after in zip([None, *spans], spans, [*spans[1:], None], strict=False):
        since, until = former[1] if former else -(2**62), after[0] if after else 2**62
        around = frame[(frame["at"] >= since) & (frame["at"] < until)]
        own = [(label, run) for label, _, run in seen if label != "host" and _within(run.seen, span)]
        concern = concern_of(around, span, kinds)
        concerned = concern.of(around)
        alone = len(parts) == 1 and concerned.equals(frame)  # those bins were cut already
        runs = [run for *_, run in seen] if alone else failing_runs(_bins(concerned, width))
        of_all = [run.seen for label, _, run in seen if label is None and run.onset]
        some = [_episode(each, own, end, lag) for each in _placed(runs, of_all)]
        if some and former is None and some[0].onset is None:
            some[0] = replace(some[0], onset=_moments(_out_of_silence(concerned, frame, width), lag))
        if some:
            known = around if past is None or former else pd.concat([past, around])
            some[0] = _with_forerunner(some[0], known, width, lag)
        if some and former is None and past is not None:
            some[0] = _with_past(some[0], concern.of(past), concerned, width, lag)
        found += [replace(each, concerns=concern.named()) for each in some]
    return found


def _width(counts: pd.DataFrame) -> int:
    apart = np.diff(np.unique(nanoseconds(counts["timestamp"])))
    return int(apart.min()) if len(apart) else 0


def _bins(frame: pd.DataFrame, width: int) -> Bins:
    at = frame["at"].to_numpy()
    first = np.flatnonzero(np.diff(at, prepend=-1))
    calls, failed = (np.add.reduceat(frame[name].to_numpy(), first) for name in ("calls", "failed"))
    return Bins(calls, failed, at[first], width)


def _runs(label: str | None, part: pd.DataFrame, width: int, among: int) -> Iterator[Run]:
    """Where calls fail; of a part that fails throughout nothing tells that it is not always so."""
    for run in failing_runs(_bins(part, width), among):
        if label is None or run.onset or run.recovered:
            yield run


def _joined(spans: list[Span]) -> list[Span]:
    """Spans put together where less than a pause lies between them."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since < found[-1][1] + PAUSE:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((since, until))
    return found


def _within(inner: Span, outer: Span) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _placed(runs: Iterable[Run], of_all: Sequence[Span]) -> list[list[Run]]:
    """The stretches of one span, seen by the calls that it concerns: runs with less than a pause between.

    What is no pause in all calls together is none: they do not tell it from chance.
    """
    groups: list[list[Run]] = []
    for run in runs:
        between = (groups[-1][-1].seen[1] if groups else 0), run.seen[0]
        if groups and (between[1] < between[0] + PAUSE or any(_within(between, each) for each in of_all)):
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _out_of_silence(concerned: pd.DataFrame, frame: pd.DataFrame, width: int) -> Span | None:
    """The first failure, where such calls were first made in the midst of the bins, and failed.

    A new part of an application may fail from its first call on. But calls that are made seldom may have
    failed before: the silence must be longer than any since, by hosts that had been heard.
    """
    heard = frame[frame["host"].isin(concerned["host"])] if "host" in frame else frame
    at, first = np.unique(concerned["at"]), int(concerned.loc[concerned["failed"] > 0, "at"].min())
    silence = at[0] - heard["at"].min()
    if silence <= LONGER * np.diff(at).max(initial=width):
        return None
    return first, first + width


def _episode(runs: list[Run], own: list[tuple[str | None, Run]], end: int, lag: int) -> Episode:
    """Put together; a later end that all calls, an endpoint or a kind show is possible.

    What is seldom seen is vague: the end of an endpoint or kind counts where it excludes that of all.
    What paused before for as long as nothing has failed by the `end` of the bins is not over.
    """
    first, last = runs[0].onset, runs[-1].recovered
    onset, recovered = first, last
    for label, run in own:
        begun, over, whole = run.onset, run.recovered, label is None
        if onset and first and begun and whole and begun[1] == first[1] and first[0] < run.seen[1]:
            onset = (min(begun[0], onset[0]), onset[1])
        if recovered and last and over and (over[0] > last[1] or (whole and over[0] == last[0])):
            recovered = (recovered[0], max(over[1], recovered[1])) if run.seen[0] < last[1] else recovered
    pauses = [after.seen[0] - before.seen[1] for before, after in pairwise(runs)]
    if end - runs[-1].seen[1] <= max(pauses, default=0):
        recovered = None
    return Episode(
        _moments(onset, lag),
        _moments(recovered, lag),
        (_moment(runs[0].seen[0]), _moment(runs[-1].seen[1])),
        sum(run.calls for run in runs),
        sum(run.failed for run in runs),
    )


def _with_forerunner(found: Episode, frame: pd.DataFrame, width: int, lag: int) -> Episode:
    """The same, beginning where an endpoint began to fail before in a way that it goes on to.

    Of two faults the first may hit an endpoint that is called too seldom for a stretch of its own. What fails
    so no oftener than other calls do is noise.
    """
    if found.onset is None or not {"endpoint", "kind"} <= set(frame):
        return found
    start, end = (pd.Timestamp(moment).value for moment in (found.onset[0], found.seen[1]))
    frame, begun = frame[frame["at"] < end], list[Span]()
    fails = frame[frame["failed"] > 0].groupby(["endpoint", "kind"])["at"].agg(["min", "max", "size"])
    fails = fails[(fails["min"] < start) & (fails["max"] >= start)].nlargest(MOST_VALUES, "size")
    for endpoint, kind in fails.index:
        mine = frame["endpoint"] == endpoint
        so = only_kinds(frame, {kind: 0})
        own, others = _bins(so[mine], width), so[~mine & (so["at"] < start)]
        usual = (others["failed"].sum() + 0.5) / (others["calls"].sum() + 1.0)
        at = first_of_rise(own, start, usual, len(fails))
        if at is not None:
            begun.append((int(own.ends[at - 1]) if at else int(own.starts[0]), int(own.ends[at])))
    return replace(found, onset=_moments(min(begun), lag)) if begun else found


def _with_past(found: Episode, past: pd.DataFrame, frame: pd.DataFrame, width: int, lag: int) -> Episode:
    """The same, where the counts of before tell whether it was under way when the bins began.

    It was not if no more than noise had failed, of more calls than would all go well by chance; it was if an
    endpoint had failed and goes on from its first call. Where the share rises later than in the first bin, a
    failure in that one is noise too.
    """
    if past["calls"].sum() == 0:
        return found
    first, earlier = _firsts(frame)
    calls, failed = past["calls"].sum(), past["failed"].sum()
    by_chance = -(calls - failed) * math.log1p(-min(found.failed / found.calls, 0.999))
    quiet = failed < LEAST_SHARE * calls and by_chance >= SHORTFALL
    if quiet and (
        found.onset is None or (earlier == math.inf and found.onset[0] <= _moment(int(first) + width))
    ):
        begun = int(earlier) + width if earlier < first else int(past["at"].max())
        onset = _moments((begun, int(first) + width), lag)
        if onset and found.onset:
            onset = onset[0], max(onset[1], found.onset[1])
        return replace(found, onset=onset, proven=True)
    told = "endpoint" in frame and "endpoint" in past
    for endpoint, rows in past.groupby("endpoint") if told else [("", past)]:
        calls, failed = rows["calls"].sum(), rows["failed"].sum()
        first, earlier = _firsts(frame[frame["endpoint"] == endpoint] if told else frame)
        if failed >= AGO and failed > LEAST_SHARE * calls and first < math.inf == earlier:
            return replace(found, onset=None)
    return found


def _firsts(frame: pd.DataFrame) -> tuple[float, float]:
    """Start of the first bin with a failure, and of the last one without before it; inf: there is none."""
    bad = frame.loc[frame["failed"] > 0, "at"]
    first = bad.min() if len(bad) else math.inf
    good = frame.loc[(frame["at"] < first) & (frame["failed"] < frame["calls"]), "at"]
    return first, good.max() if len(good) else math.inf


def _moments(span: Span | None, lag: int) -> Moments | None:
    return None if span is None else (_moment(span[0] - lag), _moment(span[1]))


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC)
