"""Klaviyo's status page, in its own words.

`summary.json` tells all; where a site lacks it, four smaller documents are put together.

Source:
    https://status.klaviyo.com/api (Atlassian Statuspage, API v2)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from klaviyo_nb.probes.api import row_says
from klaviyo_nb.probes.asked import Round
from klaviyo_nb.probes.asking import HOPS, Question, Reply

FALLBACKS = ("status", "components", "incidents/unresolved", "scheduled-maintenances/active")
#: A maintenance that goes on now; others are plans or history.
_GOING_ON = ("in_progress", "verifying")
_OVER = ("resolved", "postmortem", "completed")
_POST = ("name", "status", "impact", "shortlink", "created_at", "started_at", "updated_at", "monitoring_at",
         "resolved_at", "scheduled_for", "scheduled_until")  # fmt: skip
_UPDATE = ("status", "body", "created_at", "display_at")
#: As many of a list are kept at most; a page that has more is no honest one.
MOST_COMPONENTS, MOST_POSTS, MOST_UPDATES = 200, 50, 20
_CAP = 2 * 1024 * 1024
_LONGEST_BODY = 1_000


async def probe_status_page(this: Round) -> Mapping[str, Any] | None:
    """Ask the page. The row is the answer that told the overall state.

    Returns:
        `indicator`, `description`, `updated_at`, `components`, `incidents` (unresolved) and `maintenances`
        (going on), with the names that Statuspage gives their fields. A list that was not read is absent,
        which is not the same as empty. None if nothing could be read.
    """
    reply = await _get(this, "summary")
    replies = [reply]
    if reply.answer is not None and not (_is_page(reply) and "status" in reply.document):
        replies += await asyncio.gather(*(_get(this, name) for name in FALLBACKS))
    documents = [each.document for each in replies if _is_page(each)]
    chosen = next((each for each in replies if each.row.get("state")), None)
    chosen = chosen or next((each for each in replies if _is_page(each)), reply)
    this.emit(chosen.row)
    if not documents:
        this.miss("status_page", f"gave nothing that can be read: {row_says(chosen.row)}")
        return None
    return _page(this, documents)


async def _get(this: Round, name: str) -> Reply:
    url = f"{this.settings.status_url}/api/v2/{name}.json"
    return await this.ask(
        Question("status_page", url, "page", headers={"Accept": "application/json"}, hops=HOPS, cap=_CAP,
                 read_s=5.0, limit_s=6.0)
    )  # fmt: skip


def _is_page(reply: Reply) -> bool:
    answer = reply.answer
    return answer is not None and answer.status_code == 200 and answer.answered_by == "klaviyo"


def _page(this: Round, documents: list[Mapping[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for document in reversed(documents):
        told |= document
    status, page = _mapping(told.get("status")), _mapping(told.get("page"))
    found: dict[str, Any] = {
        "indicator": _clean(this, status.get("indicator")),
        "description": _clean(this, status.get("description")),
        "updated_at": _clean(this, page.get("updated_at")),
    }
    if isinstance(told.get("components"), list):
        found["components"] = [
            _component(this, each) for each in _mappings(told["components"], MOST_COMPONENTS)
        ]
    if isinstance(told.get("incidents"), list):
        found["incidents"] = list(_posts(this, told["incidents"]))
    if isinstance(told.get("scheduled_maintenances"), list):
        posts = _posts(this, told["scheduled_maintenances"])
        found["maintenances"] = [post for post in posts if post.get("status") in _GOING_ON]
    for name in ("components", "incidents", "maintenances"):
        if name not in found:
            this.miss(f"status_page {name}", "the page does not tell")
    return found


def _component(this: Round, raw: Mapping[str, Any]) -> dict[str, Any]:
    """`group` is True for a heading over other components."""
    kept = {name: _clean(this, raw.get(name)) for name in ("name", "status")}
    return kept | {"group": raw.get("group") is True}


def _posts(this: Round, raw: Any) -> Iterator[dict[str, Any]]:
    """Incidents or maintenances that are not over."""
    for post in _mappings(raw, MOST_POSTS):
        if post.get("status") in _OVER:
            continue
        updates = list(_mappings(post.get("incident_updates"), MOST_UPDATES))
        kept = {name: _clean(this, post.get(name)) for name in _POST if post.get(name) is not None}
        yield kept | {
            "components": [{"name": name} for name in _affected(this, post, updates)],
            "incident_updates": [
                {name: _clean(this, update.get(name), _LONGEST_BODY) for name in _UPDATE}
                for update in updates
            ],
        }


def _affected(this: Round, post: Mapping[str, Any], updates: list[Mapping[str, Any]]) -> list[str]:
    """Names of the components a post lists; where it lists none, those of its updates."""
    listed = list(_mappings(post.get("components"), MOST_COMPONENTS))
    if not listed:
        listed = [
            each for update in updates for each in _mappings(update.get("affected_components"), MOST_POSTS)
        ]
    names = [_clean(this, each.get("name")) for each in listed]
    return list(dict.fromkeys(name for name in names if name))


def _clean(this: Round, value: Any, longest: int = 300) -> str | None:
    return this.clean(value, longest) if isinstance(value, str) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any, most: int) -> Iterator[Mapping[str, Any]]:
    return (each for each in (value[:most] if isinstance(value, list) else ()) if isinstance(each, Mapping))
