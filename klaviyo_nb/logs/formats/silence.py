"""Free text: where it tells that no response came, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.patterns import VERB

#: A setting is no event: `connectTimeout=5000`.
_NO_SETTING = r"(?!(?:[_-]?m?s)?[\"']?\s{0,2}[:=]>?\s{0,2}[\"']?\d)"
#: Why no response came → how libraries say so (Python, Node, Go, Java, Ruby, PHP, .NET, curl, nginx).
NO_RESPONSE: Mapping[str, re.Pattern[str]] = {
    kind: expression(pattern, re.IGNORECASE | re.ASCII)
    for kind, pattern in {
        "dns": r"\bENOTFOUND|dial tcp: lookup|resolving timed out|"
        r"EAI_AGAIN|getaddrinfo|name (?:or service )?not (?:known|resolved)|"
        r"NAME_NOT_RESOLVED|NameResolution|UnknownHost|\bNXDOMAIN\b|no such host|name resolution|"
        r"server misbehaving|temporary failure in name|"
        r"nodename nor servname|(?:could not(?: be)?|failed to|can't|cannot|unable to) (?:resolve|"
        r"look ?up)|lookup failed|failed host lookup|"
        r"couldnt_resolve|dns error|"
        r"cURL error 6\b",
        "refused": r"ECONNREFUSED|verbindung (?:verweigert|abgelehnt)|connexion refus|conexi.n rechazada|"
        r"connessione rifiutata|connection[ _]?refused|"
        r"connection to \S{1,80} (?:was )?refused|actively refused|cURL error 7\b|couldnt_connect|"
        r"EHOSTUNREACH|ENETUNREACH|no route to host|(?:host|network|server|destination) (?:is )?unreachable",
        "tls": r"CERT(?:IFICATE)?[ _](?:VERIFY|HAS[ _]EXPIRED)|self[-_ ]signed|wrong version number|\bx509\b|"
        r"\bERR_(?:(?:CERT|SSL)_|TLS)|\bSSL(?:_?Error|Handshake(?!Timeout))|"
        r"SSL (?:routines|connection could not|peer)|"
        r"(?:invalid|bad|untrusted|expired|unknown) (?:\w{1,12} )?certificate|"
        r"certificate (?:\w{1,12} ){0,3}(?:expired|invalid|untrusted|unknown|mismatch)|"
        r"TLS handshake (?!timeout)|UNABLE_TO_(?:GET|VERIFY)|OpenSSL::SSL|"
        r"ssl_connect_error|peer_failed_verification|ssl_cacert|cURL error (?:35|60)\b",
        "connect_timeout": rf"connect[ _-]?timeout(?! ?\d){_NO_SETTING}|connect(?:ing)? timed out|"
        r"\bconnect ETIMEDOUT|(?<![a-z])Connection[ _-]?Timeout(?:Error\b| to host)|"
        r"connection to \S{1,200} timed out|"
        r"connection time(?:d )?out after \d|connect to \S{1,200} (?:\(?port \d+\)? )?after \d+ ?ms: t|"
        r"connect to \S{1,200} \(port \d+\)(?: from \S{1,200} \(port \d+\))? after|OpenTimeout|"
        r"open TCP connection to \S{1,200} \(execution expired|"
        r"(?:dial tcp|establish a new connection|ConnectException|trying to connect|tcp connect error|"
        r"\(Connect\))[^\n]{0,120}(?:timeout|timed out|deadline (?:exceeded|has elapsed))|"
        r"connection attempt failed because|could not be established within|"
        r"timed out[^\n]{0,40} (?:while (?:connecting|SSL handshaking) to|attempt to connect to)|"
        r"reset[ _](?:reason: |before_response_started\{)connection[ _]timeout|"
        r"SSL connection time(?:d )?out|handshake ?time(?:d )?out",
        "unconnected": r"\bConnectError\b|establish a new connection|open TCP connection to|"
        r"cannot connect to host|all connection attempts failed|\bdial tcp\b|trying to connect: |"
        r"tcp connect error|error \(Connect\)",
        "timeout": r"timed[ _-]?out|zeit.berschreitung|d.lai (?:d.attente )?(?:d.pass|expir)|"
        r"tiempo de espera (?:agotado|excedido)|tempo (?:limite )?(?:esgotado|scaduto)|タイムアウト|超时|"
        r"execution expired|i/o timeout|(?:reason: :?|: :|\{:?error, ?:?)timeout|"
        r"time[- ]?out (?:after|of|while|waiting|exceeded|error|expired|(?:was )?reached|during|"
        r"calling|contacting|"
        rf"(?:on|for) (?:{VERB}|http|/))|TimeoutE|ECONNABORTED|deadline (?:exceeded|has elapsed)|"
        rf"UND_ERR_\w*TIMEOUT|"
        rf"(?:(?:Read|Connect|Open|Write|Response|Connection|Pool|Socket)|"
        rf"(?:API|request|call|connection|TLS handshake) )Timeout{_NO_SETTING}|"
        r"cURL error 28\b|TaskCanceled|_sslobj\.read|never respond(?:ed|ing)|requests? hung|"
        r"\bsilent for \d|\baborted (?:\w{1,12} ){0,3}after \d|"
        r"\bno (?:\w{1,12} )?(?:answer|response|reply|bytes|data|headers)(?: \w{1,12}){0,3} (?:after|"
        r"for|in|within) \d",
        "reset": r"ECONNRESET|(?:connection|socket|stream)[ _](?:\d{1,9} )?(?:was )?reset|reset by peer|"
        r"socket hang up|other side closed|"
        r"connection (?:unexpectedly |was )?(?:closed|lost|dropped|terminated)|\bremotely closed|"
        r"sent GOAWAY and closed|(?:server|peer|"
        r"host) closed (?:the )?connection|"
        r"closed connection without response|premature(?:ly)? close|"
        r"(?:reason: |: |\{:error, ):closed|\{error, ?closed\}|"
        r"\bERR_(?:EMPTY_RESPONSE|CONNECTION_CLOSED)|UND_ERR_SOCKET|connection aborted|"
        r"(?:Remote|Server)Disconnected|\bEPIPE\b|broken pipe|(?<!client )unexpected EOF|: EOF\b|"
        r"received no bytes|NoHttpResponse|Incomplete(?:Read|Message)|cURL error (?:52|55|56)\b|"
        r"return_code=(?:recv_error|send_error|got_nothing|partial_file)",
        "other": r"fetch failed|\bnet::ERR_|\bERR_NETWORK|network(?: ?error| request failed)|"
        r"Connect(?:ion)?Error|cURL error \d+|\bno (?:response|answer\b|reply\b)|"
        r"(?:(?:did|does|do) not|(?:did|does|do)n't|never) (?:respond|answer|reply|replied)|"
        r"without (?:an? |any )?(?:response|answer|reply)\b|max retries exceeded|"
        r"unsupported content type|connection failed|(?:failed to|can't|cannot|could not|couldn't|"
        r"unable to) (?:connect|reach|contact)|"
        r"error sending request|CORS request did not succeed|"
        r"TypeError: (?:failed to fetch|load failed)",
    }.items()
}
#: Nothing says why there was no connection: as if nobody had listened.
_NAMES = {"unconnected": "refused"}
#: What is said of a connection that nobody needs any more, too.
_DONE_WITH = frozenset(("connection closed", "connection was closed"))
#: Words of which one is in every text that such a pattern finds something in: they are looked for first.
SILENCE_WORDS: Mapping[str, tuple[str, ...]] = {
    "dns": ("enotfound", "eai_again", "getaddrinfo", "not ", "resol", "no such host", "misbehaving",
            "unknownhost", "temporary failure", "nodename", "host lookup", "curl error 6", "dns error",
            "name resolution", "lookup", "look up", "nxdomain"),
    "refused": ("refused", "verbindung", "connexion", "conexi", "connessione", "ehostunreach",
                "enetunreach", "no route", "unreachable", "couldnt_connect", "curl error 7"),
    "tls": ("cert", "ssl", "x509", "tls ", "err_tls", "self_signed", "self-signed", "self signed",
            "unable_to_", "peer_failed", "wrong version number", "curl error"),
    "connect_timeout": ("connect", "opentimeout", "dial tcp", "could not be established", "ssl", "handshake",
                        "handshaking"),
    "unconnected": ("connect", "dial tcp"),
    "timeout": ("timed", "timeout", "time-out", "time out", "econnaborted", "deadline", "curl error 28",
                "taskcanceled", "_sslobj", "berschreitung", "lai ", "espera", "tempo ", "タイムアウト",
                "超时",
                "never respond", "hung", "execution expired", "aborted", "silent", "no "),
    "reset": ("reset", "closed", "lost", "dropped", "terminated", "err_empty", "hang up", "und_err_socket",
              "disconnected", "aborted", "epipe", "broken pipe", "eof", "premature", "incomplete",
              "no bytes", "nohttp", "curl error 5", "return_code="),
    "other": ("fetch failed", "net::err_", "network", "connectionerror", "connecterror", "curl error",
              "no ", "max retries", "unsupported content", "connection failed", "to connect", "reach",
              "contact", "t connect", "error sending", " not ", "n't ", "never ", "without ",
              "failed to fetch", "load failed", "cors request"),
}  # fmt: skip


def no_response(text: str, calm: bool = False) -> tuple[str, int] | None:
    """Why no response came (`NO_RESPONSE`), and where that is said; None if it is not.

    `dns`, `refused`, `tls`, `connect_timeout`: nothing was sent; else it may have been.

    Args:
        text: What may tell of it.
        calm: Is the record of a level below a warning? Then a connection that was closed was done with.
    """
    low = text.lower()
    for kind, pattern in NO_RESPONSE.items():
        if any(map(low.__contains__, SILENCE_WORDS[kind])) and (found := pattern.search(text)):
            if calm and found[0].lower() in _DONE_WITH:
                continue
            return _NAMES.get(kind, kind), found.start()
    return None
