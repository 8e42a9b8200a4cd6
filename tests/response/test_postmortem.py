from __future__ import annotations

import re
from datetime import date

import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.report.texts import postmortem
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.postmortem import unfinished

BEGAN = date(2026, 11, 23)


@pytest.fixture(scope="module")
def draft() -> str:
    evidence = samples.rate_limited()
    return postmortem(evidence, verdict_document(evidence, decide(evidence)), "INC-7", None)


@pytest.fixture
def finished(draft: str) -> str:
    """The draft as somebody filled it."""
    lines = []
    for line in draft.split("\n"):
        if line.count("‹fill in: owner›"):
            what, done = "Alert on the first 429", "a drill raises it"
            line = f"| {what} | {done} | Ada | 2026-12-01 |"
        lines.append(re.sub(r"\*\*‹fill in: [^›]*›\*\*", "07:12, as the pager's log says", line))
    return "\n".join(lines)


def whats(text: str, draft: str) -> list[str]:
    return [each.what for each in unfinished(text, draft, BEGAN)]


def test_a_draft_is_not_finished_and_each_blank_is_named_by_its_line(draft: str) -> None:
    found = unfinished(draft, draft, BEGAN)
    assert {each.what for each in found} == {
        f"{blank} is not filled"
        for blank in re.findall(r"‹[^›]*›", draft.partition("\n> **‹fill in: …›**")[2])
    }
    for each in found:
        assert "‹" in draft.split("\n")[each.line - 1]


def test_a_filled_one_is_finished(finished: str, draft: str) -> None:
    assert whats(finished, draft) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "It was a human error.",
        "The deployer forgot to restart it.",
        "They should have noticed.",
        "A careless change.",
        "The on-call was to blame.",
        "It was their fault.",
    ],
)
def test_a_sentence_that_blames_is_named(finished: str, draft: str, sentence: str) -> None:
    text = finished.replace("## Lessons", f"{sentence}\n\n## Lessons")
    assert ["culprit" in each for each in whats(text, draft)] == [True]


@pytest.mark.parametrize(
    "sentence",
    [
        "The deploy changed the key before the workers were restarted.",
        "Calls failed to every endpoint, and the alert should fire earlier.",
        "Nobody saw the alert, for it went to a channel without a rota.",
    ],
)
def test_a_sentence_that_says_how_it_came_about_is_left_alone(
    finished: str, draft: str, sentence: str
) -> None:
    assert whats(finished.replace("## Lessons", f"{sentence}\n\n## Lessons"), draft) == []


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("| Better monitoring | a drill shows it | Ada | 2026-12-01 |", ["no deed"]),
        ("| Investigate the cause | a drill shows it | Ada | 2026-12-01 |", ["no deed"]),
        ("| Alert on 429 | | Ada | 2026-12-01 |", ["when it is done"]),
        ("| Alert on 429 | a drill shows it | the team | 2026-12-01 |", ["owns nothing"]),
        ("| Alert on 429 | a drill shows it | | soon |", ["owns nothing", "no date"]),
        ("| Alert on 429 | a drill shows it | Ada | 2026-11-01 |", ["before the incident"]),
        ("| Alert on 429 | a drill shows it | Ada | 2026-12-01 |", []),
    ],
)
def test_an_action_item_has_a_deed_an_owner_a_day_and_a_way_to_see_it_done(
    finished: str, draft: str, row: str, wrong: list[str]
) -> None:
    found = whats(finished.replace("\n\nDrafted from", f"\n{row}\n\nDrafted from"), draft)
    assert len(found) == len(wrong)
    assert all(part in each for part, each in zip(wrong, found, strict=True))


@pytest.mark.parametrize(
    ("old", "new"), [("of 3,600", "of 3,601"), ("P3:", "P2:"), ("2026-11-23 06:20:05", "2026-11-23 06:30:05")]
)
def test_a_computed_line_that_was_changed_is_named_with_what_it_was(
    finished: str, draft: str, old: str, new: str
) -> None:
    assert old in finished
    found = unfinished(finished.replace(old, new), draft, BEGAN)
    assert found
    assert {each.what for each in found} == {"a computed line is gone or changed"}
    there = [each.line for each in found]
    assert there == [n for n, line in enumerate(finished.split("\n"), 1) if old in line]
    assert any(old in each.instead for each in found)
