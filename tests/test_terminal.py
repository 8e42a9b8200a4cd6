"""What a tired person reads: the verdict first and last, short lines, what to do, nothing hidden."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.commands import terminal
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.response.actions import actions_for
from klaviyo_nb.response.document import verdict_document

EVIDENCE = samples.rate_limited()
NOTHING = Evidence(window=samples.WINDOW, collected_at=samples.NOW)
DOCUMENT = verdict_document(EVIDENCE, decide(EVIDENCE))


def said(evidence: Evidence, full: bool = False) -> str:
    return click.unstyle(terminal.verdict(verdict_document(evidence, decide(evidence)), full))


def test_cause_and_severity_come_first_and_last_and_the_time_to_respond_with_them() -> None:
    lines = said(EVIDENCE).splitlines()
    assert lines[0].split() == ["P3", "rate_limited"]
    assert any(line.startswith("Respond by 2026-11-23 11:00 UTC") for line in lines[:5])
    assert lines[-1].split() == ["P3", "rate_limited,", "respond", "by", "2026-11-23", "11:00", "UTC"]


def test_what_to_do_stands_before_why() -> None:
    text = said(EVIDENCE)
    assert text.index("Do now") < text.index("Why") < text.index("Not seen")


@pytest.mark.parametrize("cause", get_args(Cause))
def test_no_line_is_longer_than_80_columns_but_for_a_word_of_a_command(cause: Cause) -> None:
    verdict = replace(decide(EVIDENCE), cause=cause)
    document = verdict_document(EVIDENCE, verdict)
    lines = click.unstyle(terminal.verdict(document, full=True)).splitlines()
    assert not [line for line in lines if len(line) > 80 and len(shlex.split(line.removesuffix("\\"))) > 1]


def test_a_long_word_in_a_reason_is_broken_and_not_left_hanging_out() -> None:
    gap = {"signal": "/very/long" * 20, "reason": "permission denied", "configured": True}
    text = terminal.verdict(DOCUMENT | {"gaps": [gap]})
    assert max(map(len, click.unstyle(text).splitlines())) <= terminal.WIDTH + 5  # the URL of a command


def test_the_first_actions_are_told_in_full_and_the_others_by_title() -> None:
    short, full = said(EVIDENCE), said(EVIDENCE, full=True)
    actions = actions_for(decide(EVIDENCE), EVIDENCE)
    many = verdict_document(EVIDENCE, replace(decide(EVIDENCE), cause="invalid_key"))
    brief = " ".join(click.unstyle(terminal.verdict(many)).split())
    assert all(action["title"] in brief for action in many["actions"])
    assert many["actions"][1]["expect"] in brief
    assert many["actions"][3]["expect"] not in brief
    assert "--full tells all" in brief
    assert len(actions) == terminal.IN_FULL + 1  # then the third is told as well: it costs little
    assert short == full


def test_every_action_tells_how_to_undo_and_to_check_it() -> None:
    text = " ".join(said(EVIDENCE, full=True).replace("\\\n", "").split())
    for action in DOCUMENT["actions"]:
        for part in ("title", "why", "expect", "undo", "check"):
            assert action[part] is None or " ".join(action[part].split()) in text


def test_every_gap_is_printed() -> None:
    assert all(gap["signal"] in said(NOTHING) for gap in verdict_document(NOTHING, decide(NOTHING))["gaps"])


@pytest.mark.parametrize("cause", get_args(Cause))
def test_a_command_that_was_cut_into_lines_is_the_same_command(cause: Cause) -> None:
    for action in actions_for(replace(decide(EVIDENCE), cause=cause), EVIDENCE):
        for text in filter(None, (action.command, action.check)):
            assert shlex.split("\n".join(terminal.command(text, 5)).replace("\\\n", "")) == shlex.split(
                text.replace("\\\n", "")
            )


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1), min_size=1))
def test_whatever_a_quoted_word_holds_cutting_does_not_break_it(words: list[str]) -> None:
    text = shlex.join(words)
    assert shlex.split("\n".join(terminal.command(text)).replace("\\\n", "")) == words


HOSTILE = "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x1b[31mred\x1b[0m \u202egnp.exe \x9b2J\r\nP1 invalid_key"


def test_hostile_words_leave_no_control_character_on_the_terminal() -> None:
    def spoilt(value: Any) -> Any:
        if isinstance(value, str):
            return value + HOSTILE
        if isinstance(value, dict):
            return {key: spoilt(each) for key, each in value.items()}
        return [spoilt(each) for each in value] if isinstance(value, list) else value

    kept = {name: DOCUMENT[name] for name in ("severity", "cause", "window", "onset", "respond_by", "budget")}
    text = click.unstyle(terminal.verdict(spoilt(DOCUMENT) | kept, full=True))
    text += click.unstyle(terminal.changes(samples.NOW, [HOSTILE], HOSTILE)) + click.unstyle(
        terminal.check("auth", None, HOSTILE)
    )
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_table_aligns_numbers_to_the_right_and_shows_the_missing_as_a_dash() -> None:
    rows = [{"endpoint": "/api/events", "calls": 7}, {"endpoint": None, "calls": 1200}]
    assert terminal.table(rows, ("endpoint", "calls")).splitlines() == [
        "endpoint     calls",
        "/api/events      7",
        "–             1200",
    ]


def on_a_terminal(*arguments: str, **environ: str) -> tuple[str, str]:
    """What a command prints on two pseudo-terminals: stdout, stderr."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KLAVIYO") and name != "NO_COLOR"
    }
    pairs = [pty.openpty(), pty.openpty()]
    told = [b"", b""]
    with subprocess.Popen([sys.executable, "-m", "klaviyo_nb", *arguments], env=clean | {"TERM": "xterm"} | environ,
                          stdin=subprocess.DEVNULL, stdout=pairs[0][1], stderr=pairs[1][1]):  # fmt: skip
        for _, ours in pairs:
            os.close(ours)
        open_ = {theirs: index for index, (theirs, _) in enumerate(pairs)}
        while open_:
            for ready in select.select([*open_], [], [], 60)[0]:
                try:
                    data = os.read(ready, 65536)
                except OSError:  # Linux says so when the other end is closed
                    data = b""
                told[open_[ready]] += data
                if not data:
                    del open_[ready]
                    os.close(ready)
    return told[0].decode(), told[1].decode()


