"""Applications that name their metrics in their own way, and servers that scrape at their own pace."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from klaviyo_nb.commands.metric_rules import alert_rules
from klaviyo_nb.drills.prometheus import selector
from klaviyo_nb.metrics.client import Fetched, fetch
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.metrics.onset import episodes
from klaviyo_nb.metrics.rates import bins, increases
from klaviyo_nb.metrics.rules import fitted, shipped
from klaviyo_nb.window import Window
from metric_servers import Need

Labels = dict[str, str]


@dataclass
class Pretend:
    """A server whose counters rise by one a second from the epoch; those that failed, only for ten minutes."""

    series: Sequence[Labels]
    window: Window
    scrape_s: int = 15
    silent_s: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode() or request.url.query.decode())
        first, last = self.window.start.timestamp() - 3600, self.window.end.timestamp() - self.silent_s
        end = request.url.path.rpartition("/")[2]
        if end == "series":
            found = [each for each in self.series if any(selector(one)(each) for one in form["match[]"])]
            return httpx.Response(200, json={"status": "success", "data": found})
        if end == "query":
            at, expr = float(form["time"][0]), form["query"][0].removesuffix("[900s]")
            times = [t for t in self.scrapes(at - 900, at) if first <= t <= last]
            return self.matrix(expr, [(t, t) for t in times])
        grid = range(int(form["start"][0]), int(form["end"][0]) + 1, int(form["step"][0]))
        last_scrape = [(t, self.scrapes(t - self.scrape_s, t)[-1]) for t in grid]
        return self.matrix(form["query"][0], [(t, at) for t, at in last_scrape if first <= at <= last])

    def scrapes(self, after: float, until: float) -> list[float]:
        first = int(after // self.scrape_s + 1) * self.scrape_s
        return [float(at) for at in range(first, int(until) + 1, self.scrape_s)]

    def matrix(self, expr: str, times: list[tuple[float, float]]) -> httpx.Response:
        keep = selector(expr)
        result = [
            {"metric": each, "values": [[at, f"{self.value(each, scraped):.1f}"] for at, scraped in times]}
            for each in self.series
            if keep(each) and times
        ]
        return httpx.Response(
            200, json={"status": "success", "data": {"resultType": "matrix", "result": result}}
        )

    def value(self, labels: Labels, at: float) -> float:
        fails = self.window.start.timestamp() + 3600
        bad = bool({"error_type", "error.type"} & set(labels)) or any(
            value in ("503", "error") for value in labels.values()
        )
        return min(max(at - fails, 0.0), 600.0) if bad else at - self.window.start.timestamp() + 7200


def ask(server: Pretend, **table: Any) -> Fetched:
    options: dict[str, Any] = {"timeout_s": 5.0, "transport": httpx.MockTransport(server)}
    return asyncio.run(fetch("http://prometheus:9090", server.window, names=from_table(table), **options))


def named(name: str, *labels: Labels, **common: str) -> list[Labels]:
    return [{"__name__": name} | common | each for each in labels]


def hint(fetched: Fetched) -> str:
    return next((gap.reason for gap in fetched.gaps if gap.signal == "metrics:names"), "")


def pasted(fetched: Fetched) -> dict[str, Any]:
    """The `[metrics]` table that the hint says to type."""
    _, _, line = hint(fetched).partition("[metrics] table, if it has one): ")
    table: dict[str, Any] = tomllib.loads(line)["metrics"]
    return table


OTEL = named(
    "http_client_request_duration_seconds_count",
    {"http_response_status_code": "202"},
    {"http_response_status_code": "503", "error_type": "503"},
    {"error_type": "timeout"},
    server_address="a.klaviyo.com",
    http_request_method="POST",
)
#: As OpenTelemetry writes the same, and servers keep it that translate no name.
SEMANTIC = {
    "http_response_status_code": "http.response.status_code",
    "http_request_method": "http.request.method",
    "server_address": "server.address",
    "error_type": "error.type",
}
DOTTED = [
    {SEMANTIC.get(label, label): value for label, value in each.items()}
    | {"__name__": "http.client.request.duration_count"}
    for each in OTEL
]
ELSEWHERE = named(
    "http_client_request_duration_seconds_count",
    {"http_response_status_code": "200"},
    server_address="api.stripe.com",
)
MICROMETER = named(
    "http_client_requests_seconds_count",
    {"status": "200", "outcome": "SUCCESS"},
    {"status": "503", "outcome": "SERVER_ERROR"},
    clientName="a.klaviyo.com",
    method="GET",
    uri="/api/profiles/{id}",
)
OWN = named(
    "shop_klaviyo_http_requests_total", {"code": "200"}, {"code": "503"}, route="/api/profiles", method="get"
)


class TestNames:
    @pytest.mark.parametrize(
        ("series", "used", "sums"),
        [
            (OTEL + ELSEWHERE, 'http_client_request_duration_seconds_count{server_address="a.klaviyo.com"}', {"success": 7200, "503": 600, "unknown": 600}),
            (MICROMETER, 'http_client_requests_seconds_count{clientName="a.klaviyo.com"}', {"success": 7200, "503": 600}),
            (OWN, "shop_klaviyo_http_requests_total", {"success": 7200, "503": 600}),
            (OWN + OTEL, "shop_klaviyo_http_requests_total", {"success": 7200, "503": 600}),
            (OWN + named("shop_klaviyo_request_duration_seconds_count", {"code": "200"}), "shop_klaviyo_http_requests_total", {"success": 7200, "503": 600}),
            (named("klaviyo_calls_total", {"result": "success"}, {"result": "error"}), "klaviyo_calls_total", {"success": 7200, "error": 600}),
        ],
        ids=["opentelemetry", "micrometer", "own", "own before a library's", "counter before histogram", "success or error"],
    )  # fmt: skip
    def test_what_is_understood_is_used_and_told_with_what_to_type(
        self, window: Window, series: list[Labels], used: str, sums: dict[str, float]
    ):
        fetched = ask(Pretend(series, window))
        assert fetched.frame is not None
        assert increases(fetched.frame).groupby("status")["calls"].sum().to_dict() == sums
        assert f"used {used} instead" in hint(fetched)
        assert pasted(fetched)["requests"] == used
        assert fetched.queries[0].expr == used

    def test_what_else_may_count_calls_is_named_where_it_was_not_looked_at(self, window: Window):
        told = hint(ask(Pretend(OWN + OTEL + MICROMETER, window)))
        assert "used shop_klaviyo_http_requests_total instead" in told
        _, _, beside = told.partition("Not looked at, though it may count calls too: ")
        assert 'http_client_request_duration_seconds_count{server_address="a.klaviyo.com"}' in beside
        assert 'http_client_requests_seconds_count{clientName="a.klaviyo.com"}' in beside

    def test_the_histogram_of_the_same_calls_is_not_said_to_be_left_out(self, window: Window):
        same = named("shop_klaviyo_request_duration_seconds_count", {"code": "200"}, {"code": "503"})
        assert "Not looked at" not in hint(ask(Pretend(OWN + same, window)))
        assert "Not looked at" not in hint(ask(Pretend(OTEL + ELSEWHERE, window)))

    def test_what_it_says_to_type_gives_the_same(self, window: Window):
        table = {
            "requests": 'http_client_request_duration_seconds_count{server_address="a.klaviyo.com"}',
            "labels": {"status": "http_response_status_code", "method": "http_request_method"},
        }
        typed, found = ask(Pretend(OTEL, window), **table), ask(Pretend(OTEL, window))
        assert not hint(typed)
        assert pasted(found)["labels"] == table["labels"]
        assert typed.frame is not None
        assert found.frame is not None
        assert typed.frame.equals(found.frame)

    @pytest.mark.parametrize("series", [OTEL, MICROMETER, OWN, DOTTED])
    def test_what_it_says_to_type_can_be_pasted(self, window: Window, series: list[Labels]):
        found = ask(Pretend(series, window))
        typed = ask(Pretend(series, window), **pasted(found))
        assert not hint(typed)
        assert typed.names.expressions() == found.names.expressions()
        assert typed.names.labels == found.names.labels

    def test_names_with_dots_are_asked_for_as_prometheus_3_takes_them(self, window: Window):
        other = [each | {"server.address": "api.stripe.com"} for each in DOTTED]
        fetched = ask(Pretend(DOTTED + other, window))
        assert fetched.frame is not None
        sums = increases(fetched.frame).groupby("status")["calls"].sum().to_dict()
        assert sums == {"success": 7200, "503": 600, "unknown": 600}
        name = '__name__="http.client.request.duration_count"'
        assert fetched.queries[0].expr == f'{{{name},"server.address"="a.klaviyo.com"}}'
        text, unfit = alert_rules(fetched, window)
        assert "a name without dots" in str(unfit)
        assert text.endswith(shipped())

    @pytest.mark.parametrize("series", [OWN, []], ids=["names without dots", "nothing"])
    def test_a_server_without_names_with_dots_is_asked_for_the_others(
        self, window: Window, series: list[Labels]
    ):
        server = Pretend(series, window)

        def older(request: httpx.Request) -> httpx.Response:
            asked = parse_qs(request.content.decode() or request.url.query.decode())
            if any("server.address" in each.replace("\\", "") for each in asked.get("match[]", [])):
                said = {"status": "error", "errorType": "bad_data", "error": "unexpected character"}
                return httpx.Response(400, json=said)
            return server(request)

        options: dict[str, Any] = {"timeout_s": 5.0, "transport": httpx.MockTransport(older)}
        fetched = asyncio.run(fetch("http://prometheus:9090", window, names=from_table({}), **options))
        assert ("used shop_klaviyo_http_requests_total instead" in hint(fetched)) is bool(series)

    def test_the_histogram_beside_the_counter_gives_durations_in_seconds(self, window: Window):
        count = named(
            "http_client_duration_milliseconds_count",
            {"http_status_code": "200"},
            net_peer_name="a.klaviyo.com",
        )
        bucket = named(
            "http_client_duration_milliseconds_bucket",
            {"le": "250"},
            {"le": "+Inf"},
            net_peer_name="a.klaviyo.com",
        )
        fetched = ask(Pretend(count + bucket, window))
        assert fetched.frame is not None
        assert sorted(fetched.frame["le"].dropna().unique()) == [0.25, float("inf")]

    def test_configured_names_that_are_there_are_asked_for_alone(self, window: Window):
        configured = named("klaviyo_api_requests_total", {"status": "success"})
        fetched = ask(Pretend(configured + OTEL, window))
        assert not hint(fetched)
        assert fetched.frame is not None
        assert set(fetched.frame["name"]) == {"klaviyo_api_requests_total"}

    def test_configured_names_that_fell_silent_in_the_window_are_not_replaced(self, window: Window):
        configured = named("klaviyo_api_requests_total", {"status": "success"})
        fetched = ask(Pretend(configured + OTEL, window, scrape_s=30, silent_s=1800))
        assert not hint(fetched)
        assert fetched.queries[0].step_s == 30

    @pytest.mark.parametrize(
        ("series", "why"),
        [
            (named("klaviyo_requests_total", {"status": "done"}), "what status='done' of it means, only you know"),
            (named("klaviyo_requests_total", {}), "no label of it tells how calls ended"),
            (named("klaviyo_requests_total", {"code": "200"}, {"path": "/x"}), "have neither code nor error_type"),
            (named("klaviyo_events_tracked_total", {"status": "success"}), "may count something else"),
            (named("klaviyo:requests_total:sum", {"code": "200"}), "a rule computes it from others"),
            (named("klaviyo_webhook_requests_total", {"status": "success"}), "may count something else"),
            (named("http_client_request_body_size_bytes_count", {"code": "200"}, host="a.klaviyo.com"), "may count something else"),
            (named("crm_klaviyo_requests_total", {"code": "200"}) + OWN, "there are several like it"),
        ],
        ids=["status of its own", "no status", "status in part", "no calls", "of a rule", "webhooks", "sizes", "two series where one was expected"],
    )  # fmt: skip
    def test_what_is_not_understood_is_named_and_never_counted(
        self, window: Window, series: list[Labels], why: str
    ):
        fetched = ask(Pretend(series, window))
        assert fetched.frame is None
        assert why in hint(fetched)
        assert pasted(fetched)["requests"].startswith(series[0]["__name__"])

    def test_where_the_list_of_series_is_refused_it_is_told_that_nobody_looked(self, window: Window):
        server = Pretend(OTEL, window)

        def handler(request: httpx.Request) -> httpx.Response:
            refused = request.url.path.endswith("/series")
            return httpx.Response(503, text="too busy") if refused else server(request)

        names = from_table({})
        transport = httpx.MockTransport(handler)
        fetched = asyncio.run(
            fetch("http://prometheus:9090", window, names=names, timeout_s=5.0, transport=transport)
        )
        assert fetched.frame is None
        assert hint(fetched).startswith("whether other names are there is not known: ")
        assert "too busy" in hint(fetched)

    def test_a_rate_is_named_and_not_offered(self, window: Window):
        told = hint(ask(Pretend(named("klaviyo:requests:rate5m", {"code": "200"}), window)))
        assert "klaviyo:requests:rate5m (it is no counter, as its name says)" in told
        assert "requests = " not in told

    @pytest.mark.parametrize(
        "series",
        [[], ELSEWHERE],
        ids=["nothing", "of others"],
    )
    def test_a_server_that_knows_nothing_of_klaviyo_gives_no_hint(self, window: Window, series: list[Labels]):
        fetched = ask(Pretend(series, window))
        assert fetched.frame is None
        assert not hint(fetched)

    def test_the_users_selector_holds_for_what_is_found_too(self, window: Window):
        both = [each | {"namespace": namespace} for each in OWN for namespace in ("shop", "staging")]
        fetched = ask(Pretend(both, window), selector='namespace="shop"')
        assert fetched.queries[0].expr == 'shop_klaviyo_http_requests_total{namespace="shop"}'
        assert fetched.frame is not None
        assert increases(fetched.frame)["calls"].sum() == 7800


class TestInterval:
    def counters(self) -> list[Labels]:
        return named("klaviyo_api_requests_total", {"status": "success"}, {"status": "error"})

    @pytest.mark.parametrize("scrape_s", [5, 15, 30, 60, 300])
    def test_the_step_is_how_often_samples_were_taken(self, window: Window, scrape_s: int):
        fetched = ask(Pretend(self.counters(), window, scrape_s))
        assert fetched.queries[0].step_s == scrape_s
        assert fetched.frame is not None
        assert {gap.signal for gap in fetched.gaps if gap.configured} == set()
        (episode,) = episodes(bins(fetched.frame), lag_s=scrape_s)
        assert episode.onset is not None
        assert episode.onset[0] <= window.start + timedelta(hours=1) <= episode.onset[1]

    def test_an_interval_that_was_mistyped_is_told_and_not_believed(self, window: Window):
        fetched = ask(Pretend(self.counters(), window, 60), scrape_interval="15s")
        reasons = [gap.reason for gap in fetched.gaps if gap.signal == "metrics:scrape_interval"]
        assert fetched.queries[0].step_s == 60
        assert reasons == ["klaviyo-nb.toml says 15 s, samples lie 60 s apart: that was believed"]

    def test_where_no_sample_tells_the_table_is_believed(self, window: Window):
        fetched = ask(Pretend(self.counters(), window, 15, silent_s=3 * 3600), scrape_interval="20s")
        assert fetched.frame is None


#: Series as a server has them, the label with endpoints, and what calls with an answer of 429 would have in place
#: of those that fail; without it throttling cannot be told.
FOUND = {
    "opentelemetry": (
        [*OTEL, *named("http_client_request_duration_seconds_bucket", {"le": "1"}, {"le": "+Inf"},
                       server_address="a.klaviyo.com", http_request_method="POST")],
        "endpoint", {"http_response_status_code": "429", "error_type": "429"},
    ),
    "micrometer": (MICROMETER, "uri", {"status": "429", "outcome": "CLIENT_ERROR"}),
    "own": (OWN, "route", {"code": "429"}),
    "success or error": (
        named("klaviyo_calls_total", {"result": "success"}, {"result": "error"}, path="/api/events"), "path", None,
    ),
}  # fmt: skip


def fails(series: Labels) -> bool:
    return "error_type" in series or bool({"503", "error"} & set(series.values()))


def written(series: Labels) -> str:
    labels = ",".join(f'{label}="{value}"' for label, value in series.items() if label != "__name__")
    return f"{series['__name__']}{{{labels}}}"


@pytest.mark.real
@pytest.mark.parametrize("case", FOUND)
class TestRules:
    """`promtool test rules` of rules that were written for what was found."""

    def of(self, case: str, window: Window) -> str:
        fetched = ask(Pretend(FOUND[case][0], window))
        assert fetched.frame is not None
        rules = fitted(fetched.names, fetched.frame)
        assert rules is not None
        return rules

    def check(
        self, need: Need, folder: Path, rules: str, values: dict[str, str], alerts: dict[str, bool]
    ) -> None:
        (folder / "rules.yml").write_text(rules)
        tests = [
            {"eval_time": "30m", "alertname": name} | ({} if fires else {"exp_alerts": []})
            for name, fires in alerts.items()
        ]
        case = {
            "interval": "1m",
            "input_series": [{"series": series, "values": each} for series, each in values.items()],
            "alert_rule_test": [each for each in tests if "exp_alerts" in each],
            "promql_expr_test": [
                {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": "30m",
                 "exp_samples": [{"labels": "{}", "value": 1}]}
                for name, fires in alerts.items() if fires
            ],
        }  # fmt: skip
        text = json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]})
        (folder / "test.yml").write_text(text)
        command = [need("promtool"), "test", "rules", str(folder / "test.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, rules + done.stdout + done.stderr

    def series(self, case: str) -> list[Labels]:
        return [each for each in FOUND[case][0] if "le" not in each]

    def test_errors_are_an_alert_and_no_outage(self, need: Need, tmp_path: Path, window: Window, case: str):
        values = {written(each): "0x10 0+10x30" if fails(each) else "0+90x40" for each in self.series(case)}
        alerts = {"KlaviyoHighErrorRate": True, "KlaviyoDown": False, "KlaviyoRateLimited": False}
        self.check(need, tmp_path, self.of(case, window), values, alerts)

    def test_no_success_is_an_outage(self, need: Need, tmp_path: Path, window: Window, case: str):
        values = {written(each): "0+40x40" if fails(each) else "600x40" for each in self.series(case)}
        self.check(need, tmp_path, self.of(case, window), values, {"KlaviyoDown": True})

    def test_few_failures_among_many_calls_are_none(
        self, need: Need, tmp_path: Path, window: Window, case: str
    ):
        values = {written(each): "0+1x40" if fails(each) else "0+90x40" for each in self.series(case)}
        alerts = {"KlaviyoHighErrorRate": False, "KlaviyoDown": False, "KlaviyoRateLimited": False}
        self.check(need, tmp_path, self.of(case, window), values, alerts)

    def test_throttling_is_an_alert_where_a_label_tells_it(
        self, need: Need, tmp_path: Path, window: Window, case: str
    ):
        rules, refused = self.of(case, window), FOUND[case][2]
        if refused is None:
            assert "alert: KlaviyoRateLimited" not in rules
            assert "# Not here: KlaviyoRateLimited: no label of klaviyo_calls_total tells a 429." in rules
            return
        values = {written(each | refused if fails(each) else each): "0+30x40" for each in self.series(case)}
        self.check(need, tmp_path, rules, values, {"KlaviyoRateLimited": True})

    def test_each_alert_names_the_endpoint_by_the_label_that_has_it(
        self, need: Need, tmp_path: Path, window: Window, case: str
    ):
        rules, endpoint = self.of(case, window), FOUND[case][1]
        assert f"by ({endpoint})" in rules
        assert f'{{{{ or $labels.{endpoint} "Klaviyo" }}}}' in rules
        assert "klaviyo_api_" not in rules.partition("groups:")[2]
        timed = case == "opentelemetry"
        assert ("alert: KlaviyoHighLatency" in rules) is timed
        values = {written(each): "0+10x40" for each in self.series(case)}
        self.check(need, tmp_path, rules, values, {"KlaviyoHighErrorRate": True})


def test_the_selector_stands_in_every_rule_also_before_there_are_durations(window: Window):
    series = named("klaviyo_api_requests_total", {"status": "success"}, {"status": "error"}, env="shop")
    fetched = ask(Pretend(series, window), selector='env="shop"')
    text, unfit = alert_rules(fetched, window)
    assert unfit is None
    metrics = re.findall(r"klaviyo_api_\w+\S*", text.partition("groups:")[2])
    assert len(metrics) >= 8
    assert all('{env="shop"' in each for each in metrics), metrics


def test_published_names_keep_the_shipped_rules(window: Window):
    series = named(
        "klaviyo_api_requests_total", {"status": "success"}, {"status": "error"}, endpoint="/api/events"
    )
    fetched = ask(Pretend(series, window))
    assert fetched.frame is not None
    assert fitted(fetched.names, fetched.frame) == shipped()


def test_published_names_with_codes_of_their_own_need_other_rules(window: Window):
    """As shipped, `KlaviyoDown` would fire beside calls that succeed with a 202."""
    series = named("klaviyo_api_requests_total", {"status": "202"}, {"status": "503"}, endpoint="/api/events")
    fetched = ask(Pretend(series, window))
    assert fetched.frame is not None
    rules = fitted(fetched.names, fetched.frame)
    assert rules is not None
    assert 'klaviyo_api_requests_total{status="success"}' not in rules
    assert "klaviyo_api_errors_total" not in rules.partition("groups:")[2]


def test_a_counter_that_does_not_tell_how_calls_ended_has_no_rules(window: Window):
    fetched = ask(Pretend(named("klaviyo_api_requests_total", {"endpoint": "/api/events"}), window))
    assert fetched.frame is not None
    assert fitted(fetched.names, fetched.frame) is None
    text, unfit = alert_rules(fetched, window)
    assert "no counter that tells which calls failed" in str(unfit)
    assert text.endswith(shipped())
