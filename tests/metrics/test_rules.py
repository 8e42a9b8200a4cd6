"""The alert rules that are shipped: they fire, they arrive, and their thresholds fit one's own traffic."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from klaviyo_nb.cli import commands
from klaviyo_nb.frames import METRICS
from klaviyo_nb.metrics.alerts import alerts
from klaviyo_nb.metrics.client import fetch
from klaviyo_nb.metrics.names import MetricNames
from klaviyo_nb.metrics.rules import Limits, limits, shipped, tuned
from klaviyo_nb.window import Window
from metric_servers import SERVERS, Need, Samples, free_port, running

CASES = Path(__file__).with_name("rules_test.yml")


def check(
    need: Need, folder: Path, rules: str, promtool: str = "promtool"
) -> subprocess.CompletedProcess[str]:
    """`promtool test rules`."""
    (folder / "rules.yml").write_text(rules)
    (folder / CASES.name).write_bytes(CASES.read_bytes())
    command = [need(promtool), "test", "rules", str(folder / CASES.name)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.real
@pytest.mark.parametrize("promtool", ["promtool", "promtool-3"])
def test_each_rule_fires_where_it_should_and_nowhere_else(need: Need, tmp_path: Path, promtool: str):
    done = check(need, tmp_path, shipped(), promtool)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
@pytest.mark.parametrize("name", ["KlaviyoHighErrorRate", "KlaviyoDown"])
def test_as_they_were_published_the_two_rules_never_fire(need: Need, tmp_path: Path, name: str):
    published = {
        "KlaviyoHighErrorRate": "rate(klaviyo_api_errors_total[5m]) / rate(klaviyo_api_requests_total[5m]) > 0.05",
        "KlaviyoDown": 'increase(klaviyo_api_errors_total{status_code=~"5.."}[5m]) > 20'
        ' and increase(klaviyo_api_requests_total{status="success"}[5m]) == 0',
    }
    expr = rf"(- alert: {name}\n +expr:) \|\n.*?(?=\n +for:)"
    broken = re.sub(expr, rf"\1 '{published[name]}'", shipped(), flags=re.DOTALL)
    assert broken != shipped()
    done = check(need, tmp_path, broken)
    assert done.returncode != 0
    assert f"alertname: {name}" in done.stdout + done.stderr
    assert "got:[]" in re.sub(r"\s", "", done.stdout + done.stderr)


@pytest.mark.real
def test_rules_with_other_thresholds_are_rules(need: Need, tmp_path: Path):
    (tmp_path / "rules.yml").write_text(
        tuned(Limits(0.12, 40, 4.4, 7), Window.last(timedelta(days=7), datetime(2026, 11, 23, tzinfo=UTC)))
    )
    command = [need("promtool"), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "4 rules found" in done.stdout


@contextmanager
def pager() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """The address of a receiver of alerts, and what came."""
    came: Queue[dict[str, Any]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def alertmanager(need: Need, folder: Path, receiver: str) -> Iterator[str]:
    route = "route: {receiver: pager, group_wait: 0s}\n"
    (folder / "am.yml").write_text(
        f"{route}receivers: [{{name: pager, webhook_configs: [{{url: '{receiver}'}}]}}]\n"
    )
    listen = f"127.0.0.1:{free_port()}"
    command = [
        need("prometheus-alertmanager"), f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'am'}",
        "--cluster.listen-address=", f"--web.listen-address={listen}",
    ]  # fmt: skip
    with running(command, f"http://{listen}/-/ready", folder / "am.log"):
        yield listen


@pytest.mark.real
@pytest.mark.parametrize("program", ["prometheus", "prometheus-3"])
def test_an_alert_that_fires_arrives_at_the_alertmanager_and_in_our_table(
    need: Need, tmp_path: Path, program: str
):
    now = datetime.now(UTC)
    samples, first = Samples(), int(now.timestamp()) - 1200
    for at in range(first, int(now.timestamp()), 15):
        for name, label in (("requests", 'status="success"'), ("errors", 'status_code="503"')):
            family = f"klaviyo_api_{name}_total"
            samples.add(family, f'{family}{{endpoint="/api/events",{label}}}', at, at - first)
    (tmp_path / "rules.yml").write_text(re.sub(r"for: \dm", "for: 0s", shipped()))  # 5 min would be 5 min
    with pager() as (receiver, came), alertmanager(need, tmp_path, receiver) as manager:
        config = (
            f"global: {{evaluation_interval: 1s}}\nrule_files: [{tmp_path / 'rules.yml'}]\n"
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{manager}']}}]}}]}}\n"
        )
        with SERVERS[program](need, tmp_path, samples, config) as server:
            (arrived,) = came.get(timeout=30)["alerts"]
            window = Window(now - timedelta(minutes=10), datetime.now(UTC) + timedelta(seconds=15))
            names = MetricNames(
                errors=(), duration=(), ratelimit_remaining=(), webhooks=(), scrape_interval_s=1
            )
            fetched = asyncio.run(fetch(server, window, names=names, timeout_s=10))
    assert arrived["labels"] == {
        "alertname": "KlaviyoHighErrorRate",
        "endpoint": "/api/events",
        "severity": "P2",
    }
    assert arrived["annotations"]["summary"] == "100% of calls to /api/events fail"
    assert fetched.frame is not None
    (ours,) = alerts(fetched.frame).to_dict("records")
    assert (ours["alert"], ours["severity"]) == ("KlaviyoHighErrorRate", "P2")
    assert now - timedelta(seconds=1) < ours["began"] < window.end


def week(
    per_minute: float, share: float, code: str = "500", seconds: float = 0.2, days: float = 2
) -> pd.DataFrame:
    """METRICS of a quiet application: one endpoint, a step of a minute."""
    rng, size = np.random.default_rng(5), int(days * 1440)
    times = pd.date_range("2026-11-16", periods=size, freq="60s", tz="UTC")
    calls = rng.poisson(per_minute, size)
    failed = rng.binomial(calls, share)
    slow = seconds > 1
    parts = [
        ("requests", "success", None, calls - failed), ("requests", "error", None, failed), ("errors", code, None, failed),
        ("duration_bucket", None, 1.0, calls * (not slow)), ("duration_bucket", None, 2 * seconds, calls), ("duration_bucket", None, np.inf, calls),
    ]  # fmt: skip
    frames = [
        pd.DataFrame({
            "timestamp": times, "role": role, "name": role, "series": json.dumps({"status": status, "le": le}),
            "endpoint": "/api/events", "status": status, "le": le, "value": np.cumsum(values, dtype=float),
        })
        for role, status, le, values in parts
    ]  # fmt: skip
    return METRICS.frame(pd.concat(frames, ignore_index=True))


class TestThresholds:
    def test_ordinary_traffic_keeps_what_was_published(self):
        assert limits(week(30, 0.002)) == Limits()

    def test_where_errors_are_usual_only_more_of_them_is_an_alert(self):
        found = limits(week(30, 0.08))
        assert 0.2 <= found.error_share <= 0.3
        assert found.throttled == Limits().throttled

    def test_where_throttling_is_usual_only_more_of_it_is_an_alert(self):
        assert 25 <= limits(week(30, 0.08, code="429")).throttled <= 50

    def test_slow_calls_that_are_usual_are_no_alert(self):
        assert limits(week(30, 0.0, seconds=4)).p95_s > 10

    def test_few_calls_can_all_fail_too(self):
        assert limits(week(3, 0.0)).down == 8
        assert limits(week(0.4, 0.0)).down == 5

    def test_a_day_with_an_incident_is_not_what_is_usual(self):
        incident, after = week(30, 0.8, days=0.2), week(30, 0.002, days=3)
        incident["timestamp"] += pd.Timedelta(days=3)
        after["timestamp"] += pd.Timedelta(days=3.2)
        found = limits(pd.concat([week(30, 0.002, days=3), incident, after], ignore_index=True))
        assert found == Limits()

    def test_an_endpoint_that_always_fails_does_not_silence_the_alert(self):
        assert limits(week(30, 0.97)).error_share == 0.5

    @pytest.mark.parametrize(
        "frame",
        [METRICS.empty(), week(30, 0.08, days=0.4), week(3, 0.5, days=0.9)],
        ids=["nothing", "less than a day", "few calls"],
    )
    def test_too_little_to_tell_keeps_what_was_published(self, frame: pd.DataFrame):
        assert limits(frame) == Limits()

    def test_the_text_says_where_each_threshold_comes_from(self):
        window = Window.last(timedelta(days=7), datetime(2026, 11, 23, tzinfo=UTC))
        text = tuned(Limits(error_share=0.12, down=7), window)
        assert text.startswith(
            "# Thresholds from 2026-11-16T00:00:00Z to 2026-11-23T00:00:00Z:\n#   error_share 0.12\n"
        )
        assert "> 0.12 # error_share" in text
        assert "> 7 # down" in text
        assert "> 10 # throttled" in text
        assert "#   throttled 10, as published" in text


def test_the_command_prints_the_shipped_rules_without_asking_anybody():
    done = CliRunner().invoke(commands, ["metrics", "--rules"], standalone_mode=False)
    assert done.output == shipped()
