"""Who gave the answer that a record tells of: Klaviyo, its edge, or somebody in its place.

`klaviyo.answers` decides this of an answer that was received; here only what an application wrote of one is
at hand, so that words stand for headers and bodies.
"""

from __future__ import annotations

import re

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.answers import PROXIES
from klaviyo_nb.logs.formats import text

#: Words that only Klaviyo's API answers with, and what its errors point to.
_OUR_WORDS = (
    "request was throttled. expected available", "x-klaviyo-req-id", "cf-mitigated", "vnd.api+json",
    "this api has been retired", "missing or invalid authorization scheme", "missing or invalid private key",
)  # fmt: skip
_OUR_POINTER = expression(r"pointer\W{1,6}\[?/data")
_PAGE = expression(r"(?:<|\\u003c)(?:!doctype html|html\b|head>|body\b|center>)")
_EDGE = expression(
    r"<center>cloudflare</center>|cf-ray\W{1,8}-\W|cloudflare.{0,200}text/html|text/html.{0,2000}cloudflare|"
    r"cloudflare 5[0-9]{2}",
    re.DOTALL,
)
#: Words without which these patterns find nothing; looking for them takes a tenth of the time.
_PAGE_WORDS, _EDGE_WORDS = ("<", "\\u003c"), ("cloudflare", "cf-ray")
_PROXY_WORDS = ("via", "proxy", "squid", "zscaler", "coat", "privoxy", "mcafee")
#: Words without which nobody answered in Klaviyo's place; of most successes nothing more is asked.
_STRANGE = ("html", "json", "unexpected", "location", "'<'")
#: Of these it only counts whether they are there.
_MERE_WORDS = (*_OUR_WORDS, "just a moment...")
#: A text without any of them tells no more than the status and the code that came with it.
CLUES = tuple(
    word.encode()
    for word in (
        *_MERE_WORDS,
        "pointer",
        *_PAGE_WORDS,
        *_EDGE_WORDS,
        *_PROXY_WORDS,
        *_STRANGE,
    )
)
#: So many of them, the first ones, are as good as the text that they stand in.
MERE = len(_MERE_WORDS)
_EDGE_STATUSES = range(520, 528)
_VIA = expression(
    r"(?<![\w-])via\\*[\"']?\s{0,3}(?:=>|[:=,])\s{0,3}\\*[\"'\[(]{0,3}\d\.\d |"
    r"proxy-(?:authenticate|connection)|x-squid"
)
#: A reader of JSON met markup, or was told that it would.
_MARKUP_MET = expression(
    r"unexpected token '?<|unexpected token at '<|character '<' looking for|unexpected character \('<'|"
    r"unexpected character '?<|unexpected character encountered while parsing value: <|"
    r"'<' is an invalid start|"
    r"content[ -]type[^\n]{0,24}: '?text/html|(?:got|received|not json)\W{1,4}text/html|text/html instead of"
)
#: Something could not be read as JSON.
_NOT_JSON = expression(
    r"text/html|jsondecodeerror|json::parser|not (?:valid )?json|invalid json|jsonexception|jsonparse|"
    r"expecting value: line 1 column 1|json_decode|syntaxerror"
)
_ELSEWHERE = expression(
    r"location\\*[\"']?\s{0,3}(?:=>|[:=])\s{0,3}\\*[\"']?https?://(?![\w.-]{0,60}klaviyo\.com)"
)
_PROXY_ASKS, _LOGIN_NEEDED = 407, 511
FAILS_FROM = 400
TROUBLE = frozenset(("warning", "error", "critical"))
#: Records of these levels tell of a success if their status does.
CALM = frozenset(("debug", "info"))


def our_answer(whole: str) -> bool:
    """Are these words that only Klaviyo's API answers with?"""
    low = whole.lower()
    return _any(_OUR_WORDS, low) or ("pointer" in low and _OUR_POINTER.search(low) is not None)


def answered_by(whole: str, error_code: str | None, status: int | None, level: str | None) -> str | None:
    """One of `klaviyo.answers.AnsweredBy`, where the record shows it.

    Args:
        whole: Its text.
        error_code: `errors[].code` of the answer.
        status: HTTP status.
        level: Of the record: what is unusual in a success counts only if the application minded.
    """
    if level in CALM and (status is None or status < FAILS_FROM):
        return None
    low = whole[: text.MOST].lower()
    if status is None or status < FAILS_FROM:
        return "portal" if _in_its_place(low, status, level) else None
    if status in (_PROXY_ASKS, _LOGIN_NEEDED):
        return "proxy" if status == _PROXY_ASKS else "portal"
    if "cf-mitigated" in low or "just a moment..." in low:
        return "challenge"
    page = _any(_PAGE_WORDS, low) and _PAGE.search(low)
    if error_code or "x-klaviyo-req-id" in low or (not page and our_answer(low)):
        return "klaviyo"
    if _any(_PROXY_WORDS, low) and (PROXIES.search(low) or _VIA.search(low)):
        return "proxy"
    if page or status in _EDGE_STATUSES or (_any(_EDGE_WORDS, low) and _EDGE.search(low)):
        return "edge"
    return None


def _any(words: tuple[str, ...], low: str) -> bool:
    for word in words:  # noqa: SIM110 - half the time of `any`
        if word in low:
            return True
    return False


def _in_its_place(low: str, status: int | None, level: str | None) -> bool:
    """Did a portal answer: a page where JSON was due, or the way to one?"""
    if not _any(_STRANGE, low):
        return False
    if _MARKUP_MET.search(low):
        return True
    if status is None:
        return False
    if status >= 300:  # Klaviyo's API sends nobody to another host
        return bool(_ELSEWHERE.search(low))
    return level in TROUBLE and bool(_PAGE.search(low) or (status == 200 and _NOT_JSON.search(low)))
