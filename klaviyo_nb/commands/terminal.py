"""What a tired person reads on a terminal: 80 columns, colour only where it carries meaning. Pure text.

What others wrote is made harmless here, at the last door.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from klaviyo_nb.evidence import Gap, together
from klaviyo_nb.redact import harmless
from klaviyo_nb.window import parse_time, same_day, stamp

WIDTH = 80
#: Actions told in full; of the others only the title, unless asked for.
IN_FULL = 2
#: Rows of an answer that are printed.
SHOWN = 20
#: Of so few rows, what does not stand side by side, or was cut, is told below; of more, of the first only.
TOLD_WHOLE = 3
#: Characters of a cell.
CELL = 40
_COLOURS = {"P1": "red", "P2": "yellow", "P3": "cyan", "P4": "blue"}
_MARKS = {"yes": "●", "no": "○", "unknown": "?"}
_WELL = {True: ("well", "green"), False: ("NOT well", "red"), None: ("cannot tell", "yellow")}
_LABEL = " " * 11
#: An ISO 8601 time in UTC: month and day, time of day.
_MOMENT = re.compile(r"\d{4}-(\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
#: A blank at which no line is broken.
_HOLD = "\u00a0"
#: What a shell takes as one word.
_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+|\S+""")


def verdict(document: Mapping[str, Any], full: bool = False) -> str:
    """The verdict as a person wants it: what, how bad, by when; what to do; why; what is missing.

    The last line repeats the first: it is the one that is still on the screen.

    Args:
        document: As `verdict_document` gives it.
        full: Tell every action in full.
    """
    document = _harmless(document)
    parts = [_head(document), _actions(document, full), _path(document), _rivals(document), _limits(document)]
    return "\n\n".join(part for part in parts if part) + "\n" + _last_line(document)


def check(name: str, well: bool | None, because: str) -> str:
    """One thing looked at again, in a line or two."""
    word, colour = {True: ("well", "green"), False: ("NOT well", "red"), None: ("cannot tell", "yellow")}[
        well
    ]
    lines = list(_wrapped(f"{name}: {word}: {harmless(because)}", hang="  "))
    return "\n".join([click.style(lines[0], fg=colour), *lines[1:]]) + "\n"


def changes(at: datetime, lines: Sequence[str], folder: str | None) -> str:
    """What changed in one round of watching, each with the time."""
    told: list[str] = []
    for line in map(harmless, lines):
        new = _wrapped(f"{at:%H:%M:%S} UTC  {line}", hang=" " * 14)
        over = line.startswith("recovered")
        told += [click.style(each, fg="green", bold=True) for each in new] if over else new
    if folder:
        told.append(f"{' ' * 14}klaviyo-nb diagnose {shlex.quote(harmless(folder))}")
    return "\n".join(told) + "\n"


def heartbeat(number: int, at: datetime, state: str) -> str:
    """A passing line: somebody is still watching."""
    return click.style(f"  · round {number} at {at:%H:%M:%S} UTC: nothing changed ({state})", dim=True)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned text; numbers to the right, missing values as `–`."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns))]
    right = [all(_is_number(line[index]) for line in cells) for index in range(len(columns))]
    pads = [str.rjust if flush else str.ljust for flush in right]
    return "\n".join(
        "  ".join(pad(text, width) for text, width, pad in zip(line, widths, pads, strict=True)).rstrip()
        for line in [list(columns), *cells]
    )


def answer(
    says: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], covers: Sequence[str], seen: str
) -> str:
    """The answer to a question: the sentence, the first rows, what it does not cover, what was read."""
    parts = ["\n".join(_wrapped(harmless(says)))]
    shown = [{name: _short(value) for name, value in _harmless(row).items()} for row in rows[:SHOWN]]
    fitting = _fitting(shown, columns)
    hidden, few = columns[len(fitting) :], len(rows) <= TOLD_WHOLE
    if rows:
        parts.append(table(shown, fitting))
    for number, row in enumerate(rows if few else rows[:1], 1):
        cut = [name for name in fitting if _short(row.get(name)) != _moment(row.get(name))]
        told = _beside(_harmless(row), [*cut, *hidden])
        parts += ["\n".join(_wrapped(f"Row {number}: {told}", hang="  ")).replace(_HOLD, " ")] if told else []
    left = [f"{len(rows) - SHOWN:,} rows"] if len(rows) > SHOWN else []
    left += [", ".join(hidden)] if hidden and not few else []
    if left:
        parts.append("\n".join(_wrapped(f"With --format csv also: {'; '.join(left)}.")))
    if covers:
        lines = [
            line for each in covers for line in _wrapped(f"– {harmless(each)}", indent="  ", hang="    ")
        ]
        parts.append("\n".join(["Not covered:", *lines]))
    return "\n\n".join([*parts, seen]) + "\n"


