"""systemd's journal, through journalctl: live, or from files.

`-g` lets journalctl look for the words inside its own process, several times faster than printing every
entry. Lines that may continue a record (a traceback's) are asked for as well.

Source:
    https://www.freedesktop.org/software/systemd/man/latest/journalctl.html
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from klaviyo_nb.errors import SourceError, SourceMissing
from klaviyo_nb.logs.sources.base import Chunk, Opened, pipe_reader, speaks_of_klaviyo
from klaviyo_nb.window import Window

_FIELDS = "MESSAGE,_HOSTNAME,_PID,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,PRIORITY,CONTAINER_NAME"
# Lower case, so that journalctl ignores case.
_WORDS = (
    r"klaviyo|webhook|throttled|vnd\.api|cf-mitigated|invalid input\.|^\s|^traceback|^[\w.]*(error|"
    r"exception)\b|"
    r"^reason: |^http |^\([1-5]\d\d\)|^response (headers|body)|^[})\]]"
)
_SLICES = 4
_SHORTEST = timedelta(minutes=10)
_TICK = timedelta(microseconds=1)
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
    """Entries that journalctl finds with `arguments`."""

    name: str
    arguments: tuple[str, ...]

    def chunks(self, window: Window) -> Sequence[Chunk]:
        """Slices of the window, the newest first."""
        if shutil.which("journalctl") is None:
            raise SourceMissing(self.name, "journalctl is not installed", "apt-get install systemd")
        count = _SLICES if window.end - window.start > _SHORTEST else 1
        step = (window.end - window.start) / count
        edges = [window.start + step * index for index in range(count)] + [window.end]
        everything = speaks_of_klaviyo(self.name)
        return [
            Slice(self.name, self.arguments, edges[index], edges[index + 1] - _TICK, everything)
            for index in reversed(range(count))
        ]


@dataclass(frozen=True, slots=True)
class Slice:
    """The journal's entries from `since` to `until`, both included."""

    name: str
    arguments: tuple[str, ...]
    since: datetime
    until: datetime
    everything: bool
    size: int = 0

    def command(self) -> list[str]:
        """What is run."""
        return [
            "journalctl", *self.arguments, "--output=json", f"--output-fields={_FIELDS}", "--all",
            "--no-pager",
            "--quiet", f"--since=@{self.since.timestamp():.6f}", f"--until=@{self.until.timestamp():.6f}",
            *(() if self.everything else (f"--grep={_WORDS}",)),
        ]  # fmt: skip

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`. The exit status and what was said on stderr become problems."""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell; the unit's name is one argument
                    self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
                )
            except OSError as exc:
                raise SourceError(self.name, f"journalctl: {exc.strerror}", "journalctl --version") from None
            assert process.stdout is not None
            opened = Opened(lambda memory: 0, offsets=False)
            opened.read = pipe_reader(process.stdout.fileno(), opened, deadline)
            whole = False
            try:
                yield opened
                whole = not opened.truncated
            finally:
                if not whole:
                    process.kill()
                process.stdout.close()
                status = process.wait()
            said.seek(0)
            words = said.read(2_000).decode("utf-8", "replace").strip().splitlines()
            if words and not opened.truncated:
                opened.problems.append(f"journalctl (exit status {status}): {words[-1]}")
                opened.truncated = status > 1 or "runcat" in words[-1]
