"""Where a command reads from and writes to: refused before any work begins; and how plain it must be."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from klaviyo_nb.errors import UsageError

_INCIDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def incident_name(given: str | None, now: datetime, where: str = "--incident") -> str:
    """The name of a report: as given by the option `where`, if it can name a folder, else from the clock."""
    if given is None:
        return f"INC-{now:%Y%m%dT%H%M%SZ}"
    if not _INCIDENT_ID.fullmatch(given):
        raise UsageError(
            where, f"{given!r} cannot name a folder", f"{where} INC-7    (letters, digits, . _ -)"
        )
    return given


def must_exist(path: Path) -> Path:
    """The path, if something is there."""
    if not path.exists():
        raise UsageError(str(path), "there is no such file or folder", "ls reports/")
    return path


def must_be_free(path: Path, hint: str = "choose another --out") -> None:
    """Nothing may be at the path, nor an archive of that name beside it."""
    if os.path.lexists(path) or os.path.lexists(f"{path}.zip"):
        raise UsageError(str(path), "it exists already, and is never overwritten", hint)


def must_be_writable(folder: Path) -> None:
    """`folder` must take a file. It is tried, for permissions alone do not tell; nothing is left behind."""
    made: list[Path] = []
    try:
        for each in (*reversed(folder.absolute().parents), folder.absolute()):
            if not each.exists():
                each.mkdir()
                made.append(each)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise UsageError(
            str(folder), f"cannot write there: {exc.strerror or exc}", "choose another --out"
        ) from None
    finally:
        with suppress(OSError):  # somebody else has begun to write there
            for each in reversed(made):
                each.rmdir()


def no_colour(environ: Mapping[str, str]) -> bool:
    """Does the terminal want no colours and no other escapes?

    Source:
        https://no-color.org
    """
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
