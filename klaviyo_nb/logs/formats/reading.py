"""A record's bytes to what it says: envelopes off, then JSON, logfmt or text, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats import table, text, times, values
from klaviyo_nb.logs.formats.columns import columns_of, upright
from klaviyo_nb.logs.formats.envelopes import DEEPEST, HEAD, opened, partial
from klaviyo_nb.logs.formats.fits import is_ours
from klaviyo_nb.logs.formats.keys import FIELDS, INNER
from klaviyo_nb.logs.formats.objects import MOST_TEXTS, OURS, Found, join_base, load, walk
from klaviyo_nb.logs.formats.printed import PAIRS, bare, offer_length, read_tail

#: Groups that carry a field as it is.
_CAUGHT = FIELDS.keys() - {"duration", "timestamp", "text"}
_HEAD_LENGTH, _HEAD_OF_LEVEL = 48, 160
#: With so many separators it is a row of a table, in which the time has its place.
_CELLS = 4
_WINDOWS = expression(r"<Level>([1-5])</Level>")
_PRIORITY = expression(r"<(\d{1,3})>")
_COLOUR = expression(r"\x1b\[[\d;]*m")
#: What AWS Lambda writes before and after the lines of an invocation.
_INVOCATION = expression(r"(?:START|END|REPORT) RequestId: (?:[^\\\n\"]|\\[tr])*(?:\n|\\n)?")
#: `web-1`, `worker-2`, `ip-10-0-0-5`: instances of a kind of machine.
_MACHINE = expression(
    r"(?P<kind>web|app|api|worker|node|host|pod|srv|server|vm|box|ip|i|prod|backend|frontend)[-.]?[\w.-]*\d[\w.-]*"
)
_THREAD = expression(r"(?i:main|\d+$|pid|tid|thread|.*(?:thread|pool|exec|worker)[\w-]*-\d)")
_UNIT = expression(r"_(?:s|ms|us|ns)$")
#: Times of which seconds and nanoseconds stand under keys of their own: protobuf's, Log4j's.
_SPLIT_TIMES = {"timestamp": ("seconds", "nanos"), "instant": ("epochSecond", "nanoOfSecond")}


@dataclass(slots=True)
class Read:
    """A record, read.

    Attributes:
        found: Its values and texts.
        text: All of its text, envelopes off.
        body: The text in which more may be searched: of an object its messages, else what is behind its head.
        head: Groups of the text format, as caught.
        named: Was it a format with a name?
        access: Is it a line of a server's access log?
        silent: Does it tell of no call, whatever it holds?
    """

    found: Found
    text: str
    body: str = ""
    head: dict[str, str] = field(default_factory=dict)
    named: bool = False
    access: bool = False
    silent: bool = False


def read(raw: bytes, near: datetime, own: tuple[table.Format, ...] = ()) -> Read:
    """Read a record; `own` are formats of the user."""
    row = _row(_decoded(raw)) if b"\n" in raw else None  # names of columns look like services of compose
    outer, inner = (None, row) if row else _peel(raw)
    if "\x1b" in inner:
        inner = _COLOUR.sub("", inner)
    if "(b'" in inner:  # Python's bytes
        inner = inner.replace("b'", "'")
    if "\\r\\n" in inner and inner[:1] != "{":  # headers as a debugger prints them
        inner = inner.replace("\\r\\n", "\n")
    if '"{""' in inner:  # in a cell of an export; in no JSON
        inner = inner.replace('""', '"')
    if "REPORT RequestId: " in inner:
        inner = _INVOCATION.sub("", inner)
    result = _read_text(_row(inner) or inner, near, own)
    if outer is not None:
        result.found.merge(outer)
        if not result.body:
            result.body = "\n".join(result.found.texts)
    if result.text[:1] != "{":  # an object was taken apart; a text is searched many times
        result.text = text.ends(result.text)
    return result


def _row(whole: str) -> str | None:
    """The last line of a table as the object that its header makes of it; or a row printed upright."""
    lines = whole.split("\n")
    if len(lines) == 1:
        return None
    columns = columns_of(lines)
    row = columns.row(lines[-1]) if columns else upright(lines)
    return row.decode() if row else None


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip("\ufeff\0\r\n \t")


def _clean(raw: bytes) -> bytes:
    """Without a hole (a file written to after a crash) or a byte order mark before it."""
    return raw.lstrip(b"\0").removeprefix(b"\xef\xbb\xbf")


def _peel(raw: bytes) -> tuple[Found | None, str]:
    """Take off what collectors wrapped around the lines and join them again."""
    if b"\n" not in raw.rstrip() and not opened(_clean(raw)):
        return None, _decoded(raw)
    outer: Found | None = None
    pieces: list[str] = []
    for line in raw.rstrip(b"\r\n").split(b"\n"):
        context, piece = _peel_line(line)
        outer = outer or context
        pieces.append(piece if partial(line) else piece + "\n")
    return outer, "".join(pieces).strip("\ufeff\0\r\n")


def _peel_line(line: bytes, depth: int = 0) -> tuple[Found | None, str]:
    line = _clean(line)
    if not opened(line):
        return None, line.decode("utf-8", "replace").rstrip("\r")
    if line[:1] == b"{":
        return _peel_object(line)
    found = HEAD.match(line)
    assert found is not None
    context = Found()
    for name, value in found.groupdict().items():
        role = _HEAD_ROLES.get(name)
        if (
            role in ("host", "caller")
            and value
            and value.isupper()
            and values.level(value.decode("ascii", "replace"))
        ):
            role = "level"
        elif role == "level" and value and value.isdigit():  # syslog's priority holds a facility, too
            value = b"%d" % (int(value) % 8)
        if role and value and value != b"-":
            context.offer(role, value.decode("utf-8", "replace"), 100, name)
    if found["data"] and len(pairs := PAIRS.findall(found["data"].decode("utf-8", "replace"))) > 1:
        walk({key: bare(value) for key, value in pairs}, context)
        context.names = frozenset()
    inside = line[found.end() :]
    if depth < DEEPEST and opened(inside):
        return _again(context, inside, depth + 1)
    return context, inside.decode("utf-8", "replace").rstrip("\r")


_HEAD_ROLES = {
    "pod": "host", "pod2": "host", "host": "host", "host2": "host", "service": "caller", "service2": "caller",
    "tag": "caller", "tag2": "caller",
    "host3": "host", "level3": "level", "severity": "level", "severity2": "level",
    "tag3": "caller", "pid3": "worker", "iso2": "timestamp",
    "pid": "worker", "pid2": "worker", "cri": "timestamp", "bsd": "timestamp",
    "iso": "timestamp", "rfc5424": "timestamp",
}  # fmt: skip


def _again(context: Found, line: bytes, depth: int) -> tuple[Found, str]:
    """An envelope in an envelope: CRI around docker's JSON, compose around syslog."""
    inside, rest = _peel_line(line, depth)
    if inside is not None:
        inside.merge(context)
    return inside or context, rest


