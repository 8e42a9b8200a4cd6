"""How much of a labelled corpus redaction finds, beside `detect-secrets` on the same lines.

python tests/redaction/labelled.py
"""

from __future__ import annotations

import base64
import random
import re
import string
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from klaviyo_nb.redact import Redactor

PERSONAL = ("email", "phone", "profile", "merchant")
_LETTERS = {
    "A": string.ascii_letters + string.digits,
    "x": "0123456789abcdef",
    "U": string.ascii_uppercase + string.digits,
    "l": string.ascii_lowercase + string.digits,
    "d": "123456789",
    "b": string.ascii_letters + string.digits + "+/",
    "w": string.ascii_letters + string.digits + "-_",
}
_MADE_UP = re.compile(r"\{(?:([AxUldbw])(\d+)|basic)\}")
#: As much of a secret in a row is of use to whoever finds it.
PIECE = 8


@dataclass(frozen=True)
class Labelled:
    """A text of the corpus: its half, its kind, and what must not be readable in it afterwards."""

    half: str
    kind: str
    text: str
    values: tuple[str, ...]


def corpus() -> Iterator[Labelled]:
    """All of it; what is made up is the same every time."""
    rng, half = random.Random(11), ""
    for line in Path(__file__).with_name("corpus.txt").read_text("utf-8").splitlines():
        if line.startswith("== "):
            half = line[3:]
        elif line and not line.startswith("#"):
            kind, _, text = line.partition("\t")
            text = _MADE_UP.sub(lambda match: _made_up(match, rng), text).replace("⏎", "\n")
            values = tuple(re.findall("⟦(.*?)⟧", text))
            yield Labelled(half, kind, re.sub("[⟦⟧]", "", text), values)


def _made_up(match: re.Match[str], rng: random.Random) -> str:
    if not match[1]:
        plain = "shop:" + "".join(rng.choices(_LETTERS["A"], k=14))
        return base64.b64encode(plain.encode()).decode()
    return "".join(rng.choices(_LETTERS[match[1]], k=int(match[2])))


def readable(each: Labelled, value: str, after: str) -> bool:
    """Is `value`, or a piece of it that is of use and stands nowhere else, still in a text?"""
    size, beside = min(PIECE, len(value)), each.text
    for other in each.values:
        beside = beside.replace(other, "\0")
    pieces = (value[at : at + size] for at in range(len(value) - size + 1))
    return any(piece in after and piece not in beside for piece in pieces)


@dataclass
class Figures:
    """What was found of a group, and what should have been left alone."""

    values: int = 0
    found: int = 0
    alike: int = 0
    touched: int = 0

    def __str__(self) -> str:
        told = [f"recall {self.found}/{self.values} = {self.found / self.values:.1%}"] if self.values else []
        told += (
            [f"false positives {self.touched}/{self.alike} = {self.touched / self.alike:.1%}"]
            if self.alike
            else []
        )
        return ", ".join(told)


def measured(
    missed: Callable[[Labelled], int], tell: Callable[[str], None]
) -> dict[tuple[str, str], Figures]:
    """Half and group → figures; `missed` says how many values are still readable, or if a look-alike is touched."""
    figures: dict[tuple[str, str], Figures] = defaultdict(Figures)
    for each in corpus():
        group = "personal" if each.kind in PERSONAL else "secrets"
        wrong = missed(each)
        of = figures[each.half, group]
        if each.values:
            of.values, of.found = of.values + len(each.values), of.found + len(each.values) - wrong
        else:
            of.alike, of.touched = of.alike + 1, of.touched + wrong
        if wrong:
            tell(f"{each.half}: {each.kind}: {each.text!r}")
    return dict(figures)


def missed_by_us(each: Labelled) -> int:
    after = Redactor(b"k").text(each.text)
    return (
        sum(readable(each, value, after) for value in each.values) if each.values else int(after != each.text)
    )


def missed_by_detect_secrets() -> Callable[[Labelled], int]:
    """All lines in one file, as it is meant to be used; what it finds on a line counts for all values there."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    lines, owners = [], []
    for number, each in enumerate(corpus()):
        owners += [number] * len(each.text.split("\n"))
        lines += each.text.split("\n")
    with tempfile.TemporaryDirectory() as folder, default_settings():
        path = Path(folder, "app.log")
        path.write_text("\n".join(lines), "utf-8")
        secrets = SecretsCollection()
        secrets.scan_file(str(path))
    hit = {owners[secret.line_number - 1] for _, secret in secrets}
    found = dict(zip((each.text for each in corpus()), range(len(owners)), strict=False))
    return lambda each: (
        (0 if found[each.text] in hit else len(each.values)) if each.values else int(found[each.text] in hit)
    )


def report(name: str, figures: dict[tuple[str, str], Figures]) -> Iterable[str]:
    for (half, group), each in figures.items():
        yield f"{name:15} {half:13} {group:9} {each}"


def main() -> None:
    wrong: list[str] = []
    for line in report("klaviyo-nb", measured(missed_by_us, wrong.append)):
        print(line)
    for line in report("detect-secrets", measured(missed_by_detect_secrets(), lambda _: None)):
        print(line)
    if "-v" in sys.argv:
        print(*wrong, sep="\n")


if __name__ == "__main__":
    main()
