from __future__ import annotations

import pytest

from probes_world import PAGE, hang, refusal, reply, row_of

POST = {
    "name": "API 503 Errors", "status": "investigating", "impact": "minor", "created_at": "2026-11-23T06:00:00Z",
    "components": [{"name": "Klaviyo API", "status": "degraded_performance"}],
    "incident_updates": [{"status": "investigating", "body": "We see 503s.", "created_at": "2026-11-23T06:00:00Z",
                          "affected_components": [{"name": "Klaviyo API"}]}],
}  # fmt: skip
WORK = {"name": "Data Infrastructure", "impact": "maintenance", "components": []}


def parts(page):
    """The documents that a site without `summary.json` offers instead."""
    return {
        "/api/v2/summary.json": reply(404, b"<html>"),
        "/api/v2/status.json": reply(200, {"page": {}, "status": page["status"]}),
        "/api/v2/components.json": reply(200, {"page": {}, "components": page["components"]}),
        "/api/v2/incidents/unresolved.json": reply(200, {"page": {}, "incidents": page["incidents"]}),
        "/api/v2/scheduled-maintenances/active.json": reply(
            200, {"page": {}, "scheduled_maintenances": page["scheduled_maintenances"]}
        ),
    }


def test_a_green_page_has_empty_lists_which_are_not_absent_ones(world):
    page = world.probe().status_page
    assert page["indicator"] == "none"
    assert page["incidents"] == page["maintenances"] == []
    assert page["components"] == [{"name": "Klaviyo API", "status": "operational", "group": False}]


def test_an_incident_is_kept_in_the_pages_own_words(world):
    world.routes["/api/v2/summary.json"] = reply(
        200, PAGE | {"status": {"indicator": "minor", "description": "Partial"}, "incidents": [POST]}
    )
    probed = world.probe()
    (incident,) = probed.status_page["incidents"]
    assert (incident["name"], incident["created_at"]) == ("API 503 Errors", "2026-11-23T06:00:00Z")
    assert incident["components"] == [{"name": "Klaviyo API"}]
    assert incident["incident_updates"][0]["body"] == "We see 503s."
    assert row_of(probed, "status_page")["state"] == "minor"


def test_an_incident_that_lists_no_component_takes_those_of_its_updates(world):
    world.routes["/api/v2/summary.json"] = reply(200, PAGE | {"incidents": [POST | {"components": []}]})
    assert world.probe().status_page["incidents"][0]["components"] == [{"name": "Klaviyo API"}]


def test_only_what_goes_on_now_counts(world):
    posts = [WORK | {"status": status} for status in ("scheduled", "in_progress", "verifying", "completed")]
    over = [POST | {"status": "resolved"}, POST | {"status": "postmortem"}]
    world.routes["/api/v2/summary.json"] = reply(
        200, PAGE | {"scheduled_maintenances": posts, "incidents": over}
    )
    page = world.probe().status_page
    assert [post["status"] for post in page["maintenances"]] == ["in_progress", "verifying"]
    assert page["incidents"] == []


@pytest.mark.parametrize("summary", [reply(404), reply(500, b"<html>"), reply(200, b"<html>"), reply(200, b"{"),
                                     reply(200, [1]), reply(200, {"page": {}})])  # fmt: skip
def test_a_site_without_a_summary_is_put_together_from_its_parts(world, summary):
    status = {"indicator": "major", "description": "Major Service Outage"}
    world.routes |= parts(PAGE | {"incidents": [POST], "status": status}) | {"/api/v2/summary.json": summary}
    probed = world.probe()
    assert (probed.status_page["indicator"], len(probed.status_page["incidents"])) == ("major", 1)
    row = row_of(probed, "status_page")
    assert (row["status_code"], row["state"], probed.gaps) == (200, "major", [])


def test_a_part_that_is_missing_is_a_gap_and_its_list_is_absent(world):
    world.routes |= parts(PAGE) | {"/api/v2/incidents/unresolved.json": reply(404)}
    probed = world.probe()
    assert "incidents" not in probed.status_page
    assert [gap.signal for gap in probed.gaps] == ["status_page incidents"]


def test_a_page_that_hangs_is_not_asked_four_times_more(world):
    world.routes["/api/v2/summary.json"] = hang
    probed = world.probe(deadline_s=0.5)
    assert len(world.paths("/api/v2/")) == 1
    assert probed.status_page is None
    assert row_of(probed, "status_page")["error_type"] == "timeout"


@pytest.mark.parametrize(
    "route", [reply(200, b"<html>Log in"), refusal(403, "forbidden"), reply(503, b"down")]
)
def test_a_page_that_cannot_be_read_is_a_row_and_a_gap(world, route):
    names = ("summary", "status", "components", "incidents/unresolved", "scheduled-maintenances/active")
    world.routes |= {f"/api/v2/{name}.json": route for name in names}
    probed = world.probe()
    assert probed.status_page is None
    assert row_of(probed, "status_page")["status_code"] in (200, 403, 503)
    assert [gap.signal for gap in probed.gaps] == ["status_page"]


def test_hostile_words_and_shapes_are_tamed(world):
    evil = {
        "name": "\x1b]0;owned\x07API \u202e" + "x" * 999,
        "status": 7,
        "incident_updates": "no",
        "components": [1],
    }
    world.routes["/api/v2/summary.json"] = reply(
        200,
        {
            "status": {"indicator": "none\nnone"},
            "components": [evil] * 500,
            "incidents": [evil, None, 3] * 99,
        },
    )
    page = world.probe().status_page
    assert page["indicator"] == "none none"
    assert len(page["components"]) == 200
    assert len(page["incidents"]) <= 50
    assert all(each["name"].isprintable() and len(each["name"]) <= 300 for each in page["components"])


def test_a_page_that_moved_is_followed(world):
    world.routes |= {
        "/api/v2/summary.json": reply(301, b"", {"Location": "/new/summary.json"}),
        "/new/summary.json": reply(200, PAGE),
    }
    assert world.probe().status_page["indicator"] == "none"
