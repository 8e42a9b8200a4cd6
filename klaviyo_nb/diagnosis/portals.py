"""Calls that look well in a log and that a portal answered: told by what our own calls met there.

A portal answers 200 to everything. Most clients log no more than that, and a log full of successes hides an
incident. But Klaviyo answers many calls otherwise, with 202 or 204: where these cease, and our own calls meet
a portal, whatever is answered as ours are is the portal's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis.probed import KEYED

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.metrics.onset import Episode, Moments

#: What comes by chance less often than this is taken for no chance [1]; and a doubt that is left aside.
CHANCE, DOUBT = 0.001, 0.05
#: The columns of CALLS that are looked at: all of them take ten times as long to be put together.
COLUMNS = ["timestamp", "status_code", "error_type", "answered_by", "request_id"]


def told_by_probes(
    calls: pd.DataFrame, earlier: pd.DataFrame, rows: Iterable[Mapping[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames, with `answered_by` of calls that a portal must have answered, as it did our own.

    Args:
        calls: CALLS of the window, in order of time.
        earlier: CALLS of the time before.
        rows: PROBES rows; if the keyed ones met no portal, or Klaviyo, nothing is changed.
    """
    status = _status(rows)
    if status is None or calls.empty:
        return calls, earlier
    import pandas as pd

    every = pd.concat([earlier[COLUMNS], calls[COLUMNS]], ignore_index=True)
    like, otherwise = _well(every, status)
    last = otherwise[otherwise].index.max() if otherwise.any() else -1
    since = like & (every.index > last)
    if _chance(int((like & ~since).sum()), int(otherwise.sum()), int(since.sum())) > CHANCE:
        return calls, earlier
    who = every["answered_by"].astype("str").mask(since, "portal").astype("category")
    before, within = who[: len(earlier)].set_axis(earlier.index), who[len(earlier) :].set_axis(calls.index)
    return calls.assign(answered_by=within), earlier.assign(answered_by=before)


def first_answers(calls: pd.DataFrame) -> Moments | None:
    """When a portal gave the first of its answers that look well, as an interval; None: it gave none.

    The first may still have been Klaviyo's, who gives such an answer to a share of the calls.

    Args:
        calls: CALLS in order of time, or their `COLUMNS`.
    """
    portals = (calls["answered_by"] == "portal") & _succeeded(calls)
    if not portals.any():
        return None
    first = int(portals.to_numpy().argmax())
    like, otherwise = _well(calls.iloc[:first], int(calls["status_code"].iloc[first]))
    share = (like.sum() + 1) / (like.sum() + otherwise.sum() + 2)
    moments = calls.loc[portals, "timestamp"].iloc[: math.ceil(math.log(DOUBT) / math.log(share))]
    return moments.iloc[0].to_pydatetime(), moments.iloc[-1].to_pydatetime()


def with_first_answers(found: Episode, answers: Moments | None) -> Episode:
    """The same, where it may have begun with a portal's answers: with any of the first that may be its."""
    onset = found.onset
    if answers is None or onset is None or onset[0] > answers[1] or onset[1] < answers[0]:
        return found
    return replace(found, onset=(min(onset[0], answers[0]), max(onset[1], answers[1])))


def _status(rows: Iterable[Mapping[str, Any]]) -> int | None:
    """Status of the success that a portal gave to our own calls, if none of them reached Klaviyo."""
    keyed = [row for row in rows if row["probe"] in KEYED]
    if any(row["answered_by"] == "klaviyo" for row in keyed):
        return None
    given = [row["status_code"] for row in keyed if row["answered_by"] == "portal"]
    return next((status for status in given if status and 200 <= status < 300), None)


def _succeeded(calls: pd.DataFrame) -> pd.Series[bool]:
    return calls["status_code"].fillna(0).between(200, 299).astype(bool)


def _well(calls: pd.DataFrame, status: int) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Which look well: with this status and no sign of who answered; with another, or a sign of Klaviyo."""
    unsigned = calls["answered_by"].isna() & calls["request_id"].isna() & calls["error_type"].isna()
    like = unsigned & (calls["status_code"].fillna(0) == status).astype(bool)
    return like, _succeeded(calls) & ~like & (
        calls["answered_by"].isna() | (calls["answered_by"] == "klaviyo")
    )


def _chance(like: int, otherwise: int, since: int) -> float:
    """How likely so many calls all end like some of those before, by what share of those did."""
    return math.exp(
        math.lgamma(like + 1 + since)
        - math.lgamma(like + 1)
        + math.lgamma(like + otherwise + 2)
        - math.lgamma(like + otherwise + 2 + since)
    )
