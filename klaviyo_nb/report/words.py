"""Words for causes and failures, times and durations, and Markdown that stays text. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from klaviyo_nb.lines import one_line
from klaviyo_nb.redact import harmless
from klaviyo_nb.window import parse_time, same_day, stamp

#: What a person calls each cause.
TITLES: Mapping[str, str] = {
    "klaviyo_outage": "Klaviyo outage, acknowledged by Klaviyo",
    "klaviyo_server_error": "Klaviyo answers with errors",
    "invalid_key": "API key not accepted",
    "missing_scope": "API key lacks a scope",
    "rate_limited": "Rate limited by Klaviyo",
    "invalid_request": "Klaviyo rejects our requests",
    "endpoint_degraded": "One Klaviyo endpoint fails",
    "network_unreachable": "Klaviyo cannot be reached from here",
    "app_unhealthy": "Our application is unwell",
    "webhook_endpoint_down": "Klaviyo's webhooks do not arrive",
    "resolved_or_intermittent": "Calls failed earlier, and succeed now",
    "healthy": "No incident found",
    "inconclusive": "Not enough seen to decide",
}

#: Kind of failure → what became of the data in the call.
OUTCOMES: Mapping[str, str] = {
    "throttled": "were throttled: refused, they can be sent again once the limit frees",
    "unauthorized": "were not authenticated: refused, they can be sent again with a valid key",
    "forbidden": "were forbidden: refused, they can be sent again once the key may",
    "invalid": "were rejected: refused, they fail again unless what is sent changes",
    "server": "met errors or silence: Klaviyo may have taken them, only idempotent ones are safe to repeat",
    "unreachable": "did not reach Klaviyo, as far as can be told: they can be sent again",
}

#: Milestone that only a person can tell, as a kind of note → what to ask of it.
MILESTONES: Mapping[str, str] = {
    "detected": "time, and what raised it",
    "acknowledged": "time, and by whom",
    "cause_found": "time",
    "mitigated": "time, and by which change",
    "restored": "time",
    "stable": "time, and how",
}

#: What means something in Markdown in the middle of a line; others' words never begin one.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.")


def badge_and_tone(cause: str, severity: str | None) -> tuple[str, str]:
    """The word that stands for the severity, and the colour's class in the style sheet."""
    if severity:
        return severity, severity.lower()
    return {"healthy": ("Healthy", "good"), "inconclusive": ("Undecided", "none")}.get(
        cause, ("No severity", "none")
    )


def plain(text: object, most: int = 600) -> str:
    """What others wrote, as one line of Markdown that is nothing but text: no markup, link, image or HTML."""
    line = one_line(harmless("" if text is None else str(text)), most)
    return _MARKUP.sub(r"\\\g<0>", line)


def shortened(text: str, most: int = 34) -> str:
    """One line of `most` characters at most; the middle is what goes."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2]}…{line[-(most - most // 2 - 1) :]}"


def told_apart(texts: Sequence[str], most: int) -> list[str]:
    """Each shortened; where that makes two of them alike, without most of what all begin with."""
    short = [shortened(text, most) for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    shared = min(map(len, texts))
    differ = next((at for at in range(shared) if len({text[at] for text in texts}) > 1), shared)
    left_out = max(0, differ - most // 3)
    return [shortened(f"…{text[left_out:]}" if left_out else text, most) for text in texts]


def between(interval: Mapping[str, str]) -> str:
    """`between 2026-11-23 06:19:00 and 06:21:00 UTC`."""
    earliest, latest = parse_time(interval["earliest"]), parse_time(interval["latest"])
    if earliest == latest:
        return f"{stamp(earliest)} UTC"
    return f"between {stamp(earliest)} and {same_day(earliest, latest)} UTC"


def to_the_second(span: timedelta) -> str:
    """`54 s`, `5 min 54 s`, `2 h 05 min 00 s`: as the moments that it lies between are told."""
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min {seconds:02} s"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def length(span: timedelta) -> str:
    """`45 s`, `41 min`, `2 h 05 min`, `3 d 4 h`."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def length_between(least: timedelta, most: timedelta) -> str:
    """`24 min to 27 min`: no shorter than the one and no longer than the other, which is rounded up.

    What is known exactly is told to the second, up to two hours: `4 min 30 s`.
    """
    minutes, rest = divmod(round(least.total_seconds()), 60)
    if least == most and 2 <= minutes < 120 and rest:
        return f"{minutes} min {rest:02} s"
    seconds = most.total_seconds()
    unit = 1 if seconds < 120 else 60 if seconds < 48 * 3600 else 3600
    low, high = length(least), length(timedelta(seconds=unit * math.ceil(seconds / unit)))
    return low if low == high else f"{low} to {high}"


def duration(document: Mapping[str, Any]) -> str | None:
    """How long the incident lasted, as far as it was seen; None if no onset was found."""
    onset, recovered = document.get("onset"), document.get("recovered")
    if not onset:
        return None
    began = parse_time(onset["earliest"]), parse_time(onset["latest"])
    if not recovered:
        return f"at least {length(parse_time(document['window']['end']) - began[1])}"
    over = parse_time(recovered["earliest"]), parse_time(recovered["latest"])
    return length_between(over[0] - began[1], over[1] - began[0])


def share(part: float | None, whole: float | None) -> str | None:
    """`31%`; one decimal below ten; `under 0.1%`; None if there is nothing to divide."""
    if part is None or not whole:
        return None
    ratio = 100 * part / whole
    if 0 < ratio < 0.05:
        return "under 0.1%"
    return f"{ratio:.0f}%" if ratio >= 10 or ratio == 0 else f"{ratio:.1f}%"
