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

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from klaviyo_nb.logs.alike import masking
from klaviyo_nb.logs.alike.carried import Apart, Carried, bare
from klaviyo_nb.logs.alike.json_lines import Calls
from klaviyo_nb.logs.alike.masking import Letters, Read
from klaviyo_nb.logs.coded import Coded, Numbers, Texts
from klaviyo_nb.logs.formats import times
from klaviyo_nb.logs.formats.table import Format
from klaviyo_nb.logs.formats.understand import Told, understand

#: Kinds that are remembered, with those that were seen once.
_MOST_KINDS = 8_192
#: Of more forms with one outline, a record is compared with that of its mask only.
_MANY = 8
#: Short numbers that mean something somewhere: statuses, numbers of errors, attempts. By their length.
_OTHER_NUMBERS = {
    1: ("1", "4", "6", "7"),
    2: ("11", "28", "35", "52", "60"),
    3: ("200", "404", "407", "429", "503", "525"),
}
#: Columns whose number may be read from its place; a status means more than its number.
_CARRIED = frozenset(("retry_after_s", "attempt"))
#: Columns of which hardly two records have the same text.
_DIFFERING = frozenset(("message", "request_id"))
#: In a record with more of them none is tried.
_MOST_TRIED = 6


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

    @property
    def reads(self) -> Hashable:
        """What is read from where: the same for kinds that are told together."""
        spans = [(name, span.start, span.stop, read) for name, (span, read) in self.spans.items()]
        time = (self.time.start, self.time.stop) if self.time else None
        return self.told.kind, tuple(spans), time, self.clock

    def is_doubted(self, times: int) -> bool:
        """Is one of so many more uses the 1st, 8th, 64th … of all? Then the next one is that."""
        checked = 1 << 3 * ((self.uses.bit_length() + 2) // 3)
        doubted = self.uses + times >= checked
        self.uses = checked if doubted else self.uses + times
        return doubted


@dataclass(slots=True)
class _Form:
    """Records that agree in all but digits and ids.

    Attributes:
        mask: Of their texts.
        pattern: What they fit, and no others.
        numbers: Where the numbers stand that tell no kinds apart.
        kinds: What was learnt, by the numbers that do; None: `understand` must be asked.
        once: Such numbers that were seen once.
    """

    mask: str
    pattern: masking.Pattern
    numbers: list[tuple[int, int]]
    kinds: dict[bytes, _Kind | None] = field(default_factory=dict)
    once: set[bytes] = field(default_factory=set)


class _Alike(NamedTuple):
    """Records with one outline.

    Attributes:
        rows: Which of the given records they are.
        texts: What the application wrote.
        clocks: The times that their envelopes tell.
    """

    rows: list[int]
    texts: list[str]
    clocks: list[Any]

    def only(self, places: Sequence[int]) -> _Alike:
        """Some of them."""
        return _Alike(
            [self.rows[place] for place in places],
            [self.texts[place] for place in places],
            [self.clocks[place] for place in places],
        )


class _Telling(NamedTuple):
    """What records tell, while they are understood."""

    raws: Sequence[bytes]
    known: list[Calls]
    others: list[tuple[int, Told]]


class Likeness:
    """Understands records, and remembers their kinds."""

    def __init__(
        self, near: datetime, about: bool, own: tuple[Format, ...] = (), most: int = _MOST_KINDS
    ) -> None:
        self._near, self._about, self._own, self._most = near, about, own, most
        self._forms: dict[Hashable, list[_Form]] = {}
        self._once: set[Hashable] = set()
        self._remembered = 0
        self._apart = Apart()

    def tell(self, raws: Sequence[bytes]) -> tuple[list[Calls], list[tuple[int, Told]]]:
        """What records of known kinds tell, by column; and what each other one tells."""
        telling = _Telling(raws, [], [])
        alike: dict[Hashable, _Alike] = defaultdict(lambda: _Alike([], [], []))
        plain = bare(raws)
        for row, outline, text in zip(*plain, strict=True):
            rows, texts, clocks = alike[outline]
            rows.append(row)
            texts.append(text)
            clocks.append(None)
        for row in sorted({*range(len(raws))}.difference(plain.rows)):
            carried = self._apart.taken_apart(raws[row])
            if carried is None:
                telling.others.append((row, self._understand(raws[row])))
                continue
            # Not the envelopes: they would fill the caches.
            rows, texts, clocks = alike[carried.outline()]
            rows.append(row)
            texts.append(carried.text)
            clocks.append(carried.clock)
        for outline, each in alike.items():
            self._tell_alike(telling, outline, each)
        return telling.known, telling.others

    def _understand(self, raw: bytes) -> Told:
        return understand(raw, self._near, self._about, self._own)

    def _tell_alike(self, telling: _Telling, outline: Hashable, alike: _Alike) -> None:
        """Tell of records with one outline: those of known forms at once, the others one by one."""
        tried = 0
        while alike.rows:
            forms = self._forms.get(outline, [])
            if len(forms) > _MANY:
                return self._tell_by_mask(telling, outline, alike)
            for form in forms[tried:]:
                alike = self._tell_form(telling, form, alike)
            tried = len(forms)
            alike = self._tell_singly(telling, outline, alike)
        return None

    def _tell_by_mask(self, telling: _Telling, outline: Hashable, alike: _Alike) -> None:
        """The same where an outline has many forms: each record is compared with one of them only."""
        forms = {form.mask: form for form in self._forms[outline]}
        places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(alike.texts):
            places[masking.mask(text)].append(place)
        for mask, those in places.items():
            form, left = forms.get(mask), alike.only(those)
            if form is None:
                left = self._tell_singly(telling, outline, left)
                form = next((each for each in self._forms.get(outline, ())[-1:] if each.mask == mask), None)
            left = self._tell_form(telling, form, left) if form else left
            while left.rows:
                left = self._tell_singly(telling, outline, left)

    def _tell_singly(self, telling: _Telling, outline: Hashable, alike: _Alike) -> _Alike:
        """Tell of records one by one, until a form is learnt; those that are left."""
        count = len(self._forms.get(outline, ()))
        for place, row in enumerate(alike.rows):
            two = alike.texts[place : place + 2]
            several = len(two) > 1 and masking.mask(two[0]) == masking.mask(two[1])
            self._tell_one(telling, row, None, b"", several)
            if len(self._forms.get(outline, ())) > count:
                return alike.only(range(place + 1, len(alike.rows)))
        return alike.only([])

    def _tell_form(self, telling: _Telling, form: _Form, alike: _Alike) -> _Alike:
        """Tell of those that have the form; the others."""
        if not alike.rows:
            return alike
        letters = Letters.of(alike.texts)
        fits = form.pattern.fitting(letters)
        fitting = np.flatnonzero(fits)
        places: dict[bytes, list[int]] = defaultdict(list)
        for place, kept in zip(fitting.tolist(), form.pattern.kept(letters.only(fitting)), strict=True):
            places[kept].append(place)
        known: dict[Hashable, list[tuple[_Kind, list[int]]]] = defaultdict(list)
        for kept, those in places.items():
            kind, left = self._tell_kind(telling, form, kept, alike, those)
            if kind is not None:
                known[kind.reads].append((kind, left))
        for kinds in known.values():
            self._tell_known(telling, kinds, alike, letters)
        return alike.only(np.flatnonzero(~fits).tolist())

    def _tell_kind(
        self, telling: _Telling, form: _Form, kept: bytes, alike: _Alike, places: list[int]
    ) -> tuple[_Kind | None, list[int]]:
        """Tell of records of a kind while it is doubted; the kind, and those for which it is relied upon."""
        for done, place in enumerate(places):
            kind, left = form.kinds.get(kept), len(places) - done
            if kind is not None and not kind.is_doubted(left):
                return kind, places[done:]
            self._tell_one(telling, alike.rows[place], form, kept, left > 1)
        return None, []

    def _tell_known(
        self, telling: _Telling, kinds: list[tuple[_Kind, list[int]]], alike: _Alike, letters: Letters
    ) -> None:
        """Tell of records of one form, of kinds that read the same from the same places."""
        first = kinds[0][0]
        which = np.repeat(np.arange(len(kinds)), [len(places) for _, places in kinds])
        places = [place for _, those in kinds for place in those]
        alike, letters = alike.only(places), letters.only(places)
        if first.told.kind == "webhook":
            told = zip(which.tolist(), alike.texts, alike.clocks, strict=True)
            recalled = (self._recalled(kinds[kind][0], text, clock) for kind, text, clock in told)
            telling.others.extend(zip(alike.rows, recalled, strict=True))
            return
        names = dict.fromkeys(name for kind, _ in kinds for name in kind.told.fields)
        columns: dict[str, Coded | Texts] = {
            name: Coded(which, [kind.told.fields.get(name) for kind, _ in kinds]) for name in names
        }
        for name, (span, read) in first.spans.items():
            if not letters.plain:
                columns[name] = Coded.of([text[span] for text in alike.texts]).map(read)
            elif name in _DIFFERING and read is str:
                columns[name] = Texts(letters.texts(span))
            else:
                columns[name] = letters.coded(span).map(read)
        moments = self._moments(kinds, which, alike, letters)
        telling.known.append(Calls(np.array(alike.rows), moments, columns, first.told.kind))

    def _tell_one(self, telling: _Telling, row: int, form: _Form | None, kept: bytes, several: bool) -> None:
        """Understand a record, and learn from it; `several`: there are more such at hand."""
        raw = telling.raws[row]
        told = self._understand(raw)
        telling.others.append((row, told))
        if (carried := self._apart.taken_apart(raw)) is not None:
            self._meet(form, kept, carried, told, several)

    def _form(self, carried: Carried) -> tuple[_Form | None, bytes]:
        letters = Letters.of([carried.text])
        for form in self._forms.get(carried.outline(), ()):
            if form.pattern.fitting(letters)[0]:
                return form, form.pattern.kept(letters)[0]
        return None, b""

    def _moments(
        self, kinds: list[tuple[_Kind, list[int]]], which: Numbers, alike: _Alike, letters: Letters
    ) -> Sequence[int | None] | Numbers:
        first = kinds[0][0]
        if first.clock:
            return [times.of(clock, self._near) for clock in alike.clocks]
        if first.time is None:
            return list(Coded(which, [kind.told.moment for kind, _ in kinds]))
        told = letters.codes[:, first.time]
        if letters.plain and (moments := times.in_columns(told)) is not None:
            return moments
        return [times.of(text[first.time], self._near) for text in alike.texts]

    def _recalled(self, kind: _Kind, text: str, clock: Any) -> Told:
        fields = {name: read(text[span]) for name, (span, read) in kind.spans.items()}
        moment = kind.told.moment
        if kind.clock:
            moment = times.of(clock, self._near)
        elif kind.time is not None:
            moment = times.of(text[kind.time], self._near)
        return Told(kind.told.kind, moment, {**kind.told.fields, **fields})

    def _meet(self, form: _Form | None, kept: bytes, carried: Carried, told: Told, several: bool) -> None:
        """Learn a form, and then a kind, when there are two of it; doubt a kind that is known."""
        if self._remembered >= self._most:
            self._forms.clear()
            self._once.clear()
            self._remembered, form = 0, None
        if form is None:
            form = self._new_form(carried, told, several)
            if form is None:
                return
            (kept,) = form.pattern.kept(Letters.of([carried.text]))
            form.once.add(kept)
        if kept in form.kinds:
            known = form.kinds[kept]
            if known is not None and self._recalled(known, carried.text, carried.clock) != told:
                form.kinds[kept] = None
            return
        self._remembered += 1
        if not several and kept not in form.once:
            form.once.add(kept)
            return
        other = carried.otherwise(form.numbers)
        sure = self._understand(other.raw())
        kind = self._learnt(carried, told, other, sure)
        learnt = (
            kind is not None
            and self._form(other) == (form, kept)
            and self._recalled(kind, other.text, other.clock) == sure
        )
        form.kinds[kept] = kind if learnt else None

    def _new_form(self, carried: Carried, told: Told, several: bool) -> _Form | None:
        """The form of a record, if there are two of that form."""
        mask = carried.mask()
        if not several and mask not in self._once:
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
        pattern = masking.Pattern(carried.text, kept, days)
        form = _Form(masking.mask(carried.text), pattern, [*numbers, *days, *idle])
        self._forms.setdefault(carried.outline(), []).append(form)
        return form

    def _is_idle(self, carried: Carried, told: Told, start: int, end: int) -> bool:
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

    def _learnt(self, one: Carried, told: Told, other: Carried, sure: Told) -> _Kind | None:
        if told.kind != sure.kind or told.fields.keys() != sure.fields.keys():
            return None
        kind = _Kind(told, {})
        if told.moment != sure.moment:
            kind.time = self._time(one.text, told.moment)
            kind.clock = kind.time is None
            if kind.clock and one.clock is None:  # it stands in the text, nobody knows where
                return None
        for name, value in told.fields.items():
            if value == sure.fields[name]:
                continue
            tells = partial(self._tells, one, name, sure.fields[name])
            found = masking.found(value, one.text, sure.fields[name], other.text, tells)
            if found is None or name == "status_code":  # more follows from a status than its number
                return None
            kind.spans[name] = found
        return kind

    def _tells(self, like: Carried, name: str, value: Any, text: str) -> bool:
        """Would the record tell this value if it said `text`?"""
        return bool(self._understand(like.saying(text).raw()).fields.get(name) == value)

    def _time(self, text: str, moment: int | None) -> slice | None:
        found = times.search(text[:200], self._near)
        if found is None or found[0] != moment:
            return None
        span = slice(found[1], found[2])
        return span if times.of(text[span], self._near) == moment else None
