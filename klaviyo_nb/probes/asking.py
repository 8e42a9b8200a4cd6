"""One HTTP question to one answer, whatever the other side does."""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from klaviyo_nb import __version__
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Gap
from klaviyo_nb.klaviyo.answers import Answer, Expected, read_answer
from klaviyo_nb.probes.lean import httpx
from klaviyo_nb.probes.trouble import TROUBLE, error_type, why

Row = dict[str, Any]

#: A redirect of a status page or a health endpoint is followed so often, no more.
HOPS = 3
_NOT_IN_ROW = {"document", "error_pointer"}
_FROM_ANSWER = tuple(each.name for each in fields(Answer) if each.name not in _NOT_IN_ROW)
#: Errors that a proxy in between turns into its own: it was the proxy that we tried to reach.
_BEFORE_PROXY = {"dns", "refused", "no_route", "connect_timeout"}


@dataclass(frozen=True, slots=True)
class Question:
    """What one probe asks.

    Attributes:
        probe: Name of the probe.
        url: Whole URL, query percent-encoded.
        expected: How the answer is to be read.
        method: HTTP method.
        headers: Beside the client's own.
        content: Body, if any.
        connect_s: Longest wait for a connection [s].
        read_s: Longest silence while answering [s].
        limit_s: Longest time for all of it [s]; a drip is no silence.
        cap: Bytes of the answer's body that are read, at most.
        hops: Redirects that are followed.
        certificate: Whether the end of the server's certificate is wanted.
    """

    probe: str
    url: str
    expected: Expected
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    connect_s: float = 3.0
    read_s: float = 6.0
    limit_s: float = 8.0
    cap: int = 64 * 1024
    hops: int = 0
    certificate: bool = False

    @property
    def timeout(self) -> httpx.Timeout:
        """The limits of the connection, as httpx takes them."""
        return httpx.Timeout(self.read_s, connect=self.connect_s)


@dataclass(slots=True)
class Reply:
    """What came of a question: always a row; an answer if the head of one came."""

    row: Row
    answer: Answer | None = None

    @property
    def document(self) -> Any:
        """The answer's JSON value, or None."""
        return self.answer.document if self.answer else None


