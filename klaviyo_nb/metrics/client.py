"""Range queries against a Prometheus-compatible server, into a METRICS frame.

Raw counters are fetched, not `rate()`: what was sampled is kept, and `rates` does the arithmetic. Whatever
goes wrong is a gap with its reason; a role is read wholly or not at all, so that a hole in it is never
mistaken for silence.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import orjson
import pandas as pd

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing, UsageError
from klaviyo_nb.evidence import Gap, Query
from klaviyo_nb.frames import METRICS
from klaviyo_nb.metrics.matrix import Series, read, to_frame
from klaviyo_nb.metrics.names import MetricNames
from klaviyo_nb.metrics.rates import disagreements
from klaviyo_nb.redact import harmless
from klaviyo_nb.window import Window, iso

#: Points per series that a server gives at most in one answer (Prometheus refuses more).
MOST_POINTS = 11_000
#: Points per series over the whole window; a longer window gets a longer step.
FINEST = 12_000
#: Longest expression sent in a URL; longer ones are posted [characters].
LONGEST_URL = 2_000
#: Largest answer that is read [bytes].
LARGEST = 256 * 2**20
#: Longest answer in which an error is looked for [bytes].
LONGEST_ERROR = 2**16

_API = re.compile(r"(?:/api/v1(?:/query(?:_range)?)?|/graph)?/*$")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a metrics server gave.

    Attributes:
        frame: METRICS; None if it gave no series at all, which is not the same as no call.
        queries: Those that were answered.
        gaps: `metrics` if nothing could be read, `metrics:<role>` for a part; `configured` is False for
            metrics that an application need not have.
    """

    frame: pd.DataFrame | None
    queries: tuple[Query, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, with what is secret about it kept from `where`, the address for people."""

    client: httpx.AsyncClient = field(repr=False)
    address: httpx.URL = field(repr=False)
    where: str
    secrets: tuple[str, ...] = field(repr=False)

    def quote(self, text: str) -> str:
        """Words of the other side, harmless, on one line, without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "[redacted]")
        line = " ".join(harmless(text).split())
        return line if len(line) <= 300 else line[:299] + "…"


@dataclass(frozen=True, slots=True)
class _Answer:
    """One role's series, or why there are none."""

    role: str
    queries: tuple[Query, ...] = ()
    frame: pd.DataFrame | None = None
    trouble: str | None = None


