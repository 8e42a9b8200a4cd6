from __future__ import annotations

import json
import random
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.alike.likeness import Likeness, _Kind
from klaviyo_nb.logs.formats.table import formats
from klaviyo_nb.logs.formats.understand import Told, understand

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
PLATFORMS = tomllib.loads((Path(__file__).parents[1] / "platforms.toml").read_text("utf-8"))["line"]
TEXTS = [line["text"] for line in PLATFORMS] + [text for each in formats() for text, _ in each.samples]
LINE = "2026-11-23 05:00:00,250 INFO [worker-1] shop.klaviyo: POST https://a.klaviyo.com/api/events -> 202 in 0.514s"


def with_other_digits(text: str, rng: random.Random) -> str:
    """Any digits may change, but not the first of a number and not those of a date: times stay valid."""
    return "".join(
        str(rng.randint(0, 5))
        if char in "012345" and f" {text}"[at].isdigit() and rng.random() < 0.5
        else char
        for at, char in enumerate(text)
    )


def journald(message: str, moment: int) -> str:
    return json.dumps(
        {
            "__CURSOR": f"s={moment:x}",
            "__REALTIME_TIMESTAMP": str(moment),
            "_PID": "17",
            "PRIORITY": "6",
            "_HOSTNAME": "web-1",
            "MESSAGE": message,
        }
    )


def told(like: Likeness, raw: bytes) -> Told:
    calls, others = like.tell([raw])
    if others:
        return others[0][1]
    (found,) = calls
    return Told(found.kind, found.moments[0], {name: column[0] for name, column in found.columns.items()})


def kinds(like: Likeness) -> dict[tuple[int, bytes], _Kind | None]:
    forms = [form for alike in like._forms.values() for form in alike]
    return {(id(form), kept): kind for form in forms for kept, kind in form.kinds.items()}


def assert_always_the_same(lines: list[str], about: bool = False) -> int:
    """Line by line what `understand` says; says how many kinds were learnt."""
    like = Likeness(NEAR, about)
    for line in lines:
        assert told(like, line.encode()) == understand(line.encode(), NEAR, about), line
    return sum(kind is not None for kind in kinds(like).values())


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:60])
def test_lines_like_a_sample_are_understood_as_they_are_alone(text: str) -> None:
    rng = random.Random(5)
    assert_always_the_same([text] * 3 + [with_other_digits(text, rng) for _ in range(40)] + [text])
    wrapped = [
        journald(with_other_digits(text, rng), 1795410000000000 + rng.randrange(10**9)) for _ in range(40)
    ]
    assert_always_the_same(wrapped)


def test_a_line_that_is_repeated_is_learnt() -> None:
    rng = random.Random(6)
    lines = [
        LINE.replace("0.514", f"0.{rng.randint(100, 999)}").replace(
            "00,250", f"{rng.randint(10, 59)},{rng.randint(100, 999)}"
        )
        for _ in range(200)
    ]
    assert assert_always_the_same(lines) == 1
    assert (
        assert_always_the_same([journald(line, 1795410000000000 + at) for at, line in enumerate(lines)]) == 1
    )


def test_a_status_an_attempt_and_the_number_of_an_error_are_no_mere_digits() -> None:
    lines = [
        f"klaviyo POST /api/events -> {status} attempt {attempt}"
        for status in (200, 429, 503, 407, 525)
        for attempt in (1, 2)
    ]
    lines += [f"klaviyo cURL error {number}: failed" for number in (6, 7, 28, 35, 52)]
    assert_always_the_same(lines * 4)


def test_a_short_number_that_means_nothing_makes_no_kind_of_its_own() -> None:
    lines = [f"klaviyo sync ok: POST /api/profiles sent {number} of them" for number in range(1, 900)]
    assert assert_always_the_same(lines) <= 3  # one per number of digits
    assert assert_always_the_same([f"queued {number} for Klaviyo" for number in range(1, 900)]) <= 3


