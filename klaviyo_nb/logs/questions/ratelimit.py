"""Which window of which rate limit was used up, by whom, when does it free, and what pace stays below it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.frames import UTC_NS
from klaviyo_nb.klaviyo.endpoints import MINUTE, SECOND
from klaviyo_nb.klaviyo.ratelimit import WINDOWS, limit_in, pace, parse_limit
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions import strata
from klaviyo_nb.logs.questions.operations import places, places_of
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.spent import Spent, spent
from klaviyo_nb.logs.questions.strata import Coded, Strata
from klaviyo_nb.logs.questions.waiting import MOST_ATTEMPTS
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: Who may have spent a limit.
SPENDERS = ("caller", "worker", "host")
#: Attempts that are told apart, the last with all later ones; "0": it is not told.
ATTEMPTS = np.array([str(number) for number in range(MOST_ATTEMPTS + 1)], dtype=object)
#: So many cells of one operation, attempt and second are kept before seconds are put together.
MOST_SECONDS = 1_000_000
#: Durations are counted in bins, each so many times as long as the one before: medians are 2.5 % off at most.
_BIN = 1.05
_COLUMNS = {
    "endpoint": "str", "method": "str", "window_s": "int64", "limit": "Int64", "peak": "int64",
    "caller": "str", "share": "float64", "frees_at": UTC_NS, "refused": "int64", "kind": "str",
    "concurrency": "Int64", "pause_s": "float64", "backlog_per_min": "float64", "clears_at": UTC_NS,
    "clears_from": UTC_NS, "clears_until": UTC_NS, "first_exceeded": UTC_NS, "broken": "int64",
    "observed": "bool", "others": "Int64", "worker": "str", "worker_share": "float64", "host": "str",
    "host_share": "float64", "p50_s": "float64", "minute_begins": "Int64",
}  # fmt: skip


class Waits(NamedTuple):
    """What answers said about waiting.

    Attributes:
        last: Moment of the latest refusal that said how long, and until when [s since the window's start].
        first_long: Moment of the first that was longer than a minute; None: none was.
        ends: How often a minute's window was said to end in second 0, 1, … 59.
    """

    last: tuple[float, float]
    first_long: float | None
    ends: tuple[int, ...]


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        seconds: Per operation, attempt ("0": it is not told) and second: calls, and those that were refused
            with 429.
        spenders: Per attribute: operation, its value and minute.
        waits: Per operation.
        durations: Per operation: bin → calls.
        told: Per operation: when the server last told its limits, and the header.
        calls: In the window, of operations that the catalogue knows.
        unknown: In the window, of others.
        untimed: Calls without a time.
        left_out: Of both, those that were refused with 429.
    """

    seconds: Strata | None
    spenders: Mapping[str, Strata | None]
    waits: Mapping[str, Waits]
    durations: Mapping[str, Mapping[int, int]]
    told: Mapping[str, tuple[float, str]]
    calls: int
    unknown: int
    untimed: int
    left_out: int


def part(records: Records, window: Window) -> Part:
    """Count calls by operation and second."""
    calls, since = strata.timed(records.calls, window)
    at = since / 1e9
    operation = _operations(calls)
    seconds, ones = at.astype(np.int64), np.ones(len(calls))
    refused = calls["status_code"].eq(429).fillna(False).to_numpy(dtype=bool)
    attempt = Coded(ATTEMPTS, calls["attempt"].clip(0, len(ATTEMPTS) - 1).fillna(0).to_numpy(np.int64))
    minutes = seconds // MINUTE
    spenders = {
        name: strata.counted(
            {"operation": operation, name: strata.coded(calls[name])}, minutes, ones, refused
        )
        for name in SPENDERS
    }
    known, untimed = int((operation.codes >= 0).sum()), records.calls["timestamp"].isna()
    left_out = int(
        (refused & (operation.codes < 0)).sum() + (records.calls.loc[untimed, "status_code"] == 429).sum()
    )
    return Part(
        strata.counted(
            {"operation": operation, "attempt": attempt}, seconds, ones, refused, most=MOST_SECONDS
        ),
        spenders,
        _waits(operation, at, refused, calls["retry_after_s"].to_numpy()),
        _durations(operation, calls["duration_s"].to_numpy()),
        _told(operation, at, calls["message"]),
        known, len(calls) - known, int(untimed.sum()), left_out,
    )  # fmt: skip


def _operations(calls: pd.DataFrame) -> Coded:
    """Method and path template of each call, of the catalogue; -1: it is none of its."""
    names = [f"{each.endpoint.method} {each.endpoint.path}" if each.endpoint else None for each in places()]
    values = np.array(sorted({name for name in names if name}), dtype=object)
    codes = np.array([np.searchsorted(values, name) if name else -1 for name in names], dtype=np.int64)
    return Coded(values, codes[places_of(calls)])


def _waits(operation: Coded, at: Any, refused: Any, wait: Any) -> dict[str, Waits]:
    which = refused & ~np.isnan(wait) & (operation.codes >= 0)
    found = {}
    for code in np.unique(operation.codes[which]):
        mine = which & (operation.codes == code)
        moments, waits = at[mine], wait[mine]
        until = moments + waits
        latest = max(zip(moments.tolist(), until.tolist(), strict=True))
        minute = (waits > SECOND) & (waits <= MINUTE)
        ends = np.bincount((until[minute] % MINUTE).astype(np.int64), minlength=MINUTE)
        long = moments[waits > MINUTE]
        found[str(operation.values[code])] = Waits(
            latest, float(long.min()) if len(long) else None, tuple(ends.tolist())
        )
    return found


def _durations(operation: Coded, took: Any) -> dict[str, dict[int, int]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        bins = np.floor(np.log(took) / np.log(_BIN))
    which = np.isfinite(bins) & (operation.codes >= 0)
    lowest = int(bins[which].min(initial=0))
    span = int(bins[which].max(initial=0)) - lowest + 1
    key = operation.codes[which] * span + bins[which].astype(np.int64) - lowest
    found: dict[str, dict[int, int]] = {}
    for cell, count in zip(*np.unique(key, return_counts=True), strict=True):
        code, place = divmod(int(cell), span)
        found.setdefault(str(operation.values[code]), {})[place + lowest] = int(count)
    return found


def _told(operation: Coded, at: Any, messages: pd.Series[str]) -> dict[str, tuple[float, str]]:
    """Lines that carry the answer's headers tell the limit: the server's own word."""
    speaks = pc.match_substring(pa.array(messages), "ratelimit-limit", ignore_case=True).fill_null(False)
    found: dict[str, tuple[float, str]] = {}
    for place in np.flatnonzero(speaks.to_numpy(zero_copy_only=False)):
        header = limit_in(str(messages.iloc[place]))
        limit = parse_limit(header)
        if header and limit and limit.windows and operation.codes[place] >= 0:
            name = str(operation.values[operation.codes[place]])
            found[name] = max(found.get(name, (-1.0, "")), (float(at[place]), header))
    return found


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    waits: dict[str, Waits] = {}
    durations: dict[str, Counter[int]] = {}
    told: dict[str, tuple[float, str]] = {}
    for each in parts:
        for name, wait in each.waits.items():
            waits[name] = _later(waits[name], wait) if name in waits else wait
        for name, bins in each.durations.items():
            durations.setdefault(name, Counter()).update(bins)
        for name, header in each.told.items():
            told[name] = max(told.get(name, header), header)
    return Part(
        strata.merged([each.seconds for each in parts], MOST_SECONDS),
        {name: strata.merged([each.spenders[name] for each in parts]) for name in SPENDERS},
        waits, durations, told, *np.sum([each[5:] for each in parts], axis=0).tolist(),
    )  # fmt: skip


def _later(one: Waits, other: Waits) -> Waits:
    long = [each.first_long for each in (one, other) if each.first_long is not None]
    ends = tuple(map(sum, zip(one.ends, other.ends, strict=True)))
    return Waits(max(one.last, other.last), min(long, default=None), ends)


def ratelimit(
    calls: pd.DataFrame, window: Window, limits: Mapping[str, Mapping[int, int]] | None = None
) -> pd.DataFrame:
    """How rate limits were used: of operations whose calls were refused with 429, or exceeded a limit.

    Args:
        calls: CALLS frame.
        window: Calls outside it are left out.
        limits: `METHOD /path` → window [s] → calls allowed, where an answer of Klaviyo's told them.

    Returns:
        A row per operation and window that was used up, the first to break first: `endpoint`, `method`,
        `window_s`, `limit` (missing: nobody knows it), `observed` (was it told by an answer?), `peak` (most
        calls in one window), `refused` (of the operation: the same in each of its rows), `first_exceeded`,
        `broken` (in how many windows that was), `caller`, `worker`, `host` with `share`, `worker_share`,
        `host_share` (who made most of the calls in filled windows; in the day before a day's limit was used
        up), `kind` (`loop`, `retries`, `growth`; missing: cannot tell, or others spend most), `others`
        (at least so much is spent by others of the account, if the limit is that), `frees_at`, `clears_at`
        (when refused calls are served, if all are tried again and all else goes on; chance puts it between
        `clears_from` and `clears_until`, missing: perhaps never), `p50_s` [s], `concurrency` and `pause_s`
        that stay below the margin, `backlog_per_min` (calls of a backlog that may be sent beside
        the live ones; missing: what others spend, or what is left of the day, is not known), `minute_begins`
        (seconds after each minute of `window` that one of the server's begins; missing: nobody knows, and
        minutes of `window` are counted).
    """
    return _rows(part(of_calls(calls).inside(window), window), window, limits)


def broken(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """When windows of limits were used up: `method`, `endpoint`, `window_s`, `start`, `end`.

    A row per stretch of such windows that touch, as `ratelimit` counts them; by time.
    """
    rows = [
        (*each.operation.split(" ", 1), each.window_s, *(window.start + timedelta(seconds=at) for at in both))
        for each in spent(part(of_calls(calls).inside(window), window))
        for both in each.broken
    ]
    found = pd.DataFrame(rows, columns=["method", "endpoint", "window_s", "start", "end"])
    found = found.astype({"window_s": "int64", "start": UTC_NS, "end": UTC_NS})
    return found.sort_values(["start", "window_s"], kind="stable", ignore_index=True)


def doubted(told: Part) -> Part:
    """Where a clock was set back nobody knows what waits, or for how long."""
    if told.seconds is None:
        return told
    names = told.seconds.values
    unknown = {**names, "attempt": (ATTEMPTS[0],) * len(names["attempt"])}
    return told._replace(seconds=told.seconds._replace(values=unknown))


def _rows(told: Part, window: Window, limits: Mapping[str, Mapping[int, int]] | None = None) -> pd.DataFrame:
    rows = [_row(told, each, window.start) for each in spent(told, limits)]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _row(told: Part, each: Spent, start: datetime) -> dict[str, Any]:
    """By the names of `_COLUMNS`."""
    method, _, path = each.operation.partition(" ")
    took = _median(told.durations.get(each.operation, {}))
    same = ("window_s", "limit", "observed", "peak", "refused", "kind", "others", "backlog_per_min")
    row = {name: getattr(each, name) for name in (*same, "minute_begins")}
    row |= {"endpoint": path, "method": method, "p50_s": took}
    row["broken"] = max(1, round(sum(end - begin for begin, end in each.broken) / each.window_s))
    if each.limit:
        row["concurrency"], row["pause_s"] = pace(each.limit, each.window_s, took)
    for name in SPENDERS:
        share = "share" if name == "caller" else f"{name}_share"
        row[name], row[share] = each.who.get(name, (None, None))
    clears = each.clears or (None, None, None)
    moments = dict(zip(("clears_at", "clears_from", "clears_until"), clears, strict=True))
    moments |= {"first_exceeded": each.first, "frees_at": each.frees}
    return row | {name: None if at is None else start + timedelta(seconds=at) for name, at in moments.items()}


def _median(bins: Mapping[int, int]) -> float | None:
    """Median duration [s]: the middle of its bin."""
    half, so_far = sum(bins.values()) / 2, 0
    for place in sorted(bins):
        so_far += bins[place]
        if so_far >= half:
            return float(_BIN ** (place + 0.5))
    return None


def answer(told: Part, window: Window) -> Answer:
    """Which window broke first, who spent it, when it frees."""
    rows = _rows(told, window)
    return Answer("ratelimit", _says(told, rows, window.start), rows, tuple(_covers(told)))


def _says(told: Part, rows: pd.DataFrame, start: datetime) -> str:
    if told.seconds is None:
        return "Cannot tell how limits were used: there are too many calls to count by the second."
    if rows.empty and told.left_out:
        why = "their endpoint is not in the catalogue, or they have no time"
        return (
            f"Cannot tell which limit was reached: {told.left_out:,} calls were refused with 429, but {why}."
        )
    if not told.calls:
        return "Cannot tell how limits were used: no call of a known endpoint with a time was found."
    if rows.empty:
        return f"No limit was reached: none of {many(told.calls, 'call')} was refused with 429."
    first = rows.iloc[0]
    said = [f"{first['method']} {first['endpoint']}: {_broke(first)}"]
    if pd.notna(first["others"]):
        spent = f"what is not in this log (other callers, other apps) spends at least {first['others']} of it"
        said.append(spent if first["observed"] else f"{spent}, or less is allowed than the catalogue says")
    elif pd.notna(first["caller"]):
        said.append(
            f"{first['caller']} makes {first['share']:.0%} of the calls{_KINDS.get(first['kind'], '')}"
        )
    if pd.notna(first["frees_at"]):
        over = first["frees_at"] < start + timedelta(seconds=int(told.seconds.cells["stretch"].max()))
        said.append(f"it {'freed' if over else 'frees'} at {stamp(first['frees_at'].ceil('s'))} UTC")
    if pd.notna(first["clears_at"]):
        said.append(_served(first))
    return "; ".join(said) + "."


def _served(row: pd.Series[Any]) -> str:
    said = f"what waits is served at about {stamp(row['clears_at'])} UTC"
    if pd.isna(row["clears_until"]):
        return f"{said}, from {stamp(row['clears_from'])} on, or never: calls come nearly as fast"
    return f"{said}, between {stamp(row['clears_from'])} and {stamp(row['clears_until'])}"


_KINDS = {
    "loop": " (a loop: most of what was added is its)",
    "retries": " (a storm of retries)",
    "growth": " (all grew)",
}


def _broke(row: pd.Series[Any]) -> str:
    name = WINDOWS.get(int(row["window_s"]), f"{row['window_s']} s")
    limit = "a limit that nobody knows" if pd.isna(row["limit"]) else f"{row['limit']} allowed"
    since = f"{stamp(row['first_exceeded'])} UTC"
    return f"up to {row['peak']} calls in one {name}, {limit}, {row['refused']} refused, since {since}"


def _covers(told: Part) -> Iterator[str]:
    if told.untimed:
        yield f"{told.untimed:,} calls without a time are left out."
    if told.unknown:
        yield f"{told.unknown:,} calls are of no operation of the catalogue, or their method is not told."
    if told.seconds and told.seconds.rung > 1:
        yield f"Calls were counted by {told.seconds.rung} s: windows of a second were not looked at."
    lost = [name for name, table in told.spenders.items() if table is None]
    if lost:
        yield f"Too many different values to say who: {', '.join(lost)}."


QUESTION = Question("ratelimit", part, merge, answer)
