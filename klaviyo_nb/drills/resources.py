"""What the pretend account holds: enough to read, list, page and create; other collections are empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from klaviyo_nb.drills.ways import ACCOUNT
from klaviyo_nb.klaviyo.endpoints import Endpoint

ROOT = "https://a.klaviyo.com"
_CREATED = "2026-01-05T09:00:00+00:00"
_STREET = {"address1": "1 Rehearsal Row", "address2": None, "city": "Boston", "region": "MA"}
_ACCOUNT_ATTRIBUTES = {
    "test_account": True,
    "contact_information": {
        "default_sender_name": "Pretend Shop",
        "default_sender_email": "hello@example.com",
        "website_url": "https://shop.example",
        "organization_name": "Pretend Shop",
        "street_address": _STREET | {"country": "United States", "zip": "02110"},
    },
    "industry": "Ecommerce",
    "timezone": "US/Eastern",
    "preferred_currency": "USD",
    "public_api_key": ACCOUNT,
    "locale": "en-US",
}
_METRICS = ("Placed Order", "Viewed Product", "Opened Email", "Clicked Email")
_LARGEST_PAGE = 1000
_DEFAULT_PAGE = 20


class Refused(Exception):
    """The request is refused in this way, with these fields of the error changed."""

    def __init__(self, way: str, retry_after_s: int | None = None, **changes: Any) -> None:
        super().__init__(way)
        self.way, self.retry_after_s, self.changes = way, retry_after_s, changes


def resource(kind: str, path: str, name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON:API resource of a collection."""
    link = f"{ROOT}{path}/{name}/"
    return {"type": kind, "id": name, "attributes": dict(attributes), "links": {"self": link}}


#: Path of the collection → what is in it.
RESOURCES: dict[str, list[dict[str, Any]]] = {
    "/api/accounts": [resource("account", "/api/accounts", ACCOUNT, _ACCOUNT_ATTRIBUTES)],
    "/api/profiles": [
        resource(
            "profile",
            "/api/profiles",
            f"01HPRETEND{number:016d}",
            {
                "email": f"profile.{number}@example.com",
                "first_name": "Pat",
                "created": _CREATED,
                "properties": {},
            },
        )
        for number in range(25)
    ],
    "/api/metrics": [
        resource("metric", "/api/metrics", f"Metr{number:02d}", {"name": name, "created": _CREATED})
        for number, name in enumerate(_METRICS)
    ],
    "/api/lists": [
        resource("list", "/api/lists", f"List{number:02d}", {"name": name, "created": _CREATED})
        for number, name in enumerate(("Newsletter", "VIP"))
    ],
    "/api/events": [
        resource(
            "event",
            "/api/events",
            f"Evnt{number:02d}",
            {
                "timestamp": 1_767_603_600 + number,
                "datetime": _CREATED,
                "event_properties": {"value": number},
            },
        )
        for number in range(3)
    ],
}


def read(endpoint: Endpoint, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The document of a GET.

    Raises:
        Refused: There is no such thing, or the query is not understood.
    """
    if "filter" in query:
        raise Refused(
            "invalid", detail="The pretend Klaviyo does not filter.", source={"parameter": "filter"}
        )
    links = {"self": ROOT + path}
    if endpoint.operation_id == "get_client_ip_allowlist":
        return {"data": _allowlist(path), "links": links}
    if not endpoint.path.endswith("{id}"):
        rows, more = _page(RESOURCES.get(endpoint.path, []), query)
        links |= {"next": f"{ROOT}{path}?page%5Bcursor%5D={more}"} if more else {}
        return {"data": [_sparse(row, query) for row in rows], "links": links}
    collection, _, name = path.rstrip("/").rpartition("/")
    row = next((row for row in RESOURCES.get(collection, []) if row["id"] == name), None)
    if row is None:
        raise Refused(
            "not_found", detail=f"A {collection.rpartition('/')[2][:-1]} with id {name} does not exist."
        )
    return {"data": _sparse(row, query), "links": links}


def written(path: str, body: bytes, name: str) -> dict[str, Any]:
    """The resource that a write makes: what was sent, with an id.

    Raises:
        Refused: It is not a JSON:API document.
    """
    try:
        data = json.loads(body)["data"]
        return resource(data["type"], path.rstrip("/"), data.get("id") or name, data.get("attributes") or {})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused("invalid") from None


def _page(rows: list[dict[str, Any]], query: Mapping[str, str]) -> tuple[list[dict[str, Any]], str | None]:
    """One page, and the cursor of the next."""
    size, cursor = query.get("page[size]", str(_DEFAULT_PAGE)), query.get("page[cursor]", "0")
    if not (size.isdecimal() and 1 <= int(size[:5]) <= _LARGEST_PAGE):
        raise Refused(
            "invalid", detail=f"Page size must be 1 to {_LARGEST_PAGE}.", source={"parameter": "page[size]"}
        )
    if not (cursor.isdecimal() and len(cursor) < 6):
        raise Refused("invalid", detail="Invalid cursor provided.", source={"parameter": "page[cursor]"})
    end = int(cursor) + int(size)
    return rows[int(cursor) : end], str(end) if end < len(rows) else None


def _sparse(row: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """With the attributes that were asked for."""
    fields = query.get(f"fields[{row['type']}]")
    if fields is None:
        return row
    wanted = fields.split(",")
    return row | {"attributes": {key: value for key, value in row["attributes"].items() if key in wanted}}


def _allowlist(path: str) -> dict[str, Any]:
    if not path.rstrip("/").endswith("/integration-egress"):
        raise Refused("not_found")
    attributes = {"prefixes": ["192.0.2.0/24"], "sync_token": "e1c5", "created": _CREATED}
    return resource("ip-allowlist", "/client/ip-allowlists", "integration-egress", attributes)
