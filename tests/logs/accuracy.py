"""How well log text is read: precision and recall of every field, against labels that were written by hand.

`python tests/logs/accuracy.py` prints the tables of docs/log-accuracy.md; `--wrong` each field that differs;
`--of SECTION` of the lines of one section only.

The labels are in `labelled/`: `messages.txt` and `sdk.txt` hold what applications and clients say, `heads.toml`
what a format writes around it, `whole.txt` lines of formats that cannot be put together from two parts. A
labelled line is a message in a head, or a whole line; its label is that of its parts.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from klaviyo_nb.logs.formats.understand import Told, understand  # noqa: E402
from tests.logs.formats.test_captured import DATED, LABELS, NAMELESS, SAMPLES, captured  # noqa: E402
from tests.logs.wrappers import MOMENT, WRAPPERS, journal_whole, plain  # noqa: E402

HERE = Path(__file__).parent / "labelled"
#: In these who wrote a line is judged only where the label names it.
SEEN = (
    *(f"platforms{number}.txt" for number in range(3, 1 + len([*HERE.glob("platforms*.txt")]))),
    "rules.txt",
)
WHOLE = ("whole.txt", "later.txt", "platforms.txt", "platforms2.txt", *SEEN)
NEAR = datetime(2026, 11, 23, 7, tzinfo=UTC)
_DAY = datetime(2026, 11, 23, tzinfo=UTC)
#: How labels are abbreviated → the column.
COLUMNS = {
    "t": "timestamp", "s": "status_code", "ep": "endpoint", "m": "method", "e": "error_type", "code": "error_code",
    "ptr": "error_pointer", "d": "duration_s", "ra": "retry_after_s", "id": "request_id", "h": "host", "w": "worker",
    "c": "caller", "l": "level", "a": "attempt", "rev": "revision", "pk": "profile_key", "ek": "event_key",
    "outcome": "outcome",
}  # fmt: skip
FIELDS = tuple(name for name in COLUMNS.values() if name != "outcome")
_WRITERS = {"host", "worker", "caller"}
_NUMBERS = {"status_code": int, "attempt": int, "duration_s": float, "retry_after_s": float}
#: What the wrappers say themselves.
_WRAPPED = {
    "docker": "t=05:00:00.25", "cri": "t=05:00:00.25", "journal": "t=05:00:00.25 h=web-1 c=shop w=41 l=error",
    "syslog": "t=05:00:00.25 h=web-1 c=shop w=41", "syslog5424": "t=05:00:00.25 h=web-1 c=shop w=41 l=error",
}  # fmt: skip
_WRAPPED |= dict.fromkeys(("journal_whole", "journal_bytes"), _WRAPPED["journal"])
_NAMES = {
    "docker": "docker json-file", "cri": "Kubernetes CRI", "syslog": "syslog, RFC 3164",
    "syslog5424": "syslog, RFC 5424", **dict.fromkeys(("journal", "journal_whole", "journal_bytes"), "journald JSON"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One record and what an expert reads in it.

    Attributes:
        format: Whose format it is.
        text: The record; several lines where it has them.
        kind: `call`, `webhook` or `mention`.
        label: Column → value; what is not here is not in the text.
        about: Is it of a source that is named after Klaviyo?
        judged: Fields that were labelled; what the label does not name of them is not in the text.
    """

    format: str
    text: str
    kind: str
    label: dict[str, Any]
    about: bool = False
    judged: frozenset[str] = frozenset(FIELDS)


@dataclass(slots=True)
class Score:
    """Of a field: how often it was right, wrong or made up, and missed."""

    right: int = 0
    found: int = 0
    there: int = 0

    @property
    def precision(self) -> float:
        """Of what was found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Of what is there."""
        return self.right / self.there if self.there else 1.0


@dataclass(slots=True)
class Scores:
    """Field → score, and what was wrong."""

    fields: dict[str, Score] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Line, str, Any, Any]] = field(default_factory=list)

    def add(self, line: Line, told: Told) -> None:
        """Compare a record with its label."""
        self.lines[line.format] += 1
        self._count(line, "kind", told.kind if told.kind != "other" else "mention", line.kind)
        label = line.label if line.kind == "call" else {}
        found = told.fields | {"timestamp": told.moment} if told.kind == "call" else {}
        for name in line.judged | label.keys():
            self._count(line, name, found.get(name), label.get(name))

    def _count(self, line: Line, name: str, found: Any, there: Any) -> None:
        score = self.fields.setdefault(name, Score())
        right = there is not None and _same(found, there)
        score.right += right
        score.found += found is not None
        score.there += there is not None
        if not right and (found is not None or there is not None):
            self.wrong.append((line, name, found, there))


def _same(found: Any, there: Any) -> bool:
    if isinstance(there, float):
        return found is not None and abs(found - there) <= 1e-9 + 1e-6 * there
    return bool(found == there)


