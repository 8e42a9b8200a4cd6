"""Questions that say what makes times and counts doubtful: a clock that was set back, the same line twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from klaviyo_nb.logs.questions.question import Answer, Question, Records
from klaviyo_nb.logs.questions.tallies import hashed, mixed, moments_of, numbered
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: A clock was set back if so many calls in a row are all earlier than as many before them, by so much [ns].
ROWS, BACK = 3, 60 * 10**9
#: Writers (source, host and worker) that are watched; of more, those whose hashes are lowest.
MOST_WRITERS = 200
#: Calls that are compared with each other, 25 bytes each; of more, those whose times' hashes are lowest.
MOST_CALLS = 20_000
#: Sources whose names are kept, those that sort first.
MOST_SOURCES = 1_000
#: Where equal times say little, so many [1] of a source's calls must stand in another source too.
MOSTLY = 0.5
_ALL = np.iinfo(np.uint64).max
_CALL = np.dtype([("time", "u8"), ("call", "u8"), ("source", "u8"), ("sure", "u1")])
_TEXTS = ("method", "endpoint", "host", "worker", "caller", "error_type", "error_code", "profile_key",
          "event_key", "request_id", "message")  # fmt: skip
_NUMBERS = ("status_code", "attempt", "duration_s")


class Part(NamedTuple):
    """What some calls tell to a question, and of themselves.

    Attributes:
        told: To the question.
        edges: The first and last calls of each writer: hash of the `source` and of the `writer`, `place` in
            the source, `moment` [ns since 1970], `far`: are there others between it and the one before it?
        back: Before which calls a clock was set back: as `edges`, and `was`, the moment of the call before.
        calls: Hash of what each call is and of its source; `sure`: hardly two calls are the same.
        below: Only calls whose hash is below it were kept.
        sources: Names of sources by hash.
        timed: Calls with a time.
    """

    told: Any
    edges: pd.DataFrame
    back: pd.DataFrame
    calls: Any
    below: int
    sources: dict[int, str]
    timed: int


def watched(
    question: Question[Any], doubted: Callable[[Any], Any] | None = None, most: int = MOST_CALLS
) -> Question[Part]:
    """The same question; its answer says where clocks were set back, and how many calls look like copies.

    Args:
        question: About calls.
        doubted: What a log told → what is left of it where times before and after cannot be compared.
        most: Calls that are compared with each other.
    """
    return Question(
        question.name,
        partial(_part, question, most),
        partial(_merge, question, most),
        partial(_answer, question, doubted),
        question.placed and partial(_placed, question),
    )


def _part(question: Question[Any], most: int, records: Records, window: Window) -> Part:
    calls = records.calls
    calls = calls[calls["timestamp"].notna()] if calls["timestamp"].hasnans else calls
    moments, source = moments_of(calls["timestamp"]), hashed(calls["source"])
    names = [str(name) for name in calls["source"].unique() if pd.notna(name)]
    return _bounded(
        Part(
            question.part(records, window), *_clocks(calls, moments, source),
            *_calls(calls, moments, source, most),
            dict(zip(hashed(pd.Series(names, dtype="str")).tolist(), names, strict=True)), len(calls),
        ),
        most,
    )  # fmt: skip


def _placed(question: Question[Any], told: Part, before: int | None) -> Part:
    assert question.placed is not None
    return told._replace(told=question.placed(told.told, before))


def _merge(question: Question[Any], most: int, parts: Sequence[Part]) -> Part:
    below = min(each.below for each in parts)
    calls = np.concatenate([each.calls for each in parts])
    return _bounded(
        Part(
            question.merge([each.told for each in parts]),
            pd.concat([each.edges for each in parts], ignore_index=True),
            pd.concat([each.back for each in parts], ignore_index=True),
            calls if below == _ALL else calls[calls["time"] < below],
            below,
            {number: name for each in parts for number, name in each.sources.items()},
            sum(each.timed for each in parts),
        ),
        most,
    )


def _bounded(told: Part, most: int) -> Part:
    """Of many calls, writers and sources the lowest hashes (names): the same however a log was cut."""
    if len(told.calls) > most:
        below = int(np.partition(told.calls["time"], most)[most])
        told = told._replace(calls=told.calls[told.calls["time"] < below], below=below)
    writers = np.unique(told.edges["writer"])
    if len(writers) > MOST_WRITERS:
        least = writers[MOST_WRITERS]
        told = told._replace(
            edges=told.edges[told.edges["writer"] < least], back=told.back[told.back["writer"] < least]
        )
    if len(told.sources) > MOST_SOURCES:
        names = sorted(told.sources.items(), key=lambda item: item[1])[:MOST_SOURCES]
        told = told._replace(sources=dict(names))
    return told


def _calls(calls: pd.DataFrame, moments: Any, source: Any, most: int) -> tuple[Any, int]:
    """Calls and `below` as in `Part`: alike are those of the same time, text and numbers."""
    time, below = mixed(moments.view(np.uint64)), _ALL
    if len(time) > most:  # texts of a million calls take a second
        below = int(np.partition(time, most)[most])
        few = np.flatnonzero(time < below)
        calls = calls[[*_NUMBERS, *_TEXTS]].iloc[few]
        moments, source, time = moments[few], source[few], time[few]
    found = np.zeros(len(calls), dtype=_CALL)
    same, fine = time, np.zeros(len(calls), dtype=bool)
    for number, name in enumerate((*_NUMBERS, *_TEXTS), 1):
        if name in _TEXTS:
            values = hashed(calls[name])
            if name in ("event_key", "request_id"):
                fine |= values != 0
        else:
            values = calls[name].to_numpy("float64", na_value=np.nan).view(np.uint64)
        same = mixed(same ^ mixed(values + np.uint64(number)))
    found["time"], found["call"], found["source"] = time, same, source
    # two calls of one millisecond are rare only if their texts name different things
    found["sure"] = (moments % 10**6 != 0) | (fine & (moments % 10**9 != 0))
    return found, below


def _clocks(calls: pd.DataFrame, moments: Any, source: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Edges, and where clocks were set back, as in `Part`."""
    place = calls["offset"].fillna(calls["line_no"])
    known = np.flatnonzero((place.notna() & calls["source"].notna()).to_numpy())
    who = calls[["source", "host", "worker"]]
    number, firsts = numbered(who.iloc[known] if len(known) < len(who) else who)
    who = who.iloc[known[firsts]]
    writer = mixed(mixed(source[known[firsts]] ^ mixed(hashed(who["host"]))) ^ hashed(who["worker"]))
    if len(writer) > MOST_WRITERS:
        few = writer <= np.sort(writer)[MOST_WRITERS]
        known, number = known[few[number]], (np.cumsum(few) - 1)[number[few[number]]]
        writer = writer[few]
    at = place.to_numpy(np.int64, na_value=0)
    order = _by_writer(number, at[known])
    in_order = known[order] if len(known) < len(calls) else order
    sizes, many = np.bincount(number), 2 * ROWS - 1
    starts = np.cumsum(sizes) - sizes
    ends = starts + sizes
    near = np.stack([starts[:, None] + np.arange(many), ends[:, None] - 1 - np.arange(many)])
    kept = np.unique(near[(near >= starts[:, None]) & (near < ends[:, None])])
    far = np.isin(kept, (ends - many)[sizes > 2 * many])
    back = _steps_back(moments[in_order], starts) if not (_rising(at) and _rising(moments)) else kept[:0]

    def rows(some: Any) -> pd.DataFrame:
        where = in_order[some]
        return pd.DataFrame({"source": source[where], "writer": writer[number[order[some]]],
                             "place": at[where], "moment": moments[where]})  # fmt: skip

    return rows(kept).assign(far=far), rows(back).assign(far=False, was=moments[in_order[back - 1]])


