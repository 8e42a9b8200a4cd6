"""Words decide where rules are in doubt; their weights are those of the labelled lines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from klaviyo_nb.logs.formats import wording
from klaviyo_nb.logs.formats.understand import understand
from tests.logs import weigh

NEAR = datetime(2026, 11, 23, 7, tzinfo=UTC)


def test_the_weights_are_those_of_the_labelled_lines() -> None:
    """After a label was changed or added, `python tests/logs/weigh.py` writes them anew."""
    kept, made = wording.weights(), weigh.table(weigh.lines())
    differing = {
        word for word in kept.keys() | made.keys() if abs(kept.get(word, 0) - made.get(word, 0)) > 0.02
    }
    light = {word for word in differing if max(abs(kept.get(word, 0)), abs(made.get(word, 0))) < 0.21}
    assert differing == light  # what is near the limit may be on either side of it on another machine


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("WARN crm: klaviyo profile import answer came back with invalid email, 400, attempt 2", 400),
        ("error: klaviyo POST profile import, attempt 2 of 3: 503", 503),
        ("2026-11-23 05:00:01 error klaviyo profile patch failed after attempt 3, response came as 503", 503),
    ],
)
def test_words_make_a_call_of_what_no_rule_sees(line: str, status: int) -> None:
    told = understand(line.encode(), NEAR)
    assert (told.kind, told.fields.get("status_code")) == ("call", status)


@pytest.mark.parametrize(
    "line",
    [
        '[ActionCable] KlaviyoRoomChannel transmitting {"status"=>503} (via streamed from klaviyo room)',
        "info: KlaviyoBoard stream transmitting {status: 404} to dev via channel of shop",
    ],
)
def test_words_make_none_of_what_only_speaks_of_klaviyo(line: str) -> None:
    assert understand(line.encode(), NEAR).kind == "mention"


def test_a_short_text_is_not_refused_for_lack_of_words() -> None:
    assert understand(b"klaviyo answered 401", NEAR).kind == "call"


def test_ids_and_numbers_weigh_nothing() -> None:
    one = "klaviyo sync 0f3b7c1e-9d2a-4c55 for order 88213 got 503"
    assert wording.words(one) == wording.words(one.replace("0f3b7c1e", "a91c22d0").replace("88213", "12"))
    assert "5xx" in wording.words(one)


def test_a_long_text_is_weighed_in_little_time() -> None:
    """A word without end is looked at once, not from each of its letters."""
    assert wording.words("a" * 12_000 + "-" * 12_000) == {"a" * 9_000}
