from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs

import httpx
import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Gap
from klaviyo_nb.metrics.client import MOST_POINTS, Fetched, fetch
from klaviyo_nb.metrics.names import MetricNames, from_table
from klaviyo_nb.metrics.rates import increases
from klaviyo_nb.metrics.server import connect
from klaviyo_nb.window import Window

Handler = Callable[[httpx.Request], httpx.Response]
TOKEN, TENANT = "very-secret-token", "very-secret-tenant"


def ask(handler: Handler, window: Window, url: str = "http://prometheus:9090", **options: Any) -> Fetched:
    def answer(request: httpx.Request) -> httpx.Response:
        return handler(request) if request.url.path.endswith("query_range") else httpx.Response(404)

    options = {"names": MetricNames(), "timeout_s": 5.0, "transport": httpx.MockTransport(answer)} | options
    return asyncio.run(fetch(url, window, **options))


def question(request: httpx.Request) -> dict[str, str]:
    if request.method == "POST":
        return {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
    return dict(request.url.params)


def steps(asked: dict[str, str]) -> range:
    return range(int(asked["start"]), int(asked["end"]) + 1, int(asked["step"]))


def matrix(*series: dict[str, Any], **more: Any) -> httpx.Response:
    return httpx.Response(
        200, json={"status": "success", "data": {"resultType": "matrix", "result": list(series)}} | more
    )


def counting(**labels: str) -> Handler:
    """A server that knows the requests counter: one call a second since the epoch."""

    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        name = asked["query"].partition("{")[0]
        if name != "klaviyo_api_requests_total":
            return matrix()
        values = [[at, str(at)] for at in steps(asked)]
        return matrix({"metric": {"__name__": name, "status": "success"} | labels, "values": values})

    return handler


def scraped(without: str | None = None, **behind_s: int) -> Handler:
    """The same from servers whose samples are so many seconds old; one of them misses a third of the samples."""

    def handler(request: httpx.Request) -> httpx.Response:
        asked = question(request)
        if asked["query"].partition("{")[0] != "klaviyo_api_requests_total":
            return matrix()
        labels = {"__name__": "klaviyo_api_requests_total", "status": "success"}
        return matrix(
            *(
                {
                    "metric": labels | ({"replica": name} if behind_s else {}),
                    "values": [[at, str(at - age)] for at in steps(asked) if name != without or at % 45],
                }
                for name, age in (behind_s or {"": 0}).items()
            )
        )

    return handler


def always(response: httpx.Response) -> Handler:
    return lambda _: httpx.Response(response.status_code, headers=response.headers, content=response.content)


def the_gap(fetched: Fetched) -> Gap:
    assert fetched.frame is None
    assert len(fetched.gaps) == 1
    assert fetched.gaps[0].signal == "metrics"
    return fetched.gaps[0]


class TestAsking:
    def test_samples_stand_on_multiples_of_the_step_from_before_the_start_to_the_end(self, window: Window):
        odd = Window(window.start + timedelta(seconds=7), window.end - timedelta(seconds=4))
        fetched = ask(counting(), odd)
        assert fetched.frame is not None
        times = fetched.frame["timestamp"]
        assert times.iloc[0] == window.start
        assert times.iloc[-1] == window.end - timedelta(seconds=15)
        assert (times.diff().dropna() == timedelta(seconds=15)).all()

    def test_every_question_is_recorded_with_the_hash_of_its_answer(self, window: Window):
        bodies: list[bytes] = []

        def handler(request: httpx.Request) -> httpx.Response:
            response = counting()(request)
            if question(request)["query"] == "klaviyo_api_requests_total":
                bodies.append(response.content)
            return response

        fetched = ask(handler, window)
        query = fetched.queries[0]
        assert (query.role, query.expr) == ("requests", "klaviyo_api_requests_total")
        assert (query.start, query.end, query.step_s) == ("2026-11-23T05:00:00Z", "2026-11-23T07:00:00Z", 15)
        assert (query.requests, query.samples) == (1, 481)
        assert query.sha256 == hashlib.sha256(bodies[0]).hexdigest()
        assert [query.expr for query in fetched.queries if query.role == "errors"] == [
            "klaviyo_api_errors_total",
            "klaviyo_errors_total",
        ]

    def test_a_long_window_is_cut_into_requests_that_neither_overlap_nor_lose_a_sample(self, window: Window):
        sizes: list[int] = []

        def handler(request: httpx.Request) -> httpx.Response:
            sizes.append(len(steps(question(request))))
            return counting()(request)

        long = Window(window.end - timedelta(hours=49), window.end)
        fetched = ask(handler, long, names=from_table({"errors": "", "duration": "", "webhooks": ""}))
        assert fetched.frame is not None
        assert max(sizes) == MOST_POINTS
        assert fetched.queries[0].requests == 2
        assert len(fetched.frame) == 49 * 240 + 1
        assert (np.diff(fetched.frame["value"]) == 15).all()

    def test_a_week_gets_a_longer_step(self, window: Window):
        fetched = ask(counting(), Window(window.end - timedelta(days=7), window.end))
        assert fetched.queries[0].step_s == 60

    def test_two_answers_are_awaited_at_once_and_of_a_slow_server_all(self):
        async def most_at_once(patience_s: float, slow: bool) -> int:
            asked: list[int] = []
            answered, every = 0, asyncio.Event()

            async def handler(_: httpx.Request) -> httpx.Response:
                nonlocal answered
                asked.append(len(asked) - answered + 1)
                if len(asked) == 5:
                    every.set()
                await (every.wait() if slow else asyncio.sleep(0))
                answered += 1
                return matrix()

            server = connect("http://prometheus:9090", None, None, None, 5.0, httpx.MockTransport(handler))
            patient = replace(server, patience_s=patience_s)
            async with patient.client, asyncio.timeout(20):
                await asyncio.gather(*(patient.ask("/api/v1/query", ()) for _ in range(5)))
            return max(asked)

        assert asyncio.run(most_at_once(60.0, slow=False)) == 2
        assert asyncio.run(most_at_once(0.001, slow=True)) == 5

    def test_a_long_question_is_posted_and_a_short_one_is_not(self, window: Window):
        methods: set[str] = set()

        def handler(request: httpx.Request) -> httpx.Response:
            methods.add(request.method)
            return counting()(request)

        ask(handler, window)
        assert methods == {"GET"}
        assert ask(handler, window, names=from_table({"selector": f'x!="{"y" * 3000}"'})).frame is not None
        assert methods == {"GET", "POST"}

    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("http://h:9090", "/api/v1/query_range"),
            ("http://h:9090/", "/api/v1/query_range"),
            ("http://h/prom/", "/prom/api/v1/query_range"),
            ("http://h/select/0/prometheus", "/select/0/prometheus/api/v1/query_range"),
            ("http://h:9090/graph", "/api/v1/query_range"),
            ("http://h:9090/api/v1/query", "/api/v1/query_range"),
        ],
    )
    def test_the_address_may_be_a_root_a_prefix_or_one_copied_from_a_browser(
        self, window: Window, url: str, path: str
    ):
        seen: set[str] = set()

        def handler(request: httpx.Request) -> httpx.Response:
            seen.add(request.url.path)
            return matrix()

        ask(handler, window, url)
        assert seen == {path}

    def test_token_headers_and_password_are_sent_and_told_to_nobody(self, window: Window):
        sent: list[httpx.Headers] = []

        def handler(request: httpx.Request) -> httpx.Response:
            sent.append(request.headers)
            echo = f"no {request.headers['authorization']} {request.headers.get('x-scope-orgid')}"
            return httpx.Response(400, json={"status": "error", "errorType": "bad_data", "error": echo})

        secret = {"token": TOKEN, "headers": {"X-Scope-OrgID": TENANT}}
        with_token = ask(handler, window, **secret)
        with_password = ask(handler, window, "http://user:hunter22@prometheus:9090")
        assert sent[0]["authorization"] == f"Bearer {TOKEN}"
        assert sent[0]["x-scope-orgid"] == TENANT
        assert sent[-1]["authorization"].startswith("Basic ")
        told = repr((with_token, with_password))
        assert TOKEN not in told
        assert TENANT not in told
        assert "hunter22" not in told
        assert sent[-1]["authorization"].removeprefix("Basic ") not in told
        assert "[redacted]" in the_gap(with_token).reason

    @pytest.mark.parametrize(
        "options",
        [
            {"token": "a\nb"},
            {"token": "schlüssel"},
            {"headers": {"X-A": "a\r\nX-B: b"}},
            {"headers": {"X-A": 7}},
            {"headers": ["X-A"]},
            {"url": "ftp://h"},
            {"url": "prometheus:9090"},
            {"url": "http://"},
            {"url": "http://h:port"},
        ],
    )
    def test_a_malformed_address_token_or_header_is_the_users_mistake(
        self, window: Window, options: dict[str, Any]
    ):
        with pytest.raises(UsageError) as caught:
            ask(counting(), window, **options)
        assert caught.value.hint
        assert "schlüssel" not in repr(caught.value)


