"""What is known of a frame when it is made is what its rows tell."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.metrics.counters import counted
from klaviyo_nb.metrics.layout import Layout, layout
from klaviyo_nb.metrics.rates import beforehand, begun_late, bins, increases
from klaviyo_nb.window import Window
from tests.metrics.test_client import Handler, ask, counting, matrix, question, steps

#: Metric → its series.
SERIES: dict[str, list[dict[str, str]]] = {
    "klaviyo_api_requests_total": [
        {"instance": instance, "endpoint": endpoint, "method": "get", "status": status}
        for instance in ("web-1", "web-2")
        for endpoint in ("/api/events", "/api/lists/", "unheard_of")
        for status in ("success", "error")
    ],
    "klaviyo_api_errors_total": [{"instance": "web-1", "status_code": "503", "error_code": "x"}, {}],
    "klaviyo_api_duration_seconds_bucket": [{"instance": "web-1", "le": le} for le in ("0.1", "1", "+Inf")],
    "ALERTS": [{"alertname": "KlaviyoDown", "instance": "web-1"}],
}


def seldom(seed: int, twice: bool = False) -> Handler:
    """Series of which each has samples missing, begins late or has a value that is no number; or comes twice."""

    def handler(request: httpx.Request) -> httpx.Response:
        asked, rng = question(request), np.random.default_rng(seed)
        name = asked["query"].partition("{")[0]
        found = []
        for labels in SERIES.get(name, ()):
            kept = [at for at in steps(asked)[rng.integers(0, 20) :] if rng.random() < 0.9]
            totals = np.cumsum(rng.integers(0, 30, len(kept))) % 400  # processes begin anew
            values = [
                [at, "NaN" if rng.random() < 0.1 else str(n)] for at, n in zip(kept, totals, strict=True)
            ]
            found.append({"metric": {"__name__": name} | labels, "values": values})
        return matrix(*found, *(each | {"values": each["values"][1::2]} for each in found if twice))

    return handler


def told(of: Layout) -> list[tuple[Any, ...]]:
    return sorted(
        (each["role"], each["series"], sorted(each.items(), key=str), bool(new), of.times[at].tolist(), str(values.tolist()))
        for each, new, at, values in zip(of.labels, of.appeared, of.at, of.values, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("twice", [False, True])
def test_what_is_known_of_a_fetched_frame_is_what_its_rows_tell(window: Window, seed: int, twice: bool):
    frame = ask(seldom(seed, twice), window).frame
    assert frame is not None
    shuffled = frame.sample(frac=1, random_state=seed)
    known, read, sorted_again = layout(frame), layout(frame.copy()), layout(shuffled)
    assert np.array_equal(known.times, read.times)
    assert {bool(each) for each in known.appeared} == {True, False}
    assert {each["role"] for each in known.labels} == {"requests", "errors", "duration_bucket", "alerts"}
    assert told(known) == told(read) == told(sorted_again)
    pd.testing.assert_frame_equal(increases(frame), increases(shuffled))


@pytest.mark.parametrize(
    "count", [increases, bins, beforehand, begun_late, partial(counted, role="duration_bucket")]
)
def test_what_is_counted_by_series_is_what_is_counted_from_rows(window: Window, count: Any):
    calls = 0.0
    for seed in range(6):
        fetched = ask(seldom(seed), window)
        assert fetched.samples is not None
        assert fetched.frame is not None
        assert len(fetched.samples) == len(fetched.frame)
        by_series = count(fetched.samples)
        pd.testing.assert_frame_equal(by_series, count(fetched.frame.sample(frac=1, random_state=seed)))
        calls += by_series["calls"].sum()
    assert calls > 0


def test_rows_are_made_once(window: Window):
    fetched = ask(seldom(0), window)
    assert fetched.frame is fetched.frame


def test_a_series_that_comes_twice_is_one_and_of_two_samples_of_a_time_the_later_counts(window: Window):
    def handler(request: httpx.Request) -> httpx.Response:
        answer = counting()(request)
        (series,) = answer.json()["data"]["result"] or [None]
        if series is None:
            return answer
        again = [[at, str(int(value) + 1)] for at, value in series["values"][::2]]
        return matrix(series, series | {"values": again})

    frame = ask(handler, window).frame
    assert frame is not None
    assert len(frame) == 481
    start = int(window.start.timestamp())
    assert frame["value"].tolist() == [start + 15 * at + (at % 2 == 0) for at in range(481)]
