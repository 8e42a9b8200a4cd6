"""Tables: a first line that names the columns, as exports to CSV have, and W3C's `#Fields:`.

A row is read as the object that its header makes of it.

Sources:
    https://www.rfc-editor.org/rfc/rfc4180 · https://www.w3.org/TR/WD-logfile.html
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import orjson

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.keys import RANK_OF_VALUE, meanings

#: Of so many first lines of a source one may name the columns.
_FIRST = 6
_W3C = "#Fields:"
#: A header is no longer than this [characters].
_LONGEST = 2_000
#: `cs-method`, `sc-status`, `cs(User-Agent)`: who told whom is not told here.
_SIDES = expression(r"^(?:cs|sc|rs|sr|[csrx])(?:-|(?=\())|[()]")
_NAME = expression(r"\ufeff?\"?[A-Za-z_@][\w @.()/-]{0,60}(?: \[[A-Za-z ]{1,20}\])?\"?", re.ASCII)
_SEPARATORS = ("\t", ";", "|", ",")
#: A header names at least so many fields, so many of them such as tell of a call.
_FEWEST, _FEWEST_TOLD = 4, 3
_TOLD = frozenset(("timestamp", "method", "url", "status", "duration", "level", "text", "operation"))
_NOTHING = frozenset(("", "-"))
#: Of a row that is printed upright, as psql, mysql, PowerShell and YAML do: a name and its value; a rule.
_UPRIGHT = expression(r"\s{0,40}([A-Za-z_]\w{0,40})\s{0,40}[|:](?: (.{0,4000}(?<![,{\[])))?", re.ASCII)
_RULE = expression(r"\s*(?:-{3}|-\[|\*{3}).{0,200}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns, and what stands between their values."""

    names: tuple[str, ...]
    separator: str

    def row(self, line: str) -> bytes | None:
        """A line as a JSON object; None if it has other columns."""
        cells = _quoted(line, self.separator) if '"' in line else line.split(self.separator)
        if len(cells) != len(self.names) or "\n" in line:
            return None
        row = {name: cell.strip() for name, cell in zip(self.names, cells, strict=True)}
        row = {name: cell for name, cell in row.items() if cell not in _NOTHING}
        if "date" in row and "time" in row:
            row["time"] = f"{row.pop('date')} {row['time']}"
        path = next((row[name] for name in ("uri-stem", "uri-path") if name in row), None)
        if path and (host := row.get("host") or row.get("Host")):
            row["url"] = f"https://{host}{path}"
        return orjson.dumps(row)


def _quoted(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def columns_of(lines: Sequence[str]) -> Columns | None:
    """The header among the first lines of a source, if there is one."""
    for line in lines[:_FIRST]:
        if line.startswith(_W3C):
            names = line.removeprefix(_W3C).split()
            tabs = any("\t" in each for each in lines if not each.startswith("#"))
            return Columns(tuple(_SIDES.sub("", name) for name in names), "\t" if tabs else " ")
    first = lines[0].rstrip("\r\n") if lines else ""
    return _named(first) if len(first) <= _LONGEST else None


@lru_cache(256)
def _named(line: str) -> Columns | None:
    for separator in _SEPARATORS:
        if line.count(separator) < _FEWEST - 1:
            continue
        names = [name.strip() for name in line.split(separator)]
        if all(map(_NAME.fullmatch, names)):
            names = [name.strip('\ufeff"').partition(" [")[0] for name in names]  # its zone or unit
            carried = chain.from_iterable(meanings["", name][1] for name in names)
            roles = {role for role, rank, _ in carried if rank < RANK_OF_VALUE}
            if len(roles & _TOLD) >= _FEWEST_TOLD:
                return Columns(tuple(names), separator)
    return None


def upright(lines: Sequence[str]) -> bytes | None:
    """A row of which every line is a column and its value, as a JSON object; None if it is no such row."""
    row: dict[str, str] = {}
    for line in lines:
        if found := _UPRIGHT.fullmatch(line.rstrip("\r")):
            row.setdefault(found[1], (found[2] or "").strip().strip("'\""))
        elif not _RULE.fullmatch(line):
            return None
    row = {name: cell for name, cell in row.items() if cell not in _NOTHING}
    return orjson.dumps(row) if len(row) >= _FEWEST else None
