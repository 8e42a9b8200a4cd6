"""Which API revisions are asked for, and when does each retire?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from klaviyo_nb.klaviyo.revisions import state, well_formed
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import ANSWER, failure_kinds
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.tallies import fewest, grouped, summed

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

_COLUMNS = ("revision", "calls", "failed", "state", "retires", "days_left")
#: Distinct names that are kept, far more than there are revisions; and what stands for all others.
MOST, OTHERS = 200, "(others)"
_UNTOLD = ""


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        revisions: Name → calls, failed calls.
        untold: Calls whose revision the log does not tell.
    """

    revisions: Mapping[str, tuple[int, ...]]
    untold: int


def part(records: Records, window: Window) -> Part:
    """Count calls by revision."""
    found = grouped({name: records.calls[name] for name in ("revision", *ANSWER)})
    failed = found["calls"].where(failure_kinds(found).notna(), 0)
    told = zip(found["revision"].tolist(), found["calls"].tolist(), failed.tolist(), strict=True)
    counts = summed({_name(revision): (calls, bad)} for revision, calls, bad in told)
    untold, _ = counts.pop(_UNTOLD, (0, 0))
    return Part(fewest(counts, MOST, OTHERS), untold)


def _name(revision: Any) -> str:
    if not isinstance(revision, str):
        return _UNTOLD
    return revision if well_formed(revision) else OTHERS


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    found = summed(each.revisions for each in parts)
    return Part(fewest(found, MOST, OTHERS), sum(each.untold for each in parts))


def answer(told: Part, window: Window) -> Answer:
    """The revisions, the one that retires first on top; their state on the last day of the window."""
    rows = _rows(told, window)
    untold = told.untold if len(rows) else 0  # else the sentence says so
    covers = [f"{untold:,} calls do not tell their revision."] if untold else []
    if OTHERS in told.revisions:
        covers.append(
            "Calls with a name that is no revision, or beyond the first 200 names, are counted together."
        )
    return Answer("revisions", _says(told, rows), rows, tuple(covers))


def revisions(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Revisions that calls asked for.

    Args:
        calls: CALLS frame.
        window: Its last day is the one that `state` and `days_left` are of.

    Returns:
        `revision`, `calls`, `failed`, `state` (stable, deprecated, retired, beta, unknown), `retires` (the
        first day, ISO 8601; missing if it is not known), `days_left` (until then; negative after it).
    """
    return QUESTION.ask(of_calls(calls), window).rows


def _rows(told: Part, window: Window) -> pd.DataFrame:
    rows = []
    for name, (calls, failed) in told.revisions.items():
        life = state(name, window.end.date())
        retires = life.retired_from.isoformat() if life.retired_from else None
        rows.append((name, calls, failed, life.state, retires, life.days_left))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    frame = frame.astype({"revision": "str", "state": "str", "retires": "str", "days_left": "Int64"})
    return frame.sort_values(["retires", "revision"], ignore_index=True)


def _says(told: Part, rows: pd.DataFrame) -> str:
    if rows.empty:
        what = (
            f"none of {many(told.untold, 'call')} tells its revision" if told.untold else "no call was found"
        )
        return f"Cannot tell: {what}."
    total = int(rows["calls"].sum())
    words = {"retired": "is retired since", "deprecated": "is deprecated and retires on"}
    said = [
        f"{row.revision} {words[str(row.state)]} {row.retires} (calls: {row.calls:,})"
        for row in rows[rows["state"].isin(list(words))].itertuples()
    ]
    if said:
        return f"Of {total:,} calls with a revision: {'; '.join(said)}."
    unknown = rows.loc[rows["state"] == "unknown", "calls"].sum()
    if unknown:
        return f"{unknown:,} of {total:,} calls ask for a revision that is not known, none for an old one."
    return f"All {total:,} calls with a revision ask for one that is not deprecated."


QUESTION = Question("revisions", part, merge, answer)
