"""systemd's journal, through journalctl: live, or files of a format that only it may know.

`-g` lets journalctl look for the words inside its own process, several times faster than printing every
entry. Lines that may continue a record (a traceback's) are asked for as well.

Source:
    https://www.freedesktop.org/software/systemd/man/latest/journalctl.html
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from klaviyo_nb.evidence import TRY
from klaviyo_nb.logs.sources import clients
from klaviyo_nb.logs.sources.base import (
    CONTINUES,
    MATTERS,
    Chunk,
    Opened,
    slices,
    speaks_of_klaviyo,
)
from klaviyo_nb.window import Window

#: What is printed of an entry beside its times.
FIELDS = (
    "MESSAGE", "_HOSTNAME", "_PID", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "PRIORITY", "CONTAINER_NAME",
)  # fmt: skip
# Anchored and without backtracking, because journalctl interprets it: seven times faster than `word|^word`.
# Lower case, so that case is ignored.
_WORDS = rf"^(?:{CONTINUES}|(?>[^kwtvci]+|(?!{MATTERS}).)*+.)"


def _hidden(name: str, deadline: float | None) -> str | None:
    """What journalctl says of journals that we may not read; it is silent about them where it prints JSON."""
    status, _, said = clients.asked(name, ("journalctl", "--lines=0", "--no-pager"), deadline)
    hint = said.decode("utf-8", "replace").partition("Pass -q")[0]
    return f"journalctl: {' '.join(hint.split()).removeprefix('Hint: ')}" if hint and status == 0 else None


@dataclass(frozen=True, slots=True)
class Journal:
    """Entries that journalctl finds with `arguments`; in `files`, where those are known."""

    name: str
    arguments: tuple[str, ...]
    files: tuple[str, ...] = ()

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Slices of the window, the newest first."""
        clients.must_be_installed(self.name, "journalctl")
        everything = speaks_of_klaviyo(self.name)
        size = sum(os.path.getsize(each) for each in self.files if os.path.exists(each))
        parts = slices(window)
        hidden = None if self.files else _hidden(self.name, deadline)
        return [
            Slice(
                self.name,
                self.arguments,
                start // 1_000,
                end // 1_000 - 1,
                everything,
                size // len(parts),
                hidden,
            )
            for start, end in parts
        ]

    def if_silent(self, window: Window, deadline: float | None = None) -> str | None:
        """See `Source`. journalctl finds nothing of a unit that there is not, and does not complain."""
        until = f"--until=@{window.end.timestamp():.6f}"
        command = ("journalctl", *self.arguments, until, "--lines=1", "--output=cat", "--no-pager", "--quiet")
        if self.files or clients.asked(self.name, command, deadline)[1]:
            return None
        unit = "".join(self.arguments).removeprefix("--unit=")
        look = f"systemctl list-units --all {shlex.quote(f'{unit}*')}" if unit else "journalctl -n 5"
        return f"there is no line of it, in the window or before: is its name right?{TRY}{look}"


@dataclass(frozen=True, slots=True)
class Slice:
    """The journal's entries from `since` to `until`, both included, in microseconds since 1970."""

    name: str
    arguments: tuple[str, ...]
    since: int
    until: int
    everything: bool
    size: int = 0
    hidden: str | None = None
    printed: ClassVar[bool] = True  # what is read of it are other bytes than those that are stored

    def command(self) -> list[str]:
        """What is run."""
        return [
            "journalctl", *self.arguments, "--output=json", f"--output-fields={','.join(FIELDS)}", "--all",
            "--no-pager",
            "--quiet", f"--since=@{_seconds(self.since)}", f"--until=@{_seconds(self.until)}",
            *(() if self.everything else (f"--grep={_WORDS}",)),
        ]  # fmt: skip

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`. Status 1: it found nothing."""
        return clients.noting(clients.printed(self.name, self.command(), deadline, empty=(1,)), self.hidden)


def _seconds(micros: int) -> str:
    return f"{micros // 10**6}.{micros % 10**6:06d}"
