"""Which key of a structured record means what, whoever named it; which values it then can hold is in `fits`.

A key is compared without case and without `_`, `-`, `@`; a dotted key counts as nested. `parent.key` is tried
before `key`. `objects` reads records by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.fits import BY_ENDING, BY_VALUE, is_amount, test_of

#: Field → the keys that carry it, best first.
FIELDS: Mapping[str, str] = {
    "timestamp": "time timestamp ts eventtime datetime asctime date logtime when t instant.epochsecond "
    "timemillis "
    "sourcerealtimetimestamp realtimetimestamp starttimeunixnano starttime timeunixnano timelocal startdatetime "
    "starteddatetime receivedat createdat eventtimestamp eventtimestampms timegenerated startedat startutc exectime "
    "timestart timeiso8601 dt requesttime created start loggedat occurredat emittedat executedat completedat finishedat occurred logstart timestampinms activityrunend activityrunstart timestampms tm timecreated",
    "ended": "endtimeunixnano endtime",
    "level": "levelname level.name log.level severitytext loglevel severity severitylevel leveldisplayname level lvl sev levelno severitynumber levelvalue priority prio l "
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
    "responsecode resultcode httpcode status error.status error.code errors.status err.status upstreamstatus code "
    "st sc rc resp result http answered response reply answer rsp rs s c",
    "duration": "duration durationms dur lat elapsed elapsedms responsetime latency took duration.ms "
    "event.duration timetaken "
    "requesttime time.total totaltime durations durationseconds durationns durationus durationmillis "
    "elapsedtime "
    "elapseds elapsedseconds elapsedmilliseconds durationmilliseconds timetotal latencyms latencys latencyseconds tookms responsetimems upstreamresponsetime "
    "duration.us roundtripms requestdurationms requestduration executiontimems executiontime rt urt ttms ms us ns "
    "seconds total timings.total timing.total t time apptime reqtime tt timetolastdownstreamtxbyte",
    "retry_after": "retryafter retryafters retryaftersecs retryafterseconds retryafterms",
    "request_id": "xklaviyoreqid klaviyoreqid klaviyorequestid errors.id reqid requestid xrequestid",
    "error_code": "errorcode errors.code error.code err.code klaviyo.error.code klaviyocode code",
    "error_pointer": "source.pointer pointer source.parameter errorpointer",
    "profile_key": "klaviyoprofileid profileid profile.id profilekey email profile.email emailaddress "
    "profile",
    "event_key": "uniqueid eventuniqueid eventkey",
    "attempt": "attempt attemptsmade attemptcount trycount attemptnumber attemptnum attemptno attempts tries trynumber try executions dispatchcount currentattempts",
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
    ("duration", "duration"), ("executiontime", "duration"), ("durationms", "duration"), ("latencyms", "duration"), ("elapsedms", "duration"), ("timems", "duration"), ("attempt", "attempt"), ("at", "timestamp"), ("edon", "timestamp"), ("respcode", "status"),
    ("httpcode", "status"), ("resptime", "duration"), ("reqtime", "duration"), ("millis", "duration"), ("path", "url"), ("endpoint", "url"), ("route", "url"),
    ("method", "method"), ("verb", "method"), ("retryattempt", "attempt"), ("responsecode", "status"),
    ("severity", "level"), ("severitytext", "level"), ("codesent", "status"), ("httpresult", "status"), ("returncode", "status"),
    *((f"{what}{end}", "caller") for what in ("flow", "pipeline", "recipe", "integration") for end in ("name", "code")),
    ("code", "error_code"),
    *((f"{what}{unit}", "duration")
      for what in ("duration", "latency", "elapsed", "took", "total", "response", "time", "roundtrip", "in")
      for unit in ("micro", "micros", "nano", "nanos", "milli", "millis", "milliseconds", "ms", "msec", "msecs", "us", "usec", "usecs", "ns", "nsec",
                   "seconds", "secs", "sec")),
)  # fmt: skip
_RANK_OF_ENDING, RANK_OF_VALUE, _OF_KLAVIYO = 90, 95, 200
#: When something will be, or was done to what the record is about.
_OTHER_TIMES = expression(
    r"next|retry|expir|sched|avail|valid|until|reset|updat|birth|due|wait|uptime|ttl|queue|timeout|interval|delay|"
    r"backoff|limit|max|threshold|budget|connect|dns|tls|ssl|handshake|cpu|render|view|db|\bage|lag|offset|byte|process"
)
#: A key whose last word is a unit of time.
_MEASURED = expression(r"(?:[_.-](?:ms|millis|us|ns)|[a-z](?:Ms|Millis|Us|Ns))$")
_TIMES = frozenset(("timestamp", "duration"))
#: A program's status, or what somebody would act upon or allow.
_NOT_MET = expression(
    r"exitstatus|(?:expect|allow|ignor|accept|want|retry|valid)\w{0,10}status|allow$|\w*allowmethods"
)
_NOISE = expression(r"[^a-z0-9.]+")
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
        roles = exactly or _ROLES.get(name) or (key[:2] in ("x-", "X-") and _ROLES.get(name[1:])) or ()
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
            spelled,
            (
                name,
                tuple(
                    (role, rank, test_of(role, f"{above}.{name}" if exactly else name))
                    for role, rank in roles
                ),
            ),
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
        return (("duration", RANK_OF_VALUE, is_amount),)
    if role is not None:
        return ((role, _RANK_OF_ENDING, BY_ENDING.get(role) or test_of(role, name)),)
    barred = {"timestamp", "duration"} if other else {"level"} if name.endswith("type") else set()
    fitting = (*BY_VALUE, ("timestamp", BY_ENDING["timestamp"])) if name.endswith("time") else BY_VALUE
    return tuple((role, RANK_OF_VALUE, fits) for role, fits in fitting if role not in barred)


meanings = _Meanings()
