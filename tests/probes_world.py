"""A local server that misbehaves as told, and a round of probes against it."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from klaviyo_nb import probes
from klaviyo_nb.frames import PROBES
from klaviyo_nb.settings import Settings

KEY = "pk_" + "a1" * 17
NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
KLAVIYO = {
    "Content-Type": "application/vnd.api+json",
    "X-Klaviyo-Req-Id": "0f0f0f0f-0000-4000-8000-000000000001",
    "X-Klaviyo-Api-Revision": "2026-07-15",
    "RateLimit-Limit": "75, 75;w=1, 750;w=60",
    "RateLimit-Remaining": "74",
    "Date": "Mon, 23 Nov 2026 07:00:00 GMT",
}
PAGE = {
    "page": {"name": "Klaviyo", "updated_at": "2026-11-23T06:59:00Z"},
    "status": {"indicator": "none", "description": "All Systems Operational"},
    "components": [{"name": "Klaviyo API", "status": "operational", "group": False}],
    "incidents": [],
    "scheduled_maintenances": [],
}

Writer = asyncio.StreamWriter


@dataclass
class Asked:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def with_key(self) -> bool:
        return KEY in self.headers.get("authorization", "")


#: What a route does with the connection: bytes to send, or a coroutine that has its own way.
Route = bytes | Callable[[Asked, Writer], Awaitable[None]]


def reply(status: int, body: bytes | object = b"", headers: dict[str, str] | None = None) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"Content-Length": str(len(raw)), "Connection": "close"} | (headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + raw


def refusal(status: int, code: str, detail: str = "why", **headers: str) -> bytes:
    error = {"id": "an-id", "status": status, "code": code, "title": "t", "detail": detail}
    return reply(status, {"errors": [error]}, {"Content-Type": "application/vnd.api+json"} | headers)


def healthy() -> dict[str, Route]:
    """Path (and `METHOD path`, which wins) → what comes back."""
    return {
        "/api/v2/summary.json": reply(200, PAGE),
        "/api/accounts": reply(200, {"data": [{"id": "ABCDEF"}]}, KLAVIYO),
        "keyless": refusal(401, "not_authenticated"),
        "/api/profiles": reply(200, {"data": []}, KLAVIYO),
        "/health": reply(200, {"status": "ok"}, {"Content-Type": "application/json"}),
        "/hook": reply(405),
    }


@dataclass
class World:
    """A server with routes, and what was asked of it."""

    routes: dict[str, Route] = field(default_factory=healthy)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)
    took_s: float = 0.0
    told: list[str] = field(default_factory=list)
    _open: list[tuple[asyncio.Task[Any], Writer]] = field(default_factory=list)

    def probe(self, deadline_s: float = 5.0, **settings: Any) -> probes.Probed:
        return asyncio.run(self._probe(deadline_s, settings))

    def paths(self, start: str) -> list[str]:
        return [each.path for each in self.asked if each.path.startswith(start)]

    async def _probe(self, deadline_s: float, chosen: dict[str, Any]) -> probes.Probed:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        root = f"http{'s' if self.tls else ''}://{self.host}:{server.sockets[0].getsockname()[1]}"
        settings = Settings(**{
            "private_key": KEY, "api_url": root, "status_url": root, "health_url": f"{root}/health",
            "webhook_url": f"{root}/hook",
        } | chosen)  # fmt: skip
        started = time.perf_counter()
        try:
            return await probes.run(
                settings, deadline_s=deadline_s, clock=lambda: NOW, redact=lambda text: text.replace(KEY, "[key]"),
                on_row=lambda row: self.told.append(row["probe"]),
            )  # fmt: skip
        finally:
            self.took_s = time.perf_counter() - started
            server.close()
            await self._hang_up()

    async def _hang_up(self) -> None:
        for task, writer in self._open:
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*(task for task, _ in self._open), return_exceptions=True)
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task
        self._open.append((task, writer))
        with suppress(OSError, asyncio.IncompleteReadError):
            asked = await _request(reader)
            self.asked.append(asked)
            route = self._route(asked)
            if isinstance(route, bytes):
                writer.write(route)
                await writer.drain()
            else:
                await route(asked, writer)
        writer.close()

    def _route(self, asked: Asked) -> Route:
        path = asked.path.partition("?")[0]
        if path == "/api/accounts" and not asked.with_key:
            path = "keyless"
        return self.routes.get(f"{asked.method} {path}", self.routes.get(path, reply(404, b"not here")))


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def row_of(probed: probes.Probed, name: str) -> dict[str, Any]:
    """The row of one probe; all of them fit the frame."""
    PROBES.frame(probed.rows)
    return next(row for row in probed.rows if row["probe"] == name)


ALL = ("/api/v2/summary.json", "/api/accounts", "keyless", "/api/profiles", "/health", "/hook")
ASKED = ("status_page", "auth", "rate_limit", "liveness", "app_health", "webhook")


@dataclass(frozen=True)
class Fault:
    """What a server does wrong, and the row that should come of it."""

    route: Route
    status_code: int | None
    error_type: str | None
    of_app: str | None = "same"  # an application's own answer may be of any type

    def expected(self, probe: str) -> tuple[int | None, str | None]:
        ours = probe in ("app_health", "webhook") and self.of_app != "same"
        return self.status_code, self.of_app if ours else self.error_type


async def hang(asked: Asked, writer: Writer) -> None:
    await asyncio.Event().wait()


async def drip(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_head(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.02)


async def reset(asked: Asked, writer: Writer) -> None:
    writer.transport.abort()


async def truncate(asked: Asked, writer: Writer) -> None:
    writer.write(
        b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\nContent-Type: application/json\r\n\r\n{"status": '
    )


async def garble(asked: Asked, writer: Writer) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")


async def flood(asked: Asked, writer: Writer) -> None:
    """200 MB, as fast as they are taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 209715200\r\n\r\n")
    for _ in range(3200):
        writer.write(b"x" * 65536)
        await writer.drain()


async def flood_head(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 400_000 + b"\r\n\r\n")
    await writer.drain()


async def loop_for_ever(asked: Asked, writer: Writer) -> None:
    writer.write(reply(302, b"", {"Location": asked.path}))


async def many_heads(asked: Asked, writer: Writer) -> None:
    """Interim answers without end."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
        await writer.drain()


_JSON = {"Content-Type": "application/json"}
FAULTS = {
    "hang": Fault(hang, None, "timeout"),
    "drip": Fault(drip, 200, "timeout"),
    "drip in the head": Fault(drip_head, None, "timeout"),
    "reset": Fault(reset, None, "reset"),
    "truncate": Fault(truncate, 200, "truncated"),
    "garble": Fault(garble, None, "protocol"),
    "200 MB": Fault(flood, 200, "too_large"),
    "a head without end": Fault(flood_head, None, "protocol"),
    "broken JSON": Fault(reply(200, b'{"status": {"indicator": "none"', _JSON), 200, "malformed", None),
    "a page that says it is JSON": Fault(reply(200, b"<html>Hello", _JSON), 200, "malformed", None),
    "not UTF-8": Fault(reply(200, b"caf\xe9 \xff\xfe", _JSON), 200, "malformed", None),
    "empty": Fault(reply(200, b"", _JSON), 200, "malformed", None),
}


@pytest.fixture
def world() -> World:
    """A server where all is well."""
    return World()
