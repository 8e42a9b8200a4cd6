"""What goes wrong with samples, on two real servers: the same answers from both, and never a wrong number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from klaviyo_nb.metrics.client import Fetched, fetch
from klaviyo_nb.metrics.counters import step_s
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.metrics.onset import episodes
from klaviyo_nb.metrics.rates import bins, increases
from klaviyo_nb.window import Window
from metric_servers import SERVERS, Need, Samples

pytestmark = pytest.mark.real

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=2))
OTHERS = {"errors": "", "duration": "", "ratelimit_remaining": "", "webhooks": "", "alerts": ""}
NAMES = ("reset", "gap", "two", "nan", "minute", "shorter")
#: Minutes in which calls fail, per scenario.
FAILS = {"two": [(20, 35), (80, 95)]}


def samples() -> Samples:
    """A scenario per namespace: two calls a second, of which one fails where it fails at all."""
    found = Samples()
    for name in NAMES:
        every = 60 if name == "minute" else 15
        good = bad = 0.0
        for second in range(-600, 7201, every):
            fails = any(first * 60 < second <= last * 60 for first, last in FAILS.get(name, [(40, 70)]))
            good, bad = good + every * (1 if fails else 2), bad + every * fails
            if name == "reset" and second == 3000:
                good, bad = every * 1.0, every * 1.0
            if (name == "gap" and 3000 <= second < 3900) or (
                name == "shorter" and second < 3600 and second % 60
            ):
                continue
            for status, value in (("success", good), ("error", bad)):
                series = f'klaviyo_api_requests_total{{namespace="{name}",endpoint="/api/events",status="{status}"}}'
                spoilt = name == "nan" and second % 600 == 300
                found.add(
                    "klaviyo_api_requests_total",
                    series,
                    (START + timedelta(seconds=second)).timestamp(),
                    float("nan") if spoilt else value,
                )
    return found


ASKED = {
    **{name: (WINDOW, {"selector": f'namespace="{name}"'}) for name in NAMES},
    "other name": (WINDOW, {"selector": 'namespace="two"', "requests": "shop_total"}),
    "11,001 points": (Window(WINDOW.end - timedelta(seconds=15 * 11_000), WINDOW.end), {"selector": 'namespace="two"'}),
    "retention": (Window(START - timedelta(hours=2), WINDOW.end), {"selector": 'namespace="two"'}),
    "future": (Window(WINDOW.end + timedelta(days=400), WINDOW.end + timedelta(days=401)), {"selector": 'namespace="two"'}),
    "bad query": (WINDOW, {"selector": 'namespace=="two"'}),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Need], dict[str, Fetched]]:
    found: dict[str, dict[str, Fetched]] = {}

    def once(server: str, need: Need) -> dict[str, Fetched]:
        if server not in found:
            with SERVERS[server](need, tmp_path_factory.mktemp(server), samples()) as url:
                found[server] = {
                    name: asyncio.run(fetch(url, window, names=from_table(OTHERS | table), timeout_s=20))
                    for name, (window, table) in ASKED.items()
                }
        return found[server]

    return once


@pytest.fixture(params=SERVERS)
def told(
    request: pytest.FixtureRequest, need: Need, answers: Callable[[str, Need], dict[str, Fetched]]
) -> dict[str, Fetched]:
    return answers(request.param, need)


def sums(fetched: Fetched) -> dict[str, float]:
    assert fetched.frame is not None
    return {
        str(status): float(calls)
        for status, calls in increases(fetched.frame).groupby("status")["calls"].sum().items()
    }


@pytest.mark.parametrize("name", ["reset", "gap", "nan", "minute"])
def test_no_call_is_lost_or_invented(told: dict[str, Fetched], name: str):
    assert sums(told[name]) == {"success": 12600, "error": 1800}


@pytest.mark.parametrize(
    ("name", "fails"),
    [("reset", [(40, 70)]), ("two", FAILS["two"]), ("nan", [(40, 70)]), ("minute", [(40, 70)])],
)
def test_each_incident_is_found_where_it_was(
    told: dict[str, Fetched], name: str, fails: list[tuple[int, int]]
):
    frame = told[name].frame
    assert frame is not None
    found = episodes(bins(frame), lag_s=step_s(frame) or 0.0)
    assert len(found) == len(fails)
    for episode, moments in zip(found, fails, strict=True):
        assert episode.onset is not None
        assert episode.recovered is not None
        for (earliest, latest), minute in zip((episode.onset, episode.recovered), moments, strict=True):
            assert earliest <= START + timedelta(minutes=minute) <= latest


def test_a_hole_is_unobserved_and_not_a_time_without_calls(told: dict[str, Fetched]):
    frame = told["gap"].frame
    assert frame is not None
    seen = bins(frame)["timestamp"]
    step = timedelta(seconds=15)
    hole = seen[(seen >= START + timedelta(minutes=50)) & (seen < START + timedelta(minutes=65) - step)]
    assert hole.empty
    said = "no samples from 2026-11-23T05:49:45Z to 2026-11-23T06:05:00Z"
    assert [gap.reason for gap in told["gap"].gaps if gap.reason.startswith(said)]


def test_of_a_scrape_interval_that_got_shorter_nothing_is_counted_between_samples(
    told: dict[str, Fetched],
):
    frame = told["shorter"].frame
    assert frame is not None
    assert sums(told["shorter"]) == {"success": 12600, "error": 1800}
    seen = bins(frame)["timestamp"]
    seen = seen[seen < START + timedelta(minutes=60)]
    assert seen.diff().dropna().eq(timedelta(seconds=60)).all()


def test_the_step_is_that_of_the_samples(told: dict[str, Fetched]):
    assert told["minute"].queries[0].step_s == 60
    assert told["two"].queries[0].step_s == 15


def test_a_counter_with_another_name_gives_what_the_configured_one_gives(told: dict[str, Fetched]):
    assert sums(told["other name"]) == sums(told["two"])
    assert "used klaviyo_api_requests_total instead" in told["other name"].gaps[0].reason


def test_one_point_too_many_for_a_request_makes_it_two(told: dict[str, Fetched]):
    assert told["11,001 points"].queries[0].requests == 2
    assert sums(told["11,001 points"]) == pytest.approx(sums(told["two"]), abs=1250)  # ten minutes before
    assert {gap.signal for gap in told["11,001 points"].gaps} == {"metrics:window"}


def test_what_lies_before_the_first_sample_is_told(told: dict[str, Fetched]):
    (gap,) = told["retention"].gaps
    assert gap.signal == "metrics:window"
    assert gap.reason.startswith("samples from 2026-11-23T04:50:00Z")


@pytest.mark.parametrize(
    ("name", "says"), [("future", "no series of klaviyo_api_requests_total"), ("bad query", "HTTP 4")]
)
def test_nothing_at_all_is_a_gap(told: dict[str, Fetched], name: str, says: str):
    assert told[name].frame is None
    assert says in told[name].gaps[0].reason


@pytest.mark.parametrize("name", ["reset", "gap", "two", "minute", "shorter", "11,001 points", "retention"])
def test_all_servers_give_the_same(need: Need, answers: Callable[[str, Need], dict[str, Fetched]], name: str):
    first, *others = (answers(server, need)[name].frame for server in SERVERS)
    assert first is not None
    for other in others:
        assert other is not None
        pd.testing.assert_frame_equal(increases(first), increases(other))
