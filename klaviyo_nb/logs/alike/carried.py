"""A record taken apart: the text that an application wrote, and the envelope that carried it, if any.

What is learnt of alike records is learnt of their texts; of an envelope counts what it tells beside a time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from klaviyo_nb.logs.alike import masking
from klaviyo_nb.logs.alike.json_lines import Memo
from klaviyo_nb.logs.formats.envelopes import opened
from klaviyo_nb.logs.formats.keys import INNER
from klaviyo_nb.logs.formats.objects import plans

#: A longer record is left in one piece [characters].
_LONGEST = 4_000
#: How an envelope may begin; what stands in no ordinary text.
_MAY_HOLD, _BETWEEN = (b"{", b""), b"\0"
#: The orders of so many sets of keys are remembered.
_MOST_ORDERS = 1_000


class Envelope(NamedTuple):
    """What is around a text: its values, the keys of the text and of times, and what the others tell."""

    data: dict[str, Any]
    inner: str
    clocks: tuple[str, ...]
    context: Hashable


class Carried(NamedTuple):
    """A record taken apart: what the application wrote, and the envelope that carried it, if any."""

    text: str
    envelope: Envelope | None

    @property
    def clock(self) -> Any:
        """The time that the envelope tells."""
        return self.envelope.data[self.envelope.clocks[0]] if self.envelope and self.envelope.clocks else None

    def outline(self) -> Hashable:
        """The same for records of a form, and for few others; takes a fiftieth of the time of `mask`."""
        return masking.outline(self.text, self.text.encode()), self.envelope and self.envelope.context

    def mask(self) -> Hashable:
        """The same for records of a form, and for no others."""
        return masking.mask(self.text), self.envelope and self.envelope.context

    def otherwise(self, numbers: Sequence[tuple[int, int]]) -> Carried:
        """One of the same kind, with another digit wherever one may differ: in ids and in `numbers`."""
        around = self.envelope
        clocks = {key: masking.other_clock(around.data[key]) for key in around.clocks} if around else {}
        return self.saying(masking.otherwise(self.text, numbers), clocks)

    def saying(self, text: str, clocks: Mapping[str, Any] = MappingProxyType({})) -> Carried:
        """The same with another text and other times."""
        if self.envelope is None:
            return Carried(text, None)
        data = {**self.envelope.data, self.envelope.inner: text, **clocks}
        return Carried(text, self.envelope._replace(data=data))

    def raw(self) -> bytes:
        """The record's bytes."""
        return orjson.dumps(self.envelope.data) if self.envelope else self.text.encode()


class Bare(NamedTuple):
    """Records without an envelope: which ones, their outlines, and their texts."""

    rows: Sequence[int]
    outlines: Sequence[Hashable]
    texts: Sequence[str]


def bare(raws: Sequence[bytes]) -> Bare:
    """Those that surely have no envelope, all at once; none if one of them is not plain enough."""
    rows = [row for row, raw in enumerate(raws) if raw[:1] not in _MAY_HOLD and len(raw) <= _LONGEST]
    whole = _BETWEEN.join([raws[row] for row in rows])
    try:
        texts = whole.decode().split(_BETWEEN.decode())
    except UnicodeDecodeError:
        texts = []
    if len(texts) != len(rows):
        return Bare((), (), ())
    outlines = zip(masking.without_changing(whole).split(_BETWEEN), map(len, texts), strict=True)
    return Bare(rows, [(outline, None) for outline in outlines], texts)


class Apart:
    """Takes records apart, and remembers which keys of envelopes stand for what."""

    def __init__(self) -> None:
        self._keys = Memo(_keys_of)
        self._orders: dict[frozenset[str], tuple[str, ...]] = {}

    def taken_apart(self, raw: bytes) -> Carried | None:
        """None: it is too long, or not plain enough."""
        if len(raw) > _LONGEST:
            return None
        try:
            if raw[:1] == b"{" and opened(raw) and b"\n" not in raw.rstrip():
                return self._unwrapped(orjson.loads(raw), b"klaviyo" in raw or b"klaviyo" in raw.lower())
            return Carried(raw.decode(), None) if raw else None
        except ValueError:  # it is neither JSON nor UTF-8
            return None

    def _unwrapped(self, data: dict[str, Any], speaks: bool) -> Carried | None:
        """The text in an envelope of plain values."""
        data = self._ordered(data)
        shape, told = tuple(data), tuple(data.values())
        inner, clocks, places = self._keys[shape]
        if inner is None or type(data[inner]) is not str or not {dict, list}.isdisjoint(map(type, told)):
            return None
        context = shape, tuple([told[place] for place in places]), speaks
        return Carried(data[inner], Envelope(data, inner, clocks, context)) if data[inner] else None

    def _ordered(self, data: dict[str, Any]) -> dict[str, Any]:
        """The same with its keys as they stood at first: journalctl gives them in another order each time."""
        if len(self._orders) >= _MOST_ORDERS:
            self._orders.clear()
        shape = tuple(data)
        order = self._orders.setdefault(frozenset(shape), shape)
        return data if order == shape else {key: data[key] for key in order}


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
