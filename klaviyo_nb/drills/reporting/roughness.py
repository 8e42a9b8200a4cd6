"""What makes a reporting world realistic: noise, retries, a deploy, a missing source, clocks that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from klaviyo_nb.drills.reporting.draw import Draw
from klaviyo_nb.drills.reporting.story import Plot

#: Klaviyo's clock seen from ours [s]: nothing, or enough to be told.
_SKEWS = (0.0, 0.0, 0.0, -115.0, -60.0, 45.0, 90.0)


#: Answers of which a proxy's access log tells something else, or not enough.
_HIDDEN_BY_PROXY = frozenset(
    {"refused", "hang", "reset", "portal", "proxy_407", "proxy_503", "challenge", "shed", "edge_400"}
)


def readable(plot: Plot) -> Plot:
    """The same application with logs that tell what it was answered."""
    if not any(_HIDDEN_BY_PROXY & fault.answers.keys() for fault in plot.faults):
        return plot
    parts = (replace(part, writer="monolog") if part.writer == "nginx" else part for part in plot.parts)
    return replace(plot, parts=tuple(parts))


def blur(plot: Plot, d: Draw) -> Plot:
    """Some noise, for a world that is hard anyway."""
    return plot if plot.noise or plot.shows == "few" else replace(plot, noise=d.rng.uniform(0.0, 0.015))


def roughen(plot: Plot, d: Draw) -> Plot:
    """The same story in a rougher world; what deserves an advisory makes a healthy one P4."""
    rng = d.rng
    tries = rng.choice((2, 3, 4))
    parts = tuple(replace(part, attempts=max(tries, part.attempts)) for part in plot.parts)
    change: dict[str, Any] = {"parts": parts, "noise": rng.uniform(0.01, 0.03)}
    skew = {host: rng.uniform(-120, 120) for part in parts for host in part.hosts if rng.random() < 0.15}
    skew[""] = rng.choice(_SKEWS)
    change["skew"] = skew
    if not any(fault.hosts for fault in plot.faults) and plot.deploy is None and rng.random() < 0.4:
        change["deploy"] = d.ago(2)
    if "logs" in plot.signals and len(parts) > 1 and rng.random() < 0.25:
        change["lost"] = frozenset({rng.choice(parts[1:]).name})
    if plot.page == "ok" and rng.random() < 0.3:
        change["page"] = "no summary"
    if plot.signals >= {"logs", "metrics"} and rng.random() < 0.15:
        change["metrics_down"] = True
    advisory = skew[""] or change.get("metrics_down")
    if plot.cause == "healthy" and advisory:
        change["severity"] = "P4"
    return replace(plot, **change)
