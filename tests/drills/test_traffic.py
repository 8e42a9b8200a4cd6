from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import endpoint_of, status_of, tell

BROKEN = [name for name, scenario in SCENARIOS.items() if scenario.phases or scenario.callers]
WELL = [name for name in SCENARIOS if name not in BROKEN]


def test_the_same_arguments_give_the_same_world(now: datetime) -> None:
    assert tell(SCENARIOS["klaviyo_outage"], 4, now) == tell(SCENARIOS["klaviyo_outage"], 4, now)


def test_another_seed_gives_another_world_with_another_key(now: datetime) -> None:
    first, second = tell(SCENARIOS["healthy"], 1, now), tell(SCENARIOS["healthy"], 2, now)
    assert first.key != second.key
    assert first.calls != second.calls


def test_the_made_up_key_looks_like_a_private_key(now: datetime) -> None:
    key = tell(SCENARIOS["healthy"], 1, now).key
    assert len(key) == 37
    assert key.startswith("pk_")
    assert key[3:].isalnum()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_truth_is_counted_from_the_calls_of_the_window(name: str, now: datetime) -> None:
    made = tell(SCENARIOS[name], 7, now)
    inside = [call for call in made.calls if now - timedelta(hours=2) <= _at(call.at, now) < now]
    failed = [call for call in inside if call.way != "ok"]
    assert made.counts.calls == len(inside) > 0
    assert made.counts.failed_calls == len(failed) == sum(made.counts.failed_by.values())


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_world_knows_when_its_first_call_failed(name: str, now: datetime) -> None:
    made = tell(SCENARIOS[name], 7, now)
    assert made.truth.onset is not None
    assert made.window.start < made.truth.onset < made.window.end
    assert (made.truth.recovered is not None) == (name == "resolved_or_intermittent")


@pytest.mark.parametrize("name", WELL)
def test_a_world_whose_calls_are_well_has_no_onset_and_only_passing_noise(name: str, now: datetime) -> None:
    made = tell(SCENARIOS[name], 7, now)
    assert made.truth.onset is None
    assert made.truth.recovered is None
    assert made.counts.failed_calls < 0.01 * made.counts.calls


@pytest.mark.parametrize("name", ["rate_limited", "healthy"])
def test_no_endpoint_is_called_more_often_than_its_limits_allow(name: str, now: datetime) -> None:
    taken: Counter[tuple[str, int, int]] = Counter()
    for call in tell(SCENARIOS[name], 3, now).calls:
        if call.way != "throttled":
            for length in endpoint_of(call.operation).limits:
                taken[call.operation, length, int((call.at - call.duration_s) // length)] += 1
    assert taken
    for (operation, length, _), count in taken.items():
        assert count <= endpoint_of(operation).limits[length]


def test_the_runaway_job_asks_for_more_than_the_limit_and_for_nothing_else_is_it_refused(
    now: datetime,
) -> None:
    made = tell(SCENARIOS["rate_limited"], 3, now)
    minutes = Counter(int(call.at // 60) for call in made.calls if call.operation == "get_profiles")
    assert max(minutes.values()) > endpoint_of("get_profiles").steady
    refused = [call for call in made.calls if call.way == "throttled"]
    assert {call.operation for call in refused} == {"get_profiles", "bulk_import_profiles"}
    runaway = sum(call.caller.name == "segment-export" for call in refused)
    assert runaway > 0.9 * len(refused)
    assert all((call.retry_after_s or 0) >= 1 and call.remaining is None for call in refused)


def test_a_throttled_call_is_tried_again_after_the_wait_it_was_told(now: datetime) -> None:
    attempts: dict[tuple[str, str], list[float]] = {}
    waits: dict[tuple[str, str], int] = {}
    for call in tell(SCENARIOS["rate_limited"], 3, now).calls:
        if call.caller.retries and call.operation == "get_profiles":
            key = (call.profile, call.host)
            if key in waits and call.attempt == 2:
                attempts.setdefault(key, []).append(call.at)
            if call.way == "throttled" and call.attempt == 1:
                waits[key] = call.retry_after_s or 0
                attempts[key] = [call.at]
    pairs = {key: times for key, times in attempts.items() if len(times) == 2}
    assert pairs
    assert all(times[1] - times[0] >= waits[key] for key, times in pairs.items())


def test_calls_that_worked_carry_the_status_of_the_catalogue(now: datetime) -> None:
    made = tell(SCENARIOS["healthy"], 1, now)
    statuses = {call.operation: status_of(call) for call in made.calls if call.way == "ok"}
    assert statuses["create_event"] == 202
    assert statuses["get_profiles"] == 200
    assert statuses["add_profiles_to_list"] == 204


def test_too_few_calls_are_left_to_tell_in_the_inconclusive_world(now: datetime) -> None:
    for seed in range(5):
        made = tell(SCENARIOS["inconclusive"], seed, now)
        assert sum(call.at > now.timestamp() - 900 for call in made.calls) < 10


def test_webhooks_stop_where_the_scenario_says_so(now: datetime) -> None:
    last = max(delivery.at for delivery in tell(SCENARIOS["webhook_endpoint_down"], 1, now).deliveries)
    assert last < now.timestamp() - 44 * 60


def _at(seconds: float, now: datetime) -> datetime:
    return datetime.fromtimestamp(seconds, now.tzinfo)