def _head(document: Mapping[str, Any]) -> str:
    lines = [_what(document), *_wrapped(document["summary"])]
    because = document["severity_because"]
    if because and because not in document["summary"]:
        lines += _wrapped(f"{document['severity']}: {because}.")
    when = [f"Respond by {_clock(document['respond_by'])}."] if document["respond_by"] else []
    for name, label in (("onset", "Began"), ("recovered", "Ended")):
        if document[name]:
            note = (document.get("written") or {}).get(name)
            by = f", written by {note['who'] or 'nobody named'}: {note['why']}" if note else ""
            when.append(f"{label} {_between(document[name])}{by}.")
    return "\n".join([*lines, *_wrapped(" ".join(when))])


def _what(document: Mapping[str, Any]) -> str:
    level, cause = document["severity"], document["cause"]
    badge = ""
    if level:
        badge = click.style(f" {level} ", fg="white" if level == "P1" else "black", bg=_COLOURS[level]) + " "
    name = click.style(cause, bold=True, fg="green" if cause == "healthy" else None)
    certainty = f"  ({document['certainty']})" if document.get("certainty") == "tentative" else ""
    return badge + name + certainty


def _last_line(document: Mapping[str, Any]) -> str:
    by = f", respond by {_clock(document['respond_by'])}" if document["respond_by"] else ""
    return f"{_what(document)}{by}\n"


def _actions(document: Mapping[str, Any], full: bool) -> str:
    actions = document["actions"]
    if not actions:
        return ""
    told = len(actions) if full or len(actions) == IN_FULL + 1 else IN_FULL
    lines = [_title("Do now")]
    for number, action in enumerate(actions, 1):
        lines += [
            click.style(each, bold=True) for each in _wrapped(f"{number}. {action['title']}", hang="   ")
        ]
        if number <= told:
            lines += _in_full(action)
    if told < len(actions):
        lines.append(click.style("   (--full tells all of them in full)", dim=True))
    return "\n".join(lines)


