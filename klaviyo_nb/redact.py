r"""Take secrets and personal data out of text; make hostile text harmless.

`redaction.rules` says what to take out: its clues, found by Hyperscan, name the lines worth reading, most
text has none; on those the rules are tried. Secrets become `[redacted:<rule>]`; personal data become keyed
pseudonyms such as `email-3f2a9c1b`, the same for the same address however it is written, so that files join.

A secret that was recognised by what stands beside it, as in `api_key=…`, is known from then on and taken out
where it stands alone too: to find it in what came before, the texts are redacted again (`in_all`).

What may be relied upon: redacting twice changes nothing; the number of lines stays; JSON stays JSON; CSV
keeps its columns. National phone numbers without `+` are found only beside a word such as `phone`, or
written as `415-555-0100`: elsewhere they look like any other number.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from klaviyo_nb.expressions import expression
from klaviyo_nb.redaction import wrapped
from klaviyo_nb.redaction.escapes import CLUES, AsWritten, Plain
from klaviyo_nb.redaction.forms import NO_ESCAPE, SHORTEST_SECRET, forms, learnt_forms, literally, whole_word
from klaviyo_nb.redaction.rule import Rule
from klaviyo_nb.redaction.rules import RULES
from klaviyo_nb.redaction.shapes import hides_something, password_in

if TYPE_CHECKING:
    from klaviyo_nb.sought import Sought

#: A replacement can bring its neighbours into reach of a rule: such a line is read again, so often at most.
ROUNDS = 8
#: So much text is looked through at once: a large one needs little more memory than itself [characters].
AT_ONCE = 4_000_000
#: Recognised secrets of this length, mixed of letters and digits, are looked for everywhere; so many at most.
SHORTEST_LEARNT, MOST_LEARNT = 10, 1_000
#: So far around a clue a secret in base64 may reach.
AROUND_CLUE = 160
#: Stands among the numbers of rules for what is read through its escapes.
_ESCAPED = len(RULES)


class Redactor:
    """Redacts text, counting what it took out.

    Pickles, so that it can go to worker processes; each copy counts for itself, and what it learnt there is
    brought back by `learn`.

    Attributes:
        counts: Replacements by rule.
        learnt: Secrets recognised by their neighbourhood → what replaces them. Never to be written.
    """

    def __init__(self, key: bytes, secrets: Sequence[str] = (), ip_addresses: bool = False) -> None:
        """Make one.

        Args:
            key: Keys the pseudonyms: the same key gives the same ones. Not to be kept with the text.
            secrets: Secrets known literally; each is also found escaped, in base64 and in hexadecimal.
                Those under `SHORTEST_SECRET` characters are left to the rules.
            ip_addresses: Are IP addresses personal data too?
        """
        self._key, self._ip_addresses = key, ip_addresses
        self._literals = [
            (form, "klaviyo-key" if secret.strip().startswith("pk_") else "configured-secret")
            for secret in secrets
            for form in forms(secret)
        ]
        self._literals.sort(key=lambda literal: -len(literal[0]))
        self.counts: Counter[str] = Counter()
        self.learnt: dict[str, str] = {}
        self._learns = True

    def without_secrets(self) -> Redactor:
        """One with the same pseudonyms that knows no secret and learns none: it may leave this machine."""
        other = Redactor(self._key, ip_addresses=self._ip_addresses)
        other._learns = False
        return other

    def knows_of(self, data: bytes) -> bool:
        """Does `data` hold a secret that is known literally?"""
        return any(form.encode("utf-8", "surrogatepass") in data for form, _ in self._literals)

    def learn(self, learnt: Mapping[str, str]) -> None:
        """Take over what a copy of this one learnt elsewhere."""
        for value, rule in learnt.items():
            if len(self.learnt) < MOST_LEARNT:
                self.learnt.setdefault(value, rule)

    def without_cut_secret(self, text: str) -> str:
        """`text`, which was cut, without the beginning of a secret at its end."""
        for form, _ in self._literals:
            for length in range(len(form) - 1, SHORTEST_SECRET - 1, -1):
                if text.endswith(form[:length]):
                    return text[:-length]
        return text

    def text(self, text: str) -> str:
        """`text` without secrets and personal data; as many lines as before."""
        text = self._without_known(text)
        for rule in RULES:
            if rule.spans_lines and any(clue in text for clue in rule.clues):
                text = self._apply(rule, AsWritten(text)).raw
        return "".join(self._by_line(piece) for piece in _pieces(text))

    def in_all(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Texts by name, redacted: what is recognised in one of them is taken out of all."""
        found = dict(texts)
        while True:
            known = len(self.learnt)
            found = {name: self.text(text) for name, text in found.items()}
            if len(self.learnt) == known:
                return found

    def _without_known(self, text: str) -> str:
        for form, name in self._literals:
            if form in text:
                self.counts[name] += text.count(form)
                text = text.replace(form, f"[redacted:{name}]" + "\n" * form.count("\n"))
        if not self.learnt:
            return text
        found = self._learnt_in(text.encode("utf-8", "surrogatepass"))
        for form, rule in {form: rule for form, rule, _ in found}.items():
            # Not inside a longer word; what base64 makes of it stands inside one, on no escape's letter.
            where = whole_word(form) if form in self.learnt else NO_ESCAPE + re.escape(form)
            text, count = re.subn(where, f"[redacted:{rule}]", text)
            self.counts[rule] += count
        return text

    def _learnt_in(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        """Form, rule and end of each remembered secret in a text, as a part of a word too."""
        forms = list(learnt_forms(tuple(self.learnt.items())).items())
        sought = literally(tuple(form for form, _ in forms))
        return ((*forms[number], end) for number, end in sought.ends(data))

    def _unwrapped(self, data: bytes) -> bytes:
        """`data` without what hides in base64 that is broken into lines."""
        pieces, done = [], 0
        for block in wrapped.blocks(data):
            found = list(self._hidden(block.joined))
            if found:
                self.counts.update(name for _, _, name in found)
                pieces += [data[done : block.start], block.without(found)]
                done = block.end
        return b"".join([*pieces, data[done:]]) if pieces else data

    def _hidden(self, coded: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and rule of what hides in base64."""
        for form, name in self._literals:
            yield from ((hit.start(), hit.end(), name) for hit in re.finditer(re.escape(form), coded))
        data, done = coded.encode(), 0
        for form, name, end in self._learnt_in(data) if self.learnt else ():
            yield end - len(form), end, name
        for end in sorted(end for _, end in _clues_in_base64().ends(data)):
            around = max(0, end - AROUND_CLUE), min(end + AROUND_CLUE, len(coded))
            if end > done and hides_something(coded[slice(*around)]):
                yield *around, "base64"
                done = around[1]

    def _by_line(self, text: str) -> str:
        before = text.encode("utf-8", "surrogatepass")
        data = self._unwrapped(before)
        pieces, done = [], 0
        for start, end in _lines_with_clues(data, self._ip_addresses):
            line = data[start:end].decode("utf-8", "surrogatepass")
            after = self._line(line)
            if after != line:
                pieces += [data[done:start].decode("utf-8", "surrogatepass"), after]
                done = end
        if not pieces and data is before:
            return text
        return "".join([*pieces, data[done:].decode("utf-8", "surrogatepass")])

    def _line(self, line: str) -> str:
        for _ in range(ROUNDS):
            before = line
            if _ESCAPED in self._rules_for(line):
                line = self._escaped(line)
            line = self._ruled(AsWritten(line)).raw
            if line == before:
                break
        return line

    def _escaped(self, line: str) -> str:
        """`line` without what can be read where its escapes are read as what they say."""
        seen = Plain(line)
        if self._literals or self.learnt:
            data = seen.text.encode("utf-8", "surrogatepass")
            known = [(re.escape(form), rule) for form, rule in self._literals if form in seen.text]
            learnt = {form: rule for form, rule, _ in self._learnt_in(data)} if self.learnt else {}
            for where, rule in [*known, *((whole_word(form), rule) for form, rule in learnt.items())]:
                hits = [
                    (*seen.written(*hit.span()), f"[redacted:{rule}]")
                    for hit in re.finditer(where, seen.text)
                ]
                self.counts[rule] += len(hits)
                seen = seen.replaced(hits)
        return self._ruled(seen).raw

    def _rules_for(self, line: str) -> list[int]:
        return _rules_for(line.encode("utf-8", "surrogatepass"), self._ip_addresses)

    def _ruled(self, seen: AsWritten) -> AsWritten:
        for number in self._rules_for(seen.text):
            if number != _ESCAPED:
                seen = self._apply(RULES[number], seen)
        return seen

    def _apply(self, rule: Rule, seen: AsWritten) -> AsWritten:
        for pattern in rule.patterns:
            compiled, folds = _compiled(pattern)
            found = []
            for match in compiled.finditer(_folded(seen.text) if folds else seen.text):
                token = self._token(rule, match, seen)
                if token is not None:
                    found.append((*seen.written(*match.span("value")), token))
            seen = seen.replaced(found)
        return seen

    def _token(self, rule: Rule, match: re.Match[str], seen: AsWritten) -> str | None:
        """What stands for the match's value from now on; None: it may stay."""
        value = seen.text[slice(*match.span("value"))]
        if not rule.accept(value) or not seen.in_one(*match.span("value")):
            return None
        self.counts[rule.name] += 1
        token = f"[redacted:{rule.name}]" if rule.kind == "secret" else self._pseudonym(rule.name, value)
        if rule.teaches and self._learns:
            taught = (value, password_in(value)) if rule.pairs else (value,)
            self.learn({each: rule.name for each in taught if _distinctive(each)})
        groups = match.groupdict()
        if groups.get("key_quote") and not groups.get("quote"):  # a JSON number: our token is a string
            quote_mark = seen.raw[slice(*seen.written(*match.span("key_quote")))]
            token = quote_mark + token + quote_mark
        return token + "\n" * value.count("\n")

    def _pseudonym(self, name: str, value: str) -> str:
        plain = f"{name}\0{_plain_form(name, value)}".encode("utf-8", "surrogatepass")
        return f"{name}-{hmac.digest(self._key, plain, 'sha256').hex()[:8]}"


def marks(data: bytes) -> Counter[str]:
    """How many replacements of each rule stand in a text."""
    sought, names = _marks()
    return Counter(names[number] for number, _ in sought.ends(data))


@functools.cache
def _marks() -> tuple[Sought, list[str]]:
    from klaviyo_nb.sought import Sought

    kinds = {rule.name: rule.kind for rule in RULES} | {"configured-secret": "secret"}
    forms = [
        rf"\[redacted:{name}\]" if kind == "secret" else rf"\b{name}-[0-9a-f]{{8}}\b"
        for name, kind in kinds.items()
    ]
    return Sought([form.encode() for form in forms], caseless=False, keep="marks"), list(kinds)


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end with lines, none of them inside base64."""
    start = 0
    while len(text) - start > AT_ONCE:
        end = (
            text.rfind("\n", start, start + AT_ONCE) + 1 or text.find("\n", start + AT_ONCE) + 1 or len(text)
        )
        end = wrapped.before_open_end(text, start, end)
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _distinctive(value: str) -> bool:
    """Would anybody else write the same by chance?"""
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    plain = re.fullmatch(r"[\w.~+/=%!@#$^&*-]+", value) and not re.match(
        r"[0-9]{4}-[0-9]{2}|/|https?:", value
    )
    return len(value) >= SHORTEST_LEARNT and mixed and bool(plain) and "redacted" not in value


@functools.cache
def _clues_in_base64() -> Sought:
    from klaviyo_nb.sought import Sought

    return Sought(
        [clue.encode() for rule in RULES if rule.name == "base64" for clue in rule.clues], keep="base64"
    )


@functools.cache
def _clues(ip_addresses: bool) -> tuple[Sought, list[list[int]]]:
    """What finds the lines for the rules, and the rules that each of its expressions is for."""
    from klaviyo_nb.sought import Sought

    rules: dict[str, list[int]] = {}
    for number, rule in enumerate(RULES):
        if not rule.spans_lines and (ip_addresses or rule.name != "ip"):
            for clue in rule.clues:
                rules.setdefault(clue, []).append(number)
    rules |= {clue: [_ESCAPED] for clue in CLUES}
    keep = "clues-and-addresses" if ip_addresses else "clues"
    return Sought([clue.encode() for clue in rules], keep=keep), list(rules.values())


def _rules_for(line: bytes, ip_addresses: bool) -> list[int]:
    """Which rules may find something in it, in their order."""
    sought, rules = _clues(ip_addresses)
    return sorted({rule for clue in {clue for clue, _ in sought.ends(line)} for rule in rules[clue]})


def _lines_with_clues(data: bytes, ip_addresses: bool) -> list[tuple[int, int]]:
    """Start and end of each line that holds a clue, in order."""
    found, end = [], -1
    for last in sorted(last for _, last in _clues(ip_addresses)[0].ends(data)):
        if last - 1 < end:
            continue
        start, end = data.rfind(b"\n", 0, last - 1) + 1, data.find(b"\n", last - 1)
        end = end if end >= 0 else len(data)
        found.append((start, end))
    return found


def _plain_form(name: str, value: str) -> str:
    """One spelling for all ways to write the same address or number."""
    value = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), value)
    for _ in range(3):
        value = unquote(value)
    if name == "phone":
        return "".join(character for character in value if character.isdigit())
    return value.lower().lstrip(".-")


@functools.cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], bool]:
    """The pattern, and whether it is for text without capitals: many times faster than ignoring case."""
    folds = "(?-i:" not in pattern and "BEGIN" not in pattern
    return re.compile(pattern, 0 if folds else re.IGNORECASE), folds


def _folded(text: str) -> str:
    """The text without capitals, each letter in its place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


_HARMFUL = expression(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
)
_SURROGATE = expression("[\ud800-\udfff]")


def harmless(text: str) -> str:
    """`text` without ANSI escapes, control characters but newline and tab, bidi and invisible marks.

    Lone surrogates, which no file or terminal takes, become U+FFFD. All else is left as it is. To redact as
    well, do this first: an invisible mark inside an address hides it from the rules.
    """
    return _SURROGATE.sub("\ufffd", _HARMFUL.sub("", text))
