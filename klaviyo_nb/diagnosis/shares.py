"""Is a share of failing calls more than background noise? At low traffic a bare ratio cannot tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.thresholds import Thresholds


def is_noise(failed: float, calls: float, limits: Thresholds) -> bool:
    """Is this background noise by its bare numbers: too few failures, or too small a share?"""
    return failed < limits.noise_failures or failed < limits.noise_share * calls


def is_failing(failed: float, calls: float, quiet_share: float, limits: Thresholds) -> bool:
    """Is this more than background noise?

    At least `noise_failures` and `noise_share`, and surely more than the quiet part of the window: the lower
    end of the Wilson interval lies above its share.
    """
    return not is_noise(failed, calls, limits) and wilson(failed, calls, limits.sure_z)[0] > quiet_share


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
    return (middle - spread) / (1 + weight), (middle + spread) / (1 + weight)
