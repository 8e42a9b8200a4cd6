"""The pretend services on real sockets: Klaviyo, its status page, the application, its metrics server."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http.client import responses
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, cast

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine

from klaviyo_nb.drills.worlds import Answer, Clock, Request, World
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

HOST = "127.0.0.1"
NAMES = ("api", "status", "app", "metrics")


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
def serve(world: World, folder: Path, clock: Clock = time.time) -> Iterator[Services]:
    """Write the logs of `world` into `folder` and run its services on free local ports."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / name: text for name, text in world.logs.items()}
    for path, text in files.items():
        path.write_text(text, "utf-8")
    answers = world.services(clock)
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in NAMES}
        for name, held in sockets.items():
            held.bind((HOST, 0))
            if name in answers:
                held.listen(128)
        urls = {name: f"http://{HOST}:{held.getsockname()[1]}" for name, held in sockets.items()}
        for name, answer in answers.items():  # a thread each: a large answer of one holds up no other
            stack.enter_context(_running(sockets[name], answer, clock))
        urls |= {"health": f"{urls['app']}/health", "webhook": f"{urls['app']}/webhooks/klaviyo"}
        yield Services(_environ(world, urls, tuple(files)), urls, tuple(files))


def _environ(world: World, urls: Mapping[str, str], files: tuple[Path, ...]) -> dict[str, str]:
    found = {
        "KLAVIYO_PRIVATE_KEY": world.key,
        "KLAVIYO_NB_API_URL": urls["api"],
        "KLAVIYO_NB_STATUS_URL": urls["status"],
        "KLAVIYO_NB_LOGS": " ".join(map(str, files)),
        # Without it the window moves on, and the incident with it out of its last part.
        "KLAVIYO_NB_SINCE": f"{world.window.seconds:.0f}s",
        "KLAVIYO_NB_END": iso(world.window.end),
    }
    found |= {f"KLAVIYO_NB_{name.upper()}_URL": urls[name] for name in world.configured}
    kept = {name: value for name, value in found.items() if value}
    return kept if "health" in world.configured else kept | {"KLAVIYO_NB_HEALTH_URL": ""}


@contextmanager
def _running(held: socket.socket, answer: Answer, clock: Clock) -> Iterator[None]:
    """Serve in a thread of its own until the end of the block."""
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Queue()
    thread = threading.Thread(target=lambda: asyncio.run(_main(held, answer, clock, started)), daemon=True)
    thread.start()
    loop, done = started.get()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


async def _main(
    held: socket.socket,
    answer: Answer,
    clock: Clock,
    started: Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
) -> None:
    server = HTTPServer(partial(_handle, answer, clock))
    held.setblocking(False)
    server.add_socket(held)
    done = asyncio.Event()
    started.put((asyncio.get_running_loop(), done))
    await done.wait()
    server.stop()
    await server.close_all_connections()


def _handle(answer: Answer, clock: Clock, asked: HTTPServerRequest) -> None:
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
