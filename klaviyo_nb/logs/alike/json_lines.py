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
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any, Final, NamedTuple

import numpy as np

from klaviyo_nb.logs.alike.grouping import Group, Grouping
from klaviyo_nb.logs.alike.ids import Urls, without_ids
from klaviyo_nb.logs.alike.layout import Cut, Layouts, coded
from klaviyo_nb.logs.coded import Coded, Numbers, Texts, together
from klaviyo_nb.logs.formats import table, text, times, values
from klaviyo_nb.logs.formats.answering import CALM, CLUES, FAILS_FROM, MERE, TROUBLE, answered_by
from klaviyo_nb.logs.formats.fits import is_ours
from klaviyo_nb.logs.formats.keys import RANK_OF_VALUE
from klaviyo_nb.logs.formats.objects import MOST_TEXTS
from klaviyo_nb.logs.formats.outcomes import UNANSWERED
from klaviyo_nb.logs.formats.places import place_of
from klaviyo_nb.logs.formats.understand import (
    CONVERT,
    MESSAGE,
    Kind,
    profile_in,
    search_duration,
    search_missing,
)
from klaviyo_nb.logs.found import Raws
from klaviyo_nb.sought import Sought

Convert = Callable[[Any, str], Any]
_MOST_REMEMBERED = 16_384
#: Stands for a value that fails the test of its key.
_UNFIT: Final = object()
#: Hardly two records agree on these: nothing is remembered.
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

    rows: Numbers
    moments: Sequence[int | None] | Numbers
    columns: Mapping[str, Coded | Texts]
    kind: Kind = "call"


