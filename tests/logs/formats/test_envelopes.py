from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from klaviyo_nb.logs.formats.envelopes import alone, follows, opened, partial
from klaviyo_nb.logs.formats.understand import Told, understand
from klaviyo_nb.logs.scan import Seen, scan
from tests.logs.scanned import each_of

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
MOMENT = 1795410000250000
TRACE = """ERROR push failed
Traceback (most recent call last):
  File "/app/klaviyo_api/wrapper.py", line 88, in create_event
openapi_client.exceptions.ApiException: (429)
Reason: Too Many Requests
HTTP response headers: HTTPHeaderDict({'Retry-After': '12'})
HTTP response body: {"errors":[{"id":"0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10","status":429,"code":"throttled","source":{"pointer":"/data/"}}]}"""
JSON_LINE = '{"level":"error","msg":"klaviyo failed","url":"https://a.klaviyo.com/api/events","method":"POST","status":429}'


def docker(line: str) -> str:
    return json.dumps(
        {"log": line + "\n", "stream": "stderr", "time": "2026-11-23T05:00:00.250Z"}, separators=(",", ":")
    )


def journald(line: str) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": str(MOMENT), "_HOSTNAME": "web-1", "_PID": "17", "PRIORITY": "6",
                       "SYSLOG_IDENTIFIER": "shop", "MESSAGE": line}, separators=(",", ":"))  # fmt: skip


def journald_bytes(line: str) -> str:
    return json.dumps(
        {"MESSAGE": list(line.encode()), "__REALTIME_TIMESTAMP": str(MOMENT), "_HOSTNAME": "web-1"},
        separators=(",", ":"),
    )


WRAPPERS: dict[str, Callable[[str], str]] = {
    "docker json-file": docker,
    "Kubernetes CRI": lambda line: f"2026-11-23T05:00:00.25Z stderr F {line}",
    "journald JSON": journald,
    "journald JSON, byte values": journald_bytes,
    "journalctl short-iso": lambda line: f"2026-11-23T05:00:00.250+0000 web-1 shop[17]: {line}",
    "syslog": lambda line: f"Nov 23 05:00:00.250 web-1 shop[17]: {line}",
    "syslog, RFC 5424": lambda line: f"<11>1 2026-11-23T05:00:00.25Z web-1 shop 17 - - {line}",
    "kubectl with prefix": lambda line: f"[pod/web-1/app] 2026-11-23T05:00:00.25Z stderr F {line}",
    "docker compose": lambda line: f"shop-1  | {line}",
    "CRI around docker": lambda line: f"2026-11-23T05:00:00.25Z stderr F {docker(line)}",
    "none": lambda line: line,
}


def records(data: str) -> list[Told]:
    return [
        understand(record.raw, NEAR) for record in each_of(scan(io.BytesIO(data.encode()).readinto, Seen()))
    ]


def wrapped(text: str, wrapper: str) -> str:
    noise = "something else entirely"
    lines = [noise, *text.split("\n"), noise]
    return "\n".join(WRAPPERS[wrapper](line) for line in lines) + "\n"


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_traceback_is_one_call_whatever_is_wrapped_around_its_lines(wrapper: str) -> None:
    (told,) = records(wrapped(TRACE, wrapper))
    assert told.kind == "call"
    assert (told.fields["status_code"], told.fields["error_code"], told.fields["retry_after_s"]) == (
        429,
        "throttled",
        12.0,
    )
    assert (told.fields["endpoint"], told.fields["level"]) == ("/api/events", "error")
    if wrapper not in ("none", "docker compose"):
        assert told.moment == MOMENT


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_json_is_read_whatever_is_wrapped_around_it(wrapper: str) -> None:
    (told,) = records(wrapped(JSON_LINE, wrapper))
    assert (told.fields["status_code"], told.fields["endpoint"], told.fields["level"]) == (
        429,
        "/api/events",
        "error",
    )


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_lines_after_each_other_stay_calls_of_their_own(wrapper: str) -> None:
    told = records("\n".join(WRAPPERS[wrapper](f"Klaviyo API error: {status}") for status in (429, 503, 401)))
    assert [each.fields["status_code"] for each in told] == [429, 503, 401]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("end", ["body=", "response:"])
def test_an_object_with_a_time_of_its_own_is_no_body_of_the_line_before_it(wrapper: str, end: str) -> None:
    text = f"ERROR POST https://a.klaviyo.com/api/events 429 in 30 ms {end}"
    line = json.dumps({"time": "2026-11-23T05:01:40Z", **json.loads(JSON_LINE), "status": 202})
    found = records("\n".join(map(WRAPPERS[wrapper], (text, line))))
    assert [each.fields["status_code"] for each in found] == [429, 202]
    assert wrapper != "none" or [each.moment for each in found] == [None, MOMENT + 99_750_000]


