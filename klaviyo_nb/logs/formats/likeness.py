"""Lines like one that was understood before: read by what was learnt from that one, many times faster.

A service writes the same few lines over and over; only times, numbers and ids differ. Records are alike if
they agree in every other character. `understand` is asked about a record of a new kind, and again about the
same record with other digits: what stayed is a constant of the kind; what changed is found in the text by its
place, for alike records have equal lengths. If something that changed is not found there, `understand` goes
on being asked about that kind; and it is asked again about records of each kind now and then, less and less
often, to see that it still agrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from klaviyo_nb.logs.formats import times, values
from klaviyo_nb.logs.formats.alike import Calls, Memo
from klaviyo_nb.logs.formats.envelopes import opened
from klaviyo_nb.logs.formats.keys import INNER, plans
from klaviyo_nb.logs.formats.table import Format
from klaviyo_nb.logs.formats.understand import Told, understand

#: Long words with a digit in them are ids; what differs in them is not looked at.
_LONG = re.compile(r"[\w-]{16,}", re.ASCII)
#: Numbers of workers and processes, as in `worker-3` and `shop[17]`: too short for a status.
_COUNTER = re.compile(r"-(?<![0-9]-)[0-9]{1,2}(?![\w.:-])|\[[0-9]{1,2}\]", re.ASCII)
#: Numbers with their unit, clock times, dates. Some must be the same in records that are alike: short ones (a
#: status, an attempt, the number of an error) and dates (a revision is one).
_NUMBER = re.compile(r"\d+(?:[.:,-]\d+)*(?: m?s\b|[A-Za-z]*)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)")
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SHORT, _LONGEST = 3, 4_000
_NO_DIGITS = str.maketrans("123456789", "000000000")
_NO_ID = str.maketrans("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "x" * 62)
_DIGITS = re.compile(r"\d", re.ASCII)
#: Kinds that are remembered, and those that were seen once.
_MOST_KINDS = 8_192

Read = Callable[[str], Any]


class _Envelope(NamedTuple):
    """What is around a text: its values, the keys of the text and of times, and what the others tell."""

    data: dict[str, Any]
    inner: str
    clocks: tuple[str, ...]
    context: Hashable


class _Carried(NamedTuple):
    """A record taken apart: what the application wrote, and the envelope that carried it, if any."""

    text: str
    envelope: _Envelope | None

    @property
    def clock(self) -> Any:
        """The time that the envelope tells."""
        return self.envelope.data[self.envelope.clocks[0]] if self.envelope and self.envelope.clocks else None

    def key(self) -> Hashable:
        """The same for records that are alike."""
        masked = _without_names(self.text)
        kept = tuple(
            [number for number in _NUMBER.findall(masked) if len(number) <= _SHORT or _is_kept(number)]
        )
        return masked.translate(_NO_DIGITS), kept, self.envelope and self.envelope.context

    def otherwise(self) -> _Carried:
        """One that is alike, with another digit wherever one may differ."""
        text = _otherwise(self.text)
        if self.envelope is None:
            return _Carried(text, None)
        data = self.envelope.data
        clocks = {key: _other_clock(data[key]) for key in self.envelope.clocks}
        return _Carried(text, self.envelope._replace(data={**data, self.envelope.inner: text, **clocks}))

    def raw(self) -> bytes:
        """The record's bytes."""
        return orjson.dumps(self.envelope.data) if self.envelope else self.text.encode()


@dataclass(slots=True)
class _Kind:
    """What was learnt of a kind of records.

    Attributes:
        told: What one of them told.
        spans: Column → where its value stands in the text, and how it is read.
        time: Where the time stands in the text; None: it is no part of the text.
        clock: Does the envelope tell the time?
        uses: So often it was relied upon.
    """

    told: Told
    spans: dict[str, tuple[slice, Read]]
    time: slice | None = None
    clock: bool = False
    uses: int = 0


