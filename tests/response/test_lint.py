"""A message says what the verdict says, blames nobody without acknowledgement, and is of now."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.redact import Redactor
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.lint import Checked, Finding, lint
from klaviyo_nb.response.lost import data, lost
from klaviyo_nb.response.messages import CHANNELS, PHASES, Channel, Phase, message

EVIDENCE = samples.rate_limited()
DOCUMENT = verdict_document(EVIDENCE, decide(EVIDENCE))
REDACT = Redactor(b"k").text
NOTHING = Evidence(window=samples.WINDOW, collected_at=samples.NOW)


#: Every number of the verdict that a message may tell.
TOLD = set(re.findall(r"[\d:]+", " ".join([
    *(message(DOCUMENT, channel, phase) for channel in CHANNELS for phase in PHASES), DOCUMENT["summary"], DOCUMENT["respond_by"],
    *(action[part] for action in DOCUMENT["actions"] for part in ("title", "why", "expect")),
    *(str(step["because"]) for step in DOCUMENT["path"]),
    *(f"{each['failed']} {each['calls']}" for each in DOCUMENT["facts"]["endpoints"]),
    *(f"{moment[:10]} {moment[11:16]}" for name in ("onset", "window") for moment in DOCUMENT[name].values()),
])))  # fmt: skip


def found(
    text: str,
    channel: Channel = "slack",
    document: dict[str, Any] = DOCUMENT,
    late_min: float = 1,
    **given: Any,
) -> tuple[Finding, ...]:
    now = samples.NOW + timedelta(minutes=late_min)
    return lint(text, document, channel, now, REDACT, **given).findings


def what(text: str, channel: Channel = "slack", **given: Any) -> str:
    return "\n".join(each.what for each in found(text, channel, **given))


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cause", get_args(Cause))
@pytest.mark.parametrize("evidence", [EVIDENCE, NOTHING], ids=["much seen", "nothing seen"])
def test_our_own_drafts_are_fit_but_for_their_blanks(
    channel: Channel, phase: Phase, cause: Cause, evidence: Evidence
) -> None:
    document = verdict_document(evidence, replace(decide(evidence), cause=cause))
    text = message(document, channel, phase, "INC-7", "Ann 2")
    lead = "Ann 2" if channel == "slack" else None
    assert found(text, channel, document, named=("INC-7",), lead=lead, publish=False) == ()
    blanks = found(text, channel, document, named=("INC-7",), lead=lead)
    assert len(blanks) == text.count("‹fill in")
    assert all("is not filled" in each.what for each in blanks)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), channel=st.sampled_from(CHANNELS), phase=st.sampled_from(PHASES))
def test_a_changed_digit_is_refused(data: st.DataObject, channel: Channel, phase: Phase) -> None:
    text = message(DOCUMENT, channel, phase, "INC-X", "Ann")
    digits = [match.start() for match in re.finditer(r"\d", text)]
    at = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from("0123456789"))
    assume(other != text[at])
    mutated = text[:at] + other + text[at + 1 :]
    numbers = re.compile(r"[\d:]+")
    assume(not set(numbers.findall(mutated)) <= TOLD)  # another number of the verdict is no false one
    assert found(mutated, channel, publish=False), mutated


@pytest.mark.parametrize(
    ("text", "channel", "said"),
    [
        ("Klaviyo broke our checkout", "slack", "“Klaviyo broke” blames"),
        ("Delays because of Klaviyo", "slack", "blames"),
        ("An outage at Klaviyo delays e-mails", "status-page", "names whom"),
        ("Our e-mail provider has trouble", "status-page", "names whom"),
        ("This is resolved now, thanks", "slack", "no end was observed"),
        ("Everything is back to normal", "status-page", "no end was observed"),
        ("No data was lost", "status-page", "not in the evidence"),
        ("All customers are affected", "slack", "not in the evidence"),
        ("It is invalid_key", "slack", "names invalid_key"),
        ("*P1 · Klaviyo integration*", "slack", "it says P1"),
        ("Write to ann@example.com", "slack", "personal data"),
        ("The key is pk_0123456789abcdef0123456789abcdef01", "slack", "secret"),
        ("It failed 4711 times", "slack", "“4711 times” is not in the verdict"),
        ("4 teams are on it", "slack", "“4 teams” is not in the verdict"),
        ("Since 06:66 UTC", "slack", "06:66"),
        ("99% of calls fail", "slack", "99%"),
        ("Lead: ‹fill in: who leads›", "slack", "is not filled"),
    ],
)
def test_what_may_not_be_sent(text: str, channel: Channel, said: str) -> None:
    assert said in what(text, channel)


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("We confirmed that no data was lost.", "status-page"),
        ("E-mail and marketing updates are delayed. We are looking into it.", "status-page"),
        ("115 of 450 calls failed on one endpoint, 26% of them.", "slack"),
        ("Klaviyo throttles our calls; we pause the export.", "slack"),
        ("*Status:* resolved", "slack"),
        ("We have confirmed that it is resolved.", "slack"),
        ("Since 07:00 UTC we wait.", "slack"),
    ],
)
def test_what_may_be_sent(text: str, channel: Channel) -> None:
    assert found(text, channel) == ()


def test_an_acknowledged_outage_may_be_named() -> None:
    document = DOCUMENT | {"cause": "klaviyo_outage", "facts": DOCUMENT["facts"] | {"acknowledged": True}}
    assert found("An outage at Klaviyo delays e-mails.", "status-page", document) == ()


def test_an_end_that_was_observed_may_be_told() -> None:
    ended = {"earliest": "2026-11-23T06:50:00Z", "latest": "2026-11-23T06:52:00Z"}
    assert found("This is over since 06:52 UTC.", "slack", DOCUMENT | {"recovered": ended}) == ()


def test_a_message_older_than_its_next_update_is_stale() -> None:
    text = message(
        DOCUMENT, "slack", "mitigating", "INC", "Ann"
    )  # P3: the next update is due after two hours
    assert found(text, lead="Ann", publish=False, late_min=119) == ()
    assert "it was good until 2026-11-23 09:00 UTC" in what(text, lead="Ann", publish=False, late_min=121)
    outside = message(DOCUMENT, "status-page", "mitigating")
    assert "it was good until" in what(outside, "status-page", publish=False, late_min=121)


def test_who_leads_is_not_named_in_public() -> None:
    assert "in public" in what("Ann is on it", "status-page", lead="Ann")


def test_a_finding_says_where_and_what_to_write_instead() -> None:
    (only,) = found("fine\n*P1*")
    assert (only.line, only.instead) == (2, "P3, as the verdict does")


def filled(
    phase: Phase, *claims: str, channel: Channel = "slack", document: dict[str, Any] = DOCUMENT
) -> Checked:
    """Our draft with its blanks replaced by `claims`, in order."""
    draft = text = message(document, channel, phase)
    for claim in claims:
        text = re.sub("‹[^›]*›", lambda _, claim=claim: claim, text, count=1)
    return lint(text, document, channel, samples.NOW, REDACT, draft=draft)


@pytest.mark.parametrize(
    "eta", ["in 20 minutes", "around 14:20 UTC", "unknown, see OPS-4711", "1.5 hours at most."]
)
def test_what_a_person_wrote_in_place_of_a_blank_is_listed_and_not_judged(eta: str) -> None:
    done = filled("mitigating", eta, "Ann")
    assert done.findings == ()
    assert [claim for _, claim in done.said] == [eta, "Ann"]


def test_what_is_still_to_be_done_tells_of_no_end() -> None:
    assert what("Calls: 2 to be fixed first.") == "“2 to” is not in the verdict"
    assert "no end was observed" in what("The key is fixed.")


def test_an_end_that_a_person_fills_in_is_theirs() -> None:
    done = filled("resolved", "14:20 UTC", "We confirmed that no data was lost.", channel="status-page")
    assert done.findings == ()
    assert done.said[0] == (3, "14:20 UTC")


def test_an_unknown_number_beside_a_filled_blank_is_still_refused() -> None:
    draft = message(DOCUMENT, "slack", "mitigating", lead="Ann")
    text = draft.replace("wait 12 s", "wait 40 s").replace("115 of 450", "116 of 450")
    text = re.sub("‹[^›]*›", "in 20 minutes", text)
    what = [
        each.what
        for each in lint(text, DOCUMENT, "slack", samples.NOW, REDACT, lead="Ann", draft=draft).findings
    ]
    assert any("“40 s”" in each for each in what)
    assert any("“116 of”" in each for each in what)
    assert not any("20 minutes" in each for each in what)


def test_a_figure_of_ours_that_went_with_the_blank_does_not_come_back_as_another() -> None:
    draft = message(DOCUMENT, "slack", "mitigating", lead="Ann")
    text = re.sub(r"Klaviyo asks to wait 12 s; ‹[^›]*›", "40 s", draft)
    assert lint(text, DOCUMENT, "slack", samples.NOW, REDACT, lead="Ann", draft=draft).findings


def test_a_blank_may_not_blame_promise_or_tell_secrets() -> None:
    what = [
        each.what for each in filled("mitigating", "when Klaviyo's outage ends", "ann@example.com").findings
    ]
    assert any("blames" in each for each in what)
    assert any("personal data" in each for each in what)
    assert filled("resolved", "07:00", "no data was lost", "Ann").findings


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_message_is_refused(text: str) -> None:
    assert what(text) == "it is empty"


@pytest.mark.parametrize("number", ["+49 170 1234567", "+44 20 7946 0958", "415-555-0100"])
def test_a_phone_number_is_personal_data_once_and_no_figures(number: str) -> None:
    assert what(f"Call {number} now") == "it holds a secret or personal data"


SECRETS = ["pk_0123456789abcdef0123456789abcdef01", "sk-live-4711abcdef0815qrst", "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
           "AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["The key is {}.", "‹fill in: {}›", "see 99 {} P1"])
def test_no_finding_repeats_any_part_of_a_secret(secret: str, around: str) -> None:
    told = found(around.format(secret))
    assert any("secret" in each.what for each in told)
    parts = {secret[at : at + 4] for at in range(len(secret) - 3)}
    assert not [
        part for each in told for part in parts if part in each.what + each.instead.replace("[redacted:", "")
    ]


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_the_ledger_says_of_the_data_is_known_to_the_check(channel: Channel) -> None:
    told = data(lost(EVIDENCE), EVIDENCE.window)
    assert told is not None
    text = message(DOCUMENT, channel, "resolved", data=told)
    sentence = told.internal if channel == "slack" else told.public
    assert sentence in text
    assert found(text, channel, named=told, publish=False) == ()
    invented = text.replace(sentence, "In the time looked at 12,345 updates went through.")
    assert "12345 updates” is not in the verdict" in what(invented, channel, named=told, publish=False)
