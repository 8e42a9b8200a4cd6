from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

import pytest

from klaviyo_nb.drills.reporting import LEVELS, make, tell
from klaviyo_nb.drills.reporting.answers import ANSWERS
from klaviyo_nb.drills.reporting.serving import Told, services
from klaviyo_nb.drills.reporting.story import Call, endpoint, shown
from klaviyo_nb.drills.score import Task, judge
from klaviyo_nb.drills.worlds import Request, generator

CELLS = [(level, kind) for level, kinds in LEVELS.items() for kind in kinds]
SEED = 5


@lru_cache(maxsize=300)
def told(kind: str, now: datetime, level: str | None = None, seed: int = SEED) -> Told:
    level = level or next(level for level, kinds in LEVELS.items() if kind in kinds)
    return tell(level, kind, seed, now)[0]


def inside(made: Told, minutes: float | None = None) -> list[Call]:
    since = made.start if minutes is None else made.end - 60 * minutes
    return [call for call in made.calls if since <= call.at < made.end]


def asked(made: Told, service: str, target: str, method: str = "GET", **headers: str):  # type: ignore[no-untyped-def]
    return services(made, lambda: made.end)[service](Request(method, target, headers))


def keyed(made: Told) -> dict[str, str]:
    return {"Authorization": f"Klaviyo-API-Key {made.key}"}


def test_the_score_knows_these_worlds() -> None:
    assert generator("reporting").LEVELS is LEVELS
    assert list(LEVELS) == ["clean", "realistic", "adversarial"]


@pytest.mark.parametrize(("level", "kind"), CELLS[::7])
def test_the_same_arguments_give_the_same_world(level: str, kind: str, now: datetime) -> None:
    first, second = make(level, kind, SEED, now), make(level, kind, SEED, now)
    assert (first.logs, first.truth, first.key, first.window) == (
        second.logs,
        second.truth,
        second.key,
        second.window,
    )
    assert make(level, kind, SEED + 1, now).logs != first.logs or not first.logs


@pytest.mark.parametrize("level", LEVELS)
def test_as_many_worlds_are_healthy_or_undecidable_as_broken(level: str, now: datetime) -> None:
    causes = [told(kind, now, level).plot.cause for kind in LEVELS[level]]
    well = sum(cause in ("healthy", "inconclusive") for cause in causes)
    assert well == len(causes) - well


@pytest.mark.parametrize("level", ["clean", "realistic"])
def test_every_cause_has_its_world(level: str, now: datetime) -> None:
    causes = {told(kind, now, level).plot.cause for kind in LEVELS[level]}
    assert len(causes) == 13


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
@pytest.mark.parametrize(("level", "kind"), CELLS)
def test_what_can_be_counted_leads_to_the_truth(level: str, kind: str, seed: int, now: datetime) -> None:
    """A count of its own, in the words of the contract: the last 15 minutes, 10 calls, 5 failures, 5 %."""
    made = told(kind, now, level, seed)
    seen = [call for call in inside(made) if shown(made.plot, call)]
    last = [call for call in seen if call.at >= made.end - 900]
    failed = sum(call.failed for call in last)
    if made.plot.cause == "inconclusive":
        assert made.plot.key == "none"
        assert len(last) < 10
    elif made.plot.shows == "failing":
        assert len(last) >= 10
        assert failed >= 5
        assert failed >= 0.05 * len(last)
    elif made.plot.shows == "over":
        assert sum(call.failed for call in seen) >= 5
        assert failed < 0.05 * len(last)
        assert len(last) >= 10
    elif made.plot.cause == "healthy":
        assert failed < 5 or failed < 0.05 * len(last)


@pytest.mark.parametrize(("level", "kind"), CELLS)
def test_a_truth_has_the_severity_that_its_share_makes(level: str, kind: str, now: datetime) -> None:
    made = told(kind, now, level)
    plot, hit = made.plot, [call for call in inside(made) if call.fault == 0]
    if plot.shows != "failing" or not hit:
        return
    since = [call for call in inside(made) if call.at >= hit[0].at]
    failing = {endpoint(call.operation).path for call in since if call.fault == 0}
    if plot.severity == "P1":
        assert sum(call.failed for call in since) > 0.95 * len(since)
    if plot.severity == "P3":
        assert len(failing) == 1
    if plot.severity == "P2" and plot.cause in ("rate_limited", "missing_scope", "invalid_request"):
        assert len(failing) > 1


def revoked_while_something_else_is_posted(made: Told) -> bool:
    (post,) = made.plot.posts
    return (
        "Klaviyo API" not in post.components
        and asked(made, "api", "/api/accounts", **keyed(made)).status == 401
    )


def refused_although_an_incident_is_posted(made: Told) -> bool:
    return "Klaviyo API" in made.plot.posts[0].components and {c.answer for c in inside(made, 3)} <= {
        "bad_key"
    }


def green(made: Told) -> bool:
    page = json.loads(asked(made, "status", "/api/v2/summary.json").body)
    return page["status"]["indicator"] == "none" and all(call.failed for call in inside(made, 3))


def some_hosts_fail_and_others_do_not(made: Told) -> bool:
    failing = {call.host for call in inside(made, 15) if call.fault == 0}
    working = {call.host for call in inside(made, 15) if not call.failed}
    return bool(failing) and not failing & working and len(working) >= len(failing)


def limits_after_errors(made: Told) -> bool:
    firsts = {
        ANSWERS[call.answer].status: call.at for call in reversed(inside(made)) if call.fault is not None
    }
    return firsts[429] > min(firsts[502], firsts[503])


def refused_by_the_edge(made: Told) -> bool:
    return all(ANSWERS[c.answer].by in ("challenge", "edge") for c in inside(made) if c.fault == 0)