class Alike:
    """Understands objects by column, and remembers values from one batch to the next."""

    def __init__(self, near: datetime, own: tuple[table.Format, ...] = ()) -> None:
        # `understand` knows what those keys mean.
        self._own = [each.has for each in own if each.has] + [each.has for each in table.special()]
        # The roles that share a column with a better one first.
        roles = [(role, name, convert) for role, (name, convert) in CONVERT.items()]
        self._roles = sorted(roles, key=lambda each: each[0] == each[1])
        self._near = near
        self._known: dict[tuple[str, str, type], Memo] = {}
        self._called = Memo(_called)
        self._layouts, self._grouping = Layouts(), Grouping()
        self._sought, self._took = Memo(_sought), Memo(_took)
        self._answered = Memo(_answered)
        self._clues = Sought([*map(re.escape, CLUES)], keep="answers")

    def calls(self, raws: Sequence[bytes]) -> Iterator[Calls]:
        """Calls among records that are whole JSON objects; those it leaves out are for `understand`."""
        given = Raws.of(raws)
        groups, left = self._layouts.groups(given)
        others = self._grouping.groups(given.only(left))
        for group in chain(groups, (each.among(left) for each in others)):
            if {"ended", "base"} & group.plan.roles.keys() or any(
                has <= group.plan.names for has in self._own
            ):
                continue
            if (told := self._calls(group)) is not None:
                yield told

    def _calls(self, group: Group) -> Calls | None:
        urls, methods = _urls(group), self._column(group, "method", _method)
        statuses = self._column(group, "status", _status)
        if urls is None or methods is None or statuses is None:
            return None
        called = together(urls.shapes, methods).map(self._called.__getitem__)
        sure = statuses.having(bool)
        for row in np.flatnonzero(sure & ~called.having(attrgetter("ours"))).tolist():
            sure[row] = called[row].surely(group.raws[row])
        if not sure.any():
            return None
        profiles = called.map(attrgetter("profile")).or_else(urls.profiles)
        if not sure.all():
            group, called, statuses = group.only(sure), called.only(sure), statuses.only(sure)
            profiles = profiles.only(sure)
        moments = self._moments(group)
        columns = self._columns(group, called, statuses, profiles)
        return None if columns is None or moments is None else Calls(group.rows, moments, columns)

    def _columns(
        self, group: Group, called: Coded, statuses: Coded, profiles: Coded | Texts
    ) -> dict[str, Any] | None:
        columns: dict[str, Any] = {
            "method": called.map(attrgetter("method")),
            "endpoint": called.map(attrgetter("endpoint")),
            "status_code": statuses,
            "profile_key": profiles,
            "message": _messages(group).map(lambda message: message[:MESSAGE]),
            "parsed": Coded.constant(table.of_object(group.plan.names) is not None, len(statuses)),
        }
        for role, name, convert in self._roles:
            if role in group.plan.roles:
                ids = _ids(group) if role == "request_id" else None
                told = ids or self._column(group, role, convert)
                if told is None:
                    return None
                columns[name] = told.or_else(columns.get(name))
        self._add_failures(group, columns)
        self._add_durations(group, columns)
        return columns

    def _add_durations(self, group: Group, columns: dict[str, Any]) -> None:
        """How long those successes took that no key tells of."""
        count = len(group.rows)
        durations = columns.get("duration_s", Coded.constant(None, count))
        worked = columns["status_code"].having(lambda status: status < FAILS_FROM)
        rows = np.flatnonzero(worked & durations.having(lambda told: told is None))
        if len(rows):
            took = _texts(group, rows).map(self._took_by)
            if any(told is not None for told in took.values):
                columns["duration_s"] = durations.or_else(took.among(rows, count))

    def _took_by(self, texts: Sequence[str]) -> float | None:
        return self._took[text.ends("\n".join(texts))] if any(map(text.may_time, texts)) else None

    def _add_failures(self, group: Group, columns: dict[str, Any]) -> None:
        """What a failed call's text tells beyond its keys, and who answered it."""
        statuses, count = columns["status_code"], len(group.rows)
        none = Coded.constant(None, count)
        levels = columns.get("level", none)
        failed = statuses.having(lambda status: status >= FAILS_FROM)
        rows = np.flatnonzero(failed | ~levels.having(CALM.__contains__))
        if not len(rows):
            return
        wrong = np.flatnonzero(failed | levels.having(TROUBLE.__contains__))
        if len(group.plan.texts) > 1 and len(wrong):
            said = _texts(group, wrong).map(lambda texts: text.of_failure(texts)[:MESSAGE] if texts else None)
            columns["message"] = said.among(wrong, count).or_else(columns["message"])
        if len(failing := np.flatnonzero(failed)):
            found = _texts(group, failing).map(lambda texts: self._sought[text.ends("\n".join(texts))])
            for name in {name for each in found.values for name in each}:
                told = found.map(methodcaller("get", name)).among(failing, count)
                columns[name] = columns.get(name, none).or_else(told)
        told = together(columns.get("error_code", none), statuses, levels).only(rows)
        by = self._answers(told, group.raws.only(rows))
        columns["answered_by"] = by.among(rows, count)

    def _answers(self, told: Coded, raws: Raws) -> Coded:
        """Who answered each of the records, by what was told of it and by the words in it."""
        raws = Raws.cut(raws.data, raws.starts, raws.ends)
        clues, words = self._clues.ends(raws.data), np.zeros(len(raws), np.int64)
        if not clues:
            return together(told).map(self._answered.__getitem__)
        numbers, ends = np.array(clues).T
        np.bitwise_or.at(words, np.searchsorted(raws.ends, ends), 1 << numbers)
        by = together(told, Coded.of(words.tolist())).map(self._answered.__getitem__)
        unsure = np.flatnonzero((words >= 1 << MERE) | ((words > 0) & (raws.ends - raws.starts > text.MOST)))
        if not len(unsure):
            return by
        answers = list(by)
        for row in unsure.tolist():
            answers[row] = answered_by(raws[row].decode(), *told[row])
        return Coded.of(answers)

    def _column(self, group: Group, role: str, convert: Convert) -> Coded | None:
        """A role's values, converted; None if they stand now under this key, now under that."""
        candidates = group.plan.roles.get(role, ())
        for place, name, _, fits in candidates:
            column = coded(group.columns[place])
            taken = Coded(
                column.codes, self._taken(column.values, role, name, partial(_taken, fits, convert, name))
            )
            if _UNFIT not in taken.values:
                return taken
            if place == candidates[-1][0]:
                return taken.map(lambda value: None if value is _UNFIT else value)
            if any(value is not _UNFIT for value in taken.values):
                return None
        return Coded.constant(None, len(group.rows))

    def _moments(self, group: Group) -> Sequence[int | None] | Numbers | None:
        """Their times; None if they stand now under this key, now under that."""
        candidates = group.plan.roles.get("timestamp", ())
        named = candidates and candidates[0][2] < RANK_OF_VALUE
        if named and (at_once := _at_once(group.columns[candidates[0][0]])) is not None:
            return at_once
        column = self._column(group, "timestamp", lambda value, key: times.of(value, self._near))
        return None if column is None else list(column)

    def _taken(
        self, values: Sequence[Any], role: str, name: str, take: Callable[[Any], Any]
    ) -> Sequence[Any]:
        kinds = set(map(type, values)) - {type(None)}
        if role in _ALL_DIFFER or len(kinds) != 1:  # to a dictionary, True is 1 and 1.0
            return list(map(take, values))
        key = role, name, kinds.pop()
        if key not in self._known:
            self._known[key] = Memo(take)
        return list(map(self._known[key].__getitem__, values))


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


