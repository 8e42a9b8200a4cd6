"""httpx without its command line.

Where `rich` is installed, importing httpx imports rich, pygments and click for a command that nobody here
runs: 0.17 s of 0.27 s, before the first question. An entry of None in `sys.modules` makes that import
fail, which httpx allows for.

Source:
    https://docs.python.org/3/reference/import.html#the-module-cache
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

_COMMAND = "httpx._main"
_modules = cast("dict[str, ModuleType | None]", sys.modules)
_blocked = _modules.setdefault(_COMMAND, None) is None

import httpx  # noqa: E402 - the entry above must stand first

if _blocked:
    del _modules[_COMMAND]

__all__ = ["httpx"]
