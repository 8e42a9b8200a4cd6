from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.klaviyo.ratelimit import RateLimit, http_date, parse_limit, seconds, shortest_window_s

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "binding", "windows", "window_s"),
    [
        ("75, 75;w=1, 750;w=60", 75, {1: 75, 60: 750}, 1),
        ("700, 75;w=1, 700;w=60", 700, {1: 75, 60: 700}, 60),
        ("1, 1;w=1, 15;w=60", 1, {1: 1, 60: 15}, 1),
        ("1, 1;w=1, 2;w=60, 225;w=86400", 1, {1: 1, 60: 2, 86400: 225}, 1),
        ("75,75;w=1,750;w=60", 75, {1: 75, 60: 750}, 1),
        ("75, 75; w=1; policy=x, 750;w=60", 75, {1: 75, 60: 750}, 1),
        ("75", 75, {}, None),
    ],
)
def test_the_number_named_first_tells_which_window_binds(header, binding, windows, window_s):
    limit = parse_limit(header)
    assert limit == RateLimit(binding, windows)
    assert limit.binding_window_s == window_s


def test_the_stacked_header_of_2023_tells_windows_but_not_which_binds():
    limit = parse_limit("0, 700, 75;w=1, 0, 700;w=60, 0;w=0")
    assert limit.windows == {1: 75, 60: 700}
    assert limit.binding_window_s is None


@pytest.mark.parametrize("header", [None, "", ",", "many", "-1, 1;w=1", ";w=1", "1.5;w=1", "9" * 40])
def test_another_form_is_no_limit(header):
    assert parse_limit(header) is None


@given(st.text() | st.text(alphabet="0123456789,;w= "))
def test_parsing_never_raises(header):
    limit = parse_limit(header)
    assert limit is None or 0 not in limit.windows
    seconds(header, NOW)
    http_date(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("1", 1.0),
        (" 67608 ", 67608.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Mon, 23 Nov 2026 07:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 06:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 20, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, expected):
    assert seconds(header, NOW) == expected


def test_a_date_without_a_clock_tells_nothing():
    assert seconds("Mon, 23 Nov 2026 07:01:00 GMT", None) is None


@pytest.mark.parametrize(
    ("retry_after", "window"), [(0, 1), (1, 1), (12, 60), (60, 60), (61, 86400), (67608, 86400)]
)
def test_a_long_wait_is_a_daily_cap(retry_after, window):
    assert shortest_window_s(retry_after) == window
