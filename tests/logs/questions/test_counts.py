from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.frames import CALLS
from klaviyo_nb.logs.questions.counts import GROUPS, by, failure_kinds, latency
from klaviyo_nb.logs.questions.overview import overview

if TYPE_CHECKING:
    import pandas as pd
from samples import WINDOW, rate_limited


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return CALLS.frame(
        [
            {"timestamp": WINDOW.start + timedelta(minutes=n), "endpoint": "/api/events"} | row
            for n, row in enumerate(rows)
        ]
    )


@pytest.fixture(scope="module")
def calls() -> pd.DataFrame:
    found = rate_limited().calls
    assert found is not None
    return found


def test_failures_have_the_kind_that_their_answer_says() -> None:
    found = frame(
        {"status_code": 202}, {"status_code": 429}, {"status_code": 401}, {"status_code": 403},
        {"status_code": 403, "answered_by": "challenge"}, {"status_code": 404}, {"status_code": 503},
        {"error_type": "timeout"}, {"error_type": "dns"}, {"duration_s": 0.1},
    )  # fmt: skip
    kinds = failure_kinds(found)
    assert kinds.fillna("-").tolist() == [
        "-", "throttled", "unauthorized", "forbidden", "server", "invalid", "server", "server", "unreachable", "-",
    ]  # fmt: skip


def test_the_kinds_keep_the_index_of_the_calls(calls: pd.DataFrame) -> None:
    part = calls[calls["status_code"] == 429].iloc[::-1]
    assert failure_kinds(part).index.equals(part.index)
    assert set(failure_kinds(part)) == {"throttled"}


def test_groups_add_up_to_all_calls(calls: pd.DataFrame) -> None:
    for column in GROUPS:
        told = by(calls, [column])
        assert told["calls"].sum() == len(calls)
        assert told["failed"].sum() == (calls["status_code"] == 429).sum()


def test_calls_are_grouped_by_what_was_asked(calls: pd.DataFrame) -> None:
    told = by(calls, ["endpoint", "status"])
    assert list(told.columns) == ["endpoint", "status", "calls", "failed", "first", "last"]
    limited = told[told["status"] == 429]
    assert limited["endpoint"].tolist() == ["/api/profiles"]
    assert (limited["calls"] == limited["failed"]).all()
    assert limited["first"].iloc[0] >= WINDOW.start + timedelta(minutes=80)


def test_the_status_of_a_call_without_an_answer_is_why_there_was_none() -> None:
    told = by(frame({"status_code": 503}, {"error_type": "timeout"}, {}), ["status"])
    assert sorted(map(str, told["status"])) == ["503", "nan", "timeout"]
    assert told["failed"].tolist() == [1, 1, 0]


def test_minutes_come_in_their_order(calls: pd.DataFrame) -> None:
    told = by(calls, ["minute", "endpoint"])
    assert told["minute"].is_monotonic_increasing


@pytest.mark.parametrize("columns", [[], ["colour"], ["endpoint", "colour"]])
def test_a_group_that_is_not_there_is_the_users_mistake(calls: pd.DataFrame, columns: list[str]) -> None:
    with pytest.raises(UsageError, match="--by"):
        by(calls, columns)


def test_the_overview_puts_what_fails_first(calls: pd.DataFrame) -> None:
    told = overview(calls, WINDOW)
    assert told["endpoint"].iloc[0] == "/api/profiles"
    assert told["kind"].tolist()[0] == "throttled"
    assert told["kind"].isna().tolist() == [False, True, True]
    assert told["share"].iloc[0] == pytest.approx(told["failed"].iloc[0] / told["calls"].iloc[0])
    assert told["first_failed"].isna().tolist() == [False, True, True]


def test_calls_without_a_time_are_counted_in_the_overview() -> None:
    found = CALLS.frame([{"endpoint": "/api/events", "status_code": 429}])
    assert overview(found, WINDOW)["calls"].tolist() == [1]


def test_quantiles_are_of_calls_with_a_duration() -> None:
    found = frame({"duration_s": 1.0}, {"duration_s": 3.0}, {})
    told = latency(found, "1h")
    assert (told["calls"].tolist(), told["p50_s"].tolist()) == ([2], [2.0])


def test_no_calls_give_empty_answers_and_no_error() -> None:
    empty = CALLS.empty()
    assert by(empty, ["endpoint", "status", "minute"]).empty
    assert overview(empty, WINDOW).empty
    assert latency(empty, "1min").empty
    assert failure_kinds(empty).empty


def test_a_call_whose_outcome_is_unknown_is_no_failure() -> None:
    assert failure_kinds(frame({}, {"duration_s": 0.2})).isna().all()
