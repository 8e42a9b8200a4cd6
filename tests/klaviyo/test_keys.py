from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.klaviyo.keys import key_facts, usable

KEY = "pk_" + "a1" * 17


def test_a_sound_key_has_no_oddity():
    assert key_facts(KEY) == {
        "set": True, "length": 37, "prefix": "pk_", "control_characters": False, "vendor": None, "hint": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (KEY + "\n", "line break"),
        (f" {KEY}", "blanks around"),
        (KEY[:9] + "\x00" + KEY[9:], "control character"),
        (KEY[:9] + "\u200b" + KEY[9:], "control character"),
        (f'"{KEY}"', "quotation marks"),
        (f"Klaviyo-API-Key {KEY}", "scheme"),
        ("ABC123", "site id"),
        ("sk_" + "a" * 34, "pk_"),
        ("pk_" + "a" * 20, "37 are usual"),
        ("pk_live_" + "a" * 24, "Stripe"),
        ("eyJhbGciOi", "OAuth"),
        ("  ", "blanks"),
    ],
)
def test_an_oddity_is_named(raw, part):
    assert part in key_facts(raw)["hint"]


@pytest.mark.parametrize("raw", [None, "", " \n", "\u200b"])
def test_nothing_is_no_key(raw):
    assert usable(raw) is None
    assert key_facts(raw)["set"] is False


@pytest.mark.parametrize("raw", [KEY + "\n", KEY + "\r\n", f"\t{KEY} ", KEY[:9] + "\x00" + KEY[9:]])
def test_a_key_is_stripped_for_sending_and_the_fact_is_kept(raw):
    assert usable(raw) == KEY
    assert key_facts(raw)["control_characters"] is True
    assert key_facts(raw)["length"] == len(raw)


@given(st.text())
def test_what_is_usable_fits_in_a_header(raw):
    sent = usable(raw)
    assert sent is None or (sent.isascii() and sent.isprintable())


@given(st.text(alphabet="\x00 \n0123456789XYZ", min_size=12))
def test_facts_never_show_the_key(raw):
    facts = key_facts(raw)
    assert len(facts["prefix"] or "") <= 3
    assert (usable(raw) or "")[3:] not in str(facts) or len(usable(raw) or "") < 6
