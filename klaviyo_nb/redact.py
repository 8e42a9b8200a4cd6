r"""Take secrets and personal data out of text; make hostile text harmless.

`redact_rules` says what to take out: `CLUES` find the lines worth reading, most text has none; on those the
rules are tried. Secrets become `[redacted:<rule>]`; personal data become keyed pseudonyms such as
`email-3f2a9c1b`, the same for the same address however it is written, so that files join.

What may be relied upon: redacting twice changes nothing; the number of lines stays; JSON stays JSON; CSV
keeps its columns. National phone numbers without `+` are found only beside a word such as `phone`, or
written as `415-555-0100`: elsewhere they look like any other number.
"""

from __future__ import annotations

import base64
import functools
import hmac
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import AnyStr
from urllib.parse import quote, unquote

from klaviyo_nb.redact_rules import CLUES, RULES, Rule

#: A replacement can bring its neighbours into reach of a rule: such a line is read again, so often at most.
ROUNDS = 8
#: Shorter secrets are words, and taking words out of text leaves no text.
SHORTEST_SECRET = 6


class Redactor:
    """Redacts text, counting what it took out.

    Pickles, so that it can go to worker processes; each copy counts for itself.

    Attributes:
        counts: Replacements by rule.
    """

    def __init__(self, key: bytes, secrets: Sequence[str] = ()) -> None:
        """Make one.

        Args:
            key: Keys the pseudonyms: the same key gives the same ones. Not to be kept with the text.
            secrets: Secrets known literally; each is also found URL-encoded, in base64 and JSON-escaped.
                Those under `SHORTEST_SECRET` characters are left to the rules.
        """
        self._key = key
        self._literals = [
            (form, "klaviyo-key" if secret.strip().startswith("pk_") else "configured-secret")
            for secret in secrets
            for form in _forms(secret)
        ]
        self._literals.sort(key=lambda literal: -len(literal[0]))
        self.counts: Counter[str] = Counter()

    def without_secrets(self) -> Redactor:
        """One with the same pseudonyms that knows no secret by heart: it may leave this machine."""
        return Redactor(self._key)

    def knows_of(self, data: bytes) -> bool:
        """Does `data` hold a secret that is known literally?"""
        return any(form.encode("utf-8", "surrogatepass") in data for form, _ in self._literals)

    def without_cut_secret(self, text: str) -> str:
        """`text`, which was cut, without the beginning of a secret at its end."""
        for form, _ in self._literals:
            for length in range(len(form) - 1, SHORTEST_SECRET - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length]
        return text

    def text(self, text: str) -> str:
        """`text` without secrets and personal data; as many lines as before."""
        for form, name in self._literals:
            if form in text:
                self.counts[name] += text.count(form)
                text = text.replace(form, f"[redacted:{name}]" + "\n" * form.count("\n"))
        for rule in RULES:
            if rule.spans_lines and any(word.upper() in text for word in rule.words):
                text = self._apply(rule, text)
        return self._by_line(text)

    def _by_line(self, text: str) -> str:
        pieces, done = [], 0
        for start, end in _lines_with_clues(text.encode("ascii", "replace").lower()):
            pieces += [text[done:start], self._line(text[start:end])]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else text

    def _line(self, line: str) -> str:
        for _ in range(ROUNDS):
            before, lower = line, line.lower()
            for rule in RULES:
                if not rule.spans_lines and any(word in lower for word in rule.words):
                    line = self._apply(rule, line)
            if line == before:
                break
        return line

    def _apply(self, rule: Rule, text: str) -> str:
        for pattern in rule.patterns:
            text = _compiled(pattern).sub(functools.partial(self._replacement, rule), text)
        return text

    def _replacement(self, rule: Rule, match: re.Match[str]) -> str:
        value = match["value"]
        if not rule.accept(value):
            return match[0]
        self.counts[rule.name] += 1
        token = f"[redacted:{rule.name}]" if rule.kind == "secret" else self._pseudonym(rule.name, value)
        groups = match.groupdict()
        if groups.get("key_quote") and not groups.get("quote"):  # a JSON number: our token is a string
            token = groups["key_quote"] + token + groups["key_quote"]
        start, end = (position - match.start() for position in match.span("value"))
        return match[0][:start] + token + "\n" * value.count("\n") + match[0][end:]

    def _pseudonym(self, name: str, value: str) -> str:
        plain = f"{name}\0{_plain_form(name, value)}".encode("utf-8", "surrogatepass")
        return f"{name}-{hmac.digest(self._key, plain, 'sha256').hex()[:8]}"


def _plain_form(name: str, value: str) -> str:
    """One spelling for all ways to write the same address or number."""
    value = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), value)
    for _ in range(3):
        value = unquote(value)
    if name == "phone":
        return "".join(character for character in value if character.isdigit())
    return value.lower().lstrip(".-")


def _lines_with_clues(plain: bytes) -> list[tuple[int, int]]:
    """Start and end of each line that holds a clue, in order."""
    found = set()
    for clue in CLUES:
        pattern = _compiled(clue)
        hit = pattern.search(plain)
        while hit:
            start, end = plain.rfind(b"\n", 0, hit.start()) + 1, plain.find(b"\n", hit.end())
            end = end if end >= 0 else len(plain)
            found.add((start, end))
            hit = pattern.search(plain, end)
    return sorted(found)


@functools.cache
def _compiled(pattern: AnyStr) -> re.Pattern[AnyStr]:
    return re.compile(pattern, re.IGNORECASE if isinstance(pattern, str) else 0)


def _forms(secret: str) -> set[str]:
    """The ways in which `secret` may be written in text."""
    forms: set[str] = set()
    for raw in {secret, secret.strip()}:
        if len(raw.strip()) < SHORTEST_SECRET:
            continue
        encoded = quote(raw, safe="")
        lower = re.sub("%..", lambda escape: escape[0].lower(), encoded)
        forms |= {raw, encoded, lower, json.dumps(raw)[1:-1], json.dumps(raw, ensure_ascii=False)[1:-1]}
        forms |= set(_in_base64(raw.encode()))
    ours = " ".join(f"[redacted:{name}]" for name in (*(rule.name for rule in RULES), "configured-secret"))
    return {form for form in forms if form not in ours}


def _in_base64(data: bytes) -> Iterable[str]:
    """What base64 makes of `data` wherever it stands in a text: only characters that it alone decides."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + data).decode()
        core = coded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


_HARMFUL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def harmless(text: str) -> str:
    """`text` without ANSI escapes, control characters but newline and tab, bidi and invisible marks.

    Lone surrogates, which no file or terminal takes, become U+FFFD. All else is left as it is. To redact as
    well, do this first: an invisible mark inside an address hides it from the rules.
    """
    return _SURROGATE.sub("\ufffd", _HARMFUL.sub("", text))
