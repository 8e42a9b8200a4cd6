"""Is this postmortem finished? What a person edited, against the draft it was made of. Pure.

It names blanks that nobody filled, computed lines that were changed, sentences that blame, and action items
without a verb, an owner, a date or a way to see that they are done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from difflib import SequenceMatcher

from klaviyo_nb.response.lint import Finding

_BLANK = re.compile(r"‹[^›\n]*›")
_SECTION = re.compile(r"## (.+)")
_CELLS = re.compile(r"(?<!\\)\|")
#: Sentences that look for a culprit, or judge with hindsight.
_BLAME = re.compile(
    r"\b(?:human|operator|user|engineer|developer)(?:'s)? (?:error|mistake|fault)\b"
    r"|\b(?:is|was|were) (?:to blame|at fault)\b|\b(?:his|her|their|whose) (?:fault|mistake)\b"
    r"|\b(?:careless|negligent|incompeten|sloppy|stupid|lazy)\w*"
    r"|\b(?:should|could) (?:not )?have (?:known|noticed|checked|seen|tested|done|caught|been)\b"
    r"|\b(?:forgot|neglected) to\b|\bought to have\b"
    r"|\bfailed to (?:act|check|follow|look|notice|read|restart|see|tell|test)\b",
    re.IGNORECASE,
)
#: First words that are no deed, or one that never ends.
_NO_DEED = re.compile(
    r"(?:the|a|an|more|better|no|we|it|this|need|needs|should|must|maybe|consider|think|try|improve|be|"
    r"investigate|discuss|\w+ing)\b",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"(?:tbd|todo|\?+|-+|–|none|n/?a|team|the team|everyone|everybody|all|us|we)?", re.IGNORECASE
)


def unfinished(text: str, draft: str, began: date | None = None) -> tuple[Finding, ...]:
    """What is missing or may not stay, in the order of lines.

    Args:
        text: The postmortem as edited.
        draft: What it was made of, as drafted from the same evidence.
        began: Day of the incident: nothing is due before it.
    """
    lines = text.split("\n")
    found = [*_altered(lines, draft)]
    section = ""
    for number, line in enumerate(lines, 1):
        if named := _SECTION.fullmatch(line):
            section = named[1]
        if line.startswith(">"):
            continue
        found += (
            Finding(number, f"{each[0]} is not filled", "what it asks for") for each in _BLANK.finditer(line)
        )
        if fault := _BLAME.search(line):
            found.append(
                Finding(number, f"“{fault[0]}” looks for a culprit", "how it came about, and what let it")
            )
        if section == "Action items" and line.startswith("|"):
            found += (Finding(number, what, instead) for what, instead in _item(line, began))
    return tuple(sorted(found, key=lambda each: each.line))


def _altered(lines: list[str], draft: str) -> Iterator[Finding]:
    """Lines of the draft with a figure and no blank, outside what people write, are evidence: they stay."""
    there, section = set(lines), ""
    for line in draft.split("\n"):
        if named := _SECTION.fullmatch(line):
            section = named[1]
        known = _BLANK.split(line)[0].rstrip("* ")  # a person goes on after it
        if section == "Action items" or not re.search(r"\d", known):
            continue
        if line not in there and not (known != line and any(each.startswith(known) for each in lines)):
            where = 1 + max(range(len(lines)), key=lambda n: SequenceMatcher(None, lines[n], known).ratio())
            yield Finding(where, "a computed line is gone or changed", f"as it was: {line.strip()}")


def _item(line: str, began: date | None) -> Iterator[tuple[str, str]]:
    cells = [each.strip() for each in _CELLS.split(line)[1:-1]]
    if cells[:1] == ["what"] or all(set(each) <= set("-: ") for each in cells):
        return
    what, done, owner, due = [*cells, "", "", "", ""][:4]
    if any(_BLANK.search(each) for each in cells):
        return  # said already
    if _NO_DEED.match(what) or not what:
        yield f"“{what}” begins with no deed", "a verb and what is different afterwards: “Alert on …”"
    if not done:
        yield "nobody can see when it is done", "what is to be seen then: “a drill raises the alert”"
    if _NOBODY.fullmatch(owner):
        yield f"“{owner}” owns nothing", "one person's name"
    if not (day := _day(due)):
        yield f"“{due}” is no date", "a day: 2026-12-01"
    elif began and day < began:
        yield f"{due} is before the incident", "a day after it"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
