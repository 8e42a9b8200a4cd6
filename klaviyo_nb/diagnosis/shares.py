"""Is a share of failing calls more than background noise? At low traffic a bare ratio cannot tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klaviyo_nb.intervals import wilson

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