async def fetch(
    url: str,
    window: Window,
    *,
    names: MetricNames,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Fetched:
    """Ask for every role of `names` over `window`, all at once.

    Samples are taken at multiples of the step, from the last one at or before the window's start (what later
    ones are counted from) to the last one at or before its end.

    Args:
        url: Root of the server, with the path prefix of its API if it has one.
        window: Span to ask about.
        names: Metric and label names.
        token: Bearer token.
        headers: Extra headers, such as a tenant's id.
        timeout_s: Limit for all of it [s].
        transport: In place of the network.

    Raises:
        UsageError: The URL, the token or a header is malformed.
    """
    async with httpx.AsyncClient(
        headers=_headers(token, headers), timeout=timeout_s, transport=transport, auth=_auth(url, token)
    ) as client:
        server = _server(client, url, token, headers)
        grid = _grid(window, names.scrape_interval_s)
        answers = await asyncio.gather(
            *(
                _role(server, role, tries, grid, names, timeout_s)
                for role, tries in names.expressions().items()
            )
        )
    frames = [answer.frame for answer in answers if answer.frame is not None]
    frame = METRICS.frame(pd.concat(frames, ignore_index=True)) if frames else None
    queries = tuple(query for answer in answers for query in answer.queries)
    gaps = _gaps(answers, names) if frame is not None else (_nothing(answers, server, names),)
    return Fetched(frame, queries, gaps + _reach(frame, grid) + _sums(frame))


def _headers(token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    found = {"Accept": "application/json"}
    if token and token.strip():
        found["Authorization"] = f"Bearer {token.strip()}"
    if not isinstance(headers or {}, Mapping):
        raise UsageError("metrics.headers", "must be a table", 'headers = { "X-Scope-OrgID" = "shop" }')
    found |= headers or {}
    for name, value in found.items():
        if not isinstance(value, str) or not (name + value).isascii() or not (name + value).isprintable():
            where = "KLAVIYO_NB_METRICS_TOKEN" if name == "Authorization" else f"metrics.headers.{name}"
            raise UsageError(where, "is not one line of printable ASCII", "type it again")
    return found


def _auth(url: str, token: str | None) -> tuple[str, str] | None:
    parts = _parse(url)
    return (parts.username, parts.password) if parts.username and not token else None


def _server(
    client: httpx.AsyncClient, url: str, token: str | None, headers: Mapping[str, str] | None
) -> _Server:
    parts = _parse(url)
    bare = parts.copy_with(username=None, password=None)
    path = _API.sub("", bare.path)
    basic = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    secrets = {
        (token or "").strip(),
        parts.password,
        basic,
        *(headers or {}).values(),
        *parts.params.values(),
    }
    return _Server(
        client,
        bare.copy_with(path=f"{path}/api/v1/query_range"),
        str(bare.copy_with(path=path or "/", query=None, fragment=None)).rstrip("/"),
        tuple(sorted((secret for secret in secrets if len(secret) > 3), key=len, reverse=True)),
    )


def _parse(url: str) -> httpx.URL:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UsageError("--metrics", "not an http(s) URL", "--metrics http://localhost:9090")
    return parts


@dataclass(frozen=True, slots=True)
class _Grid:
    """Times of the samples, whole seconds since the epoch: multiples of the step, both ends included."""

    first: int
    last: int
    step: int

    def chunks(self) -> Iterable[tuple[int, int]]:
        """First and last time of each request."""
        reach = (MOST_POINTS - 1) * self.step
        for start in range(self.first, self.last + 1, reach + self.step):
            yield start, min(start + reach, self.last)


def _grid(window: Window, scrape_interval_s: int) -> _Grid:
    step = scrape_interval_s * max(1, math.ceil(window.seconds / scrape_interval_s / FINEST))
    start, end = window.start.timestamp(), window.end.timestamp()
    return _Grid(math.floor(start / step) * step, math.floor(end / step) * step, step)


async def _role(
    server: _Server, role: str, tries: Sequence[str], grid: _Grid, names: MetricNames, timeout_s: float
) -> _Answer:
    queries: list[Query] = []
    try:
        async with asyncio.timeout(timeout_s):
            for expr in tries:
                series, query = await _query(server, role, expr, grid)
                queries.append(query)
                if series:
                    return _Answer(role, tuple(queries), to_frame(series, role, names))
    except TimeoutError:
        return _Answer(role, tuple(queries), trouble=f"{server.where}: no answer within {timeout_s:g} s")
    except SourceError as error:
        return _Answer(role, tuple(queries), trouble=str(error))
    return _Answer(role, tuple(queries))


async def _query(server: _Server, role: str, expr: str, grid: _Grid) -> tuple[list[Series], Query]:
    series: list[Series] = []
    warnings: dict[str, None] = {}
    digest, requests = hashlib.sha256(), 0
    for start, end in grid.chunks():
        body = await _ask(
            server, {"query": expr, "start": start, "end": end, "step": grid.step, "nocache": 1}
        )
        digest.update(body)
        requests += 1
        try:
            found, remarks = read(body, start, end)
        except ValueError as exc:
            raise SourceError(server.where, str(exc)) from None
        series += found
        warnings |= dict.fromkeys(map(server.quote, remarks))
    samples = sum(len(each.values) for each in series)
    asked = (_iso(grid.first), _iso(grid.last), grid.step, requests)
    return series, Query(role, expr, *asked, samples, digest.hexdigest(), tuple(warnings))


async def _ask(server: _Server, question: Mapping[str, str | int]) -> bytes:
    """The body of one answer.

    Raises:
        SourceError: None came, or it is a refusal.
    """
    if len(str(question["query"])) > LONGEST_URL:
        request = server.client.build_request("POST", server.address, data=dict(question))
    else:
        address = server.address.copy_merge_params(dict(question))
        request = server.client.build_request("GET", address)
    try:
        response = await server.client.send(request, stream=True)
        try:
            body = await _body(server, response)
        finally:
            await response.aclose()
    except httpx.TimeoutException:
        raise SourceMissing(server.where, "no answer in time") from None
    except (httpx.HTTPError, httpx.StreamError) as exc:
        raise SourceMissing(
            server.where, server.quote(f"no answer: {str(exc) or type(exc).__name__}")
        ) from None
    _refusal(server, response, body)
    return body


async def _body(server: _Server, response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        if not size and part.lstrip()[:1] not in (b"", b"{"):
            break  # no Prometheus API answers so, and the rest may be endless
        size += len(part)
        if size > LARGEST:
            raise SourceError(
                server.where, f"its answer is larger than {LARGEST >> 20} MiB; ask a shorter window"
            )
    return b"".join(parts)


def _refusal(server: _Server, response: httpx.Response, body: bytes) -> None:
    status = response.status_code
    said = _error(body)
    words = f"HTTP {status}" + (f", {said}" if said else "")
    if response.is_success and said is None:
        return
    if response.is_redirect:
        target = response.headers.get("location", "").partition("?")[0]
        raise SourceError(server.where, server.quote(f"it redirects to {target}: is that the address?"))
    if status in (401, 403):
        raise SourceDenied(
            server.where, server.quote(f"it refused us ({words}): set KLAVIYO_NB_METRICS_TOKEN")
        )
    if said is None:
        kind = response.headers.get("content-type", "no type").partition(";")[0]
        words = f"HTTP {status} with {kind}: is it the address of a Prometheus API?"
    raise SourceError(server.where, server.quote(words))


def _error(body: bytes) -> str | None:
    """What a Prometheus API says is wrong, which is always short; None if it says nothing of the kind."""
    if len(body) > LONGEST_ERROR:
        return None
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict) or said.get("status") != "error":
        return None
    return f"{said.get('errorType')}: {said.get('error')}"


def _gaps(answers: Iterable[_Answer], names: MetricNames) -> tuple[Gap, ...]:
    """One per role without series; an application has no error counter before its first error."""
    return tuple(
        Gap(
            f"metrics:{answer.role}",
            answer.trouble or _absent(answer.role, names),
            configured=answer.trouble is not None or answer.role == "requests",
        )
        for answer in answers
        if answer.frame is None
    )


def _nothing(answers: Sequence[_Answer], server: _Server, names: MetricNames) -> Gap:
    troubles = list(dict.fromkeys(answer.trouble for answer in answers if answer.trouble))
    if troubles:
        more = f" (and {len(troubles) - 1} more like it)" if len(troubles) > 1 else ""
        return Gap("metrics", troubles[0] + more)
    if not answers:
        return Gap("metrics", "every name in the [metrics] table is empty", configured=False)
    return Gap(
        "metrics",
        f"{server.where}: {_absent(answers[0].role, names)}, nor of any other of the table [metrics]",
    )


def _absent(role: str, names: MetricNames) -> str:
    if role == "alerts":
        return f"no alert with {names.alerts} fired in the window, or none is defined"
    return f"no series of {' or '.join(names.expressions()[role])} in the window"


def _reach(frame: pd.DataFrame | None, grid: _Grid) -> tuple[Gap, ...]:
    """Say so if the samples begin late or end early: retention, an outage of the server, a window ahead."""
    if frame is None or (sampled := frame[frame["role"] != "alerts"]).empty:
        return ()
    first, last = sampled["timestamp"].min(), sampled["timestamp"].max()
    slack = max(300, 5 * grid.step)
    if first.timestamp() - grid.first <= slack and grid.last - last.timestamp() <= slack:
        return ()
    got, asked = (first.timestamp(), last.timestamp()), (grid.first, grid.last)
    texts = [" to ".join(map(_iso, span)) for span in (got, asked)]
    return (Gap("metrics:window", f"samples from {texts[0]}, asked from {texts[1]}"),)


def _iso(seconds: float) -> str:
    return iso(datetime.fromtimestamp(seconds, UTC))


def _sums(frame: pd.DataFrame | None) -> tuple[Gap, ...]:
    return () if frame is None else tuple(Gap("metrics:sums", text) for text in disagreements(frame))
