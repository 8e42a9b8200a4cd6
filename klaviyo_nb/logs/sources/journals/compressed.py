"""Fields of a journal that are compressed, each by itself; some hundred bytes and more are."""

from __future__ import annotations

import lzma
import struct

import pyarrow as pa
import zstandard

#: Flags of an object: what it is compressed with.
_XZ, _LZ4, _ZSTD = 1, 2, 4
FLAGS = _XZ | _LZ4 | _ZSTD
#: A longer field is not unpacked [bytes]: of a longer line nobody keeps more.
_MOST = 64 * 1024 * 1024


class Unreadable(Exception):
    """What is compressed is broken, or too long."""


def unpacked(data: memoryview, flags: int) -> bytes:
    """A field as it was written, out of what is stored of it.

    Args:
        data: Stored bytes.
        flags: The object's, as far as they are among `FLAGS`.

    Raises:
        Unreadable: It is broken, longer than 64 MB, or compressed in several ways at once.
    """
    try:
        if flags == 0:
            return bytes(data)
        if flags == _XZ:
            text = lzma.LZMADecompressor(memlimit=2 * _MOST).decompress(data, _MOST)
        elif flags == _LZ4:
            (size,) = struct.unpack_from("<Q", data)
            if size > _MOST:
                raise Unreadable(f"{size:,} bytes")
            text = pa.Codec("lz4_raw").decompress(data[8:], size, asbytes=True)
        elif flags == _ZSTD and zstandard.frame_content_size(data) <= _MOST:
            text = zstandard.ZstdDecompressor().decompress(data, _MOST)
        else:
            raise Unreadable("flags")
    except (lzma.LZMAError, zstandard.ZstdError, OSError, struct.error, ValueError, EOFError) as exc:
        raise Unreadable(str(exc)) from None
    return text