def _called(pair: tuple[Any, str | None]) -> _Called:
    url, method = pair
    if not isinstance(url, str) or not url:
        return _Called("none", None, None, None)
    where = place_of(url, method, speaks=True)
    ours = where.place == "api" and where.method is not None
    return _Called(where.place, where.method, where.template, profile_in(where.path), ours)


def _answered(told: tuple[Any, ...]) -> str | None:
    """Who answered by code, status, level, and which of the clues were met, as bits."""
    (code, status, level), *met = told
    words = [word.decode() for at, word in enumerate(CLUES[:MERE]) if met and met[0] >> at & 1]
    return answered_by("\n".join(words), code, status, level)


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


def _urls(group: Group) -> Urls | None:
    """The URLs, one of Klaviyo's before any other; None if they stand now under this key, now under that."""
    columns = []
    for place, _, _, fits in group.plan.roles.get("url", ()):
        urls = without_ids(group.columns[place])
        shapes = _fitting(urls.shapes, fits)
        if shapes is not None:
            columns.append(urls._replace(shapes=shapes))
            if all(map(is_ours, shapes.values)):
                return columns[-1]
    return columns[0] if len(columns) == 1 else None


def _fitting(column: Coded, fits: Callable[[Any], bool]) -> Coded | None:
    """None for what the key is not meant for; None for all of it if that is all."""
    fitting = column.map(lambda value: value if fits(value) else None)
    return None if set(fitting.values) == {None} else fitting


def _texts(group: Group, rows: Numbers) -> Coded:
    """The texts of some rows, as lists."""
    columns = [coded(group.columns[place]) for place in group.plan.texts]
    if not columns:
        return Coded.constant([], len(rows))
    found = together(*columns).only(rows)
    return found.map(lambda texts: [each for each in texts if type(each) is str and each][:MOST_TEXTS])


def _messages(group: Group) -> Coded:
    first = coded(group.columns[group.plan.texts[0]] if group.plan.texts else ("",) * len(group.rows))
    if set(map(type, first.values)) == {str} and "" not in first.values:
        return first
    texts = _texts(group, np.arange(len(group.rows)))
    told = zip(texts, group.raws, strict=True)
    return Coded.of([each[0] if each else raw.decode().strip("\ufeff\0\r\n \t") for each, raw in told])


def _ids(group: Group) -> Texts | None:
    """Ids that are all UUIDs."""
    column = group.columns[group.plan.roles["request_id"][0][0]]
    return column.uuids if isinstance(column, Cut) else None


def _at_once(column: Any) -> Numbers | None:
    """Times that are all written in the fastest loggers' way, to microseconds; else None."""
    if not isinstance(column, Cut):
        return None
    if (numbers := column.whole) is not None:
        low, high = int(numbers.min()), int(numbers.max())
        milliseconds = (times.epoch(low), times.epoch(high)) == (low * 1_000, high * 1_000)
        return numbers * 1_000 if milliseconds else None
    return None if column.letters is None else times.in_columns(column.letters)


def _status(value: Any, key: str) -> int | None:
    status = values.status(value)
    return None if status in UNANSWERED else status


def _method(value: Any, key: str) -> str | None:
    return values.method(value)
