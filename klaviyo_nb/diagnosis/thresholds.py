"""Every number the diagnosis compares with, in one place, with unit and source.

The `[thresholds]` table of `klaviyo-nb.toml` overrides them by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from klaviyo_nb.errors import UsageError


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as failing, slow, soon.

    Attributes:
        noise_share: Share of calls failing below which nothing is wrong. Source: the runbook's alert, > 5 %.
        noise_failures: Failures below which nothing is wrong, whatever their share.
        last_part_s: Length of the window's last part, which says how things are now [s].
        last_part_calls: Calls it must hold to say so.
        overrule_successes: Successful calls in it that overrule a refused probe.
        nearly_all_share: Share of calls failing from which "nearly every call fails".
        slow_p95_s: p95 of durations above which calls are slow [s]. Source: the runbook's latency alert.
        slow_factor: Times the quiet part's p95 that it must exceed as well.
        certificate_days: Days left on a certificate below which it is worth saying.
        clock_skew_s: Difference of clocks above which it is worth saying [s].
        revision_days: Days to a revision's retirement below which it is worth saying.
        watch_s: How far back a round of `triage --watch` looks [s].
        good_rounds: Good rounds in a row after which `triage --watch` announces the recovery.
    """

    noise_share: float = 0.05
    noise_failures: int = 5
    last_part_s: float = 900.0
    last_part_calls: int = 10
    overrule_successes: int = 20
    nearly_all_share: float = 0.9
    slow_p95_s: float = 3.0
    slow_factor: float = 2.0
    certificate_days: float = 14.0
    clock_skew_s: float = 30.0
    revision_days: float = 90.0
    watch_s: float = 300.0
    good_rounds: int = 5


def from_table(table: Mapping[str, Any]) -> Thresholds:
    """Defaults with the values of `table` in their place.

    Raises:
        UsageError: A name is not known, or a value is not a positive number.
    """
    known: dict[str, type] = {field.name: type(field.default) for field in fields(Thresholds)}
    for name, value in table.items():
        where = f"klaviyo-nb.toml: thresholds.{name}"
        if name not in known:
            raise UsageError(where, "no such threshold", f"use one of: {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(
                where, f"{value!r} is not a positive number", f"{name} = {getattr(Thresholds, name, 1)}"
            )
    return Thresholds(**{name: known[name](value) for name, value in table.items()})
