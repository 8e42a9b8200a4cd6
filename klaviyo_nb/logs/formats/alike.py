"""Many JSON objects at once, by column: what `understand` says of each of them, many times faster.

An application's lines are alike. Objects with the same keys share a plan (`objects`): each key's values
are taken as a whole, and a value that was seen before is not converted again. An object goes this way only if
it surely tells of a call: its URL or path is Klaviyo's and its status stands under a key. Of all others
`understand` decides; both say the same of the same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import compress
from typing import Any, Final, NamedTuple

from klaviyo_nb.logs.formats import table, text, times, values
from klaviyo_nb.logs.formats.answering import CALM, CLUES, FAILS_FROM, answered_by
from klaviyo_nb.logs.formats.grouping import Group, Grouping
from klaviyo_nb.logs.formats.keys import is_ours
from klaviyo_nb.logs.formats.objects import MOST_TEXTS
from klaviyo_nb.logs.formats.places import place_of
from klaviyo_nb.logs.formats.understand import (
    CONVERT,
    MESSAGE,
    Kind,
    profile_in,
    search_duration,
    search_missing,
)
from klaviyo_nb.sought import Sought

Column = list[Any]
Convert = Callable[[Any, str], Any]
_MOST_REMEMBERED = 16_384
#: Stands for a value that fails the test of its key.
_UNFIT: Final = object()
#: An id in a path: no word of the catalogue is written so.
_ID = re.compile(r"(?<![/:])/(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,64}(?=[/?#]|$)", re.ASCII)
#: Hardly two records agree on these: nothing is remembered, but a column that is plain is taken as a whole.
_ALL_DIFFER = frozenset(("timestamp", "request_id"))


class Memo(dict[Any, Any]):
    """Results of a function by its argument; bounded, for hostile logs never say the same twice."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, argument: Any) -> Any:
        if len(self) >= _MOST_REMEMBERED:
            self.clear()
        result = self[argument] = self._function(argument)
        return result


class Calls(NamedTuple):
    """Calls, or other things of one kind, told by alike records.

    Attributes:
        rows: Which of the given records they are.
        moments: Microseconds since 1970, or None.
        columns: Columns of the CALLS frame; those that are not there are missing.
        kind: What they tell of.
    """

    rows: Sequence[int]
    moments: Column
    columns: dict[str, Column]
    kind: Kind = "call"


