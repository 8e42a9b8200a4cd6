from __future__ import annotations

import asyncio
import resource
import socket
import subprocess
import sys
import time
from datetime import date

import httpx
import pytest

from klaviyo_nb import probes
from klaviyo_nb.errors import UsageError
from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.klaviyo.revisions import NEWEST, state
from klaviyo_nb.probes.runner import ImpatientExecutor
from klaviyo_nb.settings import Settings
from probes_world import (
    ALL,
    ASKED,
    FAULTS,
    KEY,
    NOW,
    World,
    flood,
    loop_for_ever,
    many_heads,
    refusal,
    row_of,
)


def test_when_all_is_well_every_probe_is_a_row_and_nothing_is_missing(world):
    probed = world.probe()
    assert [row["probe"] for row in probed.rows] == list(ASKED)
    assert sorted(world.told) == sorted(ASKED)
    assert probed.gaps == []
    assert (probed.budget.api_calls, probed.budget.allowed) == (3, 6)
    assert all(row["checked_at"] == NOW and row["duration_s"] > 0 for row in probed.rows)
    assert not any(failure(r["status_code"], r.get("error_type"), r["answered_by"]) for r in probed.rows[:3])


def test_the_key_goes_to_the_api_and_to_nobody_else(world):
    world.probe()
    with_key = {each.path.partition("?")[0] for each in world.asked if "authorization" in each.headers}
    assert with_key == {"/api/accounts", "/api/profiles"}
    assert not any(KEY in str((each.path, each.body)) for each in world.asked)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_everybody_does_there_is_a_row_with_the_reason(world, fault):
    world.routes = dict.fromkeys(ALL, FAULTS[fault].route)
    probed = world.probe(deadline_s=0.8)
    for name in ASKED:
        row = row_of(probed, name)
        assert (row.get("status_code"), row.get("error_type")) == FAULTS[fault].expected(name), name
    assert world.took_s < 20
    assert probed.status_page is None
    assert "status_page" in {gap.signal for gap in probed.gaps}
    assert probed.budget.api_calls <= 6


def test_what_floods_with_interim_answers_is_a_row_or_a_gap_by_its_name(world):
    world.routes = dict.fromkeys(ALL, many_heads)
    probed = world.probe(deadline_s=0.8)
    assert {row["probe"] for row in probed.rows} | {gap.signal for gap in probed.gaps} >= set(ASKED)
    assert world.took_s < 20


def test_memory_stays_bounded_when_everybody_sends_200_mb():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    World(dict.fromkeys(ALL, flood)).probe(deadline_s=5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_a_redirect_that_never_ends_ends(world):
    world.routes |= dict.fromkeys(ALL, loop_for_ever)
    probed = world.probe()
    assert row_of(probed, "status_page")["error_type"] == "redirects"
    assert row_of(probed, "app_health")["error_type"] == "redirects"
    assert row_of(probed, "auth")["error_type"] == "redirects"
    assert len(world.paths("/api/accounts")) == 2


def test_nobody_listening_is_refused_everywhere():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        root = f"http://127.0.0.1:{free.getsockname()[1]}"
    chosen = {"api_url": root, "status_url": root, "health_url": root, "webhook_url": root}
    probed = World().probe(**chosen)
    assert {row["error_type"] for row in probed.rows} == {"refused"}
    assert {failure(None, row["error_type"], None) for row in probed.rows} == {"unreachable"}


def test_without_a_key_the_keyless_probes_run_and_the_others_are_gaps(world):
    probed = world.probe(private_key=None)
    assert {row["probe"] for row in probed.rows} == {"status_page", "liveness", "app_health", "webhook"}
    assert [(gap.signal, gap.configured) for gap in probed.gaps] == [("auth", False), ("rate_limit", False)]
    assert probed.budget.api_calls == 1


def test_a_key_of_blanks_is_a_gap_that_somebody_meant_to_fill(world):
    assert {gap.configured for gap in world.probe(private_key=" \n").gaps} == {True}


def test_a_key_with_a_line_break_is_sent_without_it(world):
    assert row_of(world.probe(private_key=f"{KEY}\n"), "auth")["status_code"] == 200


def test_what_is_not_configured_is_a_gap_and_no_trouble(world):
    probed = world.probe(health_url="", webhook_url=None)
    assert [(gap.signal, gap.configured) for gap in probed.gaps] == [
        ("app_health", False),
        ("webhook", False),
    ]


@pytest.mark.parametrize("revision", ["latest", "2026-07-15\r\nX-Evil: 1", "2026–07–15"])
def test_a_revision_that_is_none_is_a_usage_error(world, revision):
    with pytest.raises(UsageError) as caught:
        world.probe(revision=revision)
    assert "KLAVIYO_NB_REVISION" in caught.value.where


def test_the_revision_asked_for_is_in_the_row(world):
    world.probe()
    assert {
        each.headers["revision"]
        for each in world.asked
        if "/api/v2" not in each.path and "/api/" in each.path
    } == {NEWEST}
    assert row_of(world.probe(revision="2024-10-15"), "auth")["revision_asked"] == "2024-10-15"
    assert state("2024-10-15", date(2026, 11, 23)).state == "retired"


def test_texts_from_outside_are_redacted_harmless_and_short(world):
    hostile = f"\x1b[31mred\x1b[0m\nkey {KEY} \u202eevil " + "long " * 500
    world.routes["/api/accounts"] = refusal(401, "not_authenticated", hostile)
    detail = row_of(world.probe(), "auth")["detail"]
    assert detail.startswith("red key [key] evil long")
    assert len(detail) == 300
    assert detail.isprintable()


def test_an_unreadable_certificate_file_is_a_usage_error(world, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        world.probe()


def test_answers_can_come_from_a_transport_and_then_no_network_is_probed():
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"server": "cloudflare"}, text="<html>")

    probed = asyncio.run(
        probes.run(Settings(private_key=KEY), deadline_s=9, clock=lambda: NOW, redact=str,
                   transport=httpx.MockTransport(answer))
    )  # fmt: skip
    assert {row["probe"] for row in probed.rows} == {
        "status_page",
        "auth",
        "rate_limit",
        "liveness",
        "app_health",
    }
    assert row_of(probed, "auth")["answered_by"] == "edge"


def test_the_program_does_not_wait_for_a_lookup_that_never_ends():
    """Neither the end of the loop nor the end of the program joins the thread."""
    program = (
        "import asyncio, time\n"
        "from klaviyo_nb.probes.runner import ImpatientExecutor\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.set_default_executor(ImpatientExecutor())\n"
        "    assert await asyncio.to_thread(len, 'four') == 4\n"
        "    try:\n"
        "        await asyncio.wait_for(asyncio.to_thread(time.sleep, 60), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('late')\n"
        "asyncio.run(main())\n"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("late\n", "")
    assert time.perf_counter() - started < 20


def test_what_work_raises_in_a_thread_is_handed_on():
    with pytest.raises(ZeroDivisionError):
        ImpatientExecutor().submit(lambda: 1 / 0).result(timeout=5)