def _peel_object(line: bytes) -> tuple[Found | None, str]:
    data = load(line.strip(b"\0"))
    if not isinstance(data, dict):
        return None, _decoded(line)
    for key in INNER:
        value = data.get(key)
        if isinstance(value, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):
            value = bytes(value).decode("utf-8", "replace")  # journald, of what is not printable
        if isinstance(value, str):
            context = Found()
            walk({name: other for name, other in data.items() if name != key}, context)
            context.ranks = {name: rank + 100 for name, rank in context.ranks.items()}
            return context, value.rstrip("\r\n")
    return None, _decoded(line)


def _read_text(inner: str, near: datetime, own: tuple[table.Format, ...]) -> Read:
    if inner[:1] in ("{", "["):
        data = load(inner)
        if isinstance(data, list) and len(data) == 1:
            data = data[0]
        if isinstance(data, dict):
            return _read_object(data, inner, near, own)
    first, _, more = inner.partition("\n")
    result = Read(Found(), inner, inner)
    _read_head(result, first, more, near, own)
    result.body = read_tail(result.found, result.body)
    return result


def _read_object(data: dict[str, Any], inner: str, near: datetime, own: tuple[table.Format, ...]) -> Read:
    result = Read(Found(), inner)
    for key, (seconds, nanos) in _SPLIT_TIMES.items():
        stamp = data.get(key)
        if isinstance(stamp, dict) and isinstance(stamp.get(seconds), int):
            data = data | {"timestamp": stamp[seconds] + (stamp.get(nanos) or 0) / 1e9}
    known = table.of_object(frozenset(data))
    walk(
        {key: data[key] for key in data if key not in known.ignore} if known and known.ignore else data,
        result.found,
    )
    named = next((each for each in own if each.has and each.has <= data.keys()), known)
    for role, key in named.keys if named else ():
        value: Any = data
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not key:
            result.found.values.pop(role, None)
        result.found.offer(_UNIT.sub("", role), value, OURS, role.replace("_", ""))
    join_base(result.found)
    _offer_span(result.found)
    if named is not None:
        result.named, result.access, result.silent = True, named.access, named.silent
    url, texts = result.found.values.get("url"), result.found.texts
    if url is None and not any("klaviyo" in each.lower() for each in texts):
        texts += [each for each in _sentences(data) if "klaviyo" in each.lower()][:MOST_TEXTS]
    elif is_ours(url) and values.status(result.found.values.get("status")) is None:
        texts += [each for each in _sentences(data) if each not in texts][:MOST_TEXTS]
    if "url" not in result.found.values and result.found.texts:
        _read_inside(result, near)
    result.body = "\n".join(result.found.texts)
    return result


