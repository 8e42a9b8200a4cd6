"""Rate-limit headers, as they have been seen on recorded answers.

`RateLimit-Limit` names the quota that binds, then every window: `75, 75;w=1, 750;w=60`. `RateLimit-Remaining`
and `RateLimit-Reset` are about the binding one, which is mostly the window of one second, so that 0 left is
normal on a small endpoint. None of the three comes with a 401 or a 429; a 429 has `Retry-After` instead.

Source:
    https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling, and recorded answers, which win.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from klaviyo_nb.expressions import expression

#: Length of the windows in which Klaviyo counts calls [s], and what people call them.
WINDOWS = {1: "second", 60: "minute", 86_400: "day"}
#: Share of a limit that leaves room for other integrations of the account and for bursts.
MARGIN = 0.8

_NUMBER = expression(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_ITEM = expression(r"(\d{1,9})\s*((?:;[^,;]*)*)", re.ASCII)
_WINDOW = expression(r";\s*w\s*=\s*(\d{1,9})\s*(?=;|$)", re.ASCII)

#: The header as loggers of all kinds write it.
_QUOTED = expression(r"ratelimit-limit['\"]?\s*[:=,]\s*['\"]?([0-9][0-9;w=, ]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a `RateLimit-Limit` header says.

    Attributes:
        binding: The number named first: calls allowed in the window that `RateLimit-Remaining` is about.
        windows: Length of the window [s] → calls allowed in it; windows of no length are left out.
    """

    binding: int
    windows: Mapping[int, int]

    @property
    def binding_window_s(self) -> int | None:
        """Length of the binding window [s]; None if no window has that number, as in `0, 700, 75;w=1, …`."""
        return min((length for length, limit in self.windows.items() if limit == self.binding), default=None)


class Pace(NamedTuple):
    """What stays below the margin of a limit.

    Attributes:
        concurrency: Calls at once, by Little's law: rate times duration; None: below one, or not known.
        pause_s: Between the starts of two calls [s].
    """

    concurrency: int | None
    pause_s: float


def pace(limit: int, window_s: int, p50_s: float | None) -> Pace:
    """The pace at which a window is filled up to the margin.

    Args:
        limit: Calls allowed in a window.
        window_s: Its length [s].
        p50_s: Median duration of a call [s], if it is known.
    """
    at_once = int(MARGIN * limit / window_s * p50_s) or None if p50_s else None
    return Pace(at_once, round(window_s / (MARGIN * limit), 3))


def parse_limit(header: str | None) -> RateLimit | None:
    """Read a `RateLimit-Limit` header; None if it is missing or of another form.

    >>> parse_limit("75, 75;w=1, 750;w=60")
    RateLimit(binding=75, windows={1: 75, 60: 750})
    """
    items = [_ITEM.fullmatch(item.strip()) for item in (header or "").split(",")]
    if items[0] is None:
        return None
    windows: dict[int, int] = {}
    for item in items:
        window = _WINDOW.search(item[2]) if item else None
        if item and window and int(window[1]):
            windows.setdefault(int(window[1]), int(item[1]))
    return RateLimit(int(items[0][1]), windows)


def limit_in(text: str) -> str | None:
    """The `RateLimit-Limit` header that a line of a log quotes.

    >>> limit_in("headers: {'RateLimit-Limit': '75, 75;w=1, 750;w=60'}")
    '75, 75;w=1, 750;w=60'
    """
    found = _QUOTED.search(text)
    return found[1].strip(" ,") if found else None


def seconds(retry_after: str | None, now: datetime | None) -> float | None:
    """Read a `Retry-After` header: seconds, or a date.

    Args:
        retry_after: The header.
        now: The time by the clock of who sent it (its `Date`); None: a date cannot be read.

    Returns:
        Seconds to wait, never negative; None if the header is missing or of another form.
    """
    text = (retry_after or "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    then = http_date(text)
    return max(0.0, (then - now).total_seconds()) if then and now else None


def http_date(text: str | None) -> datetime | None:
    """Read an HTTP date such as `Mon, 23 Nov 2026 07:00:00 GMT`; None if it is missing or of another form."""
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def shortest_window_s(retry_after_s: float) -> int:
    """The shortest window [s] that explains a `Retry-After`: 1, 60, or 86400 for a daily cap.

    A longer one may be exhausted too: near its end every window frees soon.
    """
    return 1 if retry_after_s <= 1 else 60 if retry_after_s <= 60 else 86_400
