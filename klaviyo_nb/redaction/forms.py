"""How a secret that is known may be written: as it is, escaped, in base64, in hexadecimal; what finds it."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from klaviyo_nb.redaction.rules import RULES

if TYPE_CHECKING:
    from klaviyo_nb.sought import Sought

#: Shorter secrets are words, and taking words out of text leaves no text.
SHORTEST_SECRET = 6


def forms(secret: str) -> set[str]:
    """The ways in which `secret` may be written in text."""
    forms: set[str] = set()
    for raw in {secret, secret.strip()}:
        if len(raw.strip()) < SHORTEST_SECRET:
            continue
        encoded = quote(raw, safe="")
        lower = re.sub("%..", lambda escape: escape[0].lower(), encoded)
        forms |= {raw, encoded, lower, json.dumps(raw)[1:-1], json.dumps(raw, ensure_ascii=False)[1:-1]}
        forms |= {*_in_base64(raw.encode()), *_in_base64(raw.encode("utf-16-le")[:-1])}
        forms |= {raw.encode().hex(), raw.encode().hex().upper()}
    ours = " ".join(f"[redacted:{name}]" for name in (*(rule.name for rule in RULES), "configured-secret"))
    return {form for form in forms if form not in ours}


def _in_base64(data: bytes) -> Iterable[str]:
    """What base64 makes of `data` wherever it stands in a text: only characters that it alone decides."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + data).decode()
        core = coded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


@functools.lru_cache(2)
def learnt_forms(learnt: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """All ways to write what was learnt → its rule."""
    return {form: rule for value, rule in learnt for form in forms(value)}


@functools.lru_cache(2)
def literally(texts: tuple[str, ...]) -> Sought:
    """What finds such texts, as they are."""
    from klaviyo_nb.sought import Sought

    return Sought([re.escape(text.encode("utf-8", "surrogatepass")) for text in texts], caseless=False)


#: Before a word that would stand in an escape otherwise: not on its letter.
NO_ESCAPE = r"(?<!\\(?=[bfnrtu]))(?<!\\u[0-9A-Fa-f]{3})"


def whole_word(form: str) -> str:
    """A pattern of it, where it is no part of a longer word."""
    before = r"(?:(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt])|(?<![A-Za-z0-9]))" if form[0].isalnum() else ""
    return before + re.escape(form) + (r"(?![A-Za-z0-9])" if form[-1].isalnum() else "")
