"""Where logs are kept: sources, cut into parts, and what these gave; and what of them was covered."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from klaviyo_nb.errors import SourceError
from klaviyo_nb.evidence import EMPTY, Coverage
from klaviyo_nb.logs.chunks import LATE, STOPPED, TOO_LARGE, Part
from klaviyo_nb.logs.sources import Chunk, Source, resolve, stays
from klaviyo_nb.logs.sources.base import without_credentials
from klaviyo_nb.window import Window

#: Of the time up to the deadline, what looking at the files that globs found may take [1].
_FINDING = 0.15
#: So many files of a glob that the deadline came before are each told of.
_EACH = 20


@dataclass(slots=True)
class Shelf:
    """A source, its chunks (newest first) and what they gave.

    Attributes:
        name: Of the source.
        url: That named it.
        written: When it was last written, if a glob found it [s since 1970].
        source: Itself, if there is such a one.
        chunks: Its parts.
        parts: What they gave, as far as they were read.
        gap: Why it has no parts, or not all of them.
        left_out: Bytes of it that are too many.
        took: What looking at it took, if a glob found it: to tell at the end what it gave takes as long [s].
    """

    name: str
    url: str
    written: float = math.inf
    source: Source | None = None
    chunks: Sequence[Chunk] = ()
    parts: list[Part] = field(default_factory=list)
    gap: str | None = None
    left_out: int = 0
    took: float = 0.0

    @property
    def is_pipe(self) -> bool:
        """Does it send lines that can be read once?"""
        return any(stays(chunk, far=False) for chunk in self.chunks)

    @property
    def is_one_chunk(self) -> bool:
        """Is its one chunk all of it?"""
        return len(self.chunks) == 1 and not self.left_out

    def limit(self, most: int) -> None:
        """Leave out its oldest parts, if it is too large; one is always read."""
        sizes = itertools.accumulate(chunk.size for chunk in self.chunks)
        fit = max(1, sum(size <= most for size in sizes))
        self.left_out = sum(chunk.size for chunk in self.chunks[fit:])
        if self.left_out:
            self.chunks = self.chunks[:fit]
            read = sum(chunk.size for chunk in self.chunks)
            self.gap = f"only its newest {read:,} bytes were read ({TOO_LARGE})"

    def ask_if_there(self, window: Window, deadline: float | None) -> None:
        """If no line came though nothing failed: is there anything of that name? Some must be asked."""
        ask = getattr(self.source, "if_silent", None)
        if ask is None or not self.parts or self.gap:
            return
        if any(part.lines or part.failed or part.truncated or part.problems for part in self.parts):
            return
        try:
            self.gap = ask(window, deadline)
        except SourceError as exc:
            self.gap = f"no line came, and whether it is there could not be asked: {exc.what}"

    def first_lines(self) -> list[int | None]:
        """Lines before each part; None where an older part was not read to its end, or not yet."""
        before: list[int | None] = []
        whole = len(self.parts) == len(self.chunks) and not self.left_out
        lines: int | None = 0 if whole else None
        for part in reversed(self.parts):
            before.append(lines)
            lines = None if lines is None or part.truncated or part.failed else lines + part.lines
        return before[::-1]


def found(
    urls: Sequence[str], window: Window, deadline: float | None, finding: float = _FINDING
) -> list[Shelf]:
    """One per source, each once, however often it was named.

    Args:
        urls: Log source URLs.
        window: The span asked about.
        deadline: `time.monotonic` at which all must be read, or None.
        finding: Of the time up to the deadline, what looking at the files that globs found may take [1].

    Raises:
        UsageError: A URL names no kind of source.
    """
    shelves: dict[str, Shelf] = {}
    for url in urls:
        try:
            for source in resolve(url, window):
                written = getattr(source, "written", math.inf)
                shelves.setdefault(source.name, Shelf(source.name, url, written, source))
        except SourceError as exc:
            shelves.setdefault(url, Shelf(url, url, gap=exc.what))
    now = time.monotonic()
    until = None if deadline is None else now + finding * (deadline - now)
    for shelf in sorted(shelves.values(), key=lambda shelf: -shelf.written):
        if shelf.source is not None:
            _find_chunks(shelf, shelf.source, window, deadline, until)
    return _each_once(shelves.values())


def _each_once(shelves: Iterable[Shelf]) -> list[Shelf]:
    """Without files that have been named before in another way: `app.log`, and `./*.log`."""
    kept, seen = [], set()
    for shelf in shelves:
        node = getattr(next(iter(shelf.chunks), None), "identity", None)
        if node is None or node[:2] not in seen:
            kept.append(shelf)
        if node is not None:
            seen.add(node[:2])
    return kept


def _find_chunks(
    shelf: Shelf, source: Source, window: Window, deadline: float | None, until: float | None
) -> None:
    began = time.monotonic()
    if until is not None and began > until and shelf.written != math.inf:
        shelf.gap = LATE
        return
    try:
        shelf.chunks = source.chunks(window, deadline)
        shelf.gap = None if shelf.chunks else EMPTY
    except SourceError as exc:
        shelf.gap = exc.what
    if shelf.written != math.inf:
        shelf.took = time.monotonic() - began


def newest_first(shelves: Sequence[Shelf]) -> list[tuple[int, Chunk]]:
    """Every chunk with the index of its source: the newest of each, then the next ones."""
    some = (index for index, shelf in enumerate(shelves) if shelf.chunks)
    order = sorted(some, key=lambda index: -shelves[index].written)
    ranks = itertools.zip_longest(*(shelves[index].chunks for index in order))
    return [(index, chunk) for rank in ranks for index, chunk in zip(order, rank, strict=True) if chunk]


def coverages(
    shelves: Sequence[Shelf], window: Window, since: datetime | None = None, each: int = _EACH
) -> Iterator[Coverage]:
    """What was read of each; files of a glob that nobody came to are told together, if more than `each`.

    Of what lies before `since` nothing is missed.
    """
    late = {id(shelf): shelf.url for shelf in shelves if shelf.written != math.inf and _late(shelf)}
    many = {url: count for url, count in Counter(late.values()).items() if count > each}
    yield from (_coverage(shelf, window, since) for shelf in shelves if late.get(id(shelf)) not in many)
    for url, count in many.items():
        unread = sum(
            sum(chunk.size for chunk in shelf.chunks) for shelf in shelves if late.get(id(shelf)) == url
        )
        yield Coverage(
            source=without_credentials(url), asked=window, got=None, lines=0, calls=0, unparsed=0,
            skipped_bytes=unread, truncated=True, gap=f"{count:,} of its files were {LATE}",
        )  # fmt: skip


def _late(shelf: Shelf) -> bool:
    """Was nothing of it read, for the deadline?"""
    return shelf.gap == LATE or (bool(shelf.parts) and all(part.problems == [LATE] for part in shelf.parts))


def _reaches(shelf: Shelf, since: datetime) -> bool:
    """Was it read from its end to before this moment? Logs are in order: what is missing lies before, too."""
    for part in shelf.parts:
        if part.truncated or part.failed or part.problems:
            return False
        if part.first is not None and as_moment(part.first) < since:
            return True
    return False


def _unread(chunk: Chunk, part: Part) -> int:
    """Bytes of a chunk, as stored, that were not read. How many lie behind what is printed, nobody knows."""
    counts = part.truncated and (part.failed or not getattr(chunk, "printed", False))
    read = part.done if getattr(chunk, "packed", False) else part.read
    return max(part.unread, chunk.size - read if counts else 0)


def _coverage(shelf: Shelf, window: Window, since: datetime | None) -> Coverage:
    parts, whole = shelf.parts, since is not None and _reaches(shelf, since)
    first = min((part.first for part in parts if part.first is not None), default=None)
    last = max((part.last for part in parts if part.last is not None), default=None)
    outside = max((part.outside for part in parts if part.outside is not None), default=None)
    got = (
        Window(as_moment(first), as_moment(last) + timedelta(microseconds=1))
        if first is not None and last is not None
        else None
    )
    left = shelf.chunks[len(parts) :]  # of a run that is stopped now
    gaps = [gap for gap in (shelf.gap, STOPPED if left else None) if gap]
    reasons = dict.fromkeys(gaps + [text for part in parts for text in part.problems])
    unread = (
        sum(_unread(chunk, part) for chunk, part in zip(shelf.chunks, parts, strict=False))
        + sum(chunk.size for chunk in left)
        + shelf.left_out
    )
    return Coverage(
        source=without_credentials(shelf.name),
        asked=window,
        got=got,
        lines=sum(part.lines for part in parts),
        calls=sum(part.found for part in parts),
        unparsed=sum(part.unparsed for part in parts),
        skipped_bytes=0 if whole else unread,
        truncated=not whole
        and (
            shelf.gap == LATE
            or bool(left or shelf.left_out)
            or any(part.truncated or part.failed for part in parts)
        ),
        gap=None if whole else "; ".join(list(reasons)[:3]) or None,
        outside=None if outside is None else as_moment(outside),
    )


def as_moment(value: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=value)
