"""Attempts of calls, and what joins them to logical calls: one thing, tried until it went or was given up.

What joins them, on the same method and path: an event's key, which is its identity; else a profile's key,
where an attempt begins a new call if it says it is the first, if the last one worked, or if it comes much
later than a retry would; else a request's id. Klaviyo's own request ids differ from attempt to attempt: ids
join only where one was seen with two different answers, so that they are the application's. Calls without a
key are counted by time, never joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.klaviyo.answers import ERRORS
from klaviyo_nb.klaviyo.outcomes import outcome
from klaviyo_nb.logs.questions.counts import answered
from klaviyo_nb.logs.questions.operations import places_of
from klaviyo_nb.logs.questions.tallies import added, bins_of, grouped, hashed, mixed, moments_of

if TYPE_CHECKING:
    from klaviyo_nb.logs.questions.question import Records
    from klaviyo_nb.window import Window

#: What became of an attempt, by its number in `became`.
BECAME = ("delivered", "refused", "unknown", "fix_first")
DELIVERED, REFUSED, UNKNOWN, FIX_FIRST = range(4)
#: What joins attempts, by its number in `by`. 0: nothing.
KEYS = ("none", "event", "profile", "request")
NONE, EVENT, PROFILE, REQUEST = range(4)
#: Why no answer came, by its negative number in `answer`; an HTTP status is itself.
_ERRORS = (None, *ERRORS)
#: A retry comes within this time of the attempt before it, or of the end of its `Retry-After` [ns]: client
#: libraries wait 60 s at most.
SOON = 300 * 10**9
#: Attempts that are kept, some 40 bytes each; of more, those whose keys' hashes are lowest.
MOST = 3_000_000
_ALL = np.iinfo(np.uint64).max

ROW = np.dtype([
    ("key", "u8"), ("same", "u8"), ("moment", "i8"), ("wait", "f4"), ("answer", "i2"), ("place", "i2"),
    ("attempt", "i2"), ("by", "u1"), ("became", "u1"),
])  # fmt: skip
#: Numbers of attempts above it are not told apart where no key joins them.
MOST_ATTEMPTS = 20
_BARE = ["bin", "place", "became", "answer", "attempt"]


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts that some records tell of.

    Attributes:
        rows: Those with a key, in no order: hash of the key with method and path, hash of the request's id
            (0: none), nanoseconds since 1970 (2**62: no time), `Retry-After` [s], the answer, the place,
            which attempt it says it is (0: it does not), what joins it, what became of it.
        below: Only keys whose hash is below it were kept.
        bare: Those without a key, as counts by bin of time (-1: no time), place, what became of it, answer,
            and which attempt it says it is, at most `MOST_ATTEMPTS` (0: it does not).
        untold: Rows that tell neither what was called nor what became of it.
    """

    rows: Any
    below: int
    bare: pd.DataFrame
    untold: int

    @property
    def share(self) -> float:
        """Share of the keys that were kept."""
        return self.below / _ALL

    @property
    def count(self) -> int:
        """Attempts that were kept."""
        return len(self.rows) + int(self.bare["calls"].sum())


def part(records: Records, window: Window) -> Attempts:
    """The attempts of a part of a log."""
    rows, standing = rows_of(records.calls)
    nothing = pd.DataFrame({name: np.zeros(0, np.int64) for name in (*_BARE, "calls")})
    told = Attempts(rows, _ALL, nothing, len(records.calls) - len(standing))
    return bounded(without(told, rows["by"] != NONE, window))


def rows_of(calls: pd.DataFrame) -> tuple[Any, Any]:
    """The attempts of a CALLS frame as rows, those without a key too; and where in it each stands."""
    answers = _answers(calls)
    standing = np.flatnonzero((answers != 0) | calls["endpoint"].notna().to_numpy())
    by, key, same = _keys(calls)
    columns = {
        "key": key, "same": same, "by": by, "answer": answers,
        "place": places_of(calls), "moment": moments_of(calls["timestamp"]),
        "wait": calls["retry_after_s"].fillna(0).clip(0, 1e9).to_numpy(),
        "attempt": calls["attempt"].clip(0, 9_999).fillna(0).to_numpy(np.int16),
        "became": answered(calls, _became).astype(np.uint8),
    }  # fmt: skip
    rows = np.empty(len(standing), dtype=ROW)
    for name, values in columns.items():
        rows[name] = values if len(standing) == len(calls) else values[standing]
    return rows, standing


def merge(parts: Sequence[Attempts]) -> Attempts:
    """Parts put together."""
    below = min(each.below for each in parts)
    rows = np.concatenate([each.rows for each in parts])
    bare = added([each.bare for each in parts], _BARE, {"calls": "sum"})
    rows = rows if below == _ALL else rows[rows["key"] < below]
    return bounded(Attempts(rows, below, bare, sum(each.untold for each in parts)))


def bounded(told: Attempts, most: int = MOST) -> Attempts:
    """At most `most` rows: those of the keys whose hashes are lowest, all of each.

    Which keys these are does not depend on how a log was cut into parts.
    """
    if len(told.rows) <= most:
        return told
    below = int(np.partition(told.rows["key"], most)[most])
    return replace(told, rows=told.rows[told.rows["key"] < below], below=below)


def without(told: Attempts, kept: Any, window: Window) -> Attempts:
    """Only the rows that are `kept`; the others are counted as those without a key."""
    if kept.all():
        return told
    rows = told.rows[~kept]
    groups = {name: rows[name].astype(np.int64) for name in ("place", "became", "answer")}
    groups |= {
        "bin": bins_of(rows["moment"], window),
        "attempt": np.minimum(rows["attempt"], MOST_ATTEMPTS).astype(np.int64),
    }
    bare = added([told.bare, grouped(groups)], _BARE, {"calls": "sum"})
    return replace(told, rows=told.rows[kept], bare=bare)


def _became(status: int | None, error_type: str | None, answered_by: str | None) -> int:
    # a line with neither is a call because it says that it went well
    found = outcome(status, error_type, answered_by)
    return DELIVERED if found is None else BECAME.index(found)


def _answers(calls: pd.DataFrame) -> Any:
    """HTTP status, or the negative number of why there was none; 0: the log tells neither."""
    status = calls["status_code"].clip(0, 999).fillna(0).to_numpy(np.int16)
    codes, names = pd.factorize(calls["error_type"])
    numbers = [-_ERRORS.index(name if name in ERRORS else "other") for name in names]
    return np.where(status, status, np.array([*numbers, 0], dtype=np.int16)[codes])


def said(answer: int) -> str:
    """An answer as people say it."""
    return str(answer) if answer > 0 else "no status" if answer == 0 else str(_ERRORS[-answer])


def _keys(calls: pd.DataFrame) -> tuple[Any, Any, Any]:
    """What joins each row, the hash of it with method and path, and that of its request's id."""
    by = np.zeros(len(calls), dtype=np.uint8)
    key, same = np.zeros((2, len(calls)), dtype=np.uint64)
    for number, name in ((EVENT, "event_key"), (PROFILE, "profile_key"), (REQUEST, "request_id")):
        left = (by == NONE) & calls[name].notna().to_numpy()
        if left.any():
            by[left], key[left] = number, hashed(calls.loc[left, name] if not left.all() else calls[name])
    if (by == PROFILE).any():
        same[by == PROFILE] = hashed(calls.loc[by == PROFILE, "request_id"])
    same = np.where(by == REQUEST, key, same)
    method, path = (hashed(calls[name]) for name in ("method", "endpoint"))
    return by, mixed(key ^ mixed(method * np.uint64(3) + path + by)), same
