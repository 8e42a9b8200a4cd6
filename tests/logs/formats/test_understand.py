from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.logs.formats.understand import Told, understand

NEAR = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
LINES = tomllib.loads((Path(__file__).parents[1] / "platforms.toml").read_text("utf-8"))["line"]
CALLS = [line for line in LINES if "fields" in line]
MENTIONS = [line for line in LINES if "fields" not in line]

SDK = """2026-11-23 05:00:00,250 ERROR [worker-1] shop.sync: push failed
Traceback (most recent call last):
  File "/app/sync.py", line 17, in push
    client.Events.create_event(body)
  File "/app/.venv/lib/python3.12/site-packages/klaviyo_api/wrapper.py", line 88, in create_event
    raise exc
openapi_client.exceptions.ApiException: (429)
Reason: Too Many Requests
HTTP response headers: HTTPHeaderDict({'Content-Type': 'application/vnd.api+json', 'Retry-After': '12', 'Server': 'cloudflare'})
HTTP response body: {"errors":[{"id":"0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10","status":429,"code":"throttled","title":"Request was throttled.","detail":"Request was throttled. Expected available in 12 seconds.","source":{"pointer":"/data/"},"links":{},"meta":{}}]}
"""
INSPECT = """klaviyo createProfile failed {
  id: '0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10',
  status: 409,
  code: 'duplicate_profile',
  title: 'Conflict.',
  source: { pointer: '/data/attributes' },
  meta: {}
}
"""
RAW_HTTP = """PATCH https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H/
revision: 2026-07-15

HTTP/1.1 404 Not Found
Date: Mon, 23 Nov 2026 05:00:00 GMT
Content-Type: application/vnd.api+json
X-Klaviyo-Req-Id: 0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10

{"errors":[{"id":"0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10","status":404,"code":"not_found","title":"Not found.","detail":"A profile with id x does not exist.","source":{"pointer":"/data/"}}]}
"""
CHALLENGE = """openapi_client.exceptions.ForbiddenException: (403)
Reason: Forbidden
HTTP response headers: HTTPHeaderDict({'Date': 'Mon, 23 Nov 2026 05:00:00 GMT', 'Content-Type': 'text/html', 'cf-mitigated': 'challenge', 'Server': 'cloudflare'})
HTTP response body: <!DOCTYPE html><html><title>Just a moment...</title>
"""
EDGE = """KlaviyoAPI::ApiError: Error message: the server returns an error
HTTP status code: 400
Response headers: {"server" => "cloudflare", "content-type" => "text/html", "cf-ray" => "-"}
Response body: <html><center>cloudflare</center></html>
"""


def told(text: str, **options: Any) -> Told:
    return understand(text.encode(), NEAR, **options)


def found(text: str, *names: str) -> tuple[Any, ...]:
    fields = told(text).fields
    return tuple(fields.get(name) for name in names)


@pytest.mark.parametrize("line", CALLS, ids=lambda line: line["platform"])
def test_a_platforms_line_gives_its_fields(line: dict[str, Any]) -> None:
    result = told(line["text"])
    assert result.kind == "call"
    wrong = {}
    for name, wanted in line["fields"].items():
        got = result.moment if name == "timestamp" else result.fields.get(name)
        if name == "timestamp":
            wanted = round(datetime.fromisoformat(wanted).timestamp() * 1e6)
        if got != (pytest.approx(wanted) if isinstance(wanted, float) else wanted):
            wrong[name] = (got, wanted)
    assert wrong == {}


@pytest.mark.parametrize("line", MENTIONS, ids=lambda line: line["platform"])
def test_naming_klaviyo_is_not_calling_it(line: dict[str, Any]) -> None:
    assert told(line["text"]).kind == "mention"


@pytest.mark.parametrize("host", ["a.klaviyo.cOm", "A.KLAVIYO.COM", "a.klaviyo.com:443"])
def test_a_host_is_known_however_it_is_written(host: str) -> None:
    told = understand(f"POST https://{host}/api/events HTTP/1.1 429".encode(), NEAR)
    assert (told.kind, told.fields["endpoint"], told.fields["status_code"]) == ("call", "/api/events", 429)


