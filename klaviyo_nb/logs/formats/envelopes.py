"""What collectors wrap around an application's lines, and which lines belong together.

A record is its first line and the lines that continue it: indented, tracebacks, the headers and the body of
an HTTP answer. Lines are compared by what the application wrote, so that a traceback is found again when each
of its lines came back with a timestamp, as JSON or with a syslog header.

Sources:
    https://docs.docker.com/engine/logging/drivers/json-file/ ·
    https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md ·
    https://www.rfc-editor.org/rfc/rfc5424 · https://systemd.io/JOURNAL_EXPORT_FORMATS/
"""

from __future__ import annotations

import re

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.objects import load, plans

_STAMP = rb"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)"
_BSD = rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?"
#: A line's head that is not the application's.
HEAD = expression(
    rb"(?:\[pod/(?P<pod>[^\]]+)\] |(?P<service>[\w.-]{1,64}) +\| )?"  # kubectl logs --prefix, docker compose
    rb"(?:(?P<cri>" + _STAMP + rb") std(?:out|err) (?P<flag>[FP])\S* ?"
    rb"|(?P<pri><(?P<severity>\d{1,3})>)?(?:(?P<bsd>"
    + _BSD
    + rb")|(?P<iso>"
    + _STAMP
    + rb")) (?P<host>[\w.:-]+) "
    rb"(?P<tag>[\w./@-]+)(?:\[(?P<pid>\d+)\]: ?|(?(bsd): |(?(pri): |(?!))))"
    rb"|(?:\d{1,5} )?<(?P<severity2>\d{1,3})>1 (?P<rfc5424>" + _STAMP + rb") (?P<host2>\S+) (?P<tag2>\S+) "
    rb"(?P<pid2>\S+) \S+ (?:- ?|(?P<data>(?:\[[^\]]*\])+) ?|))"  # Heroku's drains leave the last out
    rb"|(?P<iso2>" + _STAMP + rb") (?P<tag3>[a-z][\w-]{0,40})"  # Heroku's logs, Fly.io's
    rb"\[(?:(?P<pid3>[\w.-]{1,60})\]: |(?P<host3>\w{1,40})\] [a-z]{3} "
    rb"(?:\[(?P<level3>[a-z]{4,7})\] ?(?=\[?\d\d|ts=|time=|level=|\{))?)"
    rb"|\[pod/(?P<pod2>[^\]]+)\] |(?:\d+\|)?(?P<service2>[\w.-]{1,64}) +\| "  # PM2 counts its services
)
#: Keys under which collectors put the application's text, and what opens it.
_KEYS = (b'"MESSAGE"', b'"log"')
_OPENS = expression(rb'\s?:\s?["\[]')

_BODIES = (b'{"errors"', b'{"detail"', b'{"message":"This API')
#: Envelopes in envelopes are opened so often.
DEEPEST = 3
_STRING = expression(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)

