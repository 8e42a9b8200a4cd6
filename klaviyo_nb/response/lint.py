"""Is this message fit to be sent? What a person edited, against the verdict it is about. Pure.

It refuses what the verdict does not say: numbers, ends, causes, blame; what only a person can vouch for,
unless the sentence says that somebody confirmed it; secrets and personal data; and what is out of date.
What stands in place of a blank of our own draft is a person's claim: its numbers and times are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from html import unescape
from typing import Any, get_args

from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.errors import UsageError
from klaviyo_nb.lines import many
from klaviyo_nb.redact import harmless
from klaviyo_nb.response.messages import CHANNELS, NEXT_UPDATE_MIN, PHASES, Channel, message
from klaviyo_nb.window import parse_time

_CAUSES: tuple[str, ...] = get_args(Cause)
_BLANK = re.compile("‹[^›\n]*›")
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(?: ?UTC|Z)?")
_DUE = re.compile(rf"(next update|last updated)\W+({_STAMP.pattern})", re.IGNORECASE)
#: A time, a percentage, a severity or another number, as one token.
_TOKEN = re.compile(
    r"\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}(?::\d{2})?|\bP\d\b|\d+(?:[.,]\d+)*(?:\s?%|st|nd|rd|th)?", re.ASCII
)
_AFTER = re.compile(r"\s*([^\W\d]+)?")
#: Smaller numbers are in every verdict: the word that follows must fit as well.
_TELLING = 100
_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]?")
_VENDOR = re.compile(
    r"\b(?:klaviyo|vendor|third[- ]party|(?:e-?mail|upstream|service) provider|supplier)\b", re.IGNORECASE
)
_WHO = r"(?:klaviyo|the vendor|the supplier|the (?:e-?mail|upstream|service) provider)"
#: Whoever is named is said to have done it.
_BLAME = re.compile(
    rf"\b{_WHO}(?:'s api)? (?:is|was|has been) (?:down|broken|at fault|to blame|responsible|unavailable)"
    rf"|\b{_WHO}(?:'s api)? (?:broke|crashed|failed|caused|has (?:an? )?(?:outage|incident|problem))"
    rf"|\b{_WHO}'s (?:fault|outage|mistake|bug)"
    rf"|\b(?:because of|due to|caused by|blame|(?:outage|incident|problems?|fault) (?:at|with|of)) {_WHO}",
    re.IGNORECASE,
)
#: Not what is still to be.
_OVER = re.compile(
    r"(?<!\bbe )\b(?:resolved|recovered|restored|fixed|is over|back to normal|all clear)\b", re.IGNORECASE
)
#: What no log and no probe can tell.
_PERSONS = re.compile(
    r"\bno (?:data|e-?mails?|updates?|orders?) (?:was|were|is|are|has been|have been) lost\b"
    r"|\bnothing (?:was|is) lost\b|\bwill be (?:delivered|sent)\b|\bunaffected\b"
    r"|\b(?:data|updates?|everything) (?:is|are) (?:queued|safe)\b|\bno (?:customers?|users?)\b"
    r"|\ball (?:customers|users)\b|\bnobody (?:was|is) affected\b",
    re.IGNORECASE,
)
#: What redaction leaves, and what is long and mixed as only keys and ids are.
_REDACTED = re.compile(r"\[redacted:[\w-]+\]|\b(?:email|phone)-[0-9a-f]{8}\b")
_MIXED = re.compile(r"(?<![\w+/=-])(?=[^\W\d]*[\w+/=-]*\d)(?=[\d+/=_-]*[A-Za-z])[\w+/=-]{16,}")
_PIECE = re.compile(r"‹[^›\n]*›|\w+|[^\w\s]|\n")
_VOUCHED = re.compile(r"\b(?:confirmed|verified|checked)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that may not be sent.

    Attributes:
        line: 1-based.
        what: What is wrong with it.
        instead: What to write.
    """

    line: int
    what: str
    instead: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a draft.

    Attributes:
        findings: What may not be sent.
        said: Line and text of what a person wrote in place of a blank.
    """

    findings: tuple[Finding, ...]
    said: tuple[tuple[int, str], ...]


def lint(
    text: str,
    document: Mapping[str, Any],
    channel: Channel,
    now: datetime,
    redact: Callable[[str], str],
    *,
    named: tuple[str, ...] = (),
    lead: str | None = None,
    publish: bool = True,
    draft: str = "",
) -> Checked:
    """Everything in `text` that may not be sent.

    Args:
        text: The message.
        document: The verdict, as `verdict_document` gives it.
        channel: Where it is to be sent; a status page is public.
        now: When.
        redact: Takes secrets and personal data out of a text.
        named: Texts that are known from elsewhere, such as the incident's id.
        lead: Who leads; may be named to colleagues, not in public.
        publish: Refuse blanks that nobody has filled.
        draft: What `text` was made from, if that is known.
    """
    told = _told(document, (*named, lead or ""))
    known = _known(told)
    text = _without_secrets(harmless(text), redact, "\n".join(told))
    spans = _filled(text, _without_secrets(draft, redact, "\n".join(told)))
    found: list[Finding] = [*_stale(text, document, now)]
    if not text.strip():
        found.append(Finding(1, "it is empty", "what the draft says: klaviyo-nb message DIR without --check"))
    # whoever fills a blank vouches for it
    for number, (line, vouched) in enumerate(
        zip(text.split("\n"), _vouched(text, spans).split("\n"), strict=True), 1
    ):
        if publish:
            found += (Finding(number, f"{blank[0]} is not filled", "what it asks for, or leave it out")
                      for blank in _BLANK.finditer(line))  # fmt: skip
        plain, vouched = (unescape(_BLANK.sub(" verified ", each)) for each in (line, vouched))
        for check in (
            _numbers(_REDACTED.sub(" ", vouched), known, document),
            _severities(plain, document),
            _causes(plain, document),
            _blame(plain, document, channel),
            _ends(vouched, document),
            _claims(plain),
            _private(unescape(line), channel, lead),
        ):
            found += (Finding(number, what, instead) for what, instead in check)
    said = [(text.count("\n", 0, start) + 1, text[start:end]) for start, end in spans]
    return Checked(tuple(sorted(found, key=lambda each: each.line)), tuple(said))


def _without_secrets(text: str, redact: Callable[[str], str], known: str) -> str:
    """The text that is looked at: what a finding repeats can then hold no secret, nor a part of one."""

    def taken_out(match: re.Match[str]) -> str:
        return match[0] if match[0] in known else "[redacted:secret]"

    return _MIXED.sub(taken_out, redact(text))


def _filled(text: str, draft: str) -> list[tuple[int, int]]:
    """Where `text` has something else in place of a blank of `draft`: start and end, each within a line."""
    ours, theirs = ([*_PIECE.finditer(each)] for each in (draft, text))
    words = [[each[0] for each in pieces] for pieces in (ours, theirs)]
    spans = []
    for change, first, last, start, end in SequenceMatcher(None, words[0], words[1], False).get_opcodes():
        was = [each[0] for each in ours[first:last]]
        # A number of ours that went with the blank may not come back as another.
        if change != "replace" or not any(map(_BLANK.fullmatch, was)):
            continue
        if any(character.isdigit() for each in was if not _BLANK.fullmatch(each) for character in each):
            continue
        whole = text[theirs[start].start() : theirs[end - 1].end()]
        at = theirs[start].start()
        for line in whole.split("\n"):
            if line.strip() and not _BLANK.search(line):
                spans.append((at, at + len(line)))
            at += len(line) + 1
    return spans


def _vouched(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = f"{text[:start]} verified {text[end:]}"
    return text


Told = Iterator[tuple[str, str]]


def _told(document: Mapping[str, Any], named: tuple[str, ...]) -> list[str]:
    """The verdict's words, our own drafts of it, and what else is known."""
    said = [str(document[name] or "") for name in ("summary", "severity_because", "respond_by")]
    said += [step["because"] for step in document["path"]]
    said += [action[part] for action in document["actions"] for part in ("title", "why", "expect")]
    said += [message(document, channel, phase) for channel in CHANNELS for phase in PHASES]
    said += [stamp for name in ("onset", "recovered", "window") for stamp in (document[name] or {}).values()]
    for each in document["facts"].get("endpoints") or ():
        said.append(f"{each['endpoint']} {each['failed']} of {many(each['calls'], 'call')}")
    return [*said, *named]


