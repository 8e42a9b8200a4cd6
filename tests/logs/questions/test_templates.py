from __future__ import annotations

import json
import pickle
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb import logs
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.formats.understand import understand
from klaviyo_nb.logs.questions import templates as asked
from klaviyo_nb.logs.questions.masks import alike, masked, shortened
from klaviyo_nb.logs.questions.question import Records
from klaviyo_nb.logs.questions.templates import MOST, QUESTION, templates
from samples import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from klaviyo_nb.logs.questions.question import Answer


def frame(messages: Sequence[str | None], every_s: float = 1.0, **columns: Any) -> pd.DataFrame:
    rows = [
        {"timestamp": WINDOW.start + timedelta(seconds=every_s * n), "source": "app.log", "line_no": n + 1,
         "status_code": 503, "message": message} | columns
        for n, message in enumerate(messages)
    ]  # fmt: skip
    return CALLS.frame(rows)


def ask(calls: pd.DataFrame) -> Answer:
    return QUESTION.ask(Records(calls, WEBHOOKS.empty()), WINDOW)


def mask(text: str) -> str:
    return str(masked(pa.array([text], pa.large_string()))[0].as_py())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("profile 01GDDKASAP8TKDDA2GRZDSVP4H not found", "profile <*> not found"),
        ("took 412ms, 2.5 s left", "took <*>, <*> s left"),
        ("refused by 10.0.0.1:8080", "refused by <*>"),
        ("refused by ip-10-0-0-1.eu.example.net", "refused by <*>"),
        ("wrote 12.json", "wrote <*>.json"),
        ("no such address: email-3f2a9c1b, email-abcdefab", "no such address: <*>, <*>"),
        ("token deadbeefdeadbeefdeadbeef", "token <*>"),
        ("two\n  lines\tand a tab", "two lines and a tab"),
        ("POST /api/lists/Y6nRLr/relationships", "POST /api/lists/<*>/relationships"),
        ("Invalid email address", "Invalid email address"),
        ("", ""),
    ],
)
def test_numbers_and_ids_are_masked_and_words_stay(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_words_that_nearly_always_differ_are_one_template() -> None:
    names = ("ada", "bob", "cyd", "dan", "eve")
    texts = [f"Could not load {name} from the shop" for name in names] + ["Could not load anything"]
    assert set(alike(texts).values()) == {"Could not load <*> from the shop", "Could not load anything"}


def test_where_some_have_a_number_the_words_of_the_others_are_names() -> None:
    texts = ["could not reach host <*> in time", "could not reach host cache in time",
             "could not reach host db:<*> in time"]  # fmt: skip
    assert set(alike(texts).values()) == {"could not reach host <*> in time"}


def test_two_words_of_which_none_is_a_number_stay_apart() -> None:
    texts = ["the email of the profile is invalid", "the phone of the profile is invalid"]
    assert alike(texts) == {text: text for text in texts}


def test_messages_that_have_no_word_in_common_stay_apart() -> None:
    texts = [
        f"klaviyo.{name}" for name in ("get_lists", "get_flows", "add_profile", "create_event", "get_tags")
    ]
    assert alike(texts) == {text: text for text in texts}


def test_a_long_message_is_cut_in_the_sentence_only() -> None:
    long = "Traceback (most recent call last): " + "and so on " * 30
    told = ask(frame([long] * 5))
    assert len(told.says) < 250
    assert told.rows["template"].tolist() == [long.strip()]


def test_two_or_three_words_at_a_place_are_two_or_three_templates() -> None:
    texts = ["Invalid email given", "Invalid phone given", "Invalid list given"]
    assert alike(texts) == {text: text for text in texts}


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "<*>"]), min_size=1, max_size=4).map(
            " ".join
        )
    ),
    order=st.randoms(),
)
def test_templates_do_not_depend_on_the_order_of_messages(texts: list[str], order: random.Random) -> None:
    found = alike(texts)
    assert set(found) == set(texts)
    assert all(len(text.split(" ")) == len(template.split(" ")) for text, template in found.items())
    order.shuffle(texts)
    assert alike(texts) == found


