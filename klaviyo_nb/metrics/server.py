"""One request to a Prometheus-compatible server: who we are to it, and what its refusals mean."""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import orjson
from isal import isal_zlib

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing, UsageError
from klaviyo_nb.lines import one_line
from klaviyo_nb.redact import harmless

#: Longest question sent in a URL; longer ones are posted [characters].
LONGEST_URL = 2_000
#: Largest answer that is read [bytes].
LARGEST = 256 * 2**20
#: What is taken from a server at a time: it writes a day in some 3,000 chunks [bytes].
PIECE = 2**17
#: So many answers are awaited at once; another question waits for one of them, no longer than this [s].
#: Three large ones at once took a tenth longer from a server with two processors.
AT_ONCE, PATIENCE_S = 2, 0.05
#: What isal raises; its types call it an instance.
NotPacked = cast("type[Exception]", isal_zlib.error)
#: Longest answer in which an error is looked for [bytes].
LONGEST_ERROR = 2**16

#: Where an address that was copied from a browser ends.
_ENDS = re.compile(r"(?:/api/v1(?:/query(?:_range)?)?|/graph|/query)?/*$")
_TLS = {"ca_file": str, "client_cert": str, "client_key": str, "verify": bool}

#: What to do about a certificate that nobody we know has signed, as OpenSSL says.
_NAME_CA = ": if an authority of your own signed it, name its file: [metrics.tls] ca_file"

Question = Sequence[tuple[str, str | int]]
Through = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Server:
    """A server, with what is secret about it kept from `where`, the address for people."""

    client: httpx.AsyncClient = field(repr=False)
    root: httpx.URL = field(repr=False)
    where: str
    secrets: tuple[str, ...] = field(repr=False)
    patience_s: float = PATIENCE_S
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE), repr=False)

    def quote(self, text: str) -> str:
        """Words of the other side, harmless, on one line, without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "[redacted]")
        return one_line(harmless(text), 300)

    async def ask(
        self, path: str, question: Question, largest: int = LARGEST, through: Through = lambda parts: parts
    ) -> bytes:
        """The body of one answer.

        Args:
            path: Below the root, such as `/api/v1/query_range`.
            question: Names and values.
            largest: A longer answer is an error [bytes].
            through: Makes what is kept out of the parts of the answer, as they arrive.

        Raises:
            SourceError: None came, or it is a refusal.
        """
        address = self.root.copy_with(path=self.root.path.rstrip("/") + path)
        asked = urlencode(question)
        if len(asked) > LONGEST_URL:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            request = self.client.build_request("POST", address, content=asked, headers=form)
        else:
            full = "&".join(filter(None, (address.query.decode(), asked)))
            request = self.client.build_request("GET", address.copy_with(query=full.encode()))
        try:
            async with self._in_turn():
                response = await self.client.send(request, stream=True)
                try:
                    body = b"".join([part async for part in through(self._parts(response, largest))])
                finally:
                    await response.aclose()
        except httpx.TimeoutException:
            raise SourceMissing(self.where, "no answer in time") from None
        except (
            httpx.HTTPError,
            httpx.StreamError,
            ssl.SSLError,
        ) as exc:  # the last, untranslated, on reading
            said = self.quote(f"no answer: {str(exc) or type(exc).__name__}")
            hint = _NAME_CA if "certificate verify failed" in said else ""
            raise SourceMissing(self.where, said + hint) from None
        except NotPacked:
            raise SourceMissing(self.where, "no answer: what came is not gzip, as it says") from None
        self._refusal(response, body)
        return body

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Wait until few are asked at once; a slow server is soon asked all the same."""
        mine = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience_s):
                mine = await self._turn.acquire()
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    async def _parts(self, response: httpx.Response, largest: int) -> AsyncIterator[bytes]:
        size = 0
        async for part in _inflated(response):
            yield part
            if not size and part.lstrip()[:1] not in (b"", b"{"):
                return  # no Prometheus API answers so, and the rest may be endless
            size += len(part)
            if size > largest:
                what = f"its answer is larger than {largest >> 20} MiB; ask a shorter window"
                raise SourceError(self.where, what)

    def _refusal(self, response: httpx.Response, body: bytes) -> None:
        status = response.status_code
        said = _error(body)
        kind = response.headers.get("content-type", "no type").partition(";")[0]
        plain = body[:LONGEST_ERROR].decode(errors="replace").strip() if kind == "text/plain" else ""
        words = f"HTTP {status}" + (f", {said or plain}" if said or plain else "")
        if response.is_success and said is None:
            return
        if response.is_redirect:
            target = response.headers.get("location", "").partition("?")[0]
            raise SourceError(self.where, self.quote(f"it redirects to {target}: is that the address?"))
        if status in (401, 403):
            hint = "set KLAVIYO_NB_METRICS_TOKEN, or a tenant's id in [metrics] headers"
            if self.client.auth is None and "authorization" not in self.client.headers:
                hint += ", or write USER:PASSWORD@ before the host"
            raise SourceDenied(self.where, f"it refused us ({self.quote(words)}): {hint}")
        if said is None:
            words = f"{words} with {kind}: is it the address of a Prometheus API?"
        raise SourceError(self.where, self.quote(words))


