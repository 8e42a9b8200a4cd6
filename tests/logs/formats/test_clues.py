"""Words are looked for before a pattern is tried: none may hide what its pattern would find."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from klaviyo_nb.logs.formats import mentions, silence, understand
from klaviyo_nb.logs.formats.patterns import PATTERNS
from tests.logs.accuracy import labelled

Look = tuple[Sequence[str], re.Pattern[str], Callable[[str], str]]
#: What is sought → the words, the pattern that they stand before, and the text that both are looked for in.
LOOKS: dict[str, Look] = {
    **{f"no response: {kind}": (silence.SILENCE_WORDS[kind], pattern, str)
       for kind, pattern in silence.NO_RESPONSE.items()},
    **{f"{name}: {pattern.pattern[:40]}": (clues, pattern, str)
       for name, (_, clues) in understand._SOUGHT.items() for pattern in PATTERNS[name]},
    "pages": (mentions._PAGE_WORDS, mentions._PAGES, str.lower),
    "played": (mentions._PLAYED_WORDS, mentions._PLAYED, str.lower),
    "SQL": (tuple(map(str.lower, mentions._SQL_WORDS)), mentions._SQL, str),
}  # fmt: skip
#: What no labelled line says.
MORE = (
    "klaviyo throttled us, says come back after 3 s",
    "try #2 of 5: klaviyo answered 503",
    "klaviyo.yaml, klaviyo.csv and klaviyo.html were written",
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*(line.text for line in labelled()), *MORE]


@pytest.mark.parametrize("name", LOOKS)
def test_every_text_that_a_pattern_finds_something_in_has_one_of_its_words(
    name: str, texts: list[str]
) -> None:
    words, pattern, of = LOOKS[name]
    without = [text for text in texts if not any(map(text.lower().__contains__, words))]
    assert [text for text in without if pattern.search(of(text))] == []
