"""How wide the interval of the first failing call is, by clocks that agree, contradict each other, or stand alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from klaviyo_nb.diagnosis.clocks import (
    CHANCES,
    OFFS,
    Shares,
    as_sure_as_clocks,
    chances_by_age,
    first_failure,
)
from klaviyo_nb.metrics.onset import Episode

HIT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ALL_FAIL = Shares(before=0.01, after=0.98)


def lines(
    every_s: float, clock: str, ahead_s: float = 0.0, first_s: float = 0.0, named: bool = True
) -> pd.DataFrame:
    """Calls for ten minutes before and after the fault hit; the first that fails is made so long after it did."""
    numbers = range(-int(600 / every_s), int(600 / every_s))
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime(
                [HIT + timedelta(seconds=first_s + every_s * number + ahead_s) for number in numbers]
            ),
            "failed": [number >= 0 for number in numbers],
            "clock": clock,
            "named": named,
        }
    )


def told(*frames: pd.DataFrame) -> tuple[float, float]:
    """Seconds from the first failing call of the frames; around the first failing line."""
    calls = pd.concat(frames, ignore_index=True)
    first = calls.loc[calls["failed"], "timestamp"].min().to_pydatetime()
    since, until = first_failure(calls, (first, first + timedelta(seconds=1)), ALL_FAIL, {})
    return (since - HIT).total_seconds(), (until - HIT).total_seconds()


@pytest.mark.parametrize("named", [True, False], ids=["hosts", "sources that name no host"])
def test_two_right_clocks_that_call_every_twenty_seconds_stay_narrow(named: bool) -> None:
    since, until = told(lines(20, "a", first_s=5, named=named), lines(20, "b", first_s=15, named=named))
    assert since <= 5 <= until
    assert until - since <= 15


def test_a_clock_that_is_behind_is_contradicted_by_one_whose_calls_were_well_since() -> None:
    since, until = told(lines(5, "a"), lines(5, "b", first_s=2), lines(5, "c", first_s=3, ahead_s=-80))
    assert since <= 0 <= until
    assert until - since <= 40


def test_two_clocks_that_contradict_each_other_leave_both_possible() -> None:
    since, until = told(lines(5, "a"), lines(5, "b", first_s=2, ahead_s=-80))
    assert since <= -70
    assert until >= 0


def test_a_clock_that_is_ahead_makes_it_no_later_where_two_others_agree() -> None:
    since, until = told(lines(5, "a"), lines(5, "b", first_s=2), lines(5, "c", first_s=1, ahead_s=90))
    assert since <= 0 <= until
    assert until - since <= 10


def test_many_lines_that_leave_other_moments_no_chance_are_no_trouble() -> None:
    since, until = told(lines(0.1, "a"), lines(0.1, "b"))
    assert since <= 0 <= until
    assert until - since <= 6


def test_where_nothing_failed_in_the_time_that_is_looked_at_it_is_what_was_given() -> None:
    around = HIT, HIT + timedelta(seconds=9)
    assert first_failure(lines(5, "a").assign(failed=False), around, ALL_FAIL, {}) == around
    assert first_failure(lines(5, "a").head(0), around, ALL_FAIL, {}) == around


def ages(every_s: float, age_s: float) -> dict[float, float]:
    """How much a clock may be ahead [s] → its chance; the newest line is so old, the others so far apart."""
    moments = pd.Series([HIT - timedelta(seconds=age_s + every_s * number) for number in range(50)])
    return dict(zip(OFFS[1:].tolist(), chances_by_age(moments, HIT)[1:].tolist(), strict=True))


def test_a_host_that_calls_every_two_seconds_and_just_did_has_a_right_clock() -> None:
    chances = ages(every_s=2.0, age_s=1.0)
    assert sum(chances.values()) < 0.01
    assert chances[-40.0] == 0.0


def test_a_host_that_calls_every_two_seconds_and_did_not_for_a_minute_is_behind() -> None:
    chances = ages(every_s=2.0, age_s=64.0)
    assert max(chances, key=lambda off: chances[off]) in (-64.0, -56.0)


def test_a_host_that_calls_seldom_tells_nothing_of_its_clock_by_being_silent() -> None:
    chances = ages(every_s=600.0, age_s=200.0)
    assert chances[-120.0] == pytest.approx(chances[120.0]) == pytest.approx(CHANCES[1])


@pytest.mark.parametrize("source", ["steady", "merged"])
def test_a_source_without_hosts_has_the_clock_of_its_newest_line_unless_it_paused_as_it_never_does(
    source: str,
) -> None:
    """Then another host may have written what stands before the pause."""
    paused = [n for n in range(-900, 600) if source == "steady" or not 200 <= n < 260]
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime([HIT + timedelta(seconds=2 * n) for n in paused]),
            "kind": [None if n < 0 else "server_error" for n in paused],
            "clock": "app.log",
            "host": None,
        }
    )
    onset = HIT - timedelta(seconds=4), HIT + timedelta(seconds=1)
    found = Episode(onset, None, onset, 600.0, 600.0)
    until = HIT + timedelta(seconds=1199)
    told = as_sure_as_clocks(found, frame, until)
    assert told.onset is not None
    assert told.onset[0] <= HIT <= told.onset[1]
    width = told.onset[1] - told.onset[0]
    assert width <= timedelta(seconds=20) if source == "steady" else width >= timedelta(seconds=60)
    assert told.unconfirmed == (() if source == "steady" else ("app.log",))
    assert as_sure_as_clocks(found, frame, None).unconfirmed == ("app.log",)  # read long afterwards
