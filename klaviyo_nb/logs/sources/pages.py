"""What servers give in pages: fetched in a thread up to the deadline, lines of one stream side by side.

Lines come as those of a container runtime (`formats.envelopes`): so their times are not taken for the
application's own text, and what was logged line by line is a record again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from klaviyo_nb.errors import SourceError
from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats.envelopes import alone, begins
from klaviyo_nb.logs.sources.base import MAX_LINES, Opened, pipe_reader, stamp

_UNFIT = expression(r"[\]\s]")

_Row = tuple[bytes, bytes]


class Entry(NamedTuple):
    """What was logged at once.

    Attributes:
        stream: Entries of one stream belong together.
        writer: Who wrote it, as people call it; empty: nobody says.
        at: Nanoseconds since 1970.
        text: One or more lines.
    """

    stream: str
    writer: str
    at: int
    text: str


@contextmanager
def fetched(pieces: Iterator[bytes], deadline: float | None) -> Iterator[Opened]:
    """What `pieces` gives, in a thread that is left alone at the deadline.

    A `SourceError` of it becomes a problem: what came before is kept.
    """
    out, into = os.pipe()
    opened, ends = Opened(lambda memory: 0, offsets=False), list[str]()
    opened.read = pipe_reader(out, opened, deadline)
    thread = threading.Thread(target=_feed, args=(pieces, into, ends), daemon=True)
    thread.start()
    try:
        yield opened
        if opened.ended:
            thread.join()
            opened.problems += filter(None, ends or ["it could not be read to its end"])
            opened.truncated = opened.truncated or ends != [""]
    finally:
        os.close(out)


def _feed(pieces: Iterator[bytes], into: int, ends: list[str]) -> None:
    try:
        with open(into, "wb") as pipe:
            for piece in pieces:
                pipe.write(piece)
                pipe.flush()  # what has come is read while the next page is waited for
    except BrokenPipeError:
        pass  # nobody wants the rest
    except SourceError as exc:
        ends.append(exc.what)
    else:
        ends.append("")


def lines(pages: Iterator[Iterable[Entry]]) -> Iterator[bytes]:
    """Pages as lines; those of a record that the end of a page cuts are kept back for the next one."""
    kept: dict[str, list[_Row]] = {}
    try:
        for page in pages:
            for entry in page:
                pod = f"[pod/{_UNFIT.sub('_', entry.writer)}] " if entry.writer else ""
                head = f"{pod}{stamp(entry.at)} stdout F ".encode("utf-8", "replace")
                raw = entry.text.rstrip("\r\n").encode("utf-8", "replace")
                kept.setdefault(entry.stream, []).extend((head, line) for line in raw.split(b"\n"))
            for stream, rows in kept.items():
                cut = _last_record(rows)
                yield _together(rows[:cut], len(kept))
                kept[stream] = rows[cut:]
    except SourceError:
        yield from (_together(rows, len(kept)) for rows in kept.values())
        raise
    yield from (_together(rows, len(kept)) for rows in kept.values())


def _together(rows: list[_Row], streams: int) -> bytes:
    """With an empty line behind them, so that no other stream's lines are taken to continue them."""
    return b"".join(head + line + b"\n" for head, line in rows) + b"\n" * (streams > 1 and bool(rows))


def _last_record(rows: list[_Row]) -> int:
    """Where the last record begins; a longer one than is read at once need not be kept whole."""
    for index in range(len(rows) - 1, max(-1, len(rows) - MAX_LINES - 1), -1):
        if begins(rows[index][1]) or alone(rows[index][1]):
            return index
    return len(rows) if len(rows) > MAX_LINES else 0
