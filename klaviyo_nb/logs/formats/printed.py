"""Values that stand printed in a text: JSON behind a message, `key=value`, printed objects."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats import text, times
from klaviyo_nb.logs.formats.fits import METHODS, is_known
from klaviyo_nb.logs.formats.objects import WORST, Found, join_base, load, walk

PAIRS = expression(
    r"""(?<![\w.])([A-Za-z_@][\w.@/-]{0,60})=>?(?::(?=[a-z]))?("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;]*)"""
)
#: A key and its value as languages print objects: `'k': 'v'`, `:k=>"v"`, `[k] => v`, `k = v`, `<k>v</k>`.
_PRINTED_PAIRS = expression(
    r"""(?<![\w.$@/-])([A-Za-z_][\w.-]{1,40}+)(?:["'\]]{0,2}\s{0,20}+(?:=>|[=:])\s{0,4}|>)"""
    r"""(?:\w{0,20}\([\w.=]{1,20}\) ){0,2}(?:\w{1,20}\((?=["'\d]))?[:<\[(]{0,2}"""
    r"""("[^"\n]*"|'[^'\n]*'|[^\s"'`,;|<>(){}\[\]]+)""",
    re.ASCII,
)
_EDN_PAIRS = expression(r""":([a-z][\w/-]{1,40}) :?("[^"\n]*"|[^\s",{}]+)""", re.ASCII)
_NAMED_DATA = expression(r"""<Data Name="([\w.-]{1,60})">([^<]{1,400})<""", re.ASCII)
#: What a form or a pixel sends: `a=1&b=2&c=3`, and nothing else.
_FORM = expression(r"[A-Za-z_][\w.%-]{0,60}=[^\s&]*(?:&[A-Za-z_][\w.%-]{0,60}=[^\s&]*){2,60}")
_LEVEL_PAIR = expression(r"\b(?:level|lvl|severity)=(?:\"[^\"]*\"|[^\s<>]*)")
_LOGFMT_PAIRS = 3
#: Of rows whose cells say what they are.
_SEPARATORS = ("\t", "|", ";")
_CELL = expression(r"[\"'\[]?([A-Za-z_@][\w.@-]{0,40})[\"']? ?(?:=>|[:=]) ?(.{1,2000})", re.ASCII)
_OF_A_CALL = frozenset(
    ("method", "url", "status", "duration", "retry_after", "level", "attempt", "error_code", "request_id")
)
#: Around the pairs of a span, `push{order=7}:`.
_SPAN = expression(r"\b\w+\{(?=\w+=)|\}:")
_RAN = expression(
    r"Start time\s{1,9}: ([\d-]{10} [\d:.]{8,18}) .{1,12}\n\s{0,9}End time\s{1,9}: ([\d-]{10} [\d:.]{8,18}) "
)
#: Attributes as OpenTelemetry's debug exporter prints them, and when a span began and ended.
_PRINTED = expression(r"-> ([\w.]{1,80}): (?:Str|Int|Double)\((.*)\)")
_DECODER = json.JSONDecoder(strict=False)


def offer_length(found: Found, began: Any, ended: Any) -> None:
    """How long something took that says when it began and when it ended."""
    first, last = times.instant(began), times.instant(ended)
    if first is not None and last is not None and last >= first:
        found.offer("duration", (last - first) / 1e6, 0, "durations")


def read_tail(found: Found, body: str) -> str:
    """Read what stands behind a message; the text in which more may be searched."""
    if (brace := body.find("{")) >= 0 and (left := _read_behind(found, body, brace)) is not None:
        return left
    limited = text.ends(body)
    if ": Str(" in body:
        _read_pairs(found, _PRINTED.findall(limited))
        if ran := _RAN.search(body):
            offer_length(found, ran[1], ran[2])
    elif "&" in limited and _FORM.fullmatch(limited.strip()):
        _read_pairs(found, parse_qsl(limited.strip()))
    elif cells := _cells(limited):
        _read_pairs(found, cells)
    elif '<Data Name="' in limited:  # Windows' events
        _read_printed(found, _NAMED_DATA.findall(limited))
    elif _read_pairs(found, PAIRS.findall(_SPAN.sub(" ", limited) if "}:" in limited else limited)):
        return _LEVEL_PAIR.sub("", body.replace('\\"', '"').replace("\\n", "\n"))
    else:
        edn = "{:" in limited and "=>" not in limited
        _read_printed(found, (_EDN_PAIRS if edn else _PRINTED_PAIRS).findall(limited))
    return body


