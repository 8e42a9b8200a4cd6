"""When did calls begin to fail, and when did they stop? Answered from counts per bin, as intervals.

A fault that hits one endpoint in ten is hidden in the sum of all. So each endpoint, each host and each kind
of failure is looked at by itself as well, and the borders of what is found are placed on the calls that it
concerns: failures of its kinds, on its endpoints and hosts. `changes` finds the borders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.metrics.changes import (
    LEAST_FAILURES,
    LEAST_SHARE,
    Bins,
    Run,
    Span,
    failing_runs,
    first_of_rise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas.api.typing import DataFrameGroupBy

    Mask = NDArray[np.bool_]

Moments = tuple[datetime, datetime]

#: Stretches that are less apart belong to one episode, because faults come and go [ns].
PAUSE = 5 * 60 * 10**9
#: What calls are told apart by, and how many values of each are looked at: those with most failures.
LABELS, MOST_VALUES = ("endpoint", "host", "kind"), 12
#: A kind of failure belongs to an episode if it is so many times as frequent as outside; so does an endpoint
#: or host, if its share of failures is also at least this part of the worst one's.
MORE_OFTEN, PART_OF_WORST = 2.0, 0.2
#: So many failures of an endpoint before the bins begin are not chance, if it goes on failing.
AGO = 3
#: A label is of no use if more than this share of failures has values that no success has.
SELDOM = 0.2
#: Largest distance from an even spread, times the root of the number, that comes by chance 95 times in 100.
STEADY = 1.36


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
    past = _usable(before) if before is not None else None
    frame = _comparable(_usable(counts), past)
    parts = list(_parts(frame))
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
        concern = _concern(around, span, kinds)
        concerned = concern.of(around)
        alone = len(parts) == 1 and concerned.equals(frame)  # those bins were cut already
        runs = [run for *_, run in seen] if alone else failing_runs(_bins(concerned, width))
        some = [_episode(*placed, own, end, lag) for placed in _placed(concerned, runs)]
        if some:
            known = around if past is None or former else pd.concat([past, around])
            some[0] = _with_forerunner(some[0], known, width, lag)
        if some and former is None and past is not None:
            some[0] = _with_past(some[0], concern.of(past), concerned, width, lag)
        found += [replace(each, concerns=concern.named()) for each in some]
    return found


def _usable(counts: pd.DataFrame) -> pd.DataFrame:
    """Rows that say something: `at` [ns], `calls`, `failed`, and the labels that there are."""
    calls = counts["calls"].to_numpy(dtype=float, na_value=np.nan)
    failed = counts["failed"].to_numpy(dtype=float, na_value=np.nan)
    at = _nanoseconds(counts["timestamp"])
    frame = pd.DataFrame({"at": at, "calls": calls, "failed": np.minimum(failed, calls)})
    for label in LABELS:
        if label in counts:
            frame[label] = counts[label].astype("str").fillna("").to_numpy()
    kept = np.isfinite(calls) & np.isfinite(failed) & (calls > 1e-6) & (failed >= 0)
    usable: pd.DataFrame = frame[kept].sort_values("at", kind="stable", ignore_index=True)
    return usable


def _comparable(frame: pd.DataFrame, past: pd.DataFrame | None) -> pd.DataFrame:
    """Without labels that failures have and successes have not, and without failures that are chatter.

    Chatter names no endpoint, as nothing that succeeds does, and comes all the time.
    """
    if "endpoint" in frame:
        strange = frame["endpoint"] == ""
        failing_only = (frame["failed"] >= frame["calls"])[strange].all()
        if strange.any() and not strange.all() and failing_only and _steady(frame, strange.to_numpy()):
            frame = frame[~strange]
    for label in ("endpoint", "host"):
        if label in frame:
            every = frame if past is None or label not in past else pd.concat([past, frame])
            sums = every.groupby(label)[["calls", "failed"]].sum()
            alone = sums["failed"] >= sums["calls"]
            if sums.loc[alone, "failed"].sum() > SELDOM * sums["failed"].sum():
                frame = frame.drop(columns=label)
    return frame


def _steady(frame: pd.DataFrame, rows: Mask) -> bool:
    """Are these rows spread evenly over time, by the test of Kolmogorov and Smirnov?"""
    at = frame["at"].to_numpy()
    place = (at[rows] - at[0]) / max(at[-1] - at[0], 1)
    distance = np.abs(place - (np.arange(len(place)) + 0.5) / len(place)).max()
    return bool(distance < STEADY / len(place) ** 0.5)


def _nanoseconds(moments: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    return moments.to_numpy(dtype="datetime64[ns]").view(np.int64)


def _width(counts: pd.DataFrame) -> int:
    apart = np.diff(np.unique(_nanoseconds(counts["timestamp"])))
    return int(apart.min()) if len(apart) else 0


def _bins(frame: pd.DataFrame, width: int) -> Bins:
    at = frame["at"].to_numpy()
    first = np.flatnonzero(np.diff(at, prepend=-1))
    calls, failed = (np.add.reduceat(frame[name].to_numpy(), first) for name in ("calls", "failed"))
    return Bins(calls, failed, at[first], width)


def _parts(frame: pd.DataFrame) -> Iterator[tuple[str | None, str, pd.DataFrame]]:
    """Label, value, calls: all of them, and those of each endpoint, host and kind with failures enough."""
    if frame["failed"].sum() < LEAST_FAILURES:
        return
    yield None, "", frame
    for label in LABELS:
        if label in frame:
            sums = frame.groupby(label)["failed"].sum()
            worst = sums[(sums >= LEAST_FAILURES) & (sums.index != "")].nlargest(MOST_VALUES)
            for value in worst.index if len(sums) > 1 else ():
                own = _only_kinds(frame, {value: 0}) if label == "kind" else frame[frame[label] == value]
                yield label, value, own


def _only_kinds(frame: pd.DataFrame, kinds: Mapping[str, int]) -> pd.DataFrame:
    """The same calls, of which only these kinds count as failed, each from a moment on [ns]."""
    counts = frame["at"] >= frame["kind"].map(kinds)  # no other kind is later than anything
    return frame.assign(failed=frame["failed"].where(counts, 0.0))


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


def _placed(concerned: pd.DataFrame, runs: Iterable[Run]) -> Iterator[tuple[list[Run], int]]:
    """The stretches of one span, seen by the calls that it concerns, and when the first of those failed.

    Runs of one stretch belong together.
    """
    bad, group = concerned.loc[concerned["failed"] > 0, "at"].to_numpy(), list[Run]()
    for run in [*runs, None]:
        if group and (run is None or run.seen[0] >= group[-1].seen[1] + PAUSE):
            yield group, int(bad[np.searchsorted(bad, group[0].seen[0])])
            group = []
        if run:
            group.append(run)


@dataclass(frozen=True, slots=True)
class _Concern:
    """What the trouble of a span concerns; a label that is absent, or None, is all of it.

    Of several kinds each counts since it began, if it was seen to: before, it may have been noise.
    """

    kinds: Mapping[str, int] | None
    values: dict[str, list[str]]

    def named(self) -> dict[str, tuple[str, ...]]:
        """As `Episode.concerns`."""
        kinds = {} if self.kinds is None else {"kind": tuple(self.kinds)}
        return kinds | {label: tuple(values) for label, values in self.values.items()}

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Its calls; failures of other kinds count as no failures."""
        if self.kinds is not None and "kind" in frame:
            frame = _only_kinds(frame, self.kinds)
        for label in self.values.keys() & set(frame):
            frame = frame[frame[label].isin(self.values[label])]
        return frame


