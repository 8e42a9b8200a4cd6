"""What the pretend account holds: enough to read, list, page and create; other collections are empty.

The rows are in `account.json` beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from klaviyo_nb.klaviyo.endpoints import Endpoint

ROOT = "https://a.klaviyo.com"
#: Path → the collection that a write to it ends up in.
_WRITES_TO = {"/api/profile-import": "/api/profiles"}
_OPT_IN = ("double_opt_in", "single_opt_in")
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


def _load() -> dict[str, list[dict[str, Any]]]:
    rows = json.loads(files(__package__).joinpath("account.json").read_bytes())
    return {
        path: [resource(row["type"], path, row["id"], row["attributes"]) for row in found]
        for path, found in rows.items()
    }


#: Path of the collection → what is in it.
RESOURCES = _load()


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


def written(endpoint: Endpoint, path: str, body: bytes, name: str) -> dict[str, Any]:
    """The resource that a write makes: what was sent, with an id.

    Raises:
        Refused: It is not a JSON:API document, or one of another kind.
    """
    collection = _WRITES_TO.get(path.rstrip("/"), path.rstrip("/"))
    if endpoint.path.endswith("/{id}"):
        collection, _, name = collection.rpartition("/")
    try:
        data = json.loads(body)["data"]
        made = resource(data["type"], collection, name, data.get("attributes") or {})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused("invalid") from None
    kinds = [row["type"] for row in RESOURCES.get(collection, [])]
    if not isinstance(made["type"], str) or (kinds and made["type"] not in kinds):
        raise Refused("invalid", source={"pointer": "/data/type"})
    return made


def shown(made: dict[str, Any]) -> dict[str, Any]:
    """What is told of a resource just written: texts and properties, not what has a shape of its own."""
    kept = {
        name: value
        for name, value in made["attributes"].items()
        if value is None or (name != "location" and isinstance(value, dict if name == "properties" else str))
    }
    if kept.get("opt_in_process") not in _OPT_IN:
        kept.pop("opt_in_process", None)
    return made | {"attributes": kept}


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