def _in_full(action: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrapped(action["why"], indent="   ")
    if action["command"]:
        yield from (click.style(f"     {line}", fg="cyan") for line in command(action["command"], 5))
    yield from _wrapped(f"   expect  {action['expect']}", hang=_LABEL)
    later = _wrapped(f"   undo    {action['undo']}", hang=_LABEL) if action["undo"] else []
    first, *rest = command(action["check"], len(_LABEL))
    later += [f"   check   {first}", *(f"{_LABEL}{line}" for line in rest)]
    yield from (click.style(line, dim=True) for line in later)


def command(text: str, indent: int = 0) -> Iterator[str]:
    """A command in lines that fit, continued as a shell reads them; a word is never broken."""
    for whole in text.splitlines():
        if len(whole) + indent <= WIDTH:
            yield whole
            continue
        line = ""
        for part in _parts(whole):
            if line and len(line) + len(part) + indent + 3 > WIDTH:
                yield f"{line} \\"
                line = f"  {part}"
            else:
                line = f"{line} {part}" if line else part
        yield line


def _parts(text: str) -> Iterator[str]:
    """The words of a command, each option with what follows it, and a pipe with its program."""
    held = ""
    for word in _WORD.findall(text):
        if word.startswith("-") or word == "|":
            held += f"{word} "
        else:
            yield held + word
            held = ""
    if held:
        yield held.rstrip()


def _path(document: Mapping[str, Any]) -> str:
    lines = [_title("Why")]
    for step in document["path"]:
        answer = "not answered" if step["answer"] == "unknown" else step["answer"]
        lines += _wrapped(f"{_MARKS.get(step['answer'], '●')} {step['question']} {answer}", hang="  ")
        if step.get("because"):
            lines += _wrapped(step["because"], indent="    ")
    return "\n".join(lines)


def _rivals(document: Mapping[str, Any]) -> str:
    """Causes still possible, those that the same question keeps alive together."""
    together: dict[tuple[str, str], list[str]] = {}
    for rival in document.get("rival_details") or ():
        together.setdefault((rival["because"], rival["ask"]), []).append(rival["cause"])
    lines = [_title("Could still be")] if together else []
    # What tells most of them apart comes first: it is what to ask next.
    told = sorted(together.items(), key=lambda group: group[0][1] != document.get("next_probe"))
    for (because, ask), causes in told:
        lines += _wrapped(f"{', '.join(causes)}: {because}", indent="  ", hang="    ")
        lines += _wrapped(f"→ {ask}", indent="    ", hang="      ")
    return "\n".join(lines)


def _limits(document: Mapping[str, Any]) -> str:
    lines = []
    if document["advisories"]:
        lines.append(_title("Worth knowing"))
        for advisory in document["advisories"]:
            lines += _wrapped(f"! {advisory['text']}", indent="  ", hang="    ")
    if document["gaps"]:
        lines.append(_title("Not seen"))
        for gap in together(Gap(**each) for each in document["gaps"]):
            lines += _wrapped(f"– {gap.signal}: {gap.reason}", indent="  ", hang="    ")
    budget, window = document["budget"], document["window"]
    spent = f"{budget['api_calls']} of {budget['allowed']} API calls spent; seen {_clock(window['start'])} to"
    lines += [click.style(each, dim=True) for each in _wrapped(f"{spent} {_clock(window['end'])}")]
    return "\n".join(lines)


def _title(text: str) -> str:
    return click.style(text, underline=True)


def _clock(moment: str) -> str:
    """`2026-11-23T07:00:00Z` as `2026-11-23 07:00 UTC`."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def _between(interval: Mapping[str, str]) -> str:
    first, last = (parse_time(interval[end]) for end in ("earliest", "latest"))
    return (
        f"at {stamp(first)} UTC"
        if first == last
        else f"between {stamp(first)} and {same_day(first, last)} UTC"
    )


def _harmless(value: Any) -> Any:
    """Every text in a JSON-like value, made harmless."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping):
        return {key: _harmless(each) for key, each in value.items()}
    return [_harmless(each) for each in value] if isinstance(value, list | tuple) else value


def _wrapped(text: str, indent: str = "", hang: str | None = None) -> list[str]:
    """Lines that fit; no style may be in `text`, whose marks would be counted."""
    hang = indent if hang is None else hang
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=hang, break_on_hyphens=False)


def _fitting(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Sequence[str]:
    """The first columns, as many as stand side by side."""
    widths = [max(len(name), *(len(_cell(row.get(name))) for row in rows), 0) + 2 for name in columns]
    return [name for place, name in enumerate(columns) if place < 2 or sum(widths[: place + 1]) <= WIDTH + 2]


def _beside(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """What else a row tells, `name value, name value`; short ones are not broken."""
    told = [f"{name} {_cell(_moment(row[name]))}" for name in names if _told(row.get(name))]
    return ", ".join(each.replace(" ", _HOLD) if len(each) <= CELL else each for each in told)


def _moment(value: Any) -> Any:
    """A time as people write it within a year, to the second, in UTC."""
    moment = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    return f"{moment[1]} {moment[2]}" if moment else value


def _short(value: Any) -> Any:
    """What fits into a cell."""
    told = _moment(value)
    return f"{told[: CELL - 1]}…" if isinstance(told, str) and len(told) > CELL else told


def _told(value: Any) -> bool:
    return value is not None and value == value  # NaN differs from itself


def _cell(value: Any) -> str:
    if not _told(value):
        return "–"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "–" or text.removeprefix("-").replace(",", "").replace(".", "", 1).isdigit()