def portal_everywhere(made: Told) -> bool:
    page, api = (
        asked(made, "status", "/api/v2/summary.json"),
        asked(made, "api", "/api/accounts", **keyed(made)),
    )
    return page.status == api.status == 200 and "<html>" in page.body and "<html>" in api.body


def one_path_fails(made: Told) -> bool:
    return (
        len({c.operation for c in inside(made) if c.fault == 0})
        == 1
        < len({c.operation for c in inside(made)})
    )


def a_day_to_wait(made: Told) -> bool:
    waits = [call.wait for call in inside(made, 15) if call.fault == 0]
    return bool(waits) and all(wait is not None and wait > 16 * 3600 for wait in waits)


def nothing_left_of_accounts(made: Told) -> bool:
    left = [call.remaining for call in inside(made, 15) if call.operation == "get_accounts"]
    return bool(left) and set(left) == {0}


def accounts_alone_are_refused(made: Told) -> bool:
    answers = [asked(made, "api", path, **keyed(made)).status for path in ("/api/accounts", "/api/profiles")]
    return answers == [403, 200]


def silence(made: Told) -> bool:
    return (
        asked(made, "api", "/api/accounts", **keyed(made)).way.error == "timeout"
        or made.plot.severity == "P2"
    )


def over_for_an_hour(made: Told) -> bool:
    last = max(call.at for call in inside(made) if call.fault == 0)
    return 45 * 60 < made.end - last < 75 * 60


TRAPS: dict[str, Callable[[Told], bool]] = {
    "revoked_key_unrelated_incident": revoked_while_something_else_is_posted,
    "revoked_key_during_outage": refused_although_an_incident_is_posted,
    "green_page_full_outage": green,
    "late_page": lambda made: made.plot.posts[0].at > made.end - 300 and made.plot.faults[0].since < made.end - 2000,
    "one_worker_old_key": some_hosts_fail_and_others_do_not,
    "one_node_cut_off": some_hosts_fail_and_others_do_not,
    "retry_storm": limits_after_errors,
    "storm_outlives_errors": lambda made: {c.answer for c in inside(made, 15) if c.fault == 0} == {"throttled"},
    "edge_challenge": refused_by_the_edge,
    "captive_portal": portal_everywhere,
    "single_failing_endpoint": one_path_fails,
    "ended_an_hour_ago": over_for_an_hour,
    "low_traffic_bad_key": lambda made: len(inside(made, 15)) < 10,
    "daily_cap": a_day_to_wait,
    "hang": silence,
    "key_with_newline": lambda made: {c.answer for c in inside(made, 5)} <= {"edge_400"} and made.plot.key == "newline",
    "plan_looks_like_scope": lambda made: {c.answer for c in inside(made, 15) if c.fault == 0} == {"plan"},
    "slow_without_failures": lambda made: not any(c.fault == 0 for c in inside(made))
    and sorted(c.duration_s for c in inside(made, 15))[len(inside(made, 15)) // 2] > 5,
    "accounts_scope_missing": accounts_alone_are_refused,
    "nothing_remaining": nothing_left_of_accounts,
    "probe_key_refused": lambda made: sum(not c.failed for c in inside(made, 15)) >= 20,
    "metrics_down": lambda made: asked(made, "metrics", "/api/v1/query_range").status == 503,
    "errors_only_log": lambda made: any(c.failed for c in inside(made)) and len(inside(made)) > 100,
    "before_the_window": lambda made: any(c.fault == 0 for c in made.calls) and not any(c.fault == 0 for c in inside(made)),
}  # fmt: skip


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
@pytest.mark.parametrize("kind", TRAPS)
def test_a_trap_holds_its_trap(kind: str, seed: int, now: datetime) -> None:
    assert TRAPS[kind](told(kind, now, "adversarial", seed))


def counter(made: Told, name: str) -> float:
    target = f"/api/v1/query_range?query={name}&start={made.end}&end={made.end}&step=60"
    found = json.loads(asked(made, "metrics", target).body)["data"]["result"]
    return sum(float(series["values"][-1][1]) for series in found)


def test_the_counters_count_the_calls(now: datetime) -> None:
    made = told("healthy_metrics_only", now, "clean")
    scraped = [call for call in made.calls if call.at <= made.end // 15 * 15]
    assert counter(made, "klaviyo_api_requests_total") == len(scraped)
    assert counter(made, "klaviyo_api_duration_seconds_count") == len(scraped)


def test_counters_start_again_where_the_application_did(now: datetime) -> None:
    made = next(
        each for seed in range(1, 20) if "metrics" in (each := told("restarted", now, seed=seed)).plot.signals
    )
    assert made.plot.deploy is not None
    since = [call for call in made.calls if made.plot.deploy + 15 < call.at < made.end - 15]
    assert len(since) <= counter(made, "klaviyo_api_requests_total") < len(made.calls)


@pytest.mark.parametrize("kind", ["healthy_logs_only", "invalid_key", "network_unreachable"])
def test_the_logs_tell_of_every_call(kind: str, now: datetime) -> None:
    made, world = told(kind, now, "clean", 2), make("clean", kind, 2, now)
    for part in made.plot.parts:
        text = "".join(text for name, text in world.logs.items() if name.startswith(part.name))
        assert sum("/api/" in line for line in text.splitlines()) >= sum(
            call.part is part for call in made.calls
        )


@pytest.mark.parametrize(
    ("level", "kind"), [("clean", "healthy"), ("realistic", "invalid_key"), ("adversarial", "hang")]
)
def test_a_world_is_judged_without_a_crash(level: str, kind: str) -> None:
    judged = judge(Task("reporting", level, kind, 2))
    assert judged.crash is None
    assert judged.said is not None
