"""Before, during and after: what changed, and is it fixed? Both ways, and where it cannot be told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.diagnosis.phases import changed, fixed, slower
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.frames import CALLS, METRICS
from klaviyo_nb.window import Window
from samples import NOW, WINDOW

CASES = Path(__file__).parents[1] / "cases"


def world(
    *spells: tuple[float, float], per_minute: int = 20, slow: float = 1.0, quiet_from: float = 120
) -> Evidence:
    """Two hours of calls on two endpoints; all to /api/events fail in the spells, and take longer by a factor."""
    minutes = np.arange(0, quiet_from, 1 / per_minute)
    rng = np.random.default_rng(1)
    inside = (
        np.any([(minutes >= start) & (minutes < end) for start, end in spells], axis=0)
        if spells
        else minutes < 0
    )
    events = np.arange(len(minutes)) % 2 == 0
    rows: dict[str, Any] = {
        "timestamp": pd.Timestamp(WINDOW.start) + pd.to_timedelta(minutes, unit="min"),
        "source": "app.log", "host": "web-1", "method": "POST",
        "endpoint": np.where(events, "/api/events", "/api/profiles"),
        "caller": np.where(events, "sync", "checkout"),
        "status_code": np.where(inside & events, 503, 202),
        "duration_s": rng.lognormal(-1.5, 0.3, len(minutes)) * np.where(inside & events, slow, 1.0),
    }  # fmt: skip
    return Evidence(WINDOW, NOW, calls=CALLS.frame(pd.DataFrame(rows)))


def test_the_endpoint_and_the_caller_that_changed_come_first_with_an_interval() -> None:
    told = changed(world((60, 80)))
    assert told is not None
    for name, value in (("endpoint", "/api/events"), ("caller", "sync")):
        row = told[told["attribute"] == name].iloc[0]
        assert row["value"] == value
        assert (row["before_share"], row["during_share"], row["after_share"]) == (0, 1, 0)
        assert 0.9 < row["low"] < row["change"] <= row["high"] <= 1
    other = told[told["value"] == "/api/profiles"].iloc[0]
    assert other["low"] < 0 < other["high"]


def test_what_took_longer_is_told_with_an_interval_and_what_did_not_has_one_around_one() -> None:
    told = slower(world((60, 80), slow=3.0))
    assert told is not None
    rows = told.set_index("endpoint")
    assert rows.loc["/api/events", "low"] > 1.5
    assert rows.loc["/api/events", "low"] < rows.loc["/api/events", "times"] < rows.loc["/api/events", "high"]
    assert rows.loc["/api/profiles", "low"] < 1 < rows.loc["/api/profiles", "high"]


def in_histogram(evidence: Evidence) -> Evidence:
    """The same calls as counters and buckets, sampled every 15 s; no log."""
    assert evidence.calls is not None
    bounds, rows = [0.1, 0.25, 0.5, 1.0, 2.5, np.inf], []
    times = pd.date_range(WINDOW.start, WINDOW.end, freq="15s")
    for endpoint, calls in evidence.calls.groupby("endpoint"):
        failed, seconds = calls["status_code"] >= 400, calls["duration_s"]
        kinds = [("requests", "success", None, ~failed), ("requests", "503", None, failed)]
        kinds += [("duration_bucket", None, bound, seconds <= bound) for bound in bounds]
        for role, status, bound, those in kinds:
            held = np.searchsorted(calls.loc[those, "timestamp"], times)
            named = {"role": role, "name": role, "endpoint": endpoint, "status": status, "le": bound}
            series = json.dumps({"job": "web", **named}, default=str)
            rows += [
                {"timestamp": at, "value": float(count), "series": series, **named}
                for at, count in zip(times, held, strict=True)
            ]
    return replace(evidence, calls=None, metrics=METRICS.frame(rows))


def test_a_histogram_tells_what_took_longer_where_no_log_does() -> None:
    of_logs, of_buckets = slower(world((60, 80), slow=4.0)), slower(in_histogram(world((60, 80), slow=4.0)))
    assert of_logs is not None
    assert of_buckets is not None
    lines, rows = of_logs.set_index("endpoint"), of_buckets.set_index("endpoint")
    assert set(rows.index) == set(lines.index)
    for endpoint in rows.index:
        told, exact = rows.loc[endpoint], lines.loc[endpoint]
        assert told["low"] <= exact["times"] <= told["high"]  # each as wide as its bucket
        assert told["calls"] == pytest.approx(exact["calls"], abs=60)  # a step at each border
    assert rows.loc["/api/events", "low"] >= 1.5
    assert rows.loc["/api/profiles", "low"] < 1 < rows.loc["/api/profiles", "high"]


def test_a_histogram_of_few_calls_tells_no_quantile() -> None:
    told = slower(in_histogram(world((60, 80), slow=4.0, per_minute=4)))
    assert told is not None
    assert told["during_s"].isna().all()
    assert told["times"].isna().all()


def test_it_is_fixed_when_calls_fail_no_more_than_before() -> None:
    found = fixed(world((60, 80)))
    assert found.answer is True
    assert found.says.startswith("Yes: since the end 0 of ")


def test_an_earlier_incident_of_the_window_is_no_measure_of_what_is_usual() -> None:
    told = changed(world((20, 50), (80, 95)))
    assert told is not None
    row = told[told["value"] == "/api/events"].iloc[0]
    assert (row["before_share"], row["during_share"], row["after_share"]) == (0, 1, 0)


def test_the_bound_of_more_failures_is_rounded_outward() -> None:
    found = fixed(world((30, 40), per_minute=400))
    assert found.answer
    assert "0.1% more than before" in found.says


def test_it_is_not_fixed_while_calls_fail() -> None:
    assert fixed(world((60, 121))).answer is False


def test_too_few_calls_since_the_end_say_how_long_to_wait() -> None:
    found = fixed(world((60, 118), per_minute=6))
    assert found.answer is None
    assert found.wait is not None
    assert timedelta(minutes=1) < found.wait < timedelta(hours=2)
    minutes = int(re.findall(r"(\d+) more minutes without a failure would tell", found.says)[0])
    assert timedelta(minutes=minutes - 1) < found.wait <= timedelta(minutes=minutes)
    waited = world((60, 118), per_minute=6, quiet_from=120 + minutes)
    assert fixed(replace(waited, window=Window(WINDOW.start, WINDOW.end + timedelta(minutes=minutes)))).answer
    later = world((60, 118), per_minute=6)
    assert fixed(replace(later, window=later.window, calls=None)).says.startswith("Cannot tell")


@pytest.mark.parametrize(
    "evidence", [world(), load(CASES / "healthy"), Evidence(WINDOW, NOW)], ids=["well", "golden", "nothing"]
)
def test_where_nothing_failed_nothing_changed_and_nothing_is_fixed(evidence: Evidence) -> None:
    assert changed(evidence) is None
    assert slower(evidence) is None
    assert fixed(evidence).answer is None


def test_an_incident_under_way_at_the_start_is_compared_with_nothing() -> None:
    told, found = changed(world((0, 60))), fixed(world((0, 60)))
    assert told is not None
    assert told["before_share"].isna().all()
    assert told["change"].isna().all()
    assert found.answer is True
    assert "nothing was seen before it began" in found.says