def _sentences(data: Any, depth: int = 0) -> Iterator[str]:
    """Texts under any keys."""
    if isinstance(data, str) and data.count(" ") > 1:
        yield data
    elif depth < DEEPEST:
        for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            yield from _sentences(value, depth + 1)


def _read_inside(result: Read, near: datetime) -> None:
    """What the message of an object says, if it is a line of its own: keys are surer than its head."""
    message = result.found.texts[0]
    inside = Read(Found(), message, message)
    first, _, more = message.partition("\n")
    _read_head(inside, first, more, near, ())
    inside.body = read_tail(inside.found, inside.body)
    inside.found.ranks = {name: rank + 100 for name, rank in inside.found.ranks.items()}
    inside.found.texts = []
    result.found.merge(inside.found)
    result.found.texts[0] = inside.body
    result.access |= inside.access
    result.silent |= inside.silent


def _offer_span(found: Found) -> None:
    """How long a span took that says when it began and when it ended (OpenTelemetry, X-Ray)."""
    told = (found.keys.get(name, "") for name in ("timestamp", "ended"))
    if "ended" not in found.values or not any(key.startswith(("starttime", "ended")) for key in told):
        return
    offer_length(found, found.values["timestamp"], found.values["ended"])


def _read_head(result: Read, first: str, more: str, near: datetime, own: tuple[table.Format, ...]) -> None:
    """What stands before the message: by a format that has a name, else by its looks."""
    found, limited = result.found, first[: text.MOST]
    named = table.of_text(limited, own)
    if named is not None:
        each, groups = named
        result.named, result.access, result.head = True, each.access, groups
        result.silent = each.silent
        for name in groups.keys() & _CAUGHT:
            found.offer(name, groups[name])
        found.offer(
            "duration",
            groups.get("duration"),
            0,
            "ms" if groups.get("unit") == "" else groups.get("unit") or "",
        )
        found.offer("timestamp", times.of(groups.get("time", ""), near))
        if "timestamp" not in found.values:
            _offer_time(found, result.text, near)
        _offer_tag(found, groups.get("tag"))
        if more and "level" not in groups and (level := text.search("level", more[:20])):
            found.offer("level", level["v"], 50)
        rest = groups.get("rest", "") + first[len(limited) :]
        result.body = "\n".join(part for part in (rest, more) if part)
        return
    dated = _offer_time(found, result.text, near)  # a frame may stand before the head
    if level := text.search("level", limited[:_HEAD_OF_LEVEL]) or text.search("level", dated):
        found.offer("level", level["v"], 50)
    if limited[:1] == "<" and (told := _PRIORITY.match(limited)):  # syslog's, of who writes no tag
        found.offer("level", str(int(told[1]) % 8), 60)
    elif limited[:1] == "<" and (told := _WINDOWS.search(limited)):
        found.offer("level", ("critical", "error", "warning", "info", "debug")[int(told[1]) - 1], 60)


def _offer_time(found: Found, whole: str, near: datetime) -> str:
    """A time that a text tells: surely the record's only where it begins, or in a cell of a table.

    Returns:
        Of a later line in which it stands the beginning.
    """
    if told := times.told(whole, near):
        head = _HEAD_LENGTH if max(map(whole[:_HEAD_LENGTH].count, ",;|\t")) < _CELLS else _HEAD_OF_LEVEL
        found.offer("timestamp", told[0], 0 if told[1] <= head else 200)
    at = whole.rfind("\n", 0, told[1]) + 1 if told else 0
    return whole[at : at + _HEAD_OF_LEVEL].partition("\n")[0] if at else ""


def _offer_tag(found: Found, tag: str | None) -> None:
    """A name in brackets: of a numbered machine or worker, of a thread, or of who logged."""
    machine = tag and _MACHINE.fullmatch(tag)
    if machine:
        found.offer("host", tag)
    if tag and (_THREAD.match(tag) or (machine and machine["kind"] == "worker") or "caller" in found.values):
        found.offer("worker", None if machine and machine["kind"] != "worker" else tag)
    elif not machine and tag and tag.lower() != "klaviyo":
        found.offer("caller", tag)
