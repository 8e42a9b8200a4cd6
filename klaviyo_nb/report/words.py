"""Words for causes and failures, times and durations, and Markdown that stays text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

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

#: Cause → what would make it rarer, shorter or less harmful, and how one sees that it is done. Drafts: a
#: person owns them or strikes them.
ACTION_ITEMS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "klaviyo_outage": (
        (
            "Queue calls that fail, and replay them when Klaviyo is back",
            "a drill of an outage loses no event",
        ),
        (
            "Alert on our own failing calls, since the status page can lag by hours",
            "a drill raises the alert",
        ),
    ),
    "klaviyo_server_error": (
        (
            "Retry with backoff and a limit, and only what is safe to repeat",
            "a drill shows no call tried twice that is not",
        ),
        ("Set a timeout on every call to Klaviyo", "a call that hangs ends in a test"),
    ),
    "invalid_key": (
        (
            "Rehearse the rotation of the key, restart of every worker included",
            "a rotation ends without a 401",
        ),
        ("Alert on the first 401", "a drill with a wrong key raises the alert"),
    ),
    "missing_scope": (
        (
            "Keep the scopes each service needs beside its code, and check them at deploy",
            "a deploy with a key that lacks one stops",
        ),
        ("Alert on the first 403 from Klaviyo's application", "a drill with a narrow key raises the alert"),
    ),
    "rate_limited": (
        (
            "Give each job a share of the limit, and make it obey Retry-After",
            "the job's largest run meets no 429",
        ),
        ("Alert when more than half of a limit is used for five minutes", "a load test raises the alert"),
    ),
    "invalid_request": (
        (
            "Test what we send against the API revision in use, before deploy",
            "the request of this incident fails that test",
        ),
        (
            "Keep rejected payloads, redacted, so that they can be mended and sent again",
            "a rejected payload is found and sent",
        ),
    ),
    "endpoint_degraded": (
        (
            "Let the rest of the application work while one endpoint fails",
            "a drill with one endpoint failing shows it",
        ),
        ("Queue what that endpoint should have received", "the same drill loses nothing"),
    ),
    "network_unreachable": (
        (
            "Watch DNS, TLS and a keyless call to the API from where the application runs",
            "cutting the way out in a drill raises the alert",
        ),
        ("Write down who owns the way out: proxy, firewall, DNS", "the runbook names them"),
    ),
    "app_unhealthy": (
        (
            "Alert on the health endpoint before users notice",
            "a drill with an unwell application raises the alert",
        ),
        (
            "Find what made the application unwell, and limit it",
            "the limit is reached in a test, and it stays well",
        ),
    ),
    "webhook_endpoint_down": (
        (
            "Alert on silence of webhooks against what is usual at that hour",
            "a drill without the route raises the alert",
        ),
        ("Watch the certificate and the route from outside", "the watch reports a certificate near its end"),
    ),
    "resolved_or_intermittent": (
        ("Find out why it ended by itself, before it comes back", "the root cause above says why"),
        (
            "Alert earlier: it was over when somebody looked",
            "the same failures, played back, raise the alert",
        ),
    ),
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
    line = " ".join(harmless("" if text is None else str(text)).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return _MARKUP.sub(r"\\\g<0>", line)


def shortened(text: str, most: int = 34) -> str:
    """One line of `most` characters at most; the middle is what goes."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2]}…{line[-(most - most // 2 - 1) :]}"


def between(interval: Mapping[str, str]) -> str:
    """`between 2026-11-23 06:19:00 and 06:21:00 UTC`."""
    earliest, latest = parse_time(interval["earliest"]), parse_time(interval["latest"])
    if earliest == latest:
        return f"{stamp(earliest)} UTC"
    return f"between {stamp(earliest)} and {same_day(earliest, latest)} UTC"


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


def duration(document: Mapping[str, Any]) -> str | None:
    """How long the incident lasted, as far as it was seen; None if no onset was found."""
    onset, recovered = document.get("onset"), document.get("recovered")
    if not onset:
        return None
    began = parse_time(onset["earliest"]), parse_time(onset["latest"])
    if not recovered:
        return f"at least {length(parse_time(document['window']['end']) - began[1])}"
    least = length(parse_time(recovered["earliest"]) - began[1])
    most = length(parse_time(recovered["latest"]) - began[0])
    return least if least == most else f"{least} to {most}"


def number(count: int, noun: str) -> str:
    """`1 source`, `1,200 sources`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def share(part: float | None, whole: float | None) -> str | None:
    """`31%`; one decimal below ten; None if there is nothing to divide."""
    if part is None or not whole:
        return None
    ratio = 100 * part / whole
    return f"{ratio:.0f}%" if ratio >= 10 or ratio == 0 else f"{ratio:.1f}%"
