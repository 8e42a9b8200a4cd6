"""The pretend Klaviyo against other people's ideas of Klaviyo: its own client, its OpenAPI description."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from installed import missing
from klaviyo_nb.drills import world
from klaviyo_nb.drills.server import Services, serve

pytestmark = pytest.mark.real

PATHS = ("/api/accounts", "/api/profiles", "/api/profiles/{id}", "/api/events", "/api/metrics", "/api/lists",
         "/api/lists/{id}", "/api/profile-import", "/client/ip-allowlists/{id}")  # fmt: skip
#: The description declares attributes required that a sparse fieldset leaves out, as the real answers do.
SPARSE = "fields["
EVENT = {
    "data": {
        "type": "event",
        "attributes": {
            "properties": {"value": 1},
            "metric": {"data": {"type": "metric", "attributes": {"name": "Placed Order"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "pat@example.com"}}},
        },
    }
}


@pytest.fixture(scope="session")
def description() -> dict[str, Any]:
    """Klaviyo's OpenAPI description, cut to `PATHS`: the whole takes Prism half a minute."""
    path = os.environ.get("KLAVIYO_OPENAPI")
    if not path:
        missing("KLAVIYO_OPENAPI is not set")
    whole = json.loads(Path(str(path)).read_text("utf-8"))
    return cut(whole, PATHS)


def cut(whole: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The same description with these paths and what they refer to."""
    kept = {path: whole["paths"][path] for path in paths}
    for operations in kept.values():
        for operation in operations.values():
            if isinstance(operation, dict) and "parameters" in operation:
                operation["parameters"] = [each for each in operation["parameters"]
                                           if not str(each.get("name")).startswith(SPARSE)]  # fmt: skip
    found: dict[str, Any] = {"securitySchemes": whole["components"]["securitySchemes"]}
    todo: list[Any] = [kept]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                _, _, kind, name = reference.split("/")
                if name not in found.setdefault(kind, {}):
                    found[kind][name] = whole["components"][kind][name]
                    todo.append(found[kind][name])
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return {key: whole[key] for key in ("openapi", "info", "security")} | {"paths": kept, "components": found}


@pytest.fixture
def services(now: datetime, tmp_path: Path) -> Iterator[Services]:
    """A healthy world in which every call finds a new minute, so that limits do not hide the answers."""
    minutes = itertools.count(int(now.timestamp()), 61)
    with serve(world("healthy", 1, now), tmp_path / "world", clock=lambda: float(next(minutes))) as found:
        yield found


def headers(services: Services) -> dict[str, str]:
    key = services.environ["KLAVIYO_PRIVATE_KEY"]
    return {"Authorization": f"Klaviyo-API-Key {key}", "revision": "2026-07-15"}


def official(services: Services, script: str, key: str | None = None) -> list[Any]:
    """What the official client made of it: a process of its own, as its imports warn."""
    if find_spec("klaviyo_api") is None:
        missing("klaviyo-api is not installed")
    start = (
        "import json, sys\nfrom klaviyo_api import KlaviyoAPI\nfrom openapi_client.exceptions import ApiException\n"
        "client = KlaviyoAPI(sys.argv[2], test_host=sys.argv[1], max_retries=1, max_delay=1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + script, services.urls["api"], key or services.environ["KLAVIYO_PRIVATE_KEY"]],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_the_official_client_reads_the_account_profiles_metrics_and_lists(services: Services) -> None:
    found = official(services, """
account = client.Accounts.get_accounts().data[0]
profiles = client.Profiles.get_profiles(page_size=5).data
print(json.dumps([account.attributes.timezone, len(profiles), profiles[0].attributes.email,
                  len(client.Metrics.get_metrics().data), client.Lists.get_lists().data[0].attributes.name]))
""")  # fmt: skip
    assert found == ["US/Eastern", 5, "profile.0@example.com", 4, "Newsletter"]


def test_the_official_client_sends_an_event(services: Services) -> None:
    script = f"print(json.dumps([client.Events.create_event({EVENT!r})]))"
    assert official(services, script) == [None]


def test_the_official_client_meets_a_revoked_key(services: Services) -> None:
    script = """
try:
    client.Accounts.get_accounts()
except ApiException as exc:
    print(json.dumps([exc.status, json.loads(exc.body)["errors"][0]["code"], exc.headers["X-Klaviyo-Req-Id"]]))
"""
    status, code, request_id = official(services, script, key="pk_" + "0" * 34)
    assert (status, code) == (401, "not_authenticated")
    assert len(request_id) == 36


def test_the_official_client_meets_the_limit_and_its_wait(now: datetime, tmp_path: Path) -> None:
    script = """
try:
    client.Profiles.get_profiles()
except ApiException as exc:
    print(json.dumps([exc.status, exc.headers["Retry-After"], exc.headers.get("RateLimit-Limit")]))
"""
    with serve(world("rate_limited", 1, now), tmp_path, clock=lambda: now.timestamp() + 59.5) as found:
        assert official(found, script) == [429, "1", None]


@pytest.fixture
def prism(
    description: dict[str, Any], services: Services, tmp_path: Path, need: Callable[[str], str]
) -> Iterator[str]:
    """Prism in front of the pretend Klaviyo; it turns an answer that breaks the description into an error."""
    spec = tmp_path / "cut.json"
    spec.write_text(json.dumps(description))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [
        need("prism"),
        "proxy",
        str(spec),
        services.urls["api"],
        "--errors",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with (
        (tmp_path / "prism.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            select.select([], [], [], 0.05)  # not there yet
    pytest.fail("Prism did not start")


def test_prism_finds_nothing_wrong_with_our_answers_and_something_with_a_wrong_one(
    prism: str, services: Services
) -> None:
    profile = {"data": {"type": "profile", "attributes": {"email": "prism@example.com"}}}
    asked: list[tuple[str, str, Any, int]] = [
        ("GET", "/api/accounts", None, 200),
        ("GET", "/api/profiles?page%5Bsize%5D=3", None, 200),
        ("GET", "/api/profiles/01HPRETEND0000000000000001", None, 200),
        ("GET", "/api/events", None, 200),
        ("GET", "/api/metrics", None, 200),
        ("GET", "/api/lists", None, 200),
        ("GET", "/api/lists/nothing", None, 404),
        ("GET", "/client/ip-allowlists/integration-egress", None, 200),
        ("POST", "/api/events", EVENT, 202),
        ("POST", "/api/profile-import", profile, 201),
        ("POST", "/api/profiles", profile, 409),
    ]
    with httpx.Client(base_url=prism, headers=headers(services), timeout=30) as client:
        for method, target, document, status in asked:
            sent = {"content": json.dumps(document)} if document else {}
            reply = client.request(
                method, target, headers={"Content-Type": "application/vnd.api+json"}, **sent
            )
            assert reply.status_code == status, (target, reply.text)
        wrong = client.get("/api/accounts?fields%5Baccount%5D=timezone")
    assert wrong.status_code == 500
    assert "required property" in wrong.text


def test_schemathesis_finds_no_answer_outside_the_description(
    description: dict[str, Any], services: Services, tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        missing("schemathesis is not installed")
    spec = tmp_path / "cut.json"
    spec.write_text(json.dumps(description))
    given = [part for name, value in headers(services).items() for part in ("-H", f"{name}: {value}")]
    command = [
        str(program), "run", str(spec), "--url", services.urls["api"], *given,
        "--phases", "examples,coverage", "--max-examples", "10", "--seed", "1",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-1000:]
