"""What a question about calls is, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from klaviyo_nb.frames import WEBHOOKS

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.window import Window

Part = TypeVar("Part")


class Records(NamedTuple):
    """What was read out of logs, or out of a part of them.

    Attributes:
        calls: CALLS frame.
        webhooks: WEBHOOKS frame.
    """

    calls: pd.DataFrame
    webhooks: pd.DataFrame

    def inside(self, window: Window) -> Records:
        """Without rows outside the window; those without a time stay."""
        return Records(*(_inside(frame, window) for frame in self))


def of_calls(calls: pd.DataFrame) -> Records:
    """Records of a log that tells of no webhooks."""
    return Records(calls, WEBHOOKS.empty())


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question gave.

    Attributes:
        ask: Its name.
        says: The answer in one sentence, or that the logs cannot tell, and why.
        rows: What stands behind it; empty if nothing was found.
        covers: What the answer does not cover, one short sentence each: rows without a time, what a bound cut
            off, columns the logs do not carry.
    """

    ask: str
    says: str
    rows: pd.DataFrame
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question(Generic[Part]):
    """A question that can be asked of parts of a log, wherever they are read.

    Attributes:
        name: What `--ask` calls it.
        part: Records of a part and the window → what they tell: small, picklable.
        merge: What several parts tell, in any order and grouping, is what the whole tells.
        answer: What the whole tells → the answer.
        placed: What a part tells, and the lines of its source before it (None: nobody knows) → the same, with
            `line_no` counted from the beginning of the source. Parts are read side by side, so `part` sees
            lines counted from the beginning of the part. Only for questions that cite lines.
    """

    name: str
    part: Callable[[Records, Window], Part]
    merge: Callable[[Sequence[Part]], Part]
    answer: Callable[[Part, Window], Answer]
    placed: Callable[[Part, int | None], Part] | None = None

    def ask(self, records: Records, window: Window) -> Answer:
        """Ask it of records that are all here; rows outside the window are left out, and that is said."""
        inside = records.inside(window)
        found = self.answer(self.merge([self.part(inside, window)]), window)
        left = sum(map(len, records)) - sum(map(len, inside))
        if not left:
            return found
        return replace(found, covers=(*found.covers, f"Rows outside the window are left out: {left:,}."))


def _inside(frame: pd.DataFrame, window: Window) -> pd.DataFrame:
    """The rows in the window, and those without a time."""
    outside = (frame["timestamp"] < window.start) | (frame["timestamp"] >= window.end)
    return frame[~outside] if outside.any() else frame