def _known(told: list[str]) -> set[tuple[str, str]]:
    """Each number in them, with the word after it."""
    found: set[tuple[str, str]] = set()
    for text in told:
        for stamp in _STAMP.findall(text):
            if moment := _moment(stamp):
                found |= {(f"{moment:%Y-%m-%d}", ""), (f"{moment:%H:%M}", ""), (f"{moment:%H:%M:%S}", "")}
        found |= set(_tokens(unescape(_BLANK.sub("", text))))
    return found | {(token, "") for token, _ in found if _value(token) >= _TELLING or not token.isdigit()}


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        after = _AFTER.match(text, match.end())
        yield match[0].replace(" ", "").replace(",", ""), (after[1] or "").lower() if after else ""


def _value(token: str) -> int:
    return int(token) if token.isdigit() else 0


def _numbers(line: str, known: set[tuple[str, str]], document: Mapping[str, Any]) -> Told:
    figure = document["severity_because"] or document["summary"]
    for token, after in _tokens(line):
        told = (
            {(token, after), (token, "")}
            if _value(token) >= _TELLING or not token.isdigit()
            else {(token, after)}
        )
        if not told & known and not re.fullmatch(r"P\d", token):  # severities are judged by themselves
            yield (
                f"“{f'{token} {after}'.strip()}” is not in the verdict",
                f"a figure that is, as in: {figure}",
            )


