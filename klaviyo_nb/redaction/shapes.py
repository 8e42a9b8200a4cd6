"""What secrets and personal data look like in text: how names and values stand, what a value is like."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from collections import Counter
from urllib.parse import unquote

from klaviyo_nb.expressions import expression


def holds_colon(value: str) -> bool:
    """Is it `user:password` in base64?"""
    return b":" in _decoded(value)


def password_in(value: str) -> str:
    """The password in `user:password`, as a URL has it, or all of it in base64; else nothing."""
    plain = _decoded(value).decode("utf-8", "replace") if holds_colon(value) else value
    return unquote(plain.partition(":")[2])


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


_UUID = expression(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SPELT = expression(r"pk(?:_(?:[a-z]+|[0-9]{1,4}))+")


def looks_random(value: str) -> bool:
    """Is it long and mixed as what a machine made up, and neither a UUID nor a path?"""
    if len(value) < 12 or value[0] in "/." or _UUID.fullmatch(value) or _looks_like_time(value):
        return False
    digits = sum(character.isdigit() for character in value)
    counts = Counter(value).values()
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    mixed = value.isalnum() and value.lower() != value != value.upper()
    return (2 - mixed) <= digits < len(value) and entropy >= 2.9


def _looks_like_time(value: str) -> bool:
    return bool(re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value))


def no_constraint(value: str) -> bool:
    """`pk_orders_by_created_at` is the name of a primary key in a database."""
    return not _SPELT.fullmatch(value)


def looks_chosen(value: str) -> bool:
    """Is it mixed as a password is, where `1000:1000` and `names:x` may stand too?"""
    return (not value.islower() and any(map(str.isalpha, value))) or (
        any(map(str.isdigit, value)) and value.upper() != value
    )


def is_named(value: str) -> bool:
    """Does it begin as names of people and places do?"""
    return value[0].isupper() or value[0].isdigit() or not value.isascii()


# Each begins with a character that is looked for at the speed of memory.
_HIDDEN = (
    expression(rb"pk_[A-Za-z0-9_]{20}"),
    expression(rb"@(?<=[\w.+-]{2}@)(?:[\w-]{2,63}\.)+[A-Za-z]{2}"),
    expression(rb"\+[1-9][0-9]{9,14}(?![0-9])"),
)


#: Ids in hexadecimal, and paths of small letters that they end: no text in base64 is written so.
_HEX = expression(r"(?>[0-9A-F]{8,}|[0-9a-f]{8,}|[a-z_-]+|/)++")


def hides_something(value: str) -> bool:
    """Is it base64 of a text with a key, an address or a phone number in it? It may begin within a path.

    The text may be of one byte a letter, or of two, as Windows has it.
    """
    if _HEX.fullmatch(value):
        return False
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    for start in range(4):
        part = plain[start:]
        part = part[:-1] if len(part) % 4 == 1 else part
        try:
            decoded = base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
        except (binascii.Error, ValueError):
            return False
        decoded = decoded.replace(b"\0", b"")  # of UTF-16
        if any(hidden.search(decoded) for hidden in _HIDDEN):
            return True
    return False


def hides_in_hex(value: str) -> bool:
    """Is it a text with a key, an address or a phone number in it, two digits a letter?"""
    both = (bytes.fromhex(value[start : len(value) - (len(value) - start) % 2]) for start in (0, 1))
    return any(hidden.search(decoded) for decoded in both for hidden in _HIDDEN)


#: A resolver of everybody's, which commands in reports name.
_PUBLIC_RESOLVER = "1.1.1.1"


def is_address(value: str) -> bool:
    """Is it the IP address of a machine of somebody, which those of this machine and of any are not?"""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or value == _PUBLIC_RESOLVER)


def enough_digits(value: str) -> bool:
    """As many as the shortest phone number?"""
    return sum(character.isdigit() for character in value) >= 7


#: Last labels of names with an `@` that are no mail domain: images, archives, scripts, systemd units.
_NOT_DOMAINS = expression(
    r"(?:png|jpe?g|gif|svg|webp|css|m?js|tsx?|jsx|json|html|tgz|gz|whl|jar"
    r"|service|socket|slice|scope|timer|mount|device|target|swap|path)"
)


def mail_domain(value: str) -> bool:
    """Is what follows its last dot no ending of a file or unit?"""
    return not _NOT_DOMAINS.fullmatch(value.rpartition(".")[2].lower())


# Another quote than a plain ": inside JSON, inside CSV, of Python, escaped once or more.
ODD_QUOTE = r"""\\+["']|'|(?<!\\)"{2}"""
NO_VALUE = (
    r"(?![\[<(]?(?:redacted|filtered|masked|hidden|removed)\b|\*{3}|\$[A-Za-z_{(]|[‹…]"
    r"|/(?:app|dev|etc|home|mnt|opt|root|run|secrets|srv|tmp|usr|var)/)"  # a path to the file that has it
)
NO_VALUE_BARE = NO_VALUE + r"(?!(?:null|true|false|none)\b)"
_BARE = NO_VALUE_BARE + r"""[^\s"'\\,;&<>\[\](){}*][^\s"'\\,;&<>\[\](){}]*"""
# A colon in a sentence: a word follows, and another.
NOT_PROSE = r"(?! +[A-Za-z']{1,12}[.,;:!?]? +[A-Za-z])"


def assigned(key: str, *, before: str = "", bare: str = _BARE, colon: str = ":") -> tuple[str, ...]:
    r"""Patterns for `"key": "value"`, `key=value` and their like.

    In order: key and value in plain quotes (anything up to the closing one, escapes included); both in other
    quotes; only the value in plain quotes (its first character is none that can follow a closing quote, lest
    `"the secret:", "next"` loses its comma), or in others up to a comma; no quotes around the value. None
    runs over a plain quote, so JSON and CSV keep their shape.
    """
    equals = rf"[ \t]*(?:=>|=|%(?:25)*3d|{colon})[ \t]*"
    return (
        rf'(?:{key})"{equals}"{before}(?P<value>{NO_VALUE}(?:[^"\\\n]|\\.)+)',
        rf'(?:{key})(?P<q>{ODD_QUOTE}|\\+"{{2}}){equals}(?P=q){before}(?P<value>{NO_VALUE}(?:(?!(?P=q))(?:[^"\\\n]|\\++[^"\n]))+)',
        rf"""(?:{key}){equals}"{before}(?P<value>{NO_VALUE}(?![\s,}}\]:])[^"\\\n]+)""",
        rf"""(?:{key}){equals}(?P<q>{ODD_QUOTE}){before}(?P<value>{NO_VALUE}(?![\s,}}\]:])(?:(?!(?P=q))[^"\\\n,])+)""",
        rf'(?:{key})(?P<key_quote>{ODD_QUOTE}|"|){equals}{before}(?P<value>{bare})',
    )


def quoted(key: str) -> tuple[str, ...]:
    """As `assigned`, where the value stands in quotes or is a fraction in JSON."""
    return (
        *assigned(key)[:4],
        rf'(?:{key})(?P<key_quote>{ODD_QUOTE}|")[ \t]*:[ \t]*(?P<value>-?[0-9]{{1,3}}\.[0-9]+)',
    )


def listed(key: str) -> tuple[str, ...]:
    """A pattern for `["key", "value"]`, as raw headers are shown."""
    return (rf"""(?P<q>['"])(?:{key})(?P=q),[ \t]*b?(?P=q)(?P<value>{NO_VALUE}[^'",\\\n]+)(?=(?P=q))""",)


# Whatever has such a name is a secret …
KEYWORDS = (
    r"api[_-]?key|secret(?:[_-]?(?:access)?[_-]?(?:key|value|token))?(?:[_-]base)?|private[_-]?key(?:_id)?|passw(?:or)?d"
    r"|passphrase|pwd(?<![a-z]pwd)|(?:access|refresh|auth|id|session|[cx]srf|api|bearer|security)[_-]?token"
    r"|token(?:(?<![\w-]token)|(?<=%[0-9a-f]{2}token))"
)
# … and what has one of these, if it looks like one.
RANDOM_KEYWORDS = (
    r"(?:access|account|app(?:lication)?|client|consumer|deploy|encrypt(?:ion)?|hmac|ingest|jwt|licen[cs]e|master"
    r"|service|shared|sign(?:ing|ature)?|storage|subscription|user|webhook|write)[_.-]?(?:access)?[_.-]?key"
    r"|token(?<=[_-]token)|key(?==)(?<![\w.-]key)|credentials?|auth(?<![a-z]auth)|sig(?<![a-z]sig)|otp(?<![a-z]otp)"
    r"|hmac(?:-sha[0-9]+)?|pass(?<=[_-]pass)|pw(?<![a-z]pw)|signature|sess(?:ion)?(?:[_-]?id)?|connect\.sid|verifier|assertion"
)
# The end of such a name with what follows it.
KEYWORD_CLUE = (
    r"(?:key|key_base|token|value|secret|passw(?:or)?d|pwd|passphrase|credentials?|auth|signature|sig|otp|sess|session"
    r"|sess(?:ion)?[_-]?id|sessionid|connect\.sid|verifier|assertion|hmac|sha[0-9]{1,3}|pass|pw|key_id)"
    r"[\\\"' \t]{0,8}(?:[=:,>]|%)"
)
STRONG_PROSE = r"(?:passw(?:or)?d|passphrase|secret|token|(?:master|api|private|access)[ ._]key)"
OF_PERSON = r"(?:first|last|middle|full|given|family)_?name|(?:default_)?sender_name|website_url"
PERSON_CLUE = "(?:first|last|middle|full|given|family|sender)_?name|website_url"
OF_PLACE = (
    r"(?:address_?[12]|street(?:_?address)?|city|region|zip(?:_?code)?|postal_?code|latitude|longitude"
    r"|organi[sz]ation(?:_name)?)"
)
# The title of a person, not of an error or a page: in one object with what only profiles have.
_OF_PROFILE = r"""[\\"'](?:(?:first|last)_name|organi[sz]ation)[\\"']"""
_TITLE = r"""[\\"']title(?P<q>\\*["'])[ \t]*:[ \t]*(?P=q)"""
_TITLE_VALUE = rf"(?P<value>{NO_VALUE}(?:(?!(?P=q))(?:[^\"'\\\n]|\\++[^\"\n]))+)"
JOB_TITLES = (
    rf"{_OF_PROFILE}[^{{}}\n]{{0,400}}?{_TITLE}{_TITLE_VALUE}",
    rf"{_TITLE}{_TITLE_VALUE}(?=[^{{}}\n]{{0,400}}?{_OF_PROFILE})",
)
EDGE = r"(?:(?<=%[0-9a-f]{2})|(?<=\\[nrt])|(?<![A-Za-z0-9]))"
PHONE_NAMES = r"(?:phone|mobile)(?:[_ -]?(?:number|num|no))?"
SCHEME = r"(?:(?:klaviyo-api-key|bearer|basic|token|apikey)(?:[ \t]+|%20|\+))?+"
# Where a word may begin: not inside another, and not on the letter of an escape such as \n or %22.
START = (
    r"(?:(?<=\\[^u\\])|(?<=\\u[0-9a-f]{4})|(?<=\\u)(?![0-9a-f]{4})|(?<=%[0-9a-f]{2})|(?<=%)(?![0-9a-f]{2})"
    r"|(?<![\w.+%\\-]))"
)
AT = r"(?:@|%(?:25)*40|\\+u0040)"
# In JSON: beyond ASCII, and the + that .NET escapes.
_LETTER = r"\\+u(?:00(?:2b|[c-f][0-9a-f])|0[1-9a-f][0-9a-f]{2}|[3-9a-d][0-9a-f]{3})"
LOCAL = rf"(?:[\w.+-]|%(?:25)*(?:2[bde]|5f|c3%(?:25)*[0-9a-f]{{2}})|{_LETTER})"
DOMAIN = r"(?:[\w-]+\.)+[^\W\d_][\w-]*[^\W_]"

BREAK = r"(?:\s|\\+[nrt])"
PEM_BEGIN = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