class Alike:
    """Understands objects by column, and remembers values from one batch to the next."""

    def __init__(self, near: datetime, own: tuple[table.Format, ...] = ()) -> None:
        # `understand` knows what those keys mean.
        self._own = [each.has for each in own if each.has] + [each.has for each in table.special()]
        # The roles that share a column with a better one first.
        roles = [(role, name, convert) for role, (name, convert) in CONVERT.items()]
        self._roles = sorted(roles, key=lambda each: each[0] == each[1])
        self._roles.append(("timestamp", "moment", lambda value, key: times.of(value, near)))
        self._known: dict[tuple[str, str, type], Memo] = {}
        self._called = _CalledMemo()
        self._grouping = Grouping()
        self._sought = Memo(_sought)
        self._took = Memo(_took)
        self._clues = Sought([*map(re.escape, CLUES)])

    def calls(self, raws: Sequence[bytes]) -> Iterator[Calls]:
        """Calls among records that are whole JSON objects; those it leaves out are for `understand`."""
        for group in self._grouping.groups(raws):
            if {"ended", "base"} & group.plan.roles.keys() or any(
                has <= group.plan.names for has in self._own
            ):
                continue
            urls, methods = _urls(group), self._column(group, "method", _method)
            statuses = self._column(group, "status", _status)
            if urls is None or methods is None or statuses is None:
                continue
            called = [self._called[pair] for pair in zip(urls, methods, strict=True)]
            sure = [
                bool(status) and (of.ours or of.surely(raw))
                for status, of, raw in zip(statuses, called, group.raws, strict=True)
            ]
            if not any(sure):
                continue
            if not all(sure):
                group = group.only(sure)
                called, statuses = list(compress(called, sure)), list(compress(statuses, sure))
            if (columns := self._columns(group, called, statuses)) is not None:
                yield Calls(group.rows, columns.pop("moment"), columns)

    def _columns(self, group: Group, called: list[_Called], statuses: Column) -> dict[str, Column] | None:
        columns: dict[str, Column] = {
            "method": [of.method for of in called],
            "endpoint": [of.endpoint for of in called],
            "status_code": statuses,
            "profile_key": [of.profile for of in called],
            "message": [message[:MESSAGE] for message in _messages(group)],
            "parsed": [table.of_object(group.plan.names) is not None] * len(group.rows),
        }
        for role, name, convert in self._roles:
            if role in group.plan.roles or role == "timestamp":
                column = self._column(group, role, convert)
                if column is None:
                    return None
                columns[name] = _either(column, columns.get(name))
        levels = columns.get("level") or [None] * len(statuses)
        if max(statuses) >= FAILS_FROM or not CALM.issuperset(levels):
            self._add_failures(group, columns, levels)
        self._add_durations(group, columns)
        return columns

    def _add_durations(self, group: Group, columns: dict[str, Column]) -> None:
        """How long those successes took that no key tells of."""
        durations = columns.get("duration_s") or [None] * len(group.rows)
        if None not in durations:
            return
        timed = {
            row
            for place in group.plan.texts
            for row, told in enumerate(group.columns[place])
            if type(told) is str and text.may_time(told)
        }
        for row in timed:
            if durations[row] is None and columns["status_code"][row] < FAILS_FROM:
                durations[row] = self._took[text.ends("\n".join(_texts(group, row)))]
        if any(each is not None for each in durations):
            columns["duration_s"] = durations

    def _add_failures(self, group: Group, columns: dict[str, Column], levels: Column) -> None:
        """What a failed call's text tells beyond its keys, and who answered it."""
        count = len(group.rows)
        statuses = columns["status_code"]
        rows = [
            row
            for row, (status, level) in enumerate(zip(statuses, levels, strict=True))
            if status >= FAILS_FROM or level not in CALM
        ]
        for row in rows:
            if statuses[row] >= FAILS_FROM:
                for name, value in self._sought[text.ends("\n".join(_texts(group, row)))].items():
                    column = columns.setdefault(name, [None] * count)
                    if column[row] is None:
                        column[row] = value
        codes = columns.get("error_code") or [None] * count
        by = columns["answered_by"] = [None] * count
        raws = [group.raws[row] for row in rows]
        for row, raw, clued in zip(rows, raws, self._clues.among(raws), strict=True):
            by[row] = answered_by(raw.decode() if clued else "", codes[row], statuses[row], levels[row])

    def _column(self, group: Group, role: str, convert: Convert) -> Column | None:
        """A role's values, converted; None if they stand now under this key, now under that."""
        candidates = group.plan.roles.get(role, ())
        for place, name, _, fits in candidates:
            taken = self._taken(group.columns[place], role, name, partial(_taken, fits, convert, name))
            if _UNFIT not in taken:
                return taken
            if place == candidates[-1][0]:
                return [None if value is _UNFIT else value for value in taken]
            if any(value is not _UNFIT for value in taken):
                return None
        return [None] * len(group.rows)

    def _taken(self, column: Sequence[Any], role: str, name: str, take: Callable[[Any], Any]) -> Column:
        kinds = set(map(type, column))
        plain = _PLAIN.get((role, *kinds))
        if plain and (whole := plain(column)):
            return whole
        kinds.discard(type(None))
        if role in _ALL_DIFFER or len(kinds) != 1:  # to a dictionary, True is 1 and 1.0
            return list(map(take, column))
        key = role, name, kinds.pop()
        if key not in self._known:
            self._known[key] = Memo(take)
        return list(map(self._known[key].__getitem__, column))


class _Called(NamedTuple):
    """What a URL and a method name."""

    place: str
    method: str | None
    endpoint: str | None
    profile: str | None
    ours: bool = False

    def surely(self, raw: bytes) -> bool:
        """Is it a call to Klaviyo, if the record tells a status?"""
        return self.ours or (self.method is not None and self.place == "path" and b"klaviyo" in raw.lower())


