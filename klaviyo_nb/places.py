"""Where a command reads from and writes to: refused before any work begins."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from klaviyo_nb.errors import UsageError

_INCIDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def incident_name(given: str | None, now: datetime) -> str:
    """The name of a report: as given, if it can name a folder, else from the clock."""
    if given is None:
        return f"INC-{now:%Y%m%dT%H%M%SZ}"
    if not _INCIDENT_ID.fullmatch(given):
        raise UsageError(
            "--incident", f"{given!r} cannot name a folder", "--incident INC-7    (letters, digits, . _ -)"
        )
    return given


def must_exist(path: Path) -> Path:
    """The path, if something is there."""
    if not path.exists():
        raise UsageError(str(path), "there is no such file or folder", "ls reports/")
    return path


def must_be_free(path: Path) -> None:
    """Nothing may be at the path, nor an archive of that name beside it."""
    if path.exists() or path.with_name(f"{path.name}.zip").exists():
        raise UsageError(
            str(path), "it exists already, and is never overwritten", "choose another --incident or --out"
        )


def must_be_writable(folder: Path) -> None:
    """The first existing ancestor of `folder` must be a folder that takes a new file."""
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(str(folder), f"cannot write to {existing}", "choose another --out")
