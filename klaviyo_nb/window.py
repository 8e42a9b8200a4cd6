"""`Window`: a half-open span of UTC time, and the texts people write for one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from klaviyo_nb.errors import UsageError
from klaviyo_nb.expressions import expression

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = expression(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, but not including, `end`; both aware, in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs aware datetimes")
        if self.end <= self.start:
            raise UsageError(
                "window",
                f"it is empty: {iso(self.start)} is not before {iso(self.end)}",
                "--since 2h",
            )

    @classmethod
    def last(cls, span: timedelta, now: datetime) -> Window:
        """The `span` that ends at `now`."""
        return cls(now - span, now)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def as_json(self) -> dict[str, str]:
        """`{"start": "…Z", "end": "…Z"}`, to the microsecond, so that reading it back gives this window."""
        return {"start": exact(self.start), "end": exact(self.end)}

    @classmethod
    def from_json(cls, data: dict[str, str]) -> Window:
        """Read back what `as_json` wrote."""
        return cls(parse_time(data["start"]), parse_time(data["end"]))


def iso(moment: datetime) -> str:
    """`2026-11-23T05:00:00Z`; fractions only where there are some, to the millisecond."""
    moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds").replace(
        "+00:00", "Z"
    )


def exact(moment: datetime) -> str:
    """As `iso`, with microseconds where there are some: what is written to be read back."""
    moment = moment.astimezone(UTC)
    if moment.microsecond % 1000 == 0:
        return iso(moment)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def whole_seconds(earliest: datetime, latest: datetime) -> tuple[datetime, datetime]:
    """The narrowest whole seconds that hold what lies between the two."""
    up = -timedelta(microseconds=latest.microsecond) % timedelta(seconds=1)
    return earliest.replace(microsecond=0), latest + up


def stamp(moment: datetime | str | None) -> str:
    """`2026-11-23 06:19:00`, in UTC; a dash if there is none."""
    if moment is None:
        return "–"
    at = parse_time(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def same_day(first: datetime, moment: datetime) -> str:
    """`moment` in UTC, without its date if that is the date of `first`."""
    text = stamp(moment)
    return text[11:] if text[:10] == stamp(first)[:10] else text


def parse_duration(text: str, where: str = "--since") -> timedelta:
    """Read `90s`, `15m`, `2h`, `1h30m`, `7d`.

    Raises:
        UsageError: It is not a duration, is zero, or is longer than a year.
    """
    compact, usual = text.strip().lower(), "2h" if where.lower().endswith("since") else "30s"
    parts = _PART.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s+", "", compact):
        hint = f"{_example(where, usual)}    (units: s, m, h, d, w)"
        if where == "--since" and _is_time(text):
            hint = f"--start {text.strip()}"
        raise UsageError(where, f"{text!r} is not a duration", hint)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0.001 <= seconds <= LONGEST.total_seconds():
        raise UsageError(where, f"{text!r} is not between 1 ms and a year", _example(where, usual))
    return timedelta(seconds=seconds)


def parse_time(text: str, where: str = "--start") -> datetime:
    """Read an ISO 8601 time; UTC unless it carries an offset.

    Raises:
        UsageError: It is not such a time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 or 9999 may have no UTC equivalent
        raise UsageError(
            where, f"{text!r} is not an ISO 8601 time", _example(where, "2026-11-23T05:00:00Z")
        ) from None


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except UsageError:
        return False
    return True


def _example(where: str, value: str) -> str:
    """What to type: a flag, a variable, or a line of the file."""
    if where.startswith("--"):
        return f"{where} {value}"
    return f"{where}={value}" if where.isupper() else f'{where.rpartition(": ")[2]} = "{value}"'
