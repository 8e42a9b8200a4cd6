"""What a record tells of: a call to Klaviyo's API, a webhook that came from it, or only a mention.

A call needs an outcome (a status, no response, or "ok" and "error" beside a named operation) and a tie to
Klaviyo's API: its URL, a path or an operation of the catalogue, an error body of its making, or Klaviyo's
name beside the outcome with nobody else in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.answers import CODES
from klaviyo_nb.logs.formats import text, times, values, wording
from klaviyo_nb.logs.formats.answering import FAILS_FROM, TROUBLE, answered_by, our_answer
from klaviyo_nb.logs.formats.hooks import webhook
from klaviyo_nb.logs.formats.mentions import (
    is_aside,
    is_named,
    is_played,
    is_sql,
    klaviyo_said,
    without_pages,
)
from klaviyo_nb.logs.formats.outcomes import Outcome, outcome_of
from klaviyo_nb.logs.formats.places import Where, called
from klaviyo_nb.logs.formats.reading import Read, read
from klaviyo_nb.logs.formats.table import Format

Kind = Literal["call", "webhook", "mention", "other"]

_QUERY = expression(r"\?[^\s\"']*|\"https?://[^\"]*\"")
#: A time at which to try again, as HTTP's other way to say so.
_UNTIL = expression(
    r"retry[-_ ]?after\W{1,8}([A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)", re.IGNORECASE
)
#: As most of Europe writes it; but `1,204` ms are a thousand.
_COMMA = expression(r"(?<=\d),(?=\d)")
_FRACTION = expression(r"0,\d+|\d+,\d\d?")
_PROFILE = expression(r"/profiles/([A-Za-z0-9]{10,40})(?:[/?\s\"']|$)")
#: Of a record's text so much is kept [characters].
MESSAGE = 4_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a record tells of.

    Attributes:
        kind: `other` has nothing to do with Klaviyo.
        moment: Microseconds since 1970, or None.
        fields: Columns of the CALLS or WEBHOOKS frame; not yet redacted.
    """

    kind: Kind
    moment: int | None
    fields: dict[str, Any]


def understand(raw: bytes, near: datetime, about: bool = False, own: tuple[Format, ...] = ()) -> Told:
    """Read a record and say what it tells of.

    Args:
        raw: Its bytes.
        near: For times without a year.
        about: Does the source as a whole speak of Klaviyo?
        own: Formats of the user, tried first.
    """
    it = read(raw, near, own)
    body = text.ends(it.body)
    moment = it.found.values.get("timestamp")
    moment = moment if isinstance(moment, int) and not it.found.keys["timestamp"] else times.of(moment, near)
    named = about or is_named(it, body)
    speaks = named or b"klaviyo" in raw.lower()  # an envelope may name it: a container, a unit, a label
    where = called(it, body, speaks)
    outcome = outcome_of(it, body, where)
    if it.silent:
        return Told("mention" if speaks else "other", moment, {})
    hook = webhook(it, body, where, outcome, speaks)
    if hook is not None:
        return Told("webhook", moment, hook)
    call = _is_call(it, body, where, outcome, speaks, named)
    if call and outcome.status and not _proved(it, where):
        path = where.path is not None
        call = our_answer(it.text) or wording.tells_of_a_call(it.text, path) is not False
    elif not call and named and (worded := _worded(it, body, outcome)):
        call, outcome = True, worded
    if call:
        fields = _fields(it, body, where, outcome)
        if "GMT" in it.text and "retry_after_s" not in fields and (until := _UNTIL.search(it.text)):
            fields["retry_after_s"] = _seconds_until(until[1], moment, near)
        return Told("call", moment, fields)
    return Told("mention" if speaks else "other", moment, {})


def _seconds_until(date: str, moment: int | None, near: datetime) -> float | None:
    until = times.of(date, near)
    return (until - moment) / 1e6 if until is not None and moment is not None and until >= moment else None


def _is_call(it: Read, body: str, where: Where, outcome: Outcome, speaks: bool, named: bool) -> bool:
    """Does it tell of a call? `speaks`: Klaviyo is named; `named`: by the application itself."""
    if it.access and where.place != "api":
        return where.place == "path" and "klaviyo" in _QUERY.sub("", it.text).lower() and outcome.known
    tunnel = it.found.values.get("method") == "CONNECT" or "CONNECT a.klaviyo.com" in it.text
    if tunnel and (outcome.status or 0) < FAILS_FROM:
        return False  # a proxy's tunnel: what was asked in it nobody saw
    if where.place == "api":
        played = it.text[:1] != "{" and is_played(body)
        return not played and (outcome.known or outcome.worked is not None)
    if where.place == "foreign":
        return bool(
            outcome.known
            and not it.access
            and speaks
            and (our_answer(it.text) or text.said_by_klaviyo(without_pages(body.lower())))
        )
    if where.place == "path" or where.endpoint is not None:
        told = (speaks or our_answer(it.text)) and (outcome.known or outcome.worked is not None)
        return told and not is_played(body) and not (is_aside if where.method is None else is_sql)(body)
    if not outcome.known:
        asked = f"{it.found.values.get('operation', '')} {it.found.values.get('caller')}".lower()
        return outcome.worked is not None and "operation" in it.found.values and "klaviyo" in asked
    if our_answer(it.text) or (speaks and it.found.values.get("error_code") in CODES):
        return True
    return named and not is_aside(body) and klaviyo_said(body or it.text, outcome.at)


def _proved(it: Read, where: Where) -> bool:
    """Is it a call whatever the words are: by its URL, by keys for what was asked and answered, unnamed?"""
    keyed = where.path is not None and {"url", "status"} <= it.found.values.keys()
    return keyed or where.place in ("api", "foreign") or "klaviyo" not in it.text.lower()


