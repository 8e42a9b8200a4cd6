"""Command-line clients whose output is a log.

What they print is read until the deadline, what they complain about is kept, and they end with all that they
started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import IO

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing
from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.sources.base import Opened, Read, pipe_reader
from klaviyo_nb.logs.sources.packed import reader

#: Client → what installs it.
INSTALL = {
    "journalctl": "apt-get install systemd",
    "docker": "apt-get install docker.io",
    "kubectl": "apt-get install kubernetes-client",
}
_BLOCK = 64 * 1024
#: What a question may take that has no deadline, and a client that has hung up to end [s].
_QUESTION_S, _GOODBYE_S = 30.0, 5.0
_WORDS = 500
#: What `--timestamps` and `--prefix` put before a line, and the most that needs.
_HEAD = rb"((?:\[pod/[^\]\n]+\] )?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) "
_STAMPED, _BARE = expression(rb"\n" + _HEAD), expression(rb"\n(?!" + _HEAD + rb")([^\n]+)")
_SHORT = 2_000


def must_be_installed(name: str, program: str) -> None:
    """Is there such a client?

    Raises:
        SourceMissing: No; says what to type.
    """
    if shutil.which(program) is None:
        install = INSTALL[program]
        raise SourceMissing(name, f"{program} is not installed: {install}", install)


def ask(name: str, command: Sequence[str], deadline: float | None) -> bytes:
    """What a client prints that has little to say.

    Raises:
        SourceError: It failed, in its own words; SourceMissing, SourceDenied where they say so.
    """
    status, out, err = asked(name, command, deadline)
    if status == 0:
        return out
    words = _last_words(err)
    kind = SourceMissing if "NotFound" in words else SourceDenied if "Forbidden" in words else SourceError
    raise kind(name, f"{command[0]} (exit status {status}): {words}", " ".join(command))


def asked(name: str, command: Sequence[str], deadline: float | None) -> tuple[int, bytes, bytes]:
    """Exit status of a client that has little to say, what it printed, and what it said on stderr.

    Raises:
        SourceError: It could not be started, or did not answer in time.
    """
    left = _QUESTION_S if deadline is None else deadline - time.monotonic()
    with _started(name, command, subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=max(0.0, left))
        except subprocess.TimeoutExpired:
            raise SourceError(name, f"{command[0]} did not answer in time", " ".join(command)) from None
    return process.returncode, out, err


@contextmanager
def printed(
    name: str, command: Sequence[str], deadline: float | None, *, empty: Sequence[int] = ()
) -> Iterator[Opened]:
    """What a client prints. Exit status and what it said on stderr become problems.

    Args:
        name: Of the source.
        command: What is run; no shell.
        deadline: When to stop (`time.monotonic`), or None.
        empty: Exit statuses by which it may only say that it found nothing.
    """
    with tempfile.TemporaryFile() as said, _started(name, command, said.fileno()) as process:
        assert process.stdout is not None
        opened = Opened(lambda memory: 0, offsets=False)
        opened.read = pipe_reader(process.stdout.fileno(), opened, deadline)
        yield opened
        _judge(process, opened, command[0], said, b"", empty)


@contextmanager
def stamped(
    name: str, command: Sequence[str], deadline: float | None, *, both: bool = False
) -> Iterator[Opened]:
    """Like `printed`, for clients that put a timestamp before each line.

    Lines come as those of a container runtime, so that the timestamp is not taken for the application's own
    text. What has no timestamp is the client's own word.

    Args:
        name: Of the source.
        command: What is run.
        deadline: When to stop, or None.
        both: Does its stderr carry the application's?
    """
    with (
        tempfile.TemporaryFile() as said,
        _started(name, command, subprocess.STDOUT if both else said.fileno()) as process,
    ):
        assert process.stdout is not None
        opened, own = Opened(lambda memory: 0, offsets=False), [b""]
        opened.read = reader(_as_runtime(pipe_reader(process.stdout.fileno(), opened, deadline), own))
        yield opened
        _judge(process, opened, command[0], said, own[0])


@contextmanager
def noting(printing: AbstractContextManager[Opened], note: str | None) -> Iterator[Opened]:
    """The same, and a `note` of what nobody can print."""
    with printing as opened:
        yield opened
    if note:
        opened.problems.append(note)
        opened.truncated = True


@contextmanager
def _started(name: str, command: Sequence[str], stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """A client in a group of its own, which is killed if it is still there."""
    must_be_installed(name, command[0])
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell; names are single arguments behind `--` or `=`
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as exc:
        raise SourceError(name, f"{command[0]}: {exc.strerror}", f"{command[0]} --version") from None
    try:
        yield process
    finally:
        if process.returncode is None:  # nobody waited for it, so its number is still its own
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()


def _judge(
    process: subprocess.Popen[bytes],
    opened: Opened,
    program: str,
    said: IO[bytes],
    own: bytes,
    empty: Sequence[int] = (),
) -> None:
    """What its end tells, if it came to its end."""
    if not opened.ended:
        return
    try:
        status = process.wait(_GOODBYE_S)
    except subprocess.TimeoutExpired:
        return
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SHORT))
    words = _last_words(said.read()) or _last_words(own)
    failed = status not in (0, *empty)
    if words or failed:
        opened.problems.append(f"{program} (exit status {status}): {words}".removesuffix(": "))
        opened.truncated = failed or "runcat" in words


def _last_words(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:_WORDS] if lines else ""


def _as_runtime(read: Read, own: list[bytes]) -> Iterator[bytes]:
    """`2026-11-23T05:00:00Z text` as `2026-11-23T05:00:00Z stdout F text`.

    The last line is kept back as long as it is short: it may go on, and may be the client's own. `own` is
    told the last that is.
    """
    memory, rest, first = bytearray(_BLOCK), b"\n", True
    while True:
        got = read(memoryview(memory))
        data = rest + memory[:got]
        last = data.rfind(b"\n", 0, len(data) - 1)
        cut = last if last >= 0 and len(data) - last <= _SHORT else len(data)
        if got == 0:
            cut = cut if _BARE.match(data, cut) else len(data)
        piece, rest = data[:cut], data[cut:]
        lines, count = _STAMPED.subn(rb"\n\1 stdout F ", piece)
        if count < piece.count(b"\n") or (got == 0 and rest):
            own[:] = [found[-1] for found in _BARE.findall(data)][-1:] or own
        yield lines[1:] if first else lines
        first = first and not lines
        if got == 0:
            return
