"""From a citation back to the text: the lines of a source around one of them, as they were written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from klaviyo_nb.errors import SourceError, UsageError
from klaviyo_nb.logs.sources import Source, resolve
from klaviyo_nb.logs.sources.base import without_credentials
from klaviyo_nb.window import Window

#: Lines shown before the cited one, and behind it: a traceback is told to its end.
BEFORE, BEHIND = 2, 12
#: Of a longer line only its beginning is shown [bytes].
_LONGEST = 64 * 1024
_BLOCK = 1024 * 1024


class RawLine(NamedTuple):
    """A line of a source: its number, from 1, and its text."""

    number: int
    text: str


def around(url: str, window: Window, line_no: int) -> list[RawLine]:
    """The lines around a cited one, neither redacted nor harmless.

    Args:
        url: The source as the citation names it.
        window: The one that was read: lines of what is not a file are counted from its start.
        line_no: The citation's.

    Raises:
        UsageError: The URL names no source or several, or there are not so many lines in it.
        SourceError: It cannot be read, or not as far as that line; its words are not redacted either.
    """
    sources, name, told = resolve(url, window), without_credentials(url), list[str]()
    named = [source for source in sources if source.name == name] or list(sources)
    if len(named) != 1:
        raise UsageError(name, f"names {len(named)} sources", "name one of them, as the finding cites it")
    first, last = max(1, line_no - BEFORE), line_no + BEHIND
    found = list(_lines(_blocks(named[0], window, told), first, last))
    if not any(line.number == line_no for line in found):
        hint = f"klaviyo-nb logs {shlex.quote(name)}    (with the --since or --start it was read with)"
        if told:
            raise SourceError(name, f"line {line_no:,} was not reached: {told[0]}", hint)
        raise UsageError(name, f"has no line {line_no:,} now", hint)
    return found


def _blocks(source: Source, window: Window, told: list[str]) -> Iterator[bytes]:
    """All bytes of a source in order: its chunks, the oldest first, without what they share.

    `told` is given what was said to be missing.
    """
    memory = bytearray(_BLOCK)
    for chunk in reversed(source.chunks(window)):
        with chunk.open(None) as opened:
            at = opened.at
            while (opened.stop is None or at < opened.stop) and (got := opened.read(memoryview(memory))):
                stop = got if opened.stop is None else min(got, opened.stop - at)
                yield bytes(memory[max(0, opened.start - at) : stop])
                at += got
        told += opened.problems


def _lines(blocks: Iterable[bytes], first: int, last: int) -> Iterator[RawLine]:
    number, line = 1, b""
    for block in blocks:
        begin = 0
        if number < first:
            breaks = block.count(b"\n")
            if number + breaks < first:
                number += breaks
                continue
            for _ in range(first - number):
                begin = block.index(b"\n", begin) + 1
            number = first
        *whole, line = (line + block[begin:]).split(b"\n")
        for each in whole:
            yield _line(number, each)
            number += 1
            if number > last:
                return
        line = line[:_LONGEST]
    if line and number >= first:
        yield _line(number, line)


def _line(number: int, text: bytes) -> RawLine:
    return RawLine(number, text[:_LONGEST].decode("utf-8", "replace").rstrip("\r"))
