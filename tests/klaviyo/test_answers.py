from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.klaviyo.answers import ERRORS, failure, read_answer
from klaviyo_nb.probes import ERROR_TYPES

OURS = {
    "Content-Type": "application/vnd.api+json",
    "X-Klaviyo-Req-Id": "0f0f0f0f-0000-4000-8000-000000000001",
}
EDGE = {"Server": "cloudflare", "CF-RAY": "-", "Content-Type": "text/html"}
HTML = b"<html><head><title>400 Bad Request</title></head><body><center>cloudflare</center></body></html>"


def error(code: str, detail: str = "why", **more: object) -> bytes:
    return json.dumps(
        {"errors": [{"id": "an-id", "code": code, "title": "t", "detail": detail, **more}]}
    ).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "who", "looks_like"),
    [
        (200, OURS, b'{"data": []}', "klaviyo", None),
        (200, {}, b'{"data": []}', "klaviyo", None),
        (202, {"Cid": "ABCDEF"}, b"", "klaviyo", None),
        (401, {}, error("not_authenticated"), "klaviyo", "unauthorized"),
        (403, OURS, error("permission_denied"), "klaviyo", "forbidden"),
        (404, OURS, error("not_found"), "klaviyo", "invalid"),
        (409, OURS, error("duplicate_profile"), "klaviyo", "invalid"),
        (410, {"Content-Type": "application/json"}, b'{"message": "retired"}', "klaviyo", "invalid"),
        (429, {"Retry-After": "1"}, error("throttled"), "klaviyo", "throttled"),
        (500, OURS, error("error"), "klaviyo", "server"),
        (400, EDGE, HTML, "edge", "unauthorized"),
        (400, {"Content-Type": "text/html"}, HTML, "edge", "unauthorized"),
        (403, EDGE | {"cf-mitigated": "challenge"}, HTML, "challenge", "server"),
        (403, EDGE, HTML, "edge", "server"),
        (404, EDGE, HTML, "edge", "server"),
        (503, EDGE, HTML, "edge", "server"),
        (525, {"Content-Type": "text/html"}, b"<html>", "edge", "server"),
        (403, {"Content-Type": "text/html"}, b"<html>denied", "other", "server"),
        (403, {}, b"", "other", "server"),
        (200, {"Content-Type": "text/html"}, b"<html>Welcome to our wifi", "portal", "unreachable"),
        (200, {"Content-Type": "application/json"}, b"<html>Welcome", "portal", "unreachable"),
        (302, {"Location": "http://login.hotel.example/"}, b"", "portal", "unreachable"),
        (302, {"Location": "https://a.klaviyo.com/api/accounts/"}, b"", "other", None),
        (511, {}, b"", "portal", "unreachable"),
        (407, {"Proxy-Authenticate": "Basic"}, b"", "proxy", "unreachable"),
        (503, {"Via": "1.1 squid"}, b"<html>", "proxy", "unreachable"),
        (502, {"Server": "squid/5.7"}, b"<html>", "proxy", "unreachable"),
        (503, OURS | {"Via": "1.1 squid"}, error("error"), "klaviyo", "server"),
        (520, EDGE | {"Via": "1.1 squid"}, HTML, "edge", "server"),
        (503, {}, b"", "other", "server"),
    ],
)  # fmt: skip
def test_who_answered_decides_what_it_looks_like(status, headers, body, who, looks_like):
    answer = read_answer(status, headers, body, "api", "https://a.klaviyo.com/api/accounts")
    assert answer.answered_by == who
    assert failure(status, None, who) == looks_like


def test_an_answer_tells_code_pointer_id_and_times():
    headers = OURS | {
        "RateLimit-Limit": "75, 75;w=1, 750;w=60", "RateLimit-Remaining": "74", "Date": "Mon, 23 Nov 2026 07:00:00 GMT",
        "X-Klaviyo-Api-Revision": "2025-04-15", "X-Klaviyo-Api-Retirement-Date": "2027-04-15",
        "X-Envoy-Upstream-Service-Time": "1784",
    }  # fmt: skip
    answer = read_answer(400, headers, error("invalid", source={"pointer": "/data/attributes/email"}), "api")
    assert (answer.error_code, answer.detail, answer.error_pointer) == (
        "invalid",
        "why",
        "/data/attributes/email",
    )
    assert answer.request_id == OURS["X-Klaviyo-Req-Id"]
    assert (answer.ratelimit_limit, answer.ratelimit_window_s, answer.ratelimit_remaining) == (75, 1, 74)
    assert answer.server_date == datetime(2026, 11, 23, 7, tzinfo=UTC)
    assert (answer.upstream_s, answer.retirement_date) == (1.784, "2027-04-15")