@pytest.mark.parametrize("wrapper", ["journald JSON", "syslog", "journalctl short-iso", "syslog, RFC 5424"])
def test_the_envelope_tells_machine_and_process(wrapper: str) -> None:
    (told,) = records(WRAPPERS[wrapper]("Klaviyo API error: 429"))
    assert (told.fields["host"], told.fields["worker"], told.fields["caller"]) == ("web-1", "17", "shop")


def test_a_line_that_cri_cut_is_put_together() -> None:
    data = (
        '2026-11-23T05:00:00.25Z stdout P {"msg":"klaviyo fai\n'
        '2026-11-23T05:00:00.25Z stdout P led","url":"https://a.klavi\n'
        '2026-11-23T05:00:00.25Z stdout F yo.com/api/events","status":503}\n'
        "2026-11-23T05:00:01Z stdout F other\n"
    )
    (told,) = records(data)
    assert (told.fields["status_code"], told.fields["endpoint"]) == (503, "/api/events")


def test_a_line_that_docker_cut_is_put_together() -> None:
    first = '{"log":"{\\"msg\\":\\"klaviyo failed\\",","stream":"stdout","time":"2026-11-23T05:00:00.25Z"}\n'
    second = '{"log":"\\"url\\":\\"https://a.klaviyo.com/api/events\\",\\"status\\":503}\\n","stream":"stdout","time":"2026-11-23T05:00:00.25Z"}\n'
    (told,) = records(first + second)
    assert (told.fields["status_code"], told.fields["endpoint"]) == (503, "/api/events")


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (b"ERROR x", b"  at frame"),
        (b"ERROR x", b"Traceback (most recent call last):"),
        (b"  File 'x', line 1", b"ValueError: no"),
        (b"response:", b'{"errors":[]}'),
        (b"body=", b'{"data":{"attributes":{"time":"2026-11-23T05:00:00Z"}}}'),
        (b"GET https://a.klaviyo.com/api/lists", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 OK", b"Content-Type: text/html"),
        (b"Content-Type: text/html", b""),
        (b"", b'{"errors":[]}'),
        (b"klaviyo failed {", b"  status: 429,"),
        (b"  status: 429,", b"}"),
    ],
)
def test_what_continues_a_record(before: bytes, line: bytes) -> None:
    assert follows(before, line)


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (b"ERROR x", b"ERROR y"),
        (b"ERROR x", b""),
        (b'{"a":1}', b'{"b":2}'),
        (b"}", b"{"),
        (b"ERROR x", b"2026-11-23 05:00:00 INFO y"),
        (b"INFO: x", b"INFO: y"),
        (b"ERROR x", b"ValueError: no"),
        (b"Nov 23 05:00:00 web-1 shop[1]: x", b"  indented, of another process"),
    ],
)
def test_what_begins_a_record(before: bytes, line: bytes) -> None:
    assert not follows(before, line)


def test_a_time_and_a_level_are_no_syslog_head() -> None:
    assert opened(b"2026-11-23T05:00:00Z ERROR klaviyo: failed") == 0
    assert not partial(b"2026-11-23T05:00:00Z stdout F whole")
    assert alone(b'{"level":"info","msg":"x"}\n')
    assert not alone(docker("x").encode())


def test_nothing_continues_a_whole_object_in_an_envelope() -> None:
    head = b"2026-11-23T05:00:00.1Z stdout F "
    assert not follows(head + b'{"msg":"klaviyo"}\n', head + b"Traceback (most recent call last):\n")
    assert follows(head + b"klaviyo failed\n", head + b"Traceback (most recent call last):\n")


SPRING = "2026-11-23T05:00:00.250Z ERROR 7 --- [nio-8080-exec-3] c.s.crm.Push : push failed"
GATEWAY = "com.shop.GatewayException: 503 from POST https://a.klaviyo.com/api/events"


def test_an_exception_behind_an_empty_line_belongs_to_the_trouble_before_it() -> None:
    (told,) = records(f"{SPRING}\n\n{GATEWAY}\n\tat com.shop.Push.run(Push.java:41)\n")
    assert (told.moment, told.fields["level"], told.fields["status_code"]) == (MOMENT, "error", 503)


@pytest.mark.parametrize("line", [JSON_LINE, "[crm] klaviyo: 502 for GET https://a.klaviyo.com/api/lists"])
def test_a_line_of_its_own_behind_an_empty_line_belongs_to_nothing_before_it(line: str) -> None:
    told = [each for each in records(f"{SPRING}\n\n{line}\n") if each.kind == "call"]
    assert [(each.moment, each.fields["status_code"]) for each in told] == [
        (None, 429 if "429" in line else 502)
    ]
