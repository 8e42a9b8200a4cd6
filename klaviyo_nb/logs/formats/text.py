"""Free text: where it tells of a method, a URL, a status, a duration, an error.

Patterns are tried in order and the first match wins, so the surest shapes come first. A number is a status
only where something says so: "429 on attempt 1", "status code 429", "429 Too Many Requests", never "429
profiles".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

#: Longer texts are searched at both ends only [characters].
MOST = 12_000

_URL = r"https?://[^\s\"'`<>\])}\\,|]+(?<![:.;])"
_STEP = r"(?:[\w.%/{}$~@+-]|:(?=[\w:$]))"
VERB = r"GET|POST|PUT|PATCH|DELETE|HEAD"
_PHRASES = "|".join(
    sorted(
        {each.phrase for each in HTTPStatus if " " in each.phrase} | {"Gateway Time-out", "TooManyRequests"},
        key=len, reverse=True,
    )
)  # fmt: skip
#: `202 Accepted`, but `488 accepted` counts.
_ONE_WORD = "|".join(
    rf"(?<={each:d}.){each.phrase}|(?<={each:d}..){each.phrase}|(?<={each:d}...){each.phrase}"
    for each in HTTPStatus
    if each >= 200 and " " not in each.phrase
)
# What a number counts or measures when it is no status; libwww-perl's 500 for no response.
_COUNTED = (
    r"(?! Can't connect| read timeout| Status read failed|"
    r"(?:,|,? (?:and|or)) ?[2-5]\d\d\b(?! ?(?:bytes|ms|s|rows|records|events)\b)|"  # a list is of no one call
    r"[\d.,:%/-]*\d|%|\s?(?:ms|µs|us|ns|s|sec|secs|seconds?|m|min|minutes?|h|bytes?|[KMGk]i?[Bb])\b"
    r"|\s?req(?:uest)?s?(?:/| per)|\s?rp[sm]\b"
    r"|\s(?:accepted|rejected|skipped|created|updated|imported|exported|synced|queued|processed|deleted|inserted|"
    r"unchanged|removed|ok|done|remaining|left|in total|of)\b"
    r"|\s(?:(?:new|more|unique|active|total|pending|failed|old|customer|profile|event)\s)?(?!(?:requests|https?|headers|status|details|was|has|this)\b)"
    r"[a-z]{3,}s\b)"
)
_SAYS = (
    r"unavailable|down|denied|unauthori[sz]ed|forbidden|declined|aborted|bounced|replied|replies|gave|gives|said|says|"
    r"hit|saw|threw|raised|came back|broke|problem|trouble|outage|"
    r"error|errors|errored|failed|failure|fails|failing|rejected|refused|returned|returns|returning|responded|"
    r"responds|response|answered|answer|got|received|throttled|limited|resulted in|exception|status|"
    r"unexpected|r.ponse|respuesta|resposta|risposta|antwort|erreur|fehler|c.digo|codice|statut|estado"
)
_LEVELS = (
    r"trace|debug|dbg|info(?:rmation)?|inf|notice|warn(?:ing)?|wrn|err(?:or)?|crit(?:ical)?|fatal|alert|emerg|"
    r"panic|severe"
)
_KLAVIYO_SAID = (
    rf"\bklaviyo\b(?: api| upstream| server| sdk)?(?: \w+ed(?= ))?[ :-]{{1,3}}(?:{_SAYS})\b"
    rf"(?: with| code| status| http| response| an?| us)*[ :=(\[]{{1,3}}(?P<v>[2-5]\d\d)\b{_COUNTED}"
)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_QUOTE = r"\\*[\"']?"
_ERROR_CODES = (
    "throttled|not_authenticated|authentication_failed|permission_denied|not_found|duplicate_profile"
)


#: Open repetitions → bounded ones: hostile text must not cost time that grows with the square of its length.
_BOUNDS = ((r"\d+", r"\d{1,12}"), (r"\s*", r"\s{0,8}"), (r"\s+", r"\s{1,8}"), (r"\w+", r"\w{1,80}"),
           ("]+", "]{1,1000}"), ("]*", "]{0,1000}"), (")*", "){0,4}"))  # fmt: skip


def _compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_bounded(pattern), re.IGNORECASE | re.ASCII) for pattern in patterns)


def _bounded(pattern: str) -> str:
    for many, bounded in _BOUNDS:
        pattern = pattern.replace(many, bounded)
    return pattern


#: Field → patterns, surest first; the value is group `v` (and its unit `u`, where there is one).
PATTERNS: Mapping[str, tuple[re.Pattern[str], ...]] = {
    "request": _compiled(
        rf"(?<![A-Za-z\d_])(?:XHR)?(?P<method>{VERB})\b(?!/\d)[\]\"'`:,;|]*\s*(?:request |call )?(?:to |for |"
        rf"on |from )?(?:resource )?(?:a\.klaviyo\.com(?::443)? (?=/))?[\\\[\"'`<(]*(?P<v>{_URL}|"
        rf"(?:/|(?=(?:api|client)/)){_STEP}{{0,1000}}(?<!\.)(?:\?[^\s\"'`]*)?)",
        rf"(?:url:?|uri:?|endpoint:?|to|for) [<(\[\"'`]*(?P<v>{_URL}|/(?:api|client)/[\w.%/{{}}-]+(?<!\.))",
        r"(?<![\w.@/-])(?P<v>(?:https?://)?a\.klaviyo\.com(?::\d+)?/(?:api|client|oauth)[^\s\"'`<>\])}\\,|]*(?<![:.;]))",
        r"(?<![\w.:/])(?P<v>/(?:api|client)/[a-z][\w.%/{}-]*(?<!\.))",
        r"(?<![\w.:/@-])(?P<v>(?:api|client)/[a-z][a-z-]{3,40}(?:/[\w/-]{1,80})?)(?![\w.])",
    ),
    "method": _compiled(rf"\bmethod{_QUOTE}\s*[:=]>?\s*(?:HttpMethod\(value=|:)?{_QUOTE}(?P<v>{VERB})\b",
                       rf"\b(?P<v>{VERB}) request\b", rf"PreparedRequest \[(?P<v>{VERB})\]",
                       rf"\.(?P<v>{VERB})\(",
                       rf" --?(?:method|request|X) (?P<v>{VERB})\b",
                       r"\b(?P<v>post|put|patch)(?:ing|ed) (?:to|at|on)\b",
                       rf"(?-i:(?<![\w/[-])(?P<v>{VERB})(?:ing)?(?![\w/-]))"),
    "status": _compiled(
        _KLAVIYO_SAID,
        r"\bHTTP/[\d.]+\"?\s+(?:(?:-|->|RESPONSE:?) )?(?P<v>[2-5]\d\d)\b",
        r"\bcloudflare \W?(?:error )?(?P<v>5[23]\d)\b",
        r"\b(?P<v>[45]\d\d) (?:Client|Server) Error\b",
        rf"\b(?:http[ _-]?|response[ _-]?|upstream[ _-]?)*(?:status[ _-]?code|status|(?:http|response|"
        rf"error)[ _-]code)"
        rf"{_QUOTE}\s*(?:[:=]+>?|is|was|of)?\s*{_QUOTE}[(\[]?(?P<v>[2-5]\d\d)\b{_COUNTED}",
        rf"\b(?P<v>[2-5]\d\d)[\s:,()\]·|–—-]{{1,3}}(?:[\"'`]?(?:{_PHRASES})|{_ONE_WORD})\b",
        rf"\bHTTP(?: error| status| response)?[:\s]+(?P<v>[2-5]\d\d)\b{_COUNTED}",
        r"(?:\d+/){4}\+?\d+ (?P<v>[2-5]\d\d) ",  # HAProxy
        r"\b(?:TCP|NONE)_\w+/(?P<v>[2-5]\d\d)\b",
        r"\bafter [\d.]+ ?ms - (?P<v>[2-5]\d\d)\b",
        rf"\b(?P<v>[2-5]\d\d) [\"'\[]?(?:{VERB}) ",
        rf"(?<![\"'])(?:->|=>|→|<--|<-|⇒) ?[\"'(\[]?(?P<v>[2-5]\d\d)\b{_COUNTED}",
        rf"\b(?:{VERB}) /\S{{1,200}} (?P<v>[2-5]\d\d) (?:\d+(?:\.\d+)? ?[mµu]?s\b|- )",
        rf"\b(?:{_SAYS})\b(?!(?<=[sd])(?<!status)=|(?<=errors):)"
        rf"(?: with| code| status| response| an?| from \w+| by \w+|"
        rf" HTTP)*\s?[:=(\[{{\"'`\s-]{{0,4}}"
        rf"(?P<v>[2-5]\d\d)\b{_COUNTED}",
        rf"\bwith (?:an? )?(?P<v>[45]\d\d)\b{_COUNTED}",
        r"\b(?P<v>[2-5]\d\d) from (?:the )?klaviyo\b",
        r"\b(?P<v>[45]\d\d) \((?!bytes)(?-i:[a-z]{4,20}(?:_[a-z]{2,20})*)\)",
        rf"(?-i:\b[A-Z]\w{{1,60}}(?:::|\\)[A-Z]\w{{1,60}})(?:: |\(|: \(| \()(?P<v>[45]\d\d)\b{_COUNTED}",
        rf"(?-i:\w(?:Error|Exception)\b)(?:: |\(|: \(|: \[| )(?P<v>[45]\d\d)\b{_COUNTED}",
        rf"(?:\b|(?:http|resp|result|response|status)_)(?:code|rc|sc|st|resp|http|result|error|err|res)"
        rf"[\"']?=>?"
        rf"[\"'(]?(?P<v>[2-5]\d\d)\b{_COUNTED}",
        rf"klaviyo(?: webhook)?\]?[:\s]+(?:API )?(?P<v>[2-5]\d\d)\b{_COUNTED}",
        r"klaviyo\]?:? (?:subscri\w+|track|identify|upsert|push|send|create|update) "
        r"(?P<v>20[0-24]|[45]\d\d)(?m:$)",
        r"(?:\(|(?<!\w)(?<!ids: )\[)(?P<v>20[0-24]|[45]\d\d)[\])]",
        r"(?m:^)(?P<v>[45]\d\d)[,;:]? \(?(?=retry|wait|rate|throttl|back|will|giving|sleep|too many)",
        rf"\b(?:{VERB}) (?P<v>[2-5]\d\d) \d+(?:\.\d+)? ?ms\b",
        rf"(?-i:\b(?:get|create|update|delete|query|subscribe|bulk)[A-Z][A-Za-z]{{2,50}}):? "
        rf"(?P<v>[2-5]\d\d)\b{_COUNTED}",
        r"\|\s*(?P<v>[2-5]\d\d)\s*\|",
        r"/(?:api|client)/[\w/.-]{1,200}:(?P<v>[2-5]\d\d)\b",
        r"(?:^|[\s:])(?P<v>[2-5]\d\d)\s+<(?:!doctype|html)\b",
        r"\|\s*(?P<v>5[23]\d): (?-i:[A-Z])",  # the title of Cloudflare's page
        r"\bResult: '(?P<v>[2-5]\d\d)', Handled",  # Polly
        rf"(?:https?://|/api/|/client/)[^\s\"')]+[\"')]?(?:\s+(?:- )?|\s*[|,]\s*|: )"
        rf"(?P<v>[2-5]\d\d)\b{_COUNTED}",
        rf"\b(?:a|an|on) (?P<v>[45]\d\d)\b{_COUNTED}",
        rf"\b(?:{_SAYS})\b(?: us| it| them| you| this)?[,;:-] ?(?P<v>[45]\d\d)\b{_COUNTED}",
    ),
    "duration": _compiled(
        r"\b(?:took|in|after|elapsed|duration|latency|time)[\"']?\s*[:=]?\s*[\"'(]?"
        r"(?P<v>(?:\d+ ?h ?)?\d+ ?m(?:in)? ?\d+(?:\.\d+)? ?s)(?:ec)?\b",
        r"\b(?:took|in|after|within|timeout of|durations?|elapsed|latency|"
        r"(?:total|request|response|execution|"
        r"elapsed)[ _-]?time|time|rt)"
        r"(?:[ _-]?m?s)?[\"']?\s*[:=]?\s*[\"'(]?(?P<v>\d+(?:\.\d+)?)[\s(]?(?P<u>ms|msecs?|milliseconds?|µs|"
        r"us|ns|s|secs?|seconds?|min|minutes?)\b",
        r"\b(?:duration|elapsed|latency|response_?time|time|took|rtt|dur)_?(?P<u>ms|micros|nanos|us|ns)[\"']?\s*[:=]\s*[\"']?(?P<v>\d+(?:\.\d+)?)",
        r"\b(?:total_time|time_total|request_time|upstream_response_time|urt|rt|elapsed|duration|seconds)[\"']?\s*[:=]>?\s*[\"']?(?P<v>\d+\.\d+)\b",
        r"\b(?:took|in|after|elapsed|duration|latency|time)[\"']?\s*[:=]?\s*[\"'(]?(?P<v>\d\d?:\d\d:\d\d\.\d{1,9})\b",
        r"(?<![\dT:.-])(?<!\d )(?P<v>\d\d:\d\d:\d\d\.\d{7})(?!\d)",  # .NET's
        r"\b(?P<v>PT(?:\d+[HM]){0,2}\d+(?:\.\d+)?S)\b(?! (?:until|before) )",
        r"\((?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|s|secs?)\b",
        r"(?<= [2-5]\d\d )(?P<v>\d{1,12}) (?P<u>us)\b",
        r"\b(?:dur(?:ation)?|elapsed|latency|took|response[_-]?time|rtt)[=:] ?(?P<v>\d{1,6})(?![\w.:%-])",
        r"\" [1-5]\d\d \d+ (?P<v>\d{1,4}\.\d{3,6})(?= |$)",  # of the request, then of what was asked for it
        r"\b[2-5]\d\d\"? (?P<v>\d{1,3}\.\d{3,6})(?![\w.]| ?m?s\b)",
        r"\" \d+ (?P<v>\d+\.\d{3}) \[[\w-]*\] \[",  # ingress-nginx
        r"\|(?P<v>\d{1,3}\.\d{3,6})\|",
        r"(?<!\w)(?P<u>ms|us|[µμ]s|ns)=(?P<v>\d{1,12})\b",
        r"(?<![\w.+,])(?P<v>0,\d{1,6}|\d{1,3},\d{1,3}) ?(?P<u>s|secs?|seconds|sek)\b",
        r"\" (?P<v>\d{1,3}\.\d{3})(?= |$)",
        r"(?<=[ (=:])(?P<v>\d{1,3}(?:,\d{3})+) ?(?P<u>ms)\b",
        r"(?<![\w.+])(?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|[µμ]s|(?<=\d)us)\b",
        r"(?<![\w.])(?P<v>\d+\.\d+) ?(?P<u>s|secs|seconds)\b",
    ),
    "retry_after": _compiled(
        rf"\bretry[-_ ]?after(?: header)?(?:[_-]?(?P<u>ms|s|seconds))?{_QUOTE}\]?\s*(?:[:=,]>?|is|says|said|"
        r"of)?\s*(?:Some)?(?:\[ )?[\\\[\"'(]*(?P<v>\d\d:\d\d:\d\d(?:\.\d+)?|"
        r"\d+(?:\.\d+)?(?: ?(?:ms|milliseconds?|m|min|minutes?|h|hours?)\b)?)",
        r"\bexpected available in (?P<v>\d+(?:\.\d+)?) (?P<u>s)econds?",
        r"\b(?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|s|secs?|seconds?)\b[,\s(]{1,3}"
        r"(?:(?:said|says|from|per|as|by|told by|due to)(?: the)? )?retry-after",
        r"\b(?:asks|asked|says|said|tells|told)(?: (?:us|me|it|you))?(?: to)? (?:wait|retry (?:after|in)) "
        r"(?P<v>\d+(?:\.\d+)?) ?"
        r"(?P<u>ms|s|secs?|seconds?)\b",
    ),
    "request_id": _compiled(
        rf"klaviyo[-_ ]?req(?:uest)?[-_ ]?id\W{{0,8}}(?P<v>{_UUID})",
        rf"errors\W{{1,8}}id\W{{1,8}}(?P<v>{_UUID})",
        rf"(?<![\w-])id\\*[\"']?\s*[:=]>?\s*\\*[\"'](?P<v>{_UUID})",
        rf"\breq(?:uest)?(?:[-_ ]?id)?\W{{0,6}}(?P<v>{_UUID})",
        rf"(?-i:\bcode=[a-z_]{{3,40}} .{{0,40}}\bid)=(?P<v>{_UUID})",
    ),
    "error_code": _compiled(
        r"(?<![\w-])(?:error_?)?code\\*[\"']?\s*[:=]>?\s*\\*[\"']?(?P<v>(?-i:[a-z][a-z_]{3,40}))(?![\w-])",
        rf"(?<![\w-])code (?P<v>(?-i:{_ERROR_CODES}|invalid|forbidden))\b",
        rf"\b[45]\d\d\)?\s?[-:(]?\s?(?P<v>(?-i:{_ERROR_CODES}|invalid(?! (?!at\b)[a-z]))\b)",
        r"(?:[\w)]: |\berror=[\"']?)(?P<v>(?-i:throttled|not_found|permission_denied|duplicate_profile))"
        r"(?=\s{0,2}(?:[,;)|\"'}]|$))",
        r"(?<![\w./-])(?P<v>(?-i:not_authenticated|authentication_failed|permission_denied|duplicate_profile))(?![\w./-])",
    ),
    "error_pointer": _compiled(
        r"(?<!\w)pointer\\*[\"']?\s*[:=]>?\s*\\*[\"']?\[?(?P<v>/[\w./-]{0,200})",
        r"(?<![\w/])(?P<v>/data/(?:attributes|relationships)[\w./-]{0,200})",
        r"(?<!\w)parameter(?:\\*[\"']?\s*:\s*\\*[\"']|=)(?P<v>[\w.\[\]-]{1,100})",
    ),
    "attempt": _compiled(r"(?<!until )(?<!next )"
                         r"(?:\b|(?-i:(?<=[a-z])(?=A)))attempt(?:[ _-]?(?:number|no|num|nr)|sMade)?"
                         r"\W{1,3}#?(?P<v>\d{1,3})\b",
                         r"\btry\W{1,2}#?(?P<v>\d{1,3})(?:\b(?= ?(?:/|of) ?\d)|(?=\)|\s*(?:$|[,;|])))",
                         r"\b(?P<v>\d{1,3})(?:st|nd|rd|th) (?:attempt|try|time calling)\b",
                         r"\b(?P<v>first|second|third|fourth|fifth) (?:attempt|try)\b",
                         r"\bretry(?:ing)? [\[(](?P<v>\d{1,2})/\d", r"\btries\W{1,2}(?P<v>\d{1,2})\b",
                         r"\bafter (?P<v>\d{1,3}) (?:attempts?|tries)\b"),
    "retries": _compiled(r"\b(?P<v>\d{1,3}) prior attempts",
                         r"\bretry[_-]?(?:count|number)[\"']?\s*[:=]\s*(?P<v>\d{1,3})\b"),
    "revision": _compiled(rf"\brevision{_QUOTE}\]?\s*(?:[:=]>?)?\s*{_QUOTE}"
                          r"(?P<v>20\d\d-\d\d-\d\d(?:\.pre)?)"),
    "event_key": _compiled(rf"\bunique_?id{_QUOTE}\s*[:=]\s*{_QUOTE}(?P<v>[\w.:-]{{1,100}})",
                          r"\bunique_?id (?P<v>(?=[a-z_.:-]{0,60}\d)[\w.:-]{1,100})"),
    "profile_key": _compiled(r"(?<!duplicate_)profile(?:[ _-]?id)?[\"']?(?: |[:=#(] ?)[\"']?"
                             r"(?P<v>(?-i:01[0-9A-HJKMNP-TV-Z]{24}))\b"),
    "topic": _compiled(r"\b(?P<v>event:[a-z_]+\.[\w]+)", r"\btopic\W{1,4}(?P<v>[\w.:-]{3,80})",
                       r"klaviyo\.webhook\.(?P<v>[\w.:-]{3,80})"),
    # Of the head of a line, not of its message: `klaviyo error: 502` is of no level.
    "level": (
        re.compile(r"(?<![\w/.-])(?P<v>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|FATAL|ALERT|EMERG|PANIC|SEVERE|"
                   r"VERBOSE|FINE(?:R|ST)?(?=:)|VRB|DBG|INF|WRN|FTL|ERRO|FATA|DEBU|TRAC|PANI)(?![\w/-])"),
        re.compile(r"^(?:<\d{1,3}>)?(?:\S{0,40}\d\S{0,40} ){0,3}\[?"
                   r"(?P<v>trace|debug|info|notice|warn|warning|error|crit|critical|fatal|fail)\]?:? "),
        re.compile(rf"(?:\[[\w.]{{1,60}}[:.#]|[\[(|<]\s{{0,3}})(?i:(?P<v>{_LEVELS}))\s{{0,5}}[\])|>]"),
        re.compile(rf"(?:^(?:┌ )?|[\])|>]\s{{1,2}}|:\d\d(?:[.,]\d{{1,9}})?(?:Z| ?UTC)?\s{{1,2}})"
                   rf"(?i:(?P<v>{_LEVELS})): "),
        re.compile(rf"(?:^|\s)(?P<v>{_LEVELS})\s{{2,}}\S"),
        re.compile(r"\b(?:level|lvl|severity|(?<= )Type(?==(?:Error|Warn)))[\"']?[=:] ?[\"']?(?P<v>\w+)"),
        re.compile(rf"^at=(?P<v>{_LEVELS})\b"),
        re.compile(r"^\S{0,40} ?(?:\w+\.)(?P<v>DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|ALERT|EMERGENCY): "),
        re.compile(
            r"(?:\[(?=\w[\] ])|(?:^|\d )(?=\w/\w)|\w (?=\w/[\w.-]{3,40}\s?[:(])|"
            r"[a-z]\.\w{1,40} {1,40}(?=\w )|"
            r"  (?=\w  )|:\d\d(?:\.\d{3,9})?Z? (?=\w (?:\[|[\w-]{2,40}:))|"
            r"^(?=\w20\d{6}-|\w \d{4}[/-]\d\d[/-]))"
            r"(?P<v>[VDIWEF])"
        ),
        re.compile(r"^<(?P<v>[0-7])>"),
        re.compile(r"^(?P<v>Error) in [\w.:]{1,60}\("),  # R
        re.compile(r"\bPHP (?:\w+ )?(?i:(?P<v>error|warning|notice)):"),
        re.compile(rf"(?:^(?:On)?|,)\"?(?i:(?P<v>{_LEVELS}))\"?(?:,|$)"),  # a cell of an export
    ),
}  # fmt: skip

_SAID_BY_NAME = tuple(pattern for pattern in PATTERNS["status"] if "klaviyo" in pattern.pattern)
#: How client libraries log an exchange: Typhoeus, httpx, urllib3, Guzzle, OkHttp, .NET.
_WIRE = re.compile(
    r"\bETHON: performed|HTTP Request: [A-Z]+ https?://\S+ \\?\"HTTP/|"
    r"https?://[\w.-]+(?::\d+)? \\?\"[A-Z]+ \S+ HTTP/[\d.]+\\?\" \d{3}|"
    r"\b[A-Z]+ https?://\S+ HTTP/[\d.]+ (?:-|RESPONSE:) \d{3}|<-- \d{3} \S* ?https?://|"
    r"Received HTTP response (?:headers )?after [\d.]+ ?ms - \d{3}",
    re.ASCII,
)
#: `errors[].code` → the status it comes with; the first two are said in words too.
CODES: Mapping[str, int] = {
    "throttled": 429, "not_authenticated": 401, "authentication_failed": 401, "permission_denied": 403,
    "forbidden": 403, "not_found": 404, "duplicate_profile": 409, "variant_not_found": 404,
}  # fmt: skip
WORDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), status)
    for pattern, status in (
        (r"request was throttled|too many requests|TooManyRequests|rate[- ]limited (?:by|on)\b|"
         r"klaviyo\]?:? (?:api )?rate[- ]limit(?:ed\b| on\b)|"
         r"\bthrottled\W{1,4}(?:retry|waiting|sleeping|backing)|"
         r"rate[- ]limited\W{1,4}(?:waiting|retrying|sleeping|backing)|"
         r"rate limit (?:was )?(?:exceeded|hit|reached)|throttled (?:by|on)\b", 429),
        (r"missing or invalid (?:private key|authorization scheme)|authentication credentials were not", 401),
        (r"this API has been retired", 410),
        (r"phone[_ ]number\W{1,3}must (?:not be empty|be provided) when .{0,20}sms channel", 400),
    )
)  # fmt: skip
#: Without 408: a "request timeout" is what a client says who got no answer.
_REFUSALS = {each.phrase.lower(): int(each) for each in HTTPStatus if each >= 400 and each != 408}
_PHRASE = "|".join(map(re.escape, sorted(_REFUSALS, key=len, reverse=True)))
_REASON = re.compile(
    r"(?:error|exception|\b(?:reason|failed|status|response|answer|answered|responded|returned|replied|got|"
    rf"received|with))\W{{1,4}}(?:an? )?({_PHRASE})\b|^({_PHRASE})\s*$", re.IGNORECASE | re.MULTILINE
)  # fmt: skip
#: As exceptions and constants are named: `Faraday::TooManyRequestsError`, `503 SERVICE_UNAVAILABLE`.
_NAMES = {
    "BadRequest": 400, "Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "Conflict": 409,
    "UnprocessableEntity": 422, "TooManyRequests": 429, "InternalServer": 500, "InternalServerError": 500,
    "BadGateway": 502, "ServiceUnavailable": 503, "GatewayTimeout": 504,
}  # fmt: skip
_NAMES |= {re.sub(r"\B([A-Z])", r"_\1", name).upper(): status for name, status in _NAMES.items()}
_NAME = re.compile(
    rf"(?<![A-Za-z])({'|'.join(_NAMES)})(?:Error|Exception)\b|(?:::|[$.\\])({'|'.join(_NAMES)})\b|"
    rf"\b({'|'.join(name for name in _NAMES if '_' in name)})\b|"
    rf"\b(?:returned|answered|responded|replied|gave|with|got|status|code)[ :=]{{1,2}}({'|'.join(_NAMES)})\b"
)
_WAITS = re.compile(
    r"(?:retr|wait|available|next[ _](?:\w{2,12}[ _])?in|next[ _](?:try|attempt|run)|"
    r"sleep|backoff|back off|again|expire|pause|delay|ttl|interval|timeout[\"']?[:=])"
    r"(?:(?!\d ?m?s\b)[^.;|]){0,24}$",
    re.IGNORECASE,
)
#: Before a number that is no answer: what somebody would do if it were.
_IF = re.compile(
    r"\b(?:(?:retry(?:ing|able)?|back(?:ing)? ?off|give up|fail)(?: only)? (?:on|for|of)|"
    r"(?:handl|ignor|treat|expect|simulat|mock)\w*|if|when|"
    r"whenever|unless|case|retry[_-]?(?:on|status(?:es|[_-]?codes?)?)\W{1,4}|"
    r"(?:retryable|ignored|expected) status(?:es| codes?)?)"
    r"[\s\W]{0,4}(?:an? |a klaviyo |http |status |code |is ){0,3}$|(?<![=!])[=!]==? ?$|\bcase $",
    re.IGNORECASE,
)
_URL_TOLD = re.compile(rf"{_URL}|/(?:api|client)/[^\s,;|]+")
#: What every number with a unit of time has; it costs a third of a microsecond to look for.
_TIMED = re.compile(r"\d(?: ?(?:m|s|[µμ]|us|ns|h)|:\d\d:\d)", re.ASCII)
_QUOTED = re.compile(r"\"(\d{3})\"")
_LONE = re.compile(
    r"(?<![\w.:/#@=&?%+'\"-])(?P<v>20[0-24]|30[1-478]|40\d|41[0-8]|42[2-9]|431|451|50[0-5]|52\d|530)"
    rf"(?![\w./%:'\"-]){_COUNTED}",
    re.IGNORECASE | re.ASCII,
)
#: `Retrying x in`, `Backing off x(...) for`: so long somebody waits.
_PUTS_OFF = re.compile(
    r"(?:retrying|backing off|sleeping)\b.{0,120}\b(?:in|for|after) $|"
    r"(?:retrying|backing off|sleeping|waiting|wait|holding)(?: for)?[ :=]{1,2}$",
    re.IGNORECASE,
)


def search(field: str, text: str) -> re.Match[str] | None:
    """The first match of a field's patterns."""
    for pattern in PATTERNS[field]:
        if found := pattern.search(text):
            return found
    return None


