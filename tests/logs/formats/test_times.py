from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.logs.formats import times

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


def moment(value: object) -> str | None:
    found = times.of(value, NEAR)
    return None if found is None else datetime.fromtimestamp(found / 1e6, UTC).isoformat()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-23T05:00:00.250Z", "2026-11-23T05:00:00.250000+00:00"),
        ("2026-11-23T05:00:00.250123456Z", "2026-11-23T05:00:00.250123+00:00"),
        ("2026-11-23 05:00:00,250", "2026-11-23T05:00:00.250000+00:00"),
        ("2026-11-23T05:00:00", "2026-11-23T05:00:00+00:00"),
        ("2026-11-23T05:00:00+0100", "2026-11-23T04:00:00+00:00"),
        ("2026-11-23, 05:00:00 UTC", "2026-11-23T05:00:00+00:00"),
        ("2026/11/23 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("23/Nov/2026:05:00:00 -0500", "2026-11-23T10:00:00+00:00"),
        ("23-Nov-2026 05:00:00.250", "2026-11-23T05:00:00.250000+00:00"),
        ("Mon Nov 23 05:00:00 2026", "2026-11-23T05:00:00+00:00"),
        ("Mon, 23 Nov 2026 05:00:00 GMT", "2026-11-23T05:00:00+00:00"),
        ("Nov 23 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("2026.327 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("Nov  3 05:00:00", "2026-11-03T05:00:00+00:00"),
        ("I1123 05:00:00.250000", "2026-11-23T05:00:00.250000+00:00"),
        ("11/23/2026, 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("11/23/2026, 5:00:00 PM", "2026-11-23T17:00:00+00:00"),
        ("11/23/2026, 12:00:00 AM", "2026-11-23T00:00:00+00:00"),
        ("Nov 23, 2026 5:00:00 AM", "2026-11-23T05:00:00+00:00"),
        ("Nov 23, 12:30:00 PM", "2026-11-23T12:30:00+00:00"),
        ("2026-11-23 5:00:00", "2026-11-23T05:00:00+00:00"),
        ("2026/11/23 - 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("26/11/23 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("11-23 05:00:00.250", "2026-11-23T05:00:00.250000+00:00"),
        ("3/11/2026, 05:00:00", "2026-11-03T05:00:00+00:00"),
        ("11/3/2026, 05:00:00", "2026-11-03T05:00:00+00:00"),
        ("11-23-2026 @ 05:00:00", "2026-11-23T05:00:00+00:00"),
        ("Mon, 23 Nov 26 05:00:00 +0000", "2026-11-23T05:00:00+00:00"),
        ("[2026-11-23][05:00:00]", "2026-11-23T05:00:00+00:00"),
        ("11-03 05:00:00.250", "2026-11-03T05:00:00.250000+00:00"),
        ("23-Nov-2026 05:00:00 Europe/Berlin", "2026-11-23T04:00:00+00:00"),
        ("23-Nov-2026 05:00:00 Atlantis/Nowhere", "2026-11-23T05:00:00+00:00"),
        ("11/23/2026 5:00 PM", "2026-11-23T17:00:00+00:00"),
        ("20261123-050000.250", "2026-11-23T05:00:00.250000+00:00"),
        ("Mon 23 Nov 05:00:00 2026", "2026-11-23T05:00:00+00:00"),
        (1795410000, "2026-11-23T05:00:00+00:00"),
        (1795410000.25, "2026-11-23T05:00:00.250000+00:00"),
        (1795410000250, "2026-11-23T05:00:00.250000+00:00"),
        (1795410000250000, "2026-11-23T05:00:00.250000+00:00"),
        (1795410000250000000, "2026-11-23T05:00:00.250000+00:00"),
        ("1795410000250", "2026-11-23T05:00:00.250000+00:00"),
    ],
)
def test_a_time_is_read_however_it_is_written(written: object, meant: str) -> None:
    assert moment(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "05:00:00",
        "2026-13-45T99:00:00Z",
        True,
        None,
        17,
        -1,
        1e300,
        float("nan"),
        "9" * 50,
        [1],
        "2026-11-23",
        "2026.399 05:00:00",
        "2026.000 05:00:00",
    ],
)
def test_what_is_no_time_gives_none(written: object) -> None:
    assert times.of(written, NEAR) is None


def test_a_december_line_read_in_january_is_of_the_year_before() -> None:
    found = times.of("Dec 31 23:59:59", datetime(2027, 1, 1, 0, 5, tzinfo=UTC))
    assert found is not None
    assert datetime.fromtimestamp(found / 1e6, UTC).year == 2026


def test_a_leap_day_is_of_a_year_that_has_one() -> None:
    found = times.of("Feb 29 12:00:00", datetime(2024, 3, 1, tzinfo=UTC))
    assert found is not None
    assert times.of("Feb 29 12:00:00", datetime(2026, 3, 1, tzinfo=UTC)) is None


@given(st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)))
def test_iso_times_come_back(written: datetime) -> None:
    expected = round(written.replace(tzinfo=UTC).timestamp() * 1e6)
    assert times.of(written.isoformat() + "Z", NEAR) == expected


@given(st.one_of(st.text(max_size=60), st.integers(), st.floats(), st.booleans(), st.none()))
def test_nothing_raises(written: object) -> None:
    times.of(written, NEAR)
    times.search(str(written), NEAR)


def test_milliseconds_in_a_text_are_not_a_date_without_hyphens() -> None:
    near = datetime(2026, 11, 23, tzinfo=UTC)
    assert times.of("1795050200050", near) == 1795050200050000
    assert times.of("20261123050000", near) == times.of("2026-11-23T05:00:00Z", near)


def test_a_time_in_iso_8601_is_the_same_alone_and_in_a_text() -> None:
    """Of a year such as 0036 other shapes would make 2036."""
    alone = "0036-11-23T05:00:00.250Z"
    found = times.search(f"at x:12{alone} klaviyo", NEAR)
    assert found is not None
    assert found[0] == times.of(alone, NEAR)
