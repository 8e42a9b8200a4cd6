"""What looks alike is told apart, in the verdict's cause and in its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import samples
from bodies import GREEN, WELL, calls, evidence, incident, probe
from klaviyo_nb.commands.terminal import verdict as printed
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.verdict import Verdict
from klaviyo_nb.evidence import Gap
from klaviyo_nb.frames import WEBHOOKS
from klaviyo_nb.response.document import verdict_document

START, NOW = samples.WINDOW.start, samples.NOW


def rivals(found: Verdict) -> set[str]:
    return {rival.cause for rival in found.rivals}


def codes(found: Verdict) -> set[str]:
    return {advisory.code for advisory in found.advisories}


def because(found: Verdict, question: str) -> str:
    return next(step.because for step in found.path if question in step.question)


def of_host(
    rows: Sequence[dict[str, Any]], number: int, hosts: int = 4, **values: Any
) -> list[dict[str, Any]]:
    """The calls spread over hosts; those of one of them with these values."""
    return [
        row | {"host": f"web-{index % hosts}"} | (values if index % hosts == number else {})
        for index, row in enumerate(rows)
    ]


# One status, several meanings


def test_a_400_of_the_edge_is_a_key_with_a_control_character() -> None:
    found = decide(evidence(rows=calls(failed=120, status_code=400, answered_by="edge")))
    assert (found.cause, found.severity) == ("invalid_key", "P1")
    assert "control character" in found.summary


def test_a_400_of_the_application_is_what_we_send() -> None:
    found = decide(
        evidence(rows=calls(failed=60, status_code=400, answered_by="klaviyo", error_code="invalid"))
    )
    assert found.cause == "invalid_request"
    assert "60 × HTTP 400 invalid" in because(found, "look like")


@pytest.mark.parametrize(
    ("code", "words"), [("permission_denied", "scope"), ("forbidden", "a feature of the account")]
)
def test_a_403_names_what_is_missing_by_its_code(code: str, words: str) -> None:
    found = decide(evidence(rows=calls(failed=60, status_code=403, answered_by="klaviyo", error_code=code)))
    assert found.cause == "missing_scope"
    assert words in found.summary


def test_an_edge_challenge_names_the_edge_and_our_egress() -> None:
    found = decide(evidence(rows=calls(failed=60, status_code=403, answered_by="challenge")))
    assert found.cause == "klaviyo_server_error"
    assert "edge" in found.summary
    assert "egress" in found.summary


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (1.0, "wait up to 1 s: a window of a second or a minute"),
        (42.0, "wait up to 42 s: a window of a second or a minute"),
        (67608.0, "a daily cap is spent and frees at 2026-11-24 01:46 UTC, 18.8 h after the call"),
    ],
)
def test_a_429_says_which_kind_of_window_is_spent_and_when_it_frees(wait: float, words: str) -> None:
    refused = probe("rate_limit", 429, retry_after_s=wait)
    found = decide(evidence(WELL[0], probe("auth", 429, retry_after_s=wait), refused, WELL[3]))
    assert found.cause == "rate_limited"
    assert words in found.summary


def test_an_extra_small_endpoint_with_nothing_remaining_is_healthy() -> None:
    limits = {
        "ratelimit": "1, 1;w=1, 15;w=60",
        "ratelimit_limit": 1,
        "ratelimit_window_s": 1,
        "ratelimit_remaining": 0,
    }
    found = decide(evidence(WELL[0], probe("auth", **limits), *WELL[2:], rows=calls()))
    assert (found.cause, found.severity) == ("healthy", None)


def test_a_name_that_leads_nowhere_is_told() -> None:
    nowhere = probe(
        "dns", None, error_type="dns", detail="the name leads nowhere (0.0.0.0): a blocker answers"
    )
    bad = [probe(name, None, error_type="refused") for name in ("auth", "rate_limit")]
    found = decide(evidence(WELL[0], *bad, WELL[3], nowhere))
    assert found.cause == "network_unreachable"
    assert "0.0.0.0" in because(found, "look like")


def test_a_portal_is_named_as_one() -> None:
    rows = [probe(name, 200, answered_by="portal") for name in ("auth", "rate_limit")]
    found = decide(evidence(WELL[0], *rows, WELL[3]))
    assert found.cause == "network_unreachable"
    assert "portal" in found.summary


# Where it fails


def test_one_host_with_an_old_key_is_named_amid_noise_and_weighed_by_its_share() -> None:
    rows = of_host(calls(failed=4, of=240, status_code=503), 2, status_code=401)
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("invalid_key", "P2")
    assert found.facts["failing_hosts"] == ["web-2"]
    assert "only on web-2" in found.summary
    host = found.facts["hosts"][0]
    assert (host["host"], host["calls"], host["failed"]) == ("web-2", 60, 60)
    assert host["first_failed"] < host["last_failed"]


def test_first_and_last_failure_are_told_per_endpoint() -> None:
    rows = calls(of=700, minutes=(0, 105)) + calls(failed=30, status_code=404, error_code="not_found")
    told = decide(evidence(rows=rows)).facts["endpoints"]
    failing = [each for each in told if each["failed"]]
    assert failing
    assert all("2026-11-23T06:45" <= each["first_failed"] <= each["last_failed"] for each in failing)


def test_noise_elsewhere_does_not_hide_that_one_endpoint_fails() -> None:
    rows = calls(failed=3, status_code=500)
    rows = [row | ({"status_code": 503} if row["endpoint"] == "/api/profiles" else {}) for row in rows]
    assert decide(evidence(rows=rows)).cause == "endpoint_degraded"


def test_failures_that_name_no_endpoint_are_not_told_to_fall_on_the_one_that_few_of_them_name() -> None:
    rows = calls(failed=60, status_code=503)
    failing = [row for row in rows if row["status_code"] == 503]
    for row in failing[:-2]:
        row["endpoint"] = None
    found = decide(evidence(rows=rows))
    assert found.cause != "endpoint_degraded"
    assert "58 of 60 failures name no endpoint" in because(found, "one endpoint")


def test_an_application_with_one_endpoint_is_degraded_on_it_if_our_probes_succeed_elsewhere() -> None:
    rows = [row | {"endpoint": "/api/events"} for row in calls(failed=60, status_code=503)]
    assert decide(evidence(rows=rows)).cause == "endpoint_degraded"
    lost = decide(evidence(WELL[0], WELL[3], rows=rows))
    assert (lost.cause, lost.certainty) == ("klaviyo_server_error", "tentative")
    assert "endpoint_degraded" in rivals(lost)


# Two things at once


def test_an_old_key_on_one_host_during_errors_on_the_others_is_listed_with_its_evidence() -> None:
    rows = of_host(calls(failed=120, of=240, status_code=503), 1, hosts=6, status_code=401)
    found = decide(evidence(rows=rows))
    assert found.cause == "klaviyo_server_error"
    second = next(rival for rival in found.rivals if rival.cause == "invalid_key")
    assert "40 × HTTP 401 on web-1" in second.because
    assert "40 × HTTP 401 on web-1" in found.summary
    assert found.facts["other_failures"] == {"unauthorized": "40 × HTTP 401 on web-1"}


def test_a_few_passing_errors_beside_another_failure_are_no_second_cause() -> None:
    rows = calls(failed=5, of=240, status_code=503)
    rows = [row | ({"status_code": 401} if index % 2 else {}) for index, row in enumerate(rows)]
    found = decide(evidence(rows=rows))
    assert (found.cause, found.facts["other_failures"]) == ("invalid_key", None)


def test_a_probe_that_is_refused_otherwise_than_the_calls_keeps_that_cause_alive() -> None:
    probes = (WELL[0], probe("auth", 401), probe("rate_limit", 401), WELL[3])
    found = decide(evidence(*probes, rows=calls(failed=90, status_code=503)))
    assert found.cause == "klaviyo_server_error"
    assert "invalid_key" in rivals(found)


# When


def test_a_full_outage_that_began_minutes_ago_is_measured_since_it_began() -> None:
    rows = calls(of=400, minutes=(0, 114)) + calls(failed=60, of=60, minutes=(114, 120), status_code=503)
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P1")
    assert "since 06:5" in (found.severity_because or "")


def test_what_began_a_minute_ago_is_seen_in_the_newest_calls_and_the_probes() -> None:
    rows = calls(of=1500, minutes=(0, 119)) + calls(failed=8, of=8, minutes=(119, 120), status_code=401)
    probes = (WELL[0], probe("auth", 401), probe("rate_limit", 401), WELL[3])
    assert decide(evidence(*probes, rows=rows)).cause == "invalid_key"
    assert decide(evidence(rows=rows)).cause == "healthy", "calls alone are too few, and our own succeed"


def test_a_clock_that_is_ahead_hides_no_fresh_failure() -> None:
    def shifted(at: datetime) -> datetime:
        return at + timedelta(seconds=110)

    rows = calls(of=1000, minutes=(0, 118)) + calls(failed=40, of=40, minutes=(118, 120), status_code=401)
    ahead = [row | {"host": "web-1", "timestamp": shifted(row["timestamp"])} for row in rows]
    found, plain = decide(evidence(rows=ahead)), decide(evidence(rows=rows))
    assert (found.cause, found.severity) == (plain.cause, plain.severity) == ("invalid_key", "P1")
    assert "log_clock_ahead" in codes(found)
    assert "log_clock_ahead" not in codes(plain)


def test_a_clock_that_is_behind_empties_no_last_part() -> None:
    rows = calls(of=1000, minutes=(0, 110)) + calls(failed=80, of=80, minutes=(110, 120), status_code=401)
    behind = [row | {"timestamp": row["timestamp"] - timedelta(seconds=115)} for row in rows]
    assert decide(evidence(rows=behind)).cause == "invalid_key"


# The status page


def posted(title: str, minute: int, *components: str) -> dict[str, Any]:
    page = incident(title, *components)
    page["incidents"][0]["created_at"] = (START + timedelta(minutes=minute)).isoformat()
    return page


def test_the_page_that_told_late_is_told_of_with_both_times() -> None:
    rows = calls(of=400, minutes=(0, 60)) + calls(failed=400, of=400, minutes=(60, 120), status_code=503)
    found = decide(evidence(rows=rows, page=posted("API 503 Errors", 79, "Klaviyo API")))
    assert found.cause == "klaviyo_outage"
    late = next(advisory.text for advisory in found.advisories if advisory.code == "status_page_late")
    assert "since 06:0" in late
    assert "until 06:19 UTC" in late
    assert "since 06:0" in because(found, "acknowledge")


def test_a_page_that_told_in_time_is_not_called_late() -> None:
    rows = calls(of=400, minutes=(0, 60)) + calls(failed=400, of=400, minutes=(60, 120), status_code=503)
    for page in (posted("API 503 Errors", 30, "Klaviyo API"), incident("API 503 Errors", "Klaviyo API")):
        assert "status_page_late" not in codes(decide(evidence(rows=rows, page=page)))


def test_a_green_page_is_set_against_what_we_see() -> None:
    rows = calls(of=400, minutes=(0, 60)) + calls(failed=400, of=400, minutes=(60, 120), status_code=503)
    assert "Operational, while we saw failures since 06:0" in because(
        decide(evidence(rows=rows)), "acknowledge"
    )


@pytest.mark.parametrize(
    ("page", "cause"),
    [
        (incident("API 503 Errors", "Flux Capacitor"), "klaviyo_outage"),  # unknown name: the title tells
        (incident("Something is slow", "Flux Capacitor"), "klaviyo_server_error"),
        (incident("Late mails", "Flow Email Sending"), "klaviyo_server_error"),
        (GREEN | {"components": [{"name": "Flux Capacitor", "status": "major_outage"}]}, "klaviyo_server_error"),
        (GREEN | {"maintenances": [{"name": "API maintenance", "status": "in_progress"}]}, "klaviyo_outage"),
        (GREEN | {"maintenances": [{"name": "API maintenance", "status": "scheduled"}]}, "klaviyo_server_error"),
        (incident("API 503 Errors", "Segmentation"), "klaviyo_server_error"),
    ],
)  # fmt: skip
def test_a_post_counts_by_what_it_concerns(page: dict[str, Any], cause: str) -> None:
    assert decide(evidence(rows=calls(failed=90, status_code=503), page=page)).cause == cause


def test_an_incident_on_a_component_in_use_that_explains_little_is_a_rival() -> None:
    rows = calls(failed=120, status_code=401)
    rows = [row | ({"endpoint": "/api/segments"} if index % 6 == 0 else {}) for index, row in enumerate(rows)]
    assert "klaviyo_outage" in rivals(decide(evidence(rows=rows, page=incident("Segments", "Segmentation"))))


# Webhooks


def deliveries(minutes: range, outcome: str = "accepted") -> Any:
    return WEBHOOKS.frame(
        {"timestamp": START + timedelta(minutes=minute), "source": "app.log", "outcome": outcome}
        for minute in minutes
    )


def test_webhooks_that_fall_silent_do_not_arrive() -> None:
    found = decide(evidence(rows=calls(of=900, minutes=(0, 120)), webhooks=deliveries(range(100))))
    assert (found.cause, found.severity) == ("webhook_endpoint_down", "P3")
    assert "no webhook in the last 15 minutes" in found.summary


def test_webhooks_that_have_been_silent_for_longer_do_not_arrive_either() -> None:
    found = decide(evidence(rows=calls(of=900, minutes=(0, 120)), webhooks=deliveries(range(65))))
    assert (found.cause, found.severity) == ("webhook_endpoint_down", "P3")
    assert "no webhook in the last 45 minutes, 15 or more in each 15 before" in found.summary


def test_a_silence_longer_than_what_was_seen_before_it_says_nothing() -> None:
    found = decide(evidence(rows=calls(of=900, minutes=(0, 120)), webhooks=deliveries(range(40))))
    assert found.cause == "healthy"


def test_silence_says_nothing_where_webhooks_are_rare_or_nothing_is_logged_any_more() -> None:
    rare = decide(evidence(rows=calls(of=900, minutes=(0, 120)), webhooks=deliveries(range(0, 100, 9))))
    quiet = decide(evidence(rows=calls(of=700, minutes=(0, 100)), webhooks=deliveries(range(100))))
    assert (rare.cause, quiet.cause) == ("healthy", "healthy")


def test_signatures_that_are_rejected_since_a_rotation_are_seen() -> None:
    rows = WEBHOOKS.frame(
        {"timestamp": START + timedelta(minutes=minute), "source": "app.log",
         "outcome": "accepted" if minute < 100 else "bad_signature"} for minute in range(120)
    )  # fmt: skip
    found = decide(evidence(*WELL, probe("webhook", 401), webhooks=rows))
    assert found.cause == "webhook_endpoint_down"
    assert "all 20 signatures of late were rejected" in found.summary


def test_a_forged_webhook_among_good_ones_is_no_incident() -> None:
    rows = WEBHOOKS.frame(
        {"timestamp": START + timedelta(minutes=minute), "source": "app.log",
         "outcome": "bad_signature" if minute % 9 == 0 else "accepted"} for minute in range(120)
    )  # fmt: skip
    assert decide(evidence(rows=calls(of=900, minutes=(0, 120)), webhooks=rows)).cause == "healthy"


# Noise


@pytest.mark.parametrize("share", [0.01, 0.02, 0.03])
def test_steady_noise_of_a_few_per_cent_is_healthy_even_where_a_slice_is_unlucky(share: float) -> None:
    rows = calls(failed=round(share * 700), of=700, minutes=(0, 105), status_code=503)
    unlucky = calls(failed=6, of=100, status_code=503)
    assert decide(evidence(rows=rows + unlucky)).cause == "healthy"


def test_a_real_rise_over_a_quiet_window_is_seen_at_low_traffic() -> None:
    rows = calls(of=210, minutes=(0, 105)) + calls(failed=6, of=30, status_code=401)
    assert decide(evidence(rows=rows)).cause == "invalid_key"


# Logs and probes that disagree


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"status": 401}, "probe_refused"),
        ({"status": 429}, "probe_refused"),
        ({"status": 503}, "probe_failed"),
        ({"status": None, "error_type": "timeout"}, "probe_failed"),
        ({"status": None, "error_type": "dns"}, "probe_failed"),
    ],
)
def test_twenty_calls_that_succeed_are_believed_over_our_probes(bad: dict[str, Any], code: str) -> None:
    probes = (WELL[0], probe("auth", **bad), probe("rate_limit", **bad), WELL[3])
    found = decide(evidence(*probes, rows=calls(of=40)))
    assert (found.cause, found.severity, codes(found)) == ("healthy", "P4", {code})
    few = decide(evidence(*probes, rows=calls(of=19)))
    assert few.cause not in ("healthy", "inconclusive")


# Advisories


def with_revision(asked: str, **row: Any) -> Verdict:
    body = evidence(WELL[0], probe("auth", **row), *WELL[2:])
    return decide(replace(body, context={"revision": asked}))


def test_revisions_are_weighed_by_their_life_and_by_what_answers() -> None:
    assert codes(with_revision("2024-10-15")) == {"revision_retired"}
    assert codes(with_revision("2025-01-15")) == {"revision_soon_retired"}
    assert codes(with_revision("2025-07-15")) == {"revision_deprecated"}
    assert codes(with_revision("2026-07-15", retirement_date="2027-01-01")) == {"revision_deprecated"}
    assert codes(with_revision("2026-04-15", revision_effective="2026-07-15")) == {"revision_fall_forward"}
    assert codes(with_revision("2026-07-15", revision_effective="2026-04-15")) == set(), (
        "the endpoint is unchanged"
    )


def test_revisions_that_the_application_uses_are_read_from_its_logs() -> None:
    rows = [row | {"revision": "2024-10-15"} for row in calls()]
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("healthy", "P4")
    assert "the application's revision 2024-10-15 (120 calls) retired" in found.advisories[0].text


def test_calls_without_a_time_limit_are_told_of() -> None:
    rows = calls()
    rows[5] |= {"duration_s": 905.0}
    rows[9] |= {"message": "ReadTimeoutError(... read timeout=None)"}
    found = decide(evidence(rows=rows))
    assert "2 calls of the application had no time limit, the longest took 905 s" in found.advisories[0].text
    assert codes(decide(evidence(rows=calls()))) == set()


def test_hosts_clocks_and_metrics_are_advised_on() -> None:
    late = NOW + timedelta(seconds=50)
    ends = NOW + timedelta(days=5)
    probes = (WELL[0], probe("auth", server_date=late), *WELL[2:], probe("tls", None, cert_expires=ends))
    gaps = (Gap("metrics", "no answer"), Gap("logs", "not set", configured=False))
    found = decide(evidence(*probes, gaps=gaps))
    assert codes(found) == {"certificate_expiring", "clock_skew", "metrics_unreachable"}
    assert (found.cause, found.severity) == ("healthy", "P4")


# Rivals and what to ask next


def test_the_next_most_telling_question_is_named_and_printed_first() -> None:
    body = evidence(WELL[0], WELL[3], gaps=(Gap("logs", "cannot be read"),))
    found = decide(body)
    assert found.cause == "inconclusive"
    assert found.next_probe == "set KLAVIYO_PRIVATE_KEY, or give the application's logs: --logs PATH"
    text = printed(verdict_document(body, found))
    assert text.partition("Could still be")[2].partition("→ ")[2].startswith("set KLAVIYO_PRIVATE_KEY")


def test_nothing_to_ask_where_nothing_is_open() -> None:
    assert decide(evidence(rows=calls(of=900, minutes=(0, 120)))).next_probe is None


def test_every_threshold_says_its_unit_and_its_source() -> None:
    told = re.split(r"\n {8}(\w+): ", (Thresholds.__doc__ or "").partition("Attributes:")[2])
    texts = dict(zip(told[1::2], told[2::2], strict=True))
    assert set(texts) == set(Thresholds.__dataclass_fields__)
    for name, text in texts.items():
        assert re.search(r"\[[^]]+\]", text), f"{name} has no unit"
        assert "Source:" in text, f"{name} has no source"


def test_a_portal_that_answers_200_is_believed_over_calls_that_look_well_or_like_nothing_known() -> None:
    portal = [probe(name, 200, answered_by="portal") for name in ("auth", "rate_limit")]
    probes = (probe("status_page", 200, answered_by="portal"), *portal, WELL[3])
    for rows in (calls(), calls(failed=40, status_code=None, error_type="other")):
        found = decide(evidence(*probes, rows=rows, page=None))
        assert (found.cause, found.severity) == ("network_unreachable", "P1")
    refused = decide(evidence(*probes, rows=calls(failed=90, status_code=401), page=None))
    assert refused.cause == "invalid_key", "Klaviyo's application answered the calls"


def test_what_else_is_unwell_is_listed_beside_failing_calls() -> None:
    probes = (*WELL[:3], probe("app_health", 503), probe("webhook", 404))
    found = decide(evidence(*probes, rows=calls(failed=120, status_code=401)))
    assert found.cause == "invalid_key"
    assert {"app_unhealthy", "webhook_endpoint_down"} <= rivals(found)
    assert "webhook_endpoint_down" in rivals(decide(evidence(*probes, rows=calls())))


def test_a_bare_403_is_the_edges_where_our_probe_gets_one_from_there() -> None:
    rows = calls(failed=60, status_code=403)
    found = decide(
        evidence(WELL[0], WELL[1], probe("rate_limit", 403, answered_by="challenge"), WELL[3], rows=rows)
    )
    assert found.cause == "klaviyo_server_error"
    assert "egress" in found.summary
    assert decide(evidence(rows=rows)).cause == "missing_scope"
    told = calls(failed=60, status_code=403, error_code="permission_denied")
    found = decide(
        evidence(WELL[0], WELL[1], probe("rate_limit", 403, answered_by="challenge"), WELL[3], rows=told)
    )
    assert found.cause == "missing_scope", "the application answered, whatever our probe meets"


def test_a_bare_400_everywhere_is_the_key_if_that_holds_a_control_character() -> None:
    body = evidence(rows=calls(failed=110, status_code=400))
    key = {"set": True, "length": 38, "prefix": "pk_", "control_characters": True}
    found = decide(replace(body, context=body.context | {"key": key}))
    assert (found.cause, decide(body).cause) == ("invalid_key", "invalid_request")
    one = [row | ({"status_code": 400} if row["endpoint"] == "/api/events" else {}) for row in calls()]
    assert decide(replace(evidence(rows=one), context={"key": key})).cause == "invalid_request"


def test_a_second_endpoint_that_is_seldom_called_and_always_forbidden_is_a_second_one() -> None:
    refused = {"status_code": 403, "error_code": "permission_denied"}
    rows = [row | (refused if row["endpoint"] == "/api/profiles" else {}) for row in calls(of=150)]
    seldom = [row | refused | {"endpoint": "/api/lists"} for row in calls(of=3)]
    assert decide(evidence(rows=rows)).severity == "P3"
    assert decide(evidence(rows=rows + seldom)).severity == "P2"


def test_an_incident_of_all_klaviyos_services_concerns_every_call() -> None:
    page = incident("All Klaviyo services are unavailable")
    assert decide(evidence(rows=calls(failed=120, status_code=503), page=page)).cause == "klaviyo_outage"


def test_the_api_tells_of_a_wrong_clock_whatever_the_status_page_says() -> None:
    late = samples.NOW - timedelta(seconds=75)
    rows = (probe("status_page", state="none", server_date=samples.NOW), probe("auth", server_date=late),
            probe("rate_limit", server_date=late), WELL[3])  # fmt: skip
    found = decide(evidence(*rows))
    assert (found.cause, found.severity) == ("healthy", "P4")
    assert [advisory.code for advisory in found.advisories] == ["clock_skew"]


def test_slowness_that_began_long_ago_is_no_baseline() -> None:
    rows = calls(minutes=(0, 30)) + calls(minutes=(30, 120), of=300, failed=300, duration_s=9.0)
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P2")
