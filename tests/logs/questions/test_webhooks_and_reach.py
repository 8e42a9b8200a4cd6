from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import reach, webhooks
from klaviyo_nb.logs.questions.question import Answer, Records
from samples import WINDOW

OPENED, CLICKED = "event:klaviyo.opened_email", "event:klaviyo.clicked_email"


def hooks(*minutes: float, **more: Any) -> pd.DataFrame:
    row = {"topic": OPENED, "outcome": "accepted"} | more
    return WEBHOOKS.frame([row | {"timestamp": WINDOW.start + timedelta(minutes=each)} for each in minutes])


def arrived(*frames: pd.DataFrame) -> Answer:
    return webhooks.QUESTION.ask(Records(CALLS.empty(), pd.concat(frames)), WINDOW)


def test_a_topic_that_fell_silent_is_named_with_since_when() -> None:
    found = arrived(hooks(*(n / 2 for n in range(120))), hooks(*(n / 2 for n in range(240)), topic=CLICKED))
    assert f"{OPENED} was silent for 60 min since 2026-11-23 05:59:30 UTC (else 30 s at most)" in found.says
    assert CLICKED not in found.says
    row = found.rows.iloc[0]
    assert (row["topic"], row["arrivals"], row["longest_silence_s"], row["usual_silence_s"]) == (
        OPENED,
        120,
        3_630.0,
        30.0,
    )


def test_a_flow_that_goes_on_is_no_silence() -> None:
    assert arrived(hooks(*range(0, 120, 4))).says.endswith("no unusual silence.")


def test_few_webhooks_tell_of_no_silence() -> None:
    assert arrived(hooks(1, 2)).says.endswith("too few with a time to tell a silence from chance.")


def test_what_becomes_of_deliveries_is_counted() -> None:
    found = arrived(
        hooks(*range(10)), hooks(*range(10, 17), outcome="bad_signature"), hooks(20, outcome="failed")
    )
    row = found.rows.iloc[0]
    assert (row["arrivals"], row["accepted"], row["bad_signature"], row["failed"]) == (18, 10, 7, 1)
    assert "7 with a signature that was rejected; 1 failed in our application" in found.says


def test_webhooks_that_come_late_are_said_to() -> None:
    late = hooks(10, sent_at=WINDOW.start - timedelta(minutes=3))
    assert "up to 13 min old when they came" in arrived(late, hooks(11)).says
    assert "old when" not in arrived(hooks(10), hooks(11, sent_at=WINDOW.start + timedelta(minutes=12))).says


def test_the_age_is_from_when_it_was_sent_to_our_line() -> None:
    frames = [
        hooks(minute, sent_at=WINDOW.start + timedelta(minutes=minute - age))
        for minute, age in ((10, 1), (11, 2), (12, 9))
    ]
    row = arrived(*frames, hooks(13)).rows.iloc[0]
    assert (row["mean_age_s"], row["oldest_s"]) == (240.0, 540.0)
    assert pd.isna(arrived(hooks(13)).rows["oldest_s"].iloc[0])


def test_arrivals_over_time_by_topic() -> None:
    told = webhooks.arrivals(pd.concat([hooks(1.1, 1.2, 5), hooks(1.3, topic=CLICKED)]), WINDOW)
    assert told["arrivals"].tolist() == [1, 2, 1]
    assert told["timestamp"].iloc[0] == WINDOW.start + timedelta(minutes=1)


def test_arrivals_outside_the_window_are_not_told() -> None:
    assert webhooks.arrivals(hooks(-1, 5, 60 * 24), WINDOW)["arrivals"].tolist() == [1]


def test_a_delivery_without_topic_or_time_is_counted() -> None:
    found = arrived(WEBHOOKS.frame([{"outcome": "accepted"}]))
    assert found.rows["topic"].tolist() == [webhooks.NONE]
    assert "Deliveries without a time: 1." in found.covers


def test_very_many_topics_are_counted_together() -> None:
    found = arrived(*(hooks(1, topic=f"t{n:04d}") for n in range(webhooks.MOST + 3)))
    told = dict(zip(found.rows["topic"], found.rows["arrivals"], strict=True))
    assert (len(told), told[webhooks.OTHERS]) == (webhooks.MOST + 1, 3)


# Reach


def touched(*rows: dict[str, Any]) -> Answer:
    calls = CALLS.frame([{"timestamp": WINDOW.start, "status_code": 503} | row for row in rows])
    return reach.QUESTION.ask(Records(calls, WEBHOOKS.empty()), WINDOW)


def bounds(found: Answer) -> dict[str, tuple[int, int, int | None]]:
    told = found.rows[["what", "distinct", "at_least", "at_most"]].astype(object).to_numpy().tolist()
    return {what: (count, least, None if pd.isna(most) else most) for what, count, least, most in told}


def test_distinct_things_that_failed_calls_name() -> None:
    found = touched(
        {"profile_key": "a", "event_key": "1"}, {"profile_key": "a", "event_key": "2"}, {"profile_key": "b", "status_code": 202},
    )  # fmt: skip
    assert bounds(found) == {"profiles": (1, 1, 1), "events": (2, 2, 2)}
    assert found.says == "2 failed calls touch 1 profiles, 2 events."


def test_a_failed_call_that_names_nobody_may_touch_another_one() -> None:
    found = touched({"profile_key": "a"}, {}, {})
    assert bounds(found) == {"profiles": (1, 1, 3)}
    assert "at least 1 profiles (at most 3)" in found.says


def test_lists_and_flows_are_those_that_paths_name() -> None:
    texts = [
        "POST https://a.klaviyo.com/api/lists/Y6nRLr/relationships 503",
        "GET /api/flows/XVTP5Q failed",
        "GET /api/lists",
    ]
    assert bounds(touched(*({"message": text} for text in texts))) == {
        "lists": (1, 1, None),
        "flows": (1, 1, None),
    }


def test_no_failure_touches_nobody() -> None:
    assert touched({"status_code": 202, "profile_key": "a"}).says == "None of 1 call failed."


def test_failures_that_name_nothing_cannot_tell() -> None:
    assert touched({}).says.startswith("Cannot tell: none of 1 failed call names")


def test_beyond_what_is_remembered_the_number_is_an_estimate() -> None:
    many = 300_000
    rows = pd.DataFrame(
        {"profile_key": [f"p{n}" for n in range(many)], "status_code": 503, "timestamp": WINDOW.start}
    )
    found = reach.QUESTION.ask(Records(CALLS.frame(rows), WEBHOOKS.empty()), WINDOW)
    count, least, most = bounds(found)["profiles"]
    assert count == pytest.approx(many, rel=0.02)
    assert least <= many <= (most or 0)
    assert any("estimated" in each for each in found.covers)