#: Not ` WARN  …`, ` POST /…`, ` │ GET https://…` of Metro and Next.js, nor what begins with a time.
_INDENT = (
    rb"(?! (?:\xe2\x94\x82 )?(?-i:[A-Z]{3,7})(?:  ?\S|\[)|\s{1,8}\d{4}-\d\d-\d\d[ T]\d)"
    rb"(?:[ \t]|\\t)+\S"
)
_INDENTED = expression(_INDENT)
_CONTINUES = expression(
    _INDENT + rb"|[})\]]+[,;]?\s*(?:$|\\n)|Traceback \(most recent|Caused by:|During handling|"
    rb"The above exception|HTTP (?:response|status)|Response (?:headers|body)|Request (?:headers|body)|"
    rb"Reason: |(?:METHOD|FROM): |(?:COMMON|CONTENT) HEADERS\b|"
    rb"At [A-Z]:\\\S+:\d+ char:|[<>*]\s*$|"
    rb"\([1-5]\d\d\)\s*(?:$|\\n)|\*\* \(|\{\\?\"errors\\?\"|\(empty body\)|\.\.\. |Stack ?[Tt]race:|#\d+ "
)
_EXCEPTION = expression(rb"[\w.$]*(?:Error|Exception|Timeout)\b[:\s(]?")
_SECTION = expression(rb"[A-Z][\w ]{2,30}:\s*$")
#: The head of a line of an application that logs trouble: an exception without a head is its.
_TROUBLE = expression(
    rb"\[?[\d:/T., +Z-]{8,35}\]?.{0,60}\b"
    rb"(?:ERR|ERROR|WARN|WRN|WARNING|FATAL|FTL|SEVERE|CRITICAL|error|warn)\b"
)
_TRACE = expression(rb"Traceback \(most recent|\s*at |  File ")
_HEADER = expression(
    rb"[<>*]? ?(?:date|content-[a-z]+|connection|cf-[a-z-]+|allow|vary|www-authenticate|x-[a-z-]+|server|"
    rb"cid|via|"
    rb"ratelimit-[a-z]+|retry-after|revision|transfer-encoding|accept(?:-[a-z]+)?|user-agent|authorization|host|"
    rb"strict-transport-security|location|set-cookie|cache-control|etag) ?: ?\S?",
    re.IGNORECASE,
)
_REQUEST = expression(rb"[<>]? ?(?:GET|POST|PUT|PATCH|DELETE|HEAD) (?:https?://|/)\S+(?: HTTP/[\d.]+)?\s*$")
_STATUS = expression(rb"[<>]? ?HTTP(?:/[\d.]+)? [1-5]\d\d\b")
_DATED = expression(rb"\[?\d{4}[-/]\d\d[-/]\d\d[ ,]|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3} ")
_CRI = expression(rb" std(?:out|err) [FP]")
#: java.util.logging writes who logged before, and the message behind its level on the next line.
_JAVA_HEAD = expression(rb"[A-Z][a-z]{2} \d\d?, \d{4},? \d\d?:\d\d:\d\d [AP]M [\w.$]+ [\w$<>]+\s*$")
_JAVA_LEVEL = expression(rb"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ")
_MAY_FOLLOW = expression(
    rb"\s*$|[{\[<]|"
    + b"|".join(each.pattern for each in (_CONTINUES, _EXCEPTION, _STATUS, _HEADER, _JAVA_LEVEL, _SECTION)),
    re.IGNORECASE,
)
_AFTER_BLANK = expression(rb"HTTP|Caused by:|[{\[<(]|[<>] ?$|[a-z][\w$]*(?:\.[\w$]+)+(?:Error|Exception)\b")
_MARKUP = expression(rb"</?[a-zA-Z!]")
#: `[crm] …` is a head, no list.
_TAGGED = expression(rb"\[\s*[^\s{\[\"'\]]")
_BARE = expression(rb"[{\[]\s*$")

#: In Hyperscan's syntax: what each whole object has that is not `alone`.
NOT_ALONE = (rb'"(?:MESSAGE|log)"\s?:', b"(?m)^(?:" + b"|".join(map(re.escape, _BODIES)) + b")")


def opened(line: bytes) -> int:
    """Where the application's own text begins in `line`; 0 if nothing is wrapped around it."""
    if line[:1] == b"{":
        for key in _KEYS:
            at = line.find(key)
            if at >= 0 and (opens := _OPENS.match(line, at + len(key))):
                return opens.end()
        return 0
    found = None if _DATED.match(line) else HEAD.match(line)
    return found.end() if found else 0


def begins(line: bytes) -> bool:
    """Does a record begin with this line, whatever stands before it? False: `follows` must be asked."""
    if _DATED.match(line):
        return True
    at = opened(line)
    cut = at and (line.startswith(b'{"log"') or _CRI.search(line, 0, at))
    if at and not cut and _DATED.match(line, at):
        return True
    inner = _inner(line, at) if at else line
    return not cut and (_DATED.match(inner) is not None or not _MAY_FOLLOW.match(inner))


def dated(data: bytes | bytearray, at: int = 0) -> bool:
    """Does a line stand there that surely begins a record, whatever came before it: the commonest text?"""
    return _DATED.match(data, at) is not None


def partial(line: bytes) -> bool:
    """Was this line cut by the collector, so that the next one goes on in the middle of it?"""
    if line.startswith(b'{"log":"'):
        return b'\\n"' not in line
    found = HEAD.match(line)
    return found is not None and found["flag"] == b"P"


