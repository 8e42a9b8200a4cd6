from __future__ import annotations

import pytest

from probes_world import hang, reply, row_of


@pytest.mark.parametrize(
    ("answer", "status", "state", "media"),
    [
        (reply(200, {"status": "UP"}, {"Content-Type": "application/json"}), 200, "up", "application/json"),
        (reply(200, {"status": "degraded"}), 200, "degraded", None),
        (reply(503, {"status": "down"}), 503, "down", None),
        (reply(200, b"<html>hello", {"Content-Type": "text/html; charset=utf-8"}), 200, None, "text/html"),
        (reply(200, b"caf\xe9"), 200, None, None),
        (reply(204), 204, None, None),
        (reply(404, b"Cannot GET /health"), 404, None, None),
    ],
)
def test_health_is_told_as_it_is(world, answer, status, state, media):
    world.routes["/health"] = answer
    row = row_of(world.probe(), "app_health")
    assert (row["status_code"], row["state"], row["content_type"]) == (status, state, media)


def test_a_health_endpoint_that_hangs_is_a_timeout(world):
    world.routes["/health"] = hang
    row = row_of(world.probe(deadline_s=0.5), "app_health")
    assert ("status_code" in row, row["error_type"]) == (False, "timeout")


def test_a_health_endpoint_that_moved_is_followed(world):
    world.routes |= {
        "/health": reply(308, b"", {"Location": "/healthz"}),
        "/healthz": reply(200, {"status": "ok"}),
    }
    assert row_of(world.probe(), "app_health")["state"] == "ok"


def test_a_redirect_to_where_nobody_listens_has_no_status(world):
    world.routes["/health"] = reply(302, b"", {"Location": "http://127.0.0.1:9/x"})
    row = row_of(world.probe(), "app_health")
    assert (row.get("status_code"), row["error_type"]) == (None, "refused")


@pytest.mark.parametrize("status", [200, 204, 400, 401, 403, 405])
def test_a_route_that_lives_is_asked_once_and_never_given_anything(world, status):
    world.routes["/hook"] = reply(status)
    assert row_of(world.probe(), "webhook")["status_code"] == status
    assert [(each.method, each.body) for each in world.asked if each.path == "/hook"] == [("GET", b"")]


@pytest.mark.parametrize("to_get", [404, 410, 500, 501, 302])
def test_a_route_that_only_takes_post_is_not_called_dead(world, to_get):
    world.routes |= {"GET /hook": reply(to_get), "POST /hook": reply(401)}
    assert row_of(world.probe(), "webhook")["status_code"] == 401
    (post,) = [each for each in world.asked if each.method == "POST"]
    assert b'"data": []' in post.body
    assert "klaviyo-signature" not in post.headers


@pytest.mark.parametrize("status", [404, 410, 500, 503])
def test_a_dead_route_is_dead_to_both(world, status):
    world.routes["/hook"] = reply(status)
    assert row_of(world.probe(), "webhook")["status_code"] == status
