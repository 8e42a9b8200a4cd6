"""What did we lose? Every logical call is delivered, accepted late, refused, unknown, or to be fixed first.

Where calls carry keys, each is counted once, whatever the number of its attempts. Without keys nobody can
tell whether a call that failed was delivered by a later attempt: each failed attempt is at most one lost
call, less those that later attempts went on from by their numbers, and at least those after the last success
on the same path are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd

from klaviyo_nb.frames import UTC_NS
from klaviyo_nb.klaviyo.outcomes import ACCEPTED, Outcome, Replay, replay
from klaviyo_nb.logs.questions.attempts import (
    BECAME,
    DELIVERED,
    EVENT,
    KEYS,
    NONE,
    REQUEST,
    Attempts,
    merge,
    part,
    rows_of,
    said,
)
from klaviyo_nb.logs.questions.followed import went_on
from klaviyo_nb.logs.questions.logical import Calls, calls_of, joined
from klaviyo_nb.logs.questions.operations import places
from klaviyo_nb.logs.questions.question import Answer, Question, of_calls
from klaviyo_nb.logs.questions.retries import keyed, limits
from klaviyo_nb.logs.questions.tallies import NEVER, bins_of, grouped, numbered, width

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: Reasons that are named, the most frequent ones; of more, how many calls they are of.
_SHOWN = 4
#: In this order. `accepted_late` is known only where a delay of processing is.
OUTCOMES = (*BECAME, "accepted_late")
_LATE = len(BECAME)
_COLUMNS = ("outcome", "calls", "at_least", "reasons", "replay", "with_unique_id", "first", "last")
_ENTRY = ("outcome", "reason", "key", "method", "endpoint", "event_key", "profile_key", "at", "attempts",
          "replay", "why", "source", "line_no")  # fmt: skip
_WORDS = {"delivered": "delivered", "refused": "refused", "unknown": "unknown (may have been accepted)",
          "fix_first": "to be fixed first", "accepted_late": "accepted during a delay"}  # fmt: skip


class _Bare(NamedTuple):
    """Attempts without a key, by what became of them: at most and at least so many calls."""

    most: Any
    least: Any


def question(delays: Sequence[Window] = ()) -> Question[Attempts]:
    """The question, for one who knows when Klaviyo processed late.

    Args:
        delays: When it did, as its status page says: what was accepted with 202 then is `accepted_late`.
    """
    return Question("ledger", part, merge, partial(answer, delays=tuple(delays)))


def answer(told: Attempts, window: Window, delays: Sequence[Window] = ()) -> Answer:
    """Calls per outcome."""
    told, found = keyed(told, window)
    calls = calls_of(told.rows, found)
    became = _with_delays(told.rows, calls, delays)
    told = replace(told, bare=_late(told.bare, window, delays))
    bare = _bare(told, window)
    rows = _rows(told, calls, became, bare, bool(delays))
    covers = [*limits(told), "Whether a call was sent again after the window is not known."]
    attempts = int(calls.attempts.sum() + told.bare["calls"].sum())
    if attempts > rows["calls"].sum() and told.share == 1:
        covers.append(f"These calls took {attempts:,} attempts; counts of failed calls are of attempts.")
    if not delays:
        covers.append("Logs do not tell whether Klaviyo processed late: its status page does.")
    return Answer("ledger", _says(rows), rows, tuple(covers) if len(rows) else tuple(limits(told)))


def ledger(calls: pd.DataFrame, window: Window, delays: Sequence[Window] = ()) -> pd.DataFrame:
    """Logical calls by what became of them.

    Args:
        calls: CALLS frame.
        window: Asked about.
        delays: When Klaviyo processed late.

    Returns:
        `outcome` (of `OUTCOMES`), `calls` (at most, where attempts carry no key), `at_least`,
        `with_unique_id` (calls whose event's unique_id the log tells), `first`, `last` (when they were first
        tried), `reasons` (answers with their counts), `replay` (advices with their counts); without counts
        where attempts carry no key, and which of them was a call's last is not known.
    """
    return question(delays).ask(of_calls(calls), window).rows


def entries(calls: pd.DataFrame, window: Window, delays: Sequence[Window] = ()) -> pd.DataFrame:
    """The ledger itself, one row per logical call; an attempt without a key is a row of its own.

    Returns:
        `outcome`, `reason` (status, or why there was no answer), `key` (event, profile, request; none: it may
        have been tried again in another row), `method`, `endpoint`, `event_key`, `profile_key`, `at` (the
        first attempt's time: a replay must carry it), `attempts`, `replay` (yes, with_care, person, no;
        missing if it was delivered), `why`, `source`, `line_no` (of the first attempt); by time.
    """
    rows, standing = rows_of(calls)
    found = joined(rows[rows["by"] != NONE])
    alone = (rows["by"] == NONE) | ((rows["by"] == REQUEST) & (not found.ids_join))
    mine, others = np.flatnonzero(~alone), np.flatnonzero(alone)
    found = joined(rows[mine])
    logical = calls_of(rows[mine], found)
    became = np.append(_with_delays(rows[mine], logical, delays), rows["became"][others])
    row, first = (np.append(mine[each], others) for each in (logical.row, logical.first))
    told = _told(rows, row, first, became, alone)
    told["attempts"] = np.append(logical.attempts, np.ones(len(others), np.int64))
    of = calls[["event_key", "profile_key", "timestamp", "source", "line_no"]].iloc[standing[first]]
    of = of.astype({"source": "str"})
    told = told.join(of.rename(columns={"timestamp": "at"}).reset_index(drop=True))
    return told.sort_values("at", kind="stable", ignore_index=True)[list(_ENTRY)]


def _told(rows: Any, row: Any, first: Any, became: Any, alone: Any) -> pd.DataFrame:
    """Of each logical call, what its rows tell in numbers, as words."""
    by = np.where(alone[first], NONE, rows["by"][first])
    numbers = pd.DataFrame({"became": became, "answer": rows["answer"][row]}).astype(np.int64)
    numbers["place"], numbers["by"] = rows["place"][first].astype(np.int64), by
    codes, firsts = numbered(numbers)
    words = []
    for became_, answer_, place, key in numbers.iloc[firsts].to_numpy().tolist():
        at, advice = places()[place], _advice(became_, place, key == EVENT)
        words.append((OUTCOMES[became_], said(answer_), KEYS[key], at.method, at.path, *advice))
    frame = pd.DataFrame(words, columns=[*_ENTRY[:5], "replay", "why"]).astype("str")
    return frame.take(codes).reset_index(drop=True)


def _advice(became: int, place: int, unique_id: bool) -> Replay | tuple[None, None]:
    if became in (DELIVERED, _LATE):
        return None, None
    at = places()[place]
    name = at.endpoint.operation_id if at.endpoint else None
    return replay(name, at.method, cast("Outcome", OUTCOMES[became]), unique_id)


def _with_delays(rows: Any, calls: Calls, delays: Sequence[Window]) -> Any:
    """What became of each call, as a number of `OUTCOMES`."""
    late = np.zeros(len(calls.row), dtype=bool)
    moment = rows["moment"][calls.row]
    for each in delays:
        late |= (moment >= pd.Timestamp(each.start).value) & (moment < pd.Timestamp(each.end).value)
    accepted = (calls.became == DELIVERED) & (rows["answer"][calls.row] == ACCEPTED)
    return np.where(late & accepted, _LATE, calls.became)


def _late(bare: pd.DataFrame, window: Window, delays: Sequence[Window]) -> pd.DataFrame:
    """Attempts without a key; those accepted in a bin of time whose middle lies in a delay are late."""
    length = width(window)
    middle = pd.Timestamp(window.start) + (bare["bin"] + 0.5) * pd.Timedelta(length)
    late = np.zeros(len(bare), dtype=bool)
    for each in delays:
        late |= ((middle >= each.start) & (middle < each.end)).to_numpy()
    late &= ((bare["became"] == DELIVERED) & (bare["answer"] == ACCEPTED) & (bare["bin"] >= 0)).to_numpy()
    return bare.assign(became=bare["became"].mask(late, _LATE))


def _bare(told: Attempts, window: Window) -> _Bare:
    bare, size = told.bare, len(places())
    most = np.bincount(bare["became"], weights=bare["calls"], minlength=len(OUTCOMES)).astype(np.int64)
    for outcome, calls in went_on(bare, window).items():
        most[outcome] -= calls
    least = np.zeros(len(OUTCOMES), dtype=np.int64)
    for each in (DELIVERED, _LATE):
        least[each] = most[each]
    last = np.full(size, -1)  # bin of the last success
    good = bare[bare["became"].isin([DELIVERED, _LATE])]
    np.maximum.at(last, good["place"].to_numpy(), np.where(good["bin"] < 0, NEVER, good["bin"]))
    rows = told.rows[told.rows["became"] == DELIVERED]
    bins = bins_of(rows["moment"], window)
    np.maximum.at(last, rows["place"], np.where(bins < 0, NEVER, bins))
    failed = bare[~bare["became"].isin([DELIVERED, _LATE])]
    after = failed[failed["bin"].to_numpy() > last[failed["place"].to_numpy()]]
    for _, each in after.groupby("place"):
        if each["became"].nunique() == 1:
            least[each["became"].iloc[0]] += max(1, int(each.loc[each["attempt"] == 1, "calls"].sum()))
    return _Bare(most, least)


def _rows(told: Attempts, calls: Calls, became: Any, bare: _Bare, delays: bool) -> pd.DataFrame:
    if not len(calls.row) and not bare.most.any():
        return _frame([])
    groups = {name: told.rows[name][calls.row].astype(np.int64) for name in ("place", "answer")}
    unique = (told.rows["by"][calls.row] == EVENT).astype(np.int64)
    sure = grouped(groups | {"became": became, "unique": unique})
    sure["calls"] = (sure["calls"] / told.share).round().astype(np.int64)
    lone = told.bare[["became", "place", "answer", "calls"]].assign(unique=0)
    both = pd.concat([sure, lone], ignore_index=True)
    first = told.rows["moment"][calls.first]
    rows = []
    for number, name in enumerate(OUTCOMES if delays else BECAME):
        mine = both[both["became"] == number]
        exact = int(sure.loc[sure["became"] == number, "calls"].sum())
        unique = int(mine.loc[mine["unique"] == 1, "calls"].sum())
        span = _span(first[(became == number) & (first != NEVER)])
        bounds = (exact + int(bare.most[number]), exact + int(bare.least[number]))
        mine = mine if bounds[0] else mine[:0]  # attempts were made, and none was a call's last
        known = int(mine["calls"].sum()) == bounds[0]
        texts = (_listed(each, known) for each in (_reasons(mine), _replays(mine)))
        rows.append((name, *bounds, *texts, unique, *span))
    return _frame(rows)


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    dtypes = {"first": UTC_NS, "last": UTC_NS} | dict.fromkeys(("outcome", "reasons", "replay"), "str")
    dtypes |= dict.fromkeys(("calls", "at_least", "with_unique_id"), "int64")
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dtypes)


def _span(moments: Any) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    if not len(moments):
        return None, None
    return pd.Timestamp(int(moments.min()), tz="UTC"), pd.Timestamp(int(moments.max()), tz="UTC")


def _reasons(mine: pd.DataFrame) -> Counter[str]:
    counts: Counter[str] = Counter()
    for answer_, calls in zip(mine["answer"].tolist(), mine["calls"].tolist(), strict=True):
        counts[said(answer_)] += calls
    return counts


def _replays(mine: pd.DataFrame) -> Counter[str]:
    counts: Counter[str] = Counter()
    for became, place, unique, calls in mine[["became", "place", "unique", "calls"]].to_numpy().tolist():
        advice, _ = _advice(became, place, bool(unique))
        if advice:
            counts[advice] += calls
    return counts


def _listed(counts: Counter[str], known: bool) -> str | None:
    """The most frequent ones; with their counts, if these are known to be of calls."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    shown, rest = ordered[:_SHOWN], sum(calls for _, calls in ordered[_SHOWN:])
    shown += [("others", rest)] * bool(rest)
    return ", ".join(f"{name} ({count:,})" if known else name for name, count in shown) or None


def _says(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "Cannot tell: no call was found."
    parts = []
    for name, most, least in rows[["outcome", "calls", "at_least"]].astype(object).to_numpy().tolist():
        if most or name == "delivered":
            bounds = f"{most:,}" if most == least else f"at most {most:,} (at least {least:,})"
            parts.append(f"{bounds} {_WORDS[name]}")
    return f"Calls: {', '.join(parts)}."


QUESTION = question()
