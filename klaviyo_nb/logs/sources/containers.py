"""Containers, through the clients of who runs them: docker and kubectl.

Of a workload, every container of every pod it selects is read, and the instances before a restart. Docker is
asked in parts, the newest first; kubectl knows no end of a span and begins with the oldest line.

Sources:
    https://docs.docker.com/reference/cli/docker/container/logs/ ·
    https://kubernetes.io/docs/reference/kubectl/generated/kubectl_logs/ ·
    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from klaviyo_nb.errors import SourceError, SourceMissing
from klaviyo_nb.logs.sources import clients
from klaviyo_nb.logs.sources.base import Chunk, Opened, slices, stamp
from klaviyo_nb.window import Window


@dataclass(frozen=True, slots=True)
class Docker:
    """A container of the engine that the docker client speaks to."""

    name: str
    container: str

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Slices of the window. Both ends of what docker gives are included."""
        clients.must_be_installed(self.name, "docker")
        return [
            Command(
                self.name,
                (
                    *("docker", "logs", "--timestamps"),
                    *(f"--since={stamp(start)}", f"--until={stamp(end - 1)}", "--", self.container),
                ),
                both=True,
            )
            for start, end in slices(window)
        ]


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs for `kind/name` in a namespace of the cluster that kubectl speaks to."""

    name: str
    namespace: str
    workload: str

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """One per container that ran in the window; those before a restart last."""
        found = self._get(("--", self.workload), deadline)
        if found.get("kind") == "Pod":
            pods = [found]
        else:
            pods = self._get(("pods", f"--selector={self._selector(found)}"), deadline)["items"]
        logs = [each for pod in pods for each in _instances(pod, window.start)]
        if not logs:
            what = "none of its pods has a log of the window" if pods else "it has no pod now"
            look = f"kubectl get events --namespace={self.namespace}"
            raise SourceMissing(self.name, f"{what}: what earlier ones wrote is gone from the cluster", look)
        since = stamp(slices(window)[-1][0])
        return [
            Command(
                self.name,
                (
                    *("kubectl", "logs", f"--namespace={self.namespace}", f"--container={container}"),
                    *("--timestamps", "--prefix", f"--since-time={since}"),
                    *(("--previous",) if previous else ()),
                    *("--", pod),
                ),
                note=note,
            )
            for pod, container, previous, note in sorted(logs, key=lambda log: log[2])
        ]

    def _get(self, what: Sequence[str], deadline: float | None) -> dict[str, Any]:
        command = ["kubectl", "get", f"--namespace={self.namespace}", "--output=json", *what]
        found = json.loads(clients.ask(self.name, command, deadline))
        return found if isinstance(found, dict) else {}

    def _selector(self, found: Mapping[str, Any]) -> str:
        selector = found.get("spec", {}).get("selector")
        if not selector:
            raise SourceError(
                self.name,
                f"{self.workload} selects no pods",
                f"kubectl get pods --namespace={self.namespace}",
            )
        labels = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
        return ",".join(
            [f"{key}={value}" for key, value in labels.items()]
            + [_requirement(**each) for each in selector.get("matchExpressions", ())]
        )


@dataclass(frozen=True, slots=True)
class Command:
    """What one run of a client prints; a `note` says what nobody can print."""

    name: str
    command: tuple[str, ...]
    both: bool = False
    size: int = 0
    note: str | None = None

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`."""
        return clients.noting(clients.stamped(self.name, self.command, deadline, both=self.both), self.note)


def _requirement(key: str, operator: str, values: Sequence[str] = ()) -> str:
    if operator == "Exists":
        return key
    return f"!{key}" if operator == "DoesNotExist" else f"{key} {operator.lower()} ({','.join(values)})"


def _instances(pod: Mapping[str, Any], since: datetime) -> Iterator[tuple[str, str, bool, str | None]]:
    """Pod, container, is it the one before a restart, what is lost: all whose log may reach into the window.

    Of the instances before a restart a cluster keeps the last one.
    A container that waits to be started again gives the log of the instance before, whichever is asked for.
    """
    told = pod.get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in told.get(kind, ()):
            for which, previous in (("state", False), ("lastState", True)):
                state = status.get(which, {})
                ended = state.get("terminated", {}).get("finishedAt")
                if "running" in state or (ended and datetime.fromisoformat(ended) >= since):
                    name, container = pod["metadata"]["name"], status["name"]
                    began, count = state.get("terminated", {}).get("startedAt"), status.get("restartCount", 0)
                    lost = previous and count > 1 and began and datetime.fromisoformat(began) > since
                    note = f"{container} of {name} was restarted {count:,} times: only the last log is kept"
                    yield name, container, previous, note if lost else None
