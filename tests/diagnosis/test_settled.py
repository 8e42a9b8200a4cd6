"""What one source or one slice of time leaves in doubt, and what settles it: our probes, the slice before, the endpoint's own calls."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

import samples
from bodies import WELL, calls, evidence, probe
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Verdict
from klaviyo_nb.evidence import Gap
from klaviyo_nb.frames import METRICS


def rivals(found: Verdict) -> set[str]:
    return {rival.cause for rival in found.rivals}


def asked(status: int | None, by: str, **values: Any) -> tuple[dict[str, Any], ...]:
    """All is well but what the keyed probes get."""
    return (
        WELL[0],
        *(probe(name, status, answered_by=by, **values) for name in ("auth", "rate_limit")),
        WELL[3],
    )


# Who answered


@pytest.mark.parametrize("by", ["edge", None])
def test_a_503_that_nobody_signed_is_the_proxys_where_our_own_call_gets_that_from_it(by: str | None) -> None:
    rows = calls(failed=120, status_code=503, answered_by=by)
    found = decide(evidence(*asked(503, "proxy"), rows=rows))
    assert (found.cause, found.severity) == ("network_unreachable", "P1")
    assert "A proxy of ours answers" in found.summary
    assert "klaviyo_server_error" in rivals(found), "nothing but our own call says so"
    told = next(step for step in found.path if "look like" in step.question)
    assert "auth: HTTP 503 by proxy" in told.because
    assert "probes#auth" in told.evidence


@pytest.mark.parametrize(
    ("status", "by", "marks"),
    [
        (503, "edge", {"answered_by": "edge"}),
        (502, "proxy", {"answered_by": "edge"}),  # another answer than the calls got
        (503, "proxy", {"answered_by": "klaviyo", "error_code": "error"}),
        (503, "proxy", {"request_id": "0b8a2f64-6d3e-4f0e-9a44-6c2f3a1d7e55"}),
        (200, "klaviyo", {"answered_by": "edge"}),
    ],
)
def test_a_503_is_klaviyos_unless_a_proxy_sends_us_the_same(
    status: int, by: str, marks: dict[str, Any]
) -> None:
    found = decide(evidence(*asked(status, by), rows=calls(failed=120, status_code=503, **marks)))
    assert (found.cause, found.severity) == ("klaviyo_server_error", "P1")


def test_calls_without_an_answer_fail_as_our_own_does_where_nobody_noted_why() -> None:
    counted = [
        {"timestamp": samples.WINDOW.start + timedelta(minutes=minute), "role": "requests", "name": "klaviyo_api_requests_total",
         "value": float(max(0, minute - since) * 9), "series": json.dumps({"status": status}), "endpoint": "/api/events", "status": status}
        for minute in range(121) for since, status in ((0, "success"), (100, "unknown"))
    ]  # fmt: skip
    for row in counted:
        row["value"] = min(row["value"], 900.0) if row["status"] == "success" else row["value"]
    nobody = [probe(name, None, error_type="refused") for name in ("auth", "rate_limit")]
    found = decide(evidence(WELL[0], *nobody, WELL[3], metrics=METRICS.frame(counted)))
    assert (found.cause, found.severity) == ("network_unreachable", "P1")
    assert "klaviyo_server_error" in rivals(found), "why they got none is told by our own call alone"
    told = decide(
        evidence(WELL[0], *nobody, WELL[3], rows=calls(failed=120, status_code=None, error_type="timeout"))
    )
    assert told.cause == "klaviyo_server_error"


def test_passing_errors_of_klaviyo_before_it_do_not_sign_what_the_proxy_sends() -> None:
    rows = calls(
        failed=3, of=60, minutes=(105, 109), status_code=500, answered_by="klaviyo", error_code="error"
    )
    rows += calls(failed=200, of=200, minutes=(109, 120), status_code=503, answered_by="edge")
    assert decide(evidence(*asked(503, "proxy"), rows=rows)).cause == "network_unreachable"


def test_whose_page_it_is_stays_open_where_our_probes_could_not_be_asked() -> None:
    rows = calls(failed=120, status_code=503, answered_by="edge")
    gaps = tuple(Gap(name, "the deadline had passed") for name in ("auth", "rate_limit"))
    found = decide(evidence(WELL[0], WELL[3], rows=rows, gaps=gaps))
    assert (found.cause, found.certainty) == ("klaviyo_server_error", "tentative")
    assert "network_unreachable" in rivals(found)


# Is it over?


def test_failures_strewn_over_two_hours_of_few_calls_are_nothing_that_ended() -> None:
    rows = calls(failed=7, of=46, minutes=(0, 120), status_code=503)
    found = decide(evidence(rows=rows))
    assert (found.cause, found.certainty) == ("healthy", "tentative")
    assert "resolved_or_intermittent" in rivals(found)


def test_a_stretch_of_failures_ended_though_few_calls_are_made_now() -> None:
    rows = calls(failed=50, of=60, minutes=(30, 60), status_code=503) + calls(of=12, minutes=(60, 120))
    assert decide(evidence(rows=rows)).cause == "resolved_or_intermittent"


def failing_on_one(*counts: int, each: int = 72) -> list[dict[str, Any]]:
    """So many failures on one endpoint in each of the last slices of 15 minutes, each of so many calls."""
    rows = []
    for number, failed in enumerate(reversed(counts)):
        minutes = (105 - 15 * number, 120 - 15 * number)
        bad = calls(failed=failed, of=failed, minutes=minutes, status_code=503) if failed else []
        rows += [row | {"endpoint": "/api/coupons"} for row in bad] + calls(of=each - failed, minutes=minutes)
    return rows


def test_an_endpoint_that_goes_on_failing_is_not_over_for_being_called_seldom() -> None:
    found = decide(evidence(rows=failing_on_one(0, 0, 20, 12, 8)))
    assert (found.cause, found.severity) == ("endpoint_degraded", "P3")


def test_failures_that_became_fewer_are_over_once_a_slice_is_back_within_noise() -> None:
    assert decide(evidence(rows=failing_on_one(0, 60, 65, 8))).cause == "endpoint_degraded"
    assert decide(evidence(rows=failing_on_one(0, 60, 65, 3))).cause == "resolved_or_intermittent"
    assert decide(evidence(rows=failing_on_one(0, 60, 65, 1, 6))).cause == "resolved_or_intermittent"


def test_two_unlucky_slices_of_noise_are_no_incident() -> None:
    assert decide(evidence(rows=failing_on_one(2, 1, 3, 2, 4, 5))).cause == "healthy"


# How bad it is


def on(endpoint: str, failed: int, of: int) -> list[dict[str, Any]]:
    return [row | {"endpoint": endpoint} for row in calls(failed=failed, of=of, status_code=429)]


def test_a_second_endpoint_that_is_throttled_counts_though_it_is_a_small_part_of_the_calls() -> None:
    rows = calls(of=600) + on("/api/flows", 60, 70)
    assert decide(evidence(rows=rows)).severity == "P3"
    found = decide(evidence(rows=rows + on("/api/metrics", 12, 14)))
    assert (found.cause, found.severity) == ("rate_limited", "P2")
    few = decide(evidence(rows=rows + on("/api/metrics", 4, 14)))
    assert few.severity == "P3", "under five failures are noise"


def test_a_key_refused_for_minutes_is_measured_since_then_though_calls_are_few() -> None:
    rows = calls(failed=1, of=240, minutes=(0, 115), status_code=503)
    rows += calls(failed=8, of=8, minutes=(115, 116), status_code=401) + calls(
        failed=2, of=2, minutes=(116, 120), status_code=401
    )
    found = decide(evidence(*asked(401, "klaviyo"), rows=rows))
    assert (found.cause, found.severity) == ("invalid_key", "P1")


def test_a_burst_that_one_log_tells_of_is_no_share_of_the_calls_after_it() -> None:
    burst = {"status_code": 200, "answered_by": "portal"}
    rows = [row | {"status_code": 200} for row in calls(of=90, minutes=(105, 120))]
    rows += calls(of=600, minutes=(0, 105)) + calls(failed=18, of=18, minutes=(116, 117), **burst)
    found = decide(evidence(*asked(200, "portal"), rows=rows))
    assert (found.cause, found.severity) == ("network_unreachable", "P1")
    assert found.severity_because is not None
    assert found.severity_because.startswith("100% of calls failed")
    onset = decide(evidence(rows=rows)).severity_because
    assert onset is not None
    assert "0 of" not in onset


@pytest.mark.parametrize(
    ("ours", "well", "severity"),
    [
        ("portal", {"status_code": 200}, "P1"),
        ("portal", {"status_code": 200, "request_id": "0b8a2f64-6d3e-4f0e-9a44-6c2f3a1d7e55"}, "P2"),
        ("portal", {"status_code": 202}, "P2"),
        ("klaviyo", {"status_code": 200}, "P2"),
    ],
)
def test_a_200_is_no_success_where_a_portal_gives_it_to_everybody(
    ours: str, well: dict[str, Any], severity: str
) -> None:
    rows = calls(failed=100, of=100, status_code=200, answered_by="portal") + [
        row | well for row in calls(of=30)
    ]
    found = decide(evidence(*asked(200, ours), rows=rows))
    assert (found.cause, found.severity) == ("network_unreachable", severity)
    assert ("; 30 more may be the portal's" in (found.severity_because or "")) is (severity == "P1")
