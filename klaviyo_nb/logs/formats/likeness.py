"""Lines like one that was understood before: read by what was learnt from that one, many times faster.

A service writes the same few lines over and over; only times, numbers and ids differ. Records with the same
form agree in every other character; those of a kind agree also in the short numbers that matter, such as a
status. `understand` is asked about a record of a new kind, and again about the same record with other digits:
what stayed is a constant of the kind; what changed is found in the text by its place, for alike records have
equal lengths. If something that changed is not found there, `understand` goes on being asked about that kind;
and it is asked again about records of each kind now and then, less and less often, to see that it still
agrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
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
#: Days that there are; but 29 February, which is a kind of its own.
_ANY_DAY = (
    "20[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|"
    "(?:0[13578]|1[02])-31)"
)
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)")
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SHORT, _LONGEST = 3, 4_000
_NO_DIGITS = str.maketrans("123456789", "000000000")
#: Stands for a letter or digit of an id.
_ANY = "\0"
_NO_ID = str.maketrans("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", _ANY * 62)
_DIGITS = re.compile(r"\d", re.ASCII)
#: Kinds that are remembered, with those that were seen once.
_MOST_KINDS = 8_192
#: Short numbers that mean something somewhere: statuses, numbers of errors, attempts. By their length.
_OTHER_NUMBERS = {
    1: ("1", "4", "6", "7"),
    2: ("11", "28", "35", "52", "60"),
    3: ("200", "404", "407", "429", "503", "525"),
}
#: Columns whose number may be read from its place; a status means more than its number.
_CARRIED = frozenset(("retry_after_s", "attempt"))
#: In a record with more of them none is tried.
_MOST_TRIED = 6

#: What hardly ever stays in alike records, and never alone tells two kinds apart.
_CHANGING = b"0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ"

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

    def outline(self) -> Hashable:
        """The same for records of a form, and for few others; takes a fiftieth of the time of `mask`."""
        stays = self.text.encode().translate(None, _CHANGING)
        return stays, len(self.text), self.envelope and self.envelope.context

    def mask(self) -> Hashable:
        """The same for records of a form, and for no others."""
        masked = _without_names(self.text).translate(_NO_DIGITS)
        return masked, self.envelope and self.envelope.context

    def otherwise(self, numbers: Sequence[tuple[int, int]]) -> _Carried:
        """One of the same kind, with another digit wherever one may differ: in ids and in `numbers`."""
        text = _otherwise(self.text, numbers)
        if self.envelope is None:
            return _Carried(text, None)
        clocks = {key: _other_clock(self.envelope.data[key]) for key in self.envelope.clocks}
        return self.saying(text, clocks)

    def saying(self, text: str, clocks: Mapping[str, Any] = MappingProxyType({})) -> _Carried:
        """The same with another text and other times."""
        if self.envelope is None:
            return _Carried(text, None)
        data = {**self.envelope.data, self.envelope.inner: text, **clocks}
        return _Carried(text, self.envelope._replace(data=data))

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


@dataclass(slots=True)
class _Form:
    """Records that agree in all but digits and ids.

    Attributes:
        pattern: What they match, and no others; a group for each number that tells kinds apart.
        numbers: Where the other numbers stand.
        kinds: What was learnt, by those groups; None: `understand` must be asked.
        once: Groups that were seen once.
    """

    pattern: re.Pattern[str]
    numbers: list[tuple[int, int]]
    kinds: dict[tuple[str, ...], _Kind | None] = field(default_factory=dict)
    once: set[tuple[str, ...]] = field(default_factory=set)


class Likeness:
    """Understands records, and remembers their kinds."""

    def __init__(self, near: datetime, about: bool, own: tuple[Format, ...] = ()) -> None:
        self._near, self._about, self._own = near, about, own
        self._forms: dict[Hashable, list[_Form]] = {}
        self._once: set[Hashable] = set()
        self._remembered = 0
        self._envelopes = Memo(_keys_of)

    def tell(self, raws: Sequence[bytes]) -> tuple[list[Calls], list[tuple[int, Told]]]:
        """Calls of kinds that are known, by column; and what each other record tells."""
        calls: dict[int, tuple[_Kind, list[int], list[_Carried]]] = {}
        others: list[tuple[int, Told]] = []
        for row, raw in enumerate(raws):
            carried = self._taken_apart(raw)
            if carried is None:
                others.append((row, self._understand(raw)))
                continue
            form, groups = self._form(carried)
            kind = form.kinds.get(groups) if form else None
            if kind is None or self._is_doubted(kind):
                told = self._understand(raw)
                self._meet(form, groups, carried, told)
            elif kind.told.kind == "call":
                _, rows, alike = calls.setdefault(id(kind), (kind, [], []))
                rows.append(row)
                alike.append(carried)
                continue
            else:
                told = self._recalled(kind, carried)
            others.append((row, told))
        return [self._calls(*each) for each in calls.values()], others

    def _understand(self, raw: bytes) -> Told:
        return understand(raw, self._near, self._about, self._own)

    def _form(self, carried: _Carried) -> tuple[_Form | None, tuple[str, ...]]:
        for form in self._forms.get(carried.outline(), ()):
            if found := form.pattern.fullmatch(carried.text):
                return form, found.groups()
        return None, ()

    def _is_doubted(self, kind: _Kind) -> bool:
        kind.uses += 1
        return kind.uses & (kind.uses - 1) == 0 and kind.uses.bit_length() % 2 == 1  # 1, 4, 16, 64 ...

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

    def _meet(self, form: _Form | None, groups: tuple[str, ...], carried: _Carried, told: Told) -> None:
        """Learn a form, and then a kind, when it is seen for the second time; doubt a kind that is known."""
        if self._remembered >= _MOST_KINDS:
            self._forms.clear()
            self._once.clear()
            self._remembered, form = 0, None
        if form is None:
            form = self._new_form(carried, told)
            if form is None:
                return
            found = form.pattern.fullmatch(carried.text)
            groups = found.groups() if found else ()
            form.once.add(groups)
        if groups in form.kinds:
            known = form.kinds[groups]
            if known is not None and self._recalled(known, carried) != told:
                form.kinds[groups] = None
            return
        self._remembered += 1
        if groups not in form.once:
            form.once.add(groups)
            return
        other = carried.otherwise(form.numbers)
        sure = self._understand(other.raw())
        kind = self._learnt(carried, told, other, sure)
        learnt = (
            kind is not None and self._form(other) == (form, groups) and self._recalled(kind, other) == sure
        )
        form.kinds[groups] = kind if learnt else None

    def _new_form(self, carried: _Carried, told: Told) -> _Form | None:
        """The form of a record, if one of that form was seen before."""
        mask = carried.mask()
        if mask not in self._once:
            self._once.add(mask)
            self._remembered += 1
            return None
        numbers, kept = _numbers(carried.text)
        clock = self._time(carried.text, told.moment) or slice(0, 0)
        days = [span for span in kept if clock.start <= span[0] and span[1] <= clock.stop]
        days = [span for span in days if _is_date(carried.text, span)]
        kept = [span for span in kept if span not in days]
        idle = [span for span in kept if len(kept) <= _MOST_TRIED and self._is_idle(carried, told, *span)]
        kept = [span for span in kept if span not in idle]
        form = _Form(_pattern(carried.text, kept, days), [*numbers, *days, *idle])
        self._forms.setdefault(carried.outline(), []).append(form)
        return form

    def _is_idle(self, carried: _Carried, told: Told, start: int, end: int) -> bool:
        """Would the record tell the same with any other short number here, or just that number?"""
        text = carried.text
        others = _OTHER_NUMBERS.get(end - start, ()) if text[start:end].isdecimal() else ()
        for other in others:
            sure = self._understand(carried.saying(text[:start] + other + text[end:]).raw())
            if (sure.kind, sure.moment, sure.fields.keys()) != (told.kind, told.moment, told.fields.keys()):
                return False
            changed = {name for name, value in told.fields.items() if value != sure.fields[name]}
            read = [(told.fields[name], sure.fields[name]) for name in changed & _CARRIED]
            if changed - _CARRIED - {"message"} or any(
                both != (float(text[start:end]), float(other)) for both in read
            ):
                return False
        return bool(others)

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
            if found is None or name == "status_code":  # more follows from a status than its number
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
    """With `_ANY` for ids and the numbers of workers and processes; as long as before."""
    return _COUNTER.sub(_masked, _LONG.sub(_masked, text))


def _numbers(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where numbers stand: those that differ in alike records, and those that they may have in common."""
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for found in _NUMBER.finditer(_without_names(text)):
        spans[_is_kept(found[0])].append(found.span())
    return spans