def test_alike_messages_are_counted_with_share_times_and_three_citations() -> None:
    told = templates(
        frame([f"profile {n:08d} not found" for n in range(6)] + ["connection reset"] * 2), WINDOW
    )
    first = told.iloc[0]
    assert first[["template", "status", "count", "share"]].tolist() == ["profile <*> not found", 503, 6, 0.75]
    assert (first["first"], first["last"]) == (WINDOW.start, WINDOW.start + timedelta(seconds=5))
    assert first["cited"] == "app.log:1, app.log:2, app.log:3"
    assert first["example"] == "profile 00000000 not found"


def test_the_status_tells_templates_apart() -> None:
    calls = pd.concat(
        [
            frame(["Request failed with status code 503"]),
            frame(["Request failed with status code 500"], status_code=500),
        ]
    )
    assert templates(calls, WINDOW)["status"].tolist() == [500, 503]


def test_the_refusal_beside_a_constant_sentence_tells_templates_apart() -> None:
    said = {"message": "klaviyo request failed", "status_code": 400}
    refusals = [
        {"error_code": "invalid", "error_pointer": "/data/attributes/email"},
        {"error_code": "invalid", "error_pointer": "/data/attributes/phone_number"},
        {"error_code": None, "error_pointer": None},
        {"error_code": "invalid", "error_pointer": None, "message": "invalid input"},
    ]
    calls = pd.concat([frame([None], **said | each) for each in refusals], ignore_index=True)
    rows = ask(CALLS.frame(calls)).rows
    assert set(rows["template"]) == {
        "klaviyo request failed: invalid /data/attributes/email",
        "klaviyo request failed: invalid /data/attributes/phone_number",
        "klaviyo request failed",
        "invalid input",
    }
    assert set(rows["example"]) == {"klaviyo request failed", "invalid input"}


TRACE = 'Traceback (most recent call last):\n  File "k.py", line 3, in push\nhttpx.ReadTimeout: timed out'
BESIDE: dict[str, dict[str, Any]] = {
    "klaviyo request failed: Error: unknown list": {"err": {"message": "unknown list", "stack": "Error: unknown list\n  at push"}},
    "klaviyo request failed: Invalid email address": {"error": {"detail": "Invalid email address"}},
    "klaviyo request failed: Invalid input: Invalid phone number": {
        "response": {"data": {"errors": [{"title": "Invalid input.", "detail": "Invalid phone number"}]}}
    },
    "klaviyo request failed: Invalid list": {"body": '{"errors":[{"detail":"Invalid list"}]}'},
    "klaviyo request failed: httpx.ReadTimeout: timed out": {"exc_info": TRACE},
    "klaviyo request failed": {"error": "klaviyo request failed"},
}  # fmt: skip


@pytest.mark.parametrize("status", [400, None], ids=["by column", "one by one"])
def test_the_errors_own_text_beside_a_constant_sentence_tells_templates_apart(
    tmp_path: Path, status: int | None
) -> None:
    head = {"msg": "klaviyo request failed", "url": "https://a.klaviyo.com/api/events", "method": "POST"}
    head |= {"level": "error"} | ({"status": status} if status else {"code": "ECONNRESET"})
    times = (WINDOW.start + timedelta(seconds=number) for number in range(20 * len(BESIDE)))
    lines = [
        json.dumps({"time": next(times).isoformat()} | head | BESIDE[text])
        for _ in range(20)
        for text in BESIDE
    ]
    (tmp_path / "app.log").write_text("\n".join(lines))
    read = logs.read([str(tmp_path / "app.log")], WINDOW, redact=str)
    rows = templates(read.calls, WINDOW)
    assert dict(zip(rows["template"], rows["count"], strict=True)) == dict.fromkeys(BESIDE, 20)


