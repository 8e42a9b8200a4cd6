"""The catalogue of Klaviyo's endpoints: path templates, limits, scopes.

Source:
    https://github.com/klaviyo/openapi (revision 2026-07-15: `x-klaviyo-ratelimit`, `x-klaviyo-scopes`), kept
    in `endpoints.json` beside this file, one operation per line. The sizes' figures are in `SIZES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from klaviyo_nb.expressions import expression

SECOND, MINUTE, DAY = 1, 60, 86_400
#: Size → calls per second, calls per minute. All private keys of an account share them, per endpoint.
#: The server's own word (`RateLimit-Limit`) wins: limits have changed without a new revision.
SIZES = {"XS": (1, 15), "S": (3, 60), "M": (10, 150), "L": (75, 750), "XL": (350, 3500)}

_DEEPEST = 12
_LONGEST_WORD = 40
_WORD = expression(r"[a-z][a-z._-]*|v\d+(?:\.\d+)*|\{[^{}]*\}")
_ORIGIN = expression(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?(?=/)"
)


@dataclass(frozen=True, slots=True)
class Conditional:
    """Limits that replace an endpoint's own when a query parameter has a value.

    Attributes:
        when: As in the query string, decoded: `additional-fields[profile]=predictive_analytics`.
        burst: Calls per second.
        steady: Calls per minute.
    """

    when: str
    burst: int
    steady: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API.

    Attributes:
        method: HTTP method, upper case.
        path: Template without trailing slash, e.g. `/api/profiles/{id}`.
        operation_id: As in the OpenAPI description, e.g. `get_profile`.
        size: XS, S, M, L or XL; None where the limits are its own.
        burst: Calls allowed per second.
        steady: Calls allowed per minute.
        daily: Calls allowed per day, or None.
        scopes: What the key must be allowed.
        success: Statuses of a call that worked.
        client_side: Called from browsers with the public key, without a private one.
        aliases: Older operation ids.
        conditional: Limits that some query parameters bring.
    """

    method: str
    path: str
    operation_id: str
    size: str | None
    burst: int
    steady: int
    daily: int | None
    scopes: tuple[str, ...]
    success: tuple[int, ...]
    client_side: bool = False
    aliases: tuple[str, ...] = ()
    conditional: tuple[Conditional, ...] = ()

    @property
    def limits(self) -> dict[int, int]:
        """Length of the window [s] → calls allowed in it, as `ratelimit.RateLimit.windows`."""
        own = {SECOND: self.burst, MINUTE: self.steady}
        return own | {DAY: self.daily} if self.daily else own


@dataclass(slots=True)
class _Node:
    """One segment of the path templates; `{id}` is the child that fits anything."""

    words: dict[str, _Node]
    anything: _Node | None
    operations: dict[str, Endpoint]

    @classmethod
    def empty(cls) -> _Node:
        return cls({}, None, {})

    def child(self, segment: str) -> _Node:
        if segment.startswith("{"):
            self.anything = self.anything or _Node.empty()
            return self.anything
        return self.words.setdefault(segment, _Node.empty())

    def find(self, segments: list[str], at: int = 0) -> _Node | None:
        if at == len(segments):
            return self if self.operations else None
        for child in (self.words.get(segments[at]), self.anything):
            if child is not None and (found := child.find(segments, at + 1)) is not None:
                return found
        return None


class Catalogue:
    """All endpoints, found by what a log line, a metric label or a span says of a call."""

    def __init__(self, endpoints: Iterable[Endpoint], revision: str) -> None:
        self.endpoints = tuple(endpoints)
        self.revision = revision
        self._root = _Node.empty()
        self._by_name: dict[str, Endpoint] = {}
        for endpoint in self.endpoints:
            node = self._root
            for segment in _segments(endpoint.path):
                node = node.child(segment)
            node.operations[endpoint.method] = endpoint
            self._by_name.update(dict.fromkeys((endpoint.operation_id, *endpoint.aliases), endpoint))

    def operations(self, path_or_url: str) -> tuple[Endpoint, ...]:
        """Every operation at this path, whatever its method; empty if the path is not Klaviyo's."""
        segments = _segments(path_of(path_or_url))
        node = self._root.find(segments) if segments and len(segments) <= _DEEPEST else None
        return tuple(node.operations.values()) if node else ()

    def match(self, method: str | None, path_or_url: str) -> Endpoint | None:
        """The operation that was called, or None if there is no such one.

        Without a method the answer is None too if the path has several operations: their scopes and
        limits differ, and a guess would name the wrong ones. `operations` gives them all.
        """
        found = self.operations(path_or_url)
        if method is None:
            return found[0] if len(found) == 1 else None
        return next((endpoint for endpoint in found if endpoint.method == method.upper()), None)

    def template(self, method: str | None, path_or_url: str) -> str:
        """The path template, without trailing slash; a path that is not Klaviyo's, with its ids replaced.

        >>> catalogue().template("GET", "https://a.klaviyo.com/api/profiles/01GDDKASAP8TKDDA2GRZDSVP4H/?x=1")
        '/api/profiles/{id}'
        >>> catalogue().template("POST", "/api/v2/list/Y6nRLr/members")
        '/api/v2/list/{id}/members'
        """
        endpoint = self.match(method, path_or_url)
        known = (endpoint,) if endpoint else self.operations(path_or_url)
        return known[0].path if known else generic_template(path_or_url)

    def by_operation(self, operation_id: str) -> Endpoint | None:
        """By operation id, new or old, as any SDK spells it: `get_profiles`, `getProfiles`, `GetProfiles`."""
        return self._by_name.get(operation_id) or self._by_name.get(_snake(operation_id))


@cache
def catalogue() -> Catalogue:
    """The catalogue of the newest revision."""
    data = json.loads(files(__package__).joinpath("endpoints.json").read_bytes())
    return Catalogue(map(_endpoint, data["endpoints"]), data["revision"])


def path_of(path_or_url: str) -> str:
    """The path of a URL, or of a path with a query string; whatever the text, without raising."""
    text = path_or_url.strip()
    origin = _ORIGIN.match(text)
    path = text[origin.end() :] if origin else text
    return path.partition("?")[0].partition("#")[0]


def generic_template(path_or_url: str) -> str:
    """A path with everything that looks like an id replaced by `{id}`, so that calls can be counted by it."""
    segments = _segments(path_of(path_or_url))
    cut = segments[:_DEEPEST] + ["…"] * (len(segments) > _DEEPEST)
    return "/" + "/".join(map(_word_or_id, cut))


def _word_or_id(segment: str) -> str:
    if segment == "…" or (_WORD.fullmatch(segment) and len(segment) <= _LONGEST_WORD):
        return segment
    return "{id}"


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    size = row.get("size")
    burst, steady = SIZES[size] if size else (row["burst"], row["steady"])
    return Endpoint(
        method=row["method"],
        path=row["path"],
        operation_id=row["operation_id"],
        size=size,
        burst=burst,
        steady=steady,
        daily=row.get("daily"),
        scopes=tuple(row["scopes"]),
        success=tuple(row["success"]),
        client_side=row.get("client_side", False),
        aliases=tuple(row.get("aliases", ())),
        conditional=tuple(Conditional(**limit) for limit in row.get("conditional", ())),
    )