def _pattern(text: str, kept: Sequence[tuple[int, int]], days: Sequence[tuple[int, int]]) -> re.Pattern[str]:
    """What every record of the same form matches, and no other.

    Args:
        text: One of them.
        kept: Where numbers stand that tell kinds apart; each becomes a group.
        days: Where any date may stand.
    """
    masked = _without_names(text)
    begins, ends = {start for start, _ in kept}, {end for _, end in kept}
    numbers = {place for found in _NUMBER.finditer(masked) for place in range(*found.span())}
    parts: list[str] = []
    place = 0
    while place < len(text):
        char = text[place]
        parts.append(")" * (place in ends) + "(" * (place in begins))
        if any(start == place for start, _ in days):
            parts.append(_ANY_DAY)
            place += len("2026-11-23")
            continue
        digit = place in numbers and "0" <= char <= "9"
        parts.append("[0-9A-Za-z]" if masked[place] == _ANY else "[0-9]" if digit else re.escape(char))
        place += 1
    return re.compile("".join(parts) + ")" * (len(text) in ends))


def _masked(word: re.Match[str]) -> str:
    found = word[0]
    return found.translate(_NO_ID) if _DIGITS.search(found) else found


def _is_kept(number: str) -> bool:
    """Is it one of those that alike records have in common?"""
    return len(number) <= _SHORT or number[1] not in "0123456789.:,-" or _DATE.match(number) is not None


