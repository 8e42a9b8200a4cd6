"""Values as records write them, to the columns of the CALLS frame."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from klaviyo_nb.expressions import expression

_STATUS = expression(r"\s*(?:(?:[A-Z]{1,20}_){0,3}HTTP[/ _-][\d.]* ?)?0?([1-5]\d\d)\b")
#: `00:00:01.5` (.NET).
_CLOCK = expression(r"(?:0 days )?(\d\d?):(\d\d?):(\d\d(?:\.\d+)?)")
#: Units of time as they are written, the longer ones first.
UNIT = (
    r"(?:m(?:illi(?:second)?s?|secs?|s|icro(?:second)?s?|in(?:ute[sn]?|utos?|s)?)?|[µμ]s|us|n(?:ano(?:second)?s?|s)|"
    r"s(?:ec(?:onde?s?|s)?|ek(?:unden)?|egundos?)?|h(?:ours?|rs?)?|ミリ秒|毫秒|秒|分钟)"
)
_ONE = rf"\d+(?:\.\d+)? ?{UNIT}"
#: `1m1.5s` (Go), `2 minutes and 3 seconds`.
COMPOUND = rf"{_ONE}(?:(?:,? and |, | )?{_ONE})+"
#: `PT1M1.5S` (ISO 8601), `seconds=1, microseconds=5` (Python).
_COMPOUNDS = expression(rf"{COMPOUND}|PT(?:{_ONE})+|[a-z]+=\d+(?:, [a-z]+=\d+)*", re.I)
_PARTS = expression(rf"(\d+(?:\.\d+)?) ?({UNIT})|({UNIT})=(\d+)", re.I)
_AMOUNT = expression(rf"\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*({UNIT}\b)?", re.I)
_HAN = {"ミリ秒": "ms", "毫秒": "ms", "秒": "s", "分钟": "m"}
_UNITS = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "s": 1.0, "m": 60.0, "h": 3600.0}
_UUID = expression(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_PRODUCT = expression(r"[A-Za-z][\w.@-]{1,60}(?:/[\w.+-]{1,30})?", re.ASCII)
_REVISION = expression(r"20\d\d-\d\d-\d\d(?:\.pre)?")
#: Keys without a unit in their name that are seconds by their makers' documents (nginx, curl).
_IN_SECONDS = frozenset(("timetotal", "requesttime", "upstreamresponsetime", "totaltime", "elapsedtime",
                         "apptime", "reqtime", "rt", "urt", "durations"))  # fmt: skip
#: Endings of keys → unit; the longer ones first.
_ENDINGS = {"ms": "ms", "millis": "ms", "milli": "ms", "nano": "ns", "micro": "us",
            "milliseconds": "ms", "ns": "ns", "nanos": "ns", "us": "us",
            "micros": "us", "msecs": "ms", "msec": "ms", "usecs": "us", "usec": "us", "nsec": "ns",
            "seconds": "s", "secs": "s", "sec": "s", "s": "s"}  # fmt: skip
#: Behind the first number of what is no amount: a date, an address.
_DATED = frozenset("/:-")
_LONGEST_S = 7 * 86_400.0
_NUMBERS = {
    word: number
    for words in ("first second third fourth fifth", "one two three four five")
    for number, word in enumerate(words.split(), 1)
}
_WORDS = {
    "debug": "trace debug verbose silly v d trce dbug vrb dbg trc debu trac fine finer finest",
    "info": "info information notice log i n inf",
    "warning": "warn warning w wrn warnung avertissement advertencia aviso avviso",
    "error": "error err erro eror severe fail failure e fehler erreur errore fout",
    "critical": "crit critical fatal alert emerg emergency panic dpanic f fata pani ftl fault",
}
_LEVELS = {word: level for level, words in _WORDS.items() for word in words.split()}
#: OpenTelemetry's SeverityNumber counts four for each of trace, debug, info, warn, error, fatal.
_OTEL = ("debug", "debug", "info", "warning", "error", "critical")
#: Azure's SeverityLevel.
_SEVERITY = ("debug", "info", "warning", "error", "critical")
_SYSLOG = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_GOOD = frozenset(
    ("ok", "success", "succeeded", "successful", "true", "sent", "delivered", "accepted", "completed")
)
_BAD = frozenset(("error", "failed", "failure", "false", "rejected", "refused", "exception"))
#: Names of gRPC's errors that are nobody else's words: no status of HTTP.
_GRPC = frozenset(
    ("invalid_argument", "deadline_exceeded", "resource_exhausted", "failed_precondition", "unavailable",
     "unauthenticated", "data_loss", "unimplemented")
)  # fmt: skip


def status(value: Any) -> int | None:
    """100 to 599, or 0 where a client writes that for "no response"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if 100 <= value <= 599 or value == 0 else None
    found = _STATUS.match(value) if isinstance(value, str) else None
    return int(found[1]) if found else None


