"""Messages per phase: what is known, from the document and the ledger; what only a person knows, as a blank."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.lost import data, lost
from klaviyo_nb.response.messages import CHANNELS, PHASES, Channel, Phase, message

EVIDENCE = samples.rate_limited()
DOCUMENT = verdict_document(EVIDENCE, decide(EVIDENCE))


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cause", get_args(Cause))
def test_every_cause_has_a_message_for_every_channel_and_phase(
    channel: Channel, phase: Phase, cause: Cause
) -> None:
    for severity in ("P1", "P4", None):
        document = DOCUMENT | {"cause": cause, "severity": severity, "onset": None, "actions": []}
        text = message(document, channel, phase, None, None)
        assert text.endswith("\n")
        assert "None" not in text
        assert "‹fill in: " in text


def test_nothing_seen_still_gives_messages_that_claim_nothing() -> None:
    nothing = Evidence(samples.WINDOW, samples.NOW)
    document = verdict_document(nothing, decide(nothing))
    assert "not known yet" in message(document, "slack", "investigating", "INC-1", "Ann")
    outside = message(document, "status-page", "investigating")
    assert "delayed" not in outside
    assert "‹fill in: what users notice" in outside


def test_the_internal_message_has_everything_a_reader_asks_for() -> None:
    text = message(DOCUMENT, "slack", "investigating", "INC-7", "Ann")
    for label in ("Status", "Impact", "Root cause", "Current action", "ETA", "Lead", "Next update"):
        assert f"*{label}:* " in text
    assert text.startswith("*P3 · ")
    assert "INC-7" in text
    assert "Ann" in text
    assert DOCUMENT["severity_because"] in text
    assert "2026-11-23 09:00 UTC" in text  # two hours on: P3


@pytest.mark.parametrize(("severity", "due"), [("P1", "07:20"), ("P2", "07:30"), ("P3", "09:00")])
def test_the_next_update_is_due_by_severity(severity: str, due: str) -> None:
    text = message(DOCUMENT | {"severity": severity}, "slack", "mitigating")
    assert f"*Next update:* 2026-11-23 {due} UTC" in text


def test_a_lead_that_nobody_named_is_a_blank() -> None:
    assert "*Lead:* ‹fill in: who leads›" in message(DOCUMENT, "slack", "investigating")


def test_the_public_text_blames_nobody_and_promises_no_data() -> None:
    for phase in PHASES:
        text = message(DOCUMENT, "status-page", phase, "INC-7", "Ann")
        outside = re.sub("‹[^›]*›", "", text)
        assert "Klaviyo" not in outside
        assert "queued" not in outside
        assert "Ann" not in outside
        assert "Last updated 2026-11-23 07:00 UTC" in outside


def test_an_end_that_was_not_observed_is_not_claimed() -> None:
    assert "‹fill in: when calls were well again; not observed yet›" in message(
        DOCUMENT, "status-page", "resolved"
    )
    ended = {"earliest": "2026-11-23T06:50:00Z", "latest": "2026-11-23T06:52:00Z"}
    assert "2026-11-23 06:52 UTC" in message(DOCUMENT | {"recovered": ended}, "status-page", "resolved")


def test_a_text_about_an_end_is_not_older_than_the_end() -> None:
    ended = {"earliest": "2026-11-23T07:10:00Z", "latest": "2026-11-23T07:12:00Z"}  # seen by a watch
    text = message(DOCUMENT | {"recovered": ended}, "status-page", "resolved")
    assert "Last updated 2026-11-23 07:12 UTC" in text


def test_hostile_words_cannot_call_everybody_link_or_add_lines() -> None:
    evil = "<!channel> <http://evil.example|click> a & b\n*Status:* resolved\x1b[31m\u202e"
    document: dict[str, Any] = DOCUMENT | {
        "summary": evil,
        "severity_because": evil,
        "cause": "klaviyo_outage",
    }
    text = message(document, "slack", "investigating", evil, evil)
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt;" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert len(text.splitlines()) == len(message(DOCUMENT, "slack", "investigating", "x", "y").splitlines())


def test_doubt_is_told_with_the_rivals() -> None:
    document = DOCUMENT | {"certainty": "tentative", "rivals": ["klaviyo_outage"]}
    assert "could still be klaviyo_outage" in message(document, "slack", "investigating")


def test_what_became_of_the_data_is_said_when_it_is_over_and_never_guessed() -> None:
    told = data(lost(EVIDENCE), samples.WINDOW)
    assert told is not None
    assert re.match(
        r"From 2026-11-23 05:00 to 2026-11-23 07:00 UTC [\d,]+ requests went through, and at most [\d,]+ are not known to have\.",
        told.public,
    )
    for channel in CHANNELS:
        assert "went through" not in message(DOCUMENT, channel, "mitigating", data=told)
        over = message(DOCUMENT, channel, "resolved", data=told)
        assert "‹fill in: " in over.partition("went through" if channel == "status-page" else "delivered")[2]
    assert data(lost(Evidence(samples.WINDOW, samples.NOW)), samples.WINDOW) is None
    assert data(lost(replace(EVIDENCE, calls=CALLS.empty())), samples.WINDOW) is None


def test_without_a_failure_everything_went_through() -> None:
    assert EVIDENCE.calls is not None
    calls = EVIDENCE.calls.assign(status_code=pd.array([202] * len(EVIDENCE.calls), dtype="Int64"))
    told = data(lost(replace(EVIDENCE, calls=calls)), samples.WINDOW)
    assert told is not None
    assert (
        told.public == "From 2026-11-23 05:00 to 2026-11-23 07:00 UTC 3,600 of 3,600 requests went through."
    )
