"""Lines that are cut all at once tell what each of them tells when it is parsed."""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.alike.grouping import Group
from klaviyo_nb.logs.alike.json_lines import Alike
from klaviyo_nb.logs.alike.layout import Layouts, Lines
from klaviyo_nb.logs.formats.table import formats
from klaviyo_nb.logs.formats.understand import understand
from klaviyo_nb.logs.found import Raws

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from logs_data import flat_call, flat_noise, json_call, json_noise

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
UUID = "0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10"
PINO = {"level": 30, "time": 1795410000250, "hostname": "web-1", "name": "klaviyo", "msg": "call done", "method": "POST",
        "url": "https://a.klaviyo.com/api/events", "statusCode": 202, "durationMs": 132, "requestId": UUID}  # fmt: skip
ECS = {"@timestamp": "2026-11-23T05:00:00.250Z", "log.level": "error", "http": {"method": "GET", "status_code": 429}, "retries": None, "tags": {},
       "url": "https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H", "message": "throttled, retry after 3 s"}  # fmt: skip
Row = tuple[int | None, dict[str, Any]]


class NoLayouts(Layouts):
    """Cuts nothing: each object is parsed."""

    def groups(self, raws: Any) -> tuple[list[Group], Any]:
        return [], np.arange(len(raws))


def told(raws: list[bytes], layouts: Layouts | None = None) -> dict[int, Row]:
    alike = Alike(NEAR)
    alike._layouts = layouts or Layouts()
    return {
        row: (calls.moments[at], {name: column[at] for name, column in calls.columns.items()})
        for calls in alike.calls(raws)
        for at, row in enumerate(calls.rows)
    }


def cut(raws: list[bytes]) -> int:
    """How many of them have a layout that was learnt."""
    return sum(len(group.rows) for group in Layouts().groups(raws)[0])


def whole(raws: list[bytes], layouts: Layouts) -> list[tuple[Any, ...]]:
    """What each record tells, those that are left alone by themselves."""
    found = told(raws, layouts)
    rows = []
    for row, raw in enumerate(raws):
        one = understand(raw, NEAR)
        kind, moment, fields = ("call", *found[row]) if row in found else (one.kind, one.moment, one.fields)
        rows.append((kind, moment, {name: value for name, value in fields.items() if value is not None}))
    return rows


def assert_same(raws: list[bytes]) -> None:
    assert whole(raws, Layouts()) == whole(raws, NoLayouts())


def lines(*objects: dict[str, Any], **style: Any) -> list[bytes]:
    return [json.dumps(each, **style).encode() + b"\n" for each in objects]


def like(data: Any, rng: random.Random) -> Any:
    """Another object with the same keys: other digits, sometimes another type."""
    if isinstance(data, dict):
        return {key: like(value, rng) for key, value in data.items()}
    if isinstance(data, str):
        return "".join(
            str(rng.randint(0, 9)) if char.isdigit() and rng.random() < 0.3 else char for char in data
        )
    if isinstance(data, bool) or data is None or rng.random() < 0.1:
        return rng.choice([data, None, True, 0.5, -1, 1e300, 2**70, "", "x", 3])
    return data + rng.randint(0, 9) if isinstance(data, int | float) else data


@pytest.mark.parametrize("maker", [json_call, flat_call], ids=["nested", "flat"])
def test_generated_calls_are_cut_and_tell_the_same_in_any_order(maker: Any) -> None:
    rng = random.Random(4)
    noise = json_noise if maker is json_call else flat_noise
    made = [(maker if rng.random() < 0.7 else noise)(rng, at)[0].encode() + b"\n" for at in range(2_000)]
    assert cut(made) == len(made)
    rng.shuffle(made)
    assert_same(made)
    assert len(told(made)) > 1_000


def test_samples_of_every_format_tell_the_same_among_others_of_their_layout() -> None:
    rng = random.Random(7)
    samples = [PINO, ECS]
    for each in formats():
        for text, _ in each.samples:
            try:
                data = json.loads(text)
            except ValueError:
                continue
            if isinstance(data, dict):
                samples.append(data)
    assert len(samples) > 20
    raws = [line for data in samples for _ in range(40) for line in lines(like(data, rng))]
    rng.shuffle(raws)
    assert_same(raws)


@pytest.mark.parametrize(
    "odd",
    [
        b"0202", b"2 02", b"-202", b"202.0", b"2.02e2", b"0x20", b"+202", b"20_2", b"", b"null", b"true", b"NaN", b"9" * 30, b'"202"', b'"ok"',
        b"[202]", b'{"code": 202}', b"202, 203", "٢٠٢".encode(), b"-0", b"2e", b"1.",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_plain_number_is_read_as_json_reads_it(odd: bytes) -> None:
    raws = lines(*[PINO | {"durationMs": at} for at in range(30)])
    raws[7] = raws[7].replace(b'"statusCode": 202', b'"statusCode": ' + odd)
    raws[9] = raws[9].replace(b'"time": 1795410000250', b'"time": ' + odd)
    assert_same(raws)


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"\\n", b"\\u00e9", "é".encode(), b"\xff", b"\xed\xa0\x80", b"\x01", b"\t", b"a\nb", b'"', b'"}', b'", "x": "', b'{"status": 500}', b"[1, 2]",
        b"[pool] sent", b"{x", b"{}", b"\\", b"\x00", b"\x7f", b'\\"',
    ],
    ids=repr,
)  # fmt: skip
def test_a_text_with_anything_odd_in_it_is_read_as_json_reads_it(odd: bytes) -> None:
    raws = lines(*[PINO | {"durationMs": at} for at in range(30)])
    raws[7] = raws[7].replace(b"call done", odd)
    raws[9] = raws[9].replace(b"call done", b"call " + odd + b" done")
    raws[11] = raws[11].replace(UUID.encode(), odd)
    assert_same(raws)


