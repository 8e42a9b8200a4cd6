"""One series of those that were scraped side by side.

Two servers that scrape the same processes write each series twice, told apart by a label of theirs alone;
so does one server with two jobs that find the same processes. Who asks two servers takes copies out, if that
label is known there; where it is not, each call would count twice.

Sources:
    https://thanos.io/tip/components/query.md/#query-deduplication
    https://grafana.com/docs/mimir/latest/configure/configure-high-availability-deduplication/
    https://prometheus-operator.dev/docs/platform/high-availability/
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from klaviyo_nb.metrics.matrix import Series

#: Labels that tell such servers apart.
REPLICA = ("prometheus_replica", "replica", "__replica__", "receive_replica", "rule_replica")
#: Copies are sampled less than a step apart, and one sample may be missing.
_APART = 2
#: Share of the samples of copies that lie between their neighbours in the other: a restart spoils a few.
_ALIKE = 0.95
#: Share of the samples of the fullest copy that another one has to have, to be kept instead.
_FULL = 0.9
#: Labels that a server makes of its own configuration: two jobs that find the same process give two series
#: that have `instance` in common.
JOB = ("job", "namespace", "pod", "container", "service", "node")

_Labels = tuple[tuple[str, str], ...]
_Replicas = Mapping[_Labels, "Series"]


def without_copies(found: Mapping[str, Sequence[Series]]) -> tuple[dict[str, list[Series]], int]:
    """Of series that are copies of each other, one that was sampled most often.

    They are not put together: where one server missed a sample, the other's may be lower than the one after,
    as if the process had begun anew. A process may have a label `replica` of its own, too: series are copies
    only if all that differ in such a label alone, and were sampled in the same time, rise together.

    Args:
        found: Role → series.

    Returns:
        What is left, and how many series were left out.
    """
    left, out = {role: list(every) for role, every in found.items()}, 0
    for apart, common in ((REPLICA, ()), (JOB, ("instance",))):
        counters = [each for role, every in left.items() if role != "alerts" for each in every]
        pairs = list(_pairs(_by_replica(counters, apart, common)))
        if pairs and _rise_together(pairs):
            copies = {id(each) for _, each in pairs}
            left = {role: [each for each in every if id(each) not in copies] for role, every in left.items()}
            out += len(copies)
    return left, out


def _pairs(groups: Sequence[_Replicas]) -> Iterator[tuple[Series, Series]]:
    """The series to keep and one that may be a copy of it; all of a process from the same replica, if it can.

    Else a counter that its process made later would seem to be of another process.
    """
    samples: Counter[_Labels] = Counter()
    for replicas in groups:
        samples.update({name: len(each.values) for name, each in replicas.items()})
    for replicas in groups:
        enough = _FULL * max(len(each.values) for each in replicas.values())
        full = [name for name, each in replicas.items() if len(each.values) >= enough]
        kept = replicas[min(full, key=lambda name: (-samples[name], name))]
        yield from ((kept, each) for each in replicas.values() if each is not kept and _same_time(kept, each))


def _by_replica(every: Sequence[Series], apart: Sequence[str], common: Sequence[str]) -> Sequence[_Replicas]:
    """Replica's labels → series, of each set of other labels; of the series that have the labels `common`."""
    copies: dict[_Labels, dict[_Labels, Series]] = defaultdict(dict)
    for each in every:
        if all(label in each.labels for label in common):
            labels = sorted(each.labels.items())
            replica = tuple(label for label in labels if label[0] in apart)
            copies[tuple(label for label in labels if label[0] not in apart)][replica] = each
    return [*copies.values()]


def _same_time(one: Series, other: Series) -> bool:
    """Was most of the second sampled while the first was? Else it may have come in its place."""
    return 2 * len(np.intersect1d(one.times, other.times, assume_unique=True)) >= len(other.times)


def _rise_together(pairs: Sequence[tuple[Series, Series]]) -> bool:
    """Do samples of one lie between their neighbours in the other? Of counters that stand nothing is told."""
    told = between = 0
    for one, other in pairs:
        _, at, own_at = np.intersect1d(one.times, other.times, assume_unique=True, return_indices=True)
        if len(at) <= 2 * _APART:
            continue
        around = np.lib.stride_tricks.sliding_window_view(one.values[at], 2 * _APART + 1)
        least, most, middle = around.min(axis=1), around.max(axis=1), other.values[own_at][_APART:-_APART]
        moves = (most > least) | (middle != least)
        told += int(moves.sum())
        between += int((moves & (least <= middle) & (middle <= most)).sum())
    return 0 < told * _ALIKE <= between
