"""What a rule of redaction says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing to take out.

    Attributes:
        name: As it appears in the replacement and in the counts.
        kind: `secret` becomes `[redacted:name]`, `pseudonym` becomes `name-` and 8 hex digits.
        clues: Expressions in Hyperscan's syntax, any case of letters: a line with none of them cannot match.
        patterns: What to replace: the group `value` of each.
        accept: Says of a `value` whether it is one after all.
        spans_lines: The patterns are tried on the whole text; its clues are plain texts then.
        teaches: A value is recognised by what stands beside it, and may stand alone elsewhere.
        pairs: A value may be `user:password`, as in a URL or in base64: the password teaches too.
        matches: Texts in which it must replace something.
        spares: Texts that all rules must leave as they are.
    """

    name: str
    kind: Literal["secret", "pseudonym"]
    clues: tuple[str, ...]
    patterns: tuple[str, ...]
    accept: Callable[[str], bool] = bool
    spans_lines: bool = False
    teaches: bool = False
    pairs: bool = False
    matches: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()
