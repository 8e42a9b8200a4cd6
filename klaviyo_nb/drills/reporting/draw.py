"""What the plots of the reporting worlds draw their figures from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klaviyo_nb.drills.reporting.shop import Part, application
from klaviyo_nb.drills.reporting.story import Fault, Plot, Post, endpoint

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Severity

LOGS = frozenset({"logs", "health", "webhook"})
METRICS = frozenset({"metrics", "health", "webhook"})
BOTH = LOGS | METRICS
#: How a Klaviyo that is in trouble answers, if at all.
TROUBLES: tuple[Mapping[str, float], ...] = (
    {"unavailable": 6, "error": 3, "edge_502": 1},
    {"edge_520": 4, "edge_522": 3, "edge_525": 3},
    {"hang": 6, "edge_524": 2, "unavailable": 2},
    {"error": 1},
    {"edge_503": 1},
    {"reset": 5, "edge_502": 5},
)
_ACKNOWLEDGED: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("API 503 Errors", {"Klaviyo API": "major_outage"}),
    ("Elevated error rates", {"Klaviyo API": "partial_outage"}),
    ("Klaviyo API degraded", {"Klaviyo API": "degraded_performance", "Signup Forms": "partial_outage"}),
    ("Elevated API error rates", {}),
    ("All Klaviyo services are unavailable", {}),
)
_UNRELATED = (
    ("Delays in campaign sending", "Campaign Email Sending"),
    ("Flow emails are sent late", "Flow Email Sending"),
    ("SMS messages not delivered in the US", "SMS Sending"),
    ("Reviews do not show", "Reviews"),
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Chance, between the two ends of a window [s since the epoch]."""

    rng: random.Random
    start: float
    end: float

    def app(
        self, least: int = 250, most: int = 2200, kind: str | None = None, hosts: int | None = None
    ) -> tuple[Part, ...]:
        """An application of that many calls in two hours."""
        calls = least * (most / least) ** self.rng.random() * (self.end - self.start) / 7200
        return application(self.rng, round(calls), kind, hosts)

    def ago(self, least_min: float, most_min: float | None = None) -> float:
        """A moment so many minutes before the end; without `most_min`, anywhere since before the start."""
        most = (self.end - self.start) / 60 + 8 if most_min is None else most_min
        return self.end - 60 * self.rng.uniform(least_min, most)

    def signals(self) -> frozenset[str]:
        """Logs, metrics or both."""
        return self.rng.choices((BOTH, LOGS, METRICS), (5, 4, 2))[0]

    def with_logs(self) -> frozenset[str]:
        """Logs, for what the metrics cannot tell."""
        return self.rng.choice((LOGS, BOTH))

    def everything(self, answers: Mapping[str, float], least_min: float = 4) -> tuple[Fault, Severity]:
        """A fault of all calls: nearly each of them fails, or a part."""
        since = self.ago(least_min)
        if self.rng.random() < 0.5:
            return Fault(answers, since, share=self.rng.choice((1.0, 1.0, 0.99))), "P1"
        cycle = self.rng.choice((None, self.rng.uniform(40, 150)))
        return Fault(answers, since, share=self.rng.uniform(0.15, 0.7), cycle_s=cycle), "P2"

    def some(self, parts: tuple[Part, ...], count: int) -> frozenset[str]:
        """Operations of an application."""
        names = sorted({name for part in parts for name in part.operations})
        return frozenset(self.rng.sample(names, count))

    def by_scope(self, parts: tuple[Part, ...], several: bool) -> frozenset[str]:
        """Operations of an application that need one scope, or one operation that does so alone."""
        needing = defaultdict(set)
        for operation in {name for part in parts for name in part.operations}:
            for scope in endpoint(operation).scopes:
                needing[scope].add(operation)
        fitting = sorted(scope for scope, names in needing.items() if (len(names) > 1) == several)
        return frozenset(needing[self.rng.choice(fitting)]) if fitting else frozenset({"none"})

    def trouble(self) -> Mapping[str, float]:
        """One of `TROUBLES`."""
        return self.rng.choice(TROUBLES)

    def acknowledgement(self, since: float) -> Post:
        """Klaviyo says so, mostly late."""
        if self.rng.random() < 0.15:
            parts, text = {"Klaviyo API": "under_maintenance"}, "Maintenance is in progress."
            return Post("Database maintenance", "maintenance", parts, since, "in_progress", text)
        title, components = self.rng.choice(_ACKNOWLEDGED)
        status = self.rng.choice(("investigating", "identified", "monitoring"))
        at = self.rng.uniform(since, self.end - 60)
        return Post(title, self.rng.choice(("minor", "major", "critical")), components, at, status)

    def unrelated(self) -> Post:
        """Trouble that no call of ours can feel."""
        title, name = self.rng.choice(_UNRELATED)
        impact = self.rng.choice(("minor", "major", "critical"))
        return Post(title, impact, {name: "major_outage"}, self.ago(10, 300))


Plotter = Callable[[Draw], Plot]


def failing(
    d: Draw,
    cause: Cause,
    severity: Severity,
    *faults: Fault,
    parts: tuple[Part, ...] | None = None,
    **more: Any,
) -> Plot:
    """Calls fail, now."""
    found: dict[str, Any] = {"shows": "failing", "signals": d.signals()}
    return Plot(cause, severity, parts or d.app(), faults=faults, **(found | more))
