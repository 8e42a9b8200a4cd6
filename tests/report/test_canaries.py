"""Made-up secrets go through what a report goes through; if one can be read afterwards, nothing is sealed."""

from __future__ import annotations

import random

import pytest

import samples
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.canaries import ENCODINGS, Canaries, readable


def test_no_canary_can_be_read_in_evidence_notebook_or_page() -> None:
    assert len(ENCODINGS) >= 14
    assert readable(Redactor(b"k"), samples.WINDOW.end) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_hides_a_canary(encoding: str, seed: int) -> None:
    canaries = Canaries.hatch(random.Random(seed))
    found = Redactor(b"k").in_all({"all": "\n".join(canaries.lines())})["all"]
    for value in canaries.values():
        assert ENCODINGS[encoding](value) not in found


class Blind(Redactor):
    """Sees no address."""

    def text(self, text: str) -> str:
        return text if "canary." in text and text.count("\n") > 20 else super().text(text)


def test_a_redactor_that_misses_something_is_found_out() -> None:
    assert any("email" in place for place in readable(Blind(b"k"), samples.WINDOW.end))
