"""A Loki, as far as `query_range` goes.

Written from https://grafana.com/docs/loki/latest/reference/loki-http-api/ : `start` is included and `end` is not,
`limit` counts the lines of all streams, the first by time come first, streams are grouped, an answer names its
labels, more lines than allowed are refused with 400, tenants by `X-Scope-OrgID`. What only a real one would show:
queries that it splits and shards, its own time limits, 429 under load.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Store:
    """`entries` are labels, nanoseconds, line; so many questions it is too `busy` for."""

    entries: list[tuple[dict[str, str], int, str]] = field(default_factory=list)
    most: int = 5_000
    tenant: str | None = None
    authorization: str | None = None
    answer: tuple[int, bytes] | None = None
    hang_after: int | None = None
    busy: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def query(self, asked: dict[str, str]) -> tuple[int, bytes]:
        limit = int(asked["limit"])
        if limit > self.most:
            return (
                400,
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {self.most})".encode(),
            )
        selector, _, pattern = asked["query"].partition(" |~ ")
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', selector))
        worth = re.compile(pattern.strip("`") or "")
        found = [
            entry for entry in sorted(self.entries, key=lambda entry: entry[1])
            if int(asked["start"]) <= entry[1] < int(asked["end"]) and wanted.items() <= entry[0].items() and worth.search(entry[2])
        ][:limit]  # fmt: skip
        assert asked["direction"] == "forward"
        streams: dict[str, Any] = {}
        for labels, at, line in found:
            streams.setdefault(str(labels), {"stream": labels, "values": []})["values"].append(
                [str(at), line]
            )
        data = {"resultType": "streams", "result": list(streams.values()), "stats": {}}
        return 200, json.dumps({"status": "success", "data": data}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        store, parts = self.store, urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        store.asked.append(asked)
        if store.hang_after is not None and len(store.asked) > store.hang_after:
            store.released.wait(30)
        if store.busy > 0:
            store.busy -= 1
            code, body = 429, b"too many outstanding requests"
        elif store.authorization and self.headers.get("Authorization") != store.authorization:
            code, body = 401, b"unauthorized"
        elif self.headers.get("X-Scope-OrgID") != store.tenant:
            code, body = 401, b"no org id"
        elif store.answer:
            code, body = store.answer
        elif parts.path != "/loki/api/v1/query_range":
            code, body = 404, b"404 page not found"
        else:
            code, body = store.query(asked)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serve(store: Store) -> Iterator[int]:
    """The port on which it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    server.daemon_threads, server.handle_error = True, lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        store.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
