from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.found import Found, Record
from klaviyo_nb.logs.scan import BLOCK, Seen, scan
from klaviyo_nb.logs.sources.base import CONTEXT, MAX_LINES
from klaviyo_nb.logs.words import LIST, LISTED, WORDS, EveryLine, WordFinder
from tests.logs.scanned import each_of

PLAIN = b'{"level":"info","msg":"order 17 done","path":"/checkout"}\n'
CALL = b'{"level":"info","msg":"Klaviyo call","status":202}\n'


def whole(data: bytes, **options: object) -> tuple[list[Record], Seen]:
    seen = Seen()
    return each_of(scan(io.BytesIO(data).readinto, seen, **options)), seen  # type: ignore[arg-type]


def ranges(data: bytes, step: int) -> tuple[list[Record], int]:
    """The same by ranges of `step` bytes, lines numbered over all of them."""
    found: list[Record] = []
    lines = 0
    for start in range(0, len(data), step):
        at, seen = max(0, start - CONTEXT), Seen()
        stream = io.BytesIO(data)
        stream.seek(at)
        stop = min(start + step, len(data))
        for record in each_of(scan(stream.readinto, seen, at=at, start=start, stop=stop)):
            found.append(record._replace(line=record.line + lines))
        lines += seen.lines
    return found, lines


def slow_reference(data: bytes) -> list[int]:
    """Numbers of the lines with a word."""
    lines = data.lower().split(b"\n")
    return [
        number
        for number, line in enumerate(lines)
        if any(word in line for word in WORDS) or (LIST.search(line) and any(word in line for word in LISTED))
    ]


def found_in(data: bytes, begin: int = 0, end: int | None = None) -> list[int]:
    """The same by `WordFinder`."""
    end = len(data) if end is None else end
    places = WordFinder()(bytearray(data), begin, end)
    return list(dict.fromkeys(data.count(b"\n", begin, place) for place in places))


def random_case(word: bytes, rng: random.Random) -> bytes:
    return bytes(rng.choice((byte, ord(chr(byte).upper()))) for byte in word)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                [*WORDS, *LISTED, b'":[1,22,133,', b"klaviy", b"laviyo", b"KLAVIYO", b"kla\nviyo"]
            ),
        )
    ),
    st.integers(0, 9),
)
def test_the_prefilter_finds_exactly_what_a_slow_search_finds(pieces: list[bytes], offset: int) -> None:
    data = b"x" * offset + b"".join(pieces)
    assert found_in(data) == slow_reference(data)


@pytest.mark.parametrize("word", [*WORDS, *(b'":[17,18,19,' + word for word in LISTED)])
def test_every_word_is_found_at_every_alignment_in_any_case(word: bytes) -> None:
    rng = random.Random(1)
    for offset in range(8):
        data = b"\n" + b"." * offset + random_case(word, rng) + b"." * 8
        assert found_in(data) == [1]


def test_a_word_across_the_end_of_the_searched_part_is_not_found_there() -> None:
    assert found_in(b"klaviyo.") == [0]
    assert found_in(b"klaviyo.", 0, 6) == []
    assert found_in(b"klaviyo.", 1, 8) == []


def test_a_line_is_told_of_once_however_many_words_are_in_it() -> None:
    data = bytearray(b"klaviyo: klaviyo throttled\norder 17\nKLAVIYO, a webhook of klaviyo")
    assert WordFinder()(data, 0, len(data)).tolist() == [data.index(b"\n"), len(data) - 1]


@pytest.mark.parametrize("shift", [-9, -7, -4, -1, 0, 1])
def test_a_word_across_a_block_border_is_found(shift: int) -> None:
    filler = PLAIN * ((BLOCK + shift - 30) // len(PLAIN))
    data = filler + b"x" * (BLOCK + shift - len(filler) - 30) + b" and then KlaViyo said 429\n" + PLAIN * 100
    records, seen = whole(data)
    assert [record.raw.count(b"KlaViyo") for record in records] == [1]
    assert seen.lines == data.count(b"\n")


def test_records_carry_their_offset_and_the_lines_before_them() -> None:
    rng = random.Random(2)
    data = b"".join(rng.choice((PLAIN, PLAIN, CALL)) for _ in range(30_000))
    records, seen = whole(data)
    assert len(records) == data.count(b"Klaviyo")
    assert seen.lines == 30_000
    for record in records[:: len(records) // 50]:
        assert data[record.offset : record.offset + len(record.raw)] == record.raw
        assert data[: record.offset].count(b"\n") == record.line


@pytest.mark.parametrize("step", [4_096, 70_000, 300_001, 10_000_000])
def test_ranges_give_what_the_whole_gives(step: int) -> None:
    rng = random.Random(3)
    trace = (
        b"2026-11-23 05:00:00,250 ERROR sync failed\nTraceback (most recent call last):\n"
        b'  File "klaviyo_api/wrapper.py", line 330, in create_event\nApiException: (429)\nReason: Too Many Requests\n'
    )
    data = b"".join(rng.choice((PLAIN, PLAIN, CALL, trace, b"\n")) for _ in range(4_000))
    expected, seen = whole(data)
    assert ranges(data, step) == (expected, seen.lines)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"\n",
                b"  at klaviyo\n",
                b"Klaviyo 429\n",
                b"plain\n",
                b"}\n",
                b"{\n",
                b"klaviyo",
                b"Reason: x\n",
                b"\r\n",
            ]
        ),
        max_size=60,
    ),
    st.integers(1, 40),
)
def test_however_a_stream_is_cut_its_lines_and_records_are_the_same(lines: list[bytes], step: int) -> None:
    data = b"".join(lines)
    expected, seen = whole(data)
    found, count = ranges(data, step)
    assert (found, count) == (expected, seen.lines)
    assert seen.lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def test_small_reads_give_what_large_ones_give() -> None:
    data = (PLAIN * 7 + CALL) * 200

    def dribble(stream: io.BytesIO) -> object:
        return lambda memory: stream.readinto(memory[:17])

    seen = Seen()
    records = each_of(scan(dribble(io.BytesIO(data)), seen))  # type: ignore[arg-type]
    assert (records, seen.lines) == (whole(data)[0], 1_600)


