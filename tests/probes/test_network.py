from __future__ import annotations

import asyncio
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from klaviyo_nb.probes.asking import proxy_for, target_of
from probes_world import KEY, World, refusal, reply, row_of


def certificate(openssl, folder, name, days=20):
    """A self-signed certificate for `name`: its own authority, which is why a client can be told to trust it."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         str(days), "-keyout", key, "-out", pem, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return pem, context


def test_a_good_certificate_tells_when_it_ends(world, need, tmp_path, monkeypatch):
    pem, world.tls = certificate(need("openssl"), tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    world.host = "localhost"
    probed = world.probe()
    end = datetime.now(UTC) + timedelta(days=20)
    for name in ("tls", "webhook"):
        assert abs(row_of(probed, name)["cert_expires"] - end) < timedelta(hours=1)
    assert row_of(probed, "tls").get("error_type") is None
    assert row_of(probed, "auth")["status_code"] == 200
    assert "127.0.0.1" in row_of(probed, "dns")["state"]


@pytest.mark.parametrize(
    ("name", "trusted", "word"), [("localhost", False, "self-signed"), ("other.example", True, "localhost")]
)
def test_a_certificate_that_does_not_fit_is_tls_and_says_why(
    world, need, tmp_path, monkeypatch, name, trusted, word
):
    pem, world.tls = certificate(need("openssl"), tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    world.host = "localhost"
    probed = world.probe()
    for probe in ("tls", "auth", "webhook", "status_page", "app_health"):
        row = row_of(probed, probe)
        assert (row.get("status_code"), row["error_type"]) == (None, "tls"), probe
        assert word in row["detail"].replace("self signed", "self-signed")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"SSH-2.0-x\r\n",
        b"",
    ],
    ids=["plain HTTP", "an alert", "another protocol", "nothing"],
)
def test_what_is_not_tls_where_tls_should_be_is_tls(world, answer):
    async def drop(reader, writer):
        await reader.read(10)
        writer.write(answer)
        writer.close()

    async def both():
        server = await asyncio.start_server(drop, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await asyncio.to_thread(world.probe, api_url=f"https://127.0.0.1:{port}")
        finally:
            server.close()

    probed = asyncio.run(both())
    assert row_of(probed, "tls")["error_type"] == "tls"
    assert row_of(probed, "auth")["error_type"] == "tls"


def test_an_address_needs_no_lookup_and_http_no_certificate(world):
    assert not {"dns", "tls"} & {row["probe"] for row in world.probe().rows}


def test_a_name_without_an_address_is_dns():
    probed = World().probe(api_url="https://klaviyo.invalid", deadline_s=4)
    for name in ("dns", "tls", "auth"):
        assert row_of(probed, name)["error_type"] in ("dns", "timeout"), name


def test_a_name_that_a_blocker_leads_nowhere_is_dns():
    probed = World().probe(api_url="http://0x0:9", deadline_s=4)  # resolvers read it as 0.0.0.0
    row = row_of(probed, "dns")
    assert (row["state"], row["error_type"]) == ("0.0.0.0", "dns")
    assert "leads nowhere" in row["detail"]


def test_a_proxy_that_refuses_is_named_and_the_way_past_it_is_not_asked(world, monkeypatch):
    proxy = World({"/": reply(407)})

    async def both():
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
        proxy.routes["CONNECT api.example:443"] = reply(407)
        try:
            return await asyncio.to_thread(world.probe, api_url="https://api.example")
        finally:
            server.close()
            await proxy._hang_up()

    probed = asyncio.run(both())
    row = row_of(probed, "auth")
    assert row["error_type"] == "proxy"
    assert "secret" not in str(probed)
    assert {gap.signal for gap in probed.gaps} == {"dns", "tls"}
    assert all(KEY not in str(each.headers) for each in proxy.asked)
    assert row_of(probed, "app_health")["status_code"] == 200  # this machine's own address: past the proxy


def test_a_proxy_that_is_not_there_is_the_proxys_fault(world, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    row = row_of(world.probe(api_url="https://api.example"), "auth")
    assert row["error_type"] == "proxy"
    assert "127.0.0.1:9" in row["detail"]


def test_what_a_proxy_lets_through_is_klaviyos_answer(world, monkeypatch):
    proxy = World()
    proxy.routes = {"http://api.example/api/accounts": refusal(401, "not_authenticated", Via="1.1 squid"),
                    "http://api.example/api/profiles": reply(503, b"<html>", {"Via": "1.1 squid"})}  # fmt: skip

    async def both():
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            return await asyncio.to_thread(world.probe, api_url="http://api.example", deadline_s=3)
        finally:
            server.close()
            await proxy._hang_up()

    probed = asyncio.run(both())
    assert (row_of(probed, "auth")["answered_by"], row_of(probed, "rate_limit")["answered_by"]) == (
        "klaviyo",
        "proxy",
    )


def test_a_proxy_of_an_unknown_kind_is_a_gap_and_we_ask_past_it(world, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:70")
    probed = world.probe()
    assert "proxy" in {gap.signal for gap in probed.gaps}


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.klaviyo.com/x", {}, None),
        ("https://a.klaviyo.com/x", {"HTTPS_PROXY": "http://u:p@proxy.corp:3128"}, "proxy.corp:3128"),
        ("https://a.klaviyo.com/x", {"ALL_PROXY": "proxy.corp:3128"}, "proxy.corp:3128"),
        ("https://a.klaviyo.com/x", {"HTTPS_PROXY": "http://proxy.corp", "NO_PROXY": "klaviyo.com"}, None),
        ("http://localhost:3000/health", {"HTTP_PROXY": "http://proxy.corp"}, None),
        ("http://127.0.0.1/", {"HTTP_PROXY": "http://proxy.corp"}, None),
    ],
)
def test_the_proxy_of_an_url_is_the_environments_without_its_password(monkeypatch, url, environment, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_target_has_no_password_and_no_query():
    assert target_of("https://user:pw@host:1/path?token=x#y") == "https://host:1/path"
