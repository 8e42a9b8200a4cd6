"""Intervals of shares, and of the difference between two."""

from __future__ import annotations

import math


def wilson(hits: float, tries: float, z: float = 1.96) -> tuple[float, float]:
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
    return max(0.0, (middle - spread) / (1 + weight)), min(1.0, (middle + spread) / (1 + weight))


def newcombe(
    hits: float, tries: float, other_hits: float, other_tries: float, z: float = 1.96
) -> tuple[float, float]:
    """The interval of the difference of two independent shares, by Newcombe's hybrid score method.

    Source:
        R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in
        Medicine 17 (1998), method 10; its table II gives 0.0524 to 0.3339 for 56 of 70 less 48 of 80.

    >>> low, high = newcombe(56, 70, 48, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    if not (tries and other_tries):
        return -1.0, 1.0
    one, other = hits / tries, other_hits / other_tries
    low, high = wilson(hits, tries, z)
    other_low, other_high = wilson(other_hits, other_tries, z)
    return (
        one - other - math.hypot(one - low, other_high - other),
        one - other + math.hypot(high - one, other - other_low),
    )
