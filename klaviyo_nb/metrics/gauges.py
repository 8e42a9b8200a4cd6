"""Series that are no counters: what their samples differ by is no number of calls.

A counter rises until its process begins anew. A gauge falls as often as it rises; so does what a load
balancer gives of several processes by turns, and what short jobs push one after another.

Source:
    https://prometheus.io/docs/concepts/metric_types/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from klaviyo_nb.metrics.counters import begun_anew

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from klaviyo_nb.metrics.counters import Mask
    from klaviyo_nb.metrics.matrix import Floats, Series

#: Roles that are no counters.
_NONE = ("ratelimit_remaining", "alerts")
#: So many changes tell, if such a share of them falls; a process may begin anew at every tenth sample.
_CHANGES, _FALLS = 20, 0.25
#: How a name says that its values are a rate, or differences.
RATE = re.compile(r"[:_](i?rate|i?delta|increase)(_?\d+(ms|[smhd]))?$|_(per_(second|minute)|rps)$")


def no_counter(role: str, found: Sequence[Series]) -> str | None:
    """Why the series of one role cannot be counted; None if they can."""
    if role in _NONE or not found:
        return None
    names = sorted({each.labels.get("__name__", "") for each in found})
    if rate := next((name for name in names if RATE.search(name)), None):
        return f"{rate} is no counter, as its name says: the counter that it comes from is needed"
    falls = sum(int(np.count_nonzero(_falls(each.values))) for each in found)
    if falls < _FALLS * _CHANGES:
        return None
    changes = falls + sum(int(np.count_nonzero(each.values[1:] > each.values[:-1])) for each in found)
    if falls < _FALLS * changes:
        return None
    return (
        f"{' and '.join(names)} falls in {falls / changes:.0%} of its changes, and a counter does only when"
        " its process begins anew: is it a gauge, or are several processes read by turns?"
    )


def sums_that_fell(found: Mapping[str, Sequence[Series]]) -> str | None:
    """A sentence about series that fell by a part of what they had come to, as `begun_anew` tells."""
    counts = {
        each.labels.get("__name__", ""): None
        for role, every in found.items() if role not in _NONE
        for each in every if _falls(each.values).any() and _by_part(each.values[np.isfinite(each.values)])
    }  # fmt: skip
    if not counts:
        return None
    return (
        f"{' and '.join(counts)} fell by a part: it seems to add up processes, of which one began anew or"
        " ended. What was called in such a step is not counted"
    )


def _falls(values: Floats) -> Mask:
    return np.asarray(values[1:] < values[:-1])


def _by_part(values: Floats) -> bool:
    return bool((_falls(values) & ~begun_anew(values)[1:]).any())