def _concern(frame: pd.DataFrame, span: Span, own: Mapping[str, int]) -> _Concern:
    """What the trouble of a span concerns; `own`: kinds that were seen to begin or to end, and since when."""
    inside = ((frame["at"] >= span[0]) & (frame["at"] < span[1])).to_numpy()
    concern = _Concern(None, {})
    if "kind" in frame:
        within, other = frame[inside], frame[~inside]
        often = within.groupby("kind")["failed"].sum() / within["calls"].sum()
        usual = (other.groupby("kind")["failed"].sum() + 0.5) / (other["calls"].sum() + 1.0)
        kinds = often[often > MORE_OFTEN * usual.reindex(often.index).fillna(0.0)]
        if not len(other) and often[often.index.isin(own)].sum() > often.sum() / 2:
            kinds = often[often.index.isin(own)]  # nothing lies outside: those with a stretch of their own
        if len(kinds):
            since = [own.get(kind, 0) for kind in kinds.index]
            since = [0 if at == min(since) else at for at in since]
            concern = _Concern(dict(zip(kinds.index, since, strict=True)), {})
    frame = concern.of(frame)
    for label in ("endpoint", "host"):
        if label in frame:
            during, before = (_share(frame[part].groupby(label)) for part in (inside, ~inside))
            worse = during[during > MORE_OFTEN * before.reindex(during.index).fillna(0.0)]
            if len(worse):
                touched = worse.index[worse >= max(LEAST_SHARE, PART_OF_WORST * worse.max())]
                concern.values[label] = list(touched)
                kept = frame[label].isin(touched).to_numpy()
                frame, inside = frame[kept], inside[kept]
    return concern


def _share(groups: DataFrameGroupBy[Any, Any]) -> pd.Series[float]:
    """Share of calls that failed, drawn towards none where few were made."""
    sums = groups[["calls", "failed"]].sum()
    return sums["failed"] / (sums["calls"] + 1.0)


def _episode(
    runs: list[Run], failed_at: int, own: list[tuple[str | None, Run]], end: int, lag: int
) -> Episode:
    """Put together; a later end that all calls, an endpoint or a kind show is possible.

    What is seldom seen is vague: the end of an endpoint or kind counts where it excludes that of all.
    What paused before for as long as nothing has failed by the `end` of the bins is not over.
    """
    first, last = runs[0].onset, runs[-1].recovered
    if first is None:  # too few succeeded before, of those that it concerns
        spans = [run.onset for _, run in own if run.onset and run.onset[0] <= failed_at <= run.onset[1]]
        first = min(spans, default=None)
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
        so = _only_kinds(frame, {kind: 0})
        own, others = _bins(so[mine], width), so[~mine & (so["at"] < start)]
        usual = (others["failed"].sum() + 0.5) / (others["calls"].sum() + 1.0)
        at = first_of_rise(own, start, usual, len(fails))
        if at is not None:
            begun.append((int(own.ends[at - 1]) if at else int(own.starts[0]), int(own.ends[at])))
    return replace(found, onset=_moments(min(begun), lag)) if begun else found


def _with_past(found: Episode, past: pd.DataFrame, frame: pd.DataFrame, width: int, lag: int) -> Episode:
    """The same, where the counts of before tell whether it was under way when the bins began.

    It was not if no more than noise had failed; it was if an endpoint had failed and goes on from its first
    call. Where the share rises later than in the first bin, a failure in that one is noise too.
    """
    if past["calls"].sum() == 0:
        return found
    first, earlier = _firsts(frame)
    quiet = past["failed"].sum() < LEAST_SHARE * past["calls"].sum()
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
