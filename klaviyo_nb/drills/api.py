"""The pretend Klaviyo: what it answers to one request, without a socket.

It routes every operation of the catalogue, checks the key, counts real fixed windows and speaks in headers
and bodies as recorded ones do.

Source:
    https://developers.klaviyo.com/en/reference/api_overview
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from klaviyo_nb.drills.resources import RESOURCES, Refused, read, shown, written
from klaviyo_nb.drills.ways import OK, WAYS, Quota, body, headers, uuid
from klaviyo_nb.drills.worlds import Clock, Reply, Request
from klaviyo_nb.klaviyo.endpoints import Endpoint, catalogue
from klaviyo_nb.klaviyo.revisions import NEWEST, REVISIONS

_EVENT_PARTS = {"properties", "metric", "profile"}
_RETIRED = (
    "This API has been retired and is no longer in service. Please review our migration resources for help "
    "migrating to our new APIs."
)


class PretendKlaviyo:
    """Answers for one account.

    Args:
        key: The private key that opens it.
        live: Operation id, or `*` for every other → name of the way in which it answers.
        seed: Of its request ids.
        clock: Seconds since the epoch.
    """

    def __init__(self, key: str, live: Mapping[str, str], seed: int, clock: Clock) -> None:
        self.key, self.live, self.clock = key, live, clock
        self.quota = Quota()
        self.emails = {row["attributes"]["email"] for row in RESOURCES["/api/profiles"]}
        self.rng = random.Random(f"ids/{seed}")  # noqa: S311 - made-up request ids

    def reply(self, request: Request) -> Reply:
        """What Klaviyo says to this request."""
        found: dict[str, str] = {}
        try:
            endpoint, broken = self._admit(request)
            found |= self._spend(endpoint) | _revision(request, self._today())
            if broken != "ok":
                raise Refused(broken)
            status, document = self._serve(endpoint, request)
        except Refused as refused:
            return self._refuse(refused, found)
        found = headers(OK, uuid(self.rng)) | found
        if document is None:
            del found["Content-Type"]  # as on a recorded 202
        return Reply(OK, status, found, json.dumps(document) if document is not None else "")

    def _admit(self, request: Request) -> tuple[Endpoint, str]:
        """What is asked for, and the way in which it will end; refused where the request is not even read."""
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = catalogue().match(method, request.path)
        broken = self._broken(endpoint)
        if WAYS[broken].by != "klaviyo" or WAYS[broken].status == 503:
            raise Refused(broken)
        if endpoint is None:
            raise _nowhere(method, request.path)
        if not endpoint.client_side:
            self._authorise(request.headers.get("Authorization", ""))
        if not WAYS[broken].has_limits:
            raise Refused(broken, self._until_the_minute() if broken == "throttled" else None)
        return endpoint, broken

    def _broken(self, endpoint: Endpoint | None) -> str:
        """Name of the way in which the scenario has this endpoint answer."""
        way = self.live.get("*", "ok")
        if endpoint is None or endpoint.client_side:
            return "ok" if WAYS[way].status == 401 else way
        return self.live.get(endpoint.operation_id, way)

    def _authorise(self, credentials: str) -> None:
        if not credentials.isprintable():
            raise Refused("edge_400")
        scheme, _, key = credentials.partition(" ")
        if scheme not in ("", "Klaviyo-API-Key", "Bearer"):
            raise Refused("wrong_scheme")
        if scheme != "Klaviyo-API-Key" or key != self.key:
            raise Refused("unauthorized")

    def _spend(self, endpoint: Endpoint) -> dict[str, str]:
        """Count the call; the headers that tell of its limits, bound to the shortest window."""
        wait, left = self.quota.take(endpoint.operation_id, endpoint.limits, self.clock())
        if wait is not None:
            raise Refused("throttled", wait)
        windows = ", ".join(f"{limit};w={length}" for length, limit in endpoint.limits.items())
        return {
            "RateLimit-Limit": f"{endpoint.burst}, {windows}",
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": "0",
            "X-Envoy-Upstream-Service-Time": str(self.rng.randrange(20, 120)),
        }

    def _serve(self, endpoint: Endpoint, request: Request) -> tuple[int, dict[str, Any] | None]:
        """Status and document of a call that is let in."""
        status = endpoint.success[0]
        if endpoint.method == "GET":
            return status, read(endpoint, request.path, request.form)
        if endpoint.method == "DELETE":
            return status, None
        made = written(endpoint, request.path, request.body, uuid(self.rng))
        if endpoint.operation_id == "create_event" and not made["attributes"].keys() >= _EVENT_PARTS:
            raise Refused("invalid", source={"pointer": "/data/attributes"})
        if endpoint.operation_id == "query_metric_aggregates":
            return status, {"data": made | {"attributes": {"dates": [], "data": []}}}
        if self._is_new(endpoint, made["attributes"].get("email")) and 201 in endpoint.success:
            status = 201
        return status, None if status in (202, 204) else {"data": shown(made)}

    def _is_new(self, endpoint: Endpoint, email: object) -> bool:
        """Check an address and remember it."""
        if email is None:
            return True
        if not isinstance(email, str) or "@" not in email:
            raise Refused("invalid_email")
        new = email not in self.emails
        if endpoint.operation_id == "create_profile" and not new:
            raise Refused("duplicate", meta={"duplicate_profile_id": RESOURCES["/api/profiles"][0]["id"]})
        self.emails.add(email)
        return new

    def _refuse(self, refused: Refused, found: Mapping[str, str]) -> Reply:
        way = WAYS[refused.way]
        if way.status is None:
            return Reply(way)
        request_id = uuid(self.rng) if way.has_request_id else None
        status = refused.changes.get("status", way.status)
        if status == 410:
            return Reply(way, 410, {"Content-Type": "application/json"}, json.dumps({"message": _RETIRED}))
        text = body(way, request_id or "", refused.retry_after_s, **refused.changes)
        limits = found if way.has_limits else {}
        return Reply(way, status, headers(way, request_id, refused.retry_after_s) | dict(limits), text)

    def _until_the_minute(self) -> int:
        """Seconds until a full window of a minute ends."""
        return math.ceil(60 - self.clock() % 60)

    def _today(self) -> date:
        return datetime.fromtimestamp(self.clock(), UTC).date()


def _nowhere(method: str, path: str) -> Refused:
    """The answer where nothing is: a retired API, a path that never was, a method that is not allowed."""
    if path.startswith(("/api/v1/", "/api/v2/")):
        return Refused("not_found", status=410)
    if catalogue().operations(path):
        return Refused(
            "not_found", status=405, code="method_not_allowed", detail=f"Method {method} not allowed."
        )
    return Refused("not_found", detail=f"The path {path} could not be found")


def _revision(request: Request, today: date) -> dict[str, str]:
    """The revision that serves: the one asked for, or the oldest that is not retired after it."""
    asked = request.headers.get("Revision", NEWEST).partition(".")[0]
    alive = [name for name in REVISIONS if _years_on(name, 2) > today]
    if (
        asked in REVISIONS
        and asked not in alive
        and "X-Klaviyo-Revision-Fall-Forward-Opt-Out" in request.headers
    ):
        raise Refused("not_found", status=410)
    serving = asked if asked in alive else alive[0] if asked in REVISIONS and alive else NEWEST
    found = {"X-Klaviyo-Api-Revision": serving}
    if _years_on(serving, 1) <= today:
        found["X-Klaviyo-Api-Retirement-Date"] = _years_on(serving, 2).isoformat()
    return found


def _years_on(revision: str, years: int) -> date:
    day = date.fromisoformat(revision)
    return day.replace(year=day.year + years)
