"""How a call ends: what Klaviyo, its edge or the network answers, status by status.

One table serves the pretend server (which answers so) and the pretend application (which logs so).
Bodies follow recorded answers where one is known; the text of a missing-scope 403 is not known and is ours.

Source:
    https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

#: JSON without blanks.
compact = json.JSONEncoder(separators=(",", ":")).encode
#: Statuses that Klaviyo's own clients try again.
RETRIED = frozenset({429, 503, 504, 524})
_REASONS = {520: "Web server is returning an unknown error", 525: "SSL handshake failed"}
#: `errors[0].code` → `errors[0].title`
_TITLES = {
    "not_authenticated": "Authentication credentials were not provided.",
    "permission_denied": "You do not have permission to perform this action.",
    "invalid": "Invalid input.",
    "not_found": "Not found.",
    "duplicate_profile": "Conflict.",
    "throttled": "Request was throttled.",
    "error": "A server error occurred.",
}
#: Id of the made-up account: the public key.
ACCOUNT = "Xy7kQz"
_LIMITS_PAGE = "https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling#rate-limits"


@dataclass(frozen=True, slots=True)
class Way:
    """One way for a call to end.

    Attributes:
        status: HTTP status; None if no response comes.
        by: Who answers: Klaviyo's application, its edge, the edge's bot challenge, a captive portal, nobody.
        code: `errors[0].code`.
        detail: `errors[0].detail`.
        pointer: `errors[0].source.pointer`.
        error: Why no response comes: `timeout`, `reset`, `refused`.
        seconds: How long that takes [s]; None: as long as any call.
    """

    status: int | None
    by: Literal["klaviyo", "edge", "challenge", "portal"] | None = "klaviyo"
    code: str | None = None
    detail: str | None = None
    pointer: str = "/data/"
    error: Literal["timeout", "reset", "refused"] | None = None
    seconds: float | None = None

    @property
    def has_request_id(self) -> bool:
        """Does the answer carry an id that Klaviyo's support can look up?"""
        return self.by == "klaviyo"

    @property
    def has_limits(self) -> bool:
        """Does the answer carry `RateLimit-*`? Recorded 401s and 429s do not."""
        return self.by == "klaviyo" and self.status not in (401, 429)

    @property
    def reason(self) -> str:
        """The status in words."""
        try:
            return HTTPStatus(self.status or 0).phrase
        except ValueError:
            return _REASONS.get(self.status or 0, "Unknown")


OK = Way(200)
WAYS: dict[str, Way] = {
    "ok": OK,
    "unauthorized": Way(401, code="not_authenticated", detail="Missing or invalid private key."),
    "wrong_scheme": Way(
        401,
        code="not_authenticated",
        detail="Missing or invalid authorization scheme. Please use Klaviyo-API-Key.",
    ),
    "forbidden": Way(403, code="permission_denied", detail="This private key may not be used for this."),
    "invalid": Way(
        400, code="invalid", detail="The payload provided in the request is invalid.", pointer="/data"
    ),
    "invalid_email": Way(
        400, code="invalid", detail="Invalid email address", pointer="/data/attributes/email"
    ),
    "not_found": Way(404, code="not_found", detail="It does not exist."),
    "duplicate": Way(
        409,
        code="duplicate_profile",
        detail="A profile already exists with one of these identifiers.",
        pointer="/data/attributes",
    ),
    "throttled": Way(429, code="throttled", detail="Request was throttled.", pointer="/data", seconds=0.03),
    "error": Way(500, code="error", detail="A server error occurred."),
    "unavailable": Way(503, code="error", detail="Service temporarily unavailable."),
    "gone": Way(404, by="edge"),
    "shed": Way(403, by="edge"),
    "edge_400": Way(400, by="edge", seconds=0.015),
    "edge_520": Way(520, by="edge"),
    "edge_525": Way(525, by="edge"),
    "challenge": Way(403, by="challenge", seconds=0.03),
    "portal": Way(200, by="portal", seconds=0.01),
    "hang": Way(None, by=None, error="timeout", seconds=30.0),
    "reset": Way(None, by=None, error="reset"),
    "refused": Way(None, by=None, error="refused", seconds=0.002),
}


def body(way: Way, request_id: str, retry_after_s: int | None = None, **changes: Any) -> str:
    """The answer's body.

    Args:
        way: How the call ends, with a response.
        request_id: `errors[0].id`.
        retry_after_s: Seconds until the next call is welcome, for a 429.
        changes: Fields of the error to put in place of the usual ones.
    """
    if way.by != "klaviyo":
        return _html(way)
    detail = way.detail
    if retry_after_s is not None:
        plural = "" if retry_after_s == 1 else "s"
        detail = f"{way.detail} Expected available in {retry_after_s} second{plural}."
    error = {
        "id": request_id,
        "status": way.status,
        "code": way.code,
        "title": _TITLES.get(way.code or ""),
        "detail": detail,
        "source": {"pointer": way.pointer},
        "links": {"type": _LIMITS_PAGE} if way.status == 429 else {},
        "meta": {},
    }
    return compact({"errors": [error | changes]})


def headers(way: Way, request_id: str | None, retry_after_s: int | None = None) -> dict[str, str]:
    """The answer's headers, but for those that depend on the endpoint."""
    if way.by == "portal":
        return {"Content-Type": "text/html"}
    html = way.by in ("edge", "challenge")
    found = {
        "Server": "cloudflare",
        "Content-Type": "text/html; charset=UTF-8" if html else "application/vnd.api+json",
        "Cf-Ray": "-" if way.status == 400 and html else "9f35d1268c4d0296-WAW",
    }
    if way.by == "challenge":
        found["Cf-Mitigated"] = "challenge"
    if way.status == 401:
        found["Www-Authenticate"] = "Bearer, Klaviyo-API-Key"
    elif way.by == "klaviyo":
        found["Cid"] = ACCOUNT
    if request_id:
        found["X-Klaviyo-Req-Id"] = request_id
    if retry_after_s is not None:
        found["Retry-After"] = str(retry_after_s)
    return found


def _html(way: Way) -> str:
    title, text = {
        "portal": ("Guest network", "Please accept the terms to go on."),
        "challenge": ("Just a moment...", "Checking your connection before you proceed."),
    }.get(way.by or "", (f"{way.status} {way.reason}", "cloudflare"))
    return (
        f"<!doctype html><html><head><title>{title}</title></head>"
        f"<body><center><h1>{title}</h1></center><hr><center>{text}</center></body></html>"
    )


def uuid(rng: random.Random) -> str:
    """A request id."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class Quota:
    """Fixed windows of one account: so many calls per endpoint in each second, minute, day.

    A refused call spends nothing.
    """

    def __init__(self) -> None:
        self._spent: dict[tuple[str, int], tuple[int, int]] = {}

    def take(self, operation: str, limits: dict[int, int], moment: float) -> tuple[int | None, int]:
        """Spend one call.

        Args:
            operation: Which endpoint.
            limits: Window length [s] → calls allowed in it; the shortest first.
            moment: When [s since the epoch].

        Returns:
            Seconds to wait if it is refused, else None; and calls left in the shortest window.
        """
        counts = {}
        for length, limit in limits.items():
            number = int(moment // length)
            last, count = self._spent.get((operation, length), (number, 0))
            count = count if last == number else 0
            if count >= limit:
                return max(1, math.ceil((number + 1) * length - moment)), 0
            counts[length] = (number, count + 1)
        for length, spent in counts.items():
            self._spent[operation, length] = spent
        shortest = next(iter(limits))
        return None, limits[shortest] - counts[shortest][1]
