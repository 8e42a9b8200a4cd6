"""One incident, put into real servers: all must give the same counts and the same onset."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.metrics.alerts import alerts
from klaviyo_nb.metrics.client import Fetched, fetch
from klaviyo_nb.metrics.impact import impact
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.metrics.onset import episodes
from klaviyo_nb.metrics.rates import bins, increases, latency
from klaviyo_nb.window import Window
from metric_servers import SERVERS, Need, Samples

pytestmark = pytest.mark.real

SCRAPE = 15
START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=2))
ONSET, RECOVERED = START + timedelta(minutes=70, seconds=7), START + timedelta(minutes=95, seconds=4)
#: A process that begins anew at this moment; its counters with it.
RESTART = START + timedelta(minutes=30)
#: When the alert fired; the server that evaluated it wrote no word about its end.
ALERTED = ONSET + timedelta(minutes=5), RECOVERED + timedelta(minutes=1)
FIRING = 'ALERTS{alertname="KlaviyoHighErrorRate",alertstate="firing",severity="critical"}'
OTHERS = FIRING.replace("KlaviyoHighErrorRate", "DiskFull")
BOUNDS = ("0.1", "0.5", "2.5", "+Inf")


@dataclass
class Truth(Samples):
    """What was generated, and what it adds up to."""

    calls: int = 0
    failed: int = 0


def incident() -> Truth:
    """Two processes, 2 calls a second each; 429s on /api/profiles from `ONSET` to `RECOVERED`."""
    rng = np.random.default_rng(7)
    truth = Truth()
    for process, offset in (("web-1:8080", 3.0), ("web-2:8080", 8.0)):
        totals: dict[tuple[str, str], float] = {}
        for scrape in range(-20, 2 * 3600 // SCRAPE + 1):
            until = START + timedelta(seconds=scrape * SCRAPE + offset)
            since = until - timedelta(seconds=SCRAPE)
            if process == "web-2:8080" and since <= RESTART < until:
                totals = {}
            for endpoint in ("/api/profiles/", "/api/events/"):
                _count(truth, totals, process, endpoint, since, until, rng)
            for (family, name), value in totals.items():
                truth.samples[family].setdefault(name, []).append((until.timestamp(), value))
            gauge = f'klaviyo_rate_limit_remaining{{instance="{process}"}}'
            truth.samples["klaviyo_rate_limit_remaining"].setdefault(gauge, []).append(
                (until.timestamp(), 9.0)
            )
    length = ALERTED[1] - ALERTED[0]
    firing = [
        ((ALERTED[0] + timedelta(seconds=at)).timestamp(), 1.0) for at in range(0, length.seconds, SCRAPE)
    ]
    truth.samples["ALERTS"] |= {FIRING: firing, OTHERS: firing}
    return truth


def _count(
    truth: Truth,
    totals: dict[tuple[str, str], float],
    process: str,
    endpoint: str,
    since: datetime,
    until: datetime,
    rng: np.random.Generator,
) -> None:
    def add(family: str, name: str, labels: str, amount: float) -> None:
        series = f'{name}{{instance="{process}",endpoint="{endpoint}",{labels}}}'
        totals[family, series] = totals.get((family, series), 0.0) + amount

    hit = max(0.0, (min(until, RECOVERED) - max(since, ONSET)) / (until - since)) * (
        endpoint == "/api/profiles/"
    )
    calls = int(rng.poisson(SCRAPE))
    failed = int(rng.binomial(calls, 0.8 * hit + 0.01 * (1 - hit)))
    add(
        "klaviyo_api_requests_total",
        "klaviyo_api_requests_total",
        'method="GET",status="success"',
        calls - failed,
    )
    if failed:
        add("klaviyo_api_requests_total", "klaviyo_api_requests_total", 'method="GET",status="error"', failed)
        code = "429" if hit else "500"
        add("klaviyo_api_errors_total", "klaviyo_api_errors_total", f'status_code="{code}"', failed)
    for bound, share in zip(BOUNDS, (0.5, 0.9, 1.0, 1.0), strict=True):
        bucket = "klaviyo_api_duration_seconds_bucket"
        add("klaviyo_api_duration_seconds", bucket, f'method="GET",le="{bound}"', round(calls * share))
    if since >= START - timedelta(seconds=SCRAPE):
        truth.calls += calls
        truth.failed += failed


@pytest.fixture(scope="module")
def truth() -> Truth:
    return incident()


def ask(url: str, window: Window = WINDOW, **table: object) -> Fetched:
    return asyncio.run(fetch(url, window, names=from_table(table), timeout_s=20))


@pytest.fixture(scope="module")
def fetched(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Need], Fetched]:
    found: dict[str, Fetched] = {}

    def once(server: str, need: Need) -> Fetched:
        if server not in found:
            with SERVERS[server](need, tmp_path_factory.mktemp(server), truth) as url:
                found[server] = ask(url)
        return found[server]

    return once


@pytest.mark.parametrize("server", SERVERS)
def test_what_was_put_in_comes_out(
    server: str, need: Need, fetched: Callable[[str, Need], Fetched], truth: Truth
):
    found = fetched(server, need)
    assert found.frame is not None
    assert {gap.signal for gap in found.gaps} == {"metrics:webhooks"}
    (alert,) = alerts(found.frame).itertuples(index=False)
    assert (alert.alert, alert.severity) == ("KlaviyoHighErrorRate", "critical")
    assert timedelta(0) <= alert.began - ALERTED[0] <= timedelta(seconds=SCRAPE)
    steps = increases(found.frame)
    assert abs(steps["calls"].sum() - truth.calls) <= 0.01 * truth.calls
    total = impact(bins(found.frame), WINDOW)
    assert total.failed_calls is not None
    assert abs(total.failed_calls - truth.failed) <= 0.02 * truth.failed
    sums = steps.groupby(["endpoint", "status"])["calls"].sum()
    assert sums["/api/profiles", "429"] > 1000
    assert ("/api/events", "429") not in sums
    assert latency(found.frame, "10min")["p50_s"].between(0.05, 0.12).all()
    assert set(found.frame.loc[found.frame["role"] == "ratelimit_remaining", "value"]) == {9.0}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("width", [None, "1min"])
def test_beginning_and_end_are_found(
    server: str, width: str | None, need: Need, fetched: Callable[[str, Need], Fetched]
):
    frame = fetched(server, need).frame
    assert frame is not None
    (episode,) = episodes(bins(frame, width), lag_s=SCRAPE)
    print(server, width, episode)
    assert episode.onset is not None
    assert episode.recovered is not None
    assert episode.onset[0] <= ONSET <= episode.onset[1]
    assert episode.recovered[0] <= RECOVERED <= episode.recovered[1]
    assert episode.onset[1] - episode.onset[0] <= timedelta(minutes=3)


def test_all_servers_give_the_same_counts(need: Need, fetched: Callable[[str, Need], Fetched]):
    first, *others = (fetched(server, need).frame for server in SERVERS)
    assert first is not None
    for other in others:
        assert other is not None
        pd.testing.assert_frame_equal(increases(first), increases(other))
        assert episodes(bins(first)) == episodes(bins(other))


@pytest.mark.parametrize("server", SERVERS)
def test_what_a_server_refuses_is_a_gap(server: str, need: Need, truth: Truth, tmp_path: Path):
    with SERVERS[server](need, tmp_path, truth) as url:
        wrong = ask(url, selector='endpoint=="x"', alerts="")
        ahead = ask(url, Window(WINDOW.end + timedelta(days=1), WINDOW.end + timedelta(days=2)))
        before = ask(url, Window(WINDOW.start - timedelta(hours=1), WINDOW.end))
        lost = ask(f"{url}/elsewhere")
        days = ask(url, Window(WINDOW.end - timedelta(hours=49), WINDOW.end))
    for refused, says in ((wrong, r"HTTP 4\d\d, .*pars"), (ahead, "no series of"), (lost, "HTTP 4")):
        assert refused.frame is None
        assert re.search(says, refused.gaps[0].reason), refused.gaps
        print(server, refused.gaps[0].reason)
    assert "metrics:window" in {gap.signal for gap in before.gaps}
    assert days.frame is not None
    assert days.queries[0].requests == 2


class Dotted(Samples):
    """Calls as OpenTelemetry names them: nine in ten to Klaviyo succeed, and others go elsewhere."""

    name = "http.client.request.duration_count"
    kinds = (("a.klaviyo.com", "202", 9), ("a.klaviyo.com", "503", 1), ("api.stripe.com", "200", 5))
    times = range(int(WINDOW.end.timestamp()) - 3600, int(WINDOW.end.timestamp()) + 1, SCRAPE)

    def openmetrics(self) -> str:
        lines = [
            f'{{"{self.name}","server.address"="{host}","http.response.status_code"="{status}"}} {calls * number} {at}'
            for host, status, calls in self.kinds
            for number, at in enumerate(self.times)
        ]
        return "\n".join([*lines, "# EOF", ""])

    def jsonl(self) -> str:
        """As VictoriaMetrics imports names of any letters."""
        return "\n".join(
            json.dumps({
                "metric": {"__name__": self.name, "server.address": host, "http.response.status_code": status},
                "values": [number * calls for number in range(len(self.times))],
                "timestamps": [1000 * at for at in self.times],
            })
            for host, status, calls in self.kinds
        )  # fmt: skip


@pytest.mark.parametrize(
    ("server", "label"),
    [
        ("prometheus-3", '"server.address"'),
        ("victoria-metrics", r"server\.address"),
        ("victoria-metrics-new", '"server.address"'),
    ],
)
def test_names_with_dots_are_found_and_counted(server: str, label: str, need: Need, tmp_path: Path):
    """As servers keep what OpenTelemetry sends; Prometheus does from its version 3 on."""
    samples = Dotted()
    with SERVERS[server](need, tmp_path, samples) as url:
        if server.startswith("victoria"):
            httpx.post(f"{url}/api/v1/import", content=samples.jsonl(), trust_env=False).raise_for_status()
            httpx.get(f"{url}/internal/force_flush", trust_env=False).raise_for_status()
        found = ask(url)
    assert found.frame is not None
    assert found.queries[0].expr == f'{{__name__="{samples.name}",{label}="a.klaviyo.com"}}'
    assert increases(found.frame).groupby("status")["calls"].sum().to_dict() == {"success": 2160, "503": 240}
