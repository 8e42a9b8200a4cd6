"""From evidence to verdict: the close cases of the contract, one sentence each."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

import samples
from bodies import WELL, calls, evidence, incident, probe
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.frames import WEBHOOKS
from klaviyo_nb.response.document import verdict_document


def test_the_sample_incident_is_rate_limited_on_one_endpoint() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    found = decide(evidence)
    assert (found.cause, found.severity, found.certainty) == ("rate_limited", "P3", "established")
    assert found.onset is not None
    first = evidence.calls.loc[evidence.calls["status_code"] == 429, "timestamp"].min()
    assert found.onset.earliest <= first <= found.onset.latest
    assert found.recovered is None
    assert found.respond_by == samples.NOW + timedelta(hours=4)


def test_probes_fine_and_nothing_else_configured_is_healthy_with_gaps() -> None:
    found = decide(evidence())
    assert (found.cause, found.severity, found.respond_by) == ("healthy", None, None)
    assert {gap.signal for gap in found.gaps} >= {"logs", "metrics"}


def test_nothing_could_be_asked_is_inconclusive() -> None:
    found = decide(evidence(probe("status_page", None, error_type="timeout"), page=None))
    assert (found.cause, found.severity, found.certainty) == ("inconclusive", None, None)
    assert len(found.rivals) > 5


def test_without_a_key_a_green_page_does_not_prove_health() -> None:
    assert decide(evidence(WELL[0], WELL[3])).cause == "inconclusive"


@pytest.mark.parametrize(
    ("status", "by", "cause"),
    [
        (401, "klaviyo", "invalid_key"),
        (403, "klaviyo", "missing_scope"),
        (403, "challenge", "klaviyo_server_error"),
        (429, "klaviyo", "rate_limited"),
        (400, "klaviyo", "invalid_request"),
        (404, "klaviyo", "invalid_request"),
        (503, "klaviyo", "klaviyo_server_error"),
        (525, "edge", "klaviyo_server_error"),
        (502, "proxy", "network_unreachable"),
        (407, "proxy", "network_unreachable"),
    ],
)
def test_what_most_failures_look_like_names_the_cause(status: int, by: str, cause: str) -> None:
    rows = calls(failed=60, status_code=status, answered_by=by)
    assert decide(evidence(rows=rows)).cause == cause


def test_a_revoked_key_during_somebody_elses_incident_is_still_a_revoked_key() -> None:
    rows = calls(failed=120, status_code=401)
    found = decide(evidence(rows=rows, page=incident("API 503 Errors", "Klaviyo API")))
    assert (found.cause, found.severity) == ("invalid_key", "P1")
    assert "klaviyo_outage" in {rival.cause for rival in found.rivals}


def test_an_unrelated_incident_explains_nothing_and_is_no_rival() -> None:
    page = incident("E-mails are late", "Campaign Email Sending")
    found = decide(evidence(rows=calls(failed=120, status_code=401), page=page))
    assert found.cause == "invalid_key"
    assert "klaviyo_outage" not in {rival.cause for rival in found.rivals}
    assert (
        decide(evidence(rows=calls(failed=120, status_code=503), page=page)).cause == "klaviyo_server_error"
    )


def test_errors_with_an_acknowledged_incident_are_an_outage() -> None:
    found = decide(evidence(rows=calls(failed=60, status_code=503), page=incident("API 503 Errors")))
    assert (found.cause, found.severity) == ("klaviyo_outage", "P2")


def test_a_green_page_during_a_full_outage_is_a_server_error_with_the_outage_as_rival() -> None:
    found = decide(evidence(rows=calls(failed=120, status_code=503)))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P1")
    assert [rival.cause for rival in found.rivals] == ["klaviyo_outage"]


def test_a_silent_page_weakens_the_verdict_and_keeps_the_outage_alive() -> None:
    found = decide(evidence(*WELL[1:], rows=calls(failed=120, status_code=503), page=None))
    assert (found.cause, found.certainty) == ("klaviyo_server_error", "tentative")
    assert "klaviyo_outage" in {rival.cause for rival in found.rivals}


def test_silence_of_the_api_and_of_the_page_is_our_network() -> None:
    silent = {"status": None, "error_type": "timeout"}
    rows = [probe(name, **silent) for name in ("status_page", "auth", "rate_limit")]
    assert decide(evidence(*rows, WELL[3], page=None)).cause == "network_unreachable"


def test_a_hang_with_a_live_page_is_klaviyos() -> None:
    rows = [probe(name, None, error_type="timeout") for name in ("auth", "rate_limit")]
    found = decide(evidence(WELL[0], *rows, WELL[3]))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P1")


def test_a_refused_connection_to_the_api_alone_is_our_network() -> None:
    rows = [probe(name, None, error_type="refused") for name in ("auth", "rate_limit")]
    assert decide(evidence(WELL[0], *rows, WELL[3])).cause == "network_unreachable"


def test_logs_overrule_a_refused_probe_and_it_becomes_an_advisory() -> None:
    probes = (WELL[0], probe("auth", 401), probe("rate_limit", 401), WELL[3])
    found = decide(evidence(*probes, rows=calls()))
    assert (found.cause, found.severity) == ("healthy", "P4")
    assert [advisory.code for advisory in found.advisories] == ["probe_refused"]


def test_a_key_without_the_accounts_scope_is_an_advisory() -> None:
    probes = (WELL[0], probe("auth", 403, error_code="permission_denied"), WELL[2], WELL[3])
    found = decide(evidence(*probes))
    assert found.cause == "healthy"
    assert [advisory.code for advisory in found.advisories] == ["key_without_accounts_scope"]


def test_one_worker_with_an_old_key_is_believed_over_a_fine_probe() -> None:
    rows = calls()
    for index, row in enumerate(rows):
        row["worker"] = f"w{index % 4}"
        if index % 4 == 2:
            row["status_code"] = 401
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("invalid_key", "P2")
    assert found.facts["failing_hosts"] == ["w2"]


def test_background_noise_is_no_incident() -> None:
    assert decide(evidence(rows=calls(failed=4, status_code=503))).cause == "healthy"
    noisy = calls(failed=20, of=800, minutes=(0, 105), status_code=503) + calls(
        failed=4, of=100, status_code=503
    )
    assert decide(evidence(rows=noisy)).cause == "healthy"


def test_little_traffic_lets_the_probes_decide() -> None:
    few = calls(failed=6, of=9, status_code=503)
    assert decide(evidence(rows=few)).cause in ("healthy", "resolved_or_intermittent")
    assert decide(evidence(WELL[0], WELL[3], rows=few)).cause == "inconclusive"


def test_errors_on_one_endpoint_while_the_rest_is_well() -> None:
    rows = calls()
    for row in rows:
        if row["endpoint"] == "/api/profiles":
            row["status_code"] = 503
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("endpoint_degraded", "P3")


def test_failures_that_ended_are_resolved() -> None:
    rows = calls(failed=300, of=400, minutes=(30, 60), status_code=503) + calls(of=800, minutes=(60, 120))
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("resolved_or_intermittent", "P3")
    assert found.recovered is not None


def test_slow_calls_without_failures_are_klaviyos_trouble() -> None:
    rows = calls(of=800, minutes=(0, 105)) + [row | {"duration_s": 5.0} for row in calls()]
    found = decide(evidence(rows=rows))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P2")


def test_an_unwell_application_is_named_when_calls_succeed() -> None:
    for row in (
        probe("app_health", 503),
        probe("app_health", state="degraded"),
        probe("app_health", None, error_type="timeout"),
    ):
        found = decide(evidence(*WELL[:3], row))
        assert (found.cause, found.severity) == ("app_unhealthy", "P2")


def test_a_health_page_without_json_is_healthy_with_an_advisory() -> None:
    found = decide(evidence(*WELL[:3], probe("app_health", content_type="text/html")))
    assert (found.cause, found.severity) == ("healthy", "P4")


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (200, "healthy"),
        (401, "healthy"),
        (405, "healthy"),
        (404, "webhook_endpoint_down"),
        (502, "webhook_endpoint_down"),
    ],
)
def test_the_webhook_routes_answer_to_an_unsigned_request(status: int, cause: str) -> None:
    assert decide(evidence(*WELL, probe("webhook", status, answered_by="other"))).cause == cause


def test_webhooks_whose_every_signature_is_rejected_do_not_arrive() -> None:
    rows = [
        {"timestamp": samples.NOW - timedelta(minutes=index), "source": "a", "outcome": "bad_signature"}
        for index in range(8)
    ]
    found = decide(evidence(*WELL, probe("webhook", 401), webhooks=WEBHOOKS.frame(rows)))
    assert found.cause == "webhook_endpoint_down"


def test_advisories_alone_make_a_p4_due_on_the_next_business_day() -> None:
    friday = pd.Timestamp("2026-11-27T20:00:00Z").to_pydatetime()
    old = replace(
        evidence(),
        collected_at=friday,
        context={
            "revision": "2024-10-15",
            "organisation": {"timezone": "America/New_York", "working_days": [0, 1, 2, 3, 4], "day_end": 17},
        },
    )
    found = decide(old)
    assert (found.cause, found.severity) == ("healthy", "P4")
    assert found.respond_by == pd.Timestamp("2026-11-30T22:00:00Z")
    assert [advisory.code for advisory in found.advisories] == ["revision_retired"]


def test_the_second_kind_of_failure_is_a_rival_with_its_count() -> None:
    rows = calls(failed=60, status_code=429)
    for row in rows[::4]:
        row["status_code"] = 401
    found = decide(evidence(rows=rows))
    assert found.cause == "rate_limited"
    assert found.rivals[0].cause == "invalid_key"


def test_metrics_alone_tell_of_failing_calls() -> None:
    found = decide(replace(samples.rate_limited(), calls=None))
    assert found.cause == "rate_limited"
    assert found.facts["counted_from"] == "metrics"


def test_the_same_evidence_gives_the_same_document() -> None:
    body = samples.rate_limited()
    first, second = (json.dumps(verdict_document(body, decide(body))) for _ in range(2))
    assert first == second
