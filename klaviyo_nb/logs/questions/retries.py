"""How often is a call tried, and how much load do retries add?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.logs.questions.attempts import (
    FIX_FIRST,
    REQUEST,
    Attempts,
    merge,
    part,
    without,
)
from klaviyo_nb.logs.questions.logical import Joined, joined
from klaviyo_nb.logs.questions.operations import places
from klaviyo_nb.logs.questions.question import Answer, Question, of_calls
from klaviyo_nb.logs.questions.tallies import bins_of, width

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

_COLUMNS = ("method", "endpoint", "calls", "attempts", "amplification", "most", "futile")
#: Attempts of a call above which its retries are named.
_MUCH = 1.1


def answer(told: Attempts, window: Window) -> Answer:
    """Calls and attempts per endpoint, the most retries first."""
    told, found = keyed(told, window)
    rows = _rows(told, found)
    alone = int(told.bare.loc[told.bare["attempt"] == 0, "calls"].sum())
    return Answer("retries", _says(rows, alone), rows, tuple(limits(told)))


def keyed(told: Attempts, window: Window) -> tuple[Attempts, Joined]:
    """Attempts joined to calls; those with only a request id that joins none count as without a key."""
    found = joined(told.rows)
    alone = told.rows["by"] == REQUEST
    if found.ids_join or not alone.any():
        return told, found
    told = without(told, ~alone, window)
    return told, joined(told.rows)


def limits(told: Attempts) -> list[str]:
    """What attempts do not cover."""
    bare = int(told.bare["calls"].sum())
    covers = []
    if bare:
        covers.append(
            f"{bare:,} of {told.count:,} attempts carry no key (event, profile, or a request id of the"
            " application's own) that would tell which belong together."
        )
    if told.share < 1:
        covers.append(
            f"More attempts than are kept: counted on {told.share:.1%} of the keys, all attempts of each."
        )
    if told.untold:
        covers.append(f"{told.untold:,} rows tell neither what was called nor what became of it.")
    return covers


def retries(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Attempts per logical call.

    Args:
        calls: CALLS frame.
        window: Asked about.

    Returns:
        `method`, `endpoint`, `calls` (logical ones; at most, where attempts carry no key or number),
        `attempts`, `amplification` (attempts per call), `most` (attempts of one call), `futile` (attempts
        after an answer that no retry changes: 400, 401, 403, 404…). The last three are missing where no
        attempt carries a key or a number.
    """
    return QUESTION.ask(of_calls(calls), window).rows


def amplification(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Attempts per logical call over time, of calls with a key.

    Returns:
        `timestamp` (beginning of the bin), `calls` (that began in it), `attempts` (that were made in it),
        `amplification` (missing where no call began).
    """
    told, found = keyed(part(of_calls(calls).inside(window), window), window)
    bin_ns = pd.Timedelta(width(window)).value
    bins = bins_of(told.rows["moment"][found.order], window)
    count = -(-round(window.seconds * 1e9) // bin_ns)
    attempts, begun = (
        np.bincount(each[each >= 0], minlength=count)[:count] for each in (bins, bins[found.starts])
    )
    times = pd.Timestamp(window.start) + pd.to_timedelta(np.arange(count) * bin_ns, unit="ns")
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(begun > 0, attempts / begun, np.nan)
    return pd.DataFrame({"timestamp": times, "calls": begun, "attempts": attempts, "amplification": factor})


def _rows(told: Attempts, found: Joined) -> pd.DataFrame:
    became, where = (told.rows[name].copy()[found.order] for name in ("became", "place"))
    call = np.zeros(len(found.order), dtype=np.int64)
    call[found.starts[1:]] = 1
    call = np.cumsum(call)
    futile = np.append(False, (became[:-1] == FIX_FIRST) & (call[1:] == call[:-1]))
    size, place = len(places()), where.astype(np.int64)
    begun, futile = place[found.starts], place[futile[: len(place)]]
    counts = [np.bincount(each, minlength=size) for each in (place, begun, futile)]
    attempts, calls, in_vain = np.round(np.array(counts) / told.share)
    most = np.zeros(size, dtype=np.int64)
    np.maximum.at(most, begun, np.diff(np.append(found.starts, len(place))))
    alone = _add_bare(told.bare, attempts, calls, most)
    return _frame(calls, attempts, most, in_vain, alone == attempts)


def _add_bare(bare: pd.DataFrame, attempts: Any, calls: Any, most: Any) -> Any:
    """Attempts without a key: one that says it is the second or later one begins no call.

    Returns:
        How many do not say which they are, per place.
    """
    place, count, number = (bare[name].to_numpy() for name in ("place", "calls", "attempt"))
    begins = number < 2
    np.add.at(attempts, place, count)
    np.add.at(calls, place[begins], count[begins])
    np.maximum.at(most, place, np.maximum(number, 1))
    return np.bincount(place[number == 0], count[number == 0], len(attempts))


def _frame(calls: Any, attempts: Any, most: Any, futile: Any, untold: Any) -> pd.DataFrame:
    used = np.flatnonzero(attempts)
    named = [places()[index] for index in used]
    frame = pd.DataFrame({
        "method": pd.Series([each.method for each in named], dtype="str"),
        "endpoint": pd.Series([each.path for each in named], dtype="str"),
        "calls": calls[used].astype(np.int64), "attempts": attempts[used].astype(np.int64),
        "amplification": np.where(calls[used] > 0, attempts[used] / np.maximum(calls[used], 1), np.nan),
        "most": most[used], "futile": futile[used].astype(np.int64),
    })  # fmt: skip
    frame = frame.astype({"most": "Int64", "futile": "Int64"})
    frame.loc[untold[used], ["amplification", "most", "futile"]] = None
    more = frame["attempts"] - frame["calls"]
    order = np.lexsort((frame.index, -frame["attempts"], -more))
    return frame.iloc[order].reset_index(drop=True)[list(_COLUMNS)]


def _says(rows: pd.DataFrame, alone: int) -> str:
    """With `alone` attempts that carry no key and do not say which attempt they are."""
    if rows.empty:
        return "Cannot tell: no call was found."
    calls, attempts, futile = (int(rows[name].sum()) for name in ("calls", "attempts", "futile"))
    if not calls:
        return f"Cannot tell: {attempts:,} attempts, none of which is known to be the first."
    if alone == attempts:
        return f"Cannot tell: none of {attempts:,} attempts carries a key or says which attempt it is."
    most, least = (" at most", "at least ") if alone else ("", "")
    said = f"{attempts:,} attempts for{most} {calls:,} calls: {least}{attempts / calls:.2f} per call"
    worst = rows.iloc[0]
    if worst["amplification"] >= _MUCH:
        where = " ".join(each for each in (worst["method"], worst["endpoint"]) if isinstance(each, str))
        said += f", most on {where or 'other paths'} ({worst['amplification']:.2f})"
    return f"{said}; {futile:,} of them after an answer that no retry changes." if futile else f"{said}."


QUESTION = Question("retries", part, merge, answer)