def test_an_error_without_a_header_gives_its_own_id():
    assert read_answer(429, {}, error("throttled"), "api").request_id == "an-id"


def test_missing_headers_on_a_429_are_missing_and_not_zero():
    answer = read_answer(429, {"Retry-After": "67608"}, error("throttled"), "api")
    assert answer.ratelimit is answer.ratelimit_remaining is answer.ratelimit_window_s is None
    assert answer.retry_after_s == 67608.0


def test_a_retry_after_date_counts_from_the_senders_clock():
    headers = {"Retry-After": "Mon, 23 Nov 2026 07:00:30 GMT", "Date": "Mon, 23 Nov 2026 07:00:00 GMT"}
    assert read_answer(503, headers, b"", "api").retry_after_s == 30.0


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"status": "OK"}', "ok"),
        (b'{"status": true}', "ok"),
        (b'{"status": "degraded"}', "degraded"),
        (b'{"healthy": true}', None),
        (b"<html>fine", None),
        (b"", None),
    ],
)
def test_the_state_of_an_application_is_its_json_status(body, state):
    answer = read_answer(200, {}, body, "app")
    assert (answer.state, answer.answered_by) == (state, "other")


def test_a_status_page_tells_its_indicator_and_a_portal_in_its_place_does_not():
    page = read_answer(200, {}, b'{"page": {}, "status": {"indicator": "minor"}}', "page")
    assert (page.answered_by, page.state) == ("klaviyo", "minor")
    assert read_answer(200, {}, b"<html>", "page").answered_by == "portal"


def test_a_page_of_html_is_told_in_words():
    assert read_answer(400, EDGE, HTML, "api").detail == "400 Bad Request"
    assert read_answer(503, {}, b"<p>no <b>healthy</b> upstream</p>", "api").detail == "no  healthy  upstream"


def test_a_byte_order_mark_or_bad_utf8_does_not_hide_an_error():
    assert read_answer(400, {}, b"\xef\xbb\xbf" + error("invalid"), "api").error_code == "invalid"
    assert read_answer(400, {}, error("invalid", "caf")[:-4] + b'\xe9"}]}', "api").error_code == "invalid"


@pytest.mark.parametrize(
    "document",
    [[], {}, {"errors": None}, {"errors": []}, {"errors": [None]}, {"errors": {"code": 1}}, {"errors": [{"code": 7}]},
     {"errors": [{"source": "x"}]}, {"errors": [{"detail": ["x"]}]}, {"data": None, "status": []}, 3, "x", None],
)  # fmt: skip
def test_json_of_another_shape_is_no_error_of_ours(document):
    for expected in ("api", "page", "app"):
        answer = read_answer(400, {}, json.dumps(document).encode(), expected)
        assert answer.error_code is None


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(["Server", "Via", "Location", "Retry-After", "Date", "RateLimit-Limit", "RateLimit-Remaining",
                         "Content-Type", "X-Envoy-Upstream-Service-Time"]),
        st.text(),
    ),
    st.binary() | st.sampled_from([b"[" * 60_000, b'{"errors":[{"id":"\\ud800"}]}', b"9" * 9_000, b"<title" * 5_000]),
    st.sampled_from(["api", "page", "app"]),
)  # fmt: skip
def test_reading_never_raises(status, headers, body, expected):
    read_answer(status, headers, body, expected, "https://a.klaviyo.com/api/accounts")


@pytest.mark.parametrize(
    ("text", "expected"), [("36", 0.036), (" 36 ", 0.036), ("0\x1f", 0.0), ("-1", None), ("", None)]
)
def test_the_time_inside_klaviyo_is_read_without_raising(text, expected):
    assert read_answer(200, {"X-Envoy-Upstream-Service-Time": text}, b"", "api").upstream_s == expected


def test_nothing_known_of_a_call_is_not_a_failure():
    assert failure(None, None, None) is None


@pytest.mark.parametrize(
    ("status", "error_type", "looks_like"),
    [
        (None, "timeout", "server"),
        (None, "reset", "server"),
        (None, "other", "server"),
        (None, "never heard of", "server"),
        (None, "dns", "unreachable"),
        (None, "refused", "unreachable"),
        (None, "tls", "unreachable"),
        (200, "truncated", "server"),
        (200, None, None),
        (301, None, None),
        (401, None, "unauthorized"),
        (403, None, "forbidden"),
        (404, None, "invalid"),
        (429, None, "throttled"),
        (599, None, "server"),
    ],
)
def test_a_log_that_does_not_say_who_answered_is_believed_to_speak_of_klaviyo(status, error_type, looks_like):
    assert failure(status, error_type, None) == looks_like


def test_every_error_that_a_probe_can_name_looks_like_something():
    assert set(ERRORS) == set(ERROR_TYPES)
