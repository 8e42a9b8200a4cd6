"""Clocks that were set back and lines that stand twice are told, whatever is asked; nothing is told where neither is."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb import logs
from klaviyo_nb.frames import CALLS
from klaviyo_nb.logs.questions import WATCHED, by_name, reach
from klaviyo_nb.logs.questions.question import of_calls
from klaviyo_nb.logs.questions.watched import watched
from ratelimit_worlds import story
from samples import WINDOW

if TYPE_CHECKING:
    from pathlib import Path

ALL = pytest.mark.parametrize("name", sorted(WATCHED))


def calls(seconds: Any, **columns: Any) -> pd.DataFrame:
    """A call at each of these seconds of the window, line by line."""
    at = np.array(seconds, dtype=float)
    given = {
        "timestamp": pd.Timestamp(WINDOW.start) + pd.to_timedelta(at, unit="s"), "source": "app.log",
        "line_no": np.arange(1, len(at) + 1), "method": "POST", "endpoint": "/api/events", "status_code": 503,
        "event_key": [f"order-{each}" for each in range(len(at))], "message": "it broke",
    }  # fmt: skip
    frame = pd.DataFrame(given | columns)
    return CALLS.frame(frame.sort_values("timestamp", kind="stable", ignore_index=True))


def says(name: str, frame: pd.DataFrame) -> str:
    return by_name(name).ask(of_calls(frame), WINDOW).says


BACK = "goes back by"
COPIES = "look like copies"
STEADY = np.arange(0, 4000, 10) + 0.123457


@ALL
def test_a_clock_that_was_set_back_is_told_with_source_and_both_times(name: str) -> None:
    said = says(name, calls(np.where(np.arange(400) < 380, STEADY, STEADY - 3660)))
    assert said.startswith(
        "In app.log the clock goes back by 61 min, from 2026-11-23 06:03:10 to 2026-11-23 05:02:20 UTC: "
        "times before and after cannot be compared."
    )


@ALL
@pytest.mark.parametrize(
    "frame",
    [
        calls(STEADY),
        calls(STEADY).iloc[::-1],
        calls(np.where(np.arange(400) % 100 == 50, STEADY - 300, STEADY)),
        calls(np.where(np.arange(400) % 100 == 50, STEADY + 300, STEADY)),
        calls(STEADY + np.arange(400) % 7 * 7),
        calls(np.r_[STEADY[200:], STEADY[:200]], worker=["one"] * 200 + ["two"] * 200),
        calls(np.r_[STEADY[200:], STEADY[:200]], source=["app.log"] * 200 + ["app.log.1"] * 200),
        calls(np.r_[STEADY[200:], STEADY[:200]], line_no=None),
        CALLS.empty(),
        calls([1]),
    ],
    ids=["steady", "read from the end", "lines of long calls", "lines of the future", "a little out of order",
         "two workers", "two files", "no lines", "empty", "one"],
)  # fmt: skip
def test_a_clock_that_goes_on_is_not_said_to_go_back(name: str, frame: pd.DataFrame) -> None:
    said = says(name, frame)
    assert BACK not in said
    assert COPIES not in said


def test_what_waits_is_not_predicted_over_a_clock_that_was_set_back() -> None:
    rates = {"web": lambda _: 0.8, "job": lambda at: 4.0 if 600 <= at < 900 else 0.4}
    found = story(7, rates=rates, cut_s=1200, until_s=1210)
    seen = found.calls.assign(source="app.log", line_no=range(len(found.calls)))
    late = seen["timestamp"] >= found.window.start + timedelta(seconds=1000)
    back = seen.assign(timestamp=seen["timestamp"].where(~late, seen["timestamp"] - pd.Timedelta("5min")))
    fine, doubtful = (
        by_name("ratelimit").ask(of_calls(CALLS.frame(each)), found.window) for each in (seen, back)
    )
    assert fine.rows["clears_at"].notna().all()
    assert doubtful.rows["clears_at"].isna().all()
    assert "is served at" not in doubtful.says


@ALL
@pytest.mark.parametrize(
    "where", [{"source": "app.log.1"}, {"line_no": range(401, 801)}], ids=["rotated", "again"]
)
def test_lines_that_stand_twice_are_counted_and_told_alike(name: str, where: dict[str, Any]) -> None:
    once = calls(STEADY)
    twice = CALLS.frame(
        pd.concat(
            [once, once.iloc[:300].assign(**{n: _first(v) for n, v in where.items()})], ignore_index=True
        )
    )
    assert "300 of 700 calls look like copies of others (same text, same time; app.log" in says(name, twice)
    assert "without copies 400 calls were made." in says(name, twice)


@pytest.mark.parametrize("name", ["ledger", "retries", "reach"])
def test_what_keys_join_and_what_is_distinct_does_not_double_with_the_lines(name: str) -> None:
    once = calls(STEADY, profile_key=[f"01P{each // 2}" for each in range(400)])
    twice = CALLS.frame(pd.concat([once, once.assign(source="copy.log")], ignore_index=True))
    (one, answers), (other, _) = ((found.rows, found.says) for found in (
        by_name(name).ask(of_calls(each), WINDOW) for each in (once, twice)
    ))  # fmt: skip
    assert len(one), answers
    doubled = ["calls"] if name == "reach" else []  # lines that name one, and no things
    pd.testing.assert_frame_equal(other.drop(columns=doubled), one.drop(columns=doubled))


@pytest.mark.parametrize("name", ["overview", "ledger"])
def test_where_nothing_joins_lines_twice_counts_are_said_to_be_at_most(name: str) -> None:
    once = calls(STEADY, event_key=None)
    twice = CALLS.frame(pd.concat([once, once.assign(source="copy.log")], ignore_index=True))
    said = says(name, twice)
    assert "800" in said
    assert "counts are at most, without copies 400 calls were made." in said


@pytest.mark.parametrize("who", ["host", "worker", "caller"])
@pytest.mark.parametrize("keys", [{}, {"event_key": None}], ids=["keys", "none"])
@pytest.mark.parametrize("second", [0.0, 0.123, 0.123457])
def test_equal_calls_that_two_made_at_the_same_moment_are_no_copies(
    who: str, keys: dict[str, Any], second: float
) -> None:
    one = calls(np.arange(400) * 5 + second, **keys, **{who: "one"})
    other = one.assign(source="other.log", **{who: "two"})
    said = says("overview", CALLS.frame(pd.concat([one, other], ignore_index=True)))
    assert COPIES not in said
    assert COPIES in says(
        "overview", CALLS.frame(pd.concat([one, other.assign(**{who: "one"})], ignore_index=True))
    )


def _first(values: Any) -> Any:
    return values if isinstance(values, str) else list(values)[:300]


def test_whole_seconds_are_copies_only_where_most_of_a_file_stands_in_another() -> None:
    seconds, bare = np.arange(400) // 4, {"event_key": None}
    one = calls(seconds, **bare)
    assert COPIES not in says("overview", one)
    part = calls(np.r_[seconds[:40], 200 + np.arange(360) // 4], **bare, source="other.log")
    assert COPIES not in says("overview", CALLS.frame(pd.concat([one, part], ignore_index=True)))
    distinct = calls(np.arange(400), **bare)
    whole = CALLS.frame(pd.concat([distinct, distinct.assign(source="copy.log")], ignore_index=True))
    assert "400 of 800 calls look like copies" in says("overview", whole)


def test_of_more_calls_than_are_compared_the_copies_are_estimated() -> None:
    count = 20_000
    many = calls(np.sort(np.random.default_rng(1).random(count)) * 7000)
    asked = watched(reach.QUESTION, most=10_000)
    told = [asked.part(of_calls(each), WINDOW) for each in (many, many.assign(source="copy.log"))]
    said = asked.answer(asked.merge(told), WINDOW).says
    number = int(said.partition("About ")[2].partition(" of ")[0].replace(",", ""))
    assert number == pytest.approx(count, rel=0.05)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=4), jump=st.integers(0, 60), order=st.randoms())
def test_parts_of_a_log_in_any_order_tell_the_same_jumps_and_copies(
    cuts: list[int], jump: int, order: Any
) -> None:
    frame = calls(np.where(np.arange(60) < jump, STEADY[:60] + 900, STEADY[:60]))
    frame = CALLS.frame(pd.concat([frame, frame.iloc[10:20].assign(source="other.log")], ignore_index=True))
    frame = frame.sort_values(["source", "line_no"], ignore_index=True)
    edges = [0, *sorted(cuts), len(frame)]
    asked = by_name("reach")
    told = [pickle.loads(pickle.dumps(asked.part(of_calls(frame.iloc[start:end]), WINDOW)))
            for start, end in zip(edges, edges[1:], strict=False)]  # fmt: skip
    order.shuffle(told)
    at = len(told) // 2 or 1
    merged = asked.merge([asked.merge(told[:at]), *told[at:]])
    whole = asked.ask(of_calls(frame), WINDOW)
    assert asked.answer(merged, WINDOW).says == whole.says
    assert (BACK in whole.says) == (3 <= jump <= 57)
    assert "10 of 70 calls look like copies" in whole.says


def test_a_file_that_has_two_names_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("2026-11-23T05:01:00.123Z POST https://a.klaviyo.com/api/events 503\n")
    (tmp_path / "link.log").hardlink_to(tmp_path / "app.log")
    urls = [f"{tmp_path}/app.log", f"{tmp_path}/*.log", f"{tmp_path}/../{tmp_path.name}/app.log"]
    read = logs.read(urls, WINDOW, redact=str)
    assert (len(read.calls), len(read.coverage)) == (1, 1)
