"""One series of those that several servers scraped side by side.

Two servers that scrape the same processes write each series twice, told apart by a label of theirs alone. Who
asks both takes copies out, if that label is known there; where it is not, each call would count twice.

Sources:
    https://thanos.io/tip/components/query.md/#query-deduplication
    https://grafana.com/docs/mimir/latest/configure/configure-high-availability-deduplication/
    https://prometheus-operator.dev/docs/platform/high-availability/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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

_Labels = tuple[tuple[str, str], ...]
_Replicas = Mapping[_Labels, "Series"]


def without_copies(found: Mapping[str, Sequence[Series]]) -> tuple[dict[str, list[Series]], int]:
    """Of series that are copies of each other, the one that was sampled most often.

    They are not put together: where one server missed a sample, the other's may be lower than the one after,
    as if the process had begun anew. A process may have a label `replica` of its own, too: series are copies
    only if all that differ in such a label alone rise together.

    Args:
        found: Role → series.

    Returns:
        What is left, and how many series were left out.
    """
    sorted_out = {role: _by_replica(every) for role, every in found.items()}
    counts = (each for role, copies in sorted_out.items() if role != "alerts" for each in copies.values())
    pairs = [
        (replicas[name], every) for replicas in counts for name in [_fullest(replicas)]
        for other, every in replicas.items() if other != name
    ]  # fmt: skip
    if not pairs or not _rise_together(pairs):
        return {role: list(every) for role, every in found.items()}, 0
    left = {
        role: [replicas[_fullest(replicas)] for replicas in copies.values()]
        for role, copies in sorted_out.items()
    }
    return left, len(pairs)


def _by_replica(every: Sequence[Series]) -> dict[_Labels, _Replicas]:
    """Other labels → replica's labels → series."""
    copies: dict[_Labels, dict[_Labels, Series]] = defaultdict(dict)
    for each in every:
        labels = sorted(each.labels.items())
        replica = tuple(label for label in labels if label[0] in REPLICA)
        copies[tuple(label for label in labels if label[0] not in REPLICA)][replica] = each
    return dict(copies)


def _fullest(replicas: _Replicas) -> _Labels:
    """The replica with most samples; of several, the one whose name sorts first, so that all agree."""
    return min(replicas, key=lambda name: (-len(replicas[name].values), name))


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
    return between >= _ALIKE * told
