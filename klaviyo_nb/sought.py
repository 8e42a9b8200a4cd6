"""Many expressions looked for in one pass, by Hyperscan, which holds no interpreter meanwhile."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import hyperscan

from klaviyo_nb import compiled


class Sought:
    """Expressions that are looked for all at once. Any thread may use it."""

    def __init__(self, expressions: Sequence[bytes], caseless: bool = True, keep: str | None = None) -> None:
        """Compile them: some 2 ms each, once in a process, or once for all if they are kept.

        Args:
            expressions: In Hyperscan's syntax: that of Perl without what looks around or back.
            caseless: Are the cases of letters the same?
            keep: Keep them on disk under this name. None: they are of this run, or hold what is secret.
        """
        source = caseless, *expressions
        found = compiled.load(keep, source) if keep else None
        self._database = found or _database(expressions, caseless)
        if keep and found is None:
            compiled.keep(keep, source, self._database)
        self._mine = threading.local()

    def ends(self, data: Any) -> list[tuple[int, int]]:
        """Number of the expression and where it ends, for each place in `data` (bytes) where one does."""
        found: list[tuple[int, int]] = []

        def note(number: int, first: int, last: int, flags: int, context: object) -> None:
            found.append((number, last))

        if not hasattr(self._mine, "scratch"):
            self._mine.scratch = hyperscan.Scratch(self._database)
        self._database.scan(data, match_event_handler=note, scratch=self._mine.scratch)
        return found

    def among(self, texts: Sequence[bytes]) -> list[bool]:
        """Of each text: is any of the expressions in it?"""
        ends = list(accumulate(len(text) + 1 for text in texts))
        found = [False] * len(texts)
        for _, last in self.ends(b"\0".join(texts)):
            found[bisect_left(ends, last)] = True
        return found


def _database(expressions: Sequence[bytes], caseless: bool) -> hyperscan.Database:
    database = hyperscan.Database()
    database.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[hyperscan.HS_FLAG_CASELESS if caseless else 0] * len(expressions),
    )
    return database
