"""Many JSON objects by column: those with the same keys, at any depth, become a group.

An application's lines are alike, and what is done to a column costs a fraction of what is done to each value.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import orjson

from klaviyo_nb.logs.coded import Numbers
from klaviyo_nb.logs.formats.keys import meanings
from klaviyo_nb.logs.formats.objects import Plan, Shape, holds_json, is_pair, plans
from klaviyo_nb.logs.found import Raws
from klaviyo_nb.sought import Sought

Column = Sequence[Any]
#: A group of more objects in one another, or of more columns, is left alone.
_DEEPEST, _MOST_COLUMNS = 12, 100
_HOLDERS = frozenset((dict, list))
#: How a text begins in an object that may be JSON itself.
_MARKS = (b'"{', b'"[', b'"\\u')


@dataclass(frozen=True, slots=True)
class Group:
    """Objects with the same keys.

    Attributes:
        plan: What the keys mean; its places count the columns.
        rows: Which of the given records they are.
        raws: Their bytes.
        columns: Their values by key; those of inner objects behind those of outer ones.
    """

    plan: Plan
    rows: Numbers
    raws: Raws
    columns: Sequence[Any]

    def only(self, wanted: Numbers) -> Group:
        """The rows that are wanted."""
        columns = [
            list(compress(each, wanted)) if isinstance(each, list | tuple) else each.only(wanted)
            for each in self.columns
        ]
        return Group(self.plan, self.rows[wanted], self.raws.only(wanted), columns)

    def among(self, rows: Numbers) -> Group:
        """The same where the given records are those `rows` of others."""
        return Group(self.plan, rows[self.rows], self.raws, self.columns)


@dataclass(slots=True)
class _Opening:
    """Objects with the same keys as far as they were opened.

    Attributes:
        rows: Which of the given records they are.
        columns: Their values.
        names: Of each column, the name of its object and its key.
        shape: Keys of every object that was opened, behind its name.
        at: Columns before it hold plain values only.
    """

    rows: Sequence[int]
    columns: Sequence[Column]
    names: list[tuple[str, str]]
    shape: list[tuple[str, ...]]
    at: int = 0

    def those(self, wanted: Callable[[Any], bool]) -> _Opening:
        """Of those whose value in the column at hand is wanted."""
        chosen = list(map(wanted, self.columns[self.at]))
        columns = [list(compress(column, chosen)) for column in self.columns]
        return _Opening(list(compress(self.rows, chosen)), columns, self.names, self.shape, self.at)

    def opened(self, keys: tuple[str, ...]) -> _Opening:
        """With the objects in the column at hand opened, all of which have these keys."""
        inner = list(zip(*[each.values() for each in self.columns[self.at]], strict=True))
        name = meanings[self.names[self.at]][0]
        columns = [*self.columns, *inner]
        columns[self.at] = [None] * len(self.rows)
        names = [*self.names, *((name, key) for key in keys)]
        return _Opening(self.rows, columns, names, [*self.shape, (name, *keys)], self.at + 1)


class Grouping:
    """Groups objects. One thread uses it at a time."""

    def __init__(self) -> None:
        self._marks = Sought([*map(re.escape, _MARKS)])

    def groups(self, raws: Sequence[bytes]) -> Iterator[Group]:
        """Groups of records that are whole JSON objects. Objects with lists in them are left out."""
        given, raws = Raws.of(raws), list(raws)
        objects = _all_loaded(raws)
        marked = self._marks.among(raws)
        alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row, keys in enumerate(map(tuple, objects)):
            alike[keys].append(row)
        for keys, own in alike.items():
            columns: list[Column] = list(zip(*[objects[row].values() for row in own], strict=True))
            outer = _Opening(own, columns, [("", key) for key in keys], [("", *keys)])
            for table in _opened(outer, marked):
                shape: Shape = keys if len(table.shape) == 1 else tuple(table.shape)
                rows = np.array(table.rows)
                yield Group(plans[shape], rows, given.only(rows), table.columns)


def _all_loaded(raws: Sequence[bytes]) -> list[dict[str, Any]]:
    try:
        return list(map(orjson.loads, raws))  # nearly always, and faster than asking one by one
    except orjson.JSONDecodeError:
        return list(map(_loaded, raws))


def _loaded(raw: bytes) -> dict[str, Any]:
    try:
        return orjson.loads(raw)  # type: ignore[no-any-return]
    except orjson.JSONDecodeError:
        return {}


def _opened(outer: _Opening, marked: Sequence[bool]) -> Iterator[_Opening]:
    """`outer` with all objects in it opened; one for each set of keys."""
    left = [outer] if outer.columns else []
    while left:
        table = left.pop()
        more = _opened_once(table, any(map(marked.__getitem__, table.rows)))
        if more is None:
            yield table
        else:
            left += [
                each
                for each in more
                if each.rows and len(each.shape) <= _DEEPEST and len(each.columns) <= _MOST_COLUMNS
            ]


def _opened_once(table: _Opening, marked: bool) -> list[_Opening] | None:
    """The first column with objects in it opened; None if there is none."""
    for at in range(table.at, len(table.columns)):
        kinds = set(map(type, table.columns[at]))
        table.at = at
        if marked and str in kinds and any(map(holds_json, table.columns[at])):
            return [table.those(lambda value: not holds_json(value))]
        if kinds.isdisjoint(_HOLDERS):
            continue
        if kinds != {dict}:
            return [
                table.those(lambda value: type(value) is dict),
                table.those(lambda value: type(value) not in _HOLDERS),
            ]
        if is_pair(table.shape[0][1:]):
            return []
        keys = list(map(tuple, table.columns[at]))
        if len(set(keys)) > 1:
            return [table.those(lambda value, own=own: tuple(value) == own) for own in dict.fromkeys(keys)]  # type: ignore[misc]
        return [] if is_pair(keys[0]) else [table.opened(keys[0])]
    return None