async def _inflated(response: httpx.Response) -> AsyncIterator[bytes]:
    """The answer in pieces of `PIECE` or what it inflates to: isal takes half of zlib's time for that.

    Raises:
        NotPacked: It is not what its headers say.
    """
    if response.headers.get("content-encoding", "").strip().lower() != "gzip":
        async for part in response.aiter_bytes(PIECE):
            yield part
        return
    stream = isal_zlib.decompressobj(wbits=31)
    async for packed in response.aiter_raw(PIECE):
        yield stream.decompress(packed)
    yield stream.flush()


def connect(
    url: str,
    token: str | None,
    headers: Mapping[str, str] | None,
    tls: Mapping[str, Any] | None,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None,
) -> Server:
    """The server at `url`, whose `client` is yet to be entered; arguments as in `client.fetch`.

    Raises:
        UsageError: The URL, the token, a header or a certificate is malformed.
    """
    parts = _parse(url)
    bare = parts.copy_with(username=None, password=None)
    path = _ENDS.sub("", bare.path)
    client = httpx.AsyncClient(
        headers=_headers(token, headers),
        timeout=timeout_s,
        transport=transport,
        auth=(parts.username, parts.password) if parts.username and not token else None,
        verify=_verify(tls) if tls or parts.scheme == "https" else False,  # else 20 ms for no certificate
    )
    basic = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    secrets = {
        (token or "").strip(),
        parts.password,
        basic,
        *(headers or {}).values(),
        *parts.params.values(),
    }
    return Server(
        client,
        bare.copy_with(path=path or "/", fragment=None),
        str(bare.copy_with(path=path or "/", query=None, fragment=None)).rstrip("/"),
        tuple(sorted((secret for secret in secrets if len(secret) > 3), key=len, reverse=True)),
    )


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


def _verify(tls: Mapping[str, Any] | None) -> ssl.SSLContext | bool:
    """How the server's certificate is checked, and which one we show."""
    where = "klaviyo-nb.toml: metrics.tls"
    if not isinstance(tls or {}, Mapping):
        raise UsageError(where, "must be a table", 'tls = { ca_file = "/etc/ssl/our-ca.pem" }')
    for key, value in (tls or {}).items():
        if type(value) is not _TLS.get(key):
            raise UsageError(f"{where}.{key}", "no such setting, or not its kind", f"use {', '.join(_TLS)}")
    if not tls:
        return True
    if not tls.get("verify", True):
        context = httpx.create_ssl_context(verify=False)
    else:
        context = _context(tls.get("ca_file"), f"{where}.ca_file")
    if "client_cert" in tls:
        try:
            context.load_cert_chain(tls["client_cert"], tls.get("client_key"), password="")
        except OSError as exc:  # SSLError is one; with a passphrase it would ask for it on the terminal
            raise _unreadable(f"{where}.client_cert", tls["client_cert"], exc) from None
    return context


def _context(ca_file: str | None, where: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
    except OSError as exc:
        raise _unreadable(where, str(ca_file), exc) from None


def _unreadable(where: str, path: str, exc: OSError) -> UsageError:
    return UsageError(where, f"{path}: {exc.strerror or exc}", f"openssl x509 -noout -subject -in {path}")


def _parse(url: str) -> httpx.URL:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise UsageError("--metrics", "not an http(s) URL", "--metrics http://localhost:9090")
    return parts


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
