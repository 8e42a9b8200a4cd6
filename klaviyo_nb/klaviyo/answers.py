"""Reading an answer: who gave it, what it says, and what a failing call looks like from outside.

Between us and Klaviyo's application stand its edge (Cloudflare), our proxy, and what answers in its place:
a captive portal, a block page. Each leaves its own marks; the application's are `X-Klaviyo-Req-Id`, `Cid` and
a JSON:API body. Classifying rests on status, `errors[].code` and headers; texts may change any day.

Source:
    https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling, and recorded answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo import ratelimit

#: What a failing call looks like from outside.
#: `unauthorized` 401 · `forbidden` 403 by Klaviyo's application · `throttled` 429 · `invalid` another 4xx by
#: Klaviyo's application · `server` 5xx, edge pages, challenges, resets, hangs · `unreachable` DNS, refusal,
#: TLS, proxy, portal.
Failure = Literal["unauthorized", "forbidden", "throttled", "invalid", "server", "unreachable"]
AnsweredBy = Literal["klaviyo", "edge", "challenge", "portal", "proxy", "other"]
#: What was asked: the API, the status page, or our own application.
Expected = Literal["api", "page", "app"]

#: Why no whole answer came → what that looks like. Logs use the first six names and `other`.
ERRORS: Mapping[str, Failure] = {
    "timeout": "server",
    "reset": "server",
    "refused": "unreachable",
    "dns": "unreachable",
    "tls": "unreachable",
    "connect_timeout": "unreachable",
    "no_route": "unreachable",
    "proxy": "unreachable",
    "truncated": "server",
    "protocol": "server",
    "too_large": "server",
    "redirects": "server",
    "malformed": "server",
    "other": "server",
}

#: `errors[].code` → the status it comes with.
CODES: Mapping[str, int] = {
    "throttled": 429, "not_authenticated": 401, "authentication_failed": 401, "permission_denied": 403,
    "forbidden": 403, "not_found": 404, "duplicate_profile": 409, "variant_not_found": 404,
}  # fmt: skip

_MARKS_OF_KLAVIYO = ("x-klaviyo-req-id", "cid", "x-klaviyo-api-revision")
_MARKS_OF_PROXY = ("via", "proxy-authenticate", "proxy-connection", "x-squid-error", "x-bluecoat-via")
PROXIES = expression(
    r"squid|zscaler|blue ?coat|mitmproxy|tinyproxy|privoxy|mcafee web gateway", re.IGNORECASE
)
_TITLE = expression(r"<title[^>]{0,200}>([^<]{1,500})", re.IGNORECASE)
_TAGS = expression(r"<(?:script|style)\b.*?(?:</(?:script|style)>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL)
_SAID = 2_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What one HTTP answer tells. Texts are as received: neither redacted nor harmless.

    Attributes:
        status_code: HTTP status.
        answered_by: Who gave it.
        error_code: `errors[0].code`.
        error_pointer: `errors[0].source.pointer` or `.parameter`.
        detail: `errors[0].detail`; without one, what a failing answer says in words.
        request_id: `X-Klaviyo-Req-Id`, or `errors[0].id`.
        retry_after_s: `Retry-After` [s].
        ratelimit: `RateLimit-Limit` as received.
        ratelimit_limit: Calls allowed in the binding window.
        ratelimit_window_s: Length of the binding window [s].
        ratelimit_remaining: Calls left in the binding window; missing if it cannot be told which that is.
        revision_effective: `X-Klaviyo-Api-Revision`.
        retirement_date: `X-Klaviyo-Api-Retirement-Date`.
        server_date: `Date`.
        upstream_s: `X-Envoy-Upstream-Service-Time`: time spent inside Klaviyo [s].
        content_type: Media type, without parameters.
        state: `status.indicator` of a status page; JSON `status` of an application's health.
        document: The body, if it is JSON.
    """

    status_code: int
    answered_by: AnsweredBy
    error_code: str | None = None
    error_pointer: str | None = None
    detail: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    ratelimit: str | None = None
    ratelimit_limit: int | None = None
    ratelimit_window_s: int | None = None
    ratelimit_remaining: int | None = None
    revision_effective: str | None = None
    retirement_date: str | None = None
    server_date: datetime | None = None
    upstream_s: float | None = None
    content_type: str | None = None
    state: str | None = None
    document: Any = None


def failure(status_code: int | None, error_type: str | None, answered_by: str | None) -> Failure | None:
    """What a call looks like from outside, or None if it did not fail (or nothing is known of it).

    Args:
        status_code: HTTP status, or None if no answer came.
        error_type: A key of `ERRORS`, or None; an unknown name counts as `other`.
        answered_by: One of `AnsweredBy`; None counts as Klaviyo's application, as logs rarely tell.
    """
    if answered_by in ("portal", "proxy") or status_code == 407:
        return "unreachable"
    if status_code is None or status_code < 400:
        return ERRORS.get(error_type, "server") if error_type else None
    ours = answered_by in ("klaviyo", None)
    if status_code >= 500:
        return "server"
    if status_code in (401, 429):
        return "unauthorized" if status_code == 401 else "throttled"
    if status_code == 400 and answered_by == "edge":  # a control character in the key: Klaviyo never saw it
        return "unauthorized"
    if not ours:
        return "server"
    return "forbidden" if status_code == 403 else "invalid"


