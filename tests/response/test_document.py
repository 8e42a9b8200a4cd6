"""The verdict document is the contract's JSON, and unknown is null."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.response.document import verdict_document

KEYS = {
    "schema", "window", "cause", "severity", "severity_because", "respond_by", "summary", "onset", "recovered", "path",
    "rivals", "advisories", "gaps", "facts", "actions", "probes", "budget",
}  # fmt: skip


def document(evidence: Evidence) -> dict[str, Any]:
    return verdict_document(evidence, decide(evidence))


def test_it_has_what_the_contract_names_and_is_strict_json() -> None:
    found = document(samples.rate_limited())
    assert set(found) >= KEYS
    assert found["schema"] == "klaviyo-nb/verdict/1"
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert found["budget"] == {"api_calls": 3, "allowed": 6}
    assert set(found["actions"][0]) == {"title", "why", "command", "expect", "undo", "check"}
    assert {"question", "answer", "evidence"} <= set(found["path"][0])


def test_times_of_window_and_deadline_are_whole_seconds_in_utc() -> None:
    later = replace(samples.rate_limited(), collected_at=samples.NOW + timedelta(milliseconds=250))
    found = document(later)
    assert found["window"] == {"start": "2026-11-23T05:00:00Z", "end": "2026-11-23T07:00:00Z"}
    assert found["respond_by"] == "2026-11-23T11:00:00Z"


def test_what_was_not_observed_is_null_never_zero_or_false() -> None:
    found = document(Evidence(samples.WINDOW, samples.NOW))
    assert found["cause"] == "inconclusive"
    for name in ("severity", "respond_by", "onset", "recovered"):
        assert found[name] is None
    for name in ("calls", "failed_calls", "failing", "app_healthy", "webhooks_arrive", "acknowledged"):
        assert found["facts"][name] is None
    assert found["probes"] == []


def test_missing_cells_of_probes_are_null_and_times_are_text() -> None:
    rows = {row["probe"]: row for row in document(samples.rate_limited())["probes"]}
    assert rows["auth"]["retry_after_s"] is None
    assert rows["auth"]["error_type"] is None
    assert rows["auth"]["cert_expires"] is None
    assert rows["auth"]["status_code"] == 200
    assert rows["auth"]["checked_at"] == "2026-11-23T06:59:58Z"


def test_the_same_evidence_gives_the_same_document() -> None:
    assert document(samples.rate_limited()) == document(samples.rate_limited())