def _rising(numbers: Any) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


def _by_writer(number: Any, at: Any) -> Any:
    """Order by writer, then place: a log by time mostly has each writer's lines in order already."""
    few = number.max(initial=0) < 1 << 16
    order = np.argsort(number.astype(np.uint16) if few else number, kind="stable")
    if _rising(at):
        return order
    keys = number[order] * (at.max() + 1) + at[order]
    return order[np.argsort(keys, kind="stable")]


def _steps_back(moments: Any, starts: Any) -> Any:
    """Places before which a clock was set back; with each of `starts` another writer's calls begin."""
    found = np.flatnonzero(moments[1:] < moments[:-1] - BACK) + 1
    found = found[(found >= ROWS) & (found <= len(moments) - ROWS)]
    first, last = (np.searchsorted(starts, found + shift, side="right") for shift in (-ROWS, ROWS - 1))
    found = found[first == last]
    nearby = found[:, None] + np.arange(ROWS)
    return found[moments[nearby - ROWS].min(axis=1) - moments[nearby].max(axis=1) > BACK]


def _answer(
    question: Question[Any], doubted: Callable[[Any], Any] | None, told: Part, window: Window
) -> Answer:
    back = _jumps(told)
    inner = doubted(told.told) if doubted is not None and len(back) else told.told
    answer = question.answer(inner, window)
    said = [*_says_jumps(told, back), answer.says, *_says_copies(told)]
    return replace(answer, says=" ".join(said))


