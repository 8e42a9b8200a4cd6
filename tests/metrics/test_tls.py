"""A metrics server behind TLS: an authority of our own, a certificate to show, and none checked."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.metrics.client import Fetched, fetch
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.window import Window

NAMES = from_table({"errors": "", "duration": "", "ratelimit_remaining": "", "webhooks": "", "alerts": ""})
UNCHECKED = "its certificate was not checked (tls.verify = false)"


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data: Any = [] if "/series" in self.path else {"resultType": "matrix", "result": []}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Quiet(HTTPServer):
    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def pem(need: Callable[[str], str], tmp_path: Path) -> tuple[str, str]:
    """A certificate that is its own authority, and its key."""
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@contextmanager
def serving(pem: tuple[str, str], asks_for_ours: bool = False) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pem)
    if asks_for_ours:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pem[0])
    server = _Quiet(("127.0.0.1", 0), _Empty)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, window: Window, **tls: Any) -> Fetched:
    return asyncio.run(fetch(url, window, names=NAMES, tls=tls, timeout_s=10))


def reason(fetched: Fetched) -> str:
    return "; ".join(gap.reason for gap in fetched.gaps)


def test_an_authority_of_our_own_is_trusted_only_if_it_was_named(pem: tuple[str, str], window: Window):
    with serving(pem) as url:
        unknown = reason(ask(url, window))
        named = reason(ask(url, window, ca_file=pem[0]))
    assert "certificate verify failed" in unknown
    assert "name its file: [metrics.tls] ca_file" in unknown
    assert "no series of" in named
    assert UNCHECKED not in named


def test_a_certificate_that_nobody_checked_is_told(pem: tuple[str, str], window: Window):
    with serving(pem) as url:
        found = reason(ask(url, window, verify=False))
    assert "no series of" in found
    assert UNCHECKED in found


def test_a_server_that_wants_our_certificate_gets_it(pem: tuple[str, str], window: Window):
    with serving(pem, asks_for_ours=True) as url:
        without = reason(ask(url, window, ca_file=pem[0]))
        shown = reason(ask(url, window, ca_file=pem[0], client_cert=pem[0], client_key=pem[1]))
    assert "no answer" in without
    assert "no series of" in shown


@pytest.mark.parametrize(
    ("tls", "where"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "metrics.tls.ca_file"),
        ({"client_cert": "/nowhere/me.pem"}, "metrics.tls.client_cert"),
        ({"verify": "no"}, "metrics.tls.verify"),
        ({"insecure": True}, "metrics.tls.insecure"),
    ],
)
def test_a_setting_that_cannot_be_used_is_the_users_mistake(tls: dict[str, Any], where: str, window: Window):
    with pytest.raises(UsageError) as caught:
        ask("https://localhost:1", window, **tls)
    assert caught.value.where.endswith(where)
    assert caught.value.hint


def test_a_file_that_is_no_certificate_is_the_users_mistake(window: Window, tmp_path: Path):
    (tmp_path / "empty.pem").write_text("hello")
    with pytest.raises(UsageError, match=r"metrics\.tls\.ca_file: .*empty\.pem"):
        ask("https://localhost:1", window, ca_file=str(tmp_path / "empty.pem"))
