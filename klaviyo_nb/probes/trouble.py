"""Why no whole answer came: from an exception to a name that a row can carry."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from klaviyo_nb.probes.lean import httpx

#: What the `error_type` of a probe may be. What each looks like from outside is in `klaviyo.answers.ERRORS`.
ERROR_TYPES = {
    "dns": "the name has no address, or one that leads nowhere (0.0.0.0)",
    "refused": "nothing listens at the address",
    "no_route": "this machine has no way there",
    "connect_timeout": "no connection, or no TLS, in time",
    "tls": "no TLS, or a certificate that does not fit",
    "proxy": "the proxy of the environment did not let us through",
    "timeout": "no answer, or not all of it, in time",
    "reset": "the connection was closed without an answer",
    "truncated": "the connection was closed before the answer was whole",
    "protocol": "what came is not HTTP",
    "too_large": "the answer is longer than any honest one; the rest was not read",
    "redirects": "a redirect where none belongs, or one that led to the next",
    "malformed": "the answer is whole and is not the JSON that was asked for",
    "other": "none of these",
}

#: What talking to somebody may raise; anything else is a fault of ours and is not caught.
TROUBLE = (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)

_NO_ROUTE = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.EPERM,
}
#: What the causes of an exception say; the first that fits any of them wins.
_BY_CAUSE: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((httpx.ProxyError,), "proxy"),
    ((socket.gaierror, UnicodeError, httpx.InvalidURL), "dns"),
    ((ConnectionRefusedError,), "refused"),
    ((ssl.SSLCertVerificationError,), "tls"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), "reset"),
    ((httpx.ConnectTimeout,), "connect_timeout"),
    ((httpx.TimeoutException, TimeoutError), "timeout"),
)


def error_type(exc: BaseException, *, answering: bool = False) -> str:
    """The name of what went wrong.

    Args:
        exc: As raised.
        answering: Whether the head of the answer had come already.
    """
    causes = list(_causes(exc))
    if answering:
        timeout = any(isinstance(cause, httpx.TimeoutException | TimeoutError) for cause in causes)
        return "timeout" if timeout else "truncated"
    for kinds, name in _BY_CAUSE:
        if any(isinstance(cause, kinds) for cause in causes):
            return name
    if any(isinstance(cause, ssl.SSLError) for cause in causes):  # its errno is not the system's
        return "reset" if isinstance(exc, httpx.ReadError | httpx.WriteError) else "tls"
    if any(isinstance(cause, OSError) and cause.errno in _NO_ROUTE for cause in causes):
        return "no_route"
    return _by_kind(exc)


def why(exc: BaseException) -> str:
    """What the deepest cause says, e.g. `certificate has expired`."""
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return str(getattr(cause, "verify_message", cause))  # unset on one that no handshake raised
    return next((text for cause in reversed(causes) if (text := _words(cause))), ERROR_TYPES[error_type(exc)])


def _by_kind(exc: BaseException) -> str:
    if isinstance(exc, httpx.RemoteProtocolError):
        return "reset" if "without sending a response" in str(exc) else "protocol"
    if isinstance(exc, httpx.ProtocolError):
        return "protocol"
    if isinstance(exc, httpx.ConnectError):  # no OSError behind it: closed in the middle of the TLS handshake
        return "tls"
    return "reset" if isinstance(exc, httpx.NetworkError) else "other"


def _words(cause: BaseException) -> str:
    return cause.strerror if isinstance(cause, OSError) and isinstance(cause.strerror, str) else str(cause)


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception, what it came from, and so on; every branch of a group."""
    while exc is not None:
        yield exc
        if isinstance(exc, BaseExceptionGroup):
            for each in exc.exceptions:
                yield from _causes(each)
        exc = exc.__cause__ or exc.__context__
