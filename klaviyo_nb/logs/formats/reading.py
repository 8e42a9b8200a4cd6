"""A record's bytes to what it says: envelopes off, then JSON, logfmt or text, whatever it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson

from klaviyo_nb.logs.formats import table, text, times
from klaviyo_nb.logs.formats.columns import columns_of
from klaviyo_nb.logs.formats.envelopes import DEEPEST, HEAD, opened, partial
from klaviyo_nb.logs.formats.keys import FIELDS, INNER, METHODS, is_known
from klaviyo_nb.logs.formats.objects import MOST_TEXTS, OURS, Found, join_base, walk

_PAIRS = re.compile(
    r"""(?<![\w.])([A-Za-z_@][\w.@/-]{0,60})=>?(?::(?=[a-z]))?("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;]*)"""
)
#: A key and its value as languages print objects: `'k': 'v'`, `:k=>"v"`, `[k] => v`, `k = v`, `<k>v</k>`.
_PRINTED_PAIRS = re.compile(
    r"""(?<![\w.$@/-])([A-Za-z_][\w.-]{1,40}+)(?:["'\]]{0,2}\s{0,20}+(?:=>|[=:])\s{0,4}|>)"""
    r"""(?:\w{0,20}\([\w.=]{1,20}\) ){0,2}(?:\w{1,20}\((?=["'\d]))?[:<\[(]{0,2}"""
    r"""("[^"\n]*"|'[^'\n]*'|[^\s"'`,;|<>(){}\[\]]+)""",
    re.ASCII,
)
_EDN_PAIRS = re.compile(r""":([a-z][\w/-]{1,40}) :?("[^"\n]*"|[^\s",{}]+)""", re.ASCII)
_NAMED_DATA = re.compile(r"""<Data Name="([\w.-]{1,60})">([^<]{1,400})<""", re.ASCII)
#: Groups that carry a field as it is.
_CAUGHT = FIELDS.keys() - {"duration", "timestamp", "text"}
#: What a form or a pixel sends: `a=1&b=2&c=3`, and nothing else.
_FORM = re.compile(r"[A-Za-z_][\w.%-]{0,60}=[^\s&]*(?:&[A-Za-z_][\w.%-]{0,60}=[^\s&]*){2,60}")
_LEVEL_PAIR = re.compile(r"\b(?:level|lvl|severity)=\S*")
_LOGFMT_PAIRS = 3
_NOTICE = 5
_OF_A_CALL = frozenset(
    ("method", "url", "status", "duration", "retry_after", "level", "attempt", "error_code", "request_id")
)
_HEAD_LENGTH, _HEAD_OF_LEVEL = 48, 160
_DATE = re.compile(
    r"""\b(?:date|(?:start[ _]?)?time(?:stamp)?)['"]?\s{0,9}(?::|=>|=)\s{0,3}['"]?([^'"\n]{10,40})""",
    re.IGNORECASE,
)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
#: What AWS Lambda writes before and after the lines of an invocation.
_INVOCATION = re.compile(r"(?:START|END|REPORT) RequestId: (?:[^\\\n\"]|\\[tr])*(?:\n|\\n)?")
#: `web-1`, `worker-2`, `ip-10-0-0-5`: instances of a kind of machine.
_MACHINE = re.compile(
    r"(?P<kind>web|app|api|worker|node|host|pod|srv|server|vm|box|ip|i|prod|backend|frontend)[-.]?[\w.-]*\d[\w.-]*"
)
_THREAD = re.compile(r"(?i:main|\d+$|pid|tid|thread|.*(?:thread|pool|exec|worker)[\w-]*-\d)")
#: Around the pairs of a span, `push{order=7}:`.
_SPAN = re.compile(r"\b\w+\{(?=\w+=)|\}:")
_UNIT = re.compile(r"_(?:s|ms|us|ns)$")
#: Attributes as OpenTelemetry's debug exporter prints them.
_PRINTED = re.compile(r"-> ([\w.]{1,80}): (?:Str|Int|Double)\((.*)\)")
_DECODER = json.JSONDecoder(strict=False)
_MOST_JSON = 32 * 1024 * 1024


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
    outer, inner = _peel(raw)
    if "\x1b" in inner:
        inner = _COLOUR.sub("", inner)
    if "(b'" in inner:  # Python's bytes
        inner = inner.replace("b'", "'")
    if '"{""' in inner:  # in a cell of an export; in no JSON
        inner = inner.replace('""', '"')
    if "REPORT RequestId: " in inner:
        inner = _INVOCATION.sub("", inner)
    if (
        "\n" in inner
        and (columns := columns_of(lines := inner.split("\n")))
        and (row := columns.row(lines[-1]))
    ):
        inner = row.decode()
    result = _read_text(inner, near, own)
    if outer is not None:
        result.found.merge(outer)
        if not result.body:
            result.body = "\n".join(result.found.texts)
    return result