def _severities(line: str, document: Mapping[str, Any]) -> Told:
    for level in re.findall(r"\bP\d\b", line):
        if level != document["severity"]:
            yield f"it says {level}", f"{document['severity'] or 'no severity'}, as the verdict does"


def _causes(line: str, document: Mapping[str, Any]) -> Told:
    for cause in _CAUSES:
        if "_" in cause and cause in line and cause not in (document["cause"], *document["rivals"]):
            yield f"it names {cause}, which the evidence does not", str(document["cause"])


def _blame(line: str, document: Mapping[str, Any], channel: Channel) -> Told:
    if document["facts"].get("acknowledged") is True and document["cause"] == "klaviyo_outage":
        return
    for sentence in _SENTENCE.findall(line):
        if not _VENDOR.search(sentence):
            continue
        if channel == "status-page":
            yield "it names whom Klaviyo's own status page does not", "what users notice, and nobody's name"
        elif fault := _BLAME.search(_without_ids(sentence)):
            yield f"“{fault[0].strip()}” blames without acknowledgement", str(document["summary"])


def _without_ids(sentence: str) -> str:
    """Without the names of causes, which hold such words and are judged by themselves."""
    for cause in _CAUSES:
        sentence = sentence.replace(cause, "")
    return sentence


def _ends(line: str, document: Mapping[str, Any]) -> Told:
    ended = document["recovered"] or document["cause"] in ("healthy", "resolved_or_intermittent")
    for sentence in _SENTENCE.findall(_without_ids(line)):
        if ended or _VOUCHED.search(sentence) or _is_label(sentence):
            continue
        if over := _OVER.search(sentence):
            yield f"“{over[0]}”: no end was observed", "“mitigating”, or who confirmed the end"


def _claims(line: str) -> Told:
    for sentence in _SENTENCE.findall(_without_ids(line)):
        if not _VOUCHED.search(sentence) and (claim := _PERSONS.search(sentence)):
            yield (
                f"“{claim[0]}” is not in the evidence",
                "who confirmed it (“we confirmed that …”), or nothing",
            )


def _is_label(sentence: str) -> bool:
    """Is this the phase of the message, and no more?"""
    return (
        re.fullmatch(r"[*_ ]*(?:status:)?[*_ ]*resolved[*_ ]*", sentence.strip(), re.IGNORECASE) is not None
    )


def _private(line: str, channel: Channel, lead: str | None) -> Told:
    if _REDACTED.search(line):
        yield "it holds a secret or personal data", line.strip()
    if channel == "status-page" and lead and lead in line:
        yield f"it names {lead} in public", "“we”"


def _stale(text: str, document: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    """A message is good until its next update is due."""
    minutes = NEXT_UPDATE_MIN.get(document["severity"])
    for number, line in enumerate(text.splitlines(), 1):
        for label, moment in _DUE.findall(line):
            due = _moment(moment)
            if due and label.lower().startswith("last"):
                due = due + timedelta(minutes=minutes) if minutes else None
            if due and now > due:
                instead = "numbers of now: klaviyo-nb triage, then draft again"
                yield Finding(number, f"it was good until {due:%Y-%m-%d %H:%M} UTC", instead)


def _moment(stamp: str) -> datetime | None:
    """The time that is meant, if it is one."""
    try:
        return parse_time(stamp.replace(" UTC", "Z"))
    except UsageError:
        return None
