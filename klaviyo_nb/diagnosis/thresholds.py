"""Every number the diagnosis compares with, in one place, with unit and source.

The `[thresholds]` table of `klaviyo-nb.toml` overrides them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import inf
from typing import Any

from klaviyo_nb.errors import UsageError
from klaviyo_nb.window import Window


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as failing, slow, soon.

    Attributes:
        noise_share: Share of calls failing below which nothing is wrong [1]. Source: the runbook's alert on
            errors, above 5 %.
        noise_failures: Failures below which nothing is wrong, whatever their share [calls]. Source: the
            contract; with four of them no share can be told from noise.
        sure_z: Half width of the Wilson intervals that shares are compared by [standard deviations].
            Source: two-sided 99 %; a window holds eight slices, and each may look unlucky.
        last_part_s: Length of the window's last part, which says how things are now [s]. Source: likewise.
        last_part_calls: Calls it must hold to say so [calls]. Source: the contract.
        overrule_successes: Successful calls in it that overrule a refused probe [calls]. Source: likewise.
        nearly_all_share: Share of calls failing from which "nearly every call fails" [1]. Source: the
            runbook's P1, "complete outage"; the tenth left covers calls that began before it, and retries.
        slow_p95_s: p95 of durations above which calls are slow [s]. Source: the runbook's latency alert.
        slow_factor: Times the quiet part's p95 that it must exceed as well [1]. Source: ours; slow all
            day long is no incident of now.
        silence_slice: Webhooks that each earlier slice must have brought before silence in the last part
            means anything [deliveries]. Source: at 5 expected, none comes by chance once in 150 times.
        certificate_days: Days left on a certificate below which it is worth saying [days]. Source: ours;
            certificates that renew themselves do so 30 days before their end.
        clock_skew_s: Difference of clocks above which it is worth saying [s]. Source: ours; onsets are told
            to the minute.
        revision_days: Days to a revision's retirement below which it is worth saying [days]. Source: ours; a
            quarter, Klaviyo's pace of revisions.
        watch_s: How far back a round of `triage --watch` looks [s]. Source: ours.
        good_rounds: Good rounds in a row after which `triage --watch` says it is over [rounds]. Source: ours.
        endless_call_s: A call that took longer had no time limit [s]. Source: ours; Klaviyo's SDKs set
            no limit, and who sets one rarely allows more than a minute.
    """

    noise_share: float = 0.05
    noise_failures: int = 5
    sure_z: float = 2.576
    last_part_s: float = 900.0
    last_part_calls: int = 10
    overrule_successes: int = 20
    nearly_all_share: float = 0.9
    slow_p95_s: float = 3.0
    slow_factor: float = 2.0
    silence_slice: int = 5
    certificate_days: float = 14.0
    clock_skew_s: float = 30.0
    revision_days: float = 90.0
    watch_s: float = 300.0
    good_rounds: int = 5
    endless_call_s: float = 90.0

    def last_part(self, window: Window) -> Window:
        """The end of the window, which says how things are now."""
        return Window(max(window.start, window.end - timedelta(seconds=self.last_part_s)), window.end)


def from_table(table: Mapping[str, Any]) -> Thresholds:
    """Defaults with the values of `table` in their place.

    Raises:
        UsageError: A name is not known, or a value is no number above 0, or more than 1 of a share, or no
            whole number of what is counted.
    """
    usual = asdict(Thresholds())
    for name, value in table.items():
        where = f"klaviyo-nb.toml: thresholds.{name}"
        if name not in usual:
            raise UsageError(where, "no such threshold", f"use one of: {', '.join(usual)}")
        wanted, fits = _wanted(name, usual[name])
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value < inf and fits(value)):
            raise UsageError(where, f"{value!r} is not {wanted}", f"{name} = {usual[name]}")
    return Thresholds(**{name: type(usual[name])(value) for name, value in table.items()})


def _wanted(name: str, usual: float) -> tuple[str, Callable[[float], bool]]:
    """What a value above 0 must be besides, in words and as a test."""
    if isinstance(usual, int):
        return "a whole number above 0", lambda value: value == int(value)
    if name.endswith("_share"):
        return "a share above 0 and at most 1", lambda value: value <= 1
    return "a number above 0", lambda _: True
