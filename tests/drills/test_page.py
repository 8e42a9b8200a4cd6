from __future__ import annotations

from datetime import datetime

from klaviyo_nb.drills.page import documents
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import tell

ADDRESSES = ("status", "summary", "components", "incidents", "incidents/unresolved", "scheduled-maintenances",
             "scheduled-maintenances/active", "scheduled-maintenances/upcoming")  # fmt: skip


def test_the_site_has_every_address_and_says_whose_page_it_is(now: datetime) -> None:
    pages = documents(tell(SCENARIOS["healthy"], 1, now))
    assert set(pages) == {f"/api/v2/{name}.json" for name in ADDRESSES}
    assert all(page["page"]["name"] == "Klaviyo" for page in pages.values())


def test_a_green_page_has_no_incident_and_every_component_operational(now: datetime) -> None:
    summary = documents(tell(SCENARIOS["klaviyo_server_error"], 1, now))["/api/v2/summary.json"]
    assert summary["status"] == {"indicator": "none", "description": "All Systems Operational"}
    assert summary["incidents"] == []
    assert {part["status"] for part in summary["components"]} == {"operational"}


def test_an_acknowledged_outage_names_the_component_and_was_posted_late(now: datetime) -> None:
    made = tell(SCENARIOS["klaviyo_outage"], 1, now)
    summary = documents(made)["/api/v2/summary.json"]
    assert summary["status"]["indicator"] == "major"
    (incident,) = summary["incidents"]
    assert [part["name"] for part in incident["components"]] == ["Klaviyo API"]
    assert incident["components"][0]["status"] == "major_outage"
    assert made.truth.onset is not None
    assert datetime.fromisoformat(incident["created_at"]) > made.truth.onset
    assert incident["incident_updates"][0]["affected_components"][0]["new_status"] == "major_outage"
