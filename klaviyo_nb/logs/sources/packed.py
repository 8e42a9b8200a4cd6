"""Compressed streams: told by their first bytes, inflated as far as they are whole.

Sources:
    https://www.rfc-editor.org/rfc/rfc1952 · https://www.rfc-editor.org/rfc/rfc8878
"""

from __future__ import annotations

import bz2
import lzma
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast

import zstandard
from isal import igzip_lib

from klaviyo_nb.errors import SourceError
from klaviyo_nb.logs.sources.base import Opened, Read

#: What is inflated at once, and lost if it is broken; as long as nothing is broken, more at once. What comes
#: out at once is little, so that the same memory serves again: fresh memory takes as long as inflating does.
_PIECE, _LARGE, _MOST = 16 * 1024, 64 * 1024, 256 * 1024
_PIECES_AHEAD = 16
#: Of what may be the last that is read, so much is inflated at once: how much of a torn end gave no text?
_LITTLE = 1_024
_PATIENCE_S = 0.1


class _Inflater(Protocol):
    unused_data: bytes
    eof: bool
    needs_input: bool

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zstandard:
    """Its library's, in the manner of the others; knows no most that it gives at once."""

    needs_input = True

    def __init__(self) -> None:
        self._inflater = zstandard.ZstdDecompressor().decompressobj()

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(data)


def _gzip() -> Any:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


_GZIP_ERROR: type[Exception] = cast("Any", igzip_lib).error  # its types say that this is an instance
#: First bytes → name, how to inflate one member, what the library raises on broken data.
CODECS: dict[bytes, tuple[str, Callable[[], Any], type[Exception]]] = {
    b"\x1f\x8b": ("gzip", _gzip, _GZIP_ERROR),
    b"\x28\xb5\x2f\xfd": ("zstd", _Zstandard, zstandard.ZstdError),
    b"BZh": ("bzip2", bz2.BZ2Decompressor, OSError),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMADecompressor, lzma.LZMAError),
}
#: Those that are inflated many times faster than their text is read.
_QUICK = frozenset(("gzip", "zstd"))
#: What the end of a name promises.
SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
#: Of the first characters of a text, so many may be none [1].
_ODD = 0.1
#: By so many first bytes a member is known.
_KNOWN = max(map(len, CODECS))


class _Broken(Exception):
    """The data is broken; what came before was given. So many bytes were not."""

    def __init__(self, name: str, unread: int) -> None:
        super().__init__(name)
        self.unread = unread


def is_packed(head: bytes) -> bool:
    """Is it compressed, by its first bytes?"""
    return _codec(head) is not None


def is_quick(head: bytes) -> bool:
    """Is it inflated many times faster than its text is read?"""
    codec = _codec(head)
    return codec is not None and codec[0] in _QUICK


def misnamed(path: str, head: bytes) -> str | None:
    """What to say of a file whose name promises more than its first bytes; None: it keeps its promise.

    Raises:
        SourceError: It is no text either.
    """
    name = next((name for suffix, name in SUFFIXES.items() if path.endswith(suffix)), None)
    if name is None or not head or is_packed(head):
        return None
    text = head.decode("utf-8", "replace")
    odd = sum(
        each == "\ufffd" or not (each.isprintable() or each.isspace() or each == "\x1b") for each in text
    )
    if odd > _ODD * len(text):
        raise SourceError(path, f"it is named like {name} and is neither that nor text", f"file {path}")
    return f"it is named like {name} and is plain text: read as such"


def _codec(head: bytes) -> tuple[str, Callable[[], Any], type[Exception]] | None:
    return next((codec for magic, codec in CODECS.items() if head.startswith(magic)), None)


def inflated(read: Read, opened: Opened) -> Iterator[bytes]:
    """What `read` gives, inflated if it is packed; a torn end keeps all that came before it."""
    try:
        yield from _inflate(read, opened, _PIECE)
    except _Broken as exc:
        opened.truncated, opened.unread = True, exc.unread
        opened.problems.append(f"its {exc} data is broken: what came before is kept")


