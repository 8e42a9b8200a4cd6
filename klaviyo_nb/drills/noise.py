"""What makes one world of a kind differ from the next, and what blurs it: nothing here changes its cause."""

from __future__ import annotations

import random
from dataclasses import replace

from klaviyo_nb.drills.scenarios import Phase, Scenario, Slow

#: From this pace on a world has calls enough to decide by counting.
_ENOUGH = 0.1
#: Skew of Klaviyo's clock against ours that deserves an advisory [s]. Source: the contract's advisories.
_ADVISED_SKEW_S = 30.0


def varied(scenario: Scenario, rng: random.Random) -> Scenario:
    """Another amount of traffic, and an incident that began at another time; small enough to make many."""
    stretch = rng.uniform(1.0, 1.2)
    phases = tuple(
        replace(phase, since_min=phase.since_min * stretch, until_min=phase.until_min * stretch)
        for phase in scenario.phases
    )
    pace = scenario.pace * (rng.uniform(0.15, 0.3) if scenario.pace > _ENOUGH else 1.0)
    return replace(
        scenario, pace=pace, phases=phases, webhooks_until_min=scenario.webhooks_until_min * stretch
    )


def disturbed(scenario: Scenario, rng: random.Random) -> Scenario:
    """With passing failures, a deploy, and clocks that differ by up to two minutes."""
    skew_s = rng.choice((rng.uniform(-15, 15), rng.uniform(45, 110), -rng.uniform(45, 110)))
    changed = replace(
        scenario,
        log_skew_s={log: rng.uniform(-115, 115) for log in ("web", "worker")},
        date_skew_s=skew_s,
        severity="P4" if scenario.cause == "healthy" and abs(skew_s) > _ADVISED_SKEW_S else scenario.severity,
    )
    if scenario.pace < _ENOUGH:  # a passing failure would be half of all calls
        return changed
    deploy = rng.uniform(25.0, 100.0)
    trouble = Phase(
        deploy, {"reset": 0.6, "unavailable": 0.4}, deploy - 0.5, 0.5, hosts=("web-1",), passing=True
    )
    return replace(
        changed,
        noise=max(scenario.noise, rng.uniform(0.01, 0.03)),
        phases=(*scenario.phases, trouble),
        slow=(*scenario.slow, Slow(deploy, deploy - 1.0, 3.0)),
        restarts_min=(*scenario.restarts_min, deploy),
    )


def blinded(scenario: Scenario, rng: random.Random) -> Scenario:
    """Without the logs, the metrics or the key, or with all; where one was missing already, as it was."""
    missing = rng.choice(("logs", "metrics", "key", "nothing"))
    if scenario.without or scenario.key != "{key}" or scenario.pace < _ENOUGH or missing == "nothing":
        return scenario
    if missing == "key":
        return replace(scenario, key="")
    return replace(scenario, without=frozenset({missing}))
