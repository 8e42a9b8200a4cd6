from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import get_args

import pytest

from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.drills import development
from klaviyo_nb.drills.cells import ORDINARY, TRICKY
from klaviyo_nb.drills.counters import scrape
from klaviyo_nb.drills.development import make
from klaviyo_nb.drills.lines import logs
from klaviyo_nb.drills.noise import blinded, disturbed
from klaviyo_nb.drills.page import documents
from klaviyo_nb.drills.scenarios import Scenario
from klaviyo_nb.drills.traffic import Story, tell
from klaviyo_nb.drills.worlds import GENERATORS, Reply, Request, World, generator

QUIET = ("healthy", "inconclusive")


@pytest.fixture
def trap(now: datetime) -> Callable[[str], Story]:
    return lambda name: tell(TRICKY[name], 3, now)


def lately(story: Story, minutes: float = 15) -> Counter[str]:
    """Ways in which the calls of the last minutes ended."""
    since = (story.window.end - timedelta(minutes=minutes)).timestamp()
    return Counter(call.way for call in story.calls if call.at >= since)


def asked(world: World, service: str, target: str, key: str | None = None) -> Reply:
    headers = {} if key is None else {"Authorization": f"Klaviyo-API-Key {key}"}
    return world.services(lambda: world.window.end.timestamp())[service](Request("GET", target, headers))


@pytest.mark.parametrize("kinds", [ORDINARY, TRICKY], ids=["ordinary", "tricky"])
def test_there_are_as_many_healthy_and_undecidable_worlds_as_broken_ones(kinds: dict[str, Scenario]) -> None:
    quiet = sum(scenario.cause in QUIET for scenario in kinds.values())
    assert quiet == len(kinds) - quiet


def test_every_cause_has_a_cell_and_pairs_name_a_second_one() -> None:
    assert {scenario.cause for scenario in ORDINARY.values()} == set(get_args(Cause))
    assert sum(scenario.second is not None for scenario in ORDINARY.values()) == 4


@pytest.mark.parametrize(
    ("level", "kind"),
    [("clean", "rate_limited"), ("realistic", "missing_scope"), ("adversarial", "edge challenge")],
)
def test_level_kind_and_seed_make_one_world(level: str, kind: str, now: datetime) -> None:
    one, same, other = (make(level, kind, seed, now) for seed in (1, 1, 2))
    assert (one.logs, one.truth, one.key, one.configured) == (
        same.logs,
        same.truth,
        same.key,
        same.configured,
    )
    page = "/api/v2/summary.json"
    assert asked(one, "status", page) == asked(same, "status", page)
    assert one.key != other.key


def test_the_registry_leads_to_generators() -> None:
    for name in GENERATORS:
        assert set(generator(name).LEVELS) == {"clean", "realistic", "adversarial"}
    assert generator("development") is development


def test_noise_changes_neither_cause_nor_incident() -> None:
    for scenario in (*ORDINARY.values(), *TRICKY.values()):
        for seed in range(5):
            blurred = blinded(disturbed(scenario, random.Random(seed)), random.Random(seed))
            assert (blurred.cause, blurred.second) == (scenario.cause, scenario.second)
            own, others = blurred.phases[: len(scenario.phases)], blurred.phases[len(scenario.phases) :]
            assert own == scenario.phases
            assert all(each.passing for each in others)
            assert all(abs(skew) <= 120 for skew in (*blurred.log_skew_s.values(), blurred.date_skew_s))


def test_every_source_is_missing_in_some_realistic_world_and_never_two_at_once() -> None:
    seen = Counter()
    for seed in range(60):
        world = blinded(ORDINARY["invalid_key"], random.Random(seed))
        missing = sorted(world.without) + ([] if world.key else ["key"])
        assert len(missing) <= 1
        seen.update(missing or ["nothing"])
    assert set(seen) == {"logs", "metrics", "key", "nothing"}


def test_a_realistic_world_has_passing_failures_and_is_small(now: datetime) -> None:
    for seed in range(4):
        world = disturbed(ORDINARY["healthy"], random.Random(seed))
        story = tell(world, seed, now)
        assert 0.005 < story.counts.failed_calls / story.counts.calls < 0.05
        assert story.truth.onset is None


