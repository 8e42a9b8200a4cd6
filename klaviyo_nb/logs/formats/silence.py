"""Free text: where it tells that no response came, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: A setting is no event: `connectTimeout=5000`.
_NO_SETTING = r"(?!(?:[_-]?m?s)?[\"']?\s{0,2}[:=]>?\s{0,2}[\"']?\d)"
#: Why no response came → how libraries say so (Python, Node, Go, Java, Ruby, PHP, .NET, curl, nginx).
NO_RESPONSE: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE | re.ASCII)
    for kind, pattern in {
        "dns": r"\bENOTFOUND|EAI_AGAIN|getaddrinfo|name (?:or service )?not (?:known|resolved)|"
        r"NameResolution|NAME_NOT_RESOLVED|no such host|"
        r"could not (?:be )?resolve|UnknownHost|temporary failure in name|nodename nor servname|"
        r"failed to resolve|"
        r"cURL error 6\b|dns error|\bNXDOMAIN\b|couldnt_resolve",
        "refused": r"ECONNREFUSED|connection[ _]refused|actively refused|ConnectionRefused|cURL error 7\b|"
        r"EHOSTUNREACH|ENETUNREACH|no route to host|network is unreachable|couldnt_connect",
        "tls": r"CERTIFICATE_VERIFY|\bERR_(?:CERT|SSL)_|\bSSLError|\bSSLHandshake|\bSSL_ERROR|\bx509\b|"
        r"TLS handshake (?!timeout)|SELF_SIGNED|"
        r"UNABLE_TO_(?:GET|VERIFY)|wrong version number|\bERR_TLS|self[- ]signed|"
        r"certificate (?:has expired|verify)|"
        r"CERT_HAS_EXPIRED|ssl_connect_error|peer_failed_verification|ssl_cacert|"
        r"OpenSSL::SSL|cURL error (?:35|60)\b|SSL (?:routines|connection could not)",
        "timeout": r"timed[ _-]?out|execution expired|i/o timeout|reason: :?timeout|"
        r"time-?out (?:after|of|while|waiting|exceeded|error|expired|reached|"
        r"(?:on|for) (?:GET|POST|PUT|PATCH|DELETE|http|/))|"
        r"TimeoutE|ETIMEDOUT|"
        r"ESOCKETTIMEDOUT|ECONNABORTED|deadline exceeded|UND_ERR_\w*TIMEOUT|"
        rf"(?:Read|Connect|Open|Write|Response|Connection|Pool|Socket)Timeout{_NO_SETTING}|"
        r"cURL error 28\b|TaskCanceled|(?:API|request|call|connection|TLS handshake) timeout"
        rf"{_NO_SETTING}|"
        r"_sslobj\.read|timeout (?:calling|contacting)|"
        r"operation_timedout|never respond(?:ed|ing)|requests? hung",
        "reset": r"ECONNRESET|connection[ _](?:was )?reset|reason: :closed|"
        r"\bERR_(?:EMPTY_RESPONSE|CONNECTION_CLOSED)|reset by peer|socket hang up|other side closed|"
        r"UND_ERR_SOCKET|"
        r"RemoteDisconnected|connection aborted|\bEPIPE\b|broken pipe|unexpected EOF|ServerDisconnected|"
        r"premature close|received no bytes|"
        r"IncompleteRead|cURL error (?:52|55|56)\b|closed connection without response|prematurely closed|"
        r": EOF\b|return_code=(?:recv_error|send_error|got_nothing|partial_file)|"
        r"connection (?:unexpectedly |was )?closed|IncompleteMessage",
        "other": r"fetch failed|\bnet::ERR_|"
        r"network ?error|network request failed|\bERR_NETWORK|ConnectionError|ConnectError|cURL error \d+|"
        r"no response|"
        r"max retries exceeded|unsupported content type|"
        r"connection failed|(?:failed to|can't|cannot|could not|unable to) connect|error sending request|"
        r"did not respond|"
        r"TypeError: (?:failed to fetch|load failed)",
    }.items()
}
#: Words of which one is in every text that such a pattern finds something in: they are looked for first.
SILENCE_WORDS: Mapping[str, tuple[str, ...]] = {
    "dns": ("enotfound", "eai_again", "getaddrinfo", "not ", "resol", "no such host", "unknownhost",
            "temporary failure", "nodename", "curl error 6", "dns error", "nxdomain"),
    "refused": ("refused", "ehostunreach", "enetunreach", "no route", "unreachable", "couldnt_connect",
                "curl error 7"),
    "tls": ("cert", "ssl", "x509", "tls ", "err_tls", "self_signed", "self-signed", "self signed",
            "unable_to_", "peer_failed", "wrong version number", "curl error"),
    "timeout": ("timed", "timeout", "time-out", "econnaborted", "deadline", "curl error 28", "taskcanceled",
                "_sslobj", "never respond", "hung",
                "execution expired"),
    "reset": ("reset", "closed", "err_empty", "hang up", "und_err_socket", "disconnected", "aborted",
              "epipe", "broken pipe", "eof", "premature", "incomplete", "no bytes", "curl error 5",
              "return_code="),
    "other": ("fetch failed", "net::err_", "network", "connectionerror", "connecterror", "curl error",
              "no response", "max retries", "unsupported content", "connection failed", "to connect",
              "t connect", "error sending", "did not respond", "failed to fetch", "load failed"),
}  # fmt: skip


def no_response(text: str) -> tuple[str, int] | None:
    """`timeout`, `reset`, `refused`, `dns`, `tls` or `other`, and where that is said; None if it is not."""
    low = text.lower()
    for kind, pattern in NO_RESPONSE.items():
        if any(map(low.__contains__, SILENCE_WORDS[kind])) and (found := pattern.search(text)):
            return kind, found.start()
    return None
