"""Grafana Loki: `query_range`, forward, page by page.

Loki gives the first `limit` lines of a span by time, and has no cursor: the next page begins at the last time
of the page before, and lines of that time that came already are left out.

Source:
    https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time
"""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from klaviyo_nb.errors import SourceDenied, SourceError, UsageError
from klaviyo_nb.evidence import TRY
from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.sources.base import (
    WORTH_ASKING,
    Chunk,
    Opened,
    late,
    slices,
    speaks_of_klaviyo,
    without_credentials,
)
from klaviyo_nb.logs.sources.pages import Entry, fetched, lines
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import httpx

#: Lines per page: what Loki allows unless it was told otherwise.
LIMIT = 5_000
_TOO_MANY = expression(r"max entries limit[^(]*\(\d+ > ([1-9]\d*)\)")
#: Labels that name what wrote a stream, by the collectors' habits.
_WRITERS = ("pod", "k8s_pod_name", "hostname", "host", "host_name", "instance")
_SHAPE = "loki://[USER:PASSWORD@ or TOKEN@]HOST:PORT/APP[?tenant=TENANT]    (or loki+https://…)"
#: A selector, without the pipeline behind it.
_SELECTOR = expression(r'\{(?:[^"`}]|"(?:[^"\\]|\\.)*"|`[^`]*`)*\}')
_TIMEOUT_S = 30.0
#: Answers of a Loki that has too much to do; how long to wait before it is asked again [s].
_BUSY, WAITS_S = (429, 503), (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Loki:
    """Streams of a Loki that a selector names."""

    name: str
    root: str
    selector: str
    headers: Mapping[str, str] = field(repr=False)
    auth: tuple[str, str] | None = field(repr=False)

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Slices of the window, the newest first."""
        everything = speaks_of_klaviyo(self.name.partition("?")[0])
        query = self.selector if everything else f"{self.selector} |~ `(?i){WORTH_ASKING}`"
        return [Span(self, query, start, end) for start, end in slices(window)]

    def if_silent(self, window: Window, deadline: float | None = None) -> str | None:
        """See `Source`. A selector that matches no stream is no mistake to Loki: is there any line?"""
        import httpx

        selector = _SELECTOR.match(self.selector)
        spans = slices(window)
        span = Span(self, selector[0] if selector else self.selector, spans[-1][0], spans[0][1])
        with httpx.Client(base_url=self.root, headers=self.headers, auth=self.auth) as client:
            if span.ask(client, span.start, 1, deadline)[0]:
                return None
        labels = f"{self.root}/loki/api/v1/label{'/app/values' if '{app=' in span.query else 's'}"
        what = f"no stream of {span.query} has a line in the window: is its name right?"
        return f"{what}{TRY}curl -s {shlex.quote(labels)}"


def of(url: str) -> Loki:
    """The source that a URL names.

    Raises:
        UsageError: It is not such a URL.
    """
    parts, name = urlsplit(url), without_credentials(url)
    secure, app = parts.scheme == "loki+https", unquote(parts.path.strip("/"))
    try:
        host, port = parts.hostname, parts.port or (443 if secure else 3100)
    except ValueError:
        host, port = None, 0
    if not (host and app):
        raise UsageError(name, "it is not complete", f"give {_SHAPE}")
    host = f"[{host}]" if ":" in host else host
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    tenants = parse_qs(parts.query).get("tenant")
    headers = {"X-Scope-OrgID": "|".join(tenants)} if tenants else {}
    if bool(user) != bool(password):
        headers["Authorization"] = f"Bearer {user or password}"
    return Loki(
        name,
        f"http{'s' if secure else ''}://{host}:{port}",
        app if app.startswith("{") else f"{{app={json.dumps(app)}}}",
        headers,
        (user, password) if user and password else None,
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Lines from `start` up to `end` [nanoseconds since 1970]."""

    source: Loki
    query: str
    start: int
    end: int
    size: int = 0

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`."""
        return fetched(lines(self._pages(deadline)), deadline)

    def _pages(self, deadline: float | None) -> Iterator[list[Entry]]:
        import httpx

        source, start, limit, crowded = self.source, self.start, LIMIT, ""
        came: Counter[Entry] = Counter()  # of the time `start`
        with httpx.Client(base_url=source.root, headers=source.headers, auth=source.auth) as client:
            while start < self.end:
                entries, limit = self.ask(client, start, limit, deadline)
                yield _without(came, entries)
                if len(entries) < limit:
                    break
                last = max(entry.at for entry in entries)
                if last == start:
                    crowded = f"more than {limit:,} lines have one and the same time: some are missing"
                    last += 1
                came, start = Counter(entry for entry in entries if entry.at == last), last
        if crowded:
            raise SourceError(source.name, crowded)

    def ask(
        self, client: httpx.Client, start: int, limit: int, deadline: float | None
    ) -> tuple[list[Entry], int]:
        """One page, and how many lines it could have had."""
        for wait in (*WAITS_S, None):
            response = self._answer(client, start, limit, deadline)
            if response.status_code not in _BUSY or wait is None or late(deadline and deadline - wait):
                break
            time.sleep(wait)
        if response.status_code == 400 and (told := _TOO_MANY.search(response.text)):
            return self.ask(client, start, min(int(told[1]), limit - 1), deadline)
        if response.status_code != 200:
            kind = SourceDenied if response.status_code in (401, 403) else SourceError
            words = (response.text.strip().splitlines() or [""])[0][:300]
            raise kind(self.source.name, f"Loki answered {response.status_code}: {words}".removesuffix(": "))
        try:
            return list(_entries(response.json()["data"]["result"])), limit
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SourceError(self.source.name, "what answers there is no Loki") from None

    def _answer(self, client: httpx.Client, start: int, limit: int, deadline: float | None) -> httpx.Response:
        import httpx

        left = _TIMEOUT_S if deadline is None else max(0.1, deadline - time.monotonic())
        span = {"start": start, "end": self.end, "limit": limit}
        try:
            return client.get(
                "/loki/api/v1/query_range",
                params={**span, "query": self.query, "direction": "forward"},
                timeout=left,
            )
        except httpx.HTTPError as exc:
            raise SourceError(self.source.name, f"Loki gave no answer: {type(exc).__name__}") from None


def _entries(streams: Sequence[Mapping[str, Any]]) -> Iterator[Entry]:
    for each in streams:
        labels = each["stream"]
        writer = next((labels[label] for label in _WRITERS if labels.get(label)), "")
        if writer and labels.get("container"):
            writer += f"/{labels['container']}"
        for at, text, *_ in each["values"]:
            yield Entry(str(labels), writer, int(at), text)


def _without(came: Counter[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """Those that did not come already."""
    fresh, left = [], came.copy()
    for entry in entries:
        if left[entry]:
            left[entry] -= 1
        else:
            fresh.append(entry)
    return fresh