def _worded(it: Read, body: str, outcome: Outcome) -> Outcome | None:
    """The outcome of a record that is a call by its words, though no rule sees one; None: it is none."""
    if not outcome.known:
        outcome = Outcome(text.lone_status(it.text))
    if not outcome.known or is_played(body) or not klaviyo_said(body or it.text, outcome.at):
        return None
    return outcome if wording.tells_of_a_call(it.text) else None


def _fields(it: Read, body: str, where: Where, outcome: Outcome) -> dict[str, Any]:
    """Columns of the CALLS frame that the record tells."""
    fields: dict[str, Any] = {}
    for role, value in it.found.values.items():
        column, convert = CONVERT.get(role, (role, None))
        if where.told and role == "duration":
            continue
        told = convert(value, it.found.keys[role]) if convert else None
        if told is not None and (column not in fields or role == column):
            fields[column] = told
    structured = it.text[:1] == "{"
    told = values.status(it.found.values.get("status"))  # by a key: then other things have keys too
    plain = structured and told is not None and told < FAILS_FROM and not where.told
    if not plain:
        search_missing(fields, text.ends(body if structured else it.text))
    elif "duration_s" not in fields and text.may_time(body):
        search_duration(fields, text.ends(body))
    unanswered = outcome.error and not outcome.status and not our_answer(it.text)
    if unanswered and "klaviyo" not in it.found.keys.get("request_id", ""):
        fields.pop("request_id", None)  # Klaviyo's stands in its answer
    if where.place == "foreign":
        where = Where("none")  # during that request Klaviyo was called
    fields |= {
        "method": where.method,
        "endpoint": where.template,
        "status_code": outcome.status,
        "error_type": outcome.error or ("other" if outcome.worked is False and not outcome.status else None),
        "answered_by": answered_by(it.text, fields.get("error_code"), outcome.status, fields.get("level")),
        "message": _message(it, body, outcome, fields.get("level"))[:MESSAGE],
        "parsed": it.named,
    }
    if text.by_library(it.text):
        fields["wire"] = True
    if "profile_key" not in fields:
        fields["profile_key"] = profile_in(where.path)
    return fields


def _message(it: Read, body: str, outcome: Outcome, level: str | None) -> str:
    """The record's text; of an object its logger's sentence, and of a failure the error's own beside it."""
    if it.text[:1] != "{" or not it.found.texts:
        return body or it.text
    failed = outcome.status >= FAILS_FROM if outcome.status else outcome.error or outcome.worked is False
    return text.of_failure(it.found.texts) if failed or level in TROUBLE else it.found.texts[0]


def profile_in(path: str | None) -> str | None:
    """The profile that a path names."""
    found = _PROFILE.search(path or "")
    return found[1] if found else None


def search_missing(fields: dict[str, Any], whole: str) -> None:
    """Fill from the text what no key told."""
    low = whole.lower()
    for name, (column, clues) in _SOUGHT.items():
        if column not in fields and any(map(low.__contains__, clues)):
            found = text.search(name, whole)
            if found:
                unit = found.groupdict().get("u") or ""
                fields[column] = CONVERT[name][1](f"{found['v']}{unit}", "")
    if "duration_s" not in fields:
        search_duration(fields, whole)


def search_duration(fields: dict[str, Any], whole: str) -> None:
    """Fill how long it took, if the text says so."""
    if took := text.duration(whole):
        amount, unit = took["v"], took.groupdict().get("u")
        mark = "." if _FRACTION.fullmatch(amount) or (unit or "").startswith("s") else ""
        amount = _COMMA.sub(mark, amount)
        fields["duration_s"] = values.seconds(amount, "", unit or (None if amount.isdigit() else "s"))


def _request_id(value: Any, key: str) -> str | None:
    """Klaviyo's id for the call; another's only if it looks like one."""
    return values.word(value) if "klaviyo" in key else values.uuid(value)


def _again(value: Any, key: str) -> int | None:
    """Tries, from a number of retries."""
    retries = values.count(value)
    return None if retries is None else retries + 1


def _wait(value: Any, key: str) -> float | None:
    return values.seconds(value, "ms" if "ms" in key or "milli" in key else "s")


def _word(value: Any, key: str) -> str | None:
    return values.word(value)


#: What a key carries → the column, and how its value becomes that of the column.
CONVERT: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "host": ("host", _word),
    "level": ("level", values.level),
    "duration": ("duration_s", values.seconds),
    "retry_after": ("retry_after_s", _wait),
    "request_id": ("request_id", _request_id),
    "attempt": ("attempt", lambda value, key: values.count(value)),
    "retries": ("attempt", _again),
    "revision": ("revision", lambda value, key: values.revision(value)),
    "sdk": ("sdk", lambda value, key: values.product(value)),
    **{
        name: (name, _word)
        for name in ("worker", "caller", "error_code", "error_pointer", "profile_key", "event_key")
    },
}
#: What is sought in the text → the column, and words without which there is no such thing.
_SOUGHT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "request_id": ("request_id", ("id", "request")),
    "error_code": ("error_code", ("code", *CODES, "invalid")),
    "error_pointer": ("error_pointer", ("pointer", "parameter", "/data/")),
    "revision": ("revision", ("revision",)),
    "event_key": ("event_key", ("unique",)),
    "profile_key": ("profile_key", ("profile",)),
    "attempt": ("attempt", ("attempt", "versuch", "intento", "tentativ", "try", "trie", "time calling")),
    "retries": ("attempt", ("retrycount", "retry_count", "prior attempts")),
    "retry_after": ("retry_after_s", ("retry", "available", " wait", " again", " back")),
}  # fmt: skip
