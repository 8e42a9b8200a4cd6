"""What a command starts with: the time, the window asked about, a redactor that knows this run's secrets."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import CLOCK_AHEAD
from klaviyo_nb.klaviyo.keys import usable
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window, iso, parse_duration, parse_time

if TYPE_CHECKING:
    from klaviyo_nb.settings import Settings

#: A window whose end is no older ends now: what is stamped later comes of a clock that is ahead.
ENDS_NOW = timedelta(seconds=5)
#: Logs are read from so long before the window on, or so large a part of it: was it under way at its start?
BEFORE, BEFORE_PART = timedelta(minutes=15), 1 / 4


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def window_of(settings: Settings, now: datetime) -> Window:
    """The window that the settings ask for: `start` and `end`, or the last `since`.

    Raises:
        UsageError: A time is malformed, or the window is empty, or has not begun.
    """
    end = parse_time(settings.end, "--end") if settings.end else now
    start = parse_time(settings.start, "--start") if settings.start else end - parse_duration(settings.since)
    window = Window(start, end)
    if start >= now:
        raise UsageError("--start", f"{iso(start)} lies in the future", "--since 2h")
    return window


def with_before(window: Window) -> Window:
    """The window from so early on as logs are read."""
    return Window(window.start - min(BEFORE, (window.end - window.start) * BEFORE_PART), window.end)


def to_read(window: Window, now: datetime) -> Window:
    """The span of logs that is read: a host's clock may be ahead, its newest lines lie in the future."""
    ahead = CLOCK_AHEAD if window.end >= now - ENDS_NOW else timedelta(0)
    return Window(with_before(window).start, window.end + ahead)


def redactor_for(settings: Settings) -> Redactor:
    """A redactor that knows this run's own secrets; its pseudonyms are this run's alone."""
    known = [
        each for each in (settings.private_key, usable(settings.private_key), settings.metrics_token) if each
    ]
    return Redactor(secrets.token_bytes(16), tuple(dict.fromkeys(known)), settings.ip_addresses)