def test_the_python_clients_exception_is_one_call() -> None:
    names = (
        "status_code",
        "endpoint",
        "method",
        "error_code",
        "error_pointer",
        "retry_after_s",
        "answered_by",
        "worker",
    )
    assert found(SDK, *names) == (
        429,
        "/api/events",
        "POST",
        "throttled",
        "/data/",
        12.0,
        "klaviyo",
        "worker-1",
    )
    assert found(SDK, "request_id", "level") == ("0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10", "error")


def test_an_inspected_object_is_one_call() -> None:
    names = ("status_code", "endpoint", "error_code", "error_pointer", "request_id")
    assert found(INSPECT, *names) == (
        409, "/api/profiles", "duplicate_profile", "/data/attributes", "0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10",
    )  # fmt: skip


def test_a_recorded_exchange_is_one_call() -> None:
    names = ("method", "status_code", "endpoint", "error_code", "revision", "profile_key", "answered_by")
    assert found(RAW_HTTP, *names) == (
        "PATCH", 404, "/api/profiles/{id}", "not_found", "2026-07-15", "01GDDKASAP8TKDDA2GRZDSVP4H", "klaviyo",
    )  # fmt: skip
    assert told(RAW_HTTP).moment == 1795410000000000


def test_a_challenge_and_an_edge_page_are_not_klaviyos_answers() -> None:
    assert found(CHALLENGE, "status_code", "answered_by") == (403, "challenge")
    assert found(EDGE, "status_code", "answered_by") == (400, "edge")
    assert found("Klaviyo API error: 525 for POST /api/events", "status_code", "answered_by") == (525, "edge")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Klaviyo API timeout after 30000ms", "timeout"),
        ("Klaviyo: ECONNRESET socket hang up", "reset"),
        ("klaviyo connect ECONNREFUSED 104.18.1.1:443", "refused"),
        ("getaddrinfo ENOTFOUND a.klaviyo.com", "dns"),
        ("klaviyo SSLError: certificate verify failed", "tls"),
        ("Klaviyo API network error: fetch failed", "other"),
    ],
)
def test_no_response_says_why(text: str, kind: str) -> None:
    assert found(text, "error_type", "status_code") == (kind, None)


def test_a_status_wins_over_words_of_failure() -> None:
    assert found("Klaviyo API error: 503 - connection reset by upstream", "status_code", "error_type") == (
        503,
        None,
    )


def test_a_success_without_a_status_is_a_call_that_did_not_fail() -> None:
    line = '{"level":30,"msg":"klaviyo.getProfiles","operation":"getProfiles","durationMs":80,"status":"ok"}'
    assert found(line, "endpoint", "status_code", "error_type", "duration_s") == (
        "/api/profiles",
        None,
        None,
        0.08,
    )


@pytest.mark.parametrize(
    "said",
    ["klaviyo ok, next sync in 30s", "klaviyo ok, cached, valid for 30s", "klaviyo ok after waiting 3s"],
)
def test_what_a_success_waits_for_is_not_how_long_it_took(said: str) -> None:
    line = {"msg": said, "url": "https://a.klaviyo.com/api/events", "method": "POST", "status": 202}
    assert found(json.dumps(line), "status_code", "duration_s") == (202, None)


def test_a_failure_without_a_status_is_a_call_that_failed() -> None:
    line = (
        '{"level":30,"msg":"klaviyo.getProfiles","operation":"getProfiles","durationMs":80,"status":"error"}'
    )
    assert found(line, "endpoint", "status_code", "error_type") == ("/api/profiles", None, "other")


@pytest.mark.parametrize(
    ("text", "outcome", "topic"),
    [
        ("[Webhook] Invalid signature rejected", "bad_signature", None),
        ("2026-11-23T05:00:00Z WARN klaviyo webhook: signature mismatch", "bad_signature", None),
        ("[Webhook] Unhandled topic: event:klaviyo.opened_email", "accepted", "event:klaviyo.opened_email"),
        ('{"msg":"klaviyo.webhook.event:klaviyo.clicked_email","topic":"event:klaviyo.clicked_email","durationMs":4}',
         "accepted", "event:klaviyo.clicked_email"),
        ('10.0.0.5 - - [23/Nov/2026:05:00:00 +0000] "POST /webhooks/klaviyo HTTP/1.1" 500 12 "-" "-"', "failed", None),
        ('10.0.0.5 - - [23/Nov/2026:05:00:00 +0000] "POST /webhooks/klaviyo HTTP/1.1" 200 12 "-" "-"', "accepted", None),
        ("klaviyo webhook received and processed", "accepted", None),
        ('{"req":{"method":"POST","url":"/api/webhooks/klaviyo"},"res":{"statusCode":401},"msg":"request completed"}',
         "bad_signature", None),
        ('10.0.0.5 - - [23/Nov/2026:05:00:00 +0000] "POST /api/webhooks/klaviyo HTTP/1.1" 404 12 "-" "-"', "failed", None),
    ],
)  # fmt: skip
def test_a_delivery_is_told_by_its_outcome(text: str, outcome: str, topic: str | None) -> None:
    result = told(text)
    assert (result.kind, result.fields.get("outcome"), result.fields.get("topic")) == (
        "webhook",
        outcome,
        topic,
    )


