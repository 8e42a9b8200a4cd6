"""Regular expressions that are compiled when they are first used.

Reading logs knows some 350 of them, and a log of one format needs a third: to compile all took each process a
tenth of a second.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

_METHODS = ("search", "match", "fullmatch", "finditer", "findall", "sub", "subn", "split")


class _Pattern:
    """What `re.compile` gives, later. Once it is compiled its methods are the pattern's own."""

    def __init__(self, pattern: str | bytes, flags: int) -> None:
        self.pattern = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Compile it: asked for a method that is not there yet."""
        if name not in _METHODS:
            raise AttributeError(name)
        compiled = re.compile(self.pattern, self._flags)
        for each in _METHODS:
            setattr(self, each, getattr(compiled, each))
        return getattr(compiled, name)


def expression(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As `re.compile`, but a mistake is told at its first use; for the functions of `re` it is no pattern."""
    return cast("re.Pattern[AnyStr]", _Pattern(pattern, flags))
