"""Structured records: which key means what, at any depth, whoever named it.

A key is compared without case and without `_`, `-`, `@`; a dotted key counts as nested. `parent.key` is tried
before `key`. Where several keys of a record mean the same, the one named first in `FIELDS` wins, then the
outermost.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from klaviyo_nb.logs.formats.times import epoch

#: Field → the keys that carry it, best first.
FIELDS: Mapping[str, str] = {
    "timestamp": "time timestamp ts eventtime datetime asctime date logtime when t instant.epochsecond "
    "timemillis "
    "sourcerealtimetimestamp realtimetimestamp starttimeunixnano starttime timeunixnano timelocal startdatetime "
    "starteddatetime receivedat createdat eventtimestamp eventtimestampms timegenerated startedat startutc exectime "
    "created start",
    "ended": "endtimeunixnano endtime",
    "level": "levelname log.level severitytext loglevel severity level lvl levelvalue priority l status",
    "host": "hostname host.name host.hostname host kubernetes.podname k8s.podname pod.name podname pod "
    "nodename "
    "containername container.name instance computername machinename dyno approleinstance",
    "worker": "pid process.pid processid workerid worker process process.thread.name thread.name threadname thread "
    "tid threadid workername",
    "caller": "service.name servicename service app application appname entity.name approlename functionname scriptname "
    "job jobname task.name queue component "
    "logger.name "
    "logger loggername log.logger channel syslogidentifier systemdunit program source name category sourcecontext caller "
    "ctx.class context facility",
    "method": "method request.method httpmethod requestmethod verb",
    "url": "url.full url request.url requesturl http.url uri requesturi request.uri url.original url.path "
    "target "
    "httptarget path requestpath route endpoint upstreamurl request requestline "
    "resourcepath resource rawpath",
    "base": "baseurl",
    "operation": "operation klaviyo.operation klaviyooperation op operationid action span.name spanname name",
    "status": "statuscode response.status response.statuscode httpstatus httpstatuscode responsestatus "
    "responsestatuscode downstreamstatus "
    "responsecode resultcode httpcode status error.status errors.status err.status upstreamstatus code",
    "duration": "duration durationms elapsed elapsedms responsetime latency took duration.ms "
    "event.duration timetaken "
    "requesttime time.total totaltime durations durationseconds durationns durationus durationmillis "
    "elapsedtime "
    "elapseds elapsedseconds elapsedmilliseconds durationmilliseconds timetotal latencyms latencys latencyseconds tookms responsetimems upstreamresponsetime "
    "duration.us roundtripms requestdurationms requestduration executiontimems executiontime ms",
    "retry_after": "retryafter retryafters retryaftersecs retryafterseconds retryafterms",
    "request_id": "xklaviyoreqid klaviyoreqid klaviyorequestid errors.id reqid requestid xrequestid",
    "error_code": "errorcode errors.code error.code err.code klaviyo.error.code code",
    "error_pointer": "source.pointer pointer source.parameter errorpointer",
    "profile_key": "klaviyoprofileid profileid profile.id profilekey email profile.email emailaddress "
    "profile",
    "event_key": "uniqueid eventuniqueid eventkey eventid",
    "attempt": "attempt attemptnumber attemptnum attempts tries trynumber",
    "retries": "retrycount retries retry",
    "revision": "revision apirevision klaviyo.revision klaviyorevision xklaviyoapirevision",
    "outcome": "outcome result success succeeded ok state",
    "topic": "topic webhooktopic",
    "sent_at": "meta.timestamp",
    "answered": "xklaviyoreqid cid cfmitigated",
    "text": "message msg m event log body response.body response.data responsebody error err exception "
    "errormessage "
    "error.message err.message exception.message err.stack error.stack stack stacktrace errorstacktrace exc "
    "excinfo exceptionmessage stringified detail errors.detail reason cause error.cause title textpayload "
    "line "
    "text details summary description data responsetext raw content context body.stringvalue values.value exceptiontype error.type err.type err.name error.name "
    "syscall errno",
}
#: Keys under which a collector puts the application's own line.
INNER = ("log", "MESSAGE", "textPayload", "@message", "line", "_raw")
_MOST_NODES = 2_000
_MOST_SPREAD = 100
MOST_TEXTS = 40
#: Ranks: what surely is meant wins over all else.
OURS, _WORST = -1_000, 1_000
_PAIR = ("key", "value")
_TYPED_PAIR = ("key", "type", "value")
_OPEN_JSON = ("{", "[")
_DEEPEST = 12
#: How keys end that are not named in `FIELDS`, and the field they then carry.
_ENDINGS: tuple[tuple[str, str], ...] = (
    ("message", "text"), ("msg", "text"), ("status", "status"), ("error", "text"), ("reason", "text"), ("exception", "text"),
    ("url", "url"), ("uri", "url"), ("statuscode", "status"), ("retryafter", "retry_after"), ("timestamp", "timestamp"),
    ("durationms", "duration"), ("latencyms", "duration"), ("elapsedms", "duration"), ("attempt", "attempt"),
)  # fmt: skip
_RANK_OF_ENDING = 90
_NOISE = re.compile(r"[^a-z0-9.]+")
_REQUEST = re.compile(r"[A-Z]{3,7} (?:/|https?://)\S*(?: HTTP/[\d.]+)?$")
_STATUS = re.compile(r"[1-5]\d\d", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.:$-]{1,80}", re.ASCII)
_STREAMS = frozenset(("stdout", "stderr"))
_ROLES: dict[str, tuple[tuple[str, int], ...]] = {}
for _field, _keys in FIELDS.items():
    for _rank, _key in enumerate(_keys.split()):
        _ROLES[_key] = (*_ROLES.get(_key, ()), (_field, _rank))


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
        if value is not None and value != "" and rank < self.ranks.get(name, _WORST):
            self.values[name], self.ranks[name], self.keys[name] = value, rank, key

    def merge(self, outer: Found) -> None:
        """Take from `outer` what is not known here, or less well."""
        for name, value in outer.values.items():
            self.offer(name, value, outer.ranks[name], outer.keys[name])
        self.texts += outer.texts


_Role = tuple[str, int, Callable[[Any], bool]]
#: What a key is: the name it is compared by, and the fields it may carry with rank and test of the value.
_Meaning = tuple[str, tuple[_Role, ...]]


class _Meanings(dict[tuple[str, str], _Meaning]):
    """(parent, key as written) → what it is; remembers a bounded number of spellings."""

    def __missing__(self, spelled: tuple[str, str]) -> _Meaning:
        parent, key = spelled
        segments = [part for part in _NOISE.sub("", key.lower()).split(".") if part] or [""]
        above, name = segments[-2] if len(segments) > 1 else parent, segments[-1]
        roles = _ROLES.get(f"{above}.{name}") or _ROLES.get(name) or ()
        role = _by_ending(name) if not roles else None
        if role is not None:
            test = _TESTS_BY_ENDING.get(role) or _test(role, name)
            meaning: _Meaning = name, ((role, _RANK_OF_ENDING, test),)
            return self._remembered(spelled, meaning)
        if above == "headers":  # there `host` is whom it was sent to
            roles = tuple(each for each in roles if each[0] != "host")
        return self._remembered(
            spelled, (name, tuple((role, rank, _test(role, name)) for role, rank in roles))
        )

    def _remembered(self, spelled: tuple[str, str], meaning: _Meaning) -> _Meaning:
        if len(self) < 4_096 and len(spelled[1]) < 100:  # hostile logs invent keys without end
            self[spelled] = meaning
        return meaning


def _by_ending(name: str) -> str | None:
    if name == "exitstatus":
        return None
    return next((role for ending, role in _ENDINGS if name.endswith(ending)), None)


_meanings = _Meanings()


#: A key that may carry a field: its place among the values, its name, its rank, the test of its value.
Candidate = tuple[int, str, int, Callable[[Any], bool]]
#: The keys of an object in the order of its values; of one with objects in it, of each of them, after its name.
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
            name, carried = _meanings[parent, key]
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
                if rank < found.ranks.get(role, _WORST):
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


def is_ours(value: Any) -> bool:
    """Does it name Klaviyo's API? Such a URL wins over any other."""
    return isinstance(value, str) and "a.klaviyo.com" in value


