"""What holds for every question: parts, bad input, and the command line."""

from __future__ import annotations

import json
import pickle
import random
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb import logs
from klaviyo_nb.errors import UsageError
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import QUESTIONS, by_name
from klaviyo_nb.logs.questions.question import Answer, Question, Records
from klaviyo_nb.logs.sources import base
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window
from samples import WINDOW, rate_limited
from test_cli import run

ALL = pytest.mark.parametrize("asked", [by_name(name) for name in QUESTIONS], ids=list(QUESTIONS))
_DRAW = random.Random(5)
_VALUES: dict[str, list[Any]] = {
    "timestamp": [None, *(WINDOW.start + timedelta(seconds=second) for second in (0, 1, 2, 3, 400, 7_199))],
    "method": ["GET", "POST", None], "endpoint": ["/api/events", "/api/lists", "/api/profiles/{id}", "/nowhere", None],
    "status_code": [None, 200, 202, 401, 403, 404, 429, 500, 503], "error_type": [None, None, "timeout"],
    "answered_by": [None, "klaviyo", "edge"], "revision": [None, "2026-07-15", "2024-10-15", "2026-07-15.pre", "soon"],
    "attempt": [None, 1, 2, 3], "duration_s": [None, 0.1, 7.0], "retry_after_s": [None, 1.0, 600.0],
    "message": [None, "Request was throttled.", "no such list"], "source": ["app.log"], "line_no": [*range(1, 9)],
    **dict.fromkeys(("request_id", "profile_key", "event_key", "host", "worker", "caller", "error_code", "error_pointer", "sdk", "profile_domain"), [None, "a", "b", "c"]),  # noqa: RUF024 - not changed
}  # fmt: skip
_HOOK: dict[str, list[Any]] = {"timestamp": _VALUES["timestamp"], "topic": [None, "a", "b"],
                               "outcome": ["accepted", "bad_signature", "failed"], "sent_at": _VALUES["timestamp"]}  # fmt: skip


