"""How many profiles, events, lists and flows do the failed calls touch?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import answered
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.tallies import hashed, mixed

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

_COLUMNS = ("what", "distinct", "at_least", "at_most", "calls")
#: Columns that name a thing; and what a path in the text of a call names.
_KEYS = {"profiles": "profile_key", "events": "event_key"}
_PATHS = ("lists", "flows", "segments", "campaigns")
_IN_PATH = rf"/api/(?P<what>{'|'.join(_PATHS)})/(?P<id>[A-Za-z0-9]{{6,40}})\b"
#: Distinct things that are remembered of each kind, as hashes of 8 bytes; of more, the lowest.
MOST = 200_000
_ALL = 2.0**64


class Part(NamedTuple):
    """What some failed calls touch.

    Attributes:
        calls: All calls.
        failed: Failed ones.
        things: What → hashes of the distinct ones, ascending; calls that name one; whether the lowest were
            kept only.
    """

    calls: int
    failed: int
    things: Mapping[str, tuple[Any, int, bool]]


def part(records: Records, window: Window) -> Part:
    """The things that failed calls name."""
    calls = records.calls
    failed = calls.loc[answered(calls, failure) != None, [*_KEYS.values(), "message"]]  # noqa: E711 - of each
    named = {what: failed[column].dropna() for what, column in _KEYS.items()}
    found = pc.extract_regex(pa.array(failed["message"]), _IN_PATH)
    kinds, ids = (pd.Series(pc.struct_field(found, name), dtype="str") for name in ("what", "id"))
    named |= {what: ids[kinds == what] for what in _PATHS}
    things = {what: _lowest([mixed(hashed(names))], len(names), False) for what, names in named.items()}
    return Part(len(calls), len(failed), things)


def merge(parts: Sequence[Part]) -> Part:
    """Parts put together."""
    things = {}
    for what in (*_KEYS, *_PATHS):
        hashes, calls, cut = zip(*(each.things[what] for each in parts), strict=True)
        things[what] = _lowest(hashes, sum(calls), any(cut))
    return Part(sum(each.calls for each in parts), sum(each.failed for each in parts), things)


def answer(told: Part, window: Window) -> Answer:
    """Distinct things per kind."""
    return _answer(told, told.failed)


def of_some(calls: pd.DataFrame, window: Window, failed: int | None) -> Answer:
    """The same where `calls` are some of those that were made: a log that is sampled, or was not read whole.

    Args:
        calls: CALLS frame.
        window: Asked about.
        failed: How many calls failed in all, each of which may touch another thing; None: nobody knows.
    """
    asked = replace(QUESTION, answer=lambda told, _: _answer(told, failed))
    return asked.ask(of_calls(calls), window)


def _answer(told: Part, failed: int | None) -> Answer:
    rows = _rows(told, failed)
    covers = []
    if told.failed:
        covers.append("Lists, flows, segments and campaigns count where a path in a call's text names them.")
    if any(cut for _, _, cut in told.things.values()):
        bounds = "at_least and at_most are the 95 % interval"
        covers.append(f"Beyond {MOST:,} of a kind the number is estimated: {bounds}.")
    if told.failed and failed is None:
        covers.append("How many calls failed that were not read is not known: nothing bounds the numbers.")
    return Answer("reach", _says(told, failed, rows), rows, tuple(covers))


def reach(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Distinct things that failed calls touch.

    Args:
        calls: CALLS frame.
        window: Asked about.

    Returns:
        `what` (profiles, events, lists, flows, segments, campaigns), `distinct`, `at_least`, `at_most` (every
        failed call that names none touches another one; missing where most calls would name none), `calls`
        (failed ones that name one); kinds that none names are left out.
    """
    return QUESTION.ask(of_calls(calls), window).rows


def _lowest(hashes: Sequence[Any], calls: int, cut: bool) -> tuple[Any, int, bool]:
    distinct = np.sort(pd.unique(np.concatenate(hashes)))  # np.unique takes ten times as long for a million
    return distinct[:MOST], calls, cut or len(distinct) > MOST


def _rows(told: Part, failed: int | None) -> pd.DataFrame:
    rows = []
    for what, (hashes, calls, cut) in told.things.items():
        if not calls:
            continue
        count, spread = float(len(hashes)), 0.0
        if cut:  # as many as are kept lie in this share of all hashes
            count = (len(hashes) - 1) * _ALL / float(hashes[-1])
            spread = 1.96 * count / math.sqrt(len(hashes))
        most = None
        if what in _KEYS and failed is not None:
            most = round(count + spread) + max(failed, told.failed) - calls
        rows.append((what, round(count), round(count - spread), most, calls))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    counts = dict.fromkeys(("distinct", "at_least", "calls"), "int64")
    return frame.astype({"what": "str", "at_most": "Int64"} | counts)


def _says(told: Part, failed: int | None, rows: pd.DataFrame) -> str:
    if not told.calls:
        return "Cannot tell: no call was found."
    if not told.failed:
        return f"None of {many(told.calls, 'call')} failed."
    if rows.empty:
        return f"Cannot tell: none of {many(told.failed, 'failed call')} names a profile, an event or a list."
    parts, every = [], max(failed or 0, told.failed)
    told_of = rows[["what", "distinct", "at_most", "calls"]].astype(object).to_numpy().tolist()
    for what, distinct, most, calls in told_of:
        bounds = f" (at most {most:,})" if not pd.isna(most) and calls < every else ""
        least = "at least " if bounds or failed is None else ""
        parts.append(f"{least}{distinct:,} {what}{bounds}")
    if failed is None:
        return f"{told.failed:,} failed calls, which may not be all, touch {', '.join(parts)}."
    read = f", of which logs tell {told.failed:,}," if every > told.failed else ""
    return f"{every:,} failed calls{read} touch {', '.join(parts)}."


QUESTION = Question("reach", part, merge, answer)
