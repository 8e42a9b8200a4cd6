"""How the limits of one operation were used, from what a log told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from klaviyo_nb.klaviyo.endpoints import DAY, MINUTE, SECOND, catalogue
from klaviyo_nb.klaviyo.ratelimit import parse_limit, shortest_window_s
from klaviyo_nb.logs.questions.demand import BACKLOG, Kind, kind_of
from klaviyo_nb.logs.questions.waiting import MOST_ATTEMPTS, Clears, clears_in_s, queue_of
from klaviyo_nb.logs.questions.windows import Filled, Seconds, filled, next_end, phase_of, stretches

if TYPE_CHECKING:
    from klaviyo_nb.logs.questions.ratelimit import Part, Waits
    from klaviyo_nb.logs.questions.strata import Strata


#: Of the refused calls, if more than such a share lies in no window that our calls fill, others fill it.
UNEXPLAINED = 0.5


class Spent(NamedTuple):
    """How a window of an operation's was used. Moments are seconds since the start of the question's window.

    Attributes:
        operation: Method and path template.
        window_s: Length of the window [s].
        limit: Calls it allows; None: the server told of a limit that nobody knows.
        observed: Did an answer of Klaviyo's tell the limit? Else it is the catalogue's.
        peak: Most calls in one such window.
        refused: Calls that were answered 429, in all.
        first: When calls were first refused above the limit, or exceeded it.
        broken: Start and end of the windows in which that was; those that touch are one stretch.
        who: Attribute → who made most of the calls in windows that were filled, and the share; of a day, in
            the day before it was used up.
        kind: What used it up, if it can be told.
        others: So much of the limit at least is spent by others of the account; None: our calls fill it.
        frees: When calls are accepted again.
        clears: When calls that were refused are served, if all are tried again and all else goes on.
        backlog_per_min: Calls of a backlog that may be sent beside the live ones; None: what others spend, or
            what is left of the day, is not known.
        minute_begins: Seconds after each minute of the question's window that one of the server's begins;
            None: nobody knows.
    """

    operation: str
    window_s: int
    limit: int | None
    observed: bool
    peak: int
    refused: int
    first: float | None
    broken: Sequence[tuple[float, float]]
    who: Mapping[str, tuple[str, float]]
    kind: Kind | None
    others: int | None
    frees: float | None
    clears: Clears | None
    backlog_per_min: float | None
    minute_begins: int | None


class _Seen(NamedTuple):
    """What is needed of one operation; `tried`: number of the attempt, 0 where it is not told → its calls."""

    name: str
    seconds: Seconds
    tried: Mapping[int, Seconds]
    waits: Waits | None
    limits: Mapping[int, int]
    observed: bool
    phase: int | None


def spent(told: Part, limits: Mapping[str, Mapping[int, int]] | None = None) -> list[Spent]:
    """How limits were used, of operations whose calls were refused or exceeded one; the first to break first.

    Args:
        told: By a log.
        limits: Operation → window [s] → calls allowed, as an answer of Klaviyo's told them.
    """
    if told.seconds is None:
        return []
    found = [
        each
        for name in told.seconds.values["operation"]
        for each in _of(told, _seen(told, name, limits or {}))
    ]
    return sorted(found, key=lambda each: (each.first is None, each.first or 0.0, each.window_s))


def _seen(told: Part, name: str, limits: Mapping[str, Mapping[int, int]]) -> _Seen:
    assert told.seconds is not None
    cells = _cells(told.seconds, name)
    numbers = np.array(told.seconds.values["attempt"]).astype(np.int64)[cells["attempt"]]
    seconds = _seconds(cells.groupby("stretch", as_index=False)[["calls", "failed"]].sum())
    tried = {int(number): _seconds(cells[numbers == number]) for number in np.unique(numbers)}
    method, _, path = name.partition(" ")
    endpoint = catalogue().match(method, path)
    own = endpoint.limits if endpoint else {}
    header = parse_limit(told.told[name][1]) if name in told.told else None
    server = limits.get(name) or (header.windows if header else None)
    allowed = {length: limit for length, limit in (server or own).items() if limit}
    waits = told.waits.get(name)
    ends = np.array(waits.ends if waits else [0] * MINUTE)
    phase = phase_of(seconds, ends) if told.seconds.rung == 1 else None
    return _Seen(name, seconds, tried, waits, allowed, server is not None, phase)


def _seconds(cells: Any) -> Seconds:
    return Seconds(*(cells[each].to_numpy() for each in ("stretch", "calls", "failed")))


def _cells(table: Strata, name: str) -> Any:
    """Its cells of one operation, by time."""
    names = table.values["operation"]
    cells = table.cells[table.cells["operation"] == (names.index(name) if name in names else -1)]
    return cells.assign(stretch=cells["stretch"] * table.rung)


def _of(told: Part, seen: _Seen) -> Iterator[Spent]:
    assert told.seconds is not None
    refused = seen.seconds.refused > 0
    fills = [
        filled(seen.seconds, length, limit, 0 if length != MINUTE else seen.phase or 0)
        for length, limit in sorted(seen.limits.items())
        if length >= told.seconds.rung
    ]
    long = seen.waits.first_long if seen.waits else None
    broken = [each for each in fills if each.first is not None or (each.window_s == DAY and long is not None)]
    if long is not None and DAY not in seen.limits:
        days = np.bincount(seen.seconds.at // DAY, seen.seconds.calls)
        broken.append(Filled(DAY, 0, int(days.max()), np.array([]), refused, refused))
    explained = np.logical_or.reduce([each.over for each in fills], initial=False)
    left = seen.seconds.refused[refused & ~explained].sum()
    if long is None and fills and left > UNEXPLAINED * seen.seconds.refused.sum():
        # Others spend it, or the server counts otherwise; by the second, if no answer said to wait longer.
        short = seen.waits is not None and not any(seen.waits.ends)
        more = [each for each in fills if each not in broken and (each.window_s == SECOND) == short]
        if not (more or broken):
            more = fills
        broken += sorted(more, key=lambda each: each.peak / each.limit)[-1:]
    firsts = [_first(seen, each, long) for each in broken]
    steady = [first for each, first in zip(broken, firsts, strict=True) if each.window_s == MINUTE]
    clears = _clears(told, seen, int(min(steady or firsts) // MINUTE)) if broken and long is None else None
    for each, first in zip(broken, firsts, strict=True):
        yield _spent(told, seen, each, first, clears)


def _first(seen: _Seen, fill: Filled, long: float | None) -> float:
    """When it broke: as in `Spent`."""
    if fill.window_s == DAY and long is not None:
        return long
    return float(seen.seconds.at[seen.seconds.refused > 0][0] if fill.first is None else fill.first)


def _spent(told: Part, seen: _Seen, fill: Filled, first: float, clears: Clears | None) -> Spent:
    at = seen.seconds.at
    busy = fill.busy if fill.busy.any() else seen.seconds.refused > 0
    if fill.window_s == DAY:  # once it is used up, those are refused who did not spend it, too
        busy = (at > first - DAY) & (at <= first)
    live, steady = _live(seen.seconds), seen.limits.get(MINUTE)
    others = fill.limit - fill.peak if 0 < fill.peak < fill.limit and fill.window_s != DAY else None
    elsewhere = others is not None and others > fill.peak  # what grew is in no log that was read
    over = int((at[-1] if fill.last is None else fill.last) // MINUTE)
    known = others is None and not (seen.waits and seen.waits.first_long is not None)
    return Spent(
        operation=seen.name,
        window_s=fill.window_s,
        limit=fill.limit or None,
        observed=seen.observed,
        peak=fill.peak,
        refused=int(seen.seconds.refused.sum()),
        first=first,
        broken=_broken(seen, fill, first),
        who={
            name: who
            for name, table in told.spenders.items()
            if (who := _most(table, name, seen.name, np.unique(at[busy] // MINUTE)))
        },
        kind=_kind(told, seen, int(first // MINUTE), over) if steady and not elsewhere else None,
        others=others,
        frees=_frees(seen, fill),
        clears=clears,
        backlog_per_min=max(0.0, BACKLOG * (steady - live)) if steady and known else None,
        minute_begins=seen.phase,
    )


def _broken(seen: _Seen, fill: Filled, first: float) -> list[tuple[float, float]]:
    """As in `Spent`; of a day, the part of it in which calls were refused."""
    at = fill.broke if len(fill.broke) else seen.seconds.at[seen.seconds.refused > 0]
    if fill.window_s == DAY:
        return [(first, float(at[-1]) + 1)]
    return stretches(at, fill.window_s, 0 if fill.window_s == SECOND else seen.phase or 0)


def _live(seconds: Seconds) -> float:
    """Calls per minute that were served, in minutes with calls."""
    served = np.bincount(seconds.at // MINUTE, seconds.calls - seconds.refused)
    return float(served[served > 0].mean()) if served.any() else 0.0


def _frees(seen: _Seen, fill: Filled) -> float | None:
    """The server's word, else the end of the window in which calls were last refused."""
    refused = seen.seconds.at[seen.seconds.refused > 0]
    if not len(refused):
        return None
    last = float(refused[-1] if fill.last is None else fill.last)
    moment, until = seen.waits.last if seen.waits else (-1.0, -1.0)
    said = shortest_window_s(until - moment)
    if said == fill.window_s and moment >= last:
        return until
    if fill.window_s == DAY:
        return None
    phase = 0 if fill.window_s == SECOND else seen.phase
    return next_end(last, fill.window_s, phase) if phase is not None else last + fill.window_s


