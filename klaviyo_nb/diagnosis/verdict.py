"""`Verdict`: what was decided, why, and what could still be otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from klaviyo_nb.evidence import Gap
from klaviyo_nb.window import Window, iso

SCHEMA = "klaviyo-nb/verdict/1"

Cause = Literal[
    "klaviyo_outage",
    "klaviyo_server_error",
    "invalid_key",
    "missing_scope",
    "rate_limited",
    "invalid_request",
    "endpoint_degraded",
    "network_unreachable",
    "app_unhealthy",
    "webhook_endpoint_down",
    "resolved_or_intermittent",
    "healthy",
    "inconclusive",
]
Severity = Literal["P1", "P2", "P3", "P4"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A moment known to lie between two times."""

    earliest: datetime
    latest: datetime

    def as_json(self) -> dict[str, str]:
        """`{"earliest": "…Z", "latest": "…Z"}`."""
        return {"earliest": iso(self.earliest), "latest": iso(self.latest)}


@dataclass(frozen=True, slots=True)
class Step:
    """One question of the tree, as it was answered.

    Attributes:
        question: As a person would ask it.
        answer: The branch taken; `unknown` if nothing answered it.
        evidence: Where the answer comes from: `probes#auth`, `calls:status_code=429`.
        because: The figure or words that answered it.
    """

    question: str
    answer: str
    evidence: tuple[str, ...] = ()
    because: str = ""


@dataclass(frozen=True, slots=True)
class Advisory:
    """Something worth knowing that does not change the cause."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Rival:
    """A cause that is still possible beside the one named.

    Attributes:
        cause: Which.
        because: What keeps it alive.
        ask: What would tell it from the verdict, as an instruction.
    """

    cause: Cause
    because: str
    ask: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided from one body of evidence.

    Attributes:
        window: The span asked about.
        cause: One of `Cause`.
        certainty: `established` if every question on the path was answered, `tentative` if one was
            not, None for `inconclusive`.
        severity: None only for `healthy` without advisories and for `inconclusive`.
        severity_because: The figure that decided it.
        respond_by: When somebody must have responded; None without severity.
        summary: One sentence a manager can read.
        onset: When it began, or None if not observed.
        recovered: When it ended, or None if not observed to have ended.
        path: The questions asked, in order.
        rivals: Causes still possible.
        next_probe: What to ask next, as an instruction: it tells most rivals apart; None without rivals.
        advisories: Worth knowing, cause or not.
        gaps: What could not be seen.
        facts: What the decision was made from; unknown is None.
    """

    window: Window
    cause: Cause
    certainty: Literal["established", "tentative"] | None
    severity: Severity | None
    severity_because: str | None
    respond_by: datetime | None
    summary: str
    onset: Interval | None = None
    recovered: Interval | None = None
    path: tuple[Step, ...] = ()
    rivals: tuple[Rival, ...] = ()
    next_probe: str | None = None
    advisories: tuple[Advisory, ...] = ()
    gaps: tuple[Gap, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
