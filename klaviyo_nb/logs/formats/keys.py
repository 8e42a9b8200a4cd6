"""Which key of a structured record means what, whoever named it, and which values can stand under it.

A key is compared without case and without `_`, `-`, `@`; a dotted key counts as nested. `parent.key` is tried
before `key`. `objects` reads records by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.logs.formats.patterns import OUR_CODES
from klaviyo_nb.logs.formats.times import epoch
from klaviyo_nb.logs.formats.values import level, status

#: Field → the keys that carry it, best first.
FIELDS: Mapping[str, str] = {
    "timestamp": "time timestamp ts eventtime datetime asctime date logtime when t instant.epochsecond "
    "timemillis "
    "sourcerealtimetimestamp realtimetimestamp starttimeunixnano starttime timeunixnano timelocal startdatetime "
    "starteddatetime receivedat createdat eventtimestamp eventtimestampms timegenerated startedat startutc exectime "
    "timestart timeiso8601 dt requesttime created start loggedat occurredat emittedat executedat completedat finishedat occurredon loggedon occurred logstart timestampinms activityrunend activityrunstart timestampms tm",
    "ended": "endtimeunixnano endtime",
    "level": "levelname level.name log.level severitytext loglevel severity severitylevel level lvl sev levelno severitynumber levelvalue priority l "
    "status event",
    "host": "hostname host.name host.hostname host kubernetes.podname k8s.podname pod.name podname pod "
    "nodename "
    "containername container.name instance computername machinename dyno approleinstance",
    "worker": "pid process.pid processid workerid worker process process.thread.name thread.name threadname thread "
    "tid threadid workername",
    "caller": "service.name servicename service app application appname entity.name approlename functionname scriptname "
    "job jobname task.name queue component "
    "logger.name "
    "logger loggername log.logger channel syslogidentifier systemdunit program source name category sourcecontext caller "
    "ctx.class context facility svc mod",
    "sdk": "useragent useragent.original http.useragent headers.useragent sdk sdk.name sdkversion clientlibrary",
    "method": "method request.method httpmethod requestmethod clientrequestmethod verb name spanname m",
    "url": "url.full url request.url requesturl http.url uri requesturi request.uri url.original url.path "
    "target "
    "httptarget path uristem uripath requestpath route endpoint upstreamurl request requestline req "
    "resourcepath resource rawpath clientrequesturi op operation action",
    "base": "baseurl",
    "operation": "operation klaviyo.operation klaviyooperation op operationid action span.name spanname name",
    "status": "statuscode response.status response.statuscode httpstatus httpstatuscode responsestatus "
    "responsestatuscode downstreamstatus "
    "responsecode resultcode httpcode status error.status errors.status err.status upstreamstatus code "
    "st sc rc resp result http answered response reply answer rsp rs s c",
    "duration": "duration durationms dur lat elapsed elapsedms responsetime latency took duration.ms "
    "event.duration timetaken "
    "requesttime time.total totaltime durations durationseconds durationns durationus durationmillis "
    "elapsedtime "
    "elapseds elapsedseconds elapsedmilliseconds durationmilliseconds timetotal latencyms latencys latencyseconds tookms responsetimems upstreamresponsetime "
    "duration.us roundtripms requestdurationms requestduration executiontimems executiontime rt urt ttms ms us ns "
    "seconds total timings.total timing.total t time apptime reqtime tt",
    "retry_after": "retryafter retryafters retryaftersecs retryafterseconds retryafterms",
    "request_id": "xklaviyoreqid klaviyoreqid klaviyorequestid errors.id reqid requestid xrequestid",
    "error_code": "errorcode errors.code error.code err.code klaviyo.error.code klaviyocode code",
    "error_pointer": "source.pointer pointer source.parameter errorpointer",
    "profile_key": "klaviyoprofileid profileid profile.id profilekey email profile.email emailaddress "
    "profile",
    "event_key": "uniqueid eventuniqueid eventkey",
    "attempt": "attempt attemptsmade attemptnumber attemptnum attemptno attempts tries trynumber try",
    "retries": "retrycount retrytimes retries retry",
    "revision": "revision apirevision klaviyo.revision klaviyorevision xklaviyoapirevision",
    "outcome": "outcome result success succeeded ok state",
    "topic": "topic webhooktopic",
    "sent_at": "meta.timestamp",
    "answered": "xklaviyoreqid cid cfmitigated",
    "text": "message msg m event log body response.body response.data responsebody error err exception "
    "errormessage txt args messages failure "
    "error.message err.message exception.message err.stack error.stack stack stacktrace errorstacktrace exc "
    "excinfo exceptionmessage stringified detail errors.detail reason cause error.cause title textpayload "
    "line "
    "original text details summary description data responsetext raw content context body.stringvalue values.value exceptiontype error.type err.type err.name error.name exctype excvalue "
    "syscall errno",
}
#: Keys under which a collector puts the application's own line.
INNER = ("log", "MESSAGE", "textPayload", "@message", "line", "_raw")
#: How keys end that are not named in `FIELDS`, and the field they then carry.
_ENDINGS: tuple[tuple[str, str], ...] = (
    ("message", "text"), ("msg", "text"), ("status", "status"), ("error", "text"), ("reason", "text"), ("exception", "text"),
    ("url", "url"), ("uri", "url"), ("statuscode", "status"), ("retryafter", "retry_after"), ("timestamp", "timestamp"),
    ("duration", "duration"), ("executiontime", "duration"), ("durationms", "duration"), ("latencyms", "duration"), ("elapsedms", "duration"), ("timems", "duration"), ("attempt", "attempt"), ("at", "timestamp"), ("respcode", "status"),
    ("httpcode", "status"), ("resptime", "duration"), ("reqtime", "duration"), ("millis", "duration"), ("path", "url"), ("endpoint", "url"), ("route", "url"),
    ("method", "method"), ("verb", "method"), ("retryattempt", "attempt"), ("responsecode", "status"),
    ("codesent", "status"), ("httpresult", "status"), ("returncode", "status"),
    *((f"{what}{end}", "caller") for what in ("flow", "pipeline", "recipe", "integration") for end in ("name", "code")),
    ("code", "error_code"),
    *((f"{what}{unit}", "duration")
      for what in ("duration", "latency", "elapsed", "took", "total", "response", "time", "roundtrip", "in")
      for unit in ("micro", "micros", "nano", "nanos", "milli", "millis", "milliseconds", "ms", "msec", "msecs", "us", "usec", "usecs", "ns", "nsec",
                   "seconds", "secs", "sec")),
)  # fmt: skip
_RANK_OF_ENDING, RANK_OF_VALUE, _OF_KLAVIYO = 90, 95, 200
#: When something will be, or was done to what the record is about.
_OTHER_TIMES = re.compile(
    r"next|retry|expir|sched|avail|valid|until|reset|updat|birth|due|wait|uptime|ttl|queue|timeout|interval|delay|"
    r"backoff|limit|max|threshold|budget|connect|dns|tls|ssl|handshake|cpu|render|view|db|\bage|lag|offset|byte|process"
)
#: A key whose last word is a unit of time.
_MEASURED = re.compile(r"(?:[_.-](?:ms|millis|us|ns)|[a-z](?:Ms|Millis|Us|Ns))$")
_TIMES = frozenset(("timestamp", "duration"))
#: A program's status, or what somebody would act upon or allow.
_NOT_MET = re.compile(
    r"exitstatus|(?:expect|allow|ignor|accept|want|retry|valid)\w{0,10}status|allow$|\w*allowmethods"
)
_NOISE = re.compile(r"[^a-z0-9.]+")
_REQUEST = re.compile(r"[A-Z]{3,7} (?:/|https?://)\S*(?: HTTP/[\d.]+)?$")
_AMOUNT = re.compile(
    r"\d\d:\d\d:\d\d\.\d{7}|\d+(?:[.,]\d+)?(?:e-?\d+)? ?[a-zµ]{0,12}", re.ASCII | re.IGNORECASE
)
_TIMED = re.compile(r"[\d.]+ ?(?:ms|s)", re.ASCII)
_STATUS = re.compile(
    r"(?:HTTP[ _-]?)?(?:[1-5]\d\d|(?:20\d|[34]\d\d|5[0-2]\d) [A-Z][a-z -]{1,40})", re.ASCII | re.IGNORECASE
)
_MOMENT = re.compile(
    r"/Date\(1|\d{4}-\d\d-\d\d[T ]\d\d:|\d\d?/[A-Z][a-z]{2}/\d{4}:|1\d{12}$|1\d{9}(?:\.\d+)?$", re.ASCII
)
_WHOLE_MOMENT = re.compile(
    r"(?:20\d\d-\d\d-\d\d|[0-3]\d[./][01]\d[./]20\d\d)[T ]\d\d:\d\d:\d\d(?:[.,]\d+)? ?(?:Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_LOUD_LEVELS = frozenset(("DEBUG", "INFO", "WARN", "WARNING", "ERR", "ERROR", "CRITICAL", "FATAL"))
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.:$-]{1,80}", re.ASCII)
#: With a path: the host alone is what some gateway stands before.
_OURS = re.compile(r"a\.klaviyo\.com(?::\d+)?/+\w", re.ASCII)
_STREAMS = frozenset(("stdout", "stderr"))
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"))
_ROLES: dict[str, tuple[tuple[str, int], ...]] = {}
for _field, _keys in FIELDS.items():
    for _rank, _key in enumerate(_keys.split()):
        _ROLES[_key] = (*_ROLES.get(_key, ()), (_field, _rank))


_Role = tuple[str, int, Callable[[Any], bool]]
#: What a key is: the name it is compared by, and the fields it may carry with rank and test of the value.
_Meaning = tuple[str, tuple[_Role, ...]]


class _Meanings(dict[tuple[str, str], _Meaning]):
    """(parent, key as written) → what it is; remembers a bounded number of spellings."""

    def __missing__(self, spelled: tuple[str, str]) -> _Meaning:
        parent, key = spelled
        segments = [part for part in _NOISE.sub("", key.lower()).split(".") if part] or [""]
        above, name = segments[-2] if len(segments) > 1 else parent, segments[-1]
        exactly = _ROLES.get(f"{above}.{name}")
        roles = exactly or _ROLES.get(name) or ()
        if not roles:
            return self._remembered(spelled, (name, _by_looks(name, key)))
        if above == "headers":  # there `host` is whom it was sent to
            roles = tuple(each for each in roles if each[0] != "host")
        if above in ("file", "proxy") or (above, name) in (("job", "retry"), ("elapsed", "seconds")):
            # a program's; Vercel's own; how often Sidekiq may retry; since when loguru runs
            roles = ()
        if "klaviyo" in above:  # what it holds is surer than what stands around it
            roles = tuple((role, rank - _OF_KLAVIYO) for role, rank in roles)
        return self._remembered(
            spelled, (name, tuple((role, rank, _test(role, "" if exactly else name)) for role, rank in roles))
        )

    def _remembered(self, spelled: tuple[str, str], meaning: _Meaning) -> _Meaning:
        if len(self) < 4_096 and len(spelled[1]) < 100:  # hostile logs invent keys without end
            self[spelled] = meaning
        return meaning


def _by_looks(name: str, key: str) -> tuple[_Role, ...]:
    """What a key that nobody knows may carry: told by its ending, else by values that can be nothing else."""
    other = _OTHER_TIMES.search(name)
    role = next((role for ending, role in _ENDINGS if name.endswith(ending)), None)
    if _NOT_MET.match(name) or (role in _TIMES and other):
        return ()
    if role is None and not other and _MEASURED.search(key):
        return (("duration", RANK_OF_VALUE, _is_amount),)
    if role is not None:
        return ((role, _RANK_OF_ENDING, _TESTS_BY_ENDING.get(role) or _test(role, name)),)
    barred = {"timestamp", "duration"} if other else {"level"} if name.endswith("type") else set()
    return tuple((role, RANK_OF_VALUE, fits) for role, fits in _BY_VALUE if role not in barred)


meanings = _Meanings()


def is_ours(value: Any) -> bool:
    """Does it name Klaviyo's API? Such a URL wins over any other."""
    return isinstance(value, str) and "a.klaviyo.com" in value and _OURS.search(value) is not None


