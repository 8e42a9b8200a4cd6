"""What is taken out of text, as data: one rule per kind of secret or personal datum, samples beside it.

To add a rule: its words, its patterns, samples that match and look-alikes that do not (they are its tests),
and a clue that finds its lines unless `CLUES` has one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing to take out.

    Attributes:
        name: As it appears in the replacement and in the counts.
        kind: `secret` becomes `[redacted:name]`, `pseudonym` becomes `name-` and 8 hex digits.
        words: Lower-case texts; a line with none of them cannot match.
        patterns: What to replace: the group `value` of each.
        accept: Says of a `value` whether it is one after all.
        spans_lines: The patterns are tried on the whole text.
        matches: Texts in which it must replace something.
        spares: Texts that all rules must leave as they are.
    """

    name: str
    kind: Literal["secret", "pseudonym"]
    words: tuple[str, ...]
    patterns: tuple[str, ...]
    accept: Callable[[str], bool] = bool
    spans_lines: bool = False
    matches: tuple[str, ...] = ()
    spares: tuple[str, ...] = ()


def _holds_colon(value: str) -> bool:
    """Is it `user:password` in base64?"""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _enough_digits(value: str) -> bool:
    return sum(character.isdigit() for character in value) >= 7


#: Last labels of names with an `@` that are no mail domain: images, archives, scripts, systemd units.
_NOT_DOMAINS = re.compile(
    r"(?:png|jpe?g|gif|svg|webp|css|m?js|tsx?|jsx|json|html|tgz|gz|whl|jar"
    r"|service|socket|slice|scope|timer|mount|device|target|swap|path)"
)


def _mail_domain(value: str) -> bool:
    return not _NOT_DOMAINS.fullmatch(value.rpartition(".")[2].lower())


# Another quote than a plain ": inside JSON, inside CSV, of Python, escaped once or more.
_ODD_QUOTE = r"""\\+["']|'|(?<!\\)"{2}"""
_NO_VALUE = r"(?!\[redacted:|\$[A-Za-z_{(]|[‹…]|/dev/stdin\b)"
_NO_VALUE_BARE = _NO_VALUE + r"(?!(?:null|true|false|none)\b)"
_BARE = _NO_VALUE_BARE + r"""[^\s"'\\,;&<>\[\](){}*][^\s"'\\,;&<>\[\](){}]*"""
# A colon in a sentence: a word follows, and another.
_NOT_PROSE = r"(?! +[A-Za-z']{1,12}[.,;:!?]? +[A-Za-z])"


def _assigned(key: str, *, before: str = "", bare: str = _BARE, colon: str = ":") -> tuple[str, ...]:
    r"""Patterns for `"key": "value"`, `key=value` and their like.

    In order: key and value in plain quotes (anything up to the closing one, escapes included); both in other
    quotes; only the value in quotes (its first character is none that can follow a closing quote, lest
    `"the secret:", "next"` loses its comma); no quotes around the value. None runs over a plain quote, so
    JSON and CSV keep their shape.
    """
    equals = rf"[ \t]*(?:=>|=|%3d|{colon})[ \t]*"
    return (
        rf'(?:{key})"{equals}"{before}(?P<value>{_NO_VALUE}(?:[^"\\\n]|\\.)+)',
        rf'(?:{key})(?P<q>{_ODD_QUOTE}|\\+"{{2}}){equals}(?P=q){before}(?P<value>{_NO_VALUE}(?:(?!(?P=q))(?:[^"\\\n]|\\++[^"\n]))+)',
        rf"""(?:{key}){equals}(?P<q>"|{_ODD_QUOTE}){before}(?P<value>{_NO_VALUE}(?![\s,}}\]:])(?:(?!(?P=q))[^"\\\n])+)""",
        rf'(?:{key})(?P<key_quote>{_ODD_QUOTE}|"|){equals}{before}(?P<value>{bare})',
    )


_KEYWORDS = (
    r"api[_-]?key|secret(?:[_-]?(?:access)?[_-]?(?:key|value|token))?|private[_-]?key|passw(?:or)?d"
    r"|passphrase|(?:access|refresh|auth|id|session|csrf|api|bearer)[_-]?token|(?<![\w-])token"
)
_PHONE_NAMES = r"(?:phone|mobile)(?:[_ -]?(?:number|num|no))?"
_SCHEME = r"(?:(?:klaviyo-api-key|bearer|basic|token|apikey)(?:[ \t]+|%20|\+))?+"
# Where a word may begin: not inside another, and not on the letter of an escape such as \n or %22.
_START = (
    r"(?:(?<=\\[^u\\])|(?<=\\u[0-9a-f]{4})|(?<=\\u)(?![0-9a-f]{4})|(?<=%[0-9a-f]{2})|(?<=%)(?![0-9a-f]{2})"
    r"|(?<![\w.+%\\-]))"
)
_AT = r"(?:@|%(?:25)*40|\\u0040)"
_LETTER = r"\\+u(?:00[c-f][0-9a-f]|0[1-9a-f][0-9a-f]{2}|[3-9a-d][0-9a-f]{3})"  # beyond ASCII, in JSON
_LOCAL = rf"(?:[\w.+-]|%(?:25)*(?:2[bde]|5f|c3%(?:25)*[0-9a-f]{{2}})|{_LETTER})"
_DOMAIN = r"(?:[\w-]+\.)+[^\W\d_][\w-]*[^\W_]"

