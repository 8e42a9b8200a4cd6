"""Do webhooks arrive, are their signatures accepted, and how old are they?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb.frames import CALLS
from klaviyo_nb.logs.questions.question import Answer, Question, Records
from klaviyo_nb.logs.questions.tallies import (
    NEVER,
    Silence,
    added,
    bins_of,
    first_names,
    lasting,
    moments_of,
    silence,
    stamps,
    width,
)

if TYPE_CHECKING:
    from klaviyo_nb.window import Window

_COLUMNS = ("topic", "arrivals", "bad_signature", "failed", "longest_silence_s", "silent_since",
            "usual_silence_s", "accepted", "first", "last", "mean_age_s", "oldest_s")  # fmt: skip
#: Distinct topics that are kept, those that sort first; and what stands for all others, and for none.
MOST, OTHERS, NONE = 500, "(others)", "(not told)"
_BY = ("topic", "bin")
_SUMS = ("arrivals", "bad_signature", "failed", "aged", "age")
_HOW = dict.fromkeys(_SUMS, "sum") | {"first": "min", "last": "max", "oldest": "max"}
#: Fewer arrivals than these tell nothing of a silence.
_FEW = 10


def part(records: Records, window: Window) -> pd.DataFrame:
    """Deliveries by topic and bin of time; ages in microseconds."""
    hooks = records.webhooks
    moments, sent = moments_of(hooks["timestamp"]), moments_of(hooks["sent_at"])
    known = (moments != NEVER) & (sent != NEVER)
    age = np.where(known, (moments - sent) // 1_000, 0)
    topics = first_names(hooks["topic"], MOST, OTHERS, NONE)
    rows = pd.DataFrame({
        "topic": topics.astype("str").fillna(NONE).array, "bin": bins_of(moments, window), "arrivals": 1,
        "bad_signature": (hooks["outcome"] == "bad_signature").to_numpy(np.int64),
        "failed": (hooks["outcome"] == "failed").to_numpy(np.int64), "first": moments,
        "last": np.where(moments == NEVER, -NEVER, moments), "aged": known.astype(np.int64), "age": age,
        "oldest": np.where(known, age, -NEVER),
    })  # fmt: skip
    return merge([rows])


def merge(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Parts added up."""
    found = added(parts, _BY, _HOW)
    names = sorted(set(found["topic"]) - {OTHERS, NONE})
    if len(names) <= MOST:
        return found
    kept = found["topic"].isin([*names[:MOST], NONE])
    return added([found.assign(topic=found["topic"].where(kept, OTHERS))], _BY, _HOW)


def answer(told: pd.DataFrame, window: Window) -> Answer:
    """Deliveries per topic, the most unusual silence first."""
    rows = _rows(told, window)
    covers = []
    if len(rows):
        least = f"under {width(window).total_seconds():.0f} s they are not seen"
        covers.append(f"Silences are compared with the next longest in the window; {least}.")
    untimed = int(told.loc[told["bin"] < 0, "arrivals"].sum())
    if untimed:
        covers.append(f"Deliveries without a time: {untimed:,}.")
    if OTHERS in set(rows["topic"]):
        covers.append(f"Topics beyond the first {MOST} names are counted together.")
    return Answer("webhooks", _says(rows), rows, tuple(covers))


def webhooks(deliveries: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Webhook deliveries by topic.

    Args:
        deliveries: WEBHOOKS frame.
        window: From whose start to whose end silence counts.

    Returns:
        `topic`, `arrivals`, `bad_signature`, `failed`, `longest_silence_s`, `silent_since`, `usual_silence_s`
        (the next longest), `accepted`, `first`, `last`, `mean_age_s`, `oldest_s` (from `meta.timestamp` to
        our line).
    """
    return QUESTION.ask(Records(CALLS.empty(), deliveries), window).rows


def arrivals(deliveries: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Deliveries by topic over time, bins of time with deliveries only.

    Returns:
        `timestamp` (beginning of the bin), `topic`, `arrivals`, `bad_signature`, `failed`.
    """
    told = part(Records(CALLS.empty(), deliveries).inside(window), window)
    told = told[told["bin"] >= 0]
    times = pd.Timestamp(window.start) + told["bin"] * pd.Timedelta(width(window))
    told = told.assign(timestamp=times)
    return told[["timestamp", "topic", "arrivals", "bad_signature", "failed"]].reset_index(drop=True)


def _rows(told: pd.DataFrame, window: Window) -> pd.DataFrame:
    rows = [(topic, *_row(mine, window)) for topic, mine in told.groupby("topic", sort=True)]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for name in ("first", "last", "silent_since"):
        frame[name] = stamps(frame[name].to_numpy(np.int64))
    dtypes = dict.fromkeys(("longest_silence_s", "usual_silence_s", "mean_age_s", "oldest_s"), "float64")
    dtypes |= dict.fromkeys(("arrivals", "accepted", "bad_signature", "failed"), "int64") | {"topic": "str"}
    frame = frame.astype(dtypes)
    factor = frame["longest_silence_s"] / frame["usual_silence_s"].clip(lower=1.0)
    order = np.lexsort((np.arange(len(frame)), -factor.fillna(0.0)))
    return frame.iloc[order].reset_index(drop=True)


def _row(mine: pd.DataFrame, window: Window) -> tuple[Any, ...]:
    """What the bins of one topic tell, in the order of `_COLUMNS`."""
    arrived, bad, failed, aged, age = (int(mine[name].sum()) for name in _SUMS)
    timed = mine[mine["bin"] >= 0]
    quiet: tuple[float, int, float] = (np.nan, NEVER, np.nan)
    if len(timed):
        quiet = silence(timed["first"].to_numpy(), timed["last"].to_numpy(), window)
    ages = (age / aged / 1e6, mine["oldest"].max() / 1e6) if aged else (np.nan, np.nan)
    span = (mine["first"].min(), mine["last"].max())
    return (arrived, bad, failed, quiet[0], quiet[1], quiet[2], arrived - bad - failed, *span, *ages)


def _says(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "Cannot tell: no webhook delivery was found."
    total, bad, failed = (int(rows[name].sum()) for name in ("arrivals", "bad_signature", "failed"))
    said = [f"{total:,} webhooks arrived (topics: {len(rows):,})"]
    if bad:
        said.append(f"{bad:,} with a signature that was rejected")
    if failed:
        said.append(f"{failed:,} failed in our application")
    late = rows["oldest_s"].max()
    if late >= 1:
        said.append(f"up to {lasting(late)} old when they came, by meta.timestamp")
    silent = [text for row in rows.to_dict("records") if (text := _silent(row))]
    if not silent:
        enough = bool(((rows["arrivals"] >= _FEW) & rows["silent_since"].notna()).any())
        silent = ["no unusual silence" if enough else "too few with a time to tell a silence from chance"]
    return f"{'; '.join([*said, *silent[:2]])}."


def _silent(row: dict[Any, Any]) -> str | None:
    if row["arrivals"] < _FEW or pd.isna(row["silent_since"]):
        return None
    quiet = Silence(row["longest_silence_s"], row["silent_since"].value, row["usual_silence_s"])
    return f"{row['topic']} was {quiet.words}" if quiet.unusual else None


QUESTION = Question("webhooks", part, merge, answer)
