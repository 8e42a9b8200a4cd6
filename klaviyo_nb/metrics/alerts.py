"""When alerts fired, from the `ALERTS` series that the server keeps about its own rules.

Source:
    https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime
"""

from __future__ import annotations

import json

import pandas as pd

from klaviyo_nb.evidence import remembered
from klaviyo_nb.metrics.counters import step_s

_COLUMNS = ["alert", "severity", "began", "ended"]


@remembered
def alerts(metrics: pd.DataFrame) -> pd.DataFrame:
    """The stretches in which alerts fired, in order of time.

    An alert with the same severity that fires for several instances is one. Times are those of samples: it
    began at most a step and an evaluation interval of the rule earlier.

    Args:
        metrics: METRICS frame.

    Returns:
        `alert`, `severity` (missing if the rule sets none), `began` (UTC; missing if it already fired at the
        first sample of the window), `ended` (first sample at which it no longer fired; missing if it still
        fired at the last one). Empty also if the server has no rules: no alert is no proof that all is well.
    """
    firing = metrics[(metrics["role"] == "alerts") & (metrics["value"] == 1)]
    step = pd.Timedelta(seconds=step_s(metrics) or 0.0)
    labels = firing["series"].astype("str").map(json.loads)
    table = pd.DataFrame(
        {
            "alert": labels.map(lambda each: each.get("alertname")).astype("str"),
            "severity": labels.map(lambda each: each.get("severity")).astype("str"),
            "began": firing["timestamp"],
        }
    )
    table = table.drop_duplicates().sort_values(["alert", "severity", "began"])
    apart = table.groupby(["alert", "severity"], dropna=False)["began"].diff() != step
    stretches = table.assign(ended=table["began"]).groupby(apart.cumsum().rename("stretch"))
    found = stretches.agg({"alert": "first", "severity": "first", "began": "min", "ended": "max"})
    first, last = metrics["timestamp"].min(), metrics["timestamp"].max()
    found["began"] = found["began"].where(found["began"] > first)
    found["ended"] = (found["ended"] + step).where(found["ended"] < last)
    return found.sort_values(["began", "ended"], na_position="first", ignore_index=True)[_COLUMNS]
