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
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from klaviyo_nb.logs.formats import masking, times
from klaviyo_nb.logs.formats.alike import Calls, Memo
from klaviyo_nb.logs.formats.envelopes import opened
from klaviyo_nb.logs.formats.keys import INNER
from klaviyo_nb.logs.formats.masking import Read
from klaviyo_nb.logs.formats.objects import plans
from klaviyo_nb.logs.formats.table import Format
from klaviyo_nb.logs.formats.understand import Told, understand

#: A longer record is understood by itself [characters].
_LONGEST = 4_000
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
        return masking.outline(self.text), self.envelope and self.envelope.context

    def mask(self) -> Hashable:
        """The same for records of a form, and for no others."""
        return masking.mask(self.text), self.envelope and self.envelope.context

    def otherwise(self, numbers: Sequence[tuple[int, int]]) -> _Carried:
        """One of the same kind, with another digit wherever one may differ: in ids and in `numbers`."""
        around = self.envelope
        clocks = {key: masking.other_clock(around.data[key]) for key in around.clocks} if around else {}
        return self.saying(masking.otherwise(self.text, numbers), clocks)

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

    def __init__(
        self, near: datetime, about: bool, own: tuple[Format, ...] = (), most: int = _MOST_KINDS
    ) -> None:
        self._near, self._about, self._own, self._most = near, about, own, most
        self._forms: dict[Hashable, list[_Form]] = {}
        self._once: set[Hashable] = set()
        self._remembered = 0
        self._envelopes = Memo(_keys_of)

    def tell(self, raws: Sequence[bytes]) -> tuple[list[Calls], list[tuple[int, Told]]]:
        """Calls of kinds that are known, by column; and what each other record tells."""
        calls: dict[int, tuple[_Kind, list[int], list[str], list[Any]]] = {}
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
                if id(kind) not in calls:
                    calls[id(kind)] = kind, [], [], []
                _, rows, texts, clocks = calls[id(kind)]  # not the envelopes: they would fill the caches
                rows.append(row)
                texts.append(carried.text)
                clocks.append(carried.clock)
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
        return kind.uses & (kind.uses - 1) == 0 and kind.uses.bit_length() % 3 == 1  # 1, 8, 64, 512 ...

    def _calls(self, kind: _Kind, rows: list[int], texts: list[str], clocks: list[Any]) -> Calls:
        columns: dict[str, list[Any]] = {
            name: [value] * len(rows) for name, value in kind.told.fields.items()
        }
        for name, (span, read) in kind.spans.items():
            columns[name] = [read(text[span]) for text in texts]
        return Calls(rows, self._moments(kind, texts, clocks), columns)

    def _moments(self, kind: _Kind, texts: Sequence[str], clocks: Sequence[Any]) -> list[int | None]:
        if kind.clock:
            return [times.of(clock, self._near) for clock in clocks]
        if kind.time is not None:
            told = [text[kind.time] for text in texts]
            return [*(times.instants(told) or (times.of(each, self._near) for each in told))]
        return [kind.told.moment] * len(texts)

    def _recalled(self, kind: _Kind, carried: _Carried) -> Told:
        fields = {name: read(carried.text[span]) for name, (span, read) in kind.spans.items()}
        (moment,) = self._moments(kind, [carried.text], [carried.clock])
        return Told(kind.told.kind, moment, {**kind.told.fields, **fields})

    def _meet(self, form: _Form | None, groups: tuple[str, ...], carried: _Carried, told: Told) -> None:
        """Learn a form, and then a kind, when it is seen for the second time; doubt a kind that is known."""
        if self._remembered >= self._most:
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
        numbers, kept = masking.numbers(carried.text)
        clock = self._time(carried.text, told.moment) or slice(0, 0)
        days = [span for span in kept if clock.start <= span[0] and span[1] <= clock.stop]
        days = [span for span in days if masking.is_date(carried.text, span)]
        kept = [span for span in kept if span not in days]
        idle = [span for span in kept if len(kept) <= _MOST_TRIED and self._is_idle(carried, told, *span)]
        kept = [span for span in kept if span not in idle]
        form = _Form(masking.pattern(carried.text, kept, days), [*numbers, *days, *idle])
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
            found = masking.found(value, one.text, sure.fields[name], other.text)
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
