"""Which calls a trouble concerns: of which endpoints and hosts, and by which kinds of failure.

A fault that hits one endpoint in ten is hidden in the sum of all: so `parts_of` gives the calls of each by
itself, and `concern_of` those that what was found is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.metrics.changes import LEAST_FAILURES, LEAST_SHARE, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas.api.typing import DataFrameGroupBy

    Mask = NDArray[np.bool_]

#: What calls are told apart by, and how many values of each are looked at: those with most failures.
LABELS, MOST_VALUES = ("endpoint", "host", "kind"), 12
#: A kind of failure belongs to an episode if it is so many times as frequent as outside; so does an endpoint
#: or host, if its share of failures is also at least this part of the worst one's.
MORE_OFTEN, PART_OF_WORST = 2.0, 0.2
#: A label is of no use if more than this share of failures has values that no success has.
SELDOM = 0.2
#: Largest distance from an even spread, times the root of the number, that comes by chance 95 times in 100.
STEADY = 1.36


def usable(counts: pd.DataFrame) -> pd.DataFrame:
    """Rows that say something: `at` [ns], `calls`, `failed`, and the labels that there are."""
    calls = counts["calls"].to_numpy(dtype=float, na_value=np.nan)
    failed = counts["failed"].to_numpy(dtype=float, na_value=np.nan)
    at = nanoseconds(counts["timestamp"])
    frame = pd.DataFrame({"at": at, "calls": calls, "failed": np.minimum(failed, calls)})
    for label in LABELS:
        if label in counts:
            frame[label] = counts[label].astype("str").fillna("").to_numpy()
    kept = np.isfinite(calls) & np.isfinite(failed) & (calls > 1e-6) & (failed >= 0)
    told: pd.DataFrame = frame[kept].sort_values("at", kind="stable", ignore_index=True)
    return told


def comparable(frame: pd.DataFrame, past: pd.DataFrame | None) -> pd.DataFrame:
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


def nanoseconds(moments: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    """Since the epoch."""
    return moments.to_numpy(dtype="datetime64[ns]").view(np.int64)


def parts_of(frame: pd.DataFrame) -> Iterator[tuple[str | None, str, pd.DataFrame]]:
    """Label, value, calls: all of them, and those of each endpoint, host and kind with failures enough."""
    if frame["failed"].sum() < LEAST_FAILURES:
        return
    yield None, "", frame
    for label in LABELS:
        if label in frame:
            sums = frame.groupby(label)["failed"].sum()
            worst = sums[(sums >= LEAST_FAILURES) & (sums.index != "")].nlargest(MOST_VALUES)
            for value in worst.index if len(sums) > 1 else ():
                own = only_kinds(frame, {value: 0}) if label == "kind" else frame[frame[label] == value]
                yield label, value, own


def only_kinds(frame: pd.DataFrame, kinds: Mapping[str, int]) -> pd.DataFrame:
    """The same calls, of which only these kinds count as failed, each from a moment on [ns]."""
    counts = frame["at"] >= frame["kind"].map(kinds)  # no other kind is later than anything
    return frame.assign(failed=frame["failed"].where(counts, 0.0))


@dataclass(frozen=True, slots=True)
class Concern:
    """What the trouble of a span concerns; a label that is absent, or None, is all of it.

    Of several kinds each counts since it began, or since the first of them did, if it was seen to: before, it
    may have been noise.
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
            frame = only_kinds(frame, self.kinds)
        for label in self.values.keys() & set(frame):
            frame = frame[frame[label].isin(self.values[label])]
        return frame


def concern_of(frame: pd.DataFrame, span: Span, own: Mapping[str, int]) -> Concern:
    """What the trouble of a span concerns; `own`: kinds that were seen to begin or to end, and since when."""
    inside = ((frame["at"] >= span[0]) & (frame["at"] < span[1])).to_numpy()
    concern = Concern(None, {})
    if "kind" in frame:
        within, other = frame[inside], frame[~inside]
        often = within.groupby("kind")["failed"].sum() / within["calls"].sum()
        usual = (other.groupby("kind")["failed"].sum() + 0.5) / (other["calls"].sum() + 1.0)
        kinds = often[often > MORE_OFTEN * usual.reindex(often.index).fillna(0.0)]
        if not len(other) and often[often.index.isin(own)].sum() > often.sum() / 2:
            kinds = often[often.index.isin(own)]  # nothing lies outside: those with a stretch of their own
        if len(kinds):
            began = {kind: own[kind] for kind in kinds.index if kind in own}
            first = min(began.values(), default=0)
            since = {kind: began.get(kind, first) for kind in kinds.index}
            concern = Concern({kind: 0 if began.get(kind) == first else at for kind, at in since.items()}, {})
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
