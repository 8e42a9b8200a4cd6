"""What fails, since when, how much of it, and what is slow; is the log itself silent at times?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import pandas as pd

from klaviyo_nb.frames import UTC_NS, as_texts
from klaviyo_nb.intervals import wilson
from klaviyo_nb.klaviyo.answers import Failure, failure
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import ANSWER, answered
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.tallies import (
    NEVER,
    Silence,
    added,
    bins_of,
    first_names,
    grouped,
    moments_of,
    numbered,
    silence,
    stamps,
    width,
)
from klaviyo_nb.window import same_day, stamp

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: Distinct paths that are kept, those that sort first; and what stands for all others, and for none.
MOST, OTHERS, NONE = 500, "(others)", ""
_COLUMNS = ("method", "endpoint", "calls", "failed", "share", "kind", "first_failed", "last_failed",
            "p95_s", "quiet_p95_s", "p50_s", "quiet_p50_s", "share_low", "share_high")  # fmt: skip
#: Kinds of failure by their number; 0: none.
_KINDS = (NONE, *get_args(Failure))
#: What is counted for each bin of time; and durations, for each slice of the window.
_CELL = ("bin", "method", "endpoint", "status", "kind")
_PLACE = ["method", "endpoint"]
_CALLS = {"calls": "sum"}
_TIMES = _CALLS | {"first": "min", "last": "max"}
_SPEED, _SLICES = ("slice", "method", "endpoint", "bucket"), 24
#: Durations fall into buckets that grow by this factor, so that quantiles are known to 2.5 % [1]; the first
#: ends here [s].
_GROWTH, _LEAST_S = 1.05, 1e-4
#: A slice of the window is quiet if no larger share of its calls failed [1].
_QUIET = 0.05
#: Fewer calls than these tell nothing of a silence.
_FEW = 10
#: Kind of failure → what a person calls it.
_WORDS: Mapping[str, str] = {
    "unauthorized": "unauthorized (401)", "forbidden": "forbidden (403)", "throttled": "throttled (429)",
    "invalid": "rejected (another 4xx)", "server": "server error or no answer",
    "unreachable": "Klaviyo not reached",
}  # fmt: skip


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        cells: `bin` (-1: no time), `method`, `endpoint`, `status` (its class, 0: none), `kind` of failure →
            `calls`, `first`, `last` [ns since 1970].
        speed: `slice` (-1: no time), `method`, `endpoint`, `bucket` → `calls` that took so long.
    """

    cells: pd.DataFrame
    speed: pd.DataFrame


def part(records: Records, window: Window) -> Part:
    """Calls by time, place and what became of them."""
    calls = records.calls.assign(endpoint=first_names(records.calls["endpoint"], MOST, OTHERS, NONE))
    moments = moments_of(calls["timestamp"])
    bins = bins_of(moments, window)
    cells = _cells(calls[[*_PLACE, *ANSWER]].assign(bin=bins), moments)
    cells["kind"] = np.array(_KINDS)[answered(cells, _kind).astype(np.int64)]
    cells["status"] = cells["status_code"].clip(0, 999).fillna(0).to_numpy(np.int64) // 100
    return merge([Part(_told(cells), _speed(calls, bins, window))])


def _cells(groups: pd.DataFrame, moments: Any) -> pd.DataFrame:
    """Calls of each group, and the first and the last moment of them."""
    if (moments[1:] < moments[:-1]).any():
        order = np.argsort(moments, kind="stable")
        groups, moments = groups.iloc[order], moments[order]
    number, firsts = numbered(groups)
    lasts = np.empty(len(firsts), dtype=np.int64)
    lasts[number] = np.arange(len(number))
    cells = as_texts(groups.iloc[firsts].reset_index(drop=True))
    last = np.where(cells["bin"] < 0, -NEVER, moments[lasts])
    return cells.assign(calls=np.bincount(number, minlength=len(firsts)), first=moments[firsts], last=last)


def _kind(status: int | None, error_type: str | None, answered_by: str | None) -> int:
    return _KINDS.index(failure(status, error_type, answered_by) or NONE)


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """With a word for what is missing, by which groups are told apart."""
    return frame.assign(**{name: frame[name].astype("str").fillna(NONE) for name in ("method", "endpoint")})


