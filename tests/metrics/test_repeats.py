"""Samples that a server only repeats are none."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.metrics.client import Fetched
from klaviyo_nb.metrics.matrix import Series
from klaviyo_nb.metrics.rates import bins, increases
from klaviyo_nb.metrics.repeats import question as question_of
from klaviyo_nb.window import Window
from tests.metrics.test_client import Handler, ask, matrix, question, steps

#: The server was down from one minute of the window until another.
DOWN = 30, 34
TIMED = 'max(timestamp({__name__="klaviyo_api_requests_total",status="success",instance="a"}))'


def down(window: Window, busy: bool = False, refused: bool = False, quiet: bool = False) -> Handler:
    """One call a second; the last sample is repeated while the server is down, unless another one is `busy`."""
    since, until = (int(window.start.timestamp()) + 60 * minute for minute in DOWN)

    def taken(at: int) -> int:
        return since - 7 if since <= at < until else at - 7

    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if asked["query"] == TIMED:
            if refused:
                return httpx.Response(422, json={"status": "error", "error": "no such function"})
            return matrix({"metric": {}, "values": [[at, str(taken(at))] for at in steps(asked)]})
        if asked["query"] != "klaviyo_api_requests_total":
            return matrix()
        labels = {"__name__": asked["query"], "status": "success"}
        values = [[at, "5" if quiet else str(taken(at))] for at in steps(asked)]
        other = {"metric": labels | {"instance": "b"}, "values": [[at, str(at)] for at in steps(asked)]}
        return matrix({"metric": labels | {"instance": "a"}, "values": values}, *([other] if busy else []))

    return handler


def in_the_hole(fetched: Fetched, window: Window) -> pd.DataFrame:
    assert fetched.frame is not None
    since, until = (window.start + timedelta(minutes=minute) for minute in DOWN)
    found = bins(fetched.frame)
    return found[(found["timestamp"] >= since) & (found["timestamp"] < until)]


def test_a_time_in_which_the_server_was_down_is_unobserved_and_its_calls_are_counted_behind_it(
    window: Window,
):
    fetched = ask(down(window), window)
    assert len(in_the_hole(fetched, window)) == 1
    assert in_the_hole(fetched, window)["calls"].item() == 4 * 60
    assert fetched.frame is not None
    assert increases(fetched.frame)["calls"].sum() == window.seconds
    assert TIMED in [query.expr for query in fetched.queries]


def test_where_counters_move_nobody_asks_when_samples_were_taken(window: Window):
    fetched = ask(down(window, busy=True), window)
    assert TIMED not in [query.expr for query in fetched.queries]
    assert len(in_the_hole(fetched, window)) == 4 * 4


def test_an_application_that_calls_nobody_is_observed(window: Window):
    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if asked["query"] == TIMED:
            return matrix({"metric": {}, "values": [[at, str(at - 7)] for at in steps(asked)]})
        return down(window, quiet=True)(request)

    fetched = ask(handler, window)
    assert TIMED in [query.expr for query in fetched.queries]
    assert in_the_hole(fetched, window)["calls"].to_list() == [0.0] * 16


def test_where_the_server_does_not_tell_that_is_a_gap(window: Window):
    fetched = ask(down(window, refused=True), window)
    assert len(in_the_hole(fetched, window)) == 4 * 4
    (gap,) = [gap for gap in fetched.gaps if gap.signal == "metrics:repeats"]
    assert "no such function; a time without samples may look like one without calls" in gap.reason


@pytest.mark.parametrize(("processes", "asked"), [(1, 1), (2, 2), (9, 3)])
def test_of_many_series_few_are_asked_about_that_span_the_time(processes: int, asked: int):
    times = np.arange(0, 900, 15) * 10**9
    series = [
        Series({"instance": f"{n}", "of.dots": "x", "path": 'a"b'}, part, np.ones(len(part)))
        for n, part in enumerate(np.array_split(times, processes))
        for _ in range(4)
    ]
    found = re.findall(r'timestamp\(\{instance="(\d)",path="a\\"b"\}\)', question_of(series, times[1:]))
    assert len(found) == len(set(found)) == asked


@pytest.mark.parametrize(("minutes", "told"), [(4, 0), (8, 1)])
def test_a_long_time_without_samples_is_told(window: Window, minutes: int, told: int):
    since = window.start.timestamp() + 600

    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if asked["query"] != "klaviyo_api_requests_total":
            return matrix()
        values = [[at, str(at)] for at in steps(asked) if not 0 < at - since < 60 * minutes]
        return matrix({"metric": {"__name__": asked["query"]}, "values": values})

    assert len([gap for gap in ask(handler, window).gaps if gap.signal == "metrics:holes"]) == told
