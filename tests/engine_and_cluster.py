"""A Docker engine and a Kubernetes API server, as far as the real clients ask for a log.

Written from https://docs.docker.com/reference/api/engine/ (ContainerInspect, ContainerLogs and its stream format)
and https://kubernetes.io/docs/reference/kubernetes-api/ (Pod, Deployment, Pod log). What only a real one would show:
log drivers that cannot be read, rotation by the kubelet, a log that grows while it is sent.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STDOUT, STDERR = 1, 2


@dataclass
class World:
    """What there is: `containers[name]` and `pods[pod][container]` are lines `(moment, stream, text)`."""

    containers: dict[str, list[tuple[str, int, str]]] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[tuple[str, str, bool], list[tuple[str, str]]] = field(default_factory=dict)
    tty: bool = False
    asked: list[str] = field(default_factory=list)
    hang: threading.Event | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(200, b"OK", "text/plain")

    def do_GET(self) -> None:
        self.world.asked.append(self.path)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        steps = parts.path.strip("/").split("/")
        if steps[-1] == "_ping":
            self._answer(200, b"OK", "text/plain")
        elif "containers" in steps and "api" not in steps:
            self._docker(steps[-2], steps[-1], query)
        else:
            self._kubernetes(steps, query)

    def _docker(self, name: str, what: str, query: dict[str, str]) -> None:
        lines = self.world.containers.get(name)
        if lines is None:
            self._json(404, {"message": f"No such container: {name}"})
        elif what == "json":
            self._json(
                200,
                {
                    "Id": name, "Name": f"/{name}", "Config": {"Tty": self.world.tty},
                    "HostConfig": {"LogConfig": {"Type": "json-file"}},
                },
            )  # fmt: skip
        else:
            since, until = (_nanoseconds(query.get(each, "")) for each in ("since", "until"))
            self._stream()
            for moment, stream, text in lines:
                if (since or 0) <= _of(moment) <= (until or 1 << 80):
                    data = (
                        (f"{moment} " if query.get("timestamps") == "1" else "").encode()
                        + text.encode()
                        + b"\n"
                    )
                    frame = b"" if self.world.tty else struct.pack(">BxxxL", stream, len(data))
                    self._piece(frame + data)
            if self.world.hang:
                self.world.hang.wait(30)
            self._piece(b"")

    def _kubernetes(self, steps: list[str], query: dict[str, str]) -> None:
        if steps == ["version"]:
            self._json(200, {"major": "1", "minor": "32", "gitVersion": "v1.32.0"})
        elif steps in (["api"], ["apis"]):
            self._json(200, _DISCOVERY[steps[0]])
        elif steps in (["api", "v1"], ["apis", "apps", "v1"]):
            self._json(200, _RESOURCES[steps[-2]])
        elif steps[-1] == "log":
            self._pod_log(steps[-2], query)
        elif "/".join(steps[-2:]) in self.world.objects:
            self._json(200, self.world.objects["/".join(steps[-2:])])
        elif steps[-2] == "namespaces":
            self._json(200, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": steps[-1]}})
        elif steps[-1] == "pods":
            pods = [each for each in self.world.objects.values() if each["kind"] == "Pod"]
            wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
            pods = [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]
            self._json(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
        else:
            self._status(404, "NotFound", f'{steps[-2]} "{steps[-1]}" not found')

    def _pod_log(self, pod: str, query: dict[str, str]) -> None:
        previous = query.get("previous") == "true"
        lines = self.world.logs.get((pod, query["container"], previous))
        if lines is None:
            what = "previous terminated container" if previous else "container"
            self._status(400, "BadRequest", f'{what} "{query["container"]}" in pod "{pod}" not found')
            return
        self._stream()
        since = datetime.fromisoformat(query["sinceTime"])
        for moment, text in lines:
            if datetime.fromisoformat(moment[:19] + "+00:00") >= since:
                self._piece(f"{moment} {text}\n".encode())
        if self.world.hang:
            self.world.hang.wait(30)
        self._piece(b"")

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.multiplexed-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, data: bytes) -> None:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            self.close_connection = True

    def _status(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
        self._json(code, status | {"reason": reason, "code": code})

    def _json(self, code: int, data: object) -> None:
        self._answer(code, json.dumps(data).encode(), "application/json")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "API-Version": "1.41",
            "OSType": "linux",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve(world: World) -> Iterator[int]:
    """The port on which both are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": world}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        if world.hang:
            world.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _nanoseconds(text: str) -> int | None:
    seconds, _, rest = text.partition(".")
    return int(seconds) * 10**9 + int((rest or "0").ljust(9, "0")) if seconds else None


def _of(moment: str) -> int:
    whole, _, rest = moment.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(
        (rest or "0").ljust(9, "0")
    )


_DISCOVERY: dict[str, dict[str, Any]] = {
    "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "apis": {
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                    "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}],
    },
}  # fmt: skip
_VERBS = ["get", "list"]
_RESOURCES = {
    "api": {
        "kind": "APIResourceList", "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": _VERBS, "shortNames": ["po"]},
            {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
            {"name": "services", "singularName": "service", "namespaced": True, "kind": "Service", "verbs": _VERBS, "shortNames": ["svc"]},
        ],
    },
    "apps": {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1",
        "resources": [{"name": "deployments", "singularName": "deployment", "namespaced": True, "kind": "Deployment", "verbs": _VERBS, "shortNames": ["deploy"]}],
    },
}  # fmt: skip
