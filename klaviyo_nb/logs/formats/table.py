"""The formats that have a name, from `formats.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from klaviyo_nb.expressions import expression

#: Of a format's pattern.
FLAGS = re.ASCII | re.DOTALL
_DIGITS = "0123456789"
_PARTS = {
    "{T}": r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})? ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?)?",
    "{L}": r"(?i:trace|debug|info|information|notice|warn|warning|err|error|severe|crit|critical|fatal|"
    "alert|panic)",
}


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        name: What people call it.
        spec: Where it is described.
        pattern: For text, matched at the start of a record's first line.
        has: For JSON, keys that a record of this format has.
        access: Is it a server's access log?
        begins: For text, characters of which a line's first is one; empty: any.
        ignore: For JSON, outermost keys that tell of something else, such as the request that came in.
        silent: Tells of no call, whatever it holds: a metric, an alert.
        by: Who reads what stands around or inside other formats; such a format is not looked for.
        keys: For JSON, field → the key that carries it, dotted where it is nested; beside the keys that are
            known by their name.
        samples: Text and the fields that must come of it; without fields it is not a call.
    """

    name: str
    spec: str
    pattern: re.Pattern[str] | None
    has: frozenset[str]
    access: bool
    by: str = ""
    begins: str = ""
    ignore: frozenset[str] = frozenset()
    silent: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    samples: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=(), compare=False)


@cache
def formats() -> tuple[Format, ...]:
    """All of them, the more telling first."""
    data = tomllib.loads(files(__package__).joinpath("formats.toml").read_text("utf-8"))
    return tuple(map(_format, data["format"]))


def of_text(line: str, own: tuple[Format, ...] = ()) -> tuple[Format, dict[str, str]] | None:
    """The format of a line of text, with what its groups caught; a digit at the end of a name is dropped.

    Args:
        line: The first of a record.
        own: Formats of the user, tried first.
    """
    for each in (*own, *_texts(line[:1])):
        if each.pattern is not None and (found := each.pattern.match(line)):
            return each, {
                name.rstrip("23"): text for name, text in found.groupdict().items() if text is not None
            }
    return None


@lru_cache(1024)
def of_object(keys: frozenset[str]) -> Format | None:
    """The format of a JSON object with these outermost keys."""
    return next((each for each in _objects() if each.has <= keys), None)


@lru_cache(256)
def _texts(first: str) -> tuple[Format, ...]:
    texts = (each for each in formats() if each.pattern is not None)
    return tuple(each for each in texts if not each.begins or first in each.begins)


@cache
def special() -> tuple[Format, ...]:
    """The JSON formats of which the names of the keys do not tell all."""
    return tuple(each for each in _objects() if each.keys or each.ignore or each.silent or each.access)


@cache
def _objects() -> tuple[Format, ...]:
    return tuple(sorted((each for each in formats() if each.has), key=lambda each: -len(each.has)))


def spelt(pattern: str) -> str:
    """A format's pattern, in which `{T}` and `{L}` stand for a time and a level."""
    for part, meaning in _PARTS.items():
        pattern = pattern.replace(part, meaning)
    return pattern


def _format(row: Mapping[str, Any]) -> Format:
    pattern = row.get("pattern")
    samples = tuple((sample["text"], sample.get("fields", {})) for sample in row["samples"])
    return Format(
        name=row["name"],
        spec=row["spec"],
        pattern=expression(spelt(pattern), FLAGS) if pattern else None,
        has=frozenset(row.get("has", ())),
        access=row.get("access", False),
        by=row.get("by", ""),
        begins=_DIGITS.join(row.get("begins", "").split("0-9")),
        ignore=frozenset(row.get("ignore", ())),
        silent=row.get("silent", False),
        keys=tuple(row.get("keys", {}).items()),
        samples=samples,
    )