def _is_our_url(value: Any) -> bool:
    """Klaviyo's URL and nothing else, or a request of its catalogue."""
    return (is_ours(value) and " " not in value) or (_is_request(value) and is_known(value.split(" ")[1]))


def _test(role: str, name: str) -> Callable[[Any], bool]:
    return _TESTS_OF_KEYS.get((role, name)) or _TESTS.get(role, _is_no_flag)


def _is_no_flag(value: Any) -> bool:
    return not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_request(value: Any) -> bool:
    return isinstance(value, str) and _REQUEST.match(value) is not None


def _is_request_or_path(value: Any) -> bool:
    return _is_request(value) or _is_path(value)


def _is_request_or_method(value: Any) -> bool:
    return _is_request(value) or (isinstance(value, str) and value.removeprefix("HTTP ") in METHODS)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value[:1] == "/" or is_ours(value))


def is_known(value: Any) -> bool:
    """Klaviyo's URL, or a path of its catalogue."""
    return is_ours(value) or (
        isinstance(value, str) and value[:1] == "/" and bool(catalogue().operations(value))
    )


def _is_method(value: Any) -> bool:
    return isinstance(value, str) and value.upper() in METHODS


def _is_verb(value: Any) -> bool:
    """A method of HTTP, or what stands for the lack of one."""
    return isinstance(value, str) and value.isalpha() and value.upper() != "ANY"