@pytest.mark.parametrize(
    "text",
    [
        '10.0.0.5 - - [23/Nov/2026:05:00:00 +0000] "POST /webhooks/stripe HTTP/1.1" 400 12 "-" "-"',
        "stripe webhook signature mismatch",
        "webhook worker started",
    ],
)
def test_somebody_elses_webhook_is_none_of_ours(text: str) -> None:
    assert told(text).kind == "other"


def test_calls_to_the_webhooks_endpoint_are_calls() -> None:
    text = "POST https://a.klaviyo.com/api/webhooks 403 Forbidden"
    assert (told(text).kind, *found(text, "endpoint", "status_code")) == ("call", "/api/webhooks", 403)


def test_registering_a_webhook_is_no_delivery() -> None:
    assert told("klaviyo webhook registered for event:klaviyo.opened_email").kind == "mention"


def test_in_a_source_that_is_about_klaviyo_nobody_needs_to_name_it() -> None:
    text = "2020-04-23 23:44:50,836Z tap - INFO HTTP request took 0.134s, returned status code 200"
    assert told(text).kind == "other"
    result = told(text, about=True)
    assert (result.kind, result.fields["status_code"], result.fields["duration_s"]) == ("call", 200, 0.134)


def test_torn_json_is_read_as_text() -> None:
    torn = (
        '{"level":"error","msg":"klaviyo failed","url":"https://a.klaviyo.com/api/events","status":503,"det'
    )
    assert found(torn, "status_code", "endpoint", "parsed") == (503, "/api/events", False)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\0\0\0\0", b""])
def test_marks_and_holes_before_a_line_do_not_hide_it(mark: bytes) -> None:
    line = b'{"msg":"klaviyo","url":"https://a.klaviyo.com/api/events","status":429}\r\n'
    assert understand(mark + line, NEAR).fields["status_code"] == 429


def test_bad_utf8_and_control_characters_do_not_hide_a_line() -> None:
    line = b'{"msg":"klaviyo \xff\xfe \x01 caf\xe9","url":"https://a.klaviyo.com/api/events","status":429}'
    assert understand(line, NEAR).fields["status_code"] == 429


def test_json_nested_a_thousand_deep_does_not_crash() -> None:
    deep = '{"a":' * 1_000 + '{"msg":"klaviyo"}' + "}" * 1_000
    assert told('{"msg":"klaviyo 429","status":429,"x":' + deep + "}").kind == "call"
    assert told("klaviyo " + '{"a":' * 5_000 + "}" * 5_000).kind == "mention"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20),
              st.sampled_from(["klaviyo", "429", "https://a.klaviyo.com/api/events", "2026-11-23T05:00:00Z", "http://[", "//"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["status", "url", "msg", "time", "level", "error", "MESSAGE", "log", "duration", "attempt", "host", "email", "code"]) | st.text(max_size=8), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["status", "url", "msg", "MESSAGE", "log", "errors", "retry_after", "path"]), JSON
    )
)
def test_no_object_raises(data: dict[str, Any]) -> None:
    understand(json.dumps(data).encode(), NEAR, True)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [
                    b"klaviyo ",
                    b"429",
                    b" HTTP/1.1",
                    b'"',
                    b"{",
                    b"}",
                    b"\n",
                    b"POST ",
                    b"https://a.klaviyo.com/api/events",
                    b"://[",
                    b"=",
                    b"webhook ",
                    b"2026-11-23 05:00:00 ",
                    b"MESSAGE",
                    b"Nov 23 05:00:00 h a[1]: ",
                    b" stdout P ",
                    b"retry-after: ",
                    b"\xff",
                ]
            ),
        ),
        max_size=12,
    )
)
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    understand(b"".join(pieces), NEAR)
    understand(b"".join(pieces), NEAR, True)


