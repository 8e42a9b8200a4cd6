"""The pretend services on real sockets: Klaviyo, its status page, the application, its metrics server."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache, partial
from http.client import responses
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine

from klaviyo_nb.drills import page
from klaviyo_nb.drills.api import PretendKlaviyo, Reply, Request
from klaviyo_nb.drills.counters import exposition, scrape
from klaviyo_nb.drills.lines import logs
from klaviyo_nb.drills.prometheus import query_range
from klaviyo_nb.drills.traffic import World
from klaviyo_nb.drills.ways import OK, WAYS, body, headers
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

HOST = "127.0.0.1"
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_Answer = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True)
class Services:
    """What is running.

    Attributes:
        environ: What to export so that the package asks these services.
        urls: `api`, `status`, `app`, `health`, `webhook`, `metrics` → URL.
        logs: The application's logs.
    """

    environ: Mapping[str, str]
    urls: Mapping[str, str]
    logs: tuple[Path, ...]


@contextmanager
def serve(world: World, folder: Path, clock: Callable[[], float] = time.time) -> Iterator[Services]:
    """Write the logs of `world` into `folder` and run its services on free local ports.

    A service that the scenario has refuse connections holds a port on which nobody listens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / name: text for name, text in logs(world).items()}
    for path, text in files.items():
        path.write_text(text, "utf-8")
    answers = _answers(world, clock)
    refusing = {
        "api": world.scenario.live.api.get("*") == "refused",
        "status": world.scenario.live.page == "refused",
    }
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in answers}
        for name, held in sockets.items():
            held.bind((HOST, 0))
            if not refusing.get(name):
                held.listen(128)
        urls = {name: f"http://{HOST}:{held.getsockname()[1]}" for name, held in sockets.items()}
        open_ = {name: held for name, held in sockets.items() if not refusing.get(name)}
        stack.enter_context(_running([(open_[name], answers[name]) for name in open_], clock))
        urls |= {"health": f"{urls['app']}/health", "webhook": f"{urls['app']}/webhooks/klaviyo"}
        yield Services(_environ(world, urls, tuple(files)), urls, tuple(files))


def _environ(world: World, urls: Mapping[str, str], files: tuple[Path, ...]) -> dict[str, str]:
    scenario = world.scenario
    found = {
        "KLAVIYO_PRIVATE_KEY": world.key if scenario.has_key else "",
        "KLAVIYO_NB_API_URL": urls["api"],
        "KLAVIYO_NB_STATUS_URL": urls["status"],
        "KLAVIYO_NB_HEALTH_URL": urls["health"],
        "KLAVIYO_NB_WEBHOOK_URL": urls["webhook"],
        "KLAVIYO_NB_METRICS_URL": urls["metrics"] if scenario.has_metrics else "",
        "KLAVIYO_NB_LOGS": " ".join(map(str, files)),
        # Without it the window moves on, and the incident with it out of its last part.
        "KLAVIYO_NB_END": iso(world.window.end),
    }
    return {name: value for name, value in found.items() if value}


def _answers(world: World, clock: Callable[[], float]) -> dict[str, _Answer]:
    """Service → what it says."""
    return {
        "api": PretendKlaviyo(world, clock).reply,
        "status": _status_page(world),
        "app": _application(world),
        "metrics": _metrics_server(world),
    }


def _status_page(world: World) -> _Answer:
    documents, way = page.documents(world), WAYS[world.scenario.live.page]

    def answer(request: Request) -> Reply:
        if way is not OK:
            return Reply(way, way.status or 0, headers(way, None), body(way, ""))
        return _document(documents.get(request.path))

    return answer


def _application(world: World) -> _Answer:
    live, metrics = world.scenario.live, cache(lambda: exposition(scrape(world)))
    word = "ok" if live.health == 200 else "down"

    def answer(request: Request) -> Reply:
        if request.path == "/health":
            return _document({"status": word, "checks": {"database": word, "klaviyo": "ok"}}, live.health)
        if request.path == "/metrics":
            return Reply(OK, 200, {"Content-Type": "text/plain; version=0.0.4"}, metrics())
        if request.path == "/webhooks/klaviyo" and live.webhook != 404:
            return _document({"error": "invalid signature"}, live.webhook)
        return _document(None)

    return answer


def _metrics_server(world: World) -> _Answer:
    scraped = cache(lambda: scrape(world))

    def answer(request: Request) -> Reply:
        if request.path != "/api/v1/query_range":
            return _document(None)
        status, document = query_range(scraped(), request.form)
        return _document(document, status)

    return answer


def _document(document: Any, status: int = 200) -> Reply:
    if document is None:
        return Reply(OK, 404, _JSON, json.dumps({"error": "not found"}))
    return Reply(OK, status, _JSON, json.dumps(document))


@contextmanager
def _running(services: list[tuple[socket.socket, _Answer]], clock: Callable[[], float]) -> Iterator[None]:
    """Serve in a thread of its own until the end of the block."""
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Queue()
    thread = threading.Thread(target=lambda: asyncio.run(_main(services, clock, started)), daemon=True)
    thread.start()
    loop, done = started.get()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


async def _main(
    services: list[tuple[socket.socket, _Answer]],
    clock: Callable[[], float],
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
) -> None:
    servers = [HTTPServer(partial(_handle, answer, clock)) for _, answer in services]
    for server, (held, _) in zip(servers, services, strict=True):
        held.setblocking(False)
        server.add_socket(held)
    done = asyncio.Event()
    started.put((asyncio.get_running_loop(), done))
    await done.wait()
    for server in servers:
        server.stop()
        await server.close_all_connections()


def _handle(answer: _Answer, clock: Callable[[], float], asked: HTTPServerRequest) -> None:
    """Send the reply, or do what its way is."""
    connection = cast("HTTP1Connection", asked.connection)
    reply = answer(Request(asked.method or "", asked.uri or "/", asked.headers, asked.body))
    if reply.way.error == "timeout":
        return  # the connection stays open, and silent
    if reply.way.error:
        stream = connection.detach()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST
        stream.close()
        return
    text = reply.body.encode()
    found = HTTPHeaders({"Date": formatdate(clock(), usegmt=True), "Content-Length": str(len(text))})
    found.update(reply.headers)
    reason = reply.way.reason if reply.status == reply.way.status else responses.get(reply.status, "Unknown")
    connection.write_headers(
        ResponseStartLine("HTTP/1.1", reply.status, reason), found, text if asked.method != "HEAD" else None
    )
    connection.finish()