def test_a_call_that_worked_says_no_more_than_its_logger(tmp_path: Path) -> None:
    line = {"time": WINDOW.start.isoformat(), "level": "info", "msg": "klaviyo request", "status": 200, "method": "GET",
            "url": "https://a.klaviyo.com/api/lists", "detail": "from the cache"}  # fmt: skip
    (tmp_path / "app.log").write_text(f"{json.dumps(line)}\n" * 40)
    read = logs.read([str(tmp_path / "app.log")], WINDOW, redact=str)
    assert set(read.calls["message"]) == {"klaviyo request"}
    assert understand(json.dumps(line).encode(), WINDOW.end).fields["message"] == "klaviyo request"


def test_what_was_not_seen_in_the_quiet_part_is_new() -> None:
    fine = frame(["ok"] * 3000, 1.0, status_code=200, level="info")
    calls = pd.concat([fine, frame(["connection reset"] * 6, 500.0)], ignore_index=True)
    late = frame(["upstream hung up"] * 600).assign(
        timestamp=lambda rows: rows["timestamp"] + timedelta(seconds=3000)
    )
    told = templates(pd.concat([calls, late], ignore_index=True), WINDOW).set_index("template")["new"]
    assert told.to_dict() == {"upstream hung up": True, "connection reset": False}


def test_a_baseline_may_be_given() -> None:
    calls = frame(["first"] * 5 + ["second"] * 5, 60.0)
    told = templates(calls, WINDOW, pd.Timestamp(WINDOW.start) + timedelta(minutes=5)).set_index("template")[
        "new"
    ]
    assert told.to_dict() == {"first": False, "second": True}


def test_without_a_quiet_part_nobody_knows_what_is_new() -> None:
    told = ask(frame(["connection reset"] * 50, 100.0))
    assert told.rows["new"].isna().all()
    assert any("no quiet part" in text for text in told.covers)


def test_an_error_line_of_a_call_that_did_not_fail_counts_and_an_info_line_does_not() -> None:
    calls = pd.concat(
        [
            frame(["could not parse the answer"], status_code=200, level="error"),
            frame(["fine"], status_code=200, level="info"),
        ]
    )
    assert templates(calls, WINDOW)["template"].tolist() == ["could not parse the answer"]


def test_messages_without_a_time_are_counted_and_not_new() -> None:
    calls = frame(["a", "a", "b"])
    calls["timestamp"] = pd.Series([pd.NaT] * 3, dtype=calls["timestamp"].dtype)
    told = ask(calls)
    assert told.rows["count"].tolist() == [2, 1]
    assert told.rows["first"].isna().all()
    assert any("no time" in text for text in told.covers)


def test_a_record_without_a_message_is_told_by_what_it_tells_of_the_call() -> None:
    record = '{"time":"2026-11-23T05:00:%02dZ","status":503,"method":"POST","url":"/api/events","ms":%d}'
    body = '{"errors":[{"code":"error","detail":"A server error occurred."}]}'
    place = {"method": "POST", "endpoint": "/api/events", "error_code": "error"}
    rows = ask(frame([*(record % (n, 7 * n) for n in range(9)), None, body, "it broke"], **place)).rows
    told = dict(zip(rows["template"], rows["count"], strict=True))
    assert told == {"(no message) POST /api/events error": 10, body: 1, "it broke: error": 1}
    assert rows["example"][0] == record % (0, 0)


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        (CALLS.empty(), "Cannot tell: no call was found."),
        (frame(["ok"] * 3, status_code=200), "No error message: none of 3 calls failed."),
        (
            frame([None]),
            "Error messages: 1; kinds: 1; 100% are “(no message)”, first at 2026-11-23 05:00:00 UTC.",
        ),
    ],
    ids=["no call", "none failed", "no text"],
)
def test_little_is_said_of_little(calls: pd.DataFrame, says: str) -> None:
    assert ask(calls).says == says


def test_of_a_long_message_without_a_space_the_beginning_is_told() -> None:
    body = '{"errors":[{"code":"error","detail":"unavailable","links":{"about":"' + "x" * 200 + '"}}]}'
    assert "100% are “" + body[:99] + "…”, first at" in ask(frame([body])).says


