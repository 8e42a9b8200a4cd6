"""Databases of Hyperscan that were compiled once, kept beside the bytecode that Python keeps of our modules.

Whoever may write there may change our code as well. Nothing depends on it: what is missing, is damaged or is
of other expressions, of another release or of another processor is compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import hyperscan

_DIGEST = hashlib.sha256().digest_size


def load(name: str, source: Iterable[object]) -> hyperscan.Database | None:
    """The database that is kept under this name; None unless there is one that was made of `source`."""
    try:
        kept = _place(name).read_bytes()
    except OSError:
        return None
    digest, data = kept[:_DIGEST], kept[_DIGEST:]
    if digest != _digest(source, data):
        return None
    try:
        return hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
    except hyperscan.error:
        return None


def keep(name: str, source: Iterable[object], database: hyperscan.Database) -> None:
    """Keep it in place of what was there, unless Python is to keep no bytecode either, or cannot."""
    if sys.dont_write_bytecode:
        return
    data = hyperscan.dumpb(database)
    place = _place(name)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(_digest(source, data) + data)
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)


def _place(name: str) -> Path:
    return Path(cache_from_source(__file__)).with_name(f"{name}.hyperscan")


def _digest(source: Iterable[object], data: bytes) -> bytes:
    return hashlib.sha256(repr(tuple(source)).encode() + data).digest()