def _pool(values: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
    return [{name: _DRAW.choice(choices) for name, choices in values.items()} for _ in range(count)]


CALL_ROWS, HOOK_ROWS = CALLS.frame(_pool(_VALUES, 400)), WEBHOOKS.frame(_pool(_HOOK, 60))
#: Rows of a part, by their numbers in those; rows may stand in several.
PART = st.tuples(st.lists(st.integers(0, 399), max_size=15), st.lists(st.integers(0, 59), max_size=6))


def records(calls: list[dict[str, Any]], webhooks: list[dict[str, Any]] = []) -> Records:  # noqa: B006 - not changed
    return Records(CALLS.frame(calls), WEBHOOKS.frame(webhooks))


def same(one: Answer, other: Answer) -> None:
    assert (one.says, one.covers) == (other.says, other.covers)
    pd.testing.assert_frame_equal(one.rows, other.rows)


@pytest.mark.parametrize("name", list(QUESTIONS))
@settings(max_examples=12)
@given(parts=st.lists(PART, min_size=1, max_size=4), order=st.randoms(use_true_random=False))
def test_parts_in_any_order_and_grouping_tell_what_the_whole_tells(
    name: str, parts: list[tuple[list[int], list[int]]], order: random.Random
) -> None:
    asked: Question[Any] = import_module(
        f"klaviyo_nb.logs.questions.{name}"
    ).QUESTION  # parts lie behind each other
    told = [
        pickle.loads(pickle.dumps(asked.part(Records(CALL_ROWS.iloc[calls], HOOK_ROWS.iloc[hooks]), WINDOW)))
        for calls, hooks in parts
    ]
    order.shuffle(told)
    cut = order.randint(0, len(told))
    grouped = asked.merge([*([asked.merge(told[:cut])] if cut else []), *told[cut:]])
    calls, hooks = ([row for part in parts for row in part[kind]] for kind in (0, 1))
    same(
        asked.answer(grouped, WINDOW),
        asked.ask(Records(CALL_ROWS.iloc[calls], HOOK_ROWS.iloc[hooks]), WINDOW),
    )


GOOD = {"timestamp": WINDOW.start, "method": "GET", "endpoint": "/api/lists", "status_code": 200}
BAD = GOOD | {"status_code": 503, "duration_s": 1.0, "message": "it broke"}
HOOK = {"timestamp": WINDOW.start, "topic": "event:klaviyo.opened_email", "outcome": "accepted"}
TEN_DAYS = Window(WINDOW.end - timedelta(days=10), WINDOW.end)
#: More than any question keeps apart.
DIFFERENT, MOST_ROWS = 12_000, 5_000
#: Of these, lines that tell of a call only, without keys, revision or an id, tell nothing.
KEYS = {"contrast", "revisions", "retries", "reach"}


def spread(row: dict[str, Any], count: int, step: timedelta, window: Window = WINDOW) -> list[dict[str, Any]]:
    """`count` times, the last one a step before the end."""
    return [row | {"timestamp": window.end - step * (count - n)} for n in range(count)]


@cache
def worlds() -> dict[str, tuple[Records, Window, set[str]]]:
    """Rows, the window asked about, and the questions that cannot be answered."""
    whole = rate_limited(calls_per_minute=5).calls
    assert whole is not None
    minute, jumps = timedelta(minutes=1), [0, 7, 3, -20, 11]
    jumping = [row | {"timestamp": row["timestamp"] + timedelta(minutes=jumps[n % 5])}
               for n, row in enumerate(spread(BAD, 20, 2 * minute) + spread(GOOD, 60, minute))]  # fmt: skip
    early = [row | {"timestamp": row["timestamp"] - timedelta(days=1)} for row in spread(BAD, 10, minute)]
    places = [f"/api/things/x{n:05d}" for n in range(DIFFERENT)]
    texts = ["".join(chr(97 + n // 26**place % 26) for place in range(4)) for n in range(DIFFERENT)]
    different = [BAD | {"timestamp": WINDOW.start + timedelta(milliseconds=500 * n), "endpoint": place, "event_key": text,
                        "message": f"broke at {text}", "host": text, "revision": text, "status_code": 503 if n % 2 else 200}
                 for n, (place, text) in enumerate(zip(places, texts, strict=True))]  # fmt: skip
    hooks = [HOOK | {"topic": text} for text in texts]
    timeless, every, no_hook = BAD | {"timestamp": None}, set(QUESTIONS), {"webhooks"}
    return {
        "nothing": (records([]), WINDOW, every),
        "one row": (records([GOOD], [HOOK]), WINDOW, KEYS - {"reach"}),
        "one failure": (records([BAD]), WINDOW, KEYS | no_hook),
        "all failing": (records(spread(BAD, 50, minute)), WINDOW, KEYS | no_hook),
        "none failing": (records(spread(GOOD, 50, minute), spread(HOOK, 50, minute)), WINDOW, KEYS - {"reach"}),
        "no column has a value": (records([{}] * 20, [{}] * 20), WINDOW, KEYS - {"reach"} | {"ratelimit", "ledger"}),
        "one minute": (records([BAD, GOOD] * 30), WINDOW, KEYS | no_hook),
        "ten days": (records(spread(GOOD, 220, timedelta(hours=1), TEN_DAYS) + spread(BAD, 20, timedelta(hours=1), TEN_DAYS)),
                     TEN_DAYS, KEYS | no_hook),
        "rows twice": (Records(pd.concat([whole, whole]), WEBHOOKS.empty()), WINDOW, KEYS - {"contrast"} | no_hook),
        "clock jumps": (records(jumping), WINDOW, KEYS | no_hook),
        "outside the window": (records(early), WINDOW, every),
        "all different": (records(different, hooks), WINDOW, {"ratelimit"}),
        "without a time": (records([timeless] * 10), WINDOW, KEYS | no_hook | {"ratelimit"}),
    }  # fmt: skip


@ALL
@pytest.mark.parametrize("world", worlds())
def test_whatever_the_rows_an_answer_is_one_sentence_or_says_that_it_cannot_tell(
    asked: Question[Any], world: str
) -> None:
    given, window, cannot = worlds()[world]
    found = asked.ask(given, window)
    assert found.ask == asked.name
    assert found.says.endswith(".")
    assert "\n" not in found.says
    assert not {"nan", "nat", "inf", "none,", "<na>"} & set(found.says.lower().replace(";", "").split())
    assert found.rows.index.tolist() == [*range(len(found.rows))]
    assert found.says.startswith("Cannot tell") == (asked.name in cannot), found.says
    assert len(found.rows) <= MOST_ROWS
    assert ("outside the window" in " ".join(found.covers)) == (
        world in ("clock jumps", "outside the window")
    )


@ALL
def test_a_frame_read_back_from_csv_tells_the_same(asked: Question[Any]) -> None:
    given = Records(CALL_ROWS.assign(line_no=range(1, 401)), HOOK_ROWS)
    given = Records(CALLS.frame(given.calls), given.webhooks)
    back = Records(CALLS.from_csv(CALLS.to_csv(given.calls)), given.webhooks)
    same(asked.ask(back, WINDOW), asked.ask(given, WINDOW))


@ALL
def test_rows_keep_their_columns_and_dtypes_when_there_are_none(asked: Question[Any]) -> None:
    empty = asked.ask(records([]), WINDOW).rows
    full = asked.ask(Records(rate_limited(calls_per_minute=5).calls, WEBHOOKS.empty()), WINDOW).rows
    assert list(empty.columns) == list(full.columns)


def write(path: Path, count: int = 900) -> Path:
    line = '{"time":%d,"url":"https://a.klaviyo.com/api/%s","method":"%s","status":%d,"unique_id":"e%d","attempt":1,"revision":"2024-10-15"}\n'
    kinds = [
        ("events", "POST", 202),
        ("lists", "GET", 403),
        ("profiles", "GET", 429),
        ("events", "POST", 503),
    ]
    path.write_text(
        "".join(line % (1795410000000 + 700 * n, *kinds[n % 7 % 4], n // 3) for n in range(count))
    )
    return path


@ALL
@pytest.mark.parametrize("engine", ["local:1", "local:2"])
def test_asked_where_the_log_is_read_the_answer_is_that_of_the_whole_frame(
    asked: Question[Any], engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "RANGE", 20_000)
    path, redact = write(tmp_path / "app.log"), Redactor(b"test").text
    read = logs.read([str(path)], WINDOW, redact=redact)
    asked_there = logs.ask(asked, [str(path)], WINDOW, redact=redact, engine=engine)
    same(asked_there.answer, asked.ask(Records(read.calls, read.webhooks), WINDOW))
    assert asked_there.coverage == read.coverage


def test_a_frame_that_was_read_is_the_same_when_it_comes_back_from_csv(tmp_path: Path) -> None:
    calls = logs.read([str(write(tmp_path / "app.log", 60))], WINDOW, redact=Redactor(b"test").text).calls
    assert len(calls) == 60
    pd.testing.assert_frame_equal(CALLS.from_csv(CALLS.to_csv(calls)), calls)


def test_lines_that_an_answer_cites_are_counted_from_the_beginning_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines(told: list[int | None], before: int | None) -> list[int | None]:
        return [None if line is None or before is None else line + before for line in told]

    citing: Question[list[int | None]] = Question(
        "citing",
        lambda records, window: records.calls["line_no"].tolist(),
        lambda parts: sorted(line for part in parts for line in part if line is not None),
        lambda told, window: Answer("citing", "Lines.", pd.DataFrame({"line_no": told})),
        lines,
    )
    monkeypatch.setattr(base, "RANGE", 20_000)
    found = logs.ask(citing, [str(write(tmp_path / "app.log"))], WINDOW, redact=str)
    assert found.answer.rows["line_no"].tolist() == list(range(1, 901))


# The command line


SPAN = ("--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z")


def test_an_answer_is_one_json_document(tmp_path: Path) -> None:
    write(tmp_path / "app.log")
    done = run("logs", "app.log", *SPAN, "--ask", "revisions", "--format", "json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"], document["ask"]) == (0, "klaviyo-nb/answer/1", "revisions")
    assert document["rows"] == [
        {
            "revision": "2024-10-15",
            "calls": 900,
            "failed": 643,
            "state": "retired",
            "retires": "2026-10-15",
            "days_left": -39,
        }
    ]
    assert document["coverage"][0]["calls"] == 900
    assert document["window"]["start"] == "2026-11-23T05:00:00Z"


def test_a_person_reads_the_sentence_first(tmp_path: Path) -> None:
    write(tmp_path / "app.log")
    done = run("logs", "app.log", *SPAN, "--ask", "revisions", cwd=tmp_path)
    assert done.stdout.splitlines()[0].startswith("Of 900 calls with a revision: 2024-10-15 is retired since")
    assert done.stdout.splitlines()[-1].startswith("app.log: 900 lines, 900 calls")


def test_an_answer_as_csv_is_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "app.log")
    done = run("logs", "app.log", *SPAN, "--ask", "revisions", "--format", "csv", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "revision,calls,failed,state,retires,days_left"


@pytest.mark.parametrize(
    "more", [("--ask", "weather"), ("--ask", "scopes", "--by", "host"), ("--ask", "scopes", "--line", "3")]
)
def test_a_question_that_is_none_and_two_at_once_are_mistakes(more: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path / "app.log")
    done = run("logs", "app.log", *more, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    assert done.stderr.startswith("error: --ask: ")


def test_an_unknown_question_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(UsageError) as raised:
        by_name("weather")
    assert raised.value.hint is not None
    assert all(name in raised.value.hint for name in QUESTIONS)