def _per_minute(tried: Mapping[int, Seconds], numbers: Iterable[int], length: int) -> Any:
    """Calls that tell one of these attempts."""
    mine = [tried[each] for each in numbers if each in tried]
    return sum((np.bincount(each.at // MINUTE, each.calls, length) for each in mine), np.zeros(length))


def _most(table: Strata | None, attribute: str, name: str, minutes: Any) -> tuple[str, float] | None:
    """Who made most of the calls in these minutes, and the share."""
    if table is None:
        return None
    cells = _cells(table, name)
    cells = cells[cells["stretch"].isin(minutes // table.rung * table.rung)]
    if cells.empty:
        return None
    counts = np.bincount(cells[attribute], cells["calls"])
    return table.values[attribute][int(counts.argmax())], float(counts.max() / counts.sum())


def _kind(told: Part, seen: _Seen, onset: int, over: int) -> Kind | None:
    length = int(seen.seconds.at[-1] // MINUTE) + 1
    calls = np.bincount(seen.seconds.at // MINUTE, seen.seconds.calls, length)
    retries = _per_minute(seen.tried, range(2, MOST_ATTEMPTS + 1), length) if any(seen.tried) else None
    table = told.spenders["caller"]
    callers = {}
    if table is not None and table.rung == 1:
        cells = _cells(table, seen.name)
        for code, mine in cells.groupby("caller"):
            callers[str(code)] = np.bincount(mine["stretch"], mine["calls"], length)
    return kind_of(calls, retries, seen.limits[MINUTE], onset, over, callers)


def _clears(told: Part, seen: _Seen, onset: int) -> Clears | None:
    """Counted from the start of the question's window."""
    tried = {number: calls for number, calls in seen.tried.items() if number}
    if max(tried, default=0) < 2 or not told.seconds or told.seconds.rung > 1:
        return None
    now = int(told.seconds.cells["stretch"].max()) + 1
    queue = queue_of(seen.seconds, tried, onset, now, seen.phase, seen.limits)
    waits = clears_in_s(queue) if queue else None
    if waits is None:
        return None
    latest = None if waits.latest is None else now + waits.latest
    return Clears(now + waits.likely, now + waits.soonest, latest)