class _CalledMemo(Memo):
    """What URL and method name. Paths that differ in an id differ in nothing else."""

    def __init__(self) -> None:
        super().__init__(self._named)
        self._alike = Memo(_called)

    def _named(self, pair: tuple[Any, str | None]) -> _Called:
        url, method = pair
        if not isinstance(url, str) or not _ID.search(url):
            return self._alike[pair]  # type: ignore[no-any-return]
        of: _Called = self._alike[_ID.sub("/0", url), method]
        return of._replace(profile=profile_in(url)) if "/profiles/" in url else of


def _called(pair: tuple[Any, str | None]) -> _Called:
    url, method = pair
    if not isinstance(url, str) or not url:
        return _Called("none", None, None, None)
    where = place_of(url, method, speaks=True)
    ours = where.place == "api" and where.method is not None
    return _Called(where.place, where.method, where.template, profile_in(where.path), ours)


def _sought(body: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    search_missing(found, body)
    return found


def _took(body: str) -> float | None:
    found: dict[str, Any] = {}
    search_duration(found, body)
    return found.get("duration_s")


def _taken(fits: Callable[[Any], bool], convert: Convert, name: str, value: Any) -> Any:
    return convert(value, name) if value is not None and value != "" and fits(value) else _UNFIT


def _urls(group: Group) -> Sequence[Any] | None:
    """The URLs, one of Klaviyo's before any other; None if they stand now under this key, now under that."""
    candidates = group.plan.roles.get("url", ())
    fitted = [_fitting(group.columns[place], fits) for place, _, _, fits in candidates]
    columns = [column for column in fitted if column is not None]
    if len(columns) > 1:
        ours = [column for column in columns if all(map(is_ours, column))]
        return ours[0] if ours else None
    return columns[0] if columns else None


def _fitting(column: Sequence[Any], fits: Callable[[Any], bool]) -> Sequence[Any] | None:
    """None for what the key is not meant for; None for all of it if that is all."""
    if all(map(fits, column)):
        return column
    fitting = [value if fits(value) else None for value in column]
    return fitting if any(value is not None for value in fitting) else None


def _texts(group: Group, row: int) -> list[str]:
    found = (group.columns[place][row] for place in group.plan.texts)
    return [each for each in found if type(each) is str and each][:MOST_TEXTS]


def _messages(group: Group) -> Sequence[str]:
    first = group.columns[group.plan.texts[0]] if group.plan.texts else ("",)
    if set(map(type, first)) == {str} and "" not in first:
        return first
    return [
        next(iter(_texts(group, row)), None) or raw.decode().strip("\ufeff\0\r\n \t")
        for row, raw in enumerate(group.raws)
    ]


def _epochs(column: Sequence[int]) -> Column | None:
    """Whole numbers of milliseconds since 1970, as the fastest loggers write, to microseconds."""
    low, high = times.epoch(min(column)), times.epoch(max(column))
    if low is None or high is None or (low, high) != (min(column) * 1_000, max(column) * 1_000):
        return None
    return [value * 1_000 for value in column]


def _ids(column: Sequence[str]) -> Column | None:
    """Ids that are all UUIDs."""
    length, hyphens = len("00000000-0000-4000-8000-000000000000"), (8, 13, 18, 23)
    whole = "".join(column).encode()
    if set(map(len, column)) != {length} or len(whole) != length * len(column):
        return None
    others = whole.translate(None, b"0123456789abcdefABCDEF")
    placed = all(whole[at::length].count(b"-") == len(column) for at in hyphens)
    return list(column) if placed and len(others) == len(hyphens) * len(column) else None


#: A role and the one type of its values → converts all of them at once, or gives None.
_PLAIN: Mapping[tuple[Any, ...], Callable[[Sequence[Any]], Column | None]] = {
    ("timestamp", int): _epochs,
    ("timestamp", str): times.instants,
    ("request_id", str): _ids,
}


def _either(column: Column, other: Column | None) -> Column:
    if other is None:
        return column
    return [second if first is None else first for first, second in zip(column, other, strict=True)]


def _status(value: Any, key: str) -> int | None:
    return values.status(value)


def _method(value: Any, key: str) -> str | None:
    return values.method(value)