def _is_our_operation(value: Any) -> bool:
    named = isinstance(value, str) and (value.startswith("klaviyo.") or catalogue().by_operation(value))
    return bool(named)


def _is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_caller(value: Any) -> bool:
    """A name: not the stream or the file from which a collector took the line, nor what was asked."""
    if not isinstance(value, str) or value[:1] == "/" or value in _STREAMS or value == "a.klaviyo.com":
        return False
    if value.endswith(("-key", "-token", "-secret", "_key", "_token", "_secret")):
        return False
    return " " not in value or not _REQUEST.match(value)


def _is_level_beside(value: Any) -> bool:
    """A word that is no outcome."""
    return isinstance(value, str) and value.isalpha() and not value.lower().startswith("fail")


def _is_level(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 1 and level(value) is not None


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or str(value).isdigit()


def _is_timed(value: Any) -> bool:
    return isinstance(value, str) and _TIMED.fullmatch(value) is not None


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and value.replace("_", "").isalpha() and value.islower()


def _is_our_code(value: Any) -> bool:
    return value in OUR_CODES


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > len("2026-1-1")
    return isinstance(value, int | float) and not isinstance(value, bool) and epoch(value) is not None


def _is_span(value: Any) -> bool:
    """A number that is no time since 1970."""
    return isinstance(value, int | float) and not isinstance(value, bool) and epoch(value) is None


def _is_amount(value: Any) -> bool:
    """A number, or one with a unit behind it, or as .NET writes a span."""
    return not isinstance(value, bool) and _AMOUNT.fullmatch(str(value)) is not None


def _is_whole_moment(value: Any) -> bool:
    return isinstance(value, str) and _WHOLE_MOMENT.fullmatch(value) is not None


def _is_loud_level(value: Any) -> bool:
    return isinstance(value, str) and value.isupper() and value in _LOUD_LEVELS


def _is_loud_span(value: Any) -> bool:
    return isinstance(value, str) and ("." in value or value.endswith("ms")) and _is_timed(value)


def _is_loud_method(value: Any) -> bool:
    return isinstance(value, str) and value in METHODS


def _is_moment(value: Any) -> bool:
    return _MOMENT.match(str(value)) is not None and _is_time(value)


def _is_machine(value: Any) -> bool:
    """Klaviyo's own name under such a key is that of the host which was called."""
    return not isinstance(value, bool) and not str(value).lower().endswith("klaviyo.com")


def _is_anything(value: Any) -> bool:
    return True


def _is_told_status(value: Any) -> bool:
    """A span's `ERROR` is none."""
    return status(value) is not None


def _is_status(value: Any) -> bool:
    return not isinstance(value, bool) and _STATUS.fullmatch(str(value)) is not None


#: Keys are shared between fields: `code` is a number for a status and a word for an error.
_TESTS_OF_KEYS: Mapping[tuple[str, str], Callable[[Any], bool]] = {
    ("status", "code"): _is_number,
    ("status", "statuscode"): _is_told_status,
    ("level", "status"): _is_level_beside,
    ("level", "event"): _is_level,
    **{("duration", name): _is_timed for name in ("total", "t")},
    ("duration", "time"): _is_span,
    **{("duration", name): _is_number for name in ("lat", "tt")},
    ("operation", "name"): _is_our_operation,
    ("caller", "context"): _is_identifier,
    **{("timestamp", name): _is_moment for name in ("requesttime", "tm")},
    **{("status", name): _is_status
       for name in ["st", "sc", "rc", "resp", "result", "http", "answered", "response", "reply", "answer", "rsp",
                    "rs", "s", "c"]},
    **{("method", name): _is_request_or_method for name in ("name", "spanname")},
    ("method", "m"): _is_loud_method,
    **{("url", name): _is_request_or_path for name in ("request", "requestline", "req", "target")},
    **{("url", name): _is_our_url for name in ("op", "operation", "action")},
    **{("url", name): _is_path for name in ("resource", "resourcepath", "rawpath")},
}  # fmt: skip
#: Under a key without a name of its own only what cannot be anything else counts.
_TESTS_BY_ENDING: Mapping[str, Callable[[Any], bool]] = {
    "url": is_known, "method": _is_method, "status": _is_status, "timestamp": _is_moment, "duration": _is_amount,
    "error_code": _is_our_code,
}  # fmt: skip
#: Field → what can stand under any key.
_BY_VALUE: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("url", _is_our_url), ("method", _is_loud_method), ("duration", _is_loud_span), ("timestamp", _is_whole_moment), ("level", _is_loud_level),
)  # fmt: skip
_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "timestamp": _is_time,
    "error_code": _is_code,
    "outcome": _is_anything,
    "host": _is_machine,
    "base": is_ours,
    "method": _is_verb,
    "caller": _is_caller,
} | dict.fromkeys(
    ("text", "url", "operation", "topic", "revision", "request_id", "error_pointer", "sdk"),
    _is_text,
)
