"""Timestamps as logs write them, to microseconds since 1970 UTC.

A time without an offset is taken for UTC. A syslog time carries no year: it gets the one that brings it
nearest to a given moment, so that lines of December read in January are right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.coded import distinct

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FRACTION = r"(?:(?:[.,]|:(?=\d{3}\b))(?P<f>\d{1,9}))?"
_CLOCK = rf"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d){_FRACTION}"
_HALF = r"(?: ?(?P<half>[APap]\.?[Mm])\b)?"
#: Seconds may be missing.
_CLOCK_12 = rf"(?P<h>\d\d?):(?P<mi>\d\d)(?::(?P<s>\d\d){_FRACTION})?(?![\d:]){_HALF}"
_OF_YEAR = r"(?!000)(?:[0-2]\d\d|3[0-5]\d|36[0-6])"
#: Names of zones that stand for one offset in the logs of our time [hours].
_HOURS = {
    "CET": 1,
    "CEST": 2,
    "EET": 2,
    "EEST": 3,
    "BST": 1,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "PST": -8,
    "PDT": -7,
    "JST": 9,
    "AEST": 10,
    "AEDT": 11,
}
_ZONE = (
    rf"(?: ?\(?(?P<z>(?:(?:UTC|GMT) ?)?[+-]\d\d(?::?\d\d)?|Z|UTC|GMT|{'|'.join(_HOURS)}|"
    r"[A-Z][a-z]{2,10}/[A-Z]\w{2,20})(?![\w:-])\)?)?"
)
_NAMED = (
    r"(?P<mon>(?=[JFMASONDjfmasond][aepucoAEPUCO])"
    rf"(?i:{'|'.join(_MONTHS)}))[A-Za-z]*\.?"
)
#: Shapes that hold a whole time, the commonest first; each has groups y, m or mon, d, h, mi, s, f, z.
SHAPES = tuple(
    expression(shape, re.ASCII)
    for shape in (
        r"(?P<y>\d{4})[-/.:](?P<m>\d\d)[-/.:](?P<d>\d\d)(?:\]\[|\",\"|[T_;|,\t -]\s?(?:[|-] )?)"
        rf"{_CLOCK}{_HALF}{_ZONE}",
        rf"(?<!\d)(?P<d>\d\d?)[/. -]{{1,2}}{_NAMED}[/ -](?P<y>\d{{4}}|[23]\d)(?:,? |:):?{_CLOCK}{_ZONE}",
        rf"(?<!20\d\d ){_NAMED} +(?P<d>\d\d?),? {_CLOCK}{_HALF}"
        rf"(?:(?: (?P<z2>[A-Z]{{3,4}}))? (?P<y>\d{{4}})\b)?{_ZONE}",
        rf"(?P<y>\d{{4}})(?P<m>\d\d)(?P<d>\d\d)(?:[T;|,-]?|(?<=^20\d{{6}}) )"
        rf"(?P<h>\d\d)(?P<mi>\d\d)(?P<s>\d\d){_FRACTION}{_ZONE}\b",
        r"(?P<y>20\d\d)-(?P<m>\d\d)-(?P<d>\d\d)[-T ](?P<h>\d\d)[.-](?P<mi>\d\d)[.-](?P<s>\d\d)"  # DB2
        rf"{_FRACTION}{_ZONE}",
        rf"\b[IWEFDN](?P<m>[01]\d)(?P<d>[0-3]\d) {_CLOCK}",  # klog
        rf"(?:(?P<m>\d\d?)[/-](?P<d>\d\d?)[/-]|{_NAMED} (?P<d2>\d\d?),? |(?P<d3>[0-3]\d)\.(?P<m2>[01]\d)\.)"
        rf"(?P<y>\d{{4}})(?:(?:,| @| at)? |\",\"){_CLOCK_12}{_ZONE}",
        # PHP's hours of one digit, a mainframe's day of the year.
        r"(?P<y>20\d\d)(?:[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)(?:[T ]|, | at )|(?P<m2>\d\d)(?P<d2>\d\d)[ -]|"
        rf"[-./]?(?P<of_year>{_OF_YEAR})[T ]|[ -]{_NAMED}[ -](?P<d3>\d\d?),? ){_CLOCK_12}{_ZONE}",
        r"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?,? (?:on )?(?:"  # Resque, Charles
        r"(?P<y>20\d\d)[./-](?P<m>\d\d)[./-](?P<d>\d\d)|(?P<d2>\d\d?)[./-](?P<m2>\d\d?)[./-](?P<y2>20\d\d)|"
        rf"(?P<d3>\d\d?) {_NAMED} (?P<y3>20\d\d))\b",
        rf"\b(?P<d>\d\d?)[ /-]{_NAMED} {_CLOCK_12}(?:(?: (?P<z2>[A-Z]{{3,4}}))? (?P<y>\d{{4}})\b)?",
        rf"(?<![\d:.-])(?P<y2>[23]\d)(?P<m>[01]\d)(?P<d>[0-3]\d) {_CLOCK}",  # Tornado, MySQL
        # Three numbers of which any may be the year: Spark's, AS/400's, Outlook's.
        rf"(?<![\w/.-])(?P<any>[0-3]\d[/.-][0-3]\d[/.-][0-3]\d),?\s{{1,2}}{_CLOCK_12}{_ZONE}",
        rf"(?<![\w/.-])(?P<m>[01]\d)-(?P<d>[0-3]\d) {_CLOCK}",  # Android's, which has no year
    )
)
#: ISO 8601, to its last digit that may differ; and its zone.
_ALIKE = expression(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TENS = 10 ** np.arange(7, -1, -1)
_EPOCH = expression(
    r"(?:(?P<told>(?:[tT]ime|[dD]ate|\bts)\w{0,10}\]?\s{0,3}(?:=>|[:=])\s{0,3}[\"']?)|(?<![\w.:-]))"
    r"(?P<epoch>1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?)(?![\w.:-])",
    re.ASCII,
)
#: What stands before a time that is not that of the record.
_LATER = expression(
    r"(?:\b|_)(?:retry|next|until|expir|after|reset|since|again|from|to|between|before|last|previous|schedul|due|valid|deadline|"
    r"updated|created|modified|greater|less|newer|older|cursor|bookmark|watermark|window|birth|revision|version|of|for)"
    r"\w*(?:[^\w\n,;]{0,4}[A-Za-z_]{1,20}){0,2}[^\w\n,;]{0,4}$",
    re.IGNORECASE,
)
#: In queries there are times, too.
_DATED_ELSEWHERE = expression(r"https?://[^\s\"'`<>]+|\b(?![A-Z]\w*(?:Date|Time)\()[A-Za-z_-]\w*\([^)\s]*\)")
_MOST_DATED = 2_000
#: The shapes behind the first ones all have a clock with colons.
_COMMON, _COLONS = 5, 1
_AMBIGUOUS_WITHOUT_MARK = 60
_OF_A_YEAR = frozenset(("y", "any"))
_DAY = timedelta(days=1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_PLAIN = _EPOCH_UTC.replace(tzinfo=None)
_FIRST, _LAST = 946_684_800, 4_102_444_800  # 2000 and 2100: a number outside is no time of a log line


def of(value: Any, near: datetime) -> int | None:
    """Read a time given as text or number; None if it is none.

    Args:
        value: ISO 8601 and its relatives, or seconds, milliseconds, microseconds or nanoseconds since 1970.
        near: For times without a year.

    >>> of("2026-11-23 05:00:00,250", datetime(2026, 11, 23, tzinfo=UTC))
    1795410000250000
    >>> of(1795410000250, datetime(2026, 11, 23, tzinfo=UTC))
    1795410000250000
    """
    if isinstance(value, str):
        number = value.isdecimal()  # 1795050200050 is not 00:50 on 2 May 1795
        told = (_epoch_text(value) or _iso(value)) if number else (_iso(value) or _epoch_text(value))
        return told or (found[0] if (found := search(value, near)) else None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return epoch(value)


def instant(value: Any) -> int | None:
    """A time that does not depend on another: a number since 1970, as number or text, or ISO 8601."""
    if isinstance(value, str):
        return _epoch_text(value) or _iso(value)
    return epoch(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def in_columns(letters: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """`of` all times at once, in ASCII, a row of letters each; None if not all are alike, in ISO 8601."""
    first = letters[0].tobytes().decode("ascii", "replace")
    shape = _ALIKE.fullmatch(first)
    if shape is None:
        return None
    fixed = [at for at, char in enumerate(first) if not char.isdigit() or at >= shape.end(1)]
    if (letters[:, fixed] != letters[0, fixed]).any():
        return None
    digits = letters[:, [at for at in range(shape.end(1)) if first[at].isdigit()]].astype(np.int64) - ord("0")
    if ((digits < 0) | (digits > 9)).any():
        return None
    days, of_day = distinct(digits[:, :8] @ _TENS[-8:])
    hours, minutes, seconds = (digits[:, at] * 10 + digits[:, at + 1] for at in (8, 10, 12))
    if hours.max() > 23 or minutes.max() > 59 or seconds.max() > 59:
        return None
    try:
        ordinals = [date(day // 10_000, day // 100 % 100, day % 100).toordinal() for day in days.tolist()]
        zone = datetime.fromisoformat(first).utcoffset() or timedelta()
    except ValueError:
        return None
    midnights = np.array(ordinals, dtype=np.int64)[of_day] - date(1970, 1, 1).toordinal()
    fraction = digits[:, 14:20]
    micros = fraction @ _TENS[-6:][: fraction.shape[1]]
    since: np.ndarray[Any, Any] = ((midnights * 24 + hours) * 60 + minutes) * 60 + seconds
    since = since - zone.days * 86_400 - zone.seconds
    moments: np.ndarray[Any, Any] = since * 1_000_000 + micros
    return moments


def search(text: str, near: datetime) -> tuple[int, int, int] | None:
    """The first time in `text`, with where it begins and ends."""
    for shape in SHAPES if text.count(":") >= _COLONS else SHAPES[:_COMMON]:
        if not (found := shape.search(text)):
            continue
        moment = _iso(found[0]) if shape is SHAPES[0] else None
        if moment is None:
            moment = _moment(found, near)
        if moment is not None:
            return moment, found.start(), found.end()
    if (found := _EPOCH.search(text)) and (found["told"] or found.start() < _AMBIGUOUS_WITHOUT_MARK):
        moment = _epoch_text(found["epoch"])
        return (moment, found.start("epoch"), found.end()) if moment is not None else None
    return None


def told(text: str, near: datetime) -> tuple[int, int, int] | None:
    """The first time that is not of something else, such as of the next run."""
    left, cut = _DATED_ELSEWHERE.sub(_blank, text[:_MOST_DATED]), 0
    while found := search(left[cut:], near):
        moment, begin, end = found[0], found[1] + cut, found[2] + cut
        if not _LATER.search(left[max(0, begin - 60) : begin]):
            return moment, begin, end
        cut = end
    return None


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def epoch(number: float) -> int | None:
    """Since 1970, in the unit that puts it between 2000 and 2100."""
    for unit in (1_000_000, 1_000, 1):
        if _FIRST * 1_000_000 <= number * unit < _LAST * 1_000_000:
            return int(number * unit) if isinstance(number, int) else round(number * unit)
    nanoseconds = number / 1000
    return int(nanoseconds) if _FIRST * 1_000_000 <= nanoseconds < _LAST * 1_000_000 else None


def _iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _micros(moment) if len(text) > len("2026-11-23") else None


def _epoch_text(text: str) -> int | None:
    if text.startswith("/Date("):  # .NET's JSON
        text = text[6:].partition(")")[0]
    if not text[:1].isdigit():
        return None
    try:
        return epoch(int(text) if text.isascii() and text.isdigit() and len(text) < 20 else float(text))
    except (ValueError, OverflowError):
        return None


def _moment(found: re.Match[str], near: datetime) -> int | None:
    """The moment that a shape found; of a date that can be read in several ways the one nearest to `near`."""
    part = {name.rstrip("23"): value for name, value in found.groupdict().items() if value}
    hour = int(part["h"])
    if "half" in part:
        hour = hour % 12 + (12 if part["half"][0] in "pP" else 0)
    seconds, micros = int(part.get("s", 0)), int(part.get("f", "0").ljust(6, "0")[:6])
    moments = []
    for year, month, day in _dates(part, near, found[0][1:3]):
        try:
            moments.append(
                datetime(year, month, day, hour, int(part["mi"]), seconds, micros, _zone(part.get("z")))
            )
        except ValueError:
            continue
    if not moments:
        return None
    moment = min(moments, key=lambda each: abs(each - near))
    return _micros(moment if part.keys() & _OF_A_YEAR else _nearest(moment, near))


def _dates(part: Mapping[str, str], near: datetime, head: str) -> list[tuple[int, int, int]]:
    """Year, month and day, in all ways they can be meant; `head` has a mark if the year stands last."""
    if "any" in part:
        one, two, three = map(int, re.split(r"\D", part["any"]))
        return [(2000 + one, two, three), (2000 + three, two, one), (2000 + three, one, two)]
    year, day = int(part.get("y", near.year)), int(part.get("d", 1))
    year += 2000 if year < 100 else 0
    if "of_year" in part:
        first = date(year, 1, 1) + timedelta(int(part["of_year"]) - 1)
        return [(year, first.month, first.day)]
    month = int(part["m"]) if "m" in part else _MONTHS.index(part["mon"].lower()) + 1
    either = "m" in part and "y" in part and {*head} & {"/", "-"}  # 3/11 or 11/3
    return [(year, month, day), (year, day, month)] if either or month > 12 else [(year, month, day)]


def _zone(text: str | None) -> tzinfo:
    text = (text or "").removeprefix("UTC").removeprefix("GMT").lstrip()
    if "/" in text:
        return _place(text)
    if text[:1] not in ("+", "-"):
        return timezone(timedelta(hours=_HOURS.get(text, 0)))
    hours, minutes = int(text[1:3]), int(text[-2:]) if len(text) > 3 else 0
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


@lru_cache(64)
def _place(name: str) -> tzinfo:
    """The zone of a place, as PHP names it; UTC if nobody knows it."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return UTC


def _nearest(moment: datetime, near: datetime) -> datetime:
    for year in (near.year, near.year - 1, near.year + 1):
        try:
            candidate = moment.replace(year=year)
        except ValueError:  # 29 February of another year
            continue
        if abs(candidate - near) < 183 * _DAY:
            return candidate
    return moment


def _micros(moment: datetime) -> int:
    """Since 1970; a time without an offset is UTC."""
    since = moment - (_EPOCH_UTC if moment.tzinfo else _EPOCH_PLAIN)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
