"""What a tired person reads: short lines, the verdict first, nothing hidden."""

from __future__ import annotations

import click
import pytest

import samples
from klaviyo_nb import terminal
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.response.document import verdict_document

NOTHING = Evidence(window=samples.WINDOW, collected_at=samples.NOW)


def said(evidence: Evidence) -> str:
    return click.unstyle(terminal.verdict(verdict_document(evidence, decide(evidence))))


def test_cause_and_severity_come_first_and_the_time_to_respond_follows() -> None:
    lines = said(samples.rate_limited()).splitlines()
    assert lines[0].split() == ["P3", "rate_limited"]
    assert any(line.startswith("Respond by 2026-11-23 11:00 UTC") for line in lines[:5])


@pytest.mark.parametrize("evidence", [samples.rate_limited(), NOTHING], ids=["incident", "nothing seen"])
def test_prose_fits_80_columns(evidence: Evidence) -> None:
    commands = ("   $ ", "Respond by", "Began", "Ended")
    assert not [
        line for line in said(evidence).splitlines() if len(line) > 80 and not line.startswith(commands)
    ]


def test_every_action_and_every_gap_is_printed() -> None:
    evidence = samples.rate_limited()
    document = verdict_document(evidence, decide(evidence))
    text = " ".join(said(evidence).split())
    for action in document["actions"]:
        assert " ".join(action["title"].split()) in text
    for gap in document["gaps"]:
        assert gap["signal"] in text


def test_a_table_aligns_numbers_to_the_right_and_shows_the_missing_as_a_dash() -> None:
    rows = [{"endpoint": "/api/events", "calls": 7}, {"endpoint": None, "calls": 1200}]
    assert terminal.table(rows, ("endpoint", "calls")).splitlines() == [
        "endpoint     calls",
        "/api/events      7",
        "–             1200",
    ]
