"""Which error messages are there: alike ones as one, how often, since when, and which are new?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.frames import UTC_NS
from klaviyo_nb.lines import many, one_line
from klaviyo_nb.logs.questions import strata
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.logs.questions.masks import alike, masked, shortened
from klaviyo_nb.logs.questions.question import Answer, Question, Records, of_calls
from klaviyo_nb.logs.questions.tallies import NEVER, moments_of, stamps
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

#: So many different masked messages are kept whole; of more, only their first words, as few as are needed.
MOST = 5_000
WORDS = (None, 12, 6, 3, 1, 0)
#: Messages cited per template.
EXAMPLES = 3
#: Characters of a template in a sentence.
LONGEST = 100
#: The quiet part of a window has so many calls at least, and the share that fails is so many times smaller
#: than after it; the change explains the failures better by such a factor [logarithm].
QUIET_CALLS, QUIETER, SURE = 20, 3.0, 10.0
#: Stands before what is told of a line without a message; the columns that tell it; what a body has that says
#: more: an object without any of these is the record itself.
UNTOLD, _TELLING = "(no message)", ("method", "endpoint", "error_type", "error_code", "error_pointer")
#: How Klaviyo names what it refuses.
_REFUSAL = ("error_code", "error_pointer")
_BODY = r'"(?:errors|detail|message)"'
_COLUMNS = {"template": "str", "status": "Int64", "count": "int64", "share": "float64", "first": UTC_NS,
            "last": UTC_NS, "new": "boolean", "cited": "str", "example": "str"}  # fmt: skip
_KEY = ["text", "status"]
_ORDER = [*_KEY, "moment", "source", "line_no", "message"]


class Part(NamedTuple):
    """What some calls tell.

    Attributes:
        words: So many words of the masked messages are kept; None: all.
        texts: `text` (masked), `status` (0: none), `count`, `first`, `last` [ns since 1970].
        cited: Of each, the first messages: `text`, `status`, `moment`, `source`, `line_no`, `message`.
        stretches: `stretch` (-1: no time), `calls`, `failed` (and other errors).
    """

    words: int | None
    texts: pd.DataFrame
    cited: pd.DataFrame
    stretches: pd.DataFrame


def part(records: Records, window: Window) -> Part:
    """Messages of calls that failed, and of lines that are errors, masked and counted."""
    calls = records.calls
    moments = moments_of(calls["timestamp"])
    wrong = (failure_kinds(calls).notna() | calls["level"].isin(["error", "critical"])).to_numpy()
    lines = calls[wrong]
    messages = pc.dictionary_encode(_texts(lines))
    if isinstance(messages, pa.ChunkedArray):
        messages = messages.combine_chunks()
    texts = masked(messages.dictionary)
    words = next(each for each in WORDS if each == 0 or _may_fit(texts, each))
    texts = pc.dictionary_encode(shortened(texts, words))
    found = pd.DataFrame(
        {
            "text": texts.indices.to_numpy()[messages.indices.to_numpy()],
            "status": lines["status_code"].fillna(0).to_numpy(np.int64),
            "moment": moments[wrong],
        }
    )
    grouped = found.iloc[_by_place(lines, moments[wrong])].groupby(_KEY, sort=False)
    sums = {"count": ("moment", "size"), "first": ("moment", "min"), "last": ("moment", "max")}
    counts = grouped.agg(**sums).reset_index()
    early = grouped.head(EXAMPLES)
    told = lines.iloc[early.index][["source", "line_no", "message"]].astype({"source": "str"})
    cited = pd.concat([early, told.set_axis(early.index)], axis=1)
    names = texts.dictionary.to_pandas().astype("str")
    counts, cited = (frame.assign(text=names.take(frame["text"]).to_numpy()) for frame in (counts, cited))
    return _fitting(words, counts, cited, _stretches(moments, wrong, window))


def _texts(lines: pd.DataFrame) -> Any:
    """What each line says, as Arrow texts; without a message, or if that is the record, what it tells.

    Of a logger's constant sentence the refusal that stands under keys beside it is what tells lines apart.
    """
    texts = _with_refusals(pa.array(lines["message"]).cast(pa.large_string()).fill_null(""), lines)
    record = pc.and_not(pc.starts_with(texts, "{"), pc.match_substring_regex(texts, _BODY))
    bare = pc.or_(pc.equal(texts, ""), record)
    if not pc.any(bare).as_py():
        return texts
    rows = lines[bare.to_numpy(zero_copy_only=False)]
    told = [pa.array(rows[name].astype("str")).cast(pa.large_string()) for name in _TELLING]
    untold, blank = (pa.scalar(text, pa.large_string()) for text in (UNTOLD, " "))
    told = pc.binary_join_element_wise(untold, *told, blank, null_handling="skip")
    return pc.replace_with_mask(texts, bare, told)


def _with_refusals(texts: Any, lines: pd.DataFrame) -> Any:
    refused = lines["message"].notna() & lines[[*_REFUSAL]].notna().any(axis=1)
    if not refused.any():
        return texts
    rows = refused.to_numpy()
    said = texts.filter(pa.array(rows)).to_pylist()
    told = zip(*(lines.loc[rows, name].astype("object") for name in _REFUSAL), strict=True)
    missing = (
        " ".join(each for each in pair if isinstance(each, str) and each not in text)
        for text, pair in zip(said, told, strict=True)
    )
    longer = [f"{text}: {more}" if more else text for text, more in zip(said, missing, strict=True)]
    return pc.replace_with_mask(texts, pa.array(rows), pa.array(longer, pa.large_string()))


def _may_fit(texts: Any, words: int | None) -> bool:
    """Are there few enough different ones among the first of them? If not, there are too many in all."""
    return len(pc.unique(shortened(texts[: 4 * MOST], words))) <= MOST


def _by_place(lines: pd.DataFrame, moments: Any) -> Any:
    """Order of lines: by time, source and line, so that it does not matter how a log was cut."""
    source = pd.factorize(lines["source"], sort=True)[0]
    number = lines["line_no"].to_numpy("float64", na_value=np.inf)
    keys = [number, source, moments]
    if np.isinf(number).any():  # else no two are of the same place
        keys.insert(0, pd.factorize(lines["message"], sort=True)[0])
    return np.lexsort(keys)


def _stretches(moments: Any, wrong: Any, window: Window) -> pd.DataFrame:
    since = (moments - pd.Timestamp(window.start).value) // (strata.stretch_s(window) * 10**9)
    at = np.where(moments == NEVER, -1, since)
    frame = pd.DataFrame({"stretch": at, "calls": 1, "failed": wrong.astype(np.int64)})
    return frame.groupby("stretch", as_index=False).sum()


def _fitting(words: int | None, texts: pd.DataFrame, cited: pd.DataFrame, stretches: pd.DataFrame) -> Part:
    """Added up, with as many words of the messages as fit."""
    for each in WORDS[WORDS.index(words) :]:
        if each != words:
            texts, cited = (frame.assign(text=_shorter(frame["text"], each)) for frame in (texts, cited))
        sums = {"count": ("count", "sum"), "first": ("first", "min"), "last": ("last", "max")}
        texts = texts.groupby(_KEY, as_index=False).agg(**sums)
        if len(texts) <= MOST or each == WORDS[-1]:
            break
    cited = cited.sort_values(_ORDER, kind="stable").groupby(_KEY).head(EXAMPLES).reset_index(drop=True)
    return Part(each, texts, cited, stretches.groupby("stretch", as_index=False).sum())


def _shorter(texts: pd.Series[str], words: int | None) -> pd.Series[str]:
    return pd.Series(shortened(pa.array(texts), words).to_pandas(), index=texts.index, dtype="str")


def merge(parts: Sequence[Part]) -> Part:
    """Parts added up."""
    words = WORDS[max(WORDS.index(each.words) for each in parts)]
    frames = []
    for each in parts:
        told = [each.texts, each.cited]
        if each.words != words:
            told = [frame.assign(text=_shorter(frame["text"], words)) for frame in told]
        frames.append((*told, each.stretches))
    return _fitting(words, *(pd.concat(each, ignore_index=True) for each in zip(*frames, strict=True)))


def placed(told: Part, before: int | None) -> Part:
    """With lines counted from the beginning of the source; missing where nobody knows."""
    lines = told.cited["line_no"]
    return told._replace(
        cited=told.cited.assign(line_no=lines + before if before is not None else pd.NA * lines)
    )


def templates(calls: pd.DataFrame, window: Window, quiet_until: pd.Timestamp | None = None) -> pd.DataFrame:
    """Messages of failed calls and of lines that are errors, alike ones as one, most frequent first.

    Args:
        calls: CALLS frame.
        window: Asked about.
        quiet_until: End of the baseline; else the quiet part of the window before calls began to fail.

    Returns:
        `template` (with `<*>` for what differs), `status` (HTTP; missing: none), `count`, `share` (of all
        such messages), `first`, `last`, `new` (not seen in the baseline; missing: there is none), `cited`
        (source and line of the first three), `example` (the first).
    """
    return _rows(QUESTION.merge([part(of_calls(calls).inside(window), window)]), window, quiet_until)


def _rows(told: Part, window: Window, quiet_until: pd.Timestamp | None = None) -> pd.DataFrame:
    names = alike(told.texts["text"].tolist())
    texts, cited = (frame.assign(template=frame["text"].map(names)) for frame in (told.texts, told.cited))
    sums = {"count": ("count", "sum"), "first": ("first", "min"), "last": ("last", "max")}
    rows = texts.groupby(["template", "status"], as_index=False).agg(**sums)
    rows["share"] = rows["count"] / max(int(rows["count"].sum()), 1)
    quiet = _quiet_until(told.stretches, window) if quiet_until is None else quiet_until
    if quiet is None:
        rows["new"] = pd.NA
    else:
        rows["new"] = (rows["first"] >= quiet.value) & (rows["first"] != NEVER)
    cited["cited"] = cited["source"].fillna("?") + ":" + cited["line_no"].astype("str").fillna("?")
    first = cited.sort_values(["moment", "source", "line_no"], kind="stable").groupby(["template", "status"])
    places = first.head(EXAMPLES).groupby(["template", "status"])["cited"].agg(", ".join)
    rows = rows.join(places, on=["template", "status"]).join(
        first["message"].first().rename("example"), on=["template", "status"]
    )
    rows["first"], rows["last"] = stamps(rows["first"].to_numpy()), stamps(rows["last"].to_numpy())
    rows["status"] = rows["status"].astype("Int64").mask(rows["status"] == 0)
    rows = rows.sort_values(["count", "template"], ascending=[False, True], kind="stable", ignore_index=True)
    return rows[list(_COLUMNS)].astype(_COLUMNS)


def _quiet_until(stretches: pd.DataFrame, window: Window) -> pd.Timestamp | None:
    """When calls began to fail: where two shares explain the failures best; None: there is no such time."""
    told = stretches[stretches["stretch"] >= 0].sort_values("stretch")
    calls, failed = (np.cumsum(told[name].to_numpy(dtype=float)) for name in ("calls", "failed"))
    if len(told) < 2 or failed[-1] == 0:
        return None
    before, after = (calls[:-1], failed[:-1]), (calls[-1] - calls[:-1], failed[-1] - failed[:-1])
    gain = _likelihood(*before) + _likelihood(*after) - _likelihood(calls[-1], failed[-1])
    grew = (after[1] / after[0] >= QUIETER * before[1] / before[0]) & (before[0] >= QUIET_CALLS)
    gain = np.where(grew, gain, 0.0)
    best = int(np.argmax(gain))
    if gain[best] < SURE:
        return None
    seconds = int(told["stretch"].iloc[best + 1]) * strata.stretch_s(window)
    return pd.Timestamp(window.start) + pd.Timedelta(seconds=seconds)


def _likelihood(calls: Any, failed: Any) -> Any:
    """Logarithm of the likelihood of failures at their own share."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = failed * np.log(failed / calls), (calls - failed) * np.log(1 - failed / calls)
    return np.nan_to_num(parts[0]) + np.nan_to_num(parts[1])


