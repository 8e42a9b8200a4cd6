"""systemd's journal, through journalctl: live, or from files.

`-g` lets journalctl look for the words inside its own process, several times faster than printing every
entry. Lines that may continue a record (a traceback's) are asked for as well.

Source:
    https://www.freedesktop.org/software/systemd/man/latest/journalctl.html
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from klaviyo_nb.logs.sources import clients
from klaviyo_nb.logs.sources.base import CONTINUES, MATTERS, Chunk, Opened, slices, speaks_of_klaviyo
from klaviyo_nb.window import Window

_FIELDS = "MESSAGE,_HOSTNAME,_PID,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,PRIORITY,CONTAINER_NAME"
# Anchored and without backtracking, because journalctl interprets it: seven times faster than `word|^word`.
# Lower case, so that case is ignored.
_WORDS = rf"^(?:{CONTINUES}|(?>[^kwtvci]+|(?!{MATTERS}).)*+.)"
_HEADER = b"LPKSHHRH"


def is_journal(path: str) -> bool:
    """Is this file a journal, by its first bytes?"""
    try:
        with open(path, "rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Journal:
    """Entries that journalctl finds with `arguments`; `size` of its files [bytes], 0 if nobody knows."""

    name: str
    arguments: tuple[str, ...]
    size: int = 0

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Slices of the window, the newest first."""
        clients.must_be_installed(self.name, "journalctl")
        everything = speaks_of_klaviyo(self.name)
        parts = slices(window)
        return [
            Slice(
                self.name,
                self.arguments,
                start // 1_000,
                end // 1_000 - 1,
                everything,
                self.size // len(parts),
            )
            for start, end in parts
        ]


@dataclass(frozen=True, slots=True)
class Slice:
    """The journal's entries from `since` to `until`, both included, in microseconds since 1970."""

    name: str
    arguments: tuple[str, ...]
    since: int
    until: int
    everything: bool
    size: int = 0

    def command(self) -> list[str]:
        """What is run."""
        return [
            "journalctl", *self.arguments, "--output=json", f"--output-fields={_FIELDS}", "--all",
            "--no-pager",
            "--quiet", f"--since=@{_seconds(self.since)}", f"--until=@{_seconds(self.until)}",
            *(() if self.everything else (f"--grep={_WORDS}",)),
        ]  # fmt: skip

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`. Status 1: it found nothing."""
        return clients.printed(self.name, self.command(), deadline, empty=(1,))


def _seconds(micros: int) -> str:
    return f"{micros // 10**6}.{micros % 10**6:06d}"
