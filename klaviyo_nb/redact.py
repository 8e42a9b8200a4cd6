r"""Take secrets and personal data out of text; make hostile text harmless.

Each `Rule` is data: clues that every match contains (searched first, over everything, because most text has
none), a pattern that is tried only on lines with a clue, and samples that are its tests. Secrets become
`[redacted:<rule>]`; personal data become keyed pseudonyms such as `email-3f2a9c1b`, the same for the same
address however it is written, so that files join.

What may be relied upon: redacting twice changes nothing; the number of lines stays; JSON stays JSON and CSV
keeps its columns. National phone numbers without `+` are found only beside a word such as `phone`, or
written as `415-555-0100`: elsewhere they look like any number.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: A replacement may bring its neighbours into reach of a rule; such text is read again, at most so often.
ROUNDS = 8
#: Shorter secrets are words, and taking words out of text leaves no text.
SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing to take out.

    Attributes:
        name: As it appears in the replacement and in the counts.
        kind: `secret` becomes `[redacted:name]`, `pseudonym` becomes `name-<8 hex digits>`.
        clues: Patterns over lower-case ASCII bytes, each beginning with a literal (that is what makes them
            fast); a line in which none is found cannot match. Where `shapes` is set they are searched in
            text whose digits are all `0` and whose ` `, `.` and `-` are all `-`.
        pattern: What to replace: the group `value` of it.
        accept: Says of a `value` whether it is one after all.
        shapes: See `clues`.
        spans_lines: The pattern is tried on the whole text.
        matches: Texts in which it must replace something.
        spares: Texts that it must leave as they are.
    """

    name: str
    kind: Literal["secret", "pseudonym"]
    clues: tuple[bytes, ...]
    pattern: str
    accept: Callable[[str], bool] = bool
    shapes: bool = False
    spans_lines: bool = False
    matches: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()


def _holds_colon(text: str) -> bool:
    """Is it `user:password` in base64?"""
    try:
        return b":" in base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _phone_length(text: str) -> bool:
    return 7 <= sum(character.isdigit() for character in text) <= 15


# A quote, as JSON, JSON inside JSON, JSON inside CSV, Python or YAML write one.
_QUOTE = r"""\\*["']|"\""""
# An opening quote cannot be followed by what follows a closing one, unless the key before it was quoted too.
_VALUE = r"""(?!\$[A-Za-z_{(]|(?:null|true|false|None|True|False)\b)[^\s"'\\,;&|<>\[\](){}*‹…]"""


def _assigned(key: str, rest: str) -> str:
    """`key = value`, `"key": "value"`, `key: value` and the like; `rest` goes on after the first character.

    A value in quotes ends at the next quote; one without ends where `rest` says. The value of a quoted key
    that is not quoted itself (a JSON number) is put in quotes, see `Redactor`.
    """
    return (
        rf"(?P<key_quote>(?<![\w-])(?:{_QUOTE})|)(?<![A-Za-z0-9])[\w.-]*?(?:{key})"
        rf"(?:(?P=key_quote)\s*(?::|=>?|,(?=\s*'))\s*|%3[Dd])"
        rf"""(?:(?P<quote>(?!["']["'](?!["']))(?:{_QUOTE}))(?P<value>(?![\[\s,}}\]:$])[^"'\\\n]+(?=["'\\])))"""
    )


RULES: tuple[Rule, ...] = ()