def test_another_day_makes_no_kind_of_its_own_but_a_day_that_is_none_is_no_such_line() -> None:
    days = ["2026-11-23", "2026-11-24", "2026-12-31", "2027-02-28", "2026-02-29", "2026-11-31", "2026-13-01"]
    assert assert_always_the_same([LINE.replace("2026-11-23", day) for day in days for _ in range(3)]) <= 4


def test_a_wait_is_read_from_its_place() -> None:
    lines = [f"klaviyo POST /api/events -> 429, retry after {wait} s" for wait in range(10, 60)]
    assert assert_always_the_same(lines) == 1


def test_a_kind_that_turns_out_to_differ_is_given_up() -> None:
    like = Likeness(NEAR, about=False)
    for _ in range(3):
        told(like, LINE.encode())
    (key, kind), *_ = kinds(like).items()
    assert kind is not None
    kind.told.fields["caller"] = "somebody else"
    for _ in range(8):
        told(like, LINE.encode())
    assert kinds(like)[key] is None
    assert told(like, LINE.encode()) == understand(LINE.encode(), NEAR)


def test_what_is_remembered_is_bounded() -> None:
    like = Likeness(NEAR, about=False, most=20)
    for name in range(200):
        for _ in range(2):
            told(like, b"klaviyo failed for " + b"x" * name)
    assert len(kinds(like)) + len(like._once) <= 20


def test_records_that_are_no_text_are_understood() -> None:
    for raw in (
        b"klaviyo \xff 503\n",
        b"klaviyo 503 " + b"x" * 10_000,
        b"",
        b"{",
        b'{"log":',
        b'{"MESSAGE":[107,108],"a":{}}',
        b"\xef\xbb\xbfklaviyo 503",
    ):
        like = Likeness(NEAR, about=False)
        assert [told(like, raw) for _ in range(4)] == [understand(raw, NEAR)] * 4


_PIECES = st.sampled_from([
    "klaviyo ", "POST ", "https://a.klaviyo.com/api/events ", "/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H ", "status=429 ", "429 ", "503: ", "0.514s ", "0.514 ", "132ms ",
    "132 ms ", "took 5seconds ", "attempt 2 ", "retry after 12 s ", "2026-11-23T05:00:00.250Z ", "1795410000.250 ", "ERROR ", "id=0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10 ",
    "[worker-1] ", "(17) ", "cURL error 28 ", "timed out ", "webhook received ", "revision: 2026-07-15 ", "12345 ", "ann@example.com ", '{"status": 429, "duration": 1320} ', "\n  at x:12",
])  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(_PIECES, min_size=1, max_size=8), st.integers(0, 2**32), st.booleans())
@example(["1795410000.250 ", "0.514 ", "klaviyo ", "status=429 ", "0.514s "], 0, False)
def test_whatever_is_remembered_is_what_would_have_been_understood(
    pieces: list[str], seed: int, about: bool
) -> None:
    text, rng = "".join(pieces), random.Random(seed)
    assert_always_the_same([text, text] + [with_other_digits(text, rng) for _ in range(12)], about)


def test_many_at_once_are_what_each_is_alone() -> None:
    rng = random.Random(8)
    raws = [with_other_digits(rng.choice(TEXTS[:40]), rng).encode() for _ in range(3_000)]
    calls, others = Likeness(NEAR, about=False).tell(raws)
    found = dict(others) | {
        row: Told(each.kind, each.moments[at], {name: column[at] for name, column in each.columns.items()})
        for each in calls
        for at, row in enumerate(each.rows)
    }
    assert [found[row] for row in range(len(raws))] == [understand(raw, NEAR) for raw in raws]
    assert sum(len(each.rows) for each in calls) > 100


def test_entries_are_alike_in_whatever_order_their_keys_come() -> None:
    rng, like = random.Random(1), Likeness(NEAR, about=False)
    for number in range(400):
        entry = list(json.loads(journald(LINE, 1_795_410_000_000_000 + number)).items())
        rng.shuffle(entry)
        raw = json.dumps(dict(entry)).encode()
        assert told(like, raw) == understand(raw, NEAR)
    assert len(kinds(like)) == 1