def labelled() -> Iterator[Line]:
    """All labelled lines."""
    messages = list(_blocks("messages.txt")) + list(_blocks("sdk.txt"))
    for each in tomllib.loads((HERE / "heads.toml").read_text("utf-8"))["format"]:
        heads = each["heads"]
        if each.get("requests"):
            yield from _requests(each["name"], heads)
            continue
        for index, (name, text, label) in enumerate(messages):
            head, told = heads[index % len(heads)]
            inner = json.dumps(text, ensure_ascii=False)[1:-1] if each.get("quoted") else text
            yield _line(name or each["name"], head.replace("§", inner), f"{told} {label}")
    for file in WHOLE:
        yield from whole_lines(file)
    for wrap in WRAPPERS:
        for _, text, label in messages if wrap is not plain else ():
            if wrap is not journal_whole or "\n" in text:  # else the same as `journal`
                yield _wrapped(wrap, text, label)


def whole_lines(file: str) -> Iterator[Line]:
    """Those of a file, as they stand there."""
    judged = frozenset(FIELDS) - _WRITERS if file in SEEN else frozenset(FIELDS)
    yield from (replace(_line(*block), judged=judged) for block in _blocks(file))


def sdk_lines() -> Iterator[Line]:
    """Errors of clients, bare."""
    return (_line(*block) for block in _blocks("sdk.txt"))


def _requests(name: str, heads: list[tuple[str, str]]) -> Iterator[Line]:
    """Every request in every head of an access log; of an error log every call, which got no status."""
    for head, told in heads:
        for _, text, label in _blocks("requests.txt"):
            request, status, agent = text.split("¦")
            if "§s" not in head and label == "-":
                continue
            label = label if "§s" in head else re.sub(r"\bs=\d+", "", label)
            line = head.replace("§s", status).replace("§a", agent).replace("§", request)
            yield _line(name, line, f"{told} {label}")


def _wrapped(wrap: Callable[[list[str]], list[str]], text: str, label: str) -> Line:
    name = wrap.__name__
    return _line(_NAMES[name], "\n".join(wrap(text.split("\n"))), f"{_WRAPPED[name]} {label}")


def _line(name: str, text: str, label: str) -> Line:
    words = label.split()
    kind = "mention" if "-" in words else "webhook" if "webhook" in words else "call"
    pairs = (word.split("=", 1) for word in words if "=" in word)
    return Line(name, text, kind, {COLUMNS[key]: _value(COLUMNS[key], value) for key, value in pairs})


def _value(name: str, value: str) -> Any:
    if name == "timestamp":
        hour, minute, second = value.split(":")
        since = int(hour) * 3600 + int(minute) * 60
        micros = int(Decimal(second) * 1_000_000)  # what is finer is cut, as clocks do
        return round(_DAY.timestamp() + since) * 1_000_000 + micros
    return _NUMBERS.get(name, str)(value.replace("␣", " "))


def _blocks(file: str) -> Iterator[tuple[str, str, str]]:
    """Section, text, label."""
    section, text = "", []
    for line in (HERE / file).read_text("utf-8").splitlines():
        if line.startswith("# "):
            section = line[5:] if line.startswith("# == ") else section
        elif line.startswith("=> "):
            yield section, "\n".join(text), line[3:]
            text = []
        else:
            text.append(line)


def captured_lines() -> Iterator[Line]:
    """The captured samples, if they are at hand, in every wrapper; labelled where the others' text is clear."""
    if not Path(SAMPLES).is_file():
        return
    for number, text in captured().items():
        label = {
            name: value for name, value in LABELS[number].items() if name in FIELDS and value is not None
        }
        if "timestamp" in label:
            label["timestamp"] = round(datetime.fromisoformat(label["timestamp"]).timestamp() * 1e6)
        for wrap in WRAPPERS:
            outer = {} if wrap is plain or number in DATED else {"timestamp": MOMENT}
            wrapped = "\n".join(wrap(text))
            yield Line("captured samples", wrapped, "call", label | outer, number in NAMELESS, frozenset())


def score(section: str = "") -> Scores:
    """Read all labelled lines, or those of one section."""
    scores = Scores()
    for line in (*labelled(), *captured_lines()):
        if section in ("", line.format):
            scores.add(line, understand(line.text.encode(), NEAR, line.about))
    return scores


def table(scores: Scores) -> str:
    """Precision and recall of every field, as the documentation shows them."""
    head = f"{sum(scores.lines.values())} labelled lines\n\n| field | in the text | precision | recall |\n|---|---:|---:|---:|"
    fields = {name: scores.fields[name] for name in ("kind", *FIELDS) if name in scores.fields}
    rows = [f"| {name} | {one.there} | {one.precision:.2%} | {one.recall:.2%} |".replace("%", " %")
            for name, one in fields.items()]  # fmt: skip
    return "\n".join((head, *rows))


def main() -> None:
    """Print the tables."""
    scores = score(sys.argv[sys.argv.index("--of") + 1] if "--of" in sys.argv else "")
    if "--wrong" in sys.argv:
        for line, name, found, there in scores.wrong:
            print(f"{line.format}: {name}: {found!r}, not {there!r}\n    {line.text[:300]}")
    print(table(scores))
    print("\n| format | lines |\n|---|---:|")
    formats: Counter[str] = Counter()
    for name, count in scores.lines.items():
        formats["other platforms" if name.endswith("of other platforms") else name] += count
    for name, count in sorted(formats.items(), key=lambda each: re.sub(r"\W", "", each[0].lower())):
        print(f"| {name} | {count} |")


if __name__ == "__main__":
    main()