class Likeness:
    """Understands records, and remembers their kinds."""

    def __init__(self, near: datetime, about: bool, own: tuple[Format, ...] = ()) -> None:
        self._near, self._about, self._own = near, about, own
        self._kinds: dict[Hashable, _Kind | None] = {}
        self._once: set[Hashable] = set()
        self._envelopes = Memo(_keys_of)

    def tell(self, raws: Sequence[bytes]) -> tuple[list[Calls], list[tuple[int, Told]]]:
        """Calls of kinds that are known, by column; and what each other record tells."""
        calls: dict[int, tuple[_Kind, list[int], list[_Carried]]] = {}
        others: list[tuple[int, Told]] = []
        for row, raw in enumerate(raws):
            carried = self._taken_apart(raw)
            key = carried.key() if carried else None
            kind = self._kinds.get(key)
            if carried is None or kind is None or self._is_doubted(kind):
                told = understand(raw, self._near, self._about, self._own)
                if carried is not None:
                    self._meet(key, carried, told)
            elif kind.told.kind == "call":
                _, rows, alike = calls.setdefault(id(kind), (kind, [], []))
                rows.append(row)
                alike.append(carried)
                continue
            else:
                told = self._recalled(kind, carried)
            others.append((row, told))
        return [self._calls(*each) for each in calls.values()], others

    def _is_doubted(self, kind: _Kind) -> bool:
        kind.uses += 1
        return kind.uses & (kind.uses - 1) == 0  # 1, 2, 4, 8 ...

    def _calls(self, kind: _Kind, rows: list[int], alike: list[_Carried]) -> Calls:
        columns: dict[str, list[Any]] = {
            name: [value] * len(rows) for name, value in kind.told.fields.items()
        }
        for name, (span, read) in kind.spans.items():
            columns[name] = [read(carried.text[span]) for carried in alike]
        return Calls(rows, self._moments(kind, alike), columns)

    def _moments(self, kind: _Kind, alike: Sequence[_Carried]) -> list[int | None]:
        if kind.clock:
            return [times.of(carried.clock, self._near) for carried in alike]
        if kind.time is not None:
            return [times.of(carried.text[kind.time], self._near) for carried in alike]
        return [kind.told.moment] * len(alike)

    def _recalled(self, kind: _Kind, carried: _Carried) -> Told:
        fields = {name: read(carried.text[span]) for name, (span, read) in kind.spans.items()}
        return Told(kind.told.kind, self._moments(kind, [carried])[0], {**kind.told.fields, **fields})

    def _meet(self, key: Hashable, carried: _Carried, told: Told) -> None:
        """Learn a kind when it is seen for the second time; doubt one that is known."""
        known = self._kinds.get(key)
        if known is not None and self._recalled(known, carried) != told:
            self._kinds[key] = None
        if key in self._kinds:
            return
        if len(self._kinds) >= _MOST_KINDS or len(self._once) >= _MOST_KINDS:
            self._kinds.clear()
            self._once.clear()
        if key not in self._once:
            self._once.add(key)
            return
        other = carried.otherwise()
        sure = understand(other.raw(), self._near, self._about, self._own)
        kind = self._learnt(carried, told, other, sure)
        learnt = kind is not None and other.key() == key and self._recalled(kind, other) == sure
        self._kinds[key] = kind if learnt else None

    def _learnt(self, one: _Carried, told: Told, other: _Carried, sure: Told) -> _Kind | None:
        if told.kind != sure.kind or told.fields.keys() != sure.fields.keys():
            return None
        kind = _Kind(told, {})
        if told.moment != sure.moment:
            kind.time = self._time(one.text, told.moment)
            kind.clock = kind.time is None
        for name, value in told.fields.items():
            if value == sure.fields[name]:
                continue
            found = _found(value, one.text, sure.fields[name], other.text)
            if found is None:
                return None
            kind.spans[name] = found
        return kind

    def _taken_apart(self, raw: bytes) -> _Carried | None:
        """None: it is too long, or not plain enough."""
        if len(raw) > _LONGEST:
            return None
        try:
            if raw[:1] == b"{" and b"\n" not in raw.rstrip() and opened(raw):
                return self._unwrapped(orjson.loads(raw), b"klaviyo" in raw.lower())
            return _Carried(raw.decode(), None)
        except ValueError:  # it is neither JSON nor UTF-8
            return None

    def _unwrapped(self, data: dict[str, Any], speaks: bool) -> _Carried | None:
        """The text in an envelope of plain values."""
        shape, told = tuple(data), tuple(data.values())
        inner, clocks, places = self._envelopes[shape]
        if inner is None or type(data[inner]) is not str or not {dict, list}.isdisjoint(map(type, told)):
            return None
        context = shape, tuple([told[place] for place in places]), speaks
        return _Carried(data[inner], _Envelope(data, inner, clocks, context))

    def _time(self, text: str, moment: int | None) -> slice | None:
        found = times.search(text[:200], self._near)
        if found is None or found[0] != moment:
            return None
        span = slice(found[1], found[2])
        return span if times.of(text[span], self._near) == moment else None


