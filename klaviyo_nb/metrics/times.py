"""A moment as several sources tell it: each estimate kept, and what is believed of them.

Estimates that overlap agree: the first is believed, logs before metrics. Where they do not, their clocks or
what they count differ, and nobody can tell which is right: then all the time from the first to the last is
told, with a sentence. Nothing is averaged. What a person wrote down stands above all of them, and the derived
interval stays beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from klaviyo_nb.window import iso

Source = Literal["logs", "metrics", "probes"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """When it was, by one source.

    Attributes:
        source: Whose.
        earliest: None if it does not bound it from below.
        latest: None if it does not bound it from above.
        because: What in the source tells it.
    """

    source: Source
    earliest: datetime | None
    latest: datetime | None
    because: str

    @property
    def whole(self) -> tuple[datetime, datetime] | None:
        """Both bounds, if it has both."""
        return (self.earliest, self.latest) if self.earliest and self.latest else None


@dataclass(frozen=True, slots=True)
class Written:
    """What a person wrote down of a moment: when it was, who says so, when they wrote it, and why."""

    at: datetime
    who: str | None
    written_at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When it was.

    Attributes:
        earliest: At the earliest.
        latest: At the latest.
        estimates: What each source says of it.
        disagreement: A sentence, if two of them exclude each other.
        written: What a person wrote instead; the interval is then theirs.
        derived: The interval that the estimates give; None if they give none.
    """

    earliest: datetime
    latest: datetime
    estimates: tuple[Estimate, ...] = ()
    disagreement: str | None = None
    written: Written | None = None
    derived: tuple[datetime, datetime] | None = None


def combined(
    estimates: Iterable[Estimate], written: Written | None = None, spanning: bool = False
) -> Moment | None:
    """What is believed of a moment, from estimates in the order of trust; all of them together if `spanning`.

    Returns:
        None if no estimate has both bounds and nobody wrote it down.
    """
    known = tuple(estimates)
    spans = [each.whole for each in known if each.whole]
    derived, disagreement = None, None
    if spans:
        derived = spans[0]
        apart = max(first for first, _ in spans) > min(last for _, last in spans)
        if apart or spanning:
            derived = min(first for first, _ in spans), max(last for _, last in spans)
        if apart:
            told = (f"{each.source} {_clock(*each.whole)}" for each in known if each.whole)
            disagreement = f"the estimates exclude each other: {'; '.join(told)}"
    if written:
        return Moment(written.at, written.at, known, disagreement, written, derived)
    return Moment(*derived, known, disagreement, None, derived) if derived else None


def _clock(first: datetime, last: datetime) -> str:
    return f"{iso(first)} to {iso(last)}"