def load(raw: bytes | str) -> Any:
    """Parse JSON as loggers write it: with control characters, broken UTF-8, NaN; None if it is none."""
    if len(raw) > _MOST_JSON:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(raw if isinstance(raw, str) else raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


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
        if role == "level" and value and value.isdigit():  # syslog's; what is no trouble is often a default
            value = b"%d" % (int(value) % 8) if int(value) % 8 < _NOTICE else b""
        if role and value and value != b"-":
            context.offer(role, value.decode("utf-8", "replace"), 100, name)
    if found["data"] and len(pairs := _PAIRS.findall(found["data"].decode("utf-8", "replace"))) > 1:
        walk({key: _told(value) for key, value in pairs}, context)
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
    _read_tail(result)
    return result


def _read_object(data: dict[str, Any], inner: str, near: datetime, own: tuple[table.Format, ...]) -> Read:
    result = Read(Found(), inner)
    stamp = data.get("timestamp")
    if isinstance(stamp, dict) and isinstance(stamp.get("seconds"), int):  # protobuf's
        data = data | {"timestamp": stamp["seconds"] + (stamp.get("nanos") or 0) / 1e9}
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
    if "url" not in result.found.values and not any("klaviyo" in each.lower() for each in result.found.texts):
        result.found.texts += _sentences(data)
    if "url" not in result.found.values and result.found.texts:
        _read_inside(result, near)
    result.body = "\n".join(result.found.texts)
    return result


def _sentences(data: dict[str, Any]) -> list[str]:
    """Texts about Klaviyo under keys that nobody knows."""
    told = [value for value in data.values() if isinstance(value, str) and value.count(" ") > 1]
    return [value for value in told if "klaviyo" in value.lower()][:MOST_TEXTS]


def _read_inside(result: Read, near: datetime) -> None:
    """What the message of an object says, if it is a line of its own: keys are surer than its head."""
    message = result.found.texts[0]
    inside = Read(Found(), message, message)
    first, _, more = message.partition("\n")
    _read_head(inside, first, more, near, ())
    _read_tail(inside)
    inside.found.ranks = {name: rank + 100 for name, rank in inside.found.ranks.items()}
    inside.found.texts = []
    result.found.merge(inside.found)
    result.found.texts[0] = inside.body
    result.access |= inside.access
    result.silent |= inside.silent


def _offer_span(found: Found) -> None:
    """How long a span took that says when it began and when it ended (OpenTelemetry, X-Ray)."""
    if "ended" not in found.values or not found.keys.get("timestamp", "").startswith("starttime"):
        return
    began, ended = (times.instant(found.values[name]) for name in ("timestamp", "ended"))
    if began is not None and ended is not None and ended >= began:
        found.offer("duration", (ended - began) / 1e6, 0, "durations")


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
            _offer_date(result, near)
        _offer_tag(found, groups.get("tag"))
        if more and "level" not in groups and (level := text.search("level", more[:20])):
            found.offer("level", level["v"], 50)
        result.body = "\n".join(part for part in (groups.get("rest", ""), more) if part)
        return
    if (moment := times.search(limited[: _HEAD_LENGTH + 40], near)) and moment[1] <= _HEAD_LENGTH:
        found.offer("timestamp", moment[0])
    else:
        _offer_date(result, near)
    if level := text.search("level", limited[:_HEAD_OF_LEVEL]):
        found.offer("level", level["v"], 50)


def _offer_date(result: Read, near: datetime) -> None:
    """A time that a line tells behind its head: an answer's `Date`."""
    if dated := _DATE.search(result.text[: text.MOST]):
        result.found.offer("timestamp", times.of(dated[1], near), 200)


def _offer_tag(found: Found, tag: str | None) -> None:
    """A name in brackets: of a numbered machine or worker, of a thread, or of who logged."""
    machine = tag and _MACHINE.fullmatch(tag)
    if machine:
        found.offer("host", tag)
    if tag and (_THREAD.match(tag) or (machine and machine["kind"] == "worker") or "caller" in found.values):
        found.offer("worker", None if machine and machine["kind"] != "worker" else tag)
    elif not machine and tag and tag.lower() != "klaviyo":
        found.offer("caller", tag)


def _read_tail(result: Read) -> None:
    """JSON behind the message, or `key=value` pairs among it."""
    body = result.body
    brace = body.find("{")
    if 0 <= brace < text.MOST:
        end = body.rfind("}")
        data = load(body[brace : end + 1]) if end > brace else None
        if data is None and end > brace:
            data, end = _first_object(body, brace, end)
        if isinstance(data, dict):
            names = result.found.names
            walk(data, result.found)
            if data.get("type") == "timer":  # Singer's
                result.found.offer("duration", data.get("value"), 0, "s")
            join_base(result.found)
            result.found.names = names
            result.body = "\n".join([body[:brace], *result.found.texts, body[end + 1 :]])
            if "=" in body[end + 1 :]:
                _read_pairs(result, _PAIRS.findall(body[end + 1 :]))
            return
    if ": Str(" in body:
        _read_pairs(result, _PRINTED.findall(text.ends(body)))
        return
    limited = text.ends(body)
    if "&" in limited and _FORM.fullmatch(limited.strip()):
        _read_pairs(result, parse_qsl(limited.strip()))
        return
    if '<Data Name="' in limited:  # Windows' events
        _read_printed(result, _NAMED_DATA.findall(limited))
        return
    if _read_pairs(result, _PAIRS.findall(_SPAN.sub(" ", limited) if "}:" in limited else limited)):
        result.body = _LEVEL_PAIR.sub("", body.replace('\\"', '"').replace("\\n", "\n"))
        return
    _read_printed(
        result, (_EDN_PAIRS if "{:" in limited and "=>" not in limited else _PRINTED_PAIRS).findall(limited)
    )


def _first_object(body: str, begin: int, end: int) -> tuple[Any, int]:
    """The object that begins there, and its last character: of several, as Monolog writes them."""
    try:
        data, behind = _DECODER.raw_decode(body, begin)
    except (ValueError, RecursionError):
        return None, end
    return data, behind - 1


def _told(value: str) -> str:
    """Without its quotes, or the bracket that closes what it stands in."""
    bare = value.strip("\"'")
    if bare.startswith("Some("):  # Rust's
        return bare[5:].rstrip(")")
    return bare.rstrip(")]}>") if bare == value and not set("([{<") & set(bare) else bare


def _is_environment(pairs: list[tuple[str, str]]) -> bool:
    """`PORT=8080 KLAVIYO_RETRIES=3 …`; but COBOL and others shout whatever they say."""
    return all(key.isupper() for key, _ in pairs) and not any(
        key == "METHOD" and value.upper() in METHODS for key, value in pairs
    )


def _read_printed(result: Read, pairs: list[tuple[str, str]]) -> None:
    """What an object says that is printed in a text, if it tells of a call; any text may hold `error: …`."""
    if len(pairs) < _LOGFMT_PAIRS or _is_environment(pairs):
        return
    printed = Found()
    walk({key: value.strip("\"'") for key, value in reversed(pairs)}, printed)
    told = printed.values.keys() & _OF_A_CALL
    if len(told) >= _LOGFMT_PAIRS and ("url" not in told or is_known(printed.values["url"])):
        for name in told:
            result.found.offer(name, printed.values[name], printed.ranks[name] + 60, printed.keys[name])


def _read_pairs(result: Read, pairs: list[tuple[str, str]]) -> bool:
    if len(pairs) >= _LOGFMT_PAIRS and not _is_environment(pairs):
        walk({key: _told(value) for key, value in pairs}, result.found)
        result.found.names = frozenset()
        if result.found.keys.get("level") == "status":  # Datadog's level, but no pair's
            del result.found.values["level"], result.found.ranks["level"]
        return True
    return False