def read_answer(
    status_code: int,
    headers: Mapping[str, str],
    body: bytes,
    expected: Expected,
    asked: str | None = None,
) -> Answer:
    """Read an answer; never raises, whatever the other side sent.

    Args:
        status_code: HTTP status.
        headers: In any spelling of their names.
        body: As much of it as was read, decompressed.
        expected: What was asked, which decides how the body is read.
        asked: URL that was asked: a redirect to another host is a portal's. None: any full URL is another.
    """
    low = {name.lower(): value for name, value in headers.items()}
    document = parse_json(body)
    error = _first_error(document)
    text = body[:_SAID].decode("utf-8", "replace")
    served = ratelimit.http_date(low.get("date"))
    return Answer(
        status_code=status_code,
        answered_by=_who(status_code, low, document, text, expected, asked),
        error_code=_text(error.get("code")),
        error_pointer=_pointer(error.get("source")),
        detail=_text(error.get("detail"))
        or _text(error.get("title"))
        or _said(status_code, low, document, text),
        request_id=low.get("x-klaviyo-req-id") or _text(error.get("id")),
        retry_after_s=ratelimit.seconds(low.get("retry-after"), served),
        revision_effective=low.get("x-klaviyo-api-revision"),
        retirement_date=low.get("x-klaviyo-api-retirement-date"),
        server_date=served,
        upstream_s=_milliseconds(low.get("x-envoy-upstream-service-time")),
        content_type=low.get("content-type", "").partition(";")[0].strip().lower() or None,
        state=_state(document, expected),
        document=document,
        **_limits(low),
    )


def parse_json(body: bytes) -> Any:
    """The JSON value of a body; None if it is none. Bytes that are not UTF-8 become U+FFFD."""
    try:
        return orjson.loads(body.decode("utf-8-sig", "replace"))
    except orjson.JSONDecodeError:
        return None


def _who(
    status: int, headers: Mapping[str, str], document: Any, text: str, expected: Expected, asked: str | None
) -> AnsweredBy:
    """Marks in order of weight: what only one party can leave comes first."""
    if status == 407:
        return "proxy"
    if expected == "app":
        return "other"
    if headers.get("cf-mitigated") == "challenge":
        return "challenge"
    if _is_klaviyos(headers, document, expected, status):
        return "klaviyo"
    if status == 511 or _leads_elsewhere(status, headers.get("location"), asked):
        return "portal"
    html = "html" in headers.get("content-type", "") or text.lstrip("\ufeff \t\r\n").startswith("<")
    if status < 400 and html:
        return "portal"
    if "cloudflare" in headers.get("server", "").lower() or "cf-ray" in headers or 520 <= status <= 527:
        return "edge"
    if "<center>cloudflare</center>" in text:
        return "edge"
    proxied = any(mark in headers for mark in _MARKS_OF_PROXY) or PROXIES.search(headers.get("server", ""))
    return "proxy" if proxied and status >= 400 else "other"


def _is_klaviyos(headers: Mapping[str, str], document: Any, expected: Expected, status: int) -> bool:
    if expected == "page":
        return isinstance(document, dict) and bool(
            {"page", "status", "components", "incidents"} & set(document)
        )
    if any(mark in headers for mark in _MARKS_OF_KLAVIYO):
        return True
    if not isinstance(document, dict):
        return False
    retired = status == 410 and isinstance(document.get("message"), str)  # not JSON:API, and yet its own
    return bool(_first_error(document)) or "data" in document or retired


def _leads_elsewhere(status: int, location: str | None, asked: str | None) -> bool:
    if not location or not 300 <= status < 400:
        return False
    there = _host(location)
    return there is not None and (asked is None or there != _host(asked))


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _first_error(document: Any) -> Mapping[str, Any]:
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}


def _pointer(source: Any) -> str | None:
    if not isinstance(source, dict):
        return None
    return _text(source.get("pointer")) or _text(source.get("parameter"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _said(status: int, headers: Mapping[str, str], document: Any, text: str) -> str | None:
    """What an answer that is no JSON:API error says, if it is a failing one, a redirect or a page."""
    if 300 <= status < 400 and "location" in headers:
        return f"redirects to {headers['location']}"
    if isinstance(document, dict) and status >= 400:
        return _text(document.get("message")) or text
    if document is not None:
        return None
    title = _TITLE.search(text)
    if title:
        return title[1].strip()
    return _TAGS.sub(" ", text).strip() or None if status >= 400 else None


def _state(document: Any, expected: Expected) -> str | None:
    found = document.get("status") if isinstance(document, dict) else None
    if expected == "page" and isinstance(found, dict):
        return _text(found.get("indicator"))
    if expected == "app" and isinstance(found, str | bool | int):
        return "ok" if found is True else str(found).lower()
    return None


def _limits(headers: Mapping[str, str]) -> dict[str, Any]:
    raw = headers.get("ratelimit-limit")
    limit = ratelimit.parse_limit(raw)
    left = headers.get("ratelimit-remaining", "").strip()
    window = limit.binding_window_s if limit else None
    return {
        "ratelimit": raw,
        "ratelimit_limit": limit.binding if limit and window else None,
        "ratelimit_window_s": window,
        "ratelimit_remaining": int(left) if window and re.fullmatch(r"[0-9]{1,9}", left) else None,
    }


def _milliseconds(text: str | None) -> float | None:
    number = re.fullmatch(r"\s*([0-9]{1,9})\s*", text or "")
    return int(number[1]) / 1000 if number else None