def good(value: Any) -> bool | None:
    """Did it work, in words?"""
    word = str(value).strip().lower()
    return True if word in _GOOD else False if word in _BAD or word in _GRPC else None


@lru_cache(1024)
def level(value: Any, key: str = "") -> str | None:
    """`debug` to `critical`, from a word or pino's, Monolog's, syslog's or (by its key) Azure's number."""
    text = str(value).strip().lower()
    if not text.isdecimal():
        return _LEVELS.get(text)
    if key == "sev":  # of LEEF ten is the worst, of syslog nought
        return None
    number = int(text[:6])
    if key == "severitylevel":
        return _SEVERITY[min(number, 4)]
    if key == "severitynumber":
        return _OTEL[min(max(number - 1, 0) // 4, 5)]
    if key == "levelno":  # Python's
        return _SEVERITY[min(max(number // 10 - 1, 0), 4)]
    if number < len(_SYSLOG):
        return _SYSLOG[number]
    steps = (29, 39, 49, 59) if number <= 60 else (199, 299, 399, 499)  # pino, else Monolog
    return ("debug", "info", "warning", "error", "critical")[sum(number > step for step in steps)]


def seconds(value: Any, key: str = "", unit: str | None = None) -> float | None:
    """A duration in seconds; the unit stands behind the number, in the key's name, or is told by the size.

    Without any unit: whole numbers are milliseconds, from 65,000 on microseconds, from a million
    on nanoseconds; fractions under ten seconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        return sum(float(part) * each for part, each in zip(clock.groups(), (3600, 60, 1), strict=True))
    if isinstance(value, str) and _COMPOUNDS.fullmatch(value):
        return sum(float(one or two) * _UNITS[_short(unit or name)]
                   for one, unit, name, two in _PARTS.findall(value))  # fmt: skip
    found = _AMOUNT.match(value) if isinstance(value, str) else None
    if isinstance(value, str) and (not found or value[found.end() : found.end() + 1] in _DATED):
        return None
    amount = float(found[1]) if found else float(value)
    named = unit or (found and found[2]) or _unit_of(key)
    factor = _UNITS.get(_short(named)) if named else None
    result = amount * (_guess(amount) if factor is None else factor)
    return result if 0 <= result <= _LONGEST_S else None


@lru_cache(1024)
def _unit_of(key: str) -> str | None:
    return (
        "s"
        if key in _IN_SECONDS
        else next((unit for end, unit in _ENDINGS.items() if key.endswith(end)), None)
    )


def _short(unit: str) -> str:
    unit = _HAN.get(unit, unit.lower())
    if unit[:3] in ("mic", "nan"):
        return "us" if unit[0] == "m" else "ns"
    if unit.startswith(("ms", "milli")):
        return "ms"
    return unit[:1] if unit[:1] in "smh" else unit.replace("μ", "µ")


def _guess(amount: float) -> float:
    if amount >= 65_000:  # see `seconds`
        return 1e-9 if amount >= 1_000_000 else 1e-6
    return 1.0 if amount < 10 and not amount.is_integer() else 1e-3


def uuid(value: Any) -> str | None:
    """`value` if it is a UUID."""
    return value if isinstance(value, str) and _UUID.fullmatch(value) else None


def revision(value: Any) -> str | None:
    """`value` if it is an API revision."""
    return value if isinstance(value, str) and _REVISION.fullmatch(value) else None


def product(value: Any) -> str | None:
    """First product of a User-Agent with its version: `klaviyo-api/25.0.0`."""
    head = _PRODUCT.match(value) if isinstance(value, str) else None
    return head[0] if head else None


def count(value: Any) -> int | None:
    """A small number, such as an attempt: `2`, `"2"`, `"2/5"`."""
    if isinstance(value, str) and value.lower() in _NUMBERS:
        return _NUMBERS[value.lower()]
    head = re.match(r"\s*(\d{1,3})\b", str(value))
    return int(head[1]) if head and not isinstance(value, bool) else None


def method(value: Any) -> str | None:
    """The method of a request: `POST`, or the first word of `POST /api/events`."""
    told = word(value)
    return told.removeprefix("HTTP ").partition(" ")[0] if told else None


def word(value: Any, most: int = 200) -> str | None:
    """A name as text, cut."""
    return (
        str(value).strip()[:most] or None
        if isinstance(value, str | int) and not isinstance(value, bool)
        else None
    )
