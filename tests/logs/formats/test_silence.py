"""Where a text tells that no response came, and whether anything was sent."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.klaviyo.outcomes import outcome
from klaviyo_nb.logs.formats import silence
from klaviyo_nb.logs.formats.understand import understand

NEAR = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("klaviyo: httpx.ConnectTimeout", False),
        ("klaviyo: httpx.ReadTimeout", True),
        ("klaviyo: connect ETIMEDOUT 104.18.1.1:443", False),
        ("klaviyo: read ETIMEDOUT", True),
        ("[Klaviyo] fetch failed: UND_ERR_CONNECT_TIMEOUT", False),
        ("[Klaviyo] fetch failed: UND_ERR_HEADERS_TIMEOUT", True),
        ("Klaviyo: Net::OpenTimeout: execution expired", False),
        ("Klaviyo: Failed to open TCP connection to a.klaviyo.com:443 (execution expired)", False),
        ("Klaviyo: Net::ReadTimeout with #<TCPSocket:(closed)>", True),
        ("Klaviyo cURL error 6: Could not resolve host: a.klaviyo.com", False),
        ("Klaviyo cURL error 7: Failed to connect to a.klaviyo.com port 443: Connection refused", False),
        ("Klaviyo cURL error 28: Connection timed out after 5001 milliseconds", False),
        ("Klaviyo cURL error 28: Failed to connect to a.klaviyo.com port 443 after 5001 ms: Timeout was reached", False),
        ("Klaviyo cURL error 28: Operation timed out after 30001 milliseconds with 0 bytes received", True),
        ("Klaviyo cURL error 28: Resolving timed out after 5000 milliseconds", False),
        ('Post "https://a.klaviyo.com/api/events": dial tcp 104.18.1.1:443: i/o timeout', False),
        ('Post "https://a.klaviyo.com/api/events": dial tcp: lookup a.klaviyo.com: i/o timeout', False),
        ('Post "https://a.klaviyo.com/api/events": net/http: TLS handshake timeout', False),
        ('Post "https://a.klaviyo.com/api/events": read tcp 10.0.0.1:4->104.18.1.1:443: i/o timeout', True),
        ('Post "https://a.klaviyo.com/api/events": context deadline exceeded', True),
        ("klaviyo java.net.ConnectException: Connection timed out", False),
        ("klaviyo java.net.SocketTimeoutException: connect timed out", False),
        ("klaviyo java.net.SocketTimeoutException: failed to connect to a.klaviyo.com/104.18.1.1 (port 443) after 10000ms", False),
        ("klaviyo java.net.SocketTimeoutException: Read timed out", True),
        ("klaviyo java.net.ConnectException: Connection refused", False),
        ("Klaviyo System.Net.Http.HttpRequestException: No connection could be made because the target machine actively refused it", False),
        ("Klaviyo System.Net.Http.HttpRequestException: A connection attempt failed because the connected party did not properly respond after a period of time", False),
        ("Klaviyo TaskCanceledException: The request was canceled due to the configured HttpClient.Timeout of 30 seconds elapsing", True),
        ("klaviyo aiohttp ConnectionTimeoutError: Connection timeout to host https://a.klaviyo.com/api/events", False),
        ("klaviyo aiohttp SocketTimeoutError: Timeout on reading data from socket", True),
        ("klaviyo NewConnectionError: Failed to establish a new connection: [Errno 110] Connection timed out", False),
        ("klaviyo httpx.ConnectError: All connection attempts failed", False),
        ("klaviyo APIConnectionTimeoutError: Request timed out", True),
        ("klaviyo: Connection timed out", True),
    ],
)  # fmt: skip
def test_what_failed_before_anything_was_sent_is_refused_and_safe_to_send_again(
    text: str, sent: bool
) -> None:
    told = understand(text.encode(), NEAR).fields
    error = told["error_type"]
    assert outcome(None, error, told["answered_by"]) == ("unknown" if sent else "refused"), error


@pytest.mark.parametrize(
    "text",
    ["using https://a.klaviyo.com/api, connect timeout 500 ms, read timeout 503 ms",
     "klaviyo client: connect_timeout=5.0 connectTimeout: 5000",
     "starting new connection: https://a.klaviyo.com/"],
)  # fmt: skip
def test_how_long_a_client_would_wait_is_no_failure(text: str) -> None:
    assert understand(text.encode(), NEAR).fields.get("error_type") is None


@pytest.mark.parametrize("kind", silence.NO_RESPONSE)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_tells_of_no_response_holds_one_of_the_words_that_are_looked_for(
    kind: str, data: st.DataObject
) -> None:
    pattern = re.compile(silence.NO_RESPONSE[kind].pattern, re.IGNORECASE | re.ASCII)
    whole = data.draw(st.from_regex(pattern))
    assert any(word in whole.lower() for word in silence.SILENCE_WORDS[kind])
    assert silence.no_response(whole) is not None
