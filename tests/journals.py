"""Journal files of systemd's for tests: written by its own tools, or kept as data, and compressed in every way."""

from __future__ import annotations

import json
import lzma
import os
import struct
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

REMOTE = "/lib/systemd/systemd-journal-remote"  # not on the path where Debian puts it
#: Real files, and what journalctl printed of each: offsets in 64 bits and in 32.
KEPT = Path(__file__).parent / "logs/sources/journals"
Field = tuple[str, bytes]


def entry(at: datetime, message: bytes, unit: str = "shop.service", *more: Field) -> bytes:
    """One entry of systemd's export format; one of `more` stands in place of the usual field of its name."""
    micros = round(at.timestamp() * 1e6)
    usual = {
        "__REALTIME_TIMESTAMP": micros, "__MONOTONIC_TIMESTAMP": micros % 10**12, "_BOOT_ID": "a" * 32, "_MACHINE_ID": "b" * 32,
        "_HOSTNAME": "web-1", "_SYSTEMD_UNIT": unit, "SYSLOG_IDENTIFIER": "shop", "_PID": 17, "PRIORITY": 6,
    }  # fmt: skip
    names = {name for name, _ in more}
    fields = [(name, str(value).encode()) for name, value in usual.items() if name not in names]
    return b"".join(_exported(*field) for field in (*fields, ("MESSAGE", message), *more)) + b"\n"


def _exported(name: str, value: bytes) -> bytes:
    if b"\n" not in value and name != "MESSAGE":
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def written(path: Path, entries: Iterable[bytes], compress: bool = True, **how: str) -> Path:
    """A journal file that `systemd-journal-remote` makes of entries, with these variables of its environment."""
    export = path.with_suffix(".export")
    export.write_bytes(b"".join(entries))
    subprocess.run(
        [REMOTE, f"--compress={'yes' if compress else 'no'}", f"--output={path}", export],
        check=True, capture_output=True, env={**os.environ, **how},
    )  # fmt: skip
    export.unlink()
    return path


def kept(name: str, folder: Path, path: str = "web.journal") -> tuple[Path, list[dict[str, Any]]]:
    """A kept file, and what journalctl printed of all of its entries."""
    made = folder / path
    made.write_bytes(zstandard.ZstdDecompressor().decompress((KEPT / f"{name}.journal.zst").read_bytes()))
    return made, [json.loads(line) for line in (KEPT / f"{name}.json").read_bytes().splitlines()]


def objects(data: bytes | bytearray) -> Iterable[tuple[int, int, int]]:
    """Offset, type and size of each object of a whole file."""
    at, tail = struct.unpack_from("<Q", data, 88)[0], struct.unpack_from("<Q", data, 136)[0]
    while at <= tail:
        kind, size = struct.unpack_from("<B7xQ", data, at)
        yield at, kind, size
        at += (size + 7) // 8 * 8


#: Way to compress → flag, how it is done.
_WAYS: Mapping[str, tuple[int, Any]] = {
    "XZ": (1, lambda raw: lzma.compress(raw, check=lzma.CHECK_NONE)),
    "LZ4": (2, lambda raw: struct.pack("<Q", len(raw)) + pa.Codec("lz4_raw").compress(raw, asbytes=True)),
}


def compressed(path: Path, way: str) -> list[int]:
    """Compress the long fields of a file that has none compressed, as older versions of systemd did.

    Returns:
        Offsets of what was compressed. Nobody can go from object to object then.
    """
    data, (flag, pack), done = bytearray(path.read_bytes()), _WAYS[way], list[int]()
    (flags,) = struct.unpack_from("<I", data, 12)
    head = 72 if flags & 16 else 64
    for at, kind, size in list(objects(data)):
        if kind == 1 and size - head >= 512:
            packed = pack(bytes(data[at + head : at + size]))
            if len(packed) < size - head:
                data[at + head : at + head + len(packed)] = packed
                struct.pack_into("<BB6xQ", data, at, 1, flag, head + len(packed))
                done.append(at)
    struct.pack_into("<I", data, 12, flags & ~8 | flag)
    path.write_bytes(data)
    return done