def _jumps(told: Part) -> pd.DataFrame:
    """Where clocks were set back, at the seams of parts too."""
    edges = told.edges.sort_values(["writer", "place"], kind="stable", ignore_index=True)
    run = pd.factorize(edges["writer"])[0] + np.cumsum(edges["far"].to_numpy())
    moments = edges["moment"].to_numpy()
    steps = _steps_back(moments, np.flatnonzero(np.diff(run, prepend=-1)))
    seams = edges.iloc[steps].assign(was=moments[steps - 1])
    found: pd.DataFrame = pd.concat([told.back, seams], ignore_index=True)
    found = found.drop_duplicates(["writer", "place"])
    return found.sort_values(["was", "source", "place"], ignore_index=True)


def _says_jumps(told: Part, back: pd.DataFrame) -> Iterator[str]:
    if back.empty:
        return
    far = (back["was"] - back["moment"]).to_numpy()
    most = int(far.argmax())
    was, now = (pd.Timestamp(back[name].iloc[most], tz="UTC") for name in ("was", "moment"))
    where = told.sources.get(int(back["source"].iloc[most]), "a source")
    more = "" if len(back) == 1 else f", the farthest of {len(back):,} times"
    yield (
        f"In {where} the clock goes back by {_lasting(far[most] / 1e9)}, from {stamp(was)} to {stamp(now)}"
        f" UTC{more}: times before and after cannot be compared."
    )


def _lasting(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


def _says_copies(told: Part) -> Iterator[str]:
    rows = told.calls[np.argsort(told.calls["call"], kind="stable")]
    call = np.cumsum(np.append(False, rows["call"][1:] != rows["call"][:-1])) if len(rows) else rows["call"]
    calls = pd.DataFrame({"call": call, "source": rows["source"], "sure": rows["sure"] > 0})
    again = calls.duplicated("call")
    if not again.any():
        return
    several = calls["call"].isin(calls["call"][again])
    shared = several & ~calls["call"].isin(calls["call"][calls.duplicated(["call", "source"])])
    part = shared[~calls["sure"]].groupby(calls["source"]).mean()
    mostly = calls["call"].isin(calls["call"][shared & calls["source"].isin(part.index[part >= MOSTLY])])
    copies = again & (calls["sure"] | mostly)
    if not copies.any():
        return
    count = round(int(copies.sum()) * (_ALL / told.below))
    which = calls["source"][calls["call"].isin(calls["call"][copies])].value_counts().index[:2]
    where = " and ".join(sorted(told.sources[each] for each in which if each in told.sources))
    about = "" if told.below == _ALL else "About "
    yield (
        f"{about}{count:,} of {told.timed:,} calls look like copies of others (same text, same time"
        f"{f'; {where}' if where else ''}): counts are at most, without copies {told.timed - count:,} calls"
        " were made."
    )
