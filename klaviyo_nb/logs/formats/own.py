"""Formats of the user's own, from `[[log_format]]` of `klaviyo-nb.toml`: checked against their sample.

A format is a regular expression with the groups that `formats.toml` explains, or a map of fields to the keys
that carry them. It is tried before any that has a name here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.formats.keys import FIELDS
from klaviyo_nb.logs.formats.table import FLAGS, Format, spelt
from klaviyo_nb.logs.formats.understand import Told, understand

_KNOWN = frozenset(("name", "pattern", "keys", "sample", "fields", "access"))
_GROUPS = frozenset((*FIELDS, "time", "unit", "rest", "tag", "client")) - {"timestamp", "text"}
_KEYS = frozenset((*FIELDS, "duration_s", "duration_ms", "retry_after_s", "retry_after_ms")) - {"text"}
_EXAMPLE = (
    r"name = 'egress', pattern = '…(?P<status>\d{3})…' or keys = { status = 'st' }, sample = '…', "
    "fields = { status_code = 429 }"
)


def own_formats(tables: Sequence[Mapping[str, Any]]) -> tuple[Format, ...]:
    """Formats, each of which reads its sample as it says.

    Args:
        tables: As they stand in the file.

    Raises:
        UsageError: One is malformed, or its sample gives other fields. Names the format.
    """
    return tuple(_checked(number, table) for number, table in enumerate(tables, 1))


def _checked(number: int, table: Mapping[str, Any]) -> Format:
    where = f"klaviyo-nb.toml: log_format {table.get('name', number)!r}"
    unknown = sorted(set(table) - _KNOWN)
    if unknown:
        raise UsageError(f"{where}.{unknown[0]}", "no such setting", f"use {', '.join(sorted(_KNOWN))}")
    for name, kind in (("name", str), ("sample", str), ("fields", Mapping)):
        if not isinstance(table.get(name), kind) or not table[name]:
            raise UsageError(f"{where}.{name}", "is missing or of another type", _EXAMPLE)
    if ("pattern" in table) == ("keys" in table):
        raise UsageError(where, "needs a pattern for text, or keys for JSON", _EXAMPLE)
    made = _of_pattern(where, table) if "pattern" in table else _of_keys(where, table)
    _try(where, made, table)
    return made


def _of_pattern(where: str, table: Mapping[str, Any]) -> Format:
    try:
        pattern = re.compile(spelt(str(table["pattern"])), FLAGS)
    except re.error as exc:
        raise UsageError(
            f"{where}.pattern", f"is no regular expression: {exc}", "try it on the sample"
        ) from None
    unknown = sorted({name.rstrip("23") for name in pattern.groupindex} - _GROUPS)
    if unknown:
        known = ", ".join(sorted(_GROUPS))
        raise UsageError(f"{where}.pattern", f"nothing is called {unknown[0]!r}", f"name groups: {known}")
    return Format(table["name"], "", pattern, frozenset(), bool(table.get("access")))


def _of_keys(where: str, table: Mapping[str, Any]) -> Format:
    keys = table["keys"]
    if not isinstance(keys, Mapping) or not keys or not all(isinstance(key, str) for key in keys.values()):
        raise UsageError(f"{where}.keys", "is not a table of field = key", _EXAMPLE)
    unknown = sorted(set(keys) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise UsageError(f"{where}.keys.{unknown[0]}", "no such field", f"use one of: {known}")
    has = frozenset(key.split(".")[0] for key in keys.values())
    return Format(table["name"], "", None, has, bool(table.get("access")), keys=tuple(keys.items()))


def _try(where: str, made: Format, table: Mapping[str, Any]) -> None:
    sample = table["sample"]
    if made.pattern is not None and not made.pattern.match(sample.split("\n")[0]):
        raise UsageError(f"{where}.pattern", "does not match its sample", "mend the pattern or the sample")
    told = understand(sample.encode(), datetime.now(UTC), True, (made,))
    if told.kind != "call":
        raise UsageError(f"{where}.sample", "does not tell of a call", "give one with a status or an error")
    for name, wanted in table["fields"].items():
        found = _found(told, name)
        if not _same(found, wanted):
            raise UsageError(
                f"{where}.fields.{name}", f"the sample gives {found!r}, not {wanted!r}", "mend one of them"
            )


def _found(told: Told, name: str) -> Any:
    if name != "timestamp":
        return told.fields.get(name)
    return told.moment and datetime.fromtimestamp(told.moment / 1e6, UTC)


def _same(found: Any, wanted: Any) -> bool:
    """TOML writes times with an offset or without."""
    if isinstance(wanted, datetime):
        return bool(found == (wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC)))
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(found, wanted)
    return bool(found == wanted)
