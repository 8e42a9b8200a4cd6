"""Rows are redacted many at once, and lose what each would lose alone; columns of texts fit together."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.coded import Coded, Texts
from klaviyo_nb.logs.rows import Rows
from klaviyo_nb.redact import Redactor, harmless

KEY, ADDRESS = "pk_4f1c0a9be27d83650f4e1b7a2c9d8e0f1a", "ann@example.com"
IN_BASE64 = "cGtfNGYxYzBhOWJlMjdkODM2NTBmNGUxYjdhMmM5ZDhlMGYxYQ=="
PLAIN = [
    "POST /api/events 202", " .", ".", " ", "0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10", "01F3AABA1803498A5D0798715A3E094F", "worker-3",
]  # fmt: skip


def packed(texts: list[str]) -> list[str]:
    """What is left of messages; the same whether they repeat or hardly two are equal."""
    told = []
    for column in (texts, Texts(pa.array(texts, pa.large_string()))):
        rows = Rows(Redactor(b"k" * 32).text)
        rows.extend({"message": column}, len(texts))
        told.append(rows.table()["message"].to_pylist())
    assert told[0] == told[1]
    return told[0]


def made_of(pieces: list[str]) -> st.SearchStrategy[list[str]]:
    text = st.lists(st.sampled_from(pieces), min_size=1, max_size=5).map(" ".join)
    return st.lists(text, min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(made_of([*PLAIN, KEY, ADDRESS, IN_BASE64, "\n", "\n"]))
def test_no_secret_is_left_whatever_stands_around_it(texts: list[str]) -> None:
    told = packed(texts)
    assert len(told) == len(texts)
    assert not any(secret in text for text in told for secret in (KEY, ADDRESS, IN_BASE64))


@settings(max_examples=200, deadline=None)
@given(made_of(PLAIN))
def test_what_holds_no_secret_stays_as_it_is(texts: list[str]) -> None:
    assert packed(texts) == texts


@settings(max_examples=200, deadline=None)
@given(made_of([*PLAIN, IN_BASE64[:24], IN_BASE64[24:], IN_BASE64, ADDRESS, "\n", "\n"]))
def test_a_text_loses_what_it_would_lose_alone(texts: list[str]) -> None:
    assert packed(texts) == [told for text in texts for told in packed([text])]


def test_lines_of_one_text_in_base64_are_put_together_and_texts_below_each_other_are_not() -> None:
    lines = [IN_BASE64[:24], IN_BASE64[24:]]
    assert packed(lines) == lines
    (told,) = packed(["\n".join(["mail:", *lines, "end"])])
    assert IN_BASE64[24:] not in told
    assert all(
        IN_BASE64[24:] not in text for text in packed(["\n".join(["mail:", *lines]), "x", "\n".join(lines)])
    )


@pytest.mark.parametrize("mark", ["\t", "\n", "\x00", "\x1b[31m", "\x7f", "\x85", "\u202e", "\ufeff", "é"])
def test_a_mark_that_would_harm_a_terminal_is_taken_out_of_its_text_and_no_other(mark: str) -> None:
    texts = ["POST /api/events", f"a{mark}b", "202"]
    assert packed(texts) == [texts[0], harmless(texts[1]), texts[2]]


def test_profiles_by_id_and_by_address_stand_in_one_column_and_addresses_leave_their_domain() -> None:
    rows, ids = Rows(Redactor(b"k" * 32).text), [PLAIN[5], None, PLAIN[4]]
    rows.extend({"profile_key": Texts(pa.array(ids, pa.large_string()))}, 3)
    rows.extend({"profile_key": [ADDRESS, None]}, 2)
    rows.extend({"message": ["none is known"]}, 1)
    told = rows.table()
    assert told["profile_domain"].to_pylist() == [None] * 3 + ["example.com"] + [None] * 2
    keys = told["profile_key"].to_pylist()
    assert (keys[:3], keys[4:]) == (ids, [None, None])
    assert keys[3] not in (None, ADDRESS)


def test_a_text_that_is_missing_is_taken_from_the_other_column() -> None:
    texts = Texts(pa.array(["a", None], pa.large_string()))
    assert list(texts.or_else(Coded.of(["b", "c"]))) == ["a", "c"]
    assert list(Coded.of([None, "d"]).or_else(texts)) == ["a", "d"]
