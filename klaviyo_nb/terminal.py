"""What a tired person reads on a terminal: 80 columns, colour only where it carries meaning. Pure text."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

WIDTH = 80
_COLOURS = {"P1": "red", "P2": "yellow", "P3": "cyan", "P4": "blue"}
_MARKS = {"yes": "●", "no": "○", "unknown": "?"}


def verdict(document: Mapping[str, Any]) -> str:
    """The verdict as a person wants it: what, how bad, by when; why; what to do; what is missing."""
    parts = [_head(document), _path(document), _rivals(document), _actions(document), _limits(document)]
    return "\n\n".join(part for part in parts if part) + "\n"


def changes(at: datetime, lines: Sequence[str], folder: str | None) -> str:
    """What changed in one round of watching, each with the time."""
    clock = f"{at:%H:%M:%S} UTC "
    told: list[str] = []
    for line in lines:
        over = line.startswith("recovered")
        told += _wrapped(clock + (click.style(line, fg="green", bold=True) if over else line), hang=" " * 14)
    if folder:
        told.append(f"{' ' * 14}what to do: klaviyo-nb diagnose {shlex.quote(folder)}")
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


def _head(document: Mapping[str, Any]) -> str:
    level = document["severity"]
    badge = (
        click.style(f" {level} ", fg="white" if level == "P1" else "black", bg=_COLOURS[level])
        if level
        else ""
    )
    cause = click.style(document["cause"], bold=True)
    certainty = f"  ({document['certainty']})" if document.get("certainty") == "tentative" else ""
    lines = [f"{badge} {cause}{certainty}".strip(), *_wrapped(document["summary"])]
    if document["respond_by"]:
        lines += _wrapped(
            f"Respond by {_clock(document['respond_by'])} — {document['severity_because']}", hang="  "
        )
    for name, label in (("onset", "Began"), ("recovered", "Ended")):
        if document[name]:
            lines.append(
                f"{label} between {_clock(document[name]['earliest'])} and {_clock(document[name]['latest'])}"
            )
    return "\n".join(lines)


def _path(document: Mapping[str, Any]) -> str:
    lines = [_title("Why")]
    for step in document["path"]:
        mark = _MARKS.get(step["answer"], "●")
        lines += _wrapped(f"{mark} {step['question']} {click.style(step['answer'], bold=True)}", hang="  ")
        if step.get("because"):
            lines += _wrapped(step["because"], indent="    ")
    return "\n".join(lines)


def _rivals(document: Mapping[str, Any]) -> str:
    details = document.get("rival_details") or ()
    if not details:
        return ""
    lines = [_title("Could still be")]
    for rival in details[:4]:
        lines += _wrapped(f"{rival['cause']}: {rival['because']}", indent="  ", hang="    ")
        lines += _wrapped(f"→ {rival['ask']}", indent="    ", hang="      ")
    if len(details) > 4:
        more = f"and {len(details) - 4} more: {', '.join(each['cause'] for each in details[4:])}"
        lines += _wrapped(more, indent="  ", hang="    ")
    return "\n".join(lines)


def _actions(document: Mapping[str, Any]) -> str:
    if not document["actions"]:
        return ""
    lines = [_title("Do now")]
    for number, action in enumerate(document["actions"], 1):
        lines += _wrapped(f"{number}. {click.style(action['title'], bold=True)}", hang="   ")
        lines += _wrapped(action["why"], indent="   ")
        if action["command"]:
            lines += [f"   {click.style('$', dim=True)} {line}" for line in action["command"].splitlines()]
        lines += _wrapped(f"expect: {action['expect']}", indent="   ")
    return "\n".join(lines)


def _limits(document: Mapping[str, Any]) -> str:
    lines = []
    if document["advisories"]:
        lines.append(_title("Worth knowing"))
        for advisory in document["advisories"]:
            lines += _wrapped(f"! {advisory['text']}", indent="  ", hang="    ")
    if document["gaps"]:
        lines.append(_title("Not seen"))
        for gap in document["gaps"]:
            lines += _wrapped(f"– {gap['signal']}: {gap['reason']}", indent="  ", hang="    ")
    budget, window = document["budget"], document["window"]
    lines.append(
        click.style(
            f"{budget['api_calls']} of {budget['allowed']} API calls spent;"
            f" seen {_clock(window['start'])} to {_clock(window['end'])}",
            dim=True,
        )
    )
    return "\n".join(lines)


def _title(text: str) -> str:
    return click.style(text, underline=True)


def _clock(moment: str) -> str:
    """`2026-11-23T07:00:00Z` as `2026-11-23 07:00 UTC`."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def _wrapped(text: str, indent: str = "", hang: str | None = None) -> Iterator[str]:
    return iter(
        textwrap.wrap(
            text,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent if hang is None else hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN differs from itself
        return "–"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "–" or text.replace(",", "").replace(".", "", 1).isdigit()
