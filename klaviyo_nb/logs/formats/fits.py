"""Which values can stand under which key: of a status a number, of a time a date, whoever wrote them.

`keys` says what a key may carry; here is what it then must hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.logs.formats.patterns import OUR_CODES
from klaviyo_nb.logs.formats.times import epoch
from klaviyo_nb.logs.formats.values import level, status

_REQUEST = expression(r"[A-Z]{3,7} (?:/|https?://)\S*(?: HTTP/[\d.]+)?$")
_AMOUNT = expression(
    r"\d\d:\d\d:\d\d\.\d{7}|\d+(?:[.,]\d+)?(?:e-?\d+)? ?[a-zµ]{0,12}", re.ASCII | re.IGNORECASE
)
_TIMED = expression(r"[\d.]+ ?(?:ms|s)", re.ASCII)
_FRACTION = expression(r"\d{1,3}\.\d{1,9}", re.ASCII)
_STATUS = expression(
    r"(?:HTTP[ _-]?)?(?:[1-5]\d\d|(?:20\d|[34]\d\d|5[0-2]\d) [A-Z][a-z -]{1,40})", re.ASCII | re.IGNORECASE
)
_MOMENT = expression(
    r"/Date\(1|\d{4}-\d\d-\d\d[T ]\d\d:|\d\d?/[A-Z][a-z]{2}/\d{4}:|1\d{12}$|1\d{9}(?:\.\d+)?$", re.ASCII
)
_WHOLE_MOMENT = expression(
    r"(?:20\d\d-\d\d-\d\d|[0-3]\d[./][01]\d[./]20\d\d)[T ]\d\d:\d\d:\d\d(?:[.,]\d+)? ?(?:Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_LOUD_LEVELS = frozenset(("DEBUG", "INFO", "WARN", "WARNING", "ERR", "ERROR", "CRITICAL", "FATAL"))
_IDENTIFIER = expression(r"[A-Za-z_][\w.:$-]{1,80}", re.ASCII)
#: With a path: the host alone is what some gateway stands before.
_OURS = expression(r"a\.klaviyo\.com(?::\d+)?/+\w", re.ASCII)
_STREAMS = frozenset(("stdout", "stderr"))
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"))
_VERBS = METHODS | {"OPTIONS", "CONNECT", "TRACE"}


def is_ours(value: Any) -> bool:
    """Does it name Klaviyo's API? Such a URL wins over any other."""
    return isinstance(value, str) and "a.klaviyo.com" in value and _OURS.search(value) is not None


def _is_our_url(value: Any) -> bool:
    """Klaviyo's URL and nothing else, or a request of its catalogue."""
    return (is_ours(value) and " " not in value) or (_is_request(value) and is_known(value.split(" ")[1]))


def test_of(role: str, name: str) -> Callable[[Any], bool]:
    """What a value must be to be that field under a key of this name."""
    return _TESTS_OF_KEYS.get((role, name)) or _TESTS.get(role, _is_no_flag)


def _is_no_flag(value: Any) -> bool:
    return not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_request(value: Any) -> bool:
    return isinstance(value, str) and _REQUEST.match(value) is not None


def _is_request_or_path(value: Any) -> bool:
    return _is_request(value) or _is_path(value)


def _is_request_or_method(value: Any) -> bool:
    return _is_request(value) or (isinstance(value, str) and value.removeprefix("HTTP ") in METHODS)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value[:1] == "/" or is_ours(value))


def is_known(value: Any) -> bool:
    """Klaviyo's URL, or a path of its catalogue."""
    return is_ours(value) or (
        isinstance(value, str) and value[:1] == "/" and bool(catalogue().operations(value))
    )


def _is_method(value: Any) -> bool:
    return isinstance(value, str) and value.upper() in METHODS


def _is_verb(value: Any) -> bool:
    """A method of HTTP, of which Klaviyo's API takes some."""
    return isinstance(value, str) and value.upper() in _VERBS


def _is_our_operation(value: Any) -> bool:
    named = isinstance(value, str) and (value.startswith("klaviyo.") or catalogue().by_operation(value))
    return bool(named)


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_caller(value: Any) -> bool:
    """A name: not the stream or the file from which a collector took the line, nor what was asked."""
    if not isinstance(value, str) or value[:1] == "/" or value in _STREAMS or value == "a.klaviyo.com":
        return False
    if value.endswith(("-key", "-token", "-secret", "_key", "_token", "_secret")):
        return False
    return " " not in value or not _REQUEST.match(value)