class TestReading:
    def test_series_become_rows_with_their_labels(self, window: Window):
        fetched = ask(counting(endpoint="/api/profiles/", method="get", instance="web-1"), window)
        assert fetched.frame is not None
        row = fetched.frame.iloc[0]
        assert (row["role"], row["name"]) == ("requests", "klaviyo_api_requests_total")
        assert (row["endpoint"], row["method"], row["status"]) == ("/api/profiles", "GET", "success")
        assert json.loads(row["series"]) == {
            "endpoint": "/api/profiles/",
            "instance": "web-1",
            "method": "get",
            "status": "success",
        }

    @pytest.mark.parametrize(
        ("label", "template"),
        [
            ("/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H/", "/api/profiles/{id}"),
            ("/api/profiles/{id}", "/api/profiles/{id}"),
            ("/profiles/", "/api/profiles"),
            ("getProfiles", "/api/profiles"),
            ("profiles.get_profiles", "/api/profiles"),
            ("checkout", "checkout"),
        ],
    )
    def test_an_endpoint_label_may_be_a_path_a_template_or_an_operation(
        self, window: Window, label: str, template: str
    ):
        fetched = ask(counting(endpoint=label, method="GET"), window)
        assert fetched.frame is not None
        assert set(fetched.frame["endpoint"]) == {template}

    def test_what_is_not_a_number_stays_missing(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = steps(question(request))
            values = [[asked[0], "NaN"], [asked[1], "+Inf"], [asked[2], "-Inf"], [asked[3], "7"]]
            return matrix({"metric": {"__name__": "m"}, "values": values})

        fetched = ask(handler, window, names=from_table({"errors": "", "duration": "", "webhooks": ""}))
        assert fetched.frame is not None
        gauge = fetched.frame[fetched.frame["role"] == "requests"]
        assert gauge["value"].isna().tolist() == [True, True, True, False]

    def test_an_answer_with_blanks_in_it_is_read_as_one_without(self, window: Window):
        def blanks(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, text=json.dumps(counting()(request).json(), indent=1))

        one, other = ask(counting(), window).frame, ask(blanks, window).frame
        assert one is not None
        assert other is not None
        assert one.equals(other)

    @pytest.mark.parametrize("indent", [None, 1])
    def test_numbers_are_read_as_they_are_written_in_series_of_any_length(
        self, window: Window, indent: int | None
    ):
        texts = [["1", "0.25", "1e+06", "-0", "+7", "123456789012345"], ["NaN"], ["3", "4"]]

        def handler(request: httpx.Request) -> httpx.Response:
            at = steps(question(request))
            rows = [list(map(list, zip(at, each, strict=False))) for each in texts]
            found = [{"metric": {"a": str(n)}, "values": each} for n, each in enumerate(rows)]
            data = {"status": "success", "data": {"resultType": "matrix", "result": found}}
            written = json.dumps(data, indent=indent, separators=None if indent else (",", ":"))
            return httpx.Response(200, text=written)

        frame = ask(handler, window, names=from_table({"errors": "", "duration": ""})).frame
        assert frame is not None
        told = frame[frame["role"] == "requests"]
        wanted = [float(text) for each in texts for text in each]
        assert np.array_equal(told["value"], wanted, equal_nan=True)
        assert told.groupby("series")["timestamp"].nunique().tolist() == [6, 1, 2]
        assert told["timestamp"].diff()[1:6].dt.total_seconds().tolist() == [15.0] * 5

    @pytest.mark.parametrize("rows", ['["x,"]', '[""""]', '["1","2"]', "[1,2]", '[1,"2"],[]', '[1,"2"]["3"]'])
    def test_what_is_no_row_spoils_the_answer(self, window: Window, rows: str):
        text = '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[%s]}]}}'
        fetched = ask(lambda _: httpx.Response(200, text=text % rows), window)
        assert fetched.frame is None
        assert (
            "not that of a Prometheus API" in the_gap(fetched).reason
            or "other times" in the_gap(fetched).reason
        )

    @pytest.mark.parametrize("cut", [0, 40])
    def test_a_packed_answer_is_read_unless_its_end_is_missing(self, window: Window, cut: int):
        def packed(request: httpx.Request) -> httpx.Response:
            content = gzip.compress(counting()(request).content)
            stream = httpx.ByteStream(content[: len(content) - cut])
            return httpx.Response(200, stream=stream, headers={"content-encoding": "gzip"})

        fetched, plain = ask(packed, window), ask(counting(), window)
        assert plain.frame is not None
        if cut:
            assert "not that of a Prometheus API" in the_gap(fetched).reason
        else:
            assert plain.frame.equals(fetched.frame)
            assert [each.sha256 for each in fetched.queries] == [each.sha256 for each in plain.queries]

    def test_an_answer_that_is_not_packed_as_it_says_is_a_gap(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            stream = httpx.ByteStream(counting()(request).content)
            return httpx.Response(200, stream=stream, headers={"content-encoding": "gzip"})

        assert "not gzip" in the_gap(ask(handler, window)).reason

    @pytest.mark.parametrize("value", ["", "1,2", "x", "0x10", "1+2", "1]2", "1[2", "1 2", '1"],[2,"3'])
    def test_a_sample_that_is_no_number_spoils_the_answer(self, window: Window, value: str):
        def handler(request: httpx.Request) -> httpx.Response:
            return matrix({"metric": {}, "values": [[steps(question(request))[0], value]]})

        assert "not that of a Prometheus API" in the_gap(ask(handler, window)).reason

    def test_buckets_have_bounds(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = question(request)
            series = [
                {"metric": {"__name__": "b", "le": le}, "values": [[steps(asked)[0], "1"]]}
                for le in ("0.5", "+Inf", "odd")
            ]
            return matrix(*series)

        fetched = ask(handler, window, names=from_table({"requests": ""}))
        assert fetched.frame is not None
        found = fetched.frame[fetched.frame["role"] == "duration_bucket"]["le"]
        assert found.tolist()[:2] == [0.5, np.inf]
        assert np.isnan(found.tolist()[2])

    def test_warnings_and_partial_answers_are_kept(self, window: Window):
        fetched = ask(
            lambda _: matrix(warnings=["store\x1b[31m down"], infos=["not a counter"], isPartial=True), window
        )
        assert fetched.queries[0].warnings == ("store down", "not a counter", "partial answer")

    def test_what_a_server_could_not_ask_itself_is_a_gap_beside_what_came(self, window: Window):
        """Thanos answers without the stores that are down, and says so in `data`, as it documents."""

        def handler(request: httpx.Request) -> httpx.Response:
            answer = counting()(request).json()
            answer["data"]["warnings"] = ["No StoreAPIs matched", "receive group: store-2:10901 is down"]
            return httpx.Response(200, json=answer)

        fetched = ask(handler, window, names=from_table({"errors": "", "duration": "", "webhooks": "", "alerts": "", "ratelimit_remaining": ""}))  # fmt: skip
        assert fetched.frame is not None
        (reason,) = [gap.reason for gap in fetched.gaps if gap.signal == "metrics:remarks"]
        assert reason.endswith(
            "requests: No StoreAPIs matched; requests: receive group: store-2:10901 is down"
        )
        assert "metrics:remarks" not in {gap.signal for gap in ask(counting(), window).gaps}


class TestWhatIsMissing:
    def test_a_role_of_more_samples_than_allowed_is_a_gap_and_no_part_of_it_is_counted(self, window: Window):
        assert ask(counting(), window, most=100_000).frame is not None
        fetched = ask(counting(), window, most=10)
        assert fetched.frame is None
        assert "10 are the most ([limits] samples)" in fetched.gaps[0].reason
        assert fetched.gaps[0].configured

    def test_a_server_without_our_metrics_is_a_gap_and_not_an_empty_frame(self, window: Window):
        gap = the_gap(ask(lambda _: matrix(), window))
        assert "no series of klaviyo_api_requests_total" in gap.reason
        assert gap.configured

    def test_metrics_that_an_application_need_not_have_are_no_trouble(self, window: Window):
        fetched = ask(counting(), window)
        assert {gap.signal: gap.configured for gap in fetched.gaps} == {
            "metrics:errors": False,
            "metrics:duration_bucket": False,
            "metrics:ratelimit_remaining": False,
            "metrics:webhooks": False,
            "metrics:alerts": False,
        }

    def test_one_role_that_fails_does_not_take_the_others_with_it(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            if "errors" in question(request)["query"]:
                return httpx.Response(503, json={"status": "error", "errorType": "timeout", "error": "slow"})
            return counting()(request)

        fetched = ask(handler, window)
        assert fetched.frame is not None
        assert Gap("metrics:errors", "http://prometheus:9090: HTTP 503, timeout: slow") in fetched.gaps

    def test_a_role_is_read_wholly_or_not_at_all(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            late = int(question(request)["start"]) > window.end.timestamp() - 4000
            return httpx.Response(500, text="oops") if late else counting()(request)

        fetched = ask(handler, Window(window.end - timedelta(hours=46.5), window.end))
        assert "HTTP 500" in the_gap(fetched).reason

    def test_samples_that_begin_late_are_told(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = question(request)
            values = [[at, "1"] for at in steps(asked) if at >= window.start.timestamp() + 3600]
            return matrix({"metric": {"__name__": asked["query"]}, "values": values})

        gaps = {gap.signal: gap.reason for gap in ask(handler, window).gaps}
        assert gaps["metrics:window"] == (
            "samples from 2026-11-23T06:00:00Z to 2026-11-23T07:00:00Z, "
            "asked from 2026-11-23T05:00:00Z to 2026-11-23T07:00:00Z"
            "; what is older is no longer kept, or was not scraped"
        )

    @pytest.mark.parametrize(
        ("kept", "says"), [("30m or 2GiB", True), ("400y", False), ("0s", False), ("?", False)]
    )
    def test_a_window_that_is_longer_than_what_the_server_keeps_is_called_so(
        self, window: Window, kept: str, says: bool
    ):
        def handler(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/status/runtimeinfo"):
                return httpx.Response(200, json={"status": "success", "data": {"storageRetention": kept}})
            asked = question(request) if request.url.path.endswith("query_range") else None
            values = [[at, "1"] for at in steps(asked)[300:]] if asked else []
            return matrix({"metric": {"__name__": asked["query"]}, "values": values}) if asked else matrix()

        fetched = ask(handler, window, transport=httpx.MockTransport(handler))
        (reason,) = [gap.reason for gap in fetched.gaps if gap.signal == "metrics:window"]
        assert ("retention: the server keeps" in reason) is says

    def test_counters_that_do_not_add_up_are_told(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = question(request)
            rise = {"klaviyo_api_requests_total": 3, "klaviyo_api_errors_total": 1}.get(asked["query"], 0)
            labels = {"__name__": asked["query"], "endpoint": "/api/events", "status": "error"}
            return matrix({"metric": labels, "values": [[at, str(rise * at)] for at in steps(asked)]})

        reasons = [gap.reason for gap in ask(handler, window).gaps if gap.signal == "metrics:sums"]
        assert reasons == ["/api/events: 21600 failures by the requests counter, 7200 by the other"]

    def test_calls_that_two_servers_scraped_count_once_which_is_told(self, window: Window):
        alone, pair = ask(scraped(), window), ask(scraped(a=0, b=7), window)
        columns = ["timestamp", "calls", "status"]
        assert pair.frame is not None
        assert alone.frame is not None
        pd.testing.assert_frame_equal(increases(pair.frame)[columns], increases(alone.frame)[columns])
        assert [(gap.signal, gap.reason) for gap in pair.gaps if gap.signal == "metrics:replicas"] == [
            (
                "metrics:replicas",
                "1 series were scraped by another server or job too: left out, the others are counted",
            )
        ]

    def test_of_two_servers_the_one_that_missed_less_is_counted(self, window: Window):
        alone, pair = ask(scraped(), window), ask(scraped(a=0, b=0, without="a"), window)
        assert pair.frame is not None
        assert alone.frame is not None
        assert increases(pair.frame)["calls"].sum() == increases(alone.frame)["calls"].sum()
        assert pair.frame["series"].str.contains('"replica": "b"').all()

    def test_processes_that_are_called_replicas_are_all_counted(self, window: Window):
        alone, pair = ask(scraped(), window), ask(scraped(a=0, b=500_000), window)
        assert pair.frame is not None
        assert alone.frame is not None
        assert increases(pair.frame)["calls"].sum() == 2 * increases(alone.frame)["calls"].sum()
        assert "metrics:replicas" not in {gap.signal for gap in pair.gaps}

    def test_calls_of_a_process_that_two_jobs_found_count_once(self, window: Window):
        def jobs(*instances: str) -> Handler:
            labels = [{"job": f"job-{at}", "instance": each} for at, each in enumerate(instances)]

            def handler(request: httpx.Request) -> httpx.Response:
                asked = question(request)
                if asked["query"] != "klaviyo_api_requests_total":
                    return matrix()
                known = {"__name__": asked["query"], "status": "success"}
                values = [[at, str(at)] for at in steps(asked)]
                return matrix(*({"metric": known | each, "values": values} for each in labels))

            return handler

        once, two = ask(jobs("web-1", "web-1"), window), ask(jobs("web-1", "web-2"), window)
        assert once.frame is not None
        assert two.frame is not None
        assert increases(once.frame)["calls"].sum() == window.seconds
        assert increases(two.frame)["calls"].sum() == 2 * window.seconds
        assert ["metrics:replicas" in {gap.signal for gap in each.gaps} for each in (once, two)] == [
            True,
            False,
        ]

    def test_where_another_server_goes_on_all_calls_are_counted_and_none_of_days_before(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = question(request)
            if asked["query"] != "klaviyo_api_requests_total":
                return matrix()
            known = {"__name__": asked["query"], "status": "success", "instance": "web-1"}
            times = steps(asked)
            halves = zip("ab", (times[: len(times) // 2], times[len(times) // 2 :]), strict=True)
            return matrix(
                *(
                    {"metric": known | {"replica": name}, "values": [[at, str(at)] for at in half]}
                    for name, half in halves
                )
            )

        found = ask(handler, window)
        assert found.frame is not None
        assert increases(found.frame)["calls"].sum() == window.seconds - 15  # between the last and the first
        assert "metrics:replicas" not in {gap.signal for gap in found.gaps}

    def test_of_copies_all_counters_of_a_process_are_taken_from_the_same_server(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            asked = question(request)
            if asked["query"] != "klaviyo_api_requests_total":
                return matrix()
            times, found = steps(asked), []
            for status, begun in (("success", 0), ("error", 200)):
                for name, missed in (("a", 20), ("b", 0)):
                    labels = {"__name__": asked["query"], "status": status, "instance": "web-1"}
                    kept = times[max(begun, missed) :]
                    values = [[at, str(at - times[begun] + 1)] for at in kept]
                    found.append({"metric": labels | {"replica": name}, "values": values})
            return matrix(*found)

        found = ask(handler, window)
        assert found.frame is not None
        failed = increases(found.frame).query("status == 'error'")["calls"].sum()
        assert failed == window.seconds - 200 * 15 + 1

    def test_nothing_to_ask_is_a_gap_that_nobody_configured(self, window: Window):
        names = MetricNames((), (), (), (), (), alerts="")
        assert not the_gap(ask(counting(), window, names=names)).configured


HTML = httpx.Response(200, headers={"content-type": "text/html"}, text="<h1>Sign in</h1>")


class TestTrouble:
    @pytest.mark.parametrize(
        ("response", "says"),
        [
            (HTML, "not that of a Prometheus API"),
            (httpx.Response(404, headers={"content-type": "text/html"}, text="<p>"), "HTTP 404 with text/html"),
            (httpx.Response(401, text="no org id\n"), "it refused us (HTTP 401, no org id): set KLAVIYO_NB_METRICS_TOKEN, or a tenant's id"),
            (httpx.Response(403, html="<p>no"), "it refused us (HTTP 403)"),
            (httpx.Response(404, text="404 page not found"), "HTTP 404, 404 page not found with text/plain: is it the"),
            (httpx.Response(302, headers={"location": "https://sso.example/login?x=1"}), "redirects to https://sso.example/login:"),
            (
                httpx.Response(
                    400,
                    json={"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected <by>"},
                ),
                "HTTP 400, bad_data: 1:5: parse error: unexpected <by>",
            ),
            (
                httpx.Response(
                    400,
                    json={
                        "status": "error",
                        "errorType": "bad_data",
                        "error": "exceeded maximum resolution of 11,000 points per timeseries.",
                    },
                ),
                "exceeded maximum resolution of 11,000 points",
            ),
            (httpx.Response(200, json={"status": "error", "errorType": "x", "error": "y"}), "HTTP 200, x: y"),
            (httpx.Response(502), "HTTP 502 with no type"),
            (httpx.Response(200, json=[]), "not that of a Prometheus API"),
            (httpx.Response(200, json={"status": "success"}), "not that of a Prometheus API"),
            (httpx.Response(200, json={"status": "success", "data": {"resultType": "vector"}}), "not that of"),
            (httpx.Response(200, content=b'{"status":"success","data":{"resu'), "not that of a Prometheus API"),
            (matrix({"metric": {}, "values": [[0, "1"]]}), "other times than those asked for"),
            (matrix({"metric": {}, "values": [["now", "1"]]}), "not that of a Prometheus API"),
            (matrix({"metric": {}, "values": [[1.0]]}), "not that of a Prometheus API"),
            (matrix({"metric": [], "values": [[1.0, "1"]]}), "not that of a Prometheus API"),
        ],
    )  # fmt: skip
    def test_a_servers_refusal_is_a_gap_with_its_reason(
        self, window: Window, response: httpx.Response, says: str
    ):
        gap = the_gap(ask(always(response), window))
        assert says in gap.reason
        assert gap.reason.startswith("http://prometheus:9090: ")
        assert gap.configured

    @pytest.mark.parametrize(
        ("url", "token", "told"),
        [
            ("http://prometheus:9090", None, True),
            ("http://ada:lovelace@prometheus:9090", None, False),
            ("http://prometheus:9090", "abc", False),
        ],
    )
    def test_who_showed_nothing_is_told_of_basic_authentication_too(
        self, window: Window, url: str, token: str | None, told: bool
    ):
        options: dict[str, Any] = {
            "timeout_s": 5.0,
            "transport": httpx.MockTransport(always(httpx.Response(401))),
        }
        found = asyncio.run(fetch(url, window, names=MetricNames(), token=token, **options))
        assert ("or write USER:PASSWORD@ before the host" in the_gap(found).reason) is told

    def test_times_given_twice_or_backwards_are_refused(self, window: Window):
        def handler(request: httpx.Request) -> httpx.Response:
            first, second, *_ = steps(question(request))
            return matrix({"metric": {}, "values": [[second, "1"], [second, "2"], [first, "3"]]})

        assert "other times" in the_gap(ask(handler, window)).reason

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (
                httpx.ConnectError("[Errno 111] Connection refused"),
                "no answer: [Errno 111] Connection refused",
            ),
            (httpx.ReadTimeout(""), "no answer in time"),
            (httpx.RemoteProtocolError(""), "no answer: RemoteProtocolError"),
            (ssl.SSLError("alert certificate required"), "no answer: ('alert certificate required',)"),
            (httpx.ReadError("\x1b]0;owned\x07reset\n\nby peer"), "reset by peer"),
        ],
    )
    def test_no_answer_is_a_gap_with_its_reason(self, window: Window, error: Exception, says: str):
        def handler(_: httpx.Request) -> httpx.Response:
            raise error

        reason = the_gap(ask(handler, window)).reason
        assert says in reason
        assert reason.isprintable()

    def test_hostile_words_are_harmless_short_and_on_one_line(self, window: Window):
        words = "\x1b[2J\u202ebad\r\nline " + "x" * 5000
        response = httpx.Response(400, json={"status": "error", "errorType": "bad_data", "error": words})
        reason = the_gap(ask(always(response), window)).reason
        assert reason.isprintable()
        assert len(reason) < 400

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["status", "data", "result", "resultType", "metric", "values", "x"]), inner)), st.sampled_from([200, 204, 302, 400, 500]))  # fmt: skip
    def test_whatever_json_comes_it_is_a_gap_and_no_number(self, value: Any, status: int):
        end = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
        response = httpx.Response(status, content=orjson.dumps(value))
        the_gap(ask(always(response), Window.last(timedelta(hours=2), end)))


class _Dripping(BaseHTTPRequestHandler):
    """Sends a header, then a byte now and then until told to stop."""

    over: Event

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.over.wait(0.02):
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def dripping() -> Iterator[str]:
    handler = type("Handler", (_Dripping,), {"over": Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        handler.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_drips_is_left_when_the_time_is_up(window: Window):
    with dripping() as url:
        gap = the_gap(ask(counting(), window, url, timeout_s=0.3, transport=None))
    assert gap.reason == f"{url}: no answer in time"


def test_no_server_is_a_gap(window: Window):
    with dripping() as url:
        pass
    assert "no answer" in the_gap(ask(counting(), window, url, transport=None)).reason
