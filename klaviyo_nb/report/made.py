"""What a bundle is made of, as those who make its parts hand them over. Nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class SavedChart:
    """A chart as it was written.

    Attributes:
        name: Stem of the three files.
        title: What it shows.
        alt: What is to be seen, in words with figures.
        svg: File.
        png: File.
        csv: File: the table behind it.
        size: Width and height [CSS px].
    """

    name: str
    title: str
    alt: str
    svg: Path
    png: Path
    csv: Path
    size: tuple[int, int]


class Said(NamedTuple):
    """What the logs answer to a question: the question, the sentence, and what that does not cover."""

    question: str
    says: str
    covers: tuple[str, ...]


class Made(NamedTuple):
    """What is made of evidence.

    Attributes:
        charts: As they were written.
        texts: By the names of their files; not yet written.
        answers: Of all questions on the logs; none if no log was read.
    """

    charts: list[SavedChart]
    texts: dict[str, str]
    answers: list[Said]


@dataclass(frozen=True, slots=True)
class NotebookRun:
    """How one notebook went.

    Attributes:
        name: Without `.ipynb`.
        status: The true one, as it stands in the notebook's metadata too.
        seconds: Wall clock, kernel start included.
        error: What went wrong, one line; None if nothing did.
    """

    name: str
    status: Literal["completed", "failed"]
    seconds: float
    error: str | None = None
