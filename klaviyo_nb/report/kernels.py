"""Kernels for notebooks: forked from a process that has the imports done, or started plainly.

Every kernel runs the interpreter we run in, whatever kernels the user has installed, without the user's
IPython start-up files, over an encrypted connection, and without our secrets in its environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient

_SECRET_NAME = re.compile(r"^KLAVIYO_|KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_START_LIMIT_S = 30


#: What `kernel` gives: a kernel, running inside the `async with`.
Running = AbstractAsyncContextManager[tuple[AsyncKernelManager, "AsyncKernelClient"]]


class ForkFailed(Exception):
    """The fork server is gone, or there is none here."""


class Forked:
    """A kernel the fork server started: as much of a `Popen` as a provisioner asks for.

    Attributes:
        pid: Of its process, and of the process group it leads.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = os.pidfd_open(pid)  # becomes readable when the process ends; we are not its parent

    def poll(self) -> int | None:
        """None while it runs, else -9: only its parent is told how it ended."""
        return -signal.SIGKILL if select.select([self._ended], [], [], 0)[0] else None

    def send_signal(self, number: int) -> None:
        """Signal it; one that has just ended is none the worse for it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._ended, number)

    async def wait(self) -> None:
        """Wait for its end without polling; nothing can be asked of it afterwards."""
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._ended, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(self._ended)
        os.close(self._ended)


class ForkServer:
    """Our end of `forkserver`, which see."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def fork(self, argv: list[str], cwd: str, env: Mapping[str, str]) -> Forked:
        """A new kernel.

        Raises:
            ForkFailed: The server is gone.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"argv": argv, "cwd": cwd, "env": dict(env)}
        try:
            async with self._turn:  # one answer belongs to one request
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                return Forked(int(await self._process.stdout.readline()))
        except (OSError, ValueError) as exc:  # the pipe is broken, or gives no number
            raise ForkFailed from exc


@asynccontextmanager
async def fork_server(environ: Mapping[str, str]) -> AsyncIterator[ForkServer | None]:
    """A fork server, which imports while we do other things; it and its kernels are ended at the end.

    None where forking is not to be had.
    """
    if not hasattr(os, "pidfd_open"):
        yield None
        return
    # -P: a file in the current folder named like a module of ours is not to be run
    command = (sys.executable, "-P", "-m", "klaviyo_nb.report.forkserver")
    process = await asyncio.create_subprocess_exec(
        *command, env=dict(environ), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdin is not None
    try:
        yield ForkServer(process)
    finally:
        process.stdin.close()
        await process.wait()


class ForkProvisioner(LocalProvisioner):
    """Launches a kernel by asking a fork server."""

    process: Any  # a `Forked`, where the base class has a `Popen`

    def __init__(self, server: ForkServer, **traits: Any) -> None:
        super().__init__(**traits)
        self._server = server

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Fork instead of running `cmd`, whose arguments are the kernel's all the same."""
        self.cwd = kwargs.get("cwd") or os.getcwd()
        self.process = await self._server.fork(cmd[3:], str(self.cwd), kwargs["env"])
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def wait(self) -> int | None:
        """Wait for its end, which the base class looks for every 0.1 s."""
        if self.process is not None:
            await self.process.wait()
            self.process = None
        return 0


class _OneKernel(KernelSpecManager):
    """Knows one kernel: this interpreter."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def kernel_environment(environ: Mapping[str, str], scratch: Path | None = None) -> dict[str, str]:
    """`environ` without anything of ours and anything named like a secret; IPython's folder in `scratch`.

    A kernel that runs on evidence asks nobody anything, so it needs no key, and what it does not have no
    traceback can show.
    """
    kept = {name: value for name, value in environ.items() if not _SECRET_NAME.search(name)}
    return kept | ({"IPYTHONDIR": str(scratch / "ipython")} if scratch else {})


@asynccontextmanager
async def kernel(
    server: ForkServer | None, cwd: Path, env: Mapping[str, str], scratch: Path
) -> AsyncIterator[tuple[AsyncKernelManager, AsyncKernelClient]]:
    """A running kernel and a client connected to it; killed at the end.

    Args:
        server: Where to fork it from; None, or one that is gone: started plainly.
        cwd: Its working directory.
        env: Its whole environment.
        scratch: Where connection files go.

    Raises:
        RuntimeError: It did not start.
    """
    try:
        manager = await _start(server, cwd, env, scratch)
    except ForkFailed:
        manager = await _start(None, cwd, env, scratch)
    client = manager.client()
    try:
        client.start_channels(hb=False)  # the manager knows whether it lives
        client.allow_stdin = False
        await _ready(manager, client)
        yield manager, client
    finally:
        client.stop_channels()
        if manager.provisioner is not None:  # not `shutdown_kernel`, which looks every 0.1 s whether it ended
            await manager.provisioner.kill()
            await manager.provisioner.wait()
        await manager.cleanup_resources()


async def _ready(manager: AsyncKernelManager, client: AsyncKernelClient) -> None:
    """Wait until the kernel answers on both channels: a subscription takes effect late and in silence."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        asked = client.kernel_info()
        try:
            while (await client.shell_channel.get_msg(timeout=1))["parent_header"].get("msg_id") != asked:
                pass
            while not _idle_after(asked, await client.iopub_channel.get_msg(timeout=0.1)):
                pass
        except Empty:
            if not await manager.is_alive():
                raise RuntimeError("the kernel ended while it started") from None
        else:
            return
    raise RuntimeError(f"the kernel did not answer within {_START_LIMIT_S} s")


def _idle_after(asked: str, message: Mapping[str, Any]) -> bool:
    said = message["content"].get("execution_state")
    return bool(message["parent_header"].get("msg_id") == asked and said == "idle")


async def _start(
    server: ForkServer | None, cwd: Path, env: Mapping[str, str], scratch: Path
) -> AsyncKernelManager:
    # "auto" encrypts where the kernel can; without it each kernel warns that it is not encrypted
    manager = AsyncKernelManager(kernel_spec_manager=_OneKernel(), transport_encryption="auto")
    manager.connection_file = str(scratch / f"{id(manager)}.json")
    if server is not None:  # else the manager makes its own, which runs a command
        manager.provisioner = ForkProvisioner(server, kernel_spec=manager.kernel_spec, parent=manager)
    # inline: a fork has matplotlib imported before IPython exists, and would drop pyplot's charts
    arguments = ["--quiet", "--matplotlib=inline", "--HistoryManager.enabled=False"]
    await manager.start_kernel(
        extra_arguments=arguments, cwd=str(cwd), env=dict(env), stdout=DEVNULL, stderr=DEVNULL
    )
    return manager