def inflated_fast(begin: Callable[[], Read], opened: Opened) -> Iterator[bytes]:
    """The same of what can be read again: if it is broken, that is done in small pieces."""
    given = 0
    try:
        for piece in _inflate(begin(), opened, _LARGE):
            given += len(piece)
            yield piece
    except _Broken:
        for piece in inflated(begin(), opened):
            yield piece[given:]
            given = max(0, given - len(piece))


class _Packed:
    """Bytes as they are stored, and how many of them gave no text."""

    def __init__(self, read: Read, opened: Opened, size: int) -> None:
        self._read, self._opened, self._memory = read, opened, bytearray(size)
        self.first = self._block()
        self._pieces, self._taken = self._cut(), 0
        self.mute = 0  # taken since there was text

    def _block(self) -> bytes:
        return bytes(self._memory[: self._read(memoryview(self._memory))])

    def _cut(self) -> Iterator[bytes]:
        for data in self.blocks():
            step = _LITTLE if len(data) < len(self._memory) else len(data)
            yield from (data[at : at + step] for at in range(0, len(data), step))

    def blocks(self) -> Iterator[bytes]:
        """As they are read."""
        data = self.first
        while data:
            yield data
            data = self._block()

    def more(self) -> bytes:
        """The next of them to be inflated."""
        piece = next(self._pieces, b"")
        self._taken += len(piece)
        self.mute += len(piece)
        return piece

    def behind(self, data: bytes) -> bytes:
        """What follows a member's end: `data`, less padding, and as much more as tells a member."""
        data = data.lstrip(b"\0")
        while len(data) < _KNOWN and (piece := self.more()):
            data = (data + piece).lstrip(b"\0")
        self.mute = len(data)
        return data

    def unread(self) -> int:
        """Bytes that gave no text, those among them that were not even taken."""
        return self.mute + max(0, self._opened.stored - self._taken)


def _inflate(read: Read, opened: Opened, size: int) -> Iterator[bytes]:
    stored = _Packed(read, opened, size)
    codec = _codec(stored.first)
    if codec is None:
        yield from stored.blocks()
        return
    name, make, error = codec
    inflater: _Inflater = make()
    data = stored.more()
    while data:
        try:
            for text in _given(inflater, data):
                stored.mute = 0 if text else stored.mute
                yield text
        except (error, EOFError) as exc:
            raise _Broken(name, stored.unread()) from exc
        if inflater.eof:  # members follow each other; what is no member is padding
            data = stored.behind(inflater.unused_data or b"")
            if data and _codec(data) is codec:
                inflater = make()
            elif data:
                opened.unread = stored.unread()
                opened.problems.append(f"bytes behind its {name} data were not read")
                return
        else:
            data = stored.more()
    if not inflater.eof:
        opened.truncated, opened.unread = True, stored.unread()
        opened.problems.append(f"its {name} data ends too early: what came before is kept")


def _given(inflater: _Inflater, data: bytes) -> Iterator[bytes]:
    yield inflater.decompress(data, _MOST)
    while not (inflater.needs_input or inflater.eof):
        yield inflater.decompress(b"", _MOST)


def reader(pieces: Iterator[bytes]) -> Read:
    """Fills memory from pieces."""
    rest = memoryview(b"")

    def read(memory: memoryview) -> int:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return 0
            rest = memoryview(piece)
        count = min(len(rest), len(memory))
        memory[:count] = rest[:count]
        rest = rest[count:]
        return count

    return read


@contextmanager
def ahead(pieces: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Take pieces in a thread of its own, a few ahead: inflating needs no interpreter lock."""
    made: queue.Queue[bytes | None] = queue.Queue(_PIECES_AHEAD)
    unwanted = threading.Event()

    def put(piece: bytes | None) -> bool:
        while not unwanted.is_set():
            with suppress(queue.Full):
                made.put(piece, timeout=_PATIENCE_S)
                return True
        return False

    def make() -> None:
        try:
            all(map(put, pieces))
        finally:
            put(None)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        yield iter(made.get, None)
    finally:
        unwanted.set()
        thread.join()
