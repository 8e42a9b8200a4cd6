"""Log sources into a CALLS and a WEBHOOKS frame, each row with a citation.

`sources` say where lines come from, `scan` finds the records that matter, `formats` says what one tells and
`alike` what many do, `engines` where that happens, `small` which files are read as one; `questions` are asked
of the frames; `raw` shows what a citation names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klaviyo_nb.logs.reader import Asked, LogsRead, Progress, SoFar, ask, read

__all__ = ["Asked", "LogsRead", "Progress", "SoFar", "ask", "read"]


def __getattr__(name: str) -> Any:
    """Import the reader when it is asked for: workers import a part of this package only."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from klaviyo_nb.logs import reader

    return getattr(reader, name)