def answer(told: Part, window: Window) -> Answer:
    """The most frequent template, and what is new."""
    rows = _rows(told, window)
    return Answer("templates", _says(told, rows), rows, tuple(_covers(told, rows, window)))


def _says(told: Part, rows: pd.DataFrame) -> str:
    if rows.empty:
        calls = int(told.stretches["calls"].sum())
        what = f"none of {many(calls, 'call')} failed" if calls else "no call was found"
        return f"{'No error message' if calls else 'Cannot tell'}: {what}."
    first = rows.iloc[0]
    text = one_line(first["template"], LONGEST)
    new = int(rows["new"].sum()) if rows["new"].notna().any() else None
    more = "" if new is None else f", {new:,} of them new since calls began to fail"
    since = f", first at {stamp(first['first'])} UTC" if pd.notna(first["first"]) else ""
    return (
        f"Error messages: {rows['count'].sum():,}; kinds: {len(rows):,}{more}; {first['share']:.0%} are "
        f"“{text}”{since}."
    )


def _covers(told: Part, rows: pd.DataFrame, window: Window) -> Iterator[str]:
    untimed = int((told.texts["first"] == NEVER).sum())
    if untimed:
        yield f"Messages of {untimed:,} kinds carry no time: they are counted, and not new."
    if told.words is not None:
        yield f"More than {MOST:,} different messages: only their first {told.words} words were compared."
    quiet = _quiet_until(told.stretches, window)
    if len(rows) and quiet is None:
        yield "There is no quiet part of the window to compare with: nobody knows what is new."
    elif quiet is not None:
        yield f"New is what was not seen before {stamp(quiet)} UTC."


QUESTION = Question("templates", part, merge, answer, placed)
