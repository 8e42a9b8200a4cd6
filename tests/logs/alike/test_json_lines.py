from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.alike.json_lines import Alike
from klaviyo_nb.logs.formats.answering import CLUES
from klaviyo_nb.logs.formats.keys import FIELDS
from klaviyo_nb.logs.formats.text import MOST
from klaviyo_nb.logs.formats.understand import understand

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
UUID = "0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10"
PINO = {"level": 30, "time": 1795410000250, "pid": 17, "hostname": "web-1", "name": "klaviyo", "msg": "call done",
        "method": "post", "url": "https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H/", "statusCode": 202,
        "durationMs": 132, "requestId": UUID}  # fmt: skip
NESTED = {"@timestamp": "2026-11-23T05:00:00.250Z", "log": {"level": "warn"}, "http": {"request": {"method": "GET"}, "response": {"status_code": 429}},
          "url": {"full": "https://a.klaviyo.com/api/lists"}, "message": "Request was throttled. Expected available in 3 seconds."}  # fmt: skip


def by_column(*objects: dict[str, Any]) -> dict[int, tuple[int | None, dict[str, Any]]]:
    """Row → moment and fields, for the objects that were understood by column."""
    raws = [json.dumps(each).encode() + b"\n" for each in objects]
    return {
        row: (calls.moments[at], {name: column[at] for name, column in calls.columns.items()})
        for calls in Alike(NEAR).calls(raws)
        for at, row in enumerate(calls.rows)
    }


def known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def assert_same(*objects: dict[str, Any]) -> int:
    """Every object that was understood by column is understood alike alone; says how many there were."""
    found = by_column(*objects)
    for row, (moment, fields) in found.items():
        alone = understand(json.dumps(objects[row]).encode(), NEAR)
        assert ("call", alone.moment, known(alone.fields)) == ("call", moment, known(fields))
        assert alone.kind == "call"
    return len(found)


SEVERAL = [
    PINO, PINO | {"statusCode": 429, "msg": "throttled, retry after 5 s"}, PINO | {"durationMs": 13.5, "level": 50, "statusCode": 503},
    PINO | {"hostname": "", "pid": None, "requestId": "odd", "statusCode": "404"}, NESTED,
    {"ts": 1795410000.25, "msg": "[pool] sent", "verb": "PUT", "path": "/api/events", "status": 200, "service": "klaviyo"},
    {"ts": "2026-11-23T05:00:00Z", "error": {"code": "throttled", "message": "no"}, "url": "POST https://a.klaviyo.com/api/events", "status": 429},
    {"status": 401, "request": {"url": "https://a.klaviyo.com/api/events", "method": "POST", "retries": 2}, "attempt": "1/5", "msg": "x"},
]  # fmt: skip


def test_an_empty_key_is_a_key_as_any_other() -> None:
    assert assert_same(PINO | {"tags": {"": "", "shop": ""}}, {"": ""} | PINO) == 2


def test_objects_of_many_loggers_are_understood_by_column_as_they_are_alone() -> None:
    assert assert_same(*SEVERAL * 3) == len(SEVERAL) * 3


@pytest.mark.parametrize(
    "data",
    [
        PINO | {"url": "/checkout"}, PINO | {"statusCode": None}, PINO | {"statusCode": 0}, PINO | {"statusCode": 598},
        PINO | {"method": None},
        PINO | {"errors": [{"code": "invalid"}]}, PINO | {"msg": '{"status": 500}'}, {"msg": "klaviyo 429"}, {},
        {"path": "/api/events", "method": "POST", "status": 200},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_surely_a_call_is_left_to_be_understood_alone(data: dict[str, Any]) -> None:
    assert by_column(data) == {}


def test_keys_that_take_turns_in_carrying_a_field_are_left_alone() -> None:
    turns = [PINO | {"path": "x", "url": PINO["url"]}, PINO | {"path": PINO["url"], "url": "x"}]
    assert by_column(*turns) == {}
    assert assert_same(*[turns[0]] * 3) == 3


def test_broken_and_odd_records_are_left_alone() -> None:
    raws = [b"{}\n", b'{"a":1},{"b":2}\n', b'{"a":"\xff"}\n', b"{\x00}", b"{" * 5_000 + b"}", b'{"a":NaN}']
    assert list(Alike(NEAR).calls(raws)) == []


#: Without `log`: what is in an envelope is no object that stands alone.
_KEYS = sorted(
    ({key for keys in FIELDS.values() for key in keys.split() if "." not in key} | {"other"}) - {"log"}
)
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 600), st.integers(0, 2**62), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from([
        "", "POST", "get", "429", 429, 200, 503, "ok", "error", "2026-11-23T05:00:00Z", 1795410000250, "throttled", UUID, "retry after 7 seconds",
        "took 132 ms", "https://a.klaviyo.com/api/events", "https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H", "/api/lists", "/checkout",
        "klaviyo", "klaviyo webhook received", "[x] y", '{"status": 500}', "GET https://a.klaviyo.com/api/tags", "2026-07-15", "createEvent",
    ]),
)  # fmt: skip
_FLAT = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=8)
_OBJECTS = st.dictionaries(
    st.sampled_from(_KEYS), st.one_of(_VALUES, _FLAT, st.lists(_VALUES, max_size=2)), max_size=10
)
_CALLS = st.fixed_dictionaries({
    "url": st.sampled_from(["https://a.klaviyo.com/api/events", "/api/lists", "/x", 7, ""]), "method": st.sampled_from(["POST", "get", None, ""]),
    "status": st.sampled_from([200, 429, "503", None, True, 0, 404.0]), "service": st.just("klaviyo"),
})  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(_OBJECTS, _CALLS, st.booleans()), min_size=1, max_size=4))
def test_whatever_is_understood_by_column_is_understood_alike_alone(
    drawn: list[tuple[Any, Any, bool]],
) -> None:
    shapes = [{**call, **data} if inner else {**data, **call} for data, call, inner in drawn]
    same_keys = [
        dict(zip(shapes[0], values, strict=False)) for values in ((*each.values(),) for each in shapes)
    ]
    assert_same(*shapes, *same_keys, *shapes[:1])


def test_of_two_urls_of_klaviyo_the_same_one_counts_whatever_stands_beside_them() -> None:
    both = {"target": "GET https://a.klaviyo.com/api/tags", "url": "https://a.klaviyo.com/api/events"}
    call = {**both, "method": "POST", "status": 200, "service": "klaviyo"}
    assert_same(call, {"action": {}, **call})


_SAID = st.lists(
    st.sampled_from([word.decode() for word in CLUES] + ["<HTML>", "Via: 1.1 squid", "text/html", "pointer: /data/x"]),
    max_size=3,
).map(" | ".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(_SAID, st.sampled_from((200, 302, 401, 403, 407, 429, 503, 511, 521)), st.sampled_from((30, 40, 50))),
        min_size=2, max_size=9,
    )
)  # fmt: skip
def test_who_answered_is_told_by_words_as_it_is_of_each_alone(told: list[tuple[str, int, int]]) -> None:
    objects = [
        PINO | {"msg": f"it said {msg}", "statusCode": status, "level": level} for msg, status, level in told
    ]
    assert assert_same(*objects) == len(objects)


def test_of_a_text_of_which_only_its_beginning_is_looked_at_no_word_behind_it_counts() -> None:
    long = PINO | {
        "statusCode": 429,
        "msg": "x" * MOST + " request was throttled. expected available in 1 second",
    }
    assert assert_same(PINO | {"statusCode": 429}, long) == 2