def test_a_line_of_three_megabytes_is_one_record() -> None:
    data = PLAIN + b'{"pad":"' + b"x" * 3_000_000 + b'","msg":"klaviyo 429"}\n' + CALL
    records, seen = whole(data)
    assert [len(record.raw) for record in records] == [3_000_031, len(CALL)]
    assert seen.lines == 3


def test_a_line_longer_than_the_limit_is_read_in_pieces() -> None:
    data = b"x" * 5_000_000 + b" klaviyo 429\n" + CALL
    records, seen = whole(data, longest=600_000)
    assert records[-1].raw.endswith(CALL)
    assert b"klaviyo 429" in b"".join(record.raw for record in records)
    assert max(len(record.raw) for record in records) < 1_000_000
    assert seen.lines == 2


def test_a_record_ends_after_so_many_lines() -> None:
    records, _ = whole(b"klaviyo failed\n" + b"  at frame\n" * 500 + CALL)
    assert records[0].raw.count(b"\n") == MAX_LINES
    assert records[-1].raw == CALL


def test_an_empty_stream_has_no_line() -> None:
    assert whole(b"") == ([], Seen(0, 0, stopped=False))


def test_every_line_can_be_asked_for() -> None:
    records, _ = whole(b"one\ntwo\n\nthree", find=EveryLine())
    assert [record.raw for record in records] == [b"one\n", b"two\n", b"\n", b"three"]


def test_it_stops_when_told_and_says_so() -> None:
    _, seen = whole(CALL * 100_000, halt=lambda: True)
    assert seen.stopped
    assert 0 < seen.read <= BLOCK


WHOLE = (
    b'{"msg":"klaviyo"}',
    b'{"msg":"klaviyo"}\r',
    b'{"msg":"klaviyo"} \t',
    b'{"log":17,"msg":"klaviyo"}',
    b'{"msg":"klaviyo \\"log\\":"}',
)
NOT_WHOLE = (
    b'{"msg":"klaviyo"',
    b'{"msg":"klaviyo"},',
    b'{"log":"klaviyo\\n"}',
    b'{"host":"a","MESSAGE" : "klaviyo"}',
    b'{"MESSAGE":[107,108,97,118,105,121,111]}',
    b'{"errors":[{"detail":"klaviyo"}]}',
    b'{"detail":"klaviyo"}',
    b'{"message":"This API call to klaviyo failed"}',
)


def _whole(found: Found) -> list[bytes]:
    return [*found.objects.raws, *(record.raw for record in found.few)]


@pytest.mark.parametrize("many", [0, 5, 10_000])
@given(lines=st.lists(st.sampled_from([*WHOLE, *NOT_WHOLE, b"order 17 done", PLAIN[:-1]])))
def test_objects_that_stand_alone_are_given_apart_from_all_other_lines(many: int, lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    found = list(scan(io.BytesIO(data).readinto, Seen(), many=many))
    objects = [raw.removesuffix(b"\n") for each in found for raw in _whole(each)]
    assert objects == [line for line in lines if line in WHOLE]
    others = b"".join(record.raw for each in found for record in each.others).split(b"\n")
    assert [line for line in others if line in NOT_WHOLE] == [line for line in lines if line in NOT_WHOLE]
    for record in each_of(found):
        assert data[record.offset :].startswith(record.raw)
        assert record.line == data.count(b"\n", 0, record.offset)


def test_an_object_that_continues_a_record_is_not_given_again() -> None:
    body = b'{"status": 429, "msg": "klaviyo says no"}\n'
    records, seen = whole(CALL + b"klaviyo answered:\n" + body + CALL + body)
    assert [record.raw for record in records] == [CALL, b"klaviyo answered:\n" + body, CALL, body]
    assert [record.line for record in records] == [0, 1, 3, 4]
    assert seen.lines == 5


@given(
    lines=st.lists(
        st.sampled_from([*WHOLE, *NOT_WHOLE, b"order 17 done", b"  at klaviyo.ts:7", b"", PLAIN[:-1]])
    ),
    many=st.integers(0, 8),
    start=st.integers(0, 120),
    length=st.integers(1, 200),
)
def test_lines_cut_together_are_those_cut_one_by_one(
    lines: list[bytes], many: int, start: int, length: int
) -> None:
    data = b"\n".join(lines)
    options = {"start": min(start, len(data)), "stop": min(start + length, len(data))}

    def cut(many: int) -> tuple[list[Record], int]:
        at = max(0, options["start"] - CONTEXT)
        stream, seen = io.BytesIO(data), Seen()
        stream.seek(at)
        return each_of(scan(stream.readinto, seen, at=at, many=many, **options)), seen.lines

    assert cut(many) == cut(10_000)
