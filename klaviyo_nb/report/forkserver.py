"""A process that has everything imported that a notebook needs, and forks into a kernel on request.

A kernel of its own spends about a second on imports before the first cell; a fork has them already. Never
imported: `kernels.ForkServer` runs it as a program and speaks with it in lines of JSON.

    stdin   {"argv": […], "cwd": "…", "env": {…}}
    stdout  {"started": PID}, and when that kernel ends {"ended": PID, "status": -9}

The end of stdin ends all kernels, so that none outlives whoever asked for it.
"""

# ruff: noqa: E402 - one module has to be ruled out before ipykernel is imported
from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

# Nobody debugs a kernel that runs headless, and ipykernel does without where it is not installed: 0.1 s each.
sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type]

import IPython.core.magics.execution
import matplotlib.backends.backend_agg
import matplotlib.pyplot
import matplotlib_inline.backend_inline
import tornado.platform.asyncio
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from matplotlib.figure import Figure

import klaviyo_nb.report.charts
import klaviyo_nb.report.texts
import klaviyo_nb.report.views
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.report import show

#: What a kernel or a notebook would import after the fork.
PRELOADED = (
    IPython.core.magics.execution,
    IPythonKernel,
    matplotlib.backends.backend_agg,
    matplotlib.pyplot,
    matplotlib_inline.backend_inline,
    tornado.platform.asyncio,
    klaviyo_nb.report.charts,
    klaviyo_nb.report.texts,
    klaviyo_nb.report.views,
)


def serve(requests: int, replies: int) -> None:
    """Answer requests until `requests` ends."""
    children, unfinished = set[int](), b""
    wake = _wake_on_child_exit()
    while True:
        ready, _, _ = select.select([requests, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            for pid, status in _ended():
                children.discard(pid)
                _say(replies, {"ended": pid, "status": status})
        if requests in ready:
            if not (chunk := os.read(requests, 65536)):
                break
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            for line in lines:
                children.add(pid := _fork(json.loads(line)))
                _say(replies, {"started": pid})
    for pid in children:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _wake_on_child_exit() -> int:
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)  # without a handler nothing is woken
    return wake


def _ended() -> Iterator[tuple[int, int]]:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield found[0], os.waitstatus_to_exitcode(found[1])


def _say(replies: int, message: dict[str, int]) -> None:
    with suppress(BrokenPipeError):  # nobody listens any more; the end of stdin follows
        os.write(replies, json.dumps(message).encode() + b"\n")


def _fork(request: dict[str, object]) -> int:
    pid = os.fork()
    if pid == 0:
        _become_kernel(**request)  # type: ignore[arg-type]
    return pid


def _become_kernel(argv: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    status = 1
    try:
        os.setsid()  # its own group, so that an interrupt reaches it and what it started
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env | {"JPY_PARENT_PID": str(os.getppid())})  # the kernel ends when we do
        IPKernelApp.launch_instance(argv=argv)
        status = 0
    finally:
        os._exit(status)


def _read_once() -> None:
    """Read what every fork would read again: the endpoint catalogue, and fonts, by drawing something."""
    catalogue()
    drawn = Figure(figsize=(1, 1))
    drawn.text(0, 0, "plain")
    drawn.text(0, 0, "bold", fontweight="bold")
    show.figure(drawn)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever asked decides
    _read_once()
    gc.freeze()  # collecting in a fork would copy the pages it shares with us
    serve(sys.stdin.fileno(), sys.stdout.fileno())
