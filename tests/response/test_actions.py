"""Every cause has actions that a tired person can carry out, filled with this incident's values."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

import samples
from klaviyo_nb.cli import commands
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Advisory, Cause, Interval, Rival, Verdict
from klaviyo_nb.evidence import Evidence, Gap
from klaviyo_nb.frames import CALLS, PROBES
from klaviyo_nb.logs.questions.counts import GROUPS
from klaviyo_nb.redact import Redactor
from klaviyo_nb.response.actions import Action, actions_for
from klaviyo_nb.response.case import Case
from klaviyo_nb.response.check import must_be_known
from klaviyo_nb.response.spending import spending
from klaviyo_nb.window import Window

CAUSES: tuple[Cause, ...] = get_args(Cause)
NOTHING_SEEN = Evidence(samples.WINDOW, samples.NOW)


def verdict(cause: Cause, **values: Any) -> Verdict:
    fields = {
        "certainty": "established",
        "severity": "P2",
        "severity_because": "x",
        "respond_by": samples.NOW,
    }
    return Verdict(samples.WINDOW, cause, **(fields | {"summary": "s"} | values))  # type: ignore[arg-type]


def call(status: int | None, *, at_s: float = 0, method: str = "POST", **values: Any) -> dict[str, Any]:
    row = {"timestamp": samples.NOW - timedelta(seconds=600 - at_s), "source": "app.log", "line_no": 1, "method": method,
           "endpoint": "/api/events", "status_code": status, "duration_s": 0.2, "parsed": True}  # fmt: skip
    return row | values


def seen(*rows: dict[str, Any], **values: Any) -> Evidence:
    return replace(samples.rate_limited(), calls=CALLS.frame(rows), **values)


def texts(actions: tuple[Action, ...]) -> str:
    return "\n".join(
        text or ""
        for each in actions
        for text in (each.title, each.why, each.command, each.expect, each.undo, each.check)
    )


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(
    "evidence", [samples.rate_limited(), NOTHING_SEEN], ids=["much seen", "nothing seen"]
)
def test_every_cause_has_complete_actions_whatever_was_seen(cause: Cause, evidence: Evidence) -> None:
    gaps = (Gap("logs", "not given", configured=False),)
    actions = actions_for(verdict(cause, facts={}), replace(evidence, gaps=gaps))
    assert actions
    for action in actions:
        assert action.title[0].isupper()
        assert len(action.title) <= 80
        assert action.why
        assert action.expect
        assert action.check
        for text in (action.title, action.why, action.expect, action.check):
            assert "\n" not in text
    assert "None" not in texts(actions)


@pytest.mark.parametrize("cause", CAUSES)
def test_every_command_is_something_that_bash_can_read(cause: Cause, need: Callable[[str], str]) -> None:
    bash = need("bash")
    evidence = samples.rate_limited()
    facts = dict(decide(evidence).facts) | {"failing_hosts": ["web-1", "we;b"]}
    for action in actions_for(verdict(cause, facts=facts), evidence):
        if action.command:
            read = subprocess.run(
                [bash, "-n", "-c", action.command], capture_output=True, text=True, check=False
            )
            assert read.returncode == 0, (action.command, read.stderr)


def tool_calls(text: str) -> list[list[str]]:
    """The arguments of each `klaviyo-nb` command in a shell command."""
    parts = re.split(r"[;|]|\n|&&", text.replace("\\\n", " "))
    return [shlex.split(part)[1:] for part in parts if part.strip().startswith("klaviyo-nb ")]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(
    "evidence", [samples.rate_limited(), NOTHING_SEEN], ids=["much seen", "nothing seen"]
)
def test_every_command_of_ours_is_one_that_we_understand(cause: Cause, evidence: Evidence) -> None:
    gaps = tuple(
        Gap(signal, "not given", configured=False)
        for signal in ("logs", "metrics", "webhook", "app_health", "auth")
    )
    for action in actions_for(
        verdict(cause, facts=dict(decide(evidence).facts)), replace(evidence, gaps=gaps)
    ):
        assert tool_calls(action.check), action.check
        for name, *arguments in tool_calls(action.check) + tool_calls(action.command or ""):
            context = commands.commands[name].make_context(name, list(arguments))
            must_be_known(context.params.get("names", ()))
            assert set(context.params.get("by", ())) <= set(GROUPS)


@pytest.mark.parametrize("cause", CAUSES)
def test_every_expectation_says_how_long_it_takes(cause: Cause) -> None:
    for action in actions_for(
        verdict(cause, facts=dict(decide(samples.rate_limited()).facts)), samples.rate_limited()
    ):
        assert re.search("at once|second|minute|hour|UTC|working day", action.expect), action.expect


@pytest.mark.parametrize("cause", CAUSES)
def test_what_changes_something_says_how_to_take_it_back(cause: Cause) -> None:
    for action in actions_for(verdict(cause, facts={}), samples.rate_limited()):
        if re.search(r"restart|patch |secrets versions add|put-secret", action.command or ""):
            assert action.undo, action.title


@pytest.mark.parametrize(
    ("source", "restart"),
    [("journald:///web", "sudo systemctl restart web"), ("docker://shop", "docker restart shop"),
     ("k8s://prod/deployment/shop", "kubectl -n prod rollout restart deployment/shop"),
     ("/var/log/app.log", "kubectl rollout restart deployment/APP")],
)  # fmt: skip
def test_the_application_that_logs_is_the_one_to_restart(source: str, restart: str) -> None:
    context = dict(samples.rate_limited().context) | {"logs": [source]}
    evidence = replace(samples.rate_limited(), context=context)
    assert actions_for(verdict("invalid_key", facts={}), evidence)[-1].command == restart


def test_commands_count_the_window_that_was_looked_at() -> None:
    evidence = samples.rate_limited()
    case = Case(verdict("rate_limited"), evidence)
    assert case.logs().endswith(" --since 2h")
    longer = Window(evidence.window.end - timedelta(minutes=90), evidence.window.end)
    assert Case(case.verdict, replace(evidence, window=longer)).logs().endswith(" --since 90m")
    later = replace(evidence, collected_at=evidence.window.end + timedelta(hours=3))
    assert (
        Case(case.verdict, later).logs().endswith(" --start 2026-11-23T05:00:00Z --end 2026-11-23T07:00:00Z")
    )
    assert Case(case.verdict, later).logs(since="5m").endswith(" --since 5m")


def test_what_was_lost_counts_calls_and_not_their_attempts() -> None:
    tries = [{"status_code": 503}, {"status_code": 503}, {"status_code": 202}]
    calls = CALLS.frame(
        {"timestamp": samples.WINDOW.start, "endpoint": "/api/events", "event_key": "e", "line_no": n} | each
        for n, each in enumerate(tries)
    )
    evidence = replace(samples.rate_limited(), calls=calls)
    action = actions_for(verdict("resolved_or_intermittent"), evidence)[1]
    assert "Calls: 1 delivered." in action.why
    assert "--ask ledger" in (action.command or "")


def test_sources_are_named_in_commands_as_they_were_given() -> None:
    context = dict(samples.rate_limited().context) | {"logs": ["/var/log/app/*.log"]}
    action = actions_for(
        verdict("klaviyo_outage", facts={}), replace(samples.rate_limited(), context=context)
    )[1]
    assert "klaviyo-nb logs '/var/log/app/*.log' --since 2h" in (action.command or "")


def test_rejected_signatures_put_the_secret_before_the_route() -> None:
    facts = {"webhook_says": "all 9 signatures were rejected"}
    first = actions_for(verdict("webhook_endpoint_down", facts=facts), samples.rate_limited())[0]
    assert first.title == "Check the signature's secret"


@pytest.mark.parametrize("cause", CAUSES)
def test_a_path_or_host_from_a_log_cannot_become_a_command(cause: Cause) -> None:
    evil = "/api/x$(touch /tmp/pwned)`id`'\";echo"
    evidence = seen(
        call(403, endpoint=evil, host=evil, caller=evil),
        context={"api_url": f"https://h{evil}", "revision": evil, "webhook_url": evil, "health_url": evil},
    )
    facts = {
        "failure": "forbidden",
        "endpoints": [{"endpoint": evil, "calls": 1, "failed": 1}],
        "failing_hosts": [evil],
    }
    for action in actions_for(verdict(cause, facts=facts), evidence):
        outside = re.sub(r"'[^']*'", "", (action.command or "").replace("'\"'\"'", ""))
        assert "$(touch" not in outside
        assert "`id`" not in outside


def test_commands_name_the_key_by_its_variable_only() -> None:
    written = texts(actions_for(verdict("invalid_key", facts={}), samples.rate_limited()))
    assert "$KLAVIYO_PRIVATE_KEY" in written
    assert not re.search("pk_[A-Za-z0-9]", written)


def test_curl_commands_carry_a_revision_and_no_bare_bracket() -> None:
    for cause in CAUSES:
        for action in actions_for(verdict(cause, facts={}), samples.rate_limited()):
            for line in (action.command or "").splitlines():
                if "KLAVIYO_PRIVATE_KEY" in line and line.startswith("curl"):
                    assert "revision: 2026-07-15" in line
                    assert " -g " in line
                    assert "[" not in line


def test_a_dead_key_tells_length_and_prefix_and_the_hosts_that_fail() -> None:
    actions = actions_for(verdict("invalid_key", facts={"failing_hosts": ["web-2"]}), samples.rate_limited())
    assert "it has 37 characters and begins with pk_" in actions[0].why
    assert any("web-2" in action.title for action in actions)
    assert {"gcloud", "aws", "kubectl"} <= set(re.findall("gcloud|aws|kubectl", texts(actions)))


def test_a_key_that_is_not_set_is_said_to_be_so() -> None:
    assert "it is not set" in actions_for(verdict("invalid_key", facts={}), NOTHING_SEEN)[0].why


def test_missing_scopes_are_those_needed_and_not_seen() -> None:
    evidence = seen(call(403, endpoint="/api/lists", method="GET"), call(202), call(202))
    facts = {"failure": "forbidden", "endpoints": [{"endpoint": "/api/lists", "calls": 1, "failed": 1}]}
    first = actions_for(verdict("missing_scope", facts=facts), evidence)[0]
    assert first.title == "Check that the key has lists:read"
    assert "has events:write" in first.why
    assert first.command is not None
    assert "/api/lists" in first.command


def test_a_scope_that_the_key_was_seen_to_have_is_not_called_missing() -> None:
    first = actions_for(verdict("missing_scope", facts={"failure": "forbidden"}), seen(call(403), call(202)))[
        0
    ]
    assert first.title == "Check the key's scopes"
    assert "hardly a scope" in first.why


def test_asking_again_whether_a_write_is_allowed_writes_nothing() -> None:
    first = actions_for(verdict("missing_scope", facts={"failure": "forbidden"}), seen(call(403)))[0]
    assert first.command is not None
    assert "-X POST" in first.command
    assert "-d '{}'" in first.command


def runaway(per_second: int) -> Evidence:
    """One caller makes `per_second` calls to an endpoint that allows 10 a second, 150 a minute."""
    rows = [
        call(429 if index % 3 == 0 else 200, at_s=index / per_second, method="GET", endpoint="/api/campaigns",
             caller="report" if index % 10 else "web", duration_s=0.25, retry_after_s=30 if index % 3 == 0 else None)
        for index in range(per_second * 60)
    ]  # fmt: skip
    return seen(*rows)


def test_a_runaway_caller_is_named_with_the_window_it_fills_and_the_pace_that_fits() -> None:
    actions = actions_for(
        verdict("rate_limited", facts={"failure": "throttled", "retry_after_s": 30.0}), runaway(20)
    )
    slow = next(action for action in actions if action.title.startswith("Slow down"))
    assert slow.title == "Slow down report on GET /api/campaigns"
    assert "150 are allowed" in slow.why
    assert "report makes 90% of them" in slow.why
    # 0.8 × 150 per 60 s × 0.25 s per call is half a call at a time: a pause, not a concurrency.
    assert any("one worker of report" in action.title and "0.5 s" in action.title for action in actions)


def test_concurrency_follows_littles_law() -> None:
    evidence = runaway(20)
    found = spending(evidence, evidence.calls)
    assert found is not None
    assert (found.limit, found.window_s, found.observed) == (150, 60, False)
    slower = replace(found, p50_s=4.0)
    assert slower.concurrency == int(0.8 * 150 / 60 * 4.0)
    assert found.concurrency is None
    assert replace(found, p50_s=None).concurrency is None


def test_a_limit_that_an_answer_told_wins_over_the_catalogue() -> None:
    evidence = runaway(20)
    told = {"target": "https://a.klaviyo.com/api/campaigns?x=1", "ratelimit": "7, 7;w=1, 70;w=60"}
    found = spending(replace(evidence, probe_rows=(PROBES.row(told),)), evidence.calls)
    assert found is not None
    assert (found.limit, found.observed) == (70, True)


def test_calls_that_do_not_fill_the_window_blame_nobody_here() -> None:
    actions = actions_for(decide(samples.rate_limited()), samples.rate_limited())
    titles = [action.title for action in actions]
    assert "Find who else spends the limit of GET /api/profiles" in titles
    assert not any(title.startswith("Slow down") for title in titles)


def test_when_the_limit_frees_is_the_last_answer_plus_what_it_asked() -> None:
    evidence = seen(
        call(429, at_s=0, retry_after_s=500), call(429, at_s=300, retry_after_s=10), probe_rows=()
    )
    case = Case(verdict("rate_limited", facts={"failure": "throttled"}), evidence)
    assert case.frees_at() == samples.NOW - timedelta(seconds=100)
    assert Case(verdict("rate_limited", facts={}), NOTHING_SEEN).frees_at() is None


def test_a_daily_cap_is_a_clock_time_to_come_back_at_and_nothing_to_wait_for_in_a_process() -> None:
    rows = [
        call(429 if index % 3 == 0 else 200, at_s=index * 8, endpoint="/api/campaign-values-reports", caller="nightly",
             retry_after_s=67608.0 if index % 3 == 0 else None)
        for index in range(70)
    ]  # fmt: skip
    facts = {"failure": "throttled", "retry_after_s": 67608.0}
    first, who, pace, *_ = actions_for(verdict("rate_limited", facts=facts), seen(*rows, probe_rows=()))
    # The last refusal came 552 s after 06:50 UTC, and asked to wait 67608 s.
    assert first.title == "Queue calls to /api/campaign-values-reports until 2026-11-24 01:46 UTC"
    assert "daily limit" in first.why
    assert "curl" not in (first.command or "")
    assert "225 are allowed" in who.why
    assert "nightly makes 100% of them" in who.why
    assert "480 s from call to call" in pace.title


def test_without_counted_calls_the_probe_tells_how_long_to_wait() -> None:
    evidence = replace(samples.rate_limited(), calls=None)
    wait = actions_for(verdict("rate_limited", facts={"failure": "throttled"}), evidence)[0]
    assert "Retry-After is up to 12 s" in wait.why
    assert wait.expect == "calls are accepted from 2026-11-23 07:00:10 UTC on"


def test_a_wait_that_is_over_is_not_announced_as_one_to_come() -> None:
    rows = [call(429, at_s=0, retry_after_s=5), call(429, at_s=10, retry_after_s=5)]
    facts = {"failure": "throttled", "retry_after_s": 5.0}
    wait = actions_for(verdict("rate_limited", facts=facts), seen(*rows, probe_rows=()))[0]
    assert "The last one ended at 06:50:15 UTC" in wait.why
    assert "06:50" not in wait.expect


def test_rejected_requests_name_the_field_and_the_time_of_the_deploy() -> None:
    row = call(400, error_code="invalid", error_pointer="/data/attributes/email")
    began = Interval(samples.NOW - timedelta(minutes=40), samples.NOW - timedelta(minutes=38))
    actions = actions_for(
        verdict("invalid_request", facts={"failure": "invalid"}, onset=began), seen(row, row)
    )
    assert actions[0].title == "Look at /data/attributes/email in what we send"
    assert "2 answers point at" in actions[0].why
    assert "06:20" in texts(actions)


def test_an_outage_counts_what_is_safe_to_replay() -> None:
    evidence = seen(call(503), call(503), call(504), call(None, error_type="timeout"), call(404), call(202))
    queue = actions_for(verdict("klaviyo_outage", facts={"failure": "server"}), evidence)[1]
    assert "at most 2 (at least 0) refused" in queue.why
    assert "at most 2 (at least 0) unknown" in queue.why
    assert "at most 1 (at least 0) to be fixed first" in queue.why


def test_support_is_asked_only_about_what_the_page_does_not_acknowledge() -> None:
    rows = seen(call(500, request_id="11111111-2222-4333-8444-555555555555"))
    named = actions_for(verdict("klaviyo_server_error", facts={"failure": "server"}), rows)
    assert "11111111-2222-4333-8444-555555555555" in texts(named)
    outage = actions_for(verdict("klaviyo_outage", facts={"failure": "server"}), rows)
    assert not any("support" in action.title for action in outage)


def test_a_healthy_verdict_asks_for_nothing_but_what_is_worth_knowing() -> None:
    assert actions_for(verdict("healthy", facts={}), replace(samples.rate_limited(), gaps=())) == ()
    known = (Advisory("clock_skew", "this machine's clock is 90 s behind Klaviyo's"),)
    (only,) = actions_for(
        verdict("healthy", facts={}, advisories=known), replace(samples.rate_limited(), gaps=())
    )
    assert only.title == "Set the clock"


def test_what_cannot_be_decided_asks_what_would_decide() -> None:
    rivals = (Rival("invalid_key", "not answered", "set KLAVIYO_PRIVATE_KEY"),)
    first = actions_for(verdict("inconclusive", facts={}, rivals=rivals), NOTHING_SEEN)[0]
    assert first.title == "Set KLAVIYO_PRIVATE_KEY"
    assert "invalid_key" in first.why


def test_a_scope_seen_before_the_trouble_began_may_have_been_another_keys() -> None:
    began = Interval(samples.NOW - timedelta(seconds=400), samples.NOW - timedelta(seconds=390))
    evidence = seen(call(202, at_s=0), call(403, at_s=300))
    facts = {"failure": "forbidden"}
    first = actions_for(verdict("missing_scope", facts=facts, onset=began), evidence)[0]
    assert first.title == "Check that the key has events:write"


def test_no_command_is_spoilt_by_redaction() -> None:
    evidence = samples.rate_limited()
    redact = Redactor(b"k").text
    for cause in CAUSES:
        for action in actions_for(verdict(cause, facts=decide(evidence).facts), evidence):
            assert redact(action.command or "") == (action.command or "")
            assert redact(action.why) == action.why