def status(text: str) -> re.Match[str] | None:
    """The status told; not one that somebody would act upon: "retry on 429"."""
    for pattern in PATTERNS["status"]:
        found = pattern.search(text)
        while found and _IF.search(text[max(0, found.start("v") - 40) : found.start("v")]):
            found = pattern.search(text, found.end())
        if found:
            return found
    return None


def said_by_klaviyo(text: str) -> bool:
    """Does it say in as many words that Klaviyo answered with a status?"""
    return any(pattern.search(text) for pattern in _SAID_BY_NAME)


def lone_status(text: str) -> int | None:
    """A number that can be nothing but a status, in the text of a call."""
    if text.count(",") > text.count(" "):
        text = text.replace(",", " , ")
    if '"' in text:
        text = _QUOTED.sub(r" \1 ", text)
    found = _LONE.search(_URL_TOLD.sub(" ", text))
    return int(found["v"]) if found else None


def may_time(text: str) -> bool:
    """Can this message tell how long something took? Most of successes do not."""
    return _TIMED.search(text) is not None


def duration(text: str) -> re.Match[str] | None:
    """How long something took; not how long somebody waits before trying again."""
    for pattern in PATTERNS["duration"]:
        for found in pattern.finditer(text):
            before = text[max(0, found.start() - 130) : found.start("v")]
            if not _WAITS.search(before) and not _PUTS_OFF.search(before):
                return found
    return None


def by_library(text: str) -> bool:
    """Did a client library write this of an exchange?"""
    return ("HTTP" in text or "ETHON" in text or "<-- " in text) and _WIRE.search(text[:MOST]) is not None


def said_status(text: str) -> int | None:
    """The status that words without a number stand for."""
    if told := next((status for pattern, status in WORDS if pattern.search(text)), None):
        return told
    if found := _REASON.search(text):
        return _REFUSALS[(found[1] or found[2]).lower()]
    found = _NAME.search(text)
    return _NAMES[found[found.lastindex or 1]] if found else None


def ends(text: str) -> str:
    """`text`, or both ends of it if it is too long to search."""
    return text if len(text) <= MOST else f"{text[: MOST * 3 // 4]}\n{text[-MOST // 4 :]}"