def _cells(line: str) -> list[tuple[str, str]]:
    """A row whose cells name what they hold, but for two, such as LTSV; empty if it is none."""
    for separator in _SEPARATORS if "\n" not in line else ():
        if line.count(separator) < _LOGFMT_PAIRS:
            continue
        cells = [cell.strip() for cell in line.split(separator)]
        named = [(found[1], found[2]) for cell in cells if (found := _CELL.fullmatch(cell))]
        if len(named) >= max(_LOGFMT_PAIRS, len(cells) - 2):
            return named
    return []


def _read_behind(found: Found, body: str, brace: int) -> str | None:
    """JSON that begins there; the texts without it, or None if it is none."""
    end = body.rfind("}")
    if brace >= text.MOST or end < brace:
        return None
    data = load(body[brace : end + 1])
    if data is None:
        data, end = _first_object(body, brace, end)
    if not isinstance(data, dict):
        return None
    names = found.names
    walk(data, found)
    if data.get("type") == "timer":  # Singer's
        found.offer("duration", data.get("value"), 0, "s")
    join_base(found)
    found.names = names
    left = "\n".join([body[:brace], *found.texts, body[end + 1 :]])
    if "=" in body[end + 1 :]:
        _read_pairs(found, PAIRS.findall(body[end + 1 :]))
    return left


def _first_object(body: str, begin: int, end: int) -> tuple[Any, int]:
    """The object that begins there, and its last character: of several, as Monolog writes them."""
    try:
        data, behind = _DECODER.raw_decode(body, begin)
    except (ValueError, RecursionError):
        return None, end
    return data, behind - 1


def bare(value: str) -> str:
    """Without its quotes, or the bracket that closes what it stands in."""
    inside = value.strip("\"'")
    if inside.startswith("Some("):  # Rust's
        return inside[5:].rstrip(")")
    return inside.rstrip(")]}>") if inside == value and not set("([{<") & set(inside) else inside


def _is_environment(pairs: list[tuple[str, str]]) -> bool:
    """`PORT=8080 KLAVIYO_RETRIES=3 …`; but COBOL, journald's export and others shout whatever they say."""
    return all(key.isupper() for key, _ in pairs) and not any(
        key == "MESSAGE" or (key == "METHOD" and value.upper() in METHODS) for key, value in pairs
    )


def _read_printed(found: Found, pairs: list[tuple[str, str]]) -> None:
    """What an object says that is printed in a text, if it tells of a call; any text may hold `error: …`."""
    if len(pairs) < _LOGFMT_PAIRS or _is_environment(pairs):
        return
    printed = Found()
    walk({key: value.strip("\"'") for key, value in reversed(pairs)}, printed)
    told = printed.values.keys() & _OF_A_CALL
    if str(printed.values.get("method")).upper() not in METHODS:  # a class of that name
        told.discard("method")
    if len(told) >= _LOGFMT_PAIRS and ("url" not in told or is_known(printed.values["url"])):
        for name in told:
            found.offer(name, printed.values[name], printed.ranks[name] + 60, printed.keys[name])


def _read_pairs(found: Found, pairs: list[tuple[str, str]]) -> bool:
    if len(pairs) >= _LOGFMT_PAIRS and not _is_environment(pairs):
        level = found.values.get("level"), found.ranks.get("level", WORST)
        walk({key: bare(value) for key, value in pairs}, found)
        found.names = frozenset()
        if found.keys.get("level") == "status":  # Datadog's level, but no pair's
            found.values["level"], found.ranks["level"] = level
        return True
    return False