@pytest.mark.parametrize("end", [b"", b"\r\n", b" \n", b"\n\n", b"}\n", b"\0\n", b",\n"], ids=repr)
def test_lines_may_end_in_any_way(end: bytes) -> None:
    raws = lines(*[PINO | {"durationMs": at} for at in range(40)])
    assert_same([raw.removesuffix(b"\n") + end if at % 2 else raw for at, raw in enumerate(raws)])


@pytest.mark.parametrize(
    "clock",
    [
        "2026-11-23T05:00:00Z", "2026-11-23 05:00:00,250", "2026-11-23T05:00:00.123456789+02:00", "2026-11-23T05:00:00.5-0330", "2026-02-29T05:00:00Z",
        "2026-11-23T24:00:00Z", "2026-11-23T05:00:60Z", "2026-11-23T05:00", "2026-11-23", "20261123T050000Z", "2026-11-23T05:00:00 UTC", "0000-11-23T05:00:00Z",
        "2026-11-23T05:00:00+99:00", "1970-01-01T00:00:00Z", "23/Nov/2026:05:00:00 +0000", "1795410000",
    ],
)  # fmt: skip
def test_times_in_columns_are_the_times_that_each_line_tells(clock: str) -> None:
    rng = random.Random(3)
    clocks = [clock] * 20 + [
        "".join(str(rng.randint(0, 5)) if char.isdigit() and rng.random() < 0.2 else char for char in clock)
        for _ in range(20)
    ]
    for some in (clocks[:20], clocks, [*clocks[:20], clock.replace("05:", "06:")]):
        assert_same(lines(*[PINO | {"time": each} for each in some]))


_VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**19), st.floats(), st.text(max_size=6),
    st.sampled_from(["", "POST", 429, 503, "error", "2026-11-23T05:00:00Z", 1795410000250, UUID, "[x]", '{"a": 1}', "klaviyo retry after 7 seconds"]),
)  # fmt: skip
_KEYS = st.sampled_from(
    [
        "level",
        "time",
        "msg",
        "error",
        "status",
        "url",
        "method",
        "requestId",
        "attempt",
        "x",
        'a"b',
        "response",
        "timestamp",
    ]
)
_NEST = st.dictionaries(_KEYS, st.one_of(_VALUE, st.dictionaries(_KEYS, _VALUE, max_size=3)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(_NEST, st.lists(st.lists(_VALUE, min_size=5, max_size=5), min_size=1, max_size=4), st.booleans())
def test_whatever_is_cut_tells_the_same(data: dict[str, Any], drawn: list[list[Any]], plain: bool) -> None:
    outer = {**PINO, **data}
    keys = [key for key in outer if not isinstance(outer[key], dict)]
    others = [outer | dict(zip(keys, values, strict=False)) for values in drawn]
    style = {"separators": (",", ":"), "ensure_ascii": False} if plain else {}
    raws = [
        json.dumps(each, **style).encode("utf-8", "replace") + b"\n"
        for each in [outer] * 20 + others * 2 + [PINO] * 20
    ]
    assert_same(raws)


def test_layouts_that_nobody_writes_any_more_make_room() -> None:
    layouts = Layouts()
    for turn in range(20):
        raws = lines(*[{f"k{turn:02}": at, **PINO} for at in range(20)])
        layouts.groups(raws)
    layouts.groups(raws)
    assert sum(len(group.rows) for group in layouts.groups(raws)[0]) == 20
    assert sum(map(len, layouts._known.values())) <= 8


@given(
    st.lists(st.sampled_from((b"{}", b'{"a":1}', b'"', b'"\t"', b'"\x1f"', b'"\\"', b"\\", b"\t", "é".encode(), b"\xff", b"")), min_size=1, max_size=9),
    st.sampled_from((b"\n", b"\r\n")),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_is_plain_is_so_whatever_stands_beside_and_between(
    texts: list[bytes], end: bytes, rng: random.Random
) -> None:
    def is_plain(text: bytes) -> bool:
        odd = any(byte < 0x20 or byte == ord("\\") for byte in text)
        return text.count(b'"') > 0 == text.count(b'"') % 2 and not odd and b"\xff" not in text

    every = Raws.of([text + end for text in texts])
    for rows in (range(len(texts)), sorted(rng.sample(range(len(texts)), rng.randint(1, len(texts))))):
        cut = Lines(every.only(np.array(rows)))
        assert cut.counts.tolist() == [texts[row].count(b'"') for row in rows]
        assert cut.plain().tolist() == [is_plain(texts[row]) for row in rows]
