"""The pretend status page: a Statuspage site's JSON.

Source:
    https://status.atlassian.com/api/v2 (the shapes are those of any Statuspage site)
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from klaviyo_nb.drills.scenarios import COMPONENTS, Notice
from klaviyo_nb.drills.traffic import Story
from klaviyo_nb.window import iso

_PAGE_ID = "pretendpage1"
_WORDS = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}


def documents(story: Story) -> dict[str, dict[str, Any]]:
    """Path → document, for every address of the site."""
    now, notices = story.window.end, story.scenario.notices
    statuses = {name: status for notice in notices for name, status in notice.components.items()}
    components = [_component(name, statuses.get(name, "operational"), iso(now)) for name in COMPONENTS]
    incidents = [_incident(notice, story, components) for notice in notices if not notice.planned]
    planned = [_maintenance(notice, story, components) for notice in notices if notice.planned]
    impacts = [notice.impact for notice in notices if not notice.planned] or ["none"]
    indicator = max(impacts, key=list(_WORDS).index)
    page = {"id": _PAGE_ID, "name": "Klaviyo", "url": "https://status.klaviyo.com"}
    about = {"page": page | {"time_zone": "America/New_York", "updated_at": iso(now)}}
    status = {"status": {"indicator": indicator, "description": _WORDS[indicator]}}
    parts: dict[str, dict[str, Any]] = {
        "status": status,
        "components": {"components": components},
        "incidents": {"incidents": incidents},
        "incidents/unresolved": {"incidents": incidents},
        "scheduled-maintenances": {"scheduled_maintenances": planned},
        "scheduled-maintenances/active": {"scheduled_maintenances": planned},
    }
    parts["summary"] = {key: value for part in parts.values() for key, value in part.items()}
    parts["scheduled-maintenances/upcoming"] = {"scheduled_maintenances": []}
    return {f"/api/v2/{name}.json": about | part for name, part in parts.items()}


def _component(name: str, status: str, updated: str) -> dict[str, Any]:
    return {
        "id": name.lower().replace(" ", ""),
        "name": name,
        "status": status,
        "created_at": "2022-02-01T00:00:00Z",
        "updated_at": updated,
        "position": 1 + COMPONENTS.index(name),
        "description": None,
        "showcase": True,
        "start_date": None,
        "group_id": None,
        "page_id": _PAGE_ID,
        "group": False,
        "only_show_if_degraded": False,
    }


def _incident(notice: Notice, story: Story, components: list[dict[str, Any]]) -> dict[str, Any]:
    posted = iso(story.window.end - timedelta(minutes=notice.since_min))
    changed = [
        {"code": part["id"], "name": part["name"], "old_status": "operational", "new_status": part["status"]}
        for part in components
        if part["name"] in notice.components
    ]
    times = {"created_at": posted, "updated_at": posted}
    update = {"id": "update1", "status": "investigating", "body": notice.text, "incident_id": "incident1"}
    delivery = {"display_at": posted, "deliver_notifications": True, "custom_tweet": None, "tweet_id": None}
    return times | {
        "id": "incident1",
        "name": notice.title,
        "status": "investigating",
        "monitoring_at": None,
        "resolved_at": None,
        "impact": notice.impact,
        "shortlink": "https://stspg.io/pretend",
        "started_at": posted,
        "page_id": _PAGE_ID,
        "incident_updates": [update | times | delivery | {"affected_components": changed}],
        "components": [part for part in components if part["name"] in notice.components],
    }


def _maintenance(notice: Notice, story: Story, components: list[dict[str, Any]]) -> dict[str, Any]:
    started = story.window.end - timedelta(minutes=notice.since_min)
    times = {"scheduled_for": iso(started), "scheduled_until": iso(story.window.end + timedelta(hours=2))}
    return _incident(notice, story, components) | times | {"status": "in_progress", "impact": "maintenance"}
