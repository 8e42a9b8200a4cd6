"""How far reading logs has got: one line on a terminal, written over again and again, and gone at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

_EVERY_S, _AFTER_S = 0.1, 0.3
_WIPE = "\r\x1b[K"


class Meter:
    """Writes to a terminal, and nothing anywhere else. May be told from any thread."""

    def __init__(self, stream: TextIO, plain: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Make one.

        Args:
            stream: Where to write, if it is a terminal.
            plain: Does the terminal want no escapes? Then nothing is written.
            clock: Seconds that never go back.
        """
        self._stream, self._clock = stream, clock
        self._shows = stream.isatty() and not plain
        self._lock = threading.Lock()
        self._began: float | None = None
        self._last = 0.0
        self._there = False

    def reading(self, source: str, done: int, total: int) -> None:
        """`logs.Progress`: bytes read so far, and bytes there are; 0 if nobody knows."""
        with self._lock:
            now = self._clock()
            if self._began is None:
                self._began = now
            spent = now - self._began
            if self._shows and spent >= _AFTER_S and now - self._last >= _EVERY_S:
                self._stream.write(f"{_WIPE}  · logs: {told(done, total, spent)}")
                self._stream.flush()
                self._last, self._there = now, True

    def wipe(self) -> None:
        """Take the line away, so that another can be written."""
        with self._lock:
            if self._there:
                self._stream.write(_WIPE)
                self._stream.flush()
                self._there = False


def told(done: int, total: int, spent_s: float) -> str:
    """Bytes, rate and time left in words.

    >>> told(300_000_000, 1_000_000_000, 1.5)
    '300 MB of 1.0 GB, 200 MB/s, 4 s left'
    >>> told(2_000, 0, 1.0)
    '2 kB, 2 kB/s'
    """
    rate = done / spent_s if spent_s else 0.0
    amount = f"{_size(done)} of {_size(total)}" if total else _size(done)
    parts = [amount, f"{_size(rate)}/s"] if rate else [amount]
    if rate and total > done:
        left = round((total - done) / rate)
        parts.append(f"{left // 60} min {left % 60} s left" if left >= 60 else f"{left} s left")
    return ", ".join(parts)


def _size(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} GB" if name == "GB" else f"{count / unit:.0f} {name}"
    return f"{count:.0f} B"
