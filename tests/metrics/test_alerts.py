from __future__ import annotations

import json
from datetime import timedelta

import pandas as pd
import pytest

from klaviyo_nb.frames import METRICS
from klaviyo_nb.metrics.alerts import alerts

START = pd.Timestamp("2026-11-23T05:00:00Z")


def at(minute: float) -> pd.Timestamp:
    return START + timedelta(minutes=minute)


def frame(*series: tuple[str, dict[str, str], range]) -> pd.DataFrame:
    """Series of one sample a minute: role, labels, minutes."""
    return METRICS.frame(
        [
            {"timestamp": at(minute), "role": role, "name": "x", "series": json.dumps(labels), "value": 1.0}
            for role, labels, minutes in series
            for minute in minutes
        ]
    )


HOUR = ("requests", {}, range(60))
DOWN = {"alertname": "KlaviyoDown", "alertstate": "firing", "severity": "critical"}


def told(metrics: pd.DataFrame) -> list[tuple[object, ...]]:
    found = alerts(metrics).astype(object)
    return list(found.where(found.notna(), None).itertuples(index=False, name=None))


def test_a_stretch_begins_with_the_first_firing_sample_and_ends_with_the_first_that_does_not():
    fired = ("alerts", DOWN, range(20, 31))
    assert told(frame(HOUR, fired)) == [("KlaviyoDown", "critical", at(20), at(31))]


def test_an_alert_that_fires_twice_is_two_stretches():
    fired = [("alerts", DOWN, range(5, 10)), ("alerts", DOWN, range(40, 45))]
    assert [row[2:] for row in told(frame(HOUR, *fired))] == [(at(5), at(10)), (at(40), at(45))]


def test_what_fired_before_the_window_or_after_it_has_no_beginning_or_end():
    fired = [("alerts", DOWN, range(3)), ("alerts", DOWN, range(50, 60))]
    assert [row[2:] for row in told(frame(HOUR, *fired))] == [(None, at(3)), (at(50), None)]


def test_instances_of_an_alert_are_one_and_severities_are_not():
    fired = [
        ("alerts", DOWN | {"instance": each}, minutes)
        for each, minutes in (("a", range(5, 9)), ("b", range(7, 12)))
    ]
    ticket = ("alerts", DOWN | {"severity": "ticket"}, range(5, 9))
    assert told(frame(HOUR, *fired, ticket)) == [
        ("KlaviyoDown", "ticket", at(5), at(9)),
        ("KlaviyoDown", "critical", at(5), at(12)),
    ]


def test_a_rule_without_severity_has_none():
    assert told(frame(HOUR, ("alerts", {"alertname": "KlaviyoSlow"}, range(5, 9)))) == [
        ("KlaviyoSlow", None, at(5), at(9))
    ]


@pytest.mark.parametrize("metrics", [METRICS.empty(), frame(HOUR)], ids=["nothing", "no alert"])
def test_no_alert_is_an_empty_table_with_its_columns(metrics: pd.DataFrame):
    found = alerts(metrics)
    assert found.columns.tolist() == ["alert", "severity", "began", "ended"]
    assert found.empty
    assert str(found["began"].dtype) == "datetime64[ns, UTC]"
