"""What a question about calls is, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

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
    """

    name: str
    part: Callable[[Records, Window], Part]
    merge: Callable[[Sequence[Part]], Part]
    answer: Callable[[Part, Window], Answer]

    def ask(self, records: Records, window: Window) -> Answer:
        """Ask it of records that are all here."""
        return self.answer(self.merge([self.part(records, window)]), window)
