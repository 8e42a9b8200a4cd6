"""Structured records, read by their keys (`keys`), at any depth.

Where several keys of a record mean the same, the one named first in `keys.FIELDS` wins, then the outermost.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from klaviyo_nb.logs.formats.fits import is_ours
from klaviyo_nb.logs.formats.keys import meanings

_MOST_NODES = 2_000
MOST_TEXTS = 40
#: Ranks: what surely is meant wins over all else.
OURS, WORST = -1_000, 1_000
_PAIR = ("key", "value")
_TYPED_PAIR = ("key", "type", "value")
_MEASURED = frozenset(("value", "unit"))
#: How values are written with their type: in SQS's attributes, DynamoDB's items, Avro's unions.
_TYPED = (
    "StringValue",
    "stringValue",
    "intValue",
    "doubleValue",
    "S",
    "N",
    "string",
    "int",
    "long",
    "double",
)
_OPEN_JSON = ("{", "[")
_DEEPEST = 12
_MOST_JSON = 32 * 1024 * 1024


@dataclass(slots=True)
class Found:
    """What a record says, before it is understood.

    Attributes:
        values: Field → value as it stood there.
        keys: Field → the normalised key that carried it, for its unit.
        texts: Texts among the values, in which more may stand.
        names: Keys of the outermost object.
    """

    values: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    ranks: dict[str, int] = field(default_factory=dict)

    def offer(self, name: str, value: Any, rank: int = 0, key: str = "") -> None:
        """Keep `value` if nothing better is known."""
        if value is not None and value != "" and rank < self.ranks.get(name, WORST):
            self.values[name], self.ranks[name], self.keys[name] = value, rank, key

    def merge(self, outer: Found) -> None:
        """Take from `outer` what is not known here, or less well."""
        for name, value in outer.values.items():
            self.offer(name, value, outer.ranks[name], outer.keys[name])
        self.texts += outer.texts


#: A key that may carry a field: its place among the values, its name, its rank, the test of its value.
Candidate = tuple[int, str, int, Callable[[Any], bool]]
#: The keys of an object in the order of its values; of one with objects in it, of each of them, after its
#: name.
Shape = tuple["str | tuple[str, ...]", ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an object with certain keys tells: worked out once, because an application's lines are alike.

    Attributes:
        names: The outermost keys.
        roles: Field → the keys that may carry it, best first.
        texts: Places of texts.
    """

    names: frozenset[str]
    roles: Mapping[str, tuple[Candidate, ...]]
    texts: tuple[int, ...]


class _Plans(dict[Shape, Plan]):
    """Shape → plan; remembers a bounded number."""

    def __missing__(self, shape: Shape) -> Plan:
        roles: dict[str, list[Candidate]] = {}
        spelled = _spelled(shape)
        for place, (parent, key) in enumerate(spelled):
            name, carried = meanings[parent, key]
            for role, rank, fits in carried:
                roles.setdefault(role, []).append((place, name, rank, fits))
        texts = tuple(place for place, *_ in roles.pop("text", ()))
        ordered = {role: tuple(sorted(each, key=lambda one: one[2])) for role, each in roles.items()}
        outermost = frozenset(key for parent, key in spelled if not parent)
        plan = Plan(outermost, ordered, texts)
        if len(self) < 1_024 and len(spelled) < 100:  # hostile logs invent keys without end
            self[shape] = plan
        return plan


def _spelled(shape: Shape) -> list[tuple[str, str]]:
    """Every key with the name of the object it stands in."""
    objects = [("", key) if isinstance(key, str) else key for key in shape]
    return [(parent, key) for parent, *keys in objects for key in keys]


plans = _Plans()


