"""Free text: what is read in it by `patterns`, and what words without a number stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.patterns import COUNTED, PATTERNS, URL

#: Longer texts are searched at both ends, and around Klaviyo's name, only [characters].
MOST = 12_000

_SAID_BY_NAME = tuple(pattern for pattern in PATTERNS["status"] if "klaviyo" in pattern.pattern)
#: How client libraries log an exchange: Typhoeus, httpx, urllib3, Guzzle, OkHttp, .NET.
_WIRE = expression(
    r"\bETHON: performed|HTTP Request: [A-Z]+ https?://\S+ \\?\"HTTP/|"
    r"https?://[\w.-]+(?::\d+)? \\?\"[A-Z]+ \S+ HTTP/[\d.]+\\?\" \d{3}|"
    r"\b[A-Z]+ https?://\S+ HTTP/[\d.]+ (?:-|RESPONSE:) \d{3}|<-- \d{3} \S* ?https?://|"
    r"Received HTTP response (?:headers )?after [\d.]+ ?ms - \d{3}",
    re.ASCII,
)
#: What Klaviyo says in words too → the status it comes with.
WORDS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (expression(pattern, re.IGNORECASE), status)
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
_REASON = expression(
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
_NAME = expression(
    rf"(?<![A-Za-z])({'|'.join(_NAMES)})(?:Error|Exception)\b|(?:::|[$.\\])({'|'.join(_NAMES)})\b|"
    rf"\b({'|'.join(name for name in _NAMES if '_' in name)})\b|"
    rf"\b(?:returned|answered|responded|replied|gave|with|got|status|code)[ :=]{{1,2}}({'|'.join(_NAMES)})\b"
)
_WAITS = expression(
    r"(?:retr|erneut|réessa|reintent|wait|(?<!un)available|next[ _](?:\w{2,12}[ _]){0,3}in|next[ _](?:try|"
    r"attempt|run)|"
    r"sleep|back ?off|(?:come|be) back|again|expire|pause|delay|resets? in|ttl|interval|timeout[\"']?[:=]|"
    r"\b(?:cpu|connect|dns|tls|ssl|handshake|queued?|db)[\w-]{0,6}[:=])"
    r"(?:(?!\d ?m?s\b|took\b|elapsed\b)[^.;|]){0,24}$",
    re.IGNORECASE,
)
#: Before a number that is no answer: what somebody would do if it were.
_IF = expression(
    r"\b(?:(?:retry(?:ing|able)?|back(?:ing)? ?off|give up|fail)(?: \w{1,20})? (?:on|for|of)|"
    r"(?:handl|ignor|treat|expect|simulat|mock)\w*|if|when|"
    r"whenever|unless|case|(?:not|never|n't) retry|retry[_-]?(?:on|status(?:es|[_-]?codes?)?)\W{1,4}|"
    r"(?:retryable|ignored|expected) status(?:es| codes?)?)"
    r"[\s\W]{0,4}(?:an? |a klaviyo |http |status |code |is ){0,3}$|(?<![=!])[=!]==? ?$|\bcase $|"
    r"\b(?:if|unless|should|whenever) (?:[^.,;:!?|=]|\.(?=\w)){0,60}$",
    re.IGNORECASE,
)
#: So much before a number may say that it is supposed [characters].
_CLAUSE = 80
_THREE_DIGITS = expression(r"\b[2-5]\d\d\b", re.ASCII)
#: What has numbers of its own.
_NUMBERED = expression(
    r"\b(?:of|order|worker|row|page|batch|job|line|version|pid|part|user|item|store|thread|"
    r"record|step|id|no|nr)\.?[ :#]{1,2}$",
    re.IGNORECASE,
)
_URL_TOLD = expression(rf"{URL}|/(?:api|client)/[^\s,;|]+")
#: What every number with a unit of time has; it costs a third of a microsecond to look for.
_TIMED = expression(r"\d(?: ?(?:m|s|[µμ]|us|ns|h|秒|毫|ミ)|:\d\d:\d)", re.ASCII)
_QUOTED = expression(r"\"(\d{3})\"")
_LONE = expression(
    r"(?<![\w.:/#@=&?%+'\"-])(?P<v>20[0-24]|30[1-478]|40\d|41[0-8]|42[2-9]|431|451|50[0-5]|52\d|530)"
    rf"(?![\w./%:'\"-]){COUNTED}",
    re.IGNORECASE | re.ASCII,
)
#: `Retrying x in`, `Backing off x(...) for`: so long somebody waits.
_PUTS_OFF = expression(
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
        while found and _supposed(text, found.start("v")):
            found = pattern.search(text, found.end())
        if found:
            return found
    return None


def _supposed(text: str, at: int) -> bool:
    return _IF.search(text[max(0, at - _CLAUSE) : at]) is not None


def supposes(text: str) -> bool:
    """Does it say what to do with a status, should one come?"""
    return any(_supposed(text, found.start()) for found in _THREE_DIGITS.finditer(text))


def said_by_klaviyo(text: str) -> bool:
    """Does it say in as many words that Klaviyo answered with a status?"""
    return any(pattern.search(text) for pattern in _SAID_BY_NAME)


def lone_status(text: str) -> int | None:
    """A number that can be nothing but a status, in the text of a call."""
    if text.count(",") > text.count(" "):
        text = text.replace(",", " , ")
    if '"' in text:
        text = _QUOTED.sub(r" \1 ", text)
    text = _URL_TOLD.sub(" ", text)
    for found in _LONE.finditer(text):
        before = text[max(0, found.start() - 40) : found.start()]
        if not _supposed(text, found.start()) and not _NUMBERED.search(before):
            return int(found["v"])
    return None


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


def of_failure(texts: Sequence[str]) -> str:
    """What a record's texts say of a failure, each thing once: the logger's sentence, then the error's own.

    Of a trace that is the line which names the error.
    """
    said = [texts[0]]
    for each in texts[1:]:
        lines = each.strip().splitlines() or [""]
        line = lines[-1 if lines[0].startswith("Traceback (") else 0].strip()
        if not any(line in told for told in said):
            said = [*(told for told in said if told not in line), line]
    return ": ".join(told.rstrip(" .:") for told in said[:-1]) + ": " * (len(said) > 1) + said[-1]


def ends(text: str) -> str:
    """`text`, or if it is too long to search both ends of it and what is around Klaviyo's name between."""
    if len(text) <= MOST:
        return text
    reach = MOST // 8
    spans, last, low = [(0, MOST * 3 // 4)], len(text) - MOST // 4, text.lower()
    named = {low.find("klaviyo", spans[0][1], last), low.rfind("klaviyo", spans[0][1], last)} - {-1}
    for at in sorted(named):
        spans.append((max(at - reach, spans[-1][1]), min(at + reach, last)))
    return "\n".join(text[begin:end] for begin, end in (*spans, (last, len(text))))
