from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.ways import WAYS, Quota, body, headers

LIMITS = {1: 3, 60: 5}
ANSWERS = [name for name, way in WAYS.items() if way.status is not None and name != "ok"]


@pytest.mark.parametrize("name", [name for name in ANSWERS if WAYS[name].by == "klaviyo"])
def test_an_answer_of_klaviyo_carries_one_error_with_its_request_id(name: str) -> None:
    (error,) = json.loads(body(WAYS[name], "id-1"))["errors"]
    assert error["id"] == headers(WAYS[name], "id-1")["X-Klaviyo-Req-Id"] == "id-1"
    assert error["status"] == WAYS[name].status
    assert error["code"]
    assert error["title"]
    assert error["detail"]


@pytest.mark.parametrize("name", ["edge_400", "edge_520", "challenge", "portal"])
def test_an_answer_of_somebody_else_is_html_without_an_id(name: str) -> None:
    assert body(WAYS[name], "").startswith("<!doctype html>")
    assert headers(WAYS[name], None)["Content-Type"].startswith("text/html")
    assert "Cid" not in headers(WAYS[name], None)


def test_a_throttled_answer_says_when_to_come_back_in_words_and_in_a_header() -> None:
    way = WAYS["throttled"]
    assert "Expected available in 1 second." in body(way, "", 1)
    assert "Expected available in 12 seconds." in body(way, "", 12)
    assert headers(way, "id", 12)["Retry-After"] == "12"


@pytest.mark.parametrize("name", ["unauthorized", "throttled"])
def test_401_and_429_carry_no_limits_as_recorded(name: str) -> None:
    assert not WAYS[name].has_limits
    assert WAYS["error"].has_limits


def test_every_way_that_a_scenario_names_exists() -> None:
    for scenario in SCENARIOS.values():
        named = [way for phase in scenario.phases for way in phase.ways]
        assert {*named, *scenario.live.api.values(), scenario.live.page} <= set(WAYS)


def test_a_window_frees_when_it_ends_and_not_before() -> None:
    quota = Quota()
    assert [quota.take("a", LIMITS, 100.1)[0] for _ in range(4)] == [None, None, None, 1]
    assert [quota.take("a", LIMITS, 101.0)[0] for _ in range(3)] == [None, None, 19]
    assert quota.take("a", LIMITS, 119.9)[0] == 1
    assert quota.take("a", LIMITS, 120.0) == (None, 2)


def test_endpoints_have_windows_of_their_own() -> None:
    quota = Quota()
    assert [quota.take(name, {1: 1}, 5.0)[0] for name in "aba"] == [None, None, 1]


@given(st.lists(st.floats(0, 600), max_size=200))
def test_no_window_ever_lets_more_through_than_its_limit(moments: list[float]) -> None:
    quota, passed = Quota(), []
    for moment in sorted(moments):
        wait, left = quota.take("a", LIMITS, moment)
        assert left >= 0
        if wait is None:
            passed.append(moment)
    for length, limit in LIMITS.items():
        numbers = [int(moment // length) for moment in passed]
        assert all(numbers.count(number) <= limit for number in numbers)