def spread(data: Mapping[str, Any]) -> tuple[Shape, list[Any]] | None:
    """An object with objects in it as one row of values, in the order in which `walk` meets them.

    None: it holds lists or other things of which no two are alike, or it is very large.
    """
    shape: list[tuple[str, ...]] = []
    values: list[Any] = []
    queue: list[tuple[str, Any]] = [("", data)]
    for parent, node in queue:
        if _is_pair(node):
            return None
        shape.append((parent, *node))
        for key, value in node.items():
            kind = type(value)
            if kind is dict:
                queue.append((_meanings[parent, key][0], value))
                value = None
            elif kind is list or (kind is str and value[:1] in _OPEN_JSON and _object(value) is not None):
                return None
            values.append(value)
        if len(queue) > _DEEPEST or len(values) > _MOST_SPREAD:
            return None
    return tuple(shape), values


def _walk(data: Mapping[str, Any], found: Found) -> None:
    queue: deque[tuple[str, Any, int]] = deque([("", data, 0)])
    nodes = 0
    while queue and nodes < _MOST_NODES:
        parent, node, depth = queue.popleft()
        pairs = node.items() if isinstance(node, dict) and not _is_pair(node) else _items(node, parent)
        nodes += len(pairs)
        for key, value in pairs:
            name, roles = _meanings[parent, key]
            inside = _object(value) if _holds_more(value) else None
            if inside is not None:
                if depth < _DEEPEST:
                    queue.append((name, inside, depth + 1))
                continue
            for role, rank, fits in roles:
                if role == "url" and is_ours(value):
                    rank += OURS
                if rank < found.ranks.get(role, _WORST) and value is not None and value != "" and fits(value):
                    _keep(found, role, rank, name, value)


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
        return [(parent, element) for element in node[:50]]
    name = node.get("key") or node.get("name")
    if isinstance(name, str):
        value = node["value"]
        return [
            (name, next(iter(value.values()), None) if isinstance(value, dict) and len(value) == 1 else value)
        ]
    return list(node.items())


