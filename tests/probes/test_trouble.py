from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from klaviyo_nb.probes.trouble import ERROR_TYPES, TROUBLE, error_type, why


def caused(exc, *causes):
    for cause in causes:
        exc.__cause__ = cause
    return exc


@pytest.mark.parametrize(
    ("exc", "name"),
    [
        (caused(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")), "dns"),
        (httpx.InvalidURL("x"), "dns"),
        (caused(httpx.ConnectError("x"), ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "refused"),
        (
            caused(httpx.ConnectError("x"), ExceptionGroup("all", [OSError("v6"), ConnectionRefusedError()])),
            "refused",
        ),
        (caused(httpx.ConnectError("x"), OSError(errno.ENETUNREACH, "Network is unreachable")), "no_route"),
        (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError(1, "no")), "tls"),
        (caused(httpx.ConnectError("x"), ssl.SSLError(1, "wrong version number")), "tls"),
        (caused(httpx.ReadError("x"), ssl.SSLError(8, "EOF occurred")), "reset"),
        (caused(httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "reset")), "reset"),
        (httpx.ReadError("x"), "reset"),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "reset"),
        (httpx.RemoteProtocolError("illegal status line"), "protocol"),
        (httpx.LocalProtocolError("Illegal header value"), "protocol"),
        (httpx.UnsupportedProtocol("ftp"), "other"),
        (httpx.ConnectTimeout("x"), "connect_timeout"),
        (httpx.ReadTimeout(""), "timeout"),
        (TimeoutError(), "timeout"),
        (httpx.ProxyError("407 Proxy Authentication Required"), "proxy"),
        (OSError("something"), "other"),
    ],
)
def test_an_exception_has_a_name(exc, name):
    assert error_type(exc) == name
    assert name in ERROR_TYPES
    assert isinstance(exc, TROUBLE)
    assert why(exc)


def test_trouble_after_the_head_of_an_answer_is_a_truncated_one():
    assert error_type(httpx.RemoteProtocolError("peer closed connection"), answering=True) == "truncated"
    assert error_type(httpx.ReadTimeout(""), answering=True) == "timeout"


def test_the_deepest_words_are_told():
    assert why(
        caused(httpx.ConnectError("All attempts failed"), ConnectionRefusedError(111, "Connection refused"))
    ) == ("Connection refused")
