"""The score as text: Markdown tables that line up on a terminal as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

#: Heading → figure of a cell, and whether it is a share.
_COLUMNS: Mapping[str, tuple[str, bool]] = {
    "n": ("n", False),
    "top-1": ("top1", True),
    "in rivals": ("truth_in_rivals", True),
    "abstained": ("abstained", True),
    "severity": ("severity_right", True),
    "s": ("seconds", False),
    "calls": ("api_calls", False),
}
_RULES = {"majority": "majority", "first error": "first_error", "runbook": "runbook"}


def text(score: Mapping[str, Any]) -> str:
    """The whole score: per level, per cell, confusion matrix, what was wrong, crashes."""
    return "\n".join(_parts(score)) + "\n"


def _parts(score: Mapping[str, Any]) -> Iterator[str]:
    worlds = sum(level["n"] for level in score["levels"])
    seeds = f"{score['seeds']} per cell, from seed {score['first_seed']} on"
    yield f"{worlds} worlds ({score['worlds']}, {seeds})\n"
    yield from _figures("level", ((row["level"], row) for row in score["levels"]), more=True)
    for level in score["levels"]:
        yield ""
        rows = ((row["kind"], row) for row in score["cells"] if row["level"] == level["level"])
        yield from _figures(level["level"], rows)
    yield "\nConfusion matrix: worlds by truth, and what was said instead\n"
    yield from _table(("truth", "n", "right", "said instead"), _confusion(score["confusion"]))
    if score["wrong"]:
        yield "\nWrong\n"
        yield from _table(("world", "truth", "said", "rivals"), map(_miss, score["wrong"]))
    if score["judged_again"]:
        yield f"\n{score['judged_again']} verdicts were thrown away: the machine was too busy"
    for crash in score["crashed"]:
        yield f"\nCRASHED {crash['level']}/{crash['kind']} seed {crash['seed']}: {crash['crash']}"


def _figures(name: str, rows: Iterable[tuple[str, Mapping[str, Any]]], more: bool = False) -> Iterator[str]:
    heads = [name, *_COLUMNS, *_RULES, *(("false alarms", "second named") if more else ())]
    yield from _table(heads, ([label, *_cells(row, more)] for label, row in rows))


def _cells(row: Mapping[str, Any], more: bool) -> Iterator[str]:
    for figure, is_share in _COLUMNS.values():
        yield _share(row[figure]) if is_share else _plain(row[figure])
    yield from (_share(row["baselines"][name]) for name in _RULES.values())
    if more:
        yield _plain(round(row["false_alarms"] * row["n"]))
        yield _share(row["second_named"])


def _confusion(counts: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for truth in dict.fromkeys(row["truth"] for row in counts):
        rows = [row for row in counts if row["truth"] == truth]
        right = sum(row["n"] for row in rows if row["said"] == truth)
        others = ", ".join(f"{row['said']} {row['n']}" for row in rows if row["said"] != truth)
        yield [truth, str(sum(row["n"] for row in rows)), str(right), others]


def _miss(row: Mapping[str, Any]) -> list[str]:
    pairs = [(row["truth"], row["truth_severity"]), (row["said"], row["said_severity"])]
    named = [f"{cause} {severity or ''}".rstrip() for cause, severity in pairs]
    return [f"{row['level']}/{row['kind']} {row['seed']}", *named, " ".join(row["rivals"])]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table with columns of one width: the first to the left, figures to the right."""
    body = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    right = [
        bool(body) and all(row[i][:1].isdecimal() or row[i] in ("", "–") for row in body)
        for i in range(len(heads))
    ]
    yield _line(heads, widths, right)
    yield "|" + "|".join("-" * (width + 1) + ("-:"[r]) for width, r in zip(widths, right, strict=True)) + "|"
    yield from (_line(row, widths, right) for row in body)


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = [
        f"{each:>{width}}" if r else f"{each:<{width}}"
        for each, width, r in zip(row, widths, right, strict=True)
    ]
    return "| " + " | ".join(parts) + " |"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.4g} %"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