def words(number: int) -> str:
    letters = "abcdefghij"
    return "".join(letters[int(digit)] for digit in f"{number:06d}")


def test_too_many_different_messages_are_compared_by_their_first_words() -> None:
    told = ask(
        frame(
            [
                f"could not sync {words(n)} to {words(n * 7)} now and here with all else"
                for n in range(MOST + 1)
            ],
            0.1,
        )
    )
    assert len(told.rows) == 1
    assert told.rows["count"].tolist() == [MOST + 1]
    assert any("first" in text and "words" in text for text in told.covers)


def short(text: str, words: int | None) -> str:
    return str(shortened(pa.array([text], pa.large_string()), words)[0].as_py())


def test_shortening_twice_is_shortening_once_to_the_shorter() -> None:
    text = "one two three four five six seven"
    assert short(text, 6) == "one two three four five six …"
    assert short(short(text, 6), 3) == short(text, 3) == "one two three …"
    assert short("one two three", 3) == "one two three"
    assert short(short(text, 3), 3) == "one two three …"
    assert short(short(text, 1), 0) == short(text, 0) == "…"
    assert short(text, None) == text


MESSAGES = [
    None,
    "",
    "a b c",
    "a b d",
    "a 1 c",
    "a 2 c",
    "x y",
    "one two three four five six seven eight nine ten eleven twelve thirteen",
]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_parts_merged_in_any_order_are_the_whole(data: Any) -> None:
    rows = data.draw(
        st.lists(
            st.tuples(st.sampled_from(MESSAGES), st.sampled_from([200, 429, 503, None]), st.integers(0, 99)),
            min_size=1,
            max_size=40,
        )
    )
    calls = CALLS.frame(
        [
            {"timestamp": WINDOW.start + timedelta(seconds=60 * at) if at < 95 else None, "source": f"{at % 3}.log",
             "line_no": n + 1 if at % 4 else None, "status_code": status, "message": text, "level": "error" if at % 5 else "info"}
            for n, (text, status, at) in enumerate(rows)
        ]
    )  # fmt: skip
    whole = QUESTION.part(Records(calls, WEBHOOKS.empty()), WINDOW)
    owner = data.draw(st.lists(st.integers(0, 2), min_size=len(calls), max_size=len(calls)))
    parts = [calls[[who == part for who in owner]] for part in data.draw(st.permutations(range(3)))]
    one, other, third = (QUESTION.part(Records(part, WEBHOOKS.empty()), WINDOW) for part in parts)
    merged = pickle.loads(pickle.dumps(QUESTION.merge([QUESTION.merge([one, other]), third])))
    assert merged.words == whole.words
    for name in ("texts", "cited", "stretches"):
        pd.testing.assert_frame_equal(getattr(merged, name), getattr(whole, name), check_dtype=False)


def test_parts_of_which_only_one_had_to_be_shortened_are_the_whole() -> None:
    calls = frame(
        [f"could not sync {words(n)} to {words(n * 7)} now and here with all else" for n in range(MOST + 1)]
        + ["reset"] * 50,
        0.1,
    )
    parts = [
        QUESTION.part(Records(part, WEBHOOKS.empty()), WINDOW)
        for part in (calls[: MOST + 5], calls[MOST + 5 :])
    ]
    whole = QUESTION.part(Records(calls, WEBHOOKS.empty()), WINDOW)
    for merged in (QUESTION.merge(parts), QUESTION.merge(parts[::-1])):
        assert merged.words == whole.words
        pd.testing.assert_frame_equal(merged.texts, whole.texts, check_dtype=False)


def test_lines_are_counted_from_the_beginning_of_the_source() -> None:
    told = QUESTION.part(Records(frame(["reset"] * 4), WEBHOOKS.empty()), WINDOW)
    assert asked.placed(told, 100).cited["line_no"].tolist() == [101, 102, 103]
    assert asked.placed(told, None).cited["line_no"].isna().all()