def _is_level_beside(value: Any) -> bool:
    """A word that is no outcome."""
    return isinstance(value, str) and value.isalpha() and not value.lower().startswith("fail")


def _is_level(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 1 and level(value) is not None


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or str(value).isdigit()


def _is_status_code(value: Any) -> bool:
    """A number, or a name that ends in one: `KLAVIYO_HTTP_503`."""
    return _is_number(value) or ("HTTP_" in str(value) and status(value) is not None)


def _is_timed(value: Any) -> bool:
    return isinstance(value, str) and _TIMED.fullmatch(value) is not None


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalpha() and value.islower()


def _is_our_code(value: Any) -> bool:
    return value in OUR_CODES


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > len("2026-1-1")
    return isinstance(value, int | float) and not isinstance(value, bool) and epoch(value) is not None


def _is_span(value: Any) -> bool:
    """A number that is no time since 1970, or a fraction as a text."""
    if isinstance(value, str):
        return _FRACTION.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and epoch(value) is None


def is_amount(value: Any) -> bool:
    """A number, or one with a unit behind it, or as .NET writes a span."""
    return not isinstance(value, bool) and _AMOUNT.fullmatch(str(value)) is not None


def _is_whole_moment(value: Any) -> bool:
    return isinstance(value, str) and _WHOLE_MOMENT.fullmatch(value) is not None


def _is_loud_level(value: Any) -> bool:
    return isinstance(value, str) and value.isupper() and value in _LOUD_LEVELS


def _is_loud_span(value: Any) -> bool:
    return isinstance(value, str) and ("." in value or value.endswith("ms")) and _is_timed(value)


def _is_loud_method(value: Any) -> bool:
    return isinstance(value, str) and value in METHODS


def _is_moment(value: Any) -> bool:
    return _MOMENT.match(str(value)) is not None and _is_time(value)


def _is_machine(value: Any) -> bool:
    """Klaviyo's own name under such a key is that of the host which was called."""
    return not isinstance(value, bool) and not str(value).lower().endswith("klaviyo.com")


def _is_anything(value: Any) -> bool:
    return True


def _is_told_status(value: Any) -> bool:
    """A span's `ERROR` is none."""
    return status(value) is not None


def _is_status(value: Any) -> bool:
    return not isinstance(value, bool) and _STATUS.fullmatch(str(value)) is not None


#: Keys are shared between fields: `code` is a number for a status and a word for an error.
_TESTS_OF_KEYS: Mapping[tuple[str, str], Callable[[Any], bool]] = {
    ("status", "code"): _is_status_code,
    ("status", "error.code"): _is_status_code,
    ("status", "statuscode"): _is_told_status,
    ("level", "status"): _is_level_beside,
    ("level", "event"): _is_level,
    **{("duration", name): _is_timed for name in ("total", "t")},
    ("duration", "time"): _is_span,
    **{("duration", name): _is_number for name in ("lat", "tt")},
    ("operation", "name"): _is_our_operation,
    ("caller", "context"): _is_identifier,
    **{("timestamp", name): _is_moment for name in ("requesttime", "tm")},
    **{("status", name): _is_status
       for name in ["st", "sc", "rc", "resp", "result", "http", "answered", "response", "reply", "answer",
                    "rsp", "rs", "s", "c"]},
    **{("method", name): _is_request_or_method for name in ("name", "spanname")},
    ("method", "m"): _is_loud_method,
    **{("url", name): _is_request_or_path for name in ("request", "requestline", "req", "target")},
    **{("url", name): _is_our_url for name in ("op", "operation", "action")},
    **{("url", name): _is_path for name in ("resource", "resourcepath", "rawpath")},
}  # fmt: skip
#: Under a key without a name of its own only what cannot be anything else counts.
BY_ENDING: Mapping[str, Callable[[Any], bool]] = {
    "url": is_known, "method": _is_method, "status": _is_status, "timestamp": _is_moment,
    "duration": is_amount, "error_code": _is_our_code, "level": _is_level,
}  # fmt: skip
#: Field → what can stand under any key.
BY_VALUE: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("url", _is_our_url), ("method", _is_loud_method), ("duration", _is_loud_span),
    ("timestamp", _is_whole_moment), ("level", _is_loud_level),
)  # fmt: skip
_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "timestamp": _is_time,
    "error_code": _is_code,
    "outcome": _is_anything,
    "host": _is_machine,
    "base": is_ours,
    "method": _is_verb,
    "caller": _is_caller,
} | dict.fromkeys(
    ("text", "url", "operation", "topic", "revision", "request_id", "error_pointer", "sdk"),
    _is_text,
)