def test_an_answer_fits_on_a_terminal_and_says_what_else_there_is() -> None:
    row = {"endpoint": "/api/events", "calls": 12, "first": "2026-11-23T05:42:01.514Z"} | {
        f"more_{n}": 1.5 for n in range(9)
    }
    told = terminal.answer(
        "12 of 40 calls failed.", [row] * 25, [*row], ["Nothing\x1b[31m else."], "app.log: 40 lines"
    )
    lines = told.splitlines()
    assert lines[0] == "12 of 40 calls failed."
    assert max(map(len, lines)) <= terminal.WIDTH
    assert "/api/events     12  11-23 05:42:01" in told
    assert "With --format csv also: 5 rows; more_" in told
    assert "\x1b" not in told
    assert lines[-1] == "app.log: 40 lines"


def test_a_few_rows_are_told_whole_and_a_long_text_is_cut() -> None:
    row: dict[str, Any] = {
        "template": "klaviyo " * 40,
        "count": 12,
        "caller": None,
        "frees_at": "2026-11-23T05:42:01Z",
    }
    row |= {f"more_{n}": 1.5 for n in range(9)}
    told = terminal.answer("12 calls failed.", [row], [*row], [], "seen")
    assert max(map(len, told.splitlines())) <= terminal.WIDTH
    assert "…" in told
    assert "more_8 1.5" in told
    assert "--format csv" not in told


def test_of_many_rows_the_first_is_told_whole_and_its_texts_are_not_cut() -> None:
    rows = [
        {"template": f"it broke {n}", **dict.fromkeys(("more", "and more"), 0.5), "example": "word " * 30 + f"end{n}"}
        for n in range(1, 6)
    ]  # fmt: skip
    told = terminal.answer("5 calls failed.", rows, ["template", "more", "and more", "example"], [], "seen")
    assert max(map(len, told.splitlines())) <= terminal.WIDTH
    assert "Row 1: example word word" in told
    assert "end1" in told
    assert "end2" not in told
    assert "With --format csv" not in told


def test_an_answer_without_rows_is_its_sentence() -> None:
    assert (
        terminal.answer("Cannot tell: no call was found.", [], ["endpoint"], [], "seen")
        == "Cannot tell: no call was found.\n\nseen\n"
    )


@pytest.mark.parametrize(
    "environ", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {}], ids=["dumb", "NO_COLOR", "colour"]
)
def test_a_terminal_that_wants_no_colour_gets_no_escape(environ: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("nothing\n")
    shut = {"KLAVIYO_NB_API_URL": "http://127.0.0.1:9", "KLAVIYO_NB_STATUS_URL": "http://127.0.0.1:9",
            "KLAVIYO_NB_HEALTH_URL": "http://127.0.0.1:9"}  # fmt: skip
    stdout, stderr = on_a_terminal("triage", "--deadline", "60s", "--logs", str(log), **shut, **environ)
    assert "network_unreachable" in stdout
    assert "logs: 0 calls" in stderr  # told by another thread
    assert ("\x1b" in stdout, "\x1b" in stderr) == (not environ, not environ)