_BREAK = r"(?:\s|\\[nrt])"
_PEM_BEGIN = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"

RULES: tuple[Rule, ...] = (
    Rule(
        "pem",
        "secret",
        ("-----begin",),
        (
            rf"(?P<value>{_PEM_BEGIN}(?:{_BREAK}+(?:Proc-Type|DEK-Info): [\w,-]+)*"
            rf"(?:[A-Za-z0-9+/=]|{_BREAK})*+-----END [A-Z ]{{0,40}}PRIVATE KEY-----)",
            rf"{_PEM_BEGIN}(?P<value>(?:{_BREAK}*[A-Za-z0-9+/]{{16,}}=*)+)",
        ),
        spans_lines=True,
        matches=(
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1c7\nq0w=\n-----END RSA PRIVATE KEY-----",
            '{"key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE KEY-----\\n"}',
        ),
        spares=("-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIE\n-----END CERTIFICATE-----",),
    ),
    Rule(
        "klaviyo-key",
        "secret",
        ("pk_",),
        (r"(?P<value>pk_[A-Za-z0-9_]{20,})",),
        matches=(
            "Authorization: Klaviyo-API-Key pk_4f1c0a9be27d83650f4e1b7a2c9d8e6f01",
            "key=pk_Zk3JtQ9LwXv2RbN7YcP5HsD8MfG4KaT6Ue",
            "pk_live_51HxyzABCDEFghijkl",
        ),
        spares=('{"prefix": "pk_", "length": 37}', "pk_****abcd", "duplicate key violates pk_orders"),
    ),
    Rule(
        "vendor-key",
        "secret",
        ("akia", "asia", "sk_", "eyj"),
        (
            r"(?P<value>(?-i:A[KS]IA[0-9A-Z]{16})|sk_(?:live|test)_\w{10,})",
            r"(?P<value>(?-i:eyJ)[\w-]{8,}\.(?-i:eyJ)[\w-]{8,}(?:\.[\w-]*)?)",
        ),
        matches=(
            "AKIAIOSFODNN7EXAMPLE",
            "sk_live_51HxyzABCDEFghijkl",
            "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        ),
        spares=("region asia-northeast1",),
    ),
    Rule(
        "url-credentials",
        "secret",
        ("://",),
        (r"""://(?P<value>(?!\[redacted:)[^\s/?#@,:"'\\<>]*:[^\s/?#@,"'\\<>]+)(?=@)""",),
        matches=("redis://app:s3cret@cache.example:6379/0",),
        spares=("https://a.klaviyo.com:443/api/profiles", "https://status.klaviyo.com/api/v2"),
    ),
    Rule(
        "authorization",
        "secret",
        ("authorization",),
        _assigned("authorization", before=_SCHEME),
        matches=(
            "Authorization: Bearer abcdef",
            '{"authorization": "Basic dXNlcg=="}',
            "'Authorization': 'Token 9f8e7d'",
            '"{""authorization"": ""x-y-z""}"',
        ),
        spares=(
            'curl -H "Authorization: Klaviyo-API-Key $KLAVIYO_PRIVATE_KEY"',
            "Missing or invalid authorization scheme. Please use Klaviyo-API-Key.",
        ),
    ),
    Rule(
        "bearer",
        "secret",
        ("bearer", "klaviyo-api-key"),
        (
            r"(?:bearer|klaviyo-api-key)(?:[ \t]+|%20|\+)"
            r"(?P<value>(?=[\w.~+/-]*[0-9])[\w.~+/-]{8,}=*|[A-Za-z]{24,})",
        ),
        matches=("sent Bearer 9f8e7d6c5b4a", "Bearer%20ya29.a0AfH6SMBx"),
        spares=("Www-Authenticate: Bearer, Klaviyo-API-Key", "bearer authentication failed"),
    ),
    Rule(
        "basic",
        "secret",
        ("basic",),
        (r"basic(?:[ \t]+|%20)(?P<value>[A-Za-z0-9+/]{8,}={0,2})",),
        accept=_holds_colon,
        matches=("proxy said Basic dXNlcjpwYXNzd29yZA==",),
        spares=("Basic authentication is disabled",),
    ),
    Rule(
        "cookie",
        "secret",
        ("cookie",),
        _assigned("cookie", bare=_NO_VALUE_BARE + r"""[^\s"'\\,{}\[\]][^"'\\,\n\r{}\[\]]*"""),
        matches=("Set-Cookie: __cf_bm=abc.123; path=/; HttpOnly", "{'set-cookie': '__cf_bm=abc; path=/'}"),
        spares=("Vary: Cookie, Accept-Encoding",),
    ),
    Rule(
        "secret",
        "secret",
        ("secret", "token", "passw", "passphrase", "apikey", "api_key", "api-key", "private"),
        _assigned(_KEYWORDS, colon=":" + _NOT_PROSE),
        matches=(
            "GET /api/v1/people?api_key=abcdef&page=2",
            '{"secret_key": "long enough webhook secret"}',
            '{"password": 12345678}',
            "webhook_secret: s3cr3t",
            'export KLAVIYO_PRIVATE_KEY="broken key"',
        ),
        spares=(
            "export KLAVIYO_PRIVATE_KEY=…",
            "--from-file=private-key=/dev/stdin",
            'kubectl create secret generic klaviyo --from-literal=KLAVIYO_PRIVATE_KEY="$NEW_KEY"',
            "klaviyo-nb.toml: private_key: a key does not belong in a file",
            '{"token": null, "tokens": 512, "next_token": 5}',
        ),
    ),
    Rule(
        "email",
        "pseudonym",
        ("@", "40"),
        (rf"{_START}(?P<value>{_LOCAL}+(?:{_AT}{_DOMAIN})+)",),
        accept=_mail_domain,
        matches=(
            "ann.lee@example.com",
            "filter=equals(email,%22ann%40example.com%22)",
            '{"text": "to:\\nann@example.com"}',
            "jürgen+shop@example.co.uk",
            "\\u003cann\\u0040example.com\\u003e",
        ),
        spares=("user@1000.service", "logo@2x.png", "lodash@4.17.21", "@app.route", '{"@timestamp": 1}'),
    ),
    Rule(
        "phone",
        "pseudonym",
        ("+", "2b"),
        (
            r"(?:(?<=%[0-9a-f]{2})|(?<![0-9.+]))(?<!:[0-9]{2} )(?<!\.[0-9]{3} )(?<!\.[0-9]{6} )"
            r"(?P<value>(?:\+|%2b|\\u002b)(?:[1-9][0-9]{7,14}"
            r"|[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9]{1,4}(?:[ .-][0-9]{2,8}){1,5}))(?!\w)",
        ),
        accept=_enough_digits,
        matches=(
            "+14155550100",
            "+44 20 7946 0958",
            "+49 170 1234567",
            "phone=%2B14155550100",
            "+1 (415) 555-0100",
        ),
        spares=(
            "2026-11-23 07:00:00 +1030 1000 2000",
            "2026-11-23T07:00:00+01:00",
            "1e+10",
            "[23/Nov +1000]",
        ),
    ),
    Rule(
        "phone",
        "pseudonym",
        ("-", "."),
        (
            rf"{_START}(?P<value>(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?[2-9][0-9]{{2}}-"
            r"|[2-9][0-9]{2}(?:-[2-9][0-9]{2}-|\.[2-9][0-9]{2}\.| [2-9][0-9]{2}-))[0-9]{4})(?![\w-]|\.[0-9])",
        ),
        matches=("call 415-555-0100", "(415) 555-0100", "415.555.0100"),
        spares=(
            "order 112-3456789-0123456",
            "10.100.200.30",
            "11111111-1111-4111-8111-222333444455",
            '"GET / HTTP/1.1" 200 512 1034',
        ),
    ),
    Rule(
        "phone",
        "pseudonym",
        ("phone", "mobile"),
        (
            rf'{_PHONE_NAMES}(?P<key_quote>{_ODD_QUOTE}|"|)[ \t]*(?:=>|[:=]|%3d)[ \t]*'
            rf'(?P<quote>{_ODD_QUOTE}|"|)'
            r"(?P<value>\+?(?:[0-9]{7,15}|[0-9(][0-9 ().-]{5,20}[0-9]))(?![\w.])",
        ),
        accept=_enough_digits,
        matches=('{"phone_number": "4155550100"}', '{"phone": 4155550100}', "mobile=447700900123"),
        spares=("1763881200123", "order 4000012345", "took 1234567 ms", '{"phone_number_id": 123456789}'),
    ),
)

#: Every line with something to take out holds one of these, but for literal secrets and PEM blocks. They look
#: through lower-case ASCII (anything else reads `?`). Each begins with a literal, rare where there was a
#: choice: that is what makes them fast, some 2 GB/s apiece, where one pattern for all would do 0.02.
CLUES = (
    rb"k(?:ey(?:(?<=apikey)|(?<=api[_-]key)|(?<=privatekey)|(?<=private[_-]key))|_(?:(?<=pk_)\w{20}|(?<=sk_)\w{10})"
    rb"|en(?<=token)|ie(?<=cookie)|ia[0-9a-z]{16}(?<=akia.{16}))",
    rb"asia[0-9a-z]{16}",
    rb"j(?<=eyj)[\w-]{8,}\.",
    rb"z(?<=authoriz)ation",
    rb"b(?:earer|asic[ %]|(?<=mob)ile)",
    rb"secret",
    rb"pass(?:w|phrase)",
    rb"phone",
    rb"@[\w?-]+[.:/?]",
    rb"%(?:25)*(?:40|2b[1-9])",
    rb"\\u00(?:40|2b)",
    rb"\+[1-9][\d .()-]{7}",
    rb"-(?:\d{3}-\d{4}(?!\d)|\d{4}(?!\d)(?<=[ )]\d{3}-\d{4}))",
    rb"\.\d{3}\.\d{4}(?!\d)",
)