def load(raw: bytes | str) -> Any:
    """Parse JSON as loggers write it: with control characters, broken UTF-8, NaN; None if it is none."""
    if len(raw) > _MOST_JSON:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(raw if isinstance(raw, str) else raw.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def walk(data: Mapping[str, Any], found: Found) -> None:
    """Read an object, the outermost keys first; bounded in depth and size."""
    if not any(map(_holds_more, data.values())):
        _follow(plans[tuple(data)], tuple(data.values()), found)
    else:
        found.names = frozenset(data)
        _walk(data, found)


def _holds_more(value: Any) -> bool:
    kind = type(value)
    return kind is dict or kind is list or (kind is str and value[:1] in _OPEN_JSON)


def _follow(plan: Plan, values: Sequence[Any], found: Found) -> None:
    found.names = plan.names
    for role, candidates in plan.roles.items():
        if role == "url" and len(candidates) > 1:
            candidates = tuple(sorted(candidates, key=lambda each: not is_ours(values[each[0]])))
        for place, name, rank, fits in candidates:
            value = values[place]
            if value is not None and value != "" and fits(value):
                if rank < found.ranks.get(role, WORST):
                    found.values[role], found.keys[role], found.ranks[role] = value, name, rank
                break
    for place in plan.texts:
        value = values[place]
        if type(value) is str and value and len(found.texts) < MOST_TEXTS:
            found.texts.append(value)


def join_base(found: Found) -> None:
    """The whole URL of one that is told in two parts, as axios does."""
    base, url = found.values.get("base"), found.values.get("url")
    if not isinstance(base, str) or "://" in str(url):
        return
    found.values["url"] = f"{base.rstrip('/')}/{str(url).lstrip('/')}" if isinstance(url, str) else base
    found.keys["url"], found.ranks["url"] = "baseurl", OURS


def _walk(data: Mapping[str, Any], found: Found) -> None:
    queue: deque[tuple[str, Any, int]] = deque([("", data, 0)])
    nodes = 0
    while queue and nodes < _MOST_NODES:
        parent, node, depth = queue.popleft()
        pairs = node.items() if isinstance(node, dict) and not is_pair(node) else _items(node, parent)
        nodes += len(pairs)
        for key, value in pairs:
            name, roles = meanings[parent, key]
            if type(value) is dict and 0 < len(value) <= len(_MEASURED):
                value = _plain(value)
            inside = _object(value) if _holds_more(value) else None
            if inside is not None:
                if isinstance(inside, list) and roles and roles[0][0] == "text":
                    _keep_arguments(found, inside)
                if depth < _DEEPEST:
                    queue.append((name, inside, depth + 1))
                continue
            for role, rank, fits in roles:
                if role == "url" and is_ours(value):
                    rank += OURS
                if rank < found.ranks.get(role, WORST) and value is not None and value != "" and fits(value):
                    _keep(found, role, rank, name, value)


def _plain(value: dict[str, Any]) -> Any:
    """`{"value": 1.2, "unit": "s"}` and `{"S": "x"}` as what they stand for."""
    if value.keys() == _MEASURED:
        return f"{value['value']} {value['unit']}"
    typed = next((name for name in _TYPED if name in value), None)
    whole = typed is not None and all(name == typed or name.lower().endswith("type") for name in value)
    return value[typed] if whole and typed else value


def _keep_arguments(found: Found, told: list[Any]) -> None:
    """What was logged as several arguments, such as a text and a number, is one text."""
    if len(told) > 1 and any(isinstance(each, int) for each in told) and len(found.texts) < MOST_TEXTS:
        found.texts.append(" ".join(str(each) for each in told[:9] if isinstance(each, str | int)))


def _keep(found: Found, role: str, rank: int, name: str, value: Any) -> None:
    if role == "text":
        if len(found.texts) < MOST_TEXTS:
            found.texts.append(value)
        return
    found.values[role], found.keys[role] = value, name
    found.ranks[role] = rank


def _items(node: Any, parent: str) -> list[tuple[str, Any]]:
    """Of a list its elements; of OpenTelemetry's `{"key": k, "value": v}`, or of Jaeger's, k and v."""
    if isinstance(node, list):
        if parent == "values" and len(node) > 1 and all(isinstance(each, str) for each in node[:2]):
            return [("timestamp", node[0]), ("message", node[1])]  # an entry of Loki's
        if parent.endswith("headers") and len(node) % 2 == 0 and all(isinstance(each, str) for each in node):
            return list(zip(node[::2], node[1::2], strict=True))  # Kafka's, Node's raw ones
        return [(parent, element) for element in node[:50]]
    name = node.get("key") or node.get("name")
    if isinstance(name, str):
        value = node["value"]
        return [
            (name, next(iter(value.values()), None) if isinstance(value, dict) and len(value) == 1 else value)
        ]
    return list(node.items())


def is_pair(keys: Collection[str]) -> bool:
    """Are these the keys of one key and its value?"""
    if len(keys) == len(_PAIR):
        return "value" in keys
    return len(keys) == len(_TYPED_PAIR) and all(key in keys for key in _TYPED_PAIR)


def holds_json(value: Any) -> bool:
    """Is it a text that is JSON?"""
    return type(value) is str and value[:1] in _OPEN_JSON and _object(value) is not None


def _object(value: Any) -> Any:
    """`value` if it holds more values; a text that is JSON is opened."""
    if not isinstance(value, str):
        return value
    if value[:1] not in ("{", "[") or value.rstrip()[-1:] not in ("}", "]"):
        return None
    try:
        opened = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return opened if isinstance(opened, dict | list) else None
