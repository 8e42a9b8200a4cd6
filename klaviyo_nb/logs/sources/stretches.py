"""The text of a packed file in stretches, which are read like ranges of a plain file.

Nothing can be inflated from its middle on. Whoever reads a stretch inflates the file from its beginning, or
goes on from where the last one ended that this thread read (docs/design/packed-files.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from klaviyo_nb.logs.sources import packed
from klaviyo_nb.logs.sources.base import CONTEXT, UNENDED, Opened, late
from klaviyo_nb.logs.sources.files import Range

#: Of the beginning of a text, so much is kept for the names of columns [bytes].
_HEAD = 4_096


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes `start` to `stop` of the text of a packed file."""

    file: Range
    start: int
    stop: int
    size: int = 0

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`."""
        at = max(0, self.start - CONTEXT)
        text = _open_here.text_from(self.file, at)
        opened = Opened(lambda memory: 0, at, self.start, self.stop, offsets=False)
        inflated = packed.reader(text.pieces(at, self.stop - CONTEXT, opened, deadline))

        def read(memory: memoryview) -> int:
            got = inflated(memory)
            opened.done, opened.head = text.said.done, text.head if at else b""
            return got

        opened.read = read
        try:
            yield opened
        except BaseException:
            _open_here.close()
            raise


class _Text:
    """The text of a packed file, as far as it was inflated.

    Attributes:
        file: Whose text it is.
        head: How it begins.
        said: What there is to say of it so far.
    """

    def __init__(self, file: Range) -> None:
        self.file, self.head, self.said = file, b"", Opened(lambda memory: 0)
        self._more = file.text(self.said)
        self._end = 0  # of all that was inflated
        self._kept: deque[tuple[int, bytes]] = deque()  # where it begins, a piece

    def reaches_back_to(self, at: int) -> bool:
        """Can it be read from there on?"""
        return (self._kept[0][0] if self._kept else self._end) <= at

    def _keep_from(self, at: int) -> None:
        """What lies before is not needed again, and its memory is."""
        while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= at:
            self._kept.popleft()

    def pieces(self, at: int, keep: int, opened: Opened, deadline: float | None) -> Iterator[bytes]:
        """The text from `at` on; from `keep` on it may be asked for again. `opened` is told how it ends."""
        self._keep_from(at)
        for begin, piece in (*self._kept,):
            yield piece[max(0, at - begin) :]
        self._keep_from(keep)
        for piece in self._more:
            begin, self._end = self._end, self._end + len(piece)
            self.head = self.head or piece[:_HEAD]
            if self._end > keep:
                self._kept.append((begin, piece))
            if self._end > at:
                yield piece[max(0, at - begin) :]
            elif late(deadline):
                opened.truncated = True
                opened.problems.append(UNENDED)
                return
        opened.ends, opened.truncated, opened.unread = self._end, self.said.truncated, self.said.unread
        opened.problems += self.said.problems

    def close(self) -> None:
        """It is not read any more."""
        self._more.close()


class _OpenHere(threading.local):
    """The text that this thread has begun to inflate."""

    def __init__(self) -> None:
        self._text: _Text | None = None

    def text_from(self, file: Range, at: int) -> _Text:
        """The text of a file, which can be read from `at` on."""
        if self._text is None or self._text.file != file or not self._text.reaches_back_to(at):
            self.close()
            self._text = _Text(file)
        return self._text

    def close(self) -> None:
        """Let go of it."""
        if self._text is not None:
            self._text.close()
            self._text = None


_open_here = _OpenHere()


def forget() -> None:
    """Close what this thread has open: no more stretches are read."""
    _open_here.close()