def _otherwise(text: str, numbers: Sequence[tuple[int, int]]) -> str:
    masked = _without_names(text)
    letters = [_other_digit(char, at) if masked[at] == _ANY else char for at, char in enumerate(text)]
    for start, end in numbers:
        if _is_date(text, (start, end)):  # another day, which every month has
            tens, ones = start + len("2026-11-"), start + len("2026-11-2")
            letters[tens : ones + 1] = text[tens].replace("3", "1"), str(int(text[ones]) % 8 + 1)
            continue
        for place in _changeable(text, start, end):
            letters[place] = _other_digit(text[place], place)
        for clock in _CLOCK.finditer(text, start, end):
            letters[clock.end(1) - 1] = str((int(text[clock.end(1) - 1]) + 1) % 4)
    return "".join(letters)


def _is_date(text: str, span: tuple[int, int]) -> bool:
    return _DATE.match(text, *span) is not None


def _other_digit(char: str, place: int) -> str:
    """Another digit; of equal numbers at different places hardly ever the same."""
    shift = 1 + (place * 2_654_435_761 >> 9) % 9
    return str((int(char) + shift) % 10) if "0" <= char <= "9" else char


def _changeable(text: str, start: int, end: int) -> Iterator[int]:
    """Digits of a number that may be others, so that it stays a number of its sort or a valid time."""
    if end - start <= _SHORT:
        yield from range(start, end)
        return
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
        return _otherwise(clock, _numbers(clock)[0])
    return clock + 1 if isinstance(clock, int | float) else clock


def _found(value: Any, text: str, other_value: Any, other: str) -> tuple[slice, Read] | None:
    """Where `value` stands in the text and how it is read; the same gives the other text's other value.

    None also for a number that stands at several places: nobody knows which is meant.
    """
    fits = [
        (span, read)
        for span, read in _places(value, text)
        if read(text[span]) == value and read(other[span]) == other_value
    ]
    return fits[0] if len(fits) == 1 or (fits and isinstance(value, str)) else None


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