def _speed(calls: pd.DataFrame, bins: Any, window: Window) -> pd.DataFrame:
    """Durations by slice of the window, place and bucket."""
    took = calls["duration_s"].to_numpy()
    known = np.isfinite(took)
    if not known.all():
        took, bins, calls = took[known], bins[known], calls[known]
    powers = np.log(np.maximum(took, _LEAST_S))
    powers -= np.log(_LEAST_S)
    powers /= np.log(_GROWTH)
    slices = _slices(np.arange(-1, bins.max(initial=-1) + 1), window)[bins + 1]
    columns = {name: calls[name] for name in _PLACE}
    columns |= {"slice": slices, "bucket": np.ceil(powers).astype(np.int64)}
    return _told(grouped(columns))[[*_SPEED, "calls"]]


def _slices(bins: Any, window: Window) -> Any:
    """Number of the slice that each bin lies in; -1: no time."""
    length = window.seconds / _SLICES
    return np.where(bins < 0, -1, bins * width(window).total_seconds() // length).astype(np.int64)


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    cells = added([each.cells for each in parts], _CELL, _TIMES)
    speed = added([each.speed for each in parts], _SPEED, _CALLS)
    paths = sorted(set(cells["endpoint"]) - {OTHERS, NONE})
    if len(paths) <= MOST:
        return Part(cells, speed)
    kept = [*paths[:MOST], NONE]
    cells, speed = (
        each.assign(endpoint=each["endpoint"].where(each["endpoint"].isin(kept), OTHERS))
        for each in (cells, speed)
    )
    return Part(added([cells], _CELL, _TIMES), added([speed], _SPEED, _CALLS))


def answer(told: Part, window: Window) -> Answer:
    """One row per endpoint, most failures first."""
    rows = _rows(told, window)
    covers = []
    untimed = int(told.cells.loc[told.cells["bin"] < 0, "calls"].sum())
    if untimed:
        covers.append(f"Calls without a time: {untimed:,}; they are counted, and in no minute.")
    untold = told.cells[(told.cells["status"] == 0) & (told.cells["kind"] == NONE)]["calls"].sum()
    if untold:
        covers.append(f"Calls of which the log tells no status: {untold:,}; none counts as failed.")
    if OTHERS in set(told.cells["endpoint"]):
        covers.append(f"Paths beyond the first {MOST} are counted together.")
    if rows["p50_s"].notna().any():
        covers.append("Quantiles are known to 2.5 %; quiet is where at most 5 % of all calls failed.")
    return Answer("overview", _says(told, rows, window), rows, tuple(covers))


def overview(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Calls per endpoint.

    Args:
        calls: CALLS frame.
        window: Asked about.

    Returns:
        `method`, `endpoint`, `calls`, `failed`, `share` of calls that failed, `kind` (of most failures),
        `first_failed`, `last_failed`, `p95_s` and `p50_s` with those of the quiet part of the window, where
        at most 5 % of all calls failed, and the 95 % Wilson interval of the share, `share_low` to
        `share_high`.
    """
    return QUESTION.ask(of_calls(calls), window).rows


def over_time(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Calls by status class, endpoint and minute; longer bins if the window is longer than a day.

    Returns:
        `timestamp` (beginning of the bin), `method`, `endpoint`, `status` (class: 2 to 5; 0: none is known),
        `kind` of failure (missing: none), `calls`.
    """
    cells = part(of_calls(calls).inside(window), window).cells
    cells = cells[cells["bin"] >= 0]
    times = pd.Timestamp(window.start) + cells["bin"] * pd.Timedelta(width(window))
    told = _named(cells.assign(timestamp=times))
    return told[["timestamp", *_CELL[1:], "calls"]].reset_index(drop=True)


def causes(calls: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Kinds of failure, most first.

    Returns:
        `kind`, `failed`, `first`, `last`.
    """
    return _causes(part(of_calls(calls).inside(window), window))


def _causes(told: Part) -> pd.DataFrame:
    found = added([told.cells[told.cells["kind"] != NONE]], ["kind"], _TIMES)
    for name in ("first", "last"):
        found[name] = stamps(found[name].to_numpy(np.int64))
    found = found.rename(columns={"calls": "failed"})
    return found.sort_values(["failed", "kind"], ascending=[False, True], ignore_index=True)


def _rows(told: Part, window: Window) -> pd.DataFrame:
    bad = told.cells[told.cells["kind"] != NONE]
    kinds = added([bad], [*_PLACE, "kind"], _TIMES)
    most = kinds.sort_values("calls", ascending=False, kind="stable").drop_duplicates(_PLACE)
    failed = added([bad], _PLACE, _TIMES).rename(
        columns={"calls": "failed", "first": "first_failed", "last": "last_failed"}
    )
    quiet = told.speed[told.speed["slice"].isin(_quiet(told.cells, window))]
    frame = added([told.cells], _PLACE, _CALLS)
    for more in (
        failed, most[[*_PLACE, "kind"]], _quantiles(told.speed, ""), _quantiles(quiet, "quiet_")
    ):  # fmt: skip
        frame = frame.merge(more, on=_PLACE, how="left")
    frame["failed"] = frame["failed"].fillna(0)
    frame["share"] = frame["failed"] / frame["calls"]
    bounds = [
        wilson(int(some), int(every)) for some, every in zip(frame["failed"], frame["calls"], strict=True)
    ]
    frame["share_low"], frame["share_high"] = np.array(bounds, dtype=float).reshape(-1, 2).T
    for name in ("first_failed", "last_failed"):
        frame[name] = stamps(frame[name].astype("Int64").fillna(NEVER).to_numpy(np.int64))
    dtypes = {name: "float64" for name in _COLUMNS if name.endswith("_s") or name.startswith("share")}
    dtypes |= {"calls": "int64", "failed": "int64", "first_failed": UTC_NS, "last_failed": UTC_NS}
    frame = _named(frame)[list(_COLUMNS)].astype(dtypes)
    order = np.lexsort((np.arange(len(frame)), -frame["calls"], -frame["failed"]))
    return frame.iloc[order].reset_index(drop=True)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """What is not told is missing."""
    texts = {name: frame[name].astype("str") for name in ("method", "endpoint", "kind")}
    return frame.assign(**{name: values.where(values != NONE) for name, values in texts.items()})


def _quiet(cells: pd.DataFrame, window: Window) -> list[int]:
    """Slices of the window in which hardly anything failed."""
    at = _slices(cells["bin"].to_numpy(), window)
    total = np.bincount(at + 1, weights=cells["calls"], minlength=_SLICES + 1)[1:]
    failed = np.where(cells["kind"] != NONE, cells["calls"], 0)
    bad = np.bincount(at + 1, weights=failed, minlength=_SLICES + 1)[1:]
    return [int(each) for each in np.flatnonzero(bad <= _QUIET * total)]


def _quantiles(speed: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Median and 95th percentile of durations per place, from their buckets [s]."""
    counts = added([speed], [*_PLACE, "bucket"], _CALLS)
    groups = counts.groupby(_PLACE)["calls"]
    upto, every = groups.cumsum(), groups.transform("sum")
    counts["took"] = _LEAST_S * _GROWTH ** (counts["bucket"] - 0.5)
    half, high = (
        counts[upto >= share * every].drop_duplicates(_PLACE)[[*_PLACE, "took"]] for share in (0.5, 0.95)
    )
    names = {"took_x": f"{prefix}p50_s", "took_y": f"{prefix}p95_s"}
    return half.merge(high, on=_PLACE).rename(columns=names)


def _silence(told: Part, window: Window) -> Silence | None:
    """The longest silence of all calls together; None with too few calls that have a time."""
    timed = told.cells[told.cells["bin"] >= 0]
    if timed["calls"].sum() < _FEW:
        return None
    bins = added([timed], ["bin"], {"first": "min", "last": "max"})
    return silence(bins["first"].to_numpy(), bins["last"].to_numpy(), window)


def _says(told: Part, rows: pd.DataFrame, window: Window) -> str:
    if rows.empty:
        return "Cannot tell: no call was found."
    calls, failed = int(rows["calls"].sum()), int(rows["failed"].sum())
    low, high = wilson(failed, calls)
    bounds = f"{failed / calls:.1%}, between {low:.1%} and {high:.1%}"
    said = [f"{failed:,} of {many(calls, 'call')} failed ({bounds})"]
    said += [
        f"{row['failed']:,} × {_WORDS[row['kind']]}{_between(row['first'], row['last'])}"
        for row in _causes(told).to_dict("records")
    ]
    quiet = _silence(told, window)
    if quiet and quiet.unusual:
        said.append(f"the log was {quiet.words}: of that time nothing is known")
    return f"{'; '.join(said)}."


def _between(first: Any, last: Any) -> str:
    if pd.isna(first):
        return ""
    if first.floor("s") == last.floor("s"):
        return f" at {stamp(first)} UTC"
    return f" from {stamp(first)} to {same_day(first, last)} UTC"


QUESTION = Question("overview", part, merge, answer)
