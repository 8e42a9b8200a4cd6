"""How long this incident took to detect, acknowledge, mitigate and restore: as intervals, never as a mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]

#: Kinds of notes that a duration ends with.
MILESTONES = ("detected", "acknowledged", "mitigated", "restored")


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time, known to lie between two.

    Attributes:
        at_least: The shortest it can have been.
        at_most: The longest.
        since: What it counts from, and what tells that.
        until: What it counts to, likewise.
    """

    at_least: timedelta
    at_most: timedelta
    since: str
    until: str


def durations(
    onset: Span | None,
    recovered: Span | None,
    milestones: Mapping[str, datetime],
    first_alert: datetime | None,
) -> dict[str, Duration | None]:
    """Times to detect, acknowledge, mitigate and restore; None where one of the two moments was not observed.

    Args:
        onset: When calls began to fail.
        recovered: When they stopped; used where nobody noted `restored`.
        milestones: Kind of note (`detected`, `acknowledged`, `mitigated`, `restored`) → when that was.
        first_alert: When the first alert fired; detection, where nobody noted it.
    """
    noted = {kind: ((at, at), f"{kind}, as noted") for kind, at in milestones.items()}
    begun = (onset, "onset") if onset else None
    alert = ((first_alert, first_alert), "first alert") if first_alert else None
    end = (recovered, "recovery") if recovered else None
    detected = noted.get("detected") or alert
    return {
        "MTTD": _between(begun, detected),
        "MTTA": _between(detected, noted.get("acknowledged")),
        "MTTM": _between(begun, noted.get("mitigated")),
        "MTTR": _between(begun, noted.get("restored") or end),
    }


def _between(since: tuple[Span, str] | None, until: tuple[Span, str] | None) -> Duration | None:
    """From one moment to the other; None also if the second was certainly before the first."""
    if since is None or until is None or until[0][1] < since[0][0]:
        return None
    none = timedelta(0)
    return Duration(
        max(until[0][0] - since[0][1], none), max(until[0][1] - since[0][0], none), since[1], until[1]
    )
