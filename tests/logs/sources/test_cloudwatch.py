"""CloudWatch Logs: boto3 over HTTP against moto's server; refusals, which moto does not give, by a small server."""

from __future__ import annotations

import json
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from klaviyo_nb import logs
from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.reader import LogsRead
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.window import Window

WINDOW = Window.last(timedelta(hours=2), datetime.now(UTC).replace(microsecond=0))  # what is old is not taken
START, END = (int(each.timestamp()) * 1_000 for each in (WINDOW.start, WINDOW.end))
TRACE = (
    "Traceback (most recent call last):",
    '  File "/app/klaviyo_api/wrapper.py", line 88, in create_event',
    "openapi_client.exceptions.ApiException: (429)",
    "Reason: Too Many Requests",
    'HTTP response body: {"errors":[{"status":429,"code":"throttled"}]}',
)


def call(status: int, note: object = "") -> str:
    return f'{{"level":"error","msg":"kLaViYo {note}","url":"https://a.klaviyo.com/api/profiles","status":{status}}}'


def read(url: str, **options: Any) -> LogsRead:
    return logs.read([url], WINDOW, redact=str, **options)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "s",
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def put(moto: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`put(group, stream, (milliseconds, message), …)` in eu-west-1."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    client = boto3.client("logs", region_name="eu-west-1")

    def write(group: str, stream: str, *events: tuple[int, str]) -> None:
        for make, name in (
            (client.create_log_group, {}),
            (client.create_log_stream, {"logStreamName": stream}),
        ):
            with suppress(client.exceptions.ResourceAlreadyExistsException):
                make(logGroupName=group, **name)
        for index in range(0, len(events), 5_000):
            client.put_log_events(
                logGroupName=group, logStreamName=stream,
                logEvents=[{"timestamp": at, "message": text} for at, text in events[index : index + 5_000]],
            )  # fmt: skip

    return write


def test_events_become_calls_with_time_and_stream(put: Callable[..., None]) -> None:
    put(
        "/shop/web", "web/[$LATEST]1", (START - 1, call(500)), (START, call(503)), (START + 60_000, "order done"),
        (END - 1, call(401)), (END, call(500)),
    )  # fmt: skip
    put("/shop/web", "web/2", (START + 61_000, "\n".join(TRACE) + "\n"))
    found = read("cloudwatch://eu-west-1/shop/web")
    assert found.calls["status_code"].tolist() == [503, 429, 401]
    assert found.calls["host"].tolist() == ["web/[$LATEST_1", "web/2", "web/[$LATEST_1"]
    assert found.calls["timestamp"].iloc[0] == WINDOW.start
    (coverage,) = found.coverage
    assert (coverage.source, coverage.gap, coverage.truncated) == (
        "cloudwatch://eu-west-1/shop/web",
        None,
        False,
    )


def test_pages_and_the_borders_of_spans_lose_and_double_nothing(put: Callable[..., None]) -> None:
    put("many", "one", *((START + n // 2 * 500, call(503, n)) for n in range(12_500)))
    put(
        "many",
        "quarters",
        *((START + 1_800_000 * n - one, call(503, f"q{n}{one}")) for n in range(1, 4) for one in (1, 0)),
    )
    found = read("cloudwatch://eu-west-1/many")
    assert len(found.calls) == 12_506
    assert found.calls["message"].nunique() == 12_506


def test_a_record_logged_line_by_line_is_one_call_though_streams_mix(put: Callable[..., None]) -> None:
    for stream in ("a", "b"):
        put("lines", stream, *((START + n, line) for n, line in enumerate(TRACE)))
    found = read("cloudwatch://eu-west-1/lines")
    assert found.calls["status_code"].tolist() == [429, 429]
    assert [message.count("Traceback") for message in found.calls["message"]] == [1, 1]
    assert found.calls["message"].str.contains("Reason: Too Many Requests").all()


def test_a_pattern_is_asked_for_when_it_is_given(put: Callable[..., None]) -> None:
    put("some", "one", (START, call(503)), (START + 1, "klaviyo API error: 401"))
    found = read("cloudwatch://eu-west-1/some?filter=error%3A")
    assert found.calls["status_code"].tolist() == [401]
    assert found.coverage[0].source.endswith("?filter=error%3A")


def test_a_group_that_is_not_there_is_a_gap(put: Callable[..., None]) -> None:
    (coverage,) = read("cloudwatch://eu-west-1/nowhere").coverage
    assert coverage.gap == "CloudWatch: ResourceNotFoundException: The specified log group does not exist."
    assert coverage.truncated


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What is in the list (code, message) is answered to every request; nothing in it: silence."""
    answers: list[tuple[str, str]] = []
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if not answers:
                released.wait(30)
                return
            body = json.dumps({"__type": answers[0][0], "message": answers[0][1]}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield answers
    released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("code", "message"), [("AccessDeniedException", "not authorized to perform: logs:FilterLogEvents"), ("ThrottlingException", "Rate exceeded")]
)  # fmt: skip
def test_denial_and_throttling_are_gaps_in_the_services_own_words(
    refusal: list[tuple[str, str]], code: str, message: str
) -> None:
    refusal.append((code, message))
    short = Window.last(timedelta(minutes=5), WINDOW.end)
    (coverage,) = logs.read(["cloudwatch://eu-west-1/web"], short, redact=str).coverage
    assert coverage.gap == f"CloudWatch: {code}: {message}"
    assert coverage.truncated


def test_a_service_that_hangs_is_left_at_the_deadline(refusal: list[tuple[str, str]]) -> None:
    (coverage,) = read("cloudwatch://eu-west-1/web", deadline=time.monotonic() + 2).coverage
    assert coverage.truncated
    assert coverage.gap is not None


def test_no_credentials_are_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert read("cloudwatch://eu-west-1/web").coverage[0].gap == "CloudWatch: Unable to locate credentials"


@pytest.mark.parametrize("url", ["cloudwatch://", "cloudwatch://eu-west-1", "cloudwatch:///group"])
def test_a_url_that_is_not_complete_says_what_one_looks_like(url: str) -> None:
    with pytest.raises(UsageError, match="not complete") as caught:
        resolve(url)
    assert "cloudwatch://REGION/GROUP" in str(caught.value.hint)


def test_its_parts_travel_to_other_processes() -> None:
    parts = resolve("cloudwatch://eu-west-1/web")[0].chunks(WINDOW)
    assert pickle.loads(pickle.dumps(parts)) == parts


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    (coverage,) = read("cloudwatch://eu-west-1/web").coverage
    assert coverage.gap == "boto3 is not installed: pip install 'klaviyo-nb[cloudwatch]'"
