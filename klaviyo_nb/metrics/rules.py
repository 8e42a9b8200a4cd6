"""The alert rules that are shipped (`rules.yml`), and their thresholds from one's own traffic.

Source:
    https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from importlib import resources

import pandas as pd

from klaviyo_nb.metrics.counters import counted
from klaviyo_nb.metrics.rates import increases, latency
from klaviyo_nb.window import Window, iso

#: Span over which the rules count, and how many of them make a baseline: a day.
SPAN, FEWEST = "5min", 288
#: Calls in a span that make a share or a quantile [calls].
LEAST_CALLS = 20
#: What is usual: this quantile of the spans; an alert begins at this many times that.
USUAL, TIMES = 0.99, 2.0
#: No threshold of a share is higher: an alert that half of all calls do not raise is none.
MOST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of `rules.yml`, each by the name in its comment there.

    Attributes:
        error_share: Share of an endpoint's calls that fail in five minutes [1].
        throttled: Calls to an endpoint that are throttled in five minutes [calls].
        p95_s: 95th percentile of an endpoint's durations [s].
        down: Calls with a 5xx or no answer in five minutes, while none succeeds [calls].
    """

    error_share: float = 0.05
    throttled: float = 10
    p95_s: float = 3.0
    down: float = 20


def limits(metrics: pd.DataFrame) -> Limits:
    """Thresholds that a usual five minutes do not come near.

    Errors, throttling and latency: twice the 99th percentile of the five-minute spans of the worst endpoint,
    or the published threshold, whichever is higher. Calls that fail while none succeeds: half of the
    calls of a usual span, where that is fewer than the published 20, which few calls would never reach; at
    least 5. What fewer spans than a day's tell of stays as published.

    Args:
        metrics: METRICS frame of the baseline.
    """
    published, steps = Limits(), increases(metrics)
    calls = _spans(steps)
    busy = calls.loc[calls >= LEAST_CALLS]
    failed = _spans(steps[steps["status"] != "success"]).reindex(busy.index, fill_value=0.0)
    errors = counted(metrics, "errors")
    told = errors if len(errors) else steps
    refused = _spans(told[told["status"] == "429"]).reindex(calls.index, fill_value=0.0)
    total = calls.groupby(level=0).sum()
    usual = float(total.median()) if len(total) >= FEWEST else math.inf
    return Limits(
        error_share=min(MOST_SHARE, _at_least(published.error_share, _usual(failed / busy))),
        throttled=_at_least(published.throttled, _usual(refused)),
        p95_s=_at_least(published.p95_s, _usual(_durations(metrics))),
        down=math.ceil(min(published.down, max(5.0, usual / 2))),
    )


def _spans(steps: pd.DataFrame) -> pd.Series[float]:
    """Calls by span and endpoint."""
    keys = [steps["timestamp"].dt.floor(SPAN), steps["endpoint"].fillna("")]
    sums: pd.Series[float] = steps["calls"].groupby(keys).sum()
    return sums


def _durations(metrics: pd.DataFrame) -> pd.Series[float]:
    """95th percentile by span and endpoint, where enough calls make one."""
    found = {"": pd.Series(dtype="float64")}
    for endpoint in counted(metrics, "duration_bucket")["endpoint"].dropna().unique():
        table = latency(metrics, SPAN, endpoint).set_index("timestamp")
        found[endpoint] = table.loc[table["calls"] >= LEAST_CALLS, "p95_s"]
    every: pd.Series[float] = pd.concat(found).swaplevel()
    return every


def _usual(spans: pd.Series[float]) -> float | None:
    """The usual value of the worst endpoint, of those that have a day of spans."""
    each = spans.groupby(level=1)
    known = each.quantile(USUAL)[each.size() >= FEWEST]
    return float(known.max()) if len(known) else None


def _at_least(published: float, usual: float | None) -> float:
    return published if usual is None else max(published, _round(TIMES * usual))


def _round(value: float) -> float:
    """Up to two digits, as a person would write it."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 6)


def shipped() -> str:
    """The rules as they are published with this package."""
    return resources.files("klaviyo_nb.metrics").joinpath("rules.yml").read_text("utf-8")


def tuned(limits: Limits, baseline: Window) -> str:
    """The rules with these thresholds, and where they come from."""
    text, usual = shipped(), Limits()
    told = [f"# Thresholds from {iso(baseline.start)} to {iso(baseline.end)}:"]
    for each in fields(limits):
        value, before = getattr(limits, each.name), getattr(usual, each.name)
        text = re.sub(rf"(?<=[>=] )\S+(?= # {each.name}$)", f"{value:g}", text, flags=re.MULTILINE)
        told.append(f"#   {each.name} {value:g}" + ("" if value != before else ", as published"))
    return "\n".join([*told, text])
