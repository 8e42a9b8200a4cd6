"""What is no counter is not counted."""

from __future__ import annotations

import re

import httpx
import numpy as np
import pytest

from klaviyo_nb.metrics.names import MetricNames
from klaviyo_nb.metrics.rates import increases
from klaviyo_nb.window import Window
from tests.metrics.test_client import ask, matrix, question, steps, the_gap


@pytest.mark.parametrize("read", ["gauge", "by turns"])
def test_what_falls_as_often_as_it_rises_is_no_counter(window: Window, read: str):
    def handler(request: httpx.Request) -> httpx.Response:
        asked, rng = question(request), np.random.default_rng(1)
        if asked["query"] != "klaviyo_api_requests_total":
            return matrix()
        values = {
            "gauge": lambda at: rng.poisson(100),
            "by turns": lambda at: at + (500 if at % 30 else 90_000_000),
        }[read]
        rows = [[at, str(values(at))] for at in steps(asked)]
        return matrix({"metric": {"__name__": asked["query"], "status": "error"}, "values": rows})

    assert re.search(r"klaviyo_api_requests_total falls in (4|5)\d% of", the_gap(ask(handler, window)).reason)


def test_a_rate_is_no_counter(window: Window):
    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if not asked["query"].startswith("klaviyo:"):
            return matrix()
        return matrix(
            {"metric": {"__name__": asked["query"]}, "values": [[at, "2.5"] for at in steps(asked)]}
        )

    names = MetricNames(("klaviyo:api_requests:rate5m",))
    assert "rate5m is no counter" in the_gap(ask(handler, window, names=names)).reason


def test_a_sum_that_fell_by_a_part_is_told(window: Window):
    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if asked["query"] != "klaviyo_api_requests_total":
            return matrix()
        times = steps(asked)
        values = [[at, str(at - times[0] + 40_000 - 10_000 * (at > times[99]))] for at in times]
        return matrix({"metric": {"__name__": asked["query"], "status": "success"}, "values": values})

    found = ask(handler, window)
    assert found.frame is not None
    assert increases(found.frame)["calls"].sum() == window.seconds - 15
    assert [gap.signal for gap in found.gaps if "fell by a part" in gap.reason] == ["metrics:resets"]
