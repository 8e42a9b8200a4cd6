"""How a record is worded: as one that tells of a call, or as one that only speaks of Klaviyo.

The rules of `understand` decide by what a record tells. Where they are in doubt, its words decide: each has a
weight, found from the labelled lines (`tests/logs/weigh.py` makes `wording.tsv`; docs/design/words-weigh.md).
A weight is what the word adds to the logarithm of the odds that the record tells of a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats import text

#: From odds of four to one on it is surely one, or surely none; of a text with a path of Klaviyo's it is
#: surely none from five to one on.
_SURE, _SURE_OF_PATHS = 1.386, 1.609
#: In fewer words there is too little that could speak for a call.
_ENOUGH = 7
#: Weight of what every record has.
BIAS = ""
#: What differs in alike records and says nothing: ids.
_IDS = expression(r"(?<![\w-])(?=[\w-]*\d)[\w-]{16,}", re.ASCII)
_WORDS = expression(
    r"https?://[^\s\"'<>,)\\]+|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|(?<![\w.:,-])[2-5]\d\d(?!\w|[.:,-]\d)",
    re.ASCII,
)


def words(told: str) -> set[str]:
    """The words of a text and its pairs of them; of a status only its class, of a link only whose it is.

    >>> sorted(words("Klaviyo answered 429"))
    ['4xx', 'answered', 'answered 4xx', 'klaviyo', 'klaviyo answered']
    """
    single = [_word(each) for each in _WORDS.findall(_IDS.sub(" ", text.ends(told))) if len(each) > 1]
    return {*single, *(f"{one} {other}" for one, other in pairwise(single))}


@lru_cache(8_192)
def _word(word: str) -> str:
    if word[0].isdigit():
        return f"{word[0]}xx"
    if word.startswith("http") and ":" in word:
        return "klaviyo://" if "a.klaviyo.com" in word else "http://"
    return word.lower()


@cache
def weights() -> Mapping[str, float]:
    """Word → weight."""
    lines = files(__package__).joinpath("wording.tsv").read_text("utf-8").splitlines()
    return {word: float(weight) for weight, word in (line.split("\t") for line in lines)}


def tells_of_a_call(told: str, path: bool = False) -> bool | None:
    """Does a text that names Klaviyo tell of a call? By its words; None where they are not sure.

    Args:
        told: The text.
        path: Does it tell a path or an operation of Klaviyo's?
    """
    known, held = weights(), words(told)
    odds = known[BIAS] + sum(known.get(word, 0.0) for word in held)
    if odds > _SURE:
        return True
    enough = sum(" " not in word for word in held) >= _ENOUGH
    return False if enough and odds < -(_SURE_OF_PATHS if path else _SURE) else None
