from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import METRICS, NOTES
from klaviyo_nb.report.texts import limits, packet, postmortem
from klaviyo_nb.report.timeline import entries
from klaviyo_nb.report.words import length_between, plain
from klaviyo_nb.response.document import verdict_document
from report_samples import CASES, HOSTILE, healthy, hostile, nothing, recovered, under_way

Make = Callable[[], Evidence]
SECTIONS = [
    "Summary",
    "Timeline",
    "Root cause",
    "Impact",
    "Action items",
    "Lessons",
    "What could not be seen",
    "Evidence",
]


def drafted(evidence: Evidence, lead: str | None = None) -> str:
    return postmortem(evidence, verdict_document(evidence, decide(evidence)), "INC-7", lead)


def rendered(markdown: str) -> list[str]:
    """The types of all tokens a Markdown reader sees."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [child.type for token in tokens for child in (token, *(token.children or ()))]


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_every_draft_has_every_section_and_marks_what_a_person_must_add(make: Make) -> None:
    text = drafted(make())
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    for fact in (
        "Incident",
        "Error type",
        "Date",
        "Window looked at",
        "Began",
        "Ended",
        "Duration",
        "Severity",
        "Lead",
    ):
        assert f"| {fact} |" in text
    for name in (
        "Alert raised",
        "Acknowledged",
        "Cause found",
        "Mitigated",
        "Service restored",
        "Confirmed stable",
    ):
        assert re.search(rf"\*\*‹fill in: [^›]+›\*\* \| {name} \|", text)
    for blank in ("who led", "owner", "due date", "how many, and how they noticed", "what was queued"):
        assert f"‹fill in: {blank}" in text
    for lesson in ("What went well", "What could improve", "Where we got lucky"):
        assert f"- {lesson}: **‹fill in: …›**" in text


def test_numbers_are_those_of_the_evidence() -> None:
    evidence = samples.rate_limited()
    failed = int((evidence.calls["status_code"] == 429).sum())  # type: ignore[index]
    text = drafted(evidence, "Ada")
    assert (
        f"Failed calls: {failed:,} of 3,600 ({100 * failed / 3600:.1f}%) in the window, counted from logs."
        in text
    )
    assert f"{failed:,} were throttled: refused" in text
    assert "| Began | between 2026-11-23 06:20:05 and 06:20:15 UTC |" in text
    assert "| Ended | not seen to end |" in text
    assert "| Duration | at least 39 min |" in text
    assert "| Lead | Ada |" in text


def test_an_incident_that_ended_has_a_duration_with_both_ends() -> None:
    assert re.search(r"\| Duration \| 3\d min to 3\d min \|", drafted(recovered()))


def test_nothing_seen_claims_nothing() -> None:
    text = drafted(nothing())
    assert "Failed calls: not counted" in text
    assert "| Severity | none |" in text
    assert "not known: no call was counted" in text


def test_what_fails_from_the_first_line_began_before_what_was_read() -> None:
    evidence = under_way()
    text, document = drafted(evidence), verdict_document(evidence, decide(evidence))
    assert document["onset"] is None
    assert "| Began | before what was read |" in text
    assert "| Duration | not known: it began before what was read |" in text
    assert "no onset was found" not in text
    assert (
        "| Began | before what was read |" in packet(evidence, document, "INC-7")["support-packet/README.md"]
    )


def test_a_healthy_window_is_not_called_an_incident() -> None:
    assert "# Postmortem INC-7: No incident found" in drafted(healthy())


def test_affected_profiles_are_counted_as_far_as_logs_name_them() -> None:
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    failed = calls.index[calls["status_code"] == 429]
    calls.loc[failed[:4], "profile_key"] = ["a", "b", "a", "c"]
    text = drafted(replace(evidence, calls=calls))
    assert f"at least 3 profiles (4 of {len(failed):,} failed calls name one)" in text


def test_every_line_of_the_timeline_has_a_source_and_they_are_in_order() -> None:
    evidence = recovered()
    told = entries(evidence, verdict_document(evidence, decide(evidence)))
    assert [entry.at for entry in told] == sorted(entry.at for entry in told)
    assert all(entry.source for entry in told)
    assert {entry.lane for entry in told} == {"calls", "page", "us"}
    said = " ".join(entry.what for entry in told)
    for part in (
        "Calls begin to fail",
        "First failing call: HTTP 503",
        "Most failures",
        "Calls succeed again",
    ):
        assert part in said


def test_the_first_failing_call_is_cited_by_source_and_line() -> None:
    evidence = samples.rate_limited()
    told = entries(evidence, verdict_document(evidence, decide(evidence)))
    first = next(entry for entry in told if entry.what.startswith("First failing call"))
    bad = evidence.calls[evidence.calls["status_code"] == 429].iloc[0]  # type: ignore[index]
    assert first.source == f"/var/log/app.log:{bad['line_no']}"


def test_a_post_without_a_readable_time_is_left_out() -> None:
    page = {"incidents": [{"name": "x", "created_at": "yesterday", "incident_updates": []}]}
    evidence = replace(nothing(), status_page=page)
    told = entries(evidence, verdict_document(evidence, decide(evidence)))
    assert [entry.lane for entry in told] == ["us"]


def test_the_same_arguments_give_the_same_text() -> None:
    assert drafted(recovered()) == drafted(recovered())
    assert limits(recovered()) == limits(recovered())


def test_limits_tell_per_source_what_was_asked_and_got() -> None:
    text = limits(samples.rate_limited())
    row = next(line for line in text.splitlines() if line.startswith("| /var/log/app.log"))
    assert "| 10,800 | 3,600 | 2 | 0 | no | – |" in row
    assert "2 lines about Klaviyo not understood" in text
    assert "Not asked for: webhook: KLAVIYO" in text
    assert "Requests to Klaviyo's API: 3 of 6 allowed." in text


def test_each_finding_says_what_it_rests_on() -> None:
    lines = limits(samples.rate_limited()).partition("rests on")[2].splitlines()
    found = {line.partition(":")[0].removeprefix("- "): line for line in lines if line}
    times = "(2026-11-23 05:00:00 to 2026-11-23 07:00:00 UTC)"
    for name in ("Calls in logs", "Webhook deliveries"):
        assert f"in 10,800 lines of 1 source {times}" in found[name] or "not looked for" in found[name]
    assert "(2026-11-23 0" in found["Metrics"]
    assert "one request at one moment (2026-11-23 0" in found["Probes"]
    assert "this machine's clock" in found["Clocks"] or "not compared" in found["Clocks"]


def test_limits_of_nothing_say_that_nothing_is_known() -> None:
    text = limits(nothing())
    assert "neither success nor failure of calls is known from logs" in text
    assert "nothing is known of what Klaviyo acknowledges" in text
    assert "Probes: none ran." in text
    assert "**metrics** could not be seen" in text


def test_a_torn_source_is_said_to_be_cut_short() -> None:
    text = limits(CASES["no call in window"]())
    assert "| yes | torn archive |" in text
    assert "1 source cut short or not read" in text


@pytest.mark.parametrize("write", [drafted, limits], ids=["postmortem", "limits"])
def test_hostile_text_stays_text_in_markdown(write: Callable[[Evidence], str]) -> None:
    told = write(hostile())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told)
    kinds = rendered(told)
    assert not {"html_inline", "html_block", "link_open", "image", "em_open", "fence"} & set(kinds)


@settings(max_examples=80, deadline=None)
@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["[a](b)", "`", "*", "_a_", "<b>", "|", "\\", "http://x.y", "www.x.y", "\n", "&lt;", "~~"]
        )
    ).map("".join)
)
def test_any_text_is_one_line_of_plain_markdown(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(f"words {plain(text, 10_000)}")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children or ()} <= {"text", "text_special"}


@settings(max_examples=8, deadline=None)
@given(st.text())
def test_no_text_breaks_out_of_the_draft(text: str) -> None:
    calm, told = drafted(hostile("plain")), drafted(hostile(text or "x"))
    assert re.findall(r"^## (.+)$", told, re.MULTILINE) == SECTIONS
    allowed = set(rendered(calm)) | {"text_special"}
    assert set(rendered(told)) <= allowed


def test_hostile_sample_is_hostile() -> None:
    assert {"html_inline", "link_open"} & set(rendered(f"words {HOSTILE}"))


def noted(evidence: Evidence, *rows: dict[str, object]) -> Evidence:
    return replace(
        evidence, notes=NOTES.frame([{"written_at": samples.NOW, "who": "Ada", **row} for row in rows])
    )


def test_a_note_stands_in_the_timeline_with_who_wrote_it_and_fills_its_milestone() -> None:
    at = samples.WINDOW.start + timedelta(minutes=95)
    evidence = noted(
        samples.rate_limited(),
        {"at": at, "kind": "acknowledged", "text": "on it | <b>"},
        {"at": at + timedelta(minutes=9), "kind": "deploy", "text": "web 4.2"},
    )
    text = drafted(evidence)
    assert (
        "| 2026-11-23 06:35:00 | Acknowledged: on it \\| \\<b\\> | evidence/notes.csv, Ada, written" in text
    )
    assert "| 2026-11-23 06:44:00 | Deployed: web 4.2 |" in text
    assert "›** | Acknowledged |" not in text
    assert "›** | Mitigated |" in text


def test_durations_are_counted_from_the_onset_and_what_was_noted_and_else_not_known() -> None:
    unseen = drafted(samples.rate_limited())
    assert "| Time to acknowledge | not known: no note says when it was detected and acknowledged |" in unseen
    assert unseen.count("| not known: ") == 4
    onset = samples.NOW - timedelta(minutes=30)
    told = drafted(noted(
        samples.rate_limited(),
        {"at": onset, "kind": "onset", "text": "first complaint"},
        {"at": onset + timedelta(minutes=2), "kind": "detected", "text": "page"},
        {"at": onset + timedelta(minutes=5), "kind": "acknowledged", "text": "on it"},
        {"at": onset + timedelta(minutes=12), "kind": "restored", "text": "well again"},
    ))  # fmt: skip
    assert "| Time to detect | 2 min (from onset to detected, as noted) |" in told
    assert "| Time to acknowledge | 3 min (from detected, as noted to acknowledged, as noted) |" in told
    assert "| Time to mitigate | not known: no note says when it was mitigated |" in told
    assert "| Time to restore | 12 min (from onset to restored, as noted) |" in told


def test_a_duration_that_is_not_known_says_which_of_its_ends_is_missing() -> None:
    early = {"at": samples.NOW - timedelta(minutes=100), "kind": "mitigated", "text": "a guess"}
    told = drafted(noted(samples.rate_limited(), early))
    assert "| Time to detect | not known: no alert or note says when it was detected |" in told
    assert "| Time to mitigate | not known: it was noted earlier than what it is counted from |" in told
    assert drafted(nothing()).count("| not known: no call was counted |") == 4


def test_every_note_is_told_however_many_there_are() -> None:
    rows = [{"at": samples.NOW, "kind": "note", "text": f"step {n}"} for n in range(60)]
    assert drafted(noted(nothing(), *rows)).count("| Noted: step") == 60


def test_an_alert_that_fired_is_told_and_no_blank_asks_for_it() -> None:
    evidence = samples.rate_limited()
    labels = '{"alertname": "KlaviyoFailing", "severity": "page"}'
    begin = evidence.metrics["timestamp"].max() - pd.Timedelta(minutes=20)  # type: ignore[index]
    times = sorted(t for t in evidence.metrics["timestamp"].unique() if begin <= t)  # type: ignore[index]
    firing = [
        {"timestamp": t, "role": "alerts", "name": "ALERTS", "series": labels, "value": 1.0} for t in times
    ]
    text = drafted(replace(evidence, metrics=pd.concat([evidence.metrics, METRICS.frame(firing)])))
    assert re.search(r"Alert raised: KlaviyoFailing \(page\) \| evidence/metrics.csv, ALERTS", text)
    assert "›** | Alert raised |" not in text
    assert "Alert fires no more" not in text


def test_a_version_that_follows_another_of_the_same_library_is_told_and_a_second_library_is_not() -> None:
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    calls["sdk"] = ["klaviyo-api/10.0"] * 2000 + ["klaviyo-api/11.0"] * (len(calls) - 2000)
    calls.loc[100:110, "sdk"] = "curl/8.5"
    text = drafted(replace(evidence, calls=calls))
    assert (
        f"First call with client library klaviyo-api/11.0 | /var/log/app.log:{calls['line_no'][2000]} |"
        in text
    )
    assert "client library curl" not in text


def test_the_first_failure_of_each_kind_is_told() -> None:
    text = drafted(recovered())
    assert len(re.findall(r"First failing call: |First of its kind: ", text)) == 2
    assert "timeout" in text


def test_a_length_is_told_no_shorter_and_no_longer_than_it_can_have_been() -> None:
    second = timedelta(seconds=1)
    assert length_between(1470 * second, 1605 * second) == "24 min to 27 min"
    assert length_between(190 * second, 190 * second) == "3 min 10 s"
    assert length_between(180 * second, 180 * second) == "3 min"
    assert length_between(7230 * second, 7230 * second) == "2 h 00 min to 2 h 01 min"
    assert length_between(30 * second, 45 * second) == "30 s to 45 s"