class Clients:
    """HTTP clients that share one TLS set-up: with the key, without it, and past the proxy for this machine.

    They go through the environment's proxy, as the application would. They are made when first needed.

    Args:
        key: Private key, fit for a header; goes into the client for the API and nowhere else.
        transport: Answers in place of the network.

    Raises:
        UsageError: The certificate file of the environment cannot be read.
    """

    def __init__(self, key: str | None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.gaps: list[Gap] = []
        self._headers: dict[str, str] = {"Authorization": f"Klaviyo-API-Key {key}"} if key else {}
        self._transport = transport
        self._made: dict[str, httpx.AsyncClient] = {}
        try:
            self.tls = httpx.create_ssl_context()
        except OSError as exc:
            raise UsageError(
                "SSL_CERT_FILE", f"cannot be read: {exc}", "unset SSL_CERT_FILE SSL_CERT_DIR"
            ) from exc

    @property
    def with_key(self) -> httpx.AsyncClient:
        """For the API host only: carries the key."""
        return self._client("with_key", self._headers)

    def without_key(self, url: str) -> httpx.AsyncClient:
        """For everybody else; past the proxy for this machine's own addresses, which it cannot reach."""
        return (
            self._client("direct", {}, trust_env=False) if is_local(url) else self._client("without_key", {})
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._made.values():
            await client.aclose()

    def _client(self, name: str, headers: dict[str, str], *, trust_env: bool = True) -> httpx.AsyncClient:
        if name not in self._made:
            try:
                self._made[name] = self._new(headers, trust_env)
            except (
                ImportError,
                ValueError,
                httpx.InvalidURL,
            ) as exc:  # a proxy of a kind that httpx cannot use
                self.gaps.append(Gap("proxy", f"cannot be used, so we asked past it: {exc}"))
                self._made[name] = self._new(headers, trust_env=False)
        return self._made[name]

    def _new(self, headers: dict[str, str], trust_env: bool) -> httpx.AsyncClient:
        ours = {"User-Agent": f"klaviyo-nb/{__version__}", "Accept-Encoding": "identity"}
        return httpx.AsyncClient(
            headers=ours | headers, verify=self.tls, trust_env=trust_env, transport=self._transport
        )


async def ask(
    client: httpx.AsyncClient, question: Question, clock: Callable[[], datetime], until: float
) -> Reply:
    """Ask once. Never raises what the other side brought about.

    Args:
        client: Whom to ask with.
        question: What to ask.
        clock: The wall clock.
        until: Time of the event loop at which the answer must be there.

    Returns:
        The row has what came until then; `error_type` says why that is not a whole answer.
    """
    reply = Reply({"probe": question.probe, "target": target_of(question.url), "checked_at": clock()})
    started = time.perf_counter()
    until = min(until, asyncio.get_running_loop().time() + question.limit_s)
    try:
        async with asyncio.timeout_at(until):
            await _exchange(client, question, reply, started)
    except TROUBLE as exc:
        reply.row |= _went_wrong(exc, question.url, answering=reply.answer is not None)
    reply.row.setdefault("duration_s", time.perf_counter() - started)
    if reply.answer:
        said = {name: getattr(reply.answer, name) for name in _FROM_ANSWER}
        reply.row = said | reply.row | {"detail": said["detail"] or reply.row.get("detail")}
    return reply


async def _exchange(client: httpx.AsyncClient, question: Question, reply: Reply, started: float) -> None:
    request = client.build_request(
        question.method,
        question.url,
        headers=question.headers,
        content=question.content,
        timeout=question.timeout,
    )
    answer = None
    for _ in range(question.hops + 1):
        response = await client.send(request, stream=True)
        reply.row["duration_s"] = time.perf_counter() - started
        if question.certificate:
            reply.row["cert_expires"] = _certificate_end(response)
        if response.next_request is None or not question.hops:
            await _read(response, question, reply)
            if unfit := _unfit(reply.answer, question.expected):
                reply.row.setdefault("error_type", unfit)
            return
        await response.aclose()  # the body of a redirect tells nothing, and may be endless
        answer = read_answer(response.status_code, response.headers, b"", question.expected, question.url)
        request = response.next_request
    reply.answer = answer
    reply.row["error_type"] = "redirects"


async def _read(response: httpx.Response, question: Question, reply: Reply) -> None:
    """Read the body up to the cap; what was read counts even if the rest never comes."""
    body = bytearray()

    def so_far() -> Answer:
        coding = response.headers.get("content-encoding", "")
        plain = _inflated(bytes(body), coding, question.cap)
        return read_answer(response.status_code, response.headers, plain, question.expected, question.url)

    if response.is_stream_consumed:  # a transport that hands over the whole body at once
        body += response.content[: question.cap]
        reply.answer = so_far()
        return
    reply.answer = so_far()
    try:
        async for chunk in response.aiter_raw():
            body += chunk[: question.cap + 1 - len(body)]
            if len(body) > question.cap:
                reply.row["error_type"] = "too_large"
                break
    finally:
        reply.answer = so_far()
        await response.aclose()


def _unfit(answer: Answer | None, expected: Expected) -> str | None:
    """Why a whole answer cannot be Klaviyo's; an application may answer its health check as it likes."""
    if answer is None or expected == "app" or answer.status_code >= 400:
        return None
    if answer.status_code >= 300:
        return "redirects"
    return "malformed" if answer.document is None else None


def _inflated(body: bytes, coding: str, cap: int) -> bytes:
    """Undo gzip or deflate, which we asked not to be used, up to `cap` bytes."""
    if coding.lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, cap)
    except zlib.error:
        return body


def _went_wrong(exc: BaseException, url: str, *, answering: bool) -> Row:
    name, proxy = error_type(exc, answering=answering), proxy_for(url)
    if proxy and name in _BEFORE_PROXY:
        name = "proxy"
    return {"error_type": name, "detail": f"{why(exc)} (proxy {proxy})" if proxy else why(exc)}


def _certificate_end(response: httpx.Response) -> datetime | None:
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream else None
    return certificate_end(tls.getpeercert()) if tls else None


def certificate_end(certificate: Mapping[str, Any] | None) -> datetime | None:
    """`notAfter` of what `getpeercert` gives."""
    text = (certificate or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC) if text else None


def target_of(url: str) -> str:
    """The URL without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def proxy_for(url: str) -> str | None:
    """Host and port of the environment's proxy for this URL; None if there is none."""
    parts = urlsplit(url)
    proxies = getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or is_local(url) or proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(found if "//" in found else f"//{found}").netloc.rpartition("@")[2]


def is_local(url: str) -> bool:
    """Whether the URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