def test_clocks_of_logs_differ_from_the_calls(now: datetime) -> None:
    story = tell(disturbed(ORDINARY["healthy"], random.Random(3)), 1, now)
    first = min(call.at for call in story.calls if call.caller.log == "web")
    lines = [json.loads(line) for line in logs(story)["web.log"].splitlines()]
    shown = min(line["time"] for line in lines if "method" in line) / 1000
    assert shown - first == pytest.approx(story.scenario.log_skew_s["web"], abs=0.01)


def test_counters_fall_to_zero_where_processes_start_anew(now: datetime) -> None:
    series = scrape(tell(TRICKY["counters start anew"], 3, now)).series.values()
    falls = {sum(b < a for a, b in zip(values, values[1:], strict=False)) for _, values in series}
    assert max(falls) >= 3


def test_an_unrelated_incident_stands_beside_a_revoked_key(trap: Callable[[str], Story]) -> None:
    story = trap("unrelated incident, revoked key")
    (incident,) = documents(story)["/api/v2/incidents/unresolved.json"]["incidents"]
    assert [part["name"] for part in incident["components"]] == ["Campaign Email Sending"]
    assert set(lately(story)) == {"unauthorized"}


@pytest.mark.parametrize("name", ["green page, full outage", "no answer at all"])
def test_the_page_is_green_while_nothing_works(name: str, trap: Callable[[str], Story]) -> None:
    story = trap(name)
    assert documents(story)["/api/v2/status.json"]["status"]["indicator"] == "none"
    assert lately(story)["ok"] < 0.05 * sum(lately(story).values())


def test_one_worker_alone_has_the_old_key(trap: Callable[[str], Story], now: datetime) -> None:
    story = trap("one worker with an old key")
    refused = {call.host for call in story.calls if call.way == "unauthorized"}
    assert refused == {"worker-1"}
    world = make("adversarial", "one worker with an old key", 3, now)
    assert asked(world, "api", "/api/profiles", world.key).status == 200


def test_a_storm_of_429_follows_5xx_that_are_over(trap: Callable[[str], Story]) -> None:
    story = trap("throttled by retries after 5xx")
    now, before = lately(story), lately(story, 60)
    assert now["throttled"] > 20
    assert now["unavailable"] < 10
    assert before["unavailable"] > 20
    both = lately(trap("5xx, and throttled by retries"))
    assert 20 < both["throttled"] < both["unavailable"]


@pytest.mark.parametrize(("name", "status"), [("edge challenge", 403), ("403 that sheds load", 403),
                                              ("404 during an outage", 404), ("captive portal", 200)])  # fmt: skip
def test_what_looks_like_klaviyos_answer_is_html(name: str, status: int, now: datetime) -> None:
    world = make("adversarial", name, 2, now)
    reply = asked(world, "api", "/api/profiles", world.key)
    assert (reply.status, reply.body[:9].lower()) == (status, "<!doctype")
    assert "X-Klaviyo-Req-Id" not in reply.headers


@pytest.mark.parametrize(
    "name", ["one small endpoint fails", "one endpoint, no scope", "daily cap of 18 hours"]
)
def test_one_endpoint_fails_and_no_other(name: str, trap: Callable[[str], Story]) -> None:
    story = trap(name)
    since = (story.window.end - timedelta(minutes=15)).timestamp()
    failed = Counter(
        call.operation for call in story.calls if call.at >= since and call.way != "ok" and not call.noise
    )
    assert len(failed) == 1
    assert failed.total() >= 5


def test_a_daily_cap_asks_to_wait_for_most_of_a_day(trap: Callable[[str], Story]) -> None:
    waits = {call.retry_after_s for call in trap("daily cap of 18 hours").calls if call.way == "throttled"}
    assert 67608 in waits


def test_what_ended_an_hour_ago_does_not_fail_since(trap: Callable[[str], Story]) -> None:
    story = trap("ended an hour ago")
    assert not [call for call in story.calls if call.way != "ok" and not call.noise
                and call.at > (story.window.end - timedelta(minutes=60)).timestamp()]  # fmt: skip
    assert story.truth.recovered is not None