class _Keys(NamedTuple):
    """Of envelopes with certain keys: which stands for what, and the places of all that is told."""

    inner: str | None
    clocks: tuple[str, ...]
    places: tuple[int, ...]


def _keys_of(shape: tuple[str, ...]) -> _Keys:
    plan = plans[shape]
    inner = next((key for key in INNER if key in shape), None)
    clocks = tuple(shape[place] for place, *_ in plan.roles.get("timestamp", ()))
    places = {place for role in plan.roles.values() for place, *_ in role} | set(plan.texts)
    return _Keys(
        inner, clocks, tuple(place for place in sorted(places) if shape[place] not in (*clocks, inner))
    )


def _without_names(text: str) -> str:
    """With `x` for ids and the numbers of workers and processes; as long as before."""
    return _COUNTER.sub(_masked, _LONG.sub(_masked, text))


def _masked(word: re.Match[str]) -> str:
    found = word[0]
    return found.translate(_NO_ID) if _DIGITS.search(found) else found


def _is_kept(number: str) -> bool:
    """Is it one of those that alike records have in common?"""
    return len(number) <= _SHORT or number[1] not in "0123456789.:,-" or _DATE.match(number) is not None


def _otherwise(text: str) -> str:
    """A record alike, with another digit wherever one may differ."""
    masked = _without_names(text)
    spans = [found.span() for found in _NUMBER.finditer(masked) if not _is_kept(found[0])]
    letters = [_other_digit(char, at) if masked[at] == "x" else char for at, char in enumerate(text)]
    for start, end in spans:
        for place in _changeable(text, start, end):
            letters[place] = _other_digit(text[place], place)
        for clock in _CLOCK.finditer(text, start, end):
            letters[clock.end(1) - 1] = str((int(text[clock.end(1) - 1]) + 1) % 4)
    return "".join(letters)


def _other_digit(char: str, place: int) -> str:
    return str((int(char) + 1 + place % 7) % 10) if "0" <= char <= "9" else char


def _changeable(text: str, start: int, end: int) -> Iterator[int]:
    """Digits of a number that may be others, so that it stays a number of its sort or a valid time."""
    clock = _CLOCK.search(text, start, end)
    if clock:
        yield from (clock.end(2) - 1, clock.end(3) - 1)
        yield from (
            place
            for place in range(clock.end(), end)
            if text[place].isdigit() and text[place - 1] not in "+-"
        )
        return
    epoch = 4 if end - start >= len("1795410000") and text[start] == "1" else 1
    yield from (
        place for place in range(start + epoch, end) if text[place].isascii() and text[place].isdigit()
    )


def _other_clock(clock: Any) -> Any:
    if isinstance(clock, str):
        return _otherwise(clock)
    return clock + 1 if isinstance(clock, int | float) else clock


def _found(value: Any, text: str, other_value: Any, other: str) -> tuple[slice, Read] | None:
    """Where `value` stands in the text and how it is read; the same gives the other text's other value."""
    for span, read in _places(value, text):
        if read(text[span]) == value and read(other[span]) == other_value:
            return span, read
    return None


def _places(value: Any, text: str) -> Iterator[tuple[slice, Read]]:
    if isinstance(value, str):
        yield from ((span, str) for span in _occurrences(value, text))
        return
    if isinstance(value, float):
        for found in _PLAIN_NUMBER.finditer(text):
            for unit in ("s", "ms", "us", "ns"):
                yield slice(*found.span()), _SECONDS[unit]
    elif isinstance(value, int):
        yield from ((slice(*found.span()), int) for found in re.finditer(r"\d+", text))


def _in(unit: str) -> Read:
    return lru_cache(4_096)(lambda text: values.seconds(text, "", unit))


_SECONDS = {unit: _in(unit) for unit in ("s", "ms", "us", "ns")}


def _occurrences(part: str, text: str) -> Iterator[slice]:
    at = text.find(part)
    while at >= 0:
        yield slice(at, at + len(part))
        at = text.find(part, at + 1)
