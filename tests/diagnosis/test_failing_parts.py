"""A part of the application that gets nothing through is told, though the others' calls hide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bodies import calls, evidence
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Verdict
from klaviyo_nb.response.actions import actions_for

REFUSED = {"status_code": 401, "error_code": "not_authenticated", "answered_by": "klaviyo"}
MACHINES = 40
Row = dict[str, Any]


def fleet(spoilt: Callable[[int, Row], bool], part: str = "host", **values: Any) -> list[Row]:
    """Two hours of calls of forty machines, jobs or whatever `part` is; the spoilt ones with these values."""
    rows = calls(of=16_000, minutes=(0, 120))
    named = [row | {part: f"{part}-{(index * 7) % MACHINES}"} for index, row in enumerate(rows)]
    return [row | (values or REFUSED) if spoilt(index, row) else row for index, row in enumerate(named)]


def advised(found: Verdict) -> list[str]:
    return [each.text for each in found.advisories if each.code == "part_failing"]


@pytest.mark.parametrize("part", ["host", "worker", "caller", "revision", "sdk"])
def test_one_of_forty_whose_calls_all_fail_is_told_where_too_few_fail_for_an_incident(part: str) -> None:
    body = evidence(rows=fleet(lambda _, row: row[part] == f"{part}-17", part))
    found = decide(body)
    assert (found.cause, found.severity) == ("healthy", "P4")
    assert f"but all 50 calls of {part} {part}-17 failed (50 × HTTP 401 not_authenticated)" in found.summary
    assert found.severity_because == "50 of 2,000 calls failed, too few to be an incident; 1 advisory"
    first = actions_for(found, body)[0]
    assert first.title == f"Look at {part} {part}-17: its calls fail"
    assert f"--by {part} --by status" in str(first.command)


def test_an_endpoint_that_is_seldom_called_and_never_answers_is_told() -> None:
    rows = fleet(lambda index, _: False)
    seldom = {"endpoint": "/api/templates", "status_code": 503, "answered_by": "edge"}
    found = decide(
        evidence(rows=[row | (seldom if index % 97 == 0 else {}) for index, row in enumerate(rows)])
    )
    assert [each.startswith("all 20 calls of endpoint /api/templates failed") for each in advised(found)] == [
        True
    ]


def test_two_parts_that_fail_are_both_told() -> None:
    found = decide(evidence(rows=fleet(lambda _, row: row["host"] in ("host-3", "host-17"))))
    assert sorted(each.split(" failed")[0] for each in advised(found)) == [
        "all 50 calls of host host-17", "all 50 calls of host host-3",
    ]  # fmt: skip


def test_a_machine_and_its_only_worker_are_told_once() -> None:
    rows = [row | {"worker": row["host"]} for row in fleet(lambda _, row: row["host"] == "host-17")]
    assert len(advised(decide(evidence(rows=rows)))) == 1


def test_what_failed_for_some_minutes_and_is_well_again_is_no_part_that_fails() -> None:
    rows = fleet(lambda _, row: row["host"] == "host-17")
    newest = max(row["timestamp"] for row in rows if row["host"] == "host-17")
    well = {"status_code": 202, "error_code": None, "answered_by": None}
    mended = [row | (well if (newest - row["timestamp"]).total_seconds() < 240 else {}) for row in rows]
    found = decide(evidence(rows=mended))
    assert found.facts["last_failed"] > 30
    assert (found.cause, found.severity, advised(found)) == ("healthy", None, [])


def test_one_burst_of_a_machine_is_no_part_that_fails() -> None:
    rows = fleet(lambda _, row: False)
    last = rows[-1]["timestamp"]
    lone = [
        {**rows[-1], "host": "cron-1", **REFUSED, "timestamp": last, "line_no": 20_000 + n} for n in range(8)
    ]
    assert advised(decide(evidence(rows=[*rows, *lone]))) == []


def test_failures_that_are_spread_over_all_parts_name_none() -> None:
    found = decide(evidence(rows=fleet(lambda index, _: index % 33 == 0)))
    assert found.facts["last_failed"] > 50
    assert (found.severity, advised(found)) == (None, [])


def test_where_the_log_does_not_tell_who_called_nobody_is_named() -> None:
    rows = fleet(lambda _, row: row["host"] == "host-17")
    found = decide(evidence(rows=[row | {"host": None} for row in rows]))
    assert (found.cause, found.severity, advised(found)) == ("healthy", None, [])


def test_an_incident_names_where_it_is_and_no_part_beside() -> None:
    found = decide(evidence(rows=fleet(lambda index, row: index % 2 == 0)))
    assert found.cause == "invalid_key"
    assert advised(found) == []


@pytest.mark.parametrize(
    ("lost", "cause", "failure"),
    [(25, "invalid_key", "unauthorized"), (5, "klaviyo_server_error", "server")],
    ids=["usual losses are noise", "what has failed long is more than noise"],
)
def test_what_is_new_is_the_cause_unless_what_fails_most_is_more_than_noise(
    lost: int, cause: str, failure: str
) -> None:
    rows = fleet(lambda index, _: index % lost == 0, status_code=503, answered_by="edge")
    body = evidence(rows=[
        row | (REFUSED if index > 12_000 and index % lost != 0 and index % 40 == 1 else {})
        for index, row in enumerate(rows)
    ])  # fmt: skip
    found = decide(body)
    assert found.facts["failures"]["server"] > found.facts["failures"]["unauthorized"]
    assert (found.cause, found.facts["failure"]) == (cause, failure)
