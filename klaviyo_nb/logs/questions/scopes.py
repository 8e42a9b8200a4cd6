"""Which scopes do the refused calls need, and which has the key been seen to have?

A call that Klaviyo's application answered with 403 was refused for a missing scope, or for a plan or feature;
one that worked shows that the key has the scopes of its operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import ANSWER, failure_kinds
from klaviyo_nb.logs.questions.operations import places, places_of
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.tallies import grouped, summed

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

_COLUMNS = ("method", "endpoint", "refused", "worked", "needs", "seen", "lacks")


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        calls: How many there are.
        places: Index of a place → calls refused with 403, calls that worked.
    """

    calls: int
    places: Mapping[int, tuple[int, ...]]

    @property
    def unknown(self) -> int:
        """Refused calls of which the catalogue does not tell the operation."""
        return sum(refused for number, (refused, _) in self.places.items() if not places()[number].endpoint)


def part(records: Records, window: Window) -> Part:
    """Count refused and working calls by operation."""
    calls = records.calls
    found = grouped({"place": places_of(calls)} | {name: calls[name] for name in ANSWER})
    refused = found["calls"].where(failure_kinds(found) == "forbidden", 0)
    worked = found["calls"].where(found["status_code"].between(200, 399), 0)
    told = zip(found["place"].tolist(), refused.tolist(), worked.tolist(), strict=True)
    counts = summed({place: (bad, good)} for place, bad, good in told if bad or good)
    return Part(len(records.calls), counts)


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    return Part(sum(each.calls for each in parts), summed(each.places for each in parts))


def answer(told: Part, window: Window) -> Answer:
    """The operations that were refused, most refused first."""
    rows = _rows(told)
    covers = ["Another key with other scopes may have made the calls that worked: --by worker, --by host."]
    if told.unknown:
        covers.append(f"{told.unknown:,} refused calls are of no operation that the catalogue knows.")
    return Answer("scopes", _says(told, rows), rows, tuple(covers) if told.unknown or len(rows) else ())


def scopes(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Operations that were refused with 403, with the scopes they need.

    Args:
        calls: CALLS frame.
        window: Asked about.

    Returns:
        `method`, `endpoint`, `refused`, `worked` [calls], `needs`, `seen` (of those, used by calls that
        worked), `lacks` (the others); scopes separated by commas, missing if there are none.
    """
    return QUESTION.ask(of_calls(calls), window).rows


def _rows(told: Part) -> pd.DataFrame:
    known = [
        (endpoint, refused, worked)
        for number, (refused, worked) in told.places.items()
        if (endpoint := places()[number].endpoint)
    ]
    seen = {scope for each, _, worked in known if worked for scope in each.scopes}
    rows = []
    for each, refused, worked in known:
        lacks = [scope for scope in each.scopes if scope not in seen]
        scopes_ = (each.scopes, [scope for scope in each.scopes if scope in seen], lacks)
        if refused:
            said = [", ".join(names) or None for names in scopes_]
            rows.append((each.method, each.path, refused, worked, *said))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame = frame.astype({name: "str" for name in _COLUMNS if name not in ("refused", "worked")})
    order = ["refused", "endpoint", "method"]
    return frame.sort_values(order, ascending=[False, True, True], ignore_index=True)


def _says(told: Part, rows: pd.DataFrame) -> str:
    if not told.calls:
        return "Cannot tell: no call was found."
    if rows.empty and not told.unknown:
        return f"None of {many(told.calls, 'call')} was refused with 403 by Klaviyo's application."
    refused = int(rows["refused"].sum()) + told.unknown
    said = f"{refused:,} of {told.calls:,} calls were refused with 403"
    lacks = sorted({each for text in rows["lacks"].dropna() for each in text.split(", ")})
    if lacks:
        return f"{said}; they need {', '.join(lacks)}, which no call that worked has used."
    if rows.empty:
        return f"{said}, of operations that the catalogue does not know: cannot tell which scopes they need."
    return f"{said}, but calls that worked used every scope they need: look at plan, feature, another key."


QUESTION = Question("scopes", part, merge, answer)