@pytest.mark.parametrize("name", [name for name in (*ORDINARY, *TRICKY) if "few calls" in name])
def test_few_calls_are_fewer_than_can_be_counted(name: str, now: datetime) -> None:
    for seed in range(20):
        assert lately(tell((ORDINARY | TRICKY)[name], seed, now)).total() < 10


def test_the_accounts_scope_is_missing_and_other_calls_are_answered(now: datetime) -> None:
    world = make("adversarial", "no accounts scope, all well", 1, now)
    assert [asked(world, "api", path, world.key).status for path in ("/api/accounts", "/api/profiles")] == [
        403,
        200,
    ]


def test_a_healthy_endpoint_of_size_xs_has_nothing_remaining(trap: Callable[[str], Story]) -> None:
    left = {call.remaining for call in trap("remaining 0 of XS").calls if call.operation == "get_accounts"}
    assert 0 in left


def test_an_old_key_is_ours_alone(now: datetime) -> None:
    world = make("adversarial", "our probe's key is old, all well", 1, now)
    assert asked(world, "api", "/api/profiles", world.key).status == 401
    assert "not_authenticated" not in "".join(world.logs.values())


@pytest.mark.parametrize("name", ["key with a line break, refused", "key with a line break, all well"])
def test_the_key_has_a_line_break(name: str, now: datetime) -> None:
    assert make("adversarial", name, 1, now).key.endswith("\n")


def test_others_fail_in_the_logs_and_klaviyo_does_not(trap: Callable[[str], Story], now: datetime) -> None:
    world = make("adversarial", "failures of others", 1, now)
    text = "".join(world.logs.values())
    assert all(part in text for part in ("api.stripe.com", "api.sendgrid.com", "/admin/klaviyo/lists"))
    assert set(lately(trap("failures of others"))) <= {"ok", "error", "unavailable"}


def test_every_signature_is_rejected(now: datetime) -> None:
    world = make("adversarial", "every signature rejected", 1, now)
    lines = [line for line in world.logs["web.log"].splitlines() if "klaviyo.webhook" in line]
    assert lines
    assert all("Invalid signature rejected" in line for line in lines)
    assert asked(world, "app", "/webhooks/klaviyo").status == 401


def test_slow_calls_do_not_fail(trap: Callable[[str], Story]) -> None:
    story = trap("slow without failures")
    since = (story.window.end - timedelta(minutes=15)).timestamp()
    durations = sorted(call.duration_s for call in story.calls if call.at >= since)
    assert durations[int(0.95 * len(durations))] > 3
    assert lately(story)["ok"] > 0.95 * lately(story).total()


def test_a_maintenance_goes_on_and_is_no_incident(trap: Callable[[str], Story]) -> None:
    pages = documents(trap("maintenance of the API"))
    (planned,) = pages["/api/v2/summary.json"]["scheduled_maintenances"]
    assert planned["status"] == "in_progress"
    assert pages["/api/v2/summary.json"]["incidents"] == []


@pytest.mark.parametrize(
    "name", [name for name, each in (ORDINARY | TRICKY).items() if each.cause == "inconclusive"]
)
def test_in_an_undecidable_world_no_usable_key_and_no_tenth_call_can_be_seen(
    name: str, now: datetime
) -> None:
    scenario = (ORDINARY | TRICKY)[name]
    story = tell(scenario, 5, now)
    assert not scenario.key.strip()
    assert "logs" in scenario.without or lately(story).total() < 10
    assert "metrics" in scenario.without or scenario.live.metrics == "refused"


def test_hanging_health_and_a_page_for_health(now: datetime) -> None:
    ask = partial(asked, service="app", target="/health")
    assert ask(make("adversarial", "health hangs", 1, now)).way.error == "timeout"
    assert "html" in ask(make("adversarial", "health is a page", 1, now)).headers["Content-Type"]
    said = json.loads(ask(make("adversarial", "health says degraded with 200", 1, now)).body)
    assert said["status"] == "degraded"