UUID = "9225fc5e-0c5e-4a2e-9be1-1d6a4c8a7f10"


def test_a_request_in_brackets_is_klaviyos_id() -> None:
    line = f"2026-11-23 05:00:00,250 INFO [worker-1] profile-sync: GET https://a.klaviyo.com/api/lists -> 200 in 0.07s (request {UUID})"
    assert found(line, "request_id", "host", "worker", "caller") == (
        UUID,
        "worker-1",
        "worker-1",
        "profile-sync",
    )


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("ERROR klaviyo call failed: (0)\nReason: Unsupported content type: text/html", "portal"),
        ("ERROR klaviyo GET /api/lists -> 200 but body is <!doctype html><title>Sign in</title>", "portal"),
        ("ERROR klaviyo POST /api/events -> 200: Unexpected token '<' is not valid JSON", "portal"),
        ("ERROR klaviyo GET /api/lists 200 JSONDecodeError: Expecting value", "portal"),
        ("ERROR klaviyo GET /api/lists -> 302 location: https://wifi.example/login", "portal"),
        ('klaviyo POST /api/events -> 503 {"via" => "1.1 gw (squid/5.7)"}', "proxy"),
        ("klaviyo POST /api/events -> 407", "proxy"),
        (
            "`POST https://a.klaviyo.com/api/events` resulted in a `400 Bad Request` response: <!doctype html>",
            "edge",
        ),
        ('klaviyo 403 body="<html><head><title>403 Forbidden</title>"', "edge"),
        ('klaviyo POST /api/events -> 202 with template "<html><body>Hi"', None),
        ("INFO klaviyo GET /api/lists 200 JSON not valid JSON before", None),
        ("ERROR klaviyo POST /api/events -> 202, JSONDecodeError of an empty body", None),
        ("klaviyo POST /api/events -> 503", None),
    ],
)
def test_who_answered(text: str, by: str | None) -> None:
    assert found(text, "answered_by") == (by,)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("couldnt_connect", "refused"), ("couldnt_resolve_host", "dns"), ("recv_error", "reset"),
     ("operation_timedout", "timeout"), ("ssl_connect_error", "tls")],
)  # fmt: skip
def test_what_curl_could_not_do_is_a_call_without_an_answer(code: str, kind: str) -> None:
    line = f"ETHON: performed EASY effective_url=https://a.klaviyo.com/api/lists response_code=0 return_code={code} total_time=0.01"
    assert found(line, "error_type", "status_code", "endpoint") == (kind, None, "/api/lists")


@pytest.mark.parametrize("answer", ["HTTP/1.1 - 200 [] []", "HTTP/1.1 RESPONSE: 200 -"])
def test_guzzles_successes_are_calls(answer: str) -> None:
    line = f"[2026-11-26T13:05:08.613817+00:00] klaviyo.INFO: GET https://a.klaviyo.com/api/catalog-items {answer}"
    assert found(line, "status_code", "endpoint") == (200, "/api/catalog-items")


def test_an_envelope_that_names_klaviyo_is_counted_and_tells_whose_paths_are() -> None:
    wrapped = '{{"log":"{}\\n","time":"2026-11-23T05:00:00Z","attrs":{{"unit":"klaviyo-sync"}}}}'
    assert told(wrapped.format("nothing to do")).kind == "mention"
    assert told(wrapped.format("database error 500")).kind == "mention"
    assert told(wrapped.format("POST /api/profile-import 503 in 12ms")).kind == "call"
    whose = "Nov 23 05:00:00 web-1 klaviyo-worker[7]: {}"
    assert told(whose.format("request failed: 429 Too Many Requests")).kind == "call"
    assert told(whose.format("redis error 500")).kind == "mention"


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("retry after 500 ms", 0.5), ("Retry-After: 1500ms", 1.5), ("retryAfter=250 milliseconds", 0.25),
     ("retry_after_ms=250", 0.25), ("retry after 12 s", 12.0), ("Retry-After: 7", 7.0), ("retry after 5 msgs", 5.0)],
)  # fmt: skip
def test_a_wait_has_the_unit_it_is_told_in(wait: str, seconds: float) -> None:
    line = f"2026-11-23T05:00:00Z WARN klaviyo POST https://a.klaviyo.com/api/events 429, {wait}"
    assert told(line).fields["retry_after_s"] == seconds


