"""Kernels for notebooks: forked from a process that has the imports done (`forks`), or started plainly.

Every kernel runs the interpreter we run in, whatever kernels the user has installed, without the user's
IPython start-up files, over an encrypted connection, and without our secrets in its environment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from queue import Empty
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from klaviyo_nb.report.forks import ForkFailed, ForkServer

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient

_START_LIMIT_S = 30


#: What `kernel` gives: a kernel, running inside the `async with`.
Running = AbstractAsyncContextManager[tuple[AsyncKernelManager, "AsyncKernelClient"]]


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
    async with AsyncExitStack() as stack:
        try:
            begun = await stack.enter_async_context(_begun(server, cwd, env, scratch))
        except _Ended:  # ports are chosen before it starts: another program may have taken one meanwhile
            begun = await stack.enter_async_context(_begun(server, cwd, env, scratch))
        yield begun


class _Ended(RuntimeError):
    """A kernel ended while it started."""


@asynccontextmanager
async def _begun(
    server: ForkServer | None, cwd: Path, env: Mapping[str, str], scratch: Path
) -> AsyncIterator[tuple[AsyncKernelManager, AsyncKernelClient]]:
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
                raise _Ended("the kernel ended while it started") from None
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
