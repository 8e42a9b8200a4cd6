"""Messages without what differs from one to the next: masked, then those alike put together.

`alike.masking` keeps the length of a text and learns where fields stand; here numbers and ids become one
sign, and words that vary do too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Stands for what differs.
ANY = "<*>"
#: Words with a digit in them and what hangs on them: numbers, ids, addresses, times, hosts; and pseudonyms.
_WORD = r"[\w-]*[0-9][\w-]*"
_HOST = r"(?:(?:\.[a-z][a-z-]*){2,})?"
_VARYING = rf"{_WORD}(?:[.:,+]{_WORD})*{_HOST}|\b[0-9a-f]{{16,}}\b|\b[a-z]+-[0-9a-f]{{8}}\b"
#: A place with fewer different words tells sorts of messages apart.
LEAST_WORDS = 4
#: Words at a place vary if more than such a share of the messages have one of their own there.
VARYING = 0.5


def masked(texts: Any) -> Any:
    """Arrow texts with `ANY` for numbers and ids, each in one line."""
    found = pc.replace_substring_regex(texts, pattern=_VARYING, replacement=ANY)
    if pc.any(pc.match_substring_regex(found, r"[\t-\r]|  |^ | $")).as_py():
        found = pc.utf8_trim_whitespace(pc.replace_substring_regex(found, pattern=r"\s+", replacement=" "))
    return found


def shortened(texts: Any, words: int | None) -> Any:
    """The first words of Arrow texts that were masked; None: all of them."""
    if words is None:
        return texts
    if not words:
        return pa.array(["…"] * len(texts), pa.large_string())
    pattern = rf"^((?:[^ ]+ ){{{words - 1}}}[^ ]+) .*$"
    return pc.replace_substring_regex(texts, pattern=pattern, replacement=r"\1 …")


def alike(texts: Sequence[str]) -> dict[str, str]:
    """Masked text → its template. Depends on the texts only, not on their order.

    Texts of as many words are split by the place with the fewest different words, again and again, until at
    all places that are left most texts have a word of their own: there words vary.

    Source:
        The idea of splitting by the place with the fewest words: A. Makanju et al., Clustering event logs
        using iterative partitioning (IPLoM), KDD 2009.
    """
    lengths: dict[int, list[tuple[str, ...]]] = {}
    for text in sorted(set(texts)):
        words = tuple(text.split(" "))
        lengths.setdefault(len(words), []).append(words)
    return {
        " ".join(words): template
        for group in lengths.values()
        for part, template in _split(group)
        for words in part
    }


def _split(group: list[tuple[str, ...]]) -> Iterator[tuple[list[tuple[str, ...]], str]]:
    waiting = [group]
    while waiting:
        part = waiting.pop()
        words = [Counter(column) for column in zip(*part, strict=True)]
        open_places = [place for place, counts in enumerate(words) if len(counts) > 1]
        # Where some texts have a number or an id, the words of the others are names.
        telling = [place for place in open_places if not any(ANY in word for word in words[place])]
        fewest = min(telling or open_places, key=lambda place: len(words[place]), default=None)
        few = len(open_places) * 2 <= len(words)  # a template says something
        if fewest is None or (few and (not telling or _vary(len(words[fewest]), len(part)))):
            first = part[0]
            yield part, " ".join(ANY if place in open_places else word for place, word in enumerate(first))
            continue
        parts: dict[str, list[tuple[str, ...]]] = {}
        for each in part:
            parts.setdefault(each[fewest], []).append(each)
        waiting += parts.values()


def _vary(different: int, texts: int) -> bool:
    return different >= LEAST_WORDS and different > VARYING * texts
