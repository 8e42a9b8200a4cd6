"""A world: what an on-call engineer would find, and the truth they cannot see. What every generator makes.

A generator is a module with two names; `GENERATORS` says where it is. Nothing that serves or scores a world
knows how it was generated.

    LEVELS: Mapping[str, tuple[str, ...]]     level (`clean`, `realistic`, `adversarial`) → kinds, in order
    def make(level: str, kind: str, seed: int, now: datetime) -> World

A kind is a cause, a pair of causes, a trap, or a way to be healthy or undecidable; level and kind are a cell
of the score. The same arguments give the same world. A level holds as many healthy and undecidable kinds,
taken together, as broken ones. A world is made in the process that serves it, so it may hold functions; it is
made anew for each verdict, so keep it small: some thousand calls, or some hundred.

What a world is made of, and what is asked of it:

- `services(clock)` gives the four services' answers: `api`, `status`, `app`, `metrics`. Each is a function
  from a `Request` to a `Reply`. `clock` is the wall clock [s since the epoch], for limits that count real
  seconds; the server adds `Date` and `Content-Length`, unless the reply carries them. A service that is left
  out has a port on which nobody listens. A reply whose `way` has an `error` is acted out: silence (`timeout`)
  or a closed connection (`reset`). What is asked, the API at most six times:
    api:     `GET /api/accounts?…` and `GET /api/profiles?…` with the key, `GET /api/accounts` without
    status:  `GET /api/v2/summary.json`; without it `status`, `components`, `incidents/unresolved`,
             `scheduled-maintenances/active`
    app:     `GET /health`; `GET`, then `POST /webhooks/klaviyo`
    metrics: `POST /api/v1/query_range` (or `GET`), form `query`, `start`, `end`, `step`: a plain series name
  `api.PretendKlaviyo` and `prometheus.query_range` may be used for them.
- `logs` is written to files as it is and read by the real reader: any format it knows, any lines between.
- `key` goes into KLAVIYO_PRIVATE_KEY as it is, empty for none. Signals not in `configured` are not set up.
- `truth` follows the contract's "Causes": what an expert with that page at hand would name from
  what can be seen. Where that does not decide, the cause is `inconclusive`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

from klaviyo_nb.drills.ways import OK, Way
from klaviyo_nb.errors import UsageError
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Severity

SIGNALS = frozenset({"health", "webhook", "metrics"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it arrived; `target` is path and query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path

    @property
    def form(self) -> dict[str, str]:
        """The query's parameters, and those of a form in the body."""
        posted = self.body.decode("utf-8", "replace") if self.body[:1] not in (b"", b"{", b"[") else ""
        return dict(parse_qsl(urlsplit(self.target).query) + parse_qsl(posted))


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a way without a status is acted out instead."""

    way: Way = OK
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


Clock = Callable[[], float]
Answer = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened.

    Attributes:
        cause: What it is called.
        severity: How bad it is; None if nothing has to be done, or nobody can tell; P4 for `healthy` with
            something that deserves an advisory.
        onset: When the first call of the incident failed, which may be before the window; None if none did.
        recovered: When the last one failed, if it is over; else None.
        second: In a pair, the cause that is not the dominant one: the verdict has to list it as a rival.
    """

    cause: Cause
    severity: Severity | None
    onset: datetime | None = None
    recovered: datetime | None = None
    second: Cause | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is served and scored.

    Attributes:
        window: What is asked about; its end is the moment of the verdict.
        services: Clock → the answers of `api`, `status`, `app`, `metrics`.
        logs: File name → text; empty: there are no logs.
        truth: What an expert would name.
        key: Content of KLAVIYO_PRIVATE_KEY.
        configured: Which of `SIGNALS` are set up.
    """

    window: Window
    services: Callable[[Clock], Mapping[str, Answer]]
    logs: Mapping[str, str]
    truth: Truth
    key: str = ""
    configured: frozenset[str] = SIGNALS


class Generator(Protocol):
    """What a generator's module holds."""

    @property
    def LEVELS(self) -> Mapping[str, tuple[str, ...]]:  # noqa: N802 - a module's constant
        """Level → its kinds."""

    def make(self, level: str, kind: str, seed: int, now: datetime) -> World:
        """One world that ends at `now`."""


#: Name → module. The development worlds may be looked at while the diagnosis is written; the others may not.
GENERATORS: Mapping[str, str] = {
    "development": "klaviyo_nb.drills.development",
    "reporting": "klaviyo_nb.drills.reporting",
}


def generator(name: str) -> Generator:
    """The generator of that name.

    Raises:
        UsageError: It is none of `GENERATORS`.
    """
    if name not in GENERATORS:
        raise UsageError("--worlds", f"{name!r} are not made", f"--worlds {' | '.join(GENERATORS)}")
    return cast("Generator", import_module(GENERATORS[name]))
