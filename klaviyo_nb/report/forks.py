"""A process that gets ready to run notebooks while we do other things, and forks into kernels on request.

Our end of it: starting, asking, ending. Cheap to import, so that it can be started first. `forkserver` is the
other end, `kernels` makes Jupyter use the forks.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

#: Large arrays go back to the system at once, in every fork: glibc would keep room for the largest so far.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "262144"}
_SECRET_NAME = re.compile(r"^KLAVIYO_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class ForkFailed(Exception):
    """The fork server is gone, or there is none here."""


class Forked:
    """What the fork server started: as much of a `Popen` as a kernel's provisioner asks for.

    Attributes:
        pid: Of its process, and of the process group it leads.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: int | None = None  # it may have ended before we look
        with suppress(ProcessLookupError):
            self._ended = os.pidfd_open(pid)  # becomes readable when it ends; we are not its parent

    def poll(self) -> int | None:
        """None while it runs, else -9: only its parent is told how it ended."""
        runs = self._ended is not None and not select.select([self._ended], [], [], 0)[0]
        return None if runs else -signal.SIGKILL

    def send_signal(self, number: int) -> None:
        """Signal it; one that has just ended is none the worse for it."""
        with suppress(ProcessLookupError):
            if self._ended is not None:
                signal.pidfd_send_signal(self._ended, number)

    async def wait(self) -> None:
        """Wait for its end without polling; nothing can be asked of it afterwards."""
        if self._ended is None:
            return
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._ended, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._ended)
            os.close(self._ended)


class ForkServer:
    """Our end of `forkserver`, which see.

    Attributes:
        asked: Set when it has been asked for something; it answers in the order in which it is asked.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.asked = asyncio.Event()
        self._process = process
        self._turn = asyncio.Lock()

    async def read_ahead(self, evidence: Path) -> None:
        """Have an evidence folder read once, so that every kernel begins with it in memory.

        What cannot be read is left for the kernels to complain of.
        """
        with suppress(ForkFailed):
            await self._ask({"evidence": str(evidence.resolve())})

    async def fork(self, argv: list[str], cwd: str, env: Mapping[str, str]) -> Forked:
        """A new kernel.

        Raises:
            ForkFailed: The server is gone.
        """
        return Forked(await self._ask({"kernel": {"argv": argv, "cwd": cwd, "env": dict(env)}}))

    async def call(self, where: str, *arguments: object) -> Any:
        """As `called`, in a process that has imports and evidence; what is given and told is pickled.

        Raises:
            ForkFailed: The server is gone, or it failed there.
        """
        with tempfile.TemporaryDirectory(prefix="klaviyo-nb-") as scratch:
            given, to = Path(scratch, "given"), Path(scratch, "told")
            given.write_bytes(pickle.dumps((where, *arguments)))
            await Forked(await self._ask({"call": {"given": str(given), "to": str(to)}})).wait()
            if not to.exists():
                raise ForkFailed
            return pickle.loads(to.read_bytes())  # noqa: S301 - our own fork wrote it

    def end(self) -> None:
        """End it and its kernels; at once, if it has none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self.asked.is_set():
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    async def _ask(self, request: Mapping[str, Any]) -> int:
        self.asked.set()
        try:
            async with self._turn:  # one answer belongs to one request
                return await asyncio.to_thread(self._answer, json.dumps(request).encode() + b"\n")
        except (OSError, ValueError) as exc:  # the pipe is broken, or gives no number
            raise ForkFailed from exc
        except asyncio.CancelledError:  # Ctrl-C, and the server may still be importing
            self._process.kill()
            raise

    def _answer(self, request: bytes) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def called(where: str, *arguments: object) -> Any:
    """What the function `MODULE:NAME` gives."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)(*arguments)


def give_back() -> None:
    """Let the system have the memory that frames held: allocators keep it for what comes next."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def fork_server(environ: Mapping[str, str]) -> Iterator[ForkServer | None]:
    """A fork server, which imports while we do other things; it and its kernels are ended at the end.

    None where forking is not to be had.
    """
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    # -P: a file in the current folder named like a module of ours is not to be run
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "klaviyo_nb.report.forkserver"],
        env=dict(environ) | _MALLOC, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server = ForkServer(process)
    try:
        yield server
    finally:
        server.end()


def kernel_environment(environ: Mapping[str, str], scratch: Path | None = None) -> dict[str, str]:
    """`environ` without anything of ours and anything named like a secret; IPython's folder in `scratch`.

    A kernel that runs on evidence asks nobody anything, so it needs no key, and what it does not have no
    traceback can show.
    """
    kept = {name: value for name, value in environ.items() if not _SECRET_NAME.search(name)}
    return kept | ({"IPYTHONDIR": str(scratch / "ipython")} if scratch else {})
