"""The merchant's own address, as `/api/accounts` tells it, is in no file of a bundle, whoever wrote it where."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from test_cli import run

STREET = {
    "address1": "17 Quayside Lane", "address2": "Unit 4b", "city": "Whitby", "region": "North Yorkshire",
    "country": "United Kingdom", "zip": "YO22 4QX",
}  # fmt: skip
CONTACT = {
    "default_sender_name": "Ann Harbour", "default_sender_email": "ann@harbour.shop",
    "organization_name": "Harbour Candles Ltd", "street_address": STREET,
}  # fmt: skip
ACCOUNT = {"data": [{"type": "account", "id": "AbC123", "attributes": {"contact_information": CONTACT}}]}
#: What tells who they are; a country alone does not.
TELLING = ("17 Quayside Lane", "Unit 4b", "Whitby", "YO22 4QX", "ann@harbour.shop", "Ann Harbour")
SPAN = ("--start", "2026-11-23T05:00:00Z", "--end", "2026-11-23T07:00:00Z")


class _Klaviyo(BaseHTTPRequestHandler):
    """Tells the whole account, whatever fields were asked for, and repeats it in an error."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        detail = f"Invalid input for {json.dumps(ACCOUNT)}"
        error = {"id": "an-id", "status": 400, "code": "invalid", "title": "Invalid input.", "detail": detail}
        refused = not self.path.startswith("/api/accounts?")
        body = json.dumps({"errors": [error]} if refused else ACCOUNT).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def klaviyo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Klaviyo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def lines() -> Iterator[str]:
    """What applications write when they log the answer."""
    call = {"time": "2026-11-23T06:50:00Z", "method": "GET", "url": "https://a.klaviyo.com/api/accounts"}
    for number in range(30):
        yield json.dumps(call | {"status": 400, "request_id": f"r-{number}", "msg": "Invalid input."})
    yield json.dumps(call | {"status": 200, "body": ACCOUNT})
    yield json.dumps(call | {"status": 400, "msg": f"klaviyo said {json.dumps(ACCOUNT)}"})
    yield json.dumps(call | {"status": 400, "msg": f"klaviyo said {json.dumps(json.dumps(ACCOUNT))}"})
    yield f"2026-11-23 06:51:00 ERROR GET https://a.klaviyo.com/api/accounts 400 {ACCOUNT!r}"


def test_the_address_that_accounts_tells_is_in_no_file_of_a_bundle(klaviyo: str, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("\n".join(lines()) + "\n")
    environ = {
        "KLAVIYO_NB_API_URL": klaviyo,
        "KLAVIYO_NB_STATUS_URL": "http://127.0.0.1:9",
        "KLAVIYO_NB_HEALTH_URL": "",
        "KLAVIYO_PRIVATE_KEY": "pk_0123456789abcdef0123456789abcdef01",
    }
    done = run("bundle", "--logs", "app.log", "--incident", "INC-7", *SPAN, cwd=tmp_path, **environ)
    report = tmp_path / "reports" / "INC-7"
    assert (report / "SHA256SUMS").is_file(), done.stderr
    said = {str(path.relative_to(report)): path.read_text("utf-8", "replace")
            for path in report.rglob("*") if path.is_file()}  # fmt: skip
    assert "/api/accounts" in said["evidence/calls.csv"]  # it was read
    assert json.loads(said["redaction.json"])["found"]
    found = [
        (name, value)
        for name, text in said.items()
        for value in TELLING
        for form in (value, quote(value), json.dumps(value)[1:-1])
        if form in text
    ]
    assert not found