def test_a_module_that_was_not_found_is_no_host_that_was_not_found() -> None:
    assert understand(b"ModuleNotFoundError: No module named 'klaviyo_api'", NEAR).kind == "mention"
    assert understand(b"klaviyo: getaddrinfo ENOTFOUND a.klaviyo.com", NEAR).fields["error_type"] == "dns"


def test_an_object_that_holds_the_name_in_an_id_tells_of_no_call() -> None:
    assert understand(b'{"kind":"feature","key":"klaviyo-retry-503","status":200}', NEAR).kind == "mention"
    for call in (
        b'{"integration":"klaviyo_v3","status":429}',
        b'{"vendor":"Klaviyo","http_status":503}',
        b'{"klaviyo":{"status":503}}',
    ):
        assert understand(call, NEAR).kind == "call"


def test_a_link_to_a_page_of_klaviyos_does_not_make_a_call_of_a_status() -> None:
    page = b"https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling"
    assert understand(b"rate limiter off, see " + page + b" (429)", NEAR).kind == "mention"
    assert understand(b"Klaviyo answered 429, see " + page, NEAR).kind == "call"


def test_keys_without_a_name_of_their_own_are_known_by_their_ending() -> None:
    told = understand(
        b'{"apiStatusCode":503,"targetUrl":"https://a.klaviyo.com/api/lists","short_message":"x","callDurationMs":12}',
        NEAR,
    )
    assert told.fields["status_code"] == 503
    assert told.fields["endpoint"] == "/api/lists"
    assert told.fields["duration_s"] == 0.012


@pytest.mark.parametrize(
    "line",
    [
        "feat: klaviyo retry on 429 and 503 (#404)",
        "Will retry Klaviyo requests on 429, 500, 502, 503",
        "Liveness probe failed for klaviyo-sync: HTTP probe failed with statuscode: 503",
        "response 200 from https://shop.example/pages/klaviyo-faq in 88ms",
        '{"job":"klaviyo-sync","exit_status":137}',
    ],
)
def test_a_status_beside_the_name_is_not_always_that_of_a_call(line: str) -> None:
    assert understand(line.encode(), NEAR).kind == "mention"


def test_a_url_in_two_parts_is_one() -> None:
    told = understand(
        b'{"msg":"Request failed with status code 429",'
        b'"config":{"baseURL":"https://a.klaviyo.com/api","url":"events/","method":"post"}}',
        NEAR,
    )
    assert (told.fields["method"], told.fields["endpoint"]) == ("POST", "/api/events")
    assert told.fields["status_code"] == 429


@pytest.mark.parametrize("around", [0, 20_000, 400_000])
@pytest.mark.parametrize(
    "shape",
    [
        "2026-11-23T05:00:00Z DEBUG shop.state: {filler} POST https://a.klaviyo.com/api/events 429 {filler}",
        "2026-11-23 05:00:00,250 DEBUG [worker-1] shop.sync: {filler} POST https://a.klaviyo.com/api/events 429",
        '{{"time":"2026-11-23T05:00:00Z","message":"{filler} POST https://a.klaviyo.com/api/events 429 {filler}"}}',
    ],
)
def test_a_call_is_read_wherever_it_stands_in_a_long_text(shape: str, around: int) -> None:
    filler = ("lorem ipsum dolor sit amet " * (around // 27 + 1))[:around]
    told = understand(shape.format(filler=filler).encode(), NEAR)
    assert told.kind == "call"
    assert told.moment == int(datetime(2026, 11, 23, 5, 0, tzinfo=UTC).timestamp() * 1e6) + 250_000 * (
        "," in shape[:24]
    )
    assert (told.fields["endpoint"], told.fields["status_code"]) == ("/api/events", 429)


@pytest.mark.parametrize("fraction", ["250", "975"])
def test_the_fraction_of_a_time_is_no_status_that_a_duration_stands_behind(fraction: str) -> None:
    told = understand(f"1795410000.{fraction} 0.514 klaviyo status=429 0.609s".encode(), NEAR)
    assert (told.fields["status_code"], told.fields["duration_s"]) == (429, 0.609)
