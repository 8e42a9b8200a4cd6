"""Free text: the shapes in which it tells of a method, a URL, a status, a duration, an error.

Patterns are tried in order and the first match wins, so the surest shapes come first. A number is a status
only where something says so: "429 on attempt 1", "status code 429", "429 Too Many Requests", never "429
profiles".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.answers import CODES
from klaviyo_nb.logs.formats.values import COMPOUND, UNIT

URL = r"https?://[^\s\"'`<>\])}\\,|;]+(?<![:.])"
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
COUNTED = (
    r"(?! Can't connect| read timeout| Status read failed|"
    r"(?:,|,? (?:and|or)) ?[2-5]\d\d\b(?! ?(?:bytes|ms|s|rows|records|events)\b)|"  # a list is of no one call
    r"[\d.,:%/-]*\d|%|\s?(?:ms|µs|us|ns|s|sec|secs|seconds?|m|min|minutes?|h|bytes?|[KMGk]i?[Bb])\b"
    r"|\s?req(?:uest)?s?(?:/| per)| per\b|\s?rp[sm]\b"
    r"|\s(?:accepted|rejected|skipped|created|updated|imported|exported|synced|queued|processed|deleted|inserted|"
    r"unchanged|removed|ok|done|remaining|left|in total|of|handler|handling|page)\b"
    r"|\s(?:(?:new|more|unique|active|total|pending|failed|old|customer|profile|event)\s)?(?!(?:requests|https?|headers|status|details|was|has|this|tras)\b)"
    r"[a-z]{3,}s\b(?!=|: ?\d))"
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
    r"panic|severe|fehler|erreur|errore?|warnung|avertissement|advertencia|avviso"
)
#: Behind a time, before what stands next to it.
_TIME_ENDS = (
    r"(?::\d\d|T\d{6}|^\d{10})(?:[.,:]\d{1,9})?(?: ?(?:Z|(?:UTC|GMT)(?: ?[+-]\d{4})?|CES?T|[EP][SD]T|[AP]M|"
    r"[+-]\d\d:?\d\d))?"
    r"[\])]?(?:\s{1,3}|\s?[-|,;]\s?|\s:\s)[\[(<|]?\s?"
)
#: How long a program has been running, before a level: a clock, and no duration.
_RUNNING = r"\s{0,8}\d{1,8}\.\d{1,6}s\s{1,8}"
_KLAVIYO_SAID = (
    rf"\bklaviyo\b(?: api| upstream| server| sdk)?(?: \w+ed(?= ))?[ :-]{{1,3}}(?:{_SAYS})\b"
    rf"(?: with| code| status| http| response| an?| us)*[ :=(\[]{{1,3}}(?P<v>[2-5]\d\d)\b{COUNTED}"
)
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_QUOTE = r"\\*[\"']?"
#: Codes that are no word of anybody else's, wherever they stand; Klaviyo's `invalid` needs more beside it.
_OUR_OWN = [code for code in CODES if code not in ("forbidden", "variant_not_found")]
_ERROR_CODES = "|".join(_OUR_OWN)
#: What `errors[].code` may be under any key.
OUR_CODES = frozenset((*_OUR_OWN, "invalid"))


#: Open repetitions → bounded ones: hostile text must not cost time that grows with the square of its length.
_BOUNDS = ((r"\d+", r"\d{1,12}"), (r"\s*", r"\s{0,8}"), (r"\s+", r"\s{1,8}"), (r"\w+", r"\w{1,80}"),
           ("]+", "]{1,1000}"), ("]*", "]{0,1000}"), (")*", "){0,4}"))  # fmt: skip


def _compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(expression(_bounded(pattern), re.IGNORECASE | re.ASCII) for pattern in patterns)


def _bounded(pattern: str) -> str:
    for many, bounded in _BOUNDS:
        pattern = pattern.replace(many, bounded)
    return pattern


#: Field → patterns, surest first; the value is group `v` (and its unit `u`, where there is one).
PATTERNS: Mapping[str, tuple[re.Pattern[str], ...]] = {
    "request": _compiled(
        rf"(?<![A-Za-z\d_])(?:XHR)?(?P<method>{VERB})\b(?!/\d)[\]\"'`:,;|]*\s*"
        rf"(?:request |call |[1-5]\d\d (?=https?:))?(?:to |for |on |from )?"
        rf"(?:resource )?(?:a\.klaviyo\.com(?::443)? (?=/))?[\\\[\"'`<(]*(?P<v>{URL}|"
        rf"(?:/|(?=(?:api|client)/)){_STEP}{{0,1000}}(?<!\.)(?:\?[^\s\"'`]*)?)",
        r"\blocalhost:\d{2,5}(?P<v>/(?:api|client)/[a-z][\w.%/{}-]*(?<!\.))",
        rf"(?:url:?|uri:?|endpoint:?|to|for) [<(\[\"'`]*(?P<v>{URL}|/(?:api|client)/[\w.%/{{}}-]+(?<!\.))",
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
        # what came, not what was looked for
        r"(?:\bbut (?:\w+ ){0,2}|\b(?:expected|wanted)\b\D{0,40}\d{3}\D{1,4})(?:found|got|was|"
        r"received|returned|answered|saw) (?P<v>[2-5]\d\d)\b",
        r"\bactual (?:value|status|code)\W{0,3}(?: ?is)?[\s:=<]{1,3}(?P<v>[2-5]\d\d)\b",
        _KLAVIYO_SAID,
        r"\bHTTP/[\d.]+\"?\s+(?:(?:-|->|RESPONSE:?) )?(?P<v>[2-5]\d\d)\b",
        r"\bcloudflare \W?(?:error )?(?P<v>5[23]\d)\b",
        r"\b(?P<v>[45]\d\d) (?:Client|Server) Error\b",
        rf"(?<!--)\b(?:http[ _-]?|response[ _-]?|upstream[ _-]?)*(?:status[ _-]?code|status|(?:http|response|"
        rf"error)[ _-]code)"
        rf"(?: (?:number|returned|received|from \w+))?{_QUOTE}\s*(?:[:=]+>?|is|was|"
        rf"of)?\s*{_QUOTE}[(\[]?(?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"\b(?P<v>[2-5]\d\d)[\s:,()\]·|–—-]{{1,3}}(?:[\"'`]?(?:{_PHRASES})|{_ONE_WORD})\b",
        rf"(?:\b|(?<=_))HTTP(?: error| status| response)?[:\s_]+0?(?P<v>[2-5]\d\d)\b{COUNTED}",
        r"\b(?:TCP|NONE)_\w+/(?P<v>[2-5]\d\d)\b",
        r"\bafter [\d.]+ ?ms - (?P<v>[2-5]\d\d)\b",
        rf"(?<![\"'])(?:->|=>|→|<--|<-|⇒) ?[\"'(\[]?(?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"\b(?:{VERB}) /\S{{1,200}} (?:- )?(?P<v>[2-5]\d\d) (?:\d+(?:\.\d+)? ?[mµu]?s\b|- |"
        rf"(?<=- \d{{3}} )\d)",
        rf"(?<!--)\b(?:{_SAYS})\b(?!(?<=[sd])(?<!status)=|(?<=errors):)"
        rf"(?: with| code| status| response| an?| from \w+| by \w+|"
        rf" HTTP)*\s?[:=(\[{{\"'`\s-]{{0,4}}"
        rf"(?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"(?<!\.)\b(?:with|mit|avec|con|com) (?:an? |status |code )?(?P<v>20[0-4]|[45]\d\d)\b{COUNTED}",
        r"\b(?P<v>[2-5]\d\d) from (?:the )?klaviyo\b",
        rf"\b(?P<v>[45]\d\d),? (?-i:{_ERROR_CODES}|invalid(?! (?!at\b)[a-z]))\b",
        r"\b(?P<v>[2-5]\d\d):? ?\{\s*\\*\"(?:message|errors?|detail)\b",  # with its body
        r"\b(?P<v>[45]\d\d) \((?!bytes)(?-i:(?:[a-z]{4,20}|[a-z]{3}(?=_))(?:_[a-z]{2,20})*)\)",
        rf"(?-i:\b[A-Z]\w{{1,60}}(?:::|\\)[A-Z]\w{{1,60}})(?:: |\(|: \(| \()(?P<v>[45]\d\d)\b{COUNTED}",
        rf"(?-i:\w(?:Error|Exception)\b)(?:: |\(|: \(|: \[| )(?P<v>[45]\d\d)\b{COUNTED}",
        rf"(?<!-)(?:\b|(?:http|resp|result|response|status)_)(?:code|rc|sc|st|resp|http|result|error|err|res)"
        rf"[\"']?=>?"
        rf"[\"'(]?(?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"klaviyo(?: webhook)?\]?[:\s]+(?:API )?(?P<v>[2-5]\d\d)\b{COUNTED}",
        r"klaviyo\]?:? (?:subscri\w+|track|identify|upsert|push|send|create|update) "
        r"(?P<v>20[0-24]|[45]\d\d)(?m:$)",
        r"(?:\(|(?<!\w)(?<!ids: )\[)(?P<v>20[0-24]|[45]\d\d)(?:[\])]|, (?=\d+(?:\.\d+)? ?m?s\b))",
        r"(?m:^)(?P<v>[45]\d\d)[,;:]? \(?(?=retry|wait|rate|throttl|back|will|giving|sleep|too many)",
        rf"\b(?:{VERB}) (?P<v>[2-5]\d\d) (?:\d+(?:\.\d+)? ?ms\b|https?://)",
        rf"(?-i:\b(?:get|create|update|delete|query|subscribe|bulk)[A-Z][A-Za-z]{{2,50}}):? "
        rf"(?P<v>[2-5]\d\d)\b{COUNTED}",
        r"\|\s*(?P<v>[2-5]\d\d)\s*\|",
        rf"(?:(?<![\w.:/])|\b(?:{VERB}):)/(?:api|client)/[\w/.-]{{1,200}}:(?P<v>[2-5]\d\d)\b",
        r"(?:^|[\s:])(?P<v>[2-5]\d\d)\s+<(?:!doctype|html)\b",
        r"\|\s*(?P<v>5[23]\d): (?-i:[A-Z])",  # the title of Cloudflare's page
        r"\bResult: '(?P<v>[2-5]\d\d)', Handled",  # Polly
        rf"(?:https?://|/api/|/client/)[^\s\"')]+[\"')]?(?:\s+(?:- )?|\s*[|,]\s*|: )"
        rf"(?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"\ba\.klaviyo\.com(?::\d+)?: (?P<v>[2-5]\d\d)\b{COUNTED}",
        rf"(?<![\w/])(?:a|an|on) (?P<v>[45]\d\d)\b{COUNTED}",
        rf"(?<!-)\b(?:{_SAYS})\b(?: us| it| them| you| this)?[,;:-] ?(?P<v>[45]\d\d)\b{COUNTED}",
    ),
    "duration": _compiled(
        rf"(?<![\w.,:+-])(?P<v>{COMPOUND})\b",
        r"\b(?:took|in|after|within|timeout of|durations?|elapsed|latency|(?:answer|response|reply|"
        r"silent) for|"
        r"(?:total|request|response|execution|"
        r"elapsed)[ _-]?time|time(?:[ _-]taken)?|rt|nach|en|dopo|por)"
        rf"(?:[ _-]?m?s)?[\"']?\s*[:=]?\s*[\"'(]?(?P<v>\d+(?:[.,]\d{{1,3}})?)[\s(]?(?P<u>{UNIT})(?!\w)",
        r"\b(?:duration|elapsed|latency|response_?time|time|took|rtt|dur)_?(?P<u>ms|micros|nanos|us|ns)[\"']?\s*[:=]\s*[\"']?(?P<v>\d+(?:\.\d+)?)",
        r"\b(?:total_time|time_total|request_time|upstream_response_time|urt|rt|elapsed|duration|seconds|time|took|latency)[\"']?\s*[:=]>?\s*[\"']?(?P<v>\d+\.\d+)\b",
        r"\b(?:took|in|after|elapsed|duration|latency|time)[\"']?\s*[:=]?\s*[\"'(]?(?P<v>\d\d?:\d\d:\d\d\.\d{1,9})\b",
        r"(?<![\dT:.-])(?<!\d )(?P<v>\d\d:\d\d:\d\d\.\d{7})(?!\d)",  # .NET's
        r"\b(?P<v>PT(?:\d+[HM]){0,2}\d+(?:\.\d+)?S)\b(?! (?:until|before) )",
        r"\btimedelta\((?P<v>[a-z]+=\d+(?:, [a-z]+=\d+)*)\)",  # Python's
        r"\((?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|s|secs?|秒)(?!\w)",
        r"(?<= [2-5]\d\d )(?P<v>\d{1,12}) (?P<u>us)\b",
        r"\b(?:dur(?:ation)?|elapsed|latency|took|response[_-]?time|rtt)[=:] ?(?P<v>\d{1,6})(?![\w.:%-])",
        r"\" [1-5]\d\d \d+ (?P<v>\d{1,4}\.\d{3,6})(?= |$)",  # of the request, then of what was asked for it
        r"(?<![\w.,])[2-5]\d\d\"? (?P<v>\d{1,3}\.\d{3,6})(?![\w.]| ?m?s\b)",
        r"\" \d+ (?P<v>\d+\.\d{3}) \[[\w-]*\] \[",  # ingress-nginx
        r"\|(?P<v>\d{1,3}\.\d{3,6})\|",
        # Envoy, whatever its head
        r"HTTP/[\d.]+\" [1-5]\d\d [\w,-]+(?: \S+){0,3} \d+ \d+ (?P<v>\d+) (?:\d+|-) \"",
        r"(?<!\w)(?P<u>ms|us|[µμ]s|ns)=(?P<v>\d{1,12})\b",
        r"(?<![\w.+,])(?P<v>0,\d{1,6}|\d{1,3},\d{1,3}) ?(?P<u>s|secs?|seconds|sek)\b",
        r"\" (?P<v>\d{1,3}\.\d{3})(?= |$)",
        r"(?<=[ (=:])(?P<v>\d{1,3}(?:,\d{3})+) ?(?P<u>ms)\b",
        r"(?<![\w.+])(?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|[µμ]s|(?<=\d)us|ミリ秒|毫秒)(?!\w)",
        rf"(?<![\w.])(?!(?:^|(?<=^ )){_RUNNING}(?:{_LEVELS})\b)"
        r"(?P<v>\d+\.\d+) ?(?P<u>s|secs|seconds|秒)(?!\w)",
    ),
    "retry_after": _compiled(
        rf"\bretry[-_ ]?after(?: header)?(?:[_-]?(?P<u>ms|s|"
        rf"seconds))?{_QUOTE}\]?\s*(?:[:=,]>?|\.{{2,20}}|is|says|said|"
        r"of)?\s*(?:Some)?(?:\[ )?[\\\[\"'(]*(?P<v>\d\d:\d\d:\d\d(?:\.\d+)?|"
        rf"PT[\dHM.]{{1,12}}S|{COMPOUND}|\d+(?:\.\d+)?(?: ?{UNIT}(?!\w))?)",
        r"\bexpected available in (?P<v>\d+(?:\.\d+)?) (?P<u>s)econds?",
        r"\b(?P<v>\d+(?:\.\d+)?) ?(?P<u>ms|s|secs?|seconds?)\b[,\s(]{1,3}"
        r"(?:(?:said|says|from|per|as|by|told by|due to)(?: the)? )?retry-after",
        r"\b(?:asks|asked|says|said|tells|told|wants|wanted|demands|demanded|requests|suggests|advises|advised)"
        r"(?: (?:us|me|it|you))?(?: to)? (?:wait|(?:retry|come back|try again) (?:after|in))(?: for)? "
        rf"(?P<v>{COMPOUND}|\d+(?:\.\d+)?) ?(?P<u>{UNIT})?(?!\w)",
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
        rf"\b[45]\d\d\)?\s?[-:(,]?\s?(?P<v>(?-i:{_ERROR_CODES}|invalid(?! (?!at\b)[a-z]))\b)",
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
                         r"(?:\b|(?-i:(?<=[a-z])(?=A)))(?:attempt|(?<=current)attempts|versuch|intento|"
                         r"tentativ[aeo])(?:[ _-]?(?:number|no|num|nr|count)|sMade)?"
                         r"\W{1,3}#?(?P<v>\d{1,3})\b",
                         r"\btry\W{1,2}#?(?P<v>\d{1,3})(?:\b(?= ?(?:/|of) ?\d)|(?=[)\]]|\s*(?:$|[,;|])))",
                         r"\b(?P<v>\d{1,3})(?:st|nd|rd|th) (?:attempt|try|time calling)\b",
                         r"\b(?P<v>first|second|third|fourth|fifth) (?:attempt|try)\b",
                         r"\battempt (?P<v>one|two|three|four|five)\b",
                         r"\btried (?P<v>\d{1,2}|two|three|four|five) times\b",
                         r"\b(?P<v>\d{1,2}|two|three|four|five) (?:attempts|tries) so far\b",
                         r"\bretry(?:ing)? [\[(](?P<v>\d{1,2})/\d",
                         r"(?<!-)\b(?<!max )(?:attempts: |tries\W{1,2})(?P<v>\d{1,2})\b",
                         r"\b(?:after|on|in) (?P<v>\d{1,3}|two|three|four|five) (?:attempts?|tries)\b"),
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
        expression(r"(?<![\w/.-])(?P<v>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|CRIT|CRITICAL|FATAL|ALERT|EMERG|PANIC|SEVERE|"
                   r"VERBOSE|FINE(?:R|ST)?(?=:)|VRB|DBG|INF|WRN|FTL|ERRO|FATA|DEBU|TRAC|PANI|"
                   r"FEHLER|ERREUR|ERRORE?|WARNUNG|AVERTISSEMENT|ADVERTENCIA|AVVISO)(?![\w/-])"),
        expression(r"^(?:<\d{1,3}>)?(?:\S{0,40}\d\S{0,40} ){0,3}\[?"
                   r"(?P<v>trace|debug|info|notice|warn|warning|error|crit|critical|fatal|fail)\]?:? "),
        expression(rf"(?:[\[<][\w.]{{1,60}}[:.#]|[\[(|<\t]\s{{0,3}})(?i:(?P<v>{_LEVELS}))\s{{0,5}}[\])|>\t]"),
        expression(rf"(?:^(?:[┌│╷] )?|[\])|>]:?\s{{1,2}})(?i:(?P<v>{_LEVELS})): "),
        expression(
            rf"{_TIME_ENDS}(?:\S{{2,40}} (?=(?:Error|Warn|Warning|Info|Debug|Fatal|Critical|"
            rf"[DIWEF]) \[(?!\d))|"
            rf"(?=(?i:{_LEVELS})(?:[\])>|:;,]|\s{{2}}|\t| [-|:])|[VDIWEF](?: [\w\[(-]|[\])>|"
            rf"/:;,!])))(?P<v>[A-Za-z]+)"
        ),
        expression(rf"(?:^|\s)(?P<v>{_LEVELS})\s{{2,}}\S"),
        expression(rf"\s{{2,}}(?i:(?P<v>{_LEVELS}|fault))\s{{2,}}\S"),
        expression(rf"^{_RUNNING}(?P<v>{_LEVELS})\b"),
        expression(r"\b(?:level|lvl|severity|(?<= )Type(?==(?:Error|Warn)))[\"']?[=:] ?[\"']?(?P<v>\w+)"),
        expression(rf"^at=(?P<v>{_LEVELS})\b"),
        expression(rf"(?<![\w./-])(?:kern|user|mail|daemon|auth|authpriv|syslog|cron|local[0-7])\.(?P<v>{_LEVELS})(?![\w.-])"),
        expression(r"^\S{0,40} ?(?:\w+\.)(?P<v>DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|ALERT|EMERGENCY): "),
        expression(
            r"(?:\[(?=\w[\] ])|(?:^|\d )(?=\w/\w)|\w (?=\w/[\w.-]{3,40}\s?[:(])|"
            r"[a-z]\.\w{1,40} {1,40}(?=\w )|"
            r" (?=\w {2,3}\S)|^(?=\w20\d{6}[ -]|\w,? \d\d))"
            r"(?P<v>[VDIWEF])"
        ),
        expression(r"^(?P<v>Error) (?:in [\w.:]{1,60}\(|using )"),  # R, MATLAB
        expression(r"\bPHP (?:\w+ )?(?i:(?P<v>error|warning|notice)):"),
        expression(rf"(?:^(?:On)?|[,\t])\"?(?i:(?P<v>{_LEVELS}))\"?(?:[,\t]|$)"),  # a cell of an export
    ),
}  # fmt: skip