def _is_pair(node: Mapping[str, Any]) -> bool:
    if len(node) == len(_PAIR):
        return "value" in node
    return len(node) == len(_TYPED_PAIR) and all(key in node for key in _TYPED_PAIR)


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


def _test(role: str, name: str) -> Callable[[Any], bool]:
    """Keys are shared between fields: `code` is a number for a status and a word for an error."""
    if (role, name) == ("status", "code"):
        return _is_number
    if (role, name) in (("url", "request"), ("url", "requestline")):
        return _is_request
    if (role, name) == ("level", "status"):
        return _is_plain_word
    if role == "url" and name in ("resource", "resourcepath", "rawpath"):
        return _is_path
    if (role, name) == ("operation", "name"):
        return _is_our_operation
    if (role, name) == ("caller", "context"):
        return _is_identifier
    return _TESTS.get(role, _is_no_flag)


def _is_no_flag(value: Any) -> bool:
    return not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_request(value: Any) -> bool:
    return isinstance(value, str) and _REQUEST.match(value) is not None


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value[:1] == "/" or is_ours(value))


def _is_our_operation(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("klaviyo.")


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_caller(value: Any) -> bool:
    """A name: not the stream or the file from which a collector took the line, nor what was asked."""
    if not isinstance(value, str) or value[:1] == "/" or value in _STREAMS or value == "a.klaviyo.com":
        return False
    return " " not in value or not _REQUEST.match(value)


def _is_plain_word(value: Any) -> bool:
    return isinstance(value, str) and value.isalpha()


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or str(value).isdigit()


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalpha() and value.islower()


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > len("2026-1-1")
    return isinstance(value, int | float) and not isinstance(value, bool) and epoch(value) is not None


def _is_machine(value: Any) -> bool:
    """Klaviyo's own name under such a key is that of the host which was called."""
    return not isinstance(value, bool) and not str(value).lower().endswith("klaviyo.com")


def _is_anything(value: Any) -> bool:
    return True


def _is_status(value: Any) -> bool:
    return not isinstance(value, bool) and _STATUS.fullmatch(str(value)) is not None


#: Under a key without a name of its own only what cannot be anything else counts.
_TESTS_BY_ENDING: Mapping[str, Callable[[Any], bool]] = {"url": is_ours, "status": _is_status}
_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "timestamp": _is_time,
    "error_code": _is_code,
    "outcome": _is_anything,
    "host": _is_machine,
    "base": is_ours,
    "caller": _is_caller,
} | dict.fromkeys(
    ("text", "url", "method", "operation", "topic", "revision", "request_id", "error_pointer"),
    _is_text,
)