def alone(line: bytes) -> bool:
    """Is this a whole JSON object that is no envelope: the commonest record, which nothing continues?"""
    whole = line[:1] == b"{" and line.rstrip()[-1:] == b"}"
    return whole and not line.startswith(_BODIES) and not opened(line)


def follows(before: bytes, line: bytes) -> bool:
    """Does `line` continue the record that `before` is a line of?"""
    wrapped, inside = opened(before), opened(line)
    if wrapped and partial(before):
        return True
    if bool(wrapped) != bool(inside):
        return False
    if wrapped:
        before, line = _inner(before, wrapped), _inner(line, inside)
        if alone(before):
            return False
    if not line.strip():
        told = _HEADER.match(before) or _TROUBLE.match(before)  # Spring prints an exception behind it
        return bool(told) or before.startswith(b"Error: ")  # Rust's anyhow
    if not before.strip():
        itself = (alone(line) and line[1:2] != b"\\") or _TAGGED.match(line)  # not in a wrapper's quotes
        return bool(_AFTER_BLANK.match(line)) and not itself
    if line[:1] in b"{[<":
        return _block_follows(before, line)
    return bool(_CONTINUES.match(line)) or _told_by_both(before, line)


def _inner(line: bytes, at: int, depth: int = 0) -> bytes:
    """The application's own text, out of as many as `DEEPEST` envelopes."""
    if line[:1] != b"{":
        text = line[at:]
    elif line[at - 1 : at] == b"[":
        text = _from_numbers(line[at : line.find(b"]", at)])
    else:
        found = _STRING.match(line, at)
        text = found.group().removesuffix(b"\\n") if found else b""
    inside = opened(text) if depth < DEEPEST else 0
    return _inner(text, inside, depth + 1) if inside else text


def _from_numbers(numbers: bytes) -> bytes:
    """Byte values as journald lists them, to bytes."""
    try:
        return bytes(map(int, numbers.split(b",")))
    except ValueError:
        return b""


def _block_follows(before: bytes, line: bytes) -> bool:
    """A body: after a colon, or markup after markup, or an object that is printed over several lines.

    Not an object with a time of its own: that is the next line of a log.
    """
    if _TAGGED.match(line):
        return False
    if _STATUS.match(line):
        return before[:1] == b">"
    announced = before.rstrip()[-1:] in (b":", b"=") and not _has_time(line)
    if announced or line.startswith((*_BODIES, b'{\\"errors')):
        return before[:1] != b"{"
    if _MARKUP.match(line):
        return before.rstrip()[-1:] == b">" or bool(_MARKUP.match(before) or _HEADER.match(before))
    if _BARE.match(line):
        return before[:1] not in (b"}", b"]", b"{", b"[")
    return bool(_HEADER.match(line)) and bool(_HEADER.match(before) or _STATUS.match(before))


def _has_time(line: bytes) -> bool:
    """Is it a whole object, in a wrapper's quotes or not, one of whose outermost keys tells a time?"""
    data = load(load(b'"' + line.rstrip() + b'"') or b"" if line[1:2] == b"\\" else line)
    if not isinstance(data, dict):
        return False
    values = tuple(data.values())
    return any(fits(values[place]) for place, _, _, fits in plans[tuple(data)].roles.get("timestamp", ()))


def _told_by_both(before: bytes, line: bytes) -> bool:
    if _JAVA_LEVEL.match(line):
        return bool(_JAVA_HEAD.match(before))
    if _EXCEPTION.match(line):
        return bool(
            _INDENTED.match(before)
            or _TRACE.match(before)
            or (_TROUBLE.match(before) and not line.startswith(b"Error"))
            or (before.rstrip()[-1:] == b":" and _DATED.match(before))
        )
    if _SECTION.match(line):
        return bool(_INDENTED.match(before))
    if _HEADER.match(line):
        return bool(_HEADER.match(before) or _STATUS.match(before) or _REQUEST.match(before))
    asked = _HEADER.match(before) or _REQUEST.match(before) or before.rstrip().endswith((b">", b":"))
    return bool(_STATUS.match(line) and asked)
