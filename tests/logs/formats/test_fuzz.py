"""Every format, torn and twisted: never a crash, and every line that names Klaviyo is told of or counted."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.alike.likeness import Likeness
from klaviyo_nb.logs.formats.table import formats
from klaviyo_nb.logs.formats.understand import understand
from klaviyo_nb.logs.scan import Seen, scan
from tests.logs.accuracy import labelled
from tests.logs.scanned import each_of
from tests.logs.wrappers import WRAPPERS

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
TEXTS = sorted({text for each in formats() for text, _ in each.samples} | {line.text for line in labelled()})
ODD = st.sampled_from(
    [b"\0", b"\0" * 64, b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"\r", b"\x07", b"{", b"}", b'"', b"\\", b"[", b"\\u0000", b"\\ud800",
     b"99999999999999999999", b"-1", b"1e999", b"NaN", b" klaviyo ", b"\xe2\x80\xa8", b"=", b"https://[", b"://", b"%", b"\t", b"\n", b"",
     b"2026-13-45T99:99:99Z", b"Feb 29 23:59:60 ", b"+99:99", b"null", b"'"]
)  # fmt: skip


@st.composite
def twisted(draw: st.DrawFn) -> bytes:
    """A record of some format, cut or with odd bytes in it, perhaps in an envelope or two."""
    lines = draw(st.sampled_from(TEXTS)).split("\n")
    for wrap in draw(st.lists(st.sampled_from(WRAPPERS), max_size=2)):
        lines = wrap(lines)
    raw = "\n".join(lines).encode()
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 12))
        raw = raw[:at] + draw(st.one_of(ODD, st.binary(max_size=6))) + raw[at + length :]
    return raw[draw(st.integers(0, 20)) :] if draw(st.booleans()) else raw


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(twisted(), min_size=1, max_size=4), st.sampled_from([b"\n", b"\r\n"]))
def test_whatever_is_made_of_a_line_it_is_told_of_or_counted(raws: list[bytes], end: bytes) -> None:
    data = end.join(raws) + end
    records = each_of(scan(io.BytesIO(data).readinto, Seen()))
    spans = [(record.offset, record.offset + len(record.raw)) for record in records]
    at = data.lower().find(b"klaviyo")
    while at >= 0:
        assert any(first <= at < last for first, last in spans), data
        at = data.lower().find(b"klaviyo", at + 1)
    like = Likeness(NEAR, about=False)
    for record in records:
        told = understand(record.raw, NEAR)
        if b"klaviyo" in record.raw.lower():
            assert told.kind != "other", record.raw
        for _ in range(3):
            calls, others = like.tell([record.raw])
            assert calls or others == [(0, told)]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([text for text in TEXTS if "klaviyo" in text.lower()]), st.floats(allow_nan=True), st.integers()
)  # fmt: skip
def test_odd_numbers_are_no_times_and_no_durations(text: str, number: float, whole: int) -> None:
    for odd in (number, whole, str(number), [whole], {"$date": whole}, True):
        line = json.dumps({"msg": text} | dict.fromkeys(("time", "duration", "status", "attempt"), odd))
        told = understand(line.encode(), NEAR)
        assert told.kind in ("call", "webhook", "mention")
        moment, took = told.moment, told.fields.get("duration_s")
        assert moment is None or isinstance(moment, int)
        assert took is None or 0 <= took <= 7 * 86_400
