from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from klaviyo_nb.drills import World, serve, world
from klaviyo_nb.drills.development import shown
from klaviyo_nb.drills.scenarios import SCENARIOS, Live
from klaviyo_nb.drills.server import Services
from klaviyo_nb.drills.traffic import tell
from klaviyo_nb.errors import UsageError
from klaviyo_nb.settings import load


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5) as found:
        yield found


def broken(now: datetime, **live: object) -> World:
    """A healthy world whose services answer otherwise."""
    return shown(tell(replace(SCENARIOS["healthy"], live=Live(**live)), 1, now))  # type: ignore[arg-type]


def key_of(services: Services) -> dict[str, str]:
    return {
        "Authorization": f"Klaviyo-API-Key {services.environ['KLAVIYO_PRIVATE_KEY']}",
        "revision": "2026-07-15",
    }


def test_a_healthy_world_answers_well_everywhere(now: datetime, tmp_path: Path, client: httpx.Client) -> None:
    with serve(world("healthy", 1, now), tmp_path) as services:
        urls, headers = services.urls, key_of(services)
        account = client.get(f"{urls['api']}/api/accounts", headers=headers)
        assert account.status_code == 200
        assert account.headers["server"] == "cloudflare"
        assert account.headers["date"].endswith("GMT")
        assert client.head(f"{urls['api']}/api/profiles", headers=headers).content == b""
        summary = client.get(f"{urls['status']}/api/v2/summary.json").json()
        assert summary["status"]["indicator"] == "none"
        assert client.get(urls["health"]).json()["status"] == "ok"
        assert client.post(urls["webhook"]).status_code == 401
        assert "klaviyo_api_requests_total" in client.get(f"{urls['app']}/metrics").text


def test_an_unknown_scenario_is_a_usage_error_that_says_how_to_list_them(now: datetime) -> None:
    with pytest.raises(UsageError) as caught:
        world("volcano", 1, now)
    assert caught.value.hint == "klaviyo-nb drill --list"


def test_the_environment_is_what_settings_read(now: datetime, tmp_path: Path) -> None:
    made = world("healthy", 1, now)
    with serve(made, tmp_path) as services:
        settings = load(services.environ)
    assert settings.private_key == made.key
    assert settings.api_url == services.urls["api"]
    assert settings.metrics_url == services.urls["metrics"]
    assert [Path(url) for url in settings.logs] == list(services.logs)
    assert (settings.since, settings.end) == ("7200s", "2026-11-23T07:00:00Z")


def test_the_logs_are_written_where_it_was_asked(now: datetime, tmp_path: Path) -> None:
    made = world("healthy", 1, now)
    with serve(made, tmp_path / "new") as services:
        assert {path.name: path.read_text() for path in services.logs} == made.logs


def test_the_metrics_server_answers_a_range_by_get_and_by_form(
    now: datetime, tmp_path: Path, client: httpx.Client
) -> None:
    form = {
        "query": "klaviyo_api_requests_total",
        "start": now.timestamp() - 600,
        "end": now.timestamp(),
        "step": 60,
    }
    with serve(world("healthy", 1, now), tmp_path) as services:
        address = f"{services.urls['metrics']}/api/v1/query_range"
        got, posted = client.get(address, params=form), client.post(address, data=form)
    assert got.json() == posted.json()
    assert len(got.json()["data"]["result"][0]["values"]) == 11


def test_no_key_and_no_metrics_server_where_the_scenario_has_none(now: datetime, tmp_path: Path) -> None:
    with serve(world("inconclusive", 1, now), tmp_path) as services:
        assert not {"KLAVIYO_PRIVATE_KEY", "KLAVIYO_NB_METRICS_URL"} & set(services.environ)


def test_a_cut_egress_refuses_connections_to_the_api_and_the_page_alone(
    now: datetime, tmp_path: Path, client: httpx.Client
) -> None:
    with serve(world("network_unreachable", 1, now), tmp_path) as services:
        for name in ("api", "status"):
            with pytest.raises(httpx.ConnectError):
                client.get(services.urls[name])
        assert client.get(services.urls["health"]).status_code == 200


def test_a_hang_says_nothing_and_does_not_delay_the_end(now: datetime, tmp_path: Path) -> None:
    with serve(broken(now, api={"*": "hang"}), tmp_path) as services, httpx.Client() as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{services.urls['api']}/api/accounts", timeout=0.2)
        stopping = time.perf_counter()
    assert time.perf_counter() - stopping < 0.3


def test_a_reset_ends_the_connection_without_an_answer(
    now: datetime, tmp_path: Path, client: httpx.Client
) -> None:
    with serve(broken(now, api={"*": "reset"}), tmp_path) as services, pytest.raises(httpx.ReadError):
        client.get(f"{services.urls['api']}/api/accounts")


@pytest.mark.parametrize(("way", "status", "says"), [("portal", 200, "Guest network"), ("challenge", 403, "Just a moment"),
                                                     ("edge_525", 525, "SSL handshake failed")])  # fmt: skip
def test_somebody_else_answers_in_html(
    way: str, status: int, says: str, now: datetime, tmp_path: Path, client: httpx.Client
) -> None:
    with serve(broken(now, api={"*": way}, page=way), tmp_path) as services:
        for name in ("api", "status"):
            reply = client.get(f"{services.urls[name]}/api/v2/summary.json")
            assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (
                status,
                "text/html",
            )
            assert says in reply.text


def test_an_unhealthy_application_and_a_route_that_is_gone_say_so(
    now: datetime, tmp_path: Path, client: httpx.Client
) -> None:
    with serve(broken(now, health=503, webhook=404), tmp_path) as services:
        health = client.get(services.urls["health"])
        assert (health.status_code, health.json()["status"]) == (503, "down")
        assert client.post(services.urls["webhook"]).status_code == 404


def test_two_worlds_run_side_by_side(now: datetime, tmp_path: Path, client: httpx.Client) -> None:
    with (
        serve(world("healthy", 1, now), tmp_path / "a") as one,
        serve(world("invalid_key", 1, now), tmp_path / "b") as two,
    ):
        statuses = [
            client.get(f"{each.urls['api']}/api/accounts", headers=key_of(each)).status_code
            for each in (one, two)
        ]
    assert statuses == [200, 401]
