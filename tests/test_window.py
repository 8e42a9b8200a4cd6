"""Windows and the texts people write for them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.errors import UsageError
from klaviyo_nb.window import LONGEST, Window, exact, iso, parse_duration, parse_time

MOMENTS = st.datetimes(
    min_value=datetime(1990, 1, 1),  # hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # the same
    timezones=st.sampled_from(
        [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))]
    ),
)


def test_the_start_is_inside_and_the_end_is_not(now: datetime) -> None:
    window = Window.last(timedelta(hours=2), now)
    assert window.start in window
    assert window.end not in window
    assert window.end - timedelta(microseconds=1) in window
    assert window.seconds == 7200


def test_an_empty_or_reversed_window_is_refused_with_what_to_type(now: datetime) -> None:
    for end in (now, now - timedelta(seconds=1)):
        with pytest.raises(UsageError, match="it is empty") as caught:
            Window(now, end)
        assert caught.value.hint == "--since 2h"


def test_a_naive_time_is_a_mistake_of_ours(now: datetime) -> None:
    with pytest.raises(ValueError, match="aware"):
        Window(now.replace(tzinfo=None), now)


@given(MOMENTS, st.timedeltas(min_value=timedelta(microseconds=1), max_value=LONGEST))
def test_a_window_written_as_json_reads_back_as_the_same(start: datetime, span: timedelta) -> None:
    window = Window(start, start + span)
    assert Window.from_json(window.as_json()) == window


@given(MOMENTS)
def test_an_exact_time_reads_back_and_a_short_one_loses_less_than_a_millisecond(moment: datetime) -> None:
    assert parse_time(exact(moment)) == moment
    assert timedelta(0) <= moment - parse_time(iso(moment)) < timedelta(milliseconds=1)
    assert iso(moment).endswith("Z")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), (" 1H 30M ", 5400), ("7d", 604800), ("1w", 604800),
     ("250ms", 0.25), ("0.5h", 1800), ("366d", 366 * 86400)],
)  # fmt: skip
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "2", "h", "2x", "-2h", "2h!", "two hours", "0s", "0.1ms", "367d", "9" * 400 + "d", "1e3s", "2h,30m"],
)
def test_what_is_no_duration_names_the_setting_and_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text, "KLAVIYO_NB_SINCE")
    assert caught.value.where == "KLAVIYO_NB_SINCE"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("KLAVIYO_NB_SINCE=2h")


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert timedelta(0) < parse_duration(text) <= LONGEST


@given(st.integers(1, 59), st.integers(1, 23), st.integers(1, 300))
def test_parts_of_a_duration_add_up(minutes: int, hours: int, days: int) -> None:
    assert parse_duration(f"{days}d{hours}h{minutes}m") == timedelta(days=days, hours=hours, minutes=minutes)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-11-23T05:00:00Z", "2026-11-23T05:00:00Z"), ("2026-11-23 05:00", "2026-11-23T05:00:00Z"),
     ("2026-11-23T05:00:00+02:00", "2026-11-23T03:00:00Z"), ("2026-11-23", "2026-11-23T00:00:00Z"),
     ("2026-11-23T05:00:00.25Z", "2026-11-23T05:00:00.250Z")],
)  # fmt: skip
def test_times_are_utc_unless_they_carry_an_offset(text: str, moment: str) -> None:
    assert iso(parse_time(text)) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"]
)
def test_what_is_no_time_names_the_setting(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time(text, "--end")
    assert caught.value.where == "--end"


@given(st.text(max_size=30))
def test_any_text_is_a_time_in_utc_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse_time(text).tzinfo is UTC


def test_a_time_given_as_a_duration_is_told_the_option_for_times() -> None:
    with pytest.raises(UsageError, match="not a duration") as caught:
        parse_duration("2026-11-23T04:00Z")
    assert caught.value.hint == "--start 2026-11-23T04:00Z"
