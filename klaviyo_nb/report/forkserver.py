"""A process that has everything in memory that a notebook needs, and forks into a kernel on request.

A kernel of its own spends about a second on imports before the first cell, and each reads the same evidence;
a fork has all that already. Never imported: `forks.ForkServer` runs it as a program and speaks with it in
lines.

    stdin   {"kernel": {"argv": […], "cwd": "…", "env": {…}}}
    stdout  PID of the kernel
    stdin   {"call": {"given": "FILE", "to": "FILE"}}     pickled, the arguments of `forks.called`
    stdout  PID of what calls it; it ends when the second FILE is there
    stdin   {"evidence": "FOLDER"}
    stdout  1: it was read; 0: it could not be

The end of stdin ends all that was forked, so that nothing outlives whoever asked for it.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TextIO

from klaviyo_nb.logs.questions import QUESTIONS
from klaviyo_nb.report.forks import called, give_back

#: What a kernel or a notebook would import after the fork.
PRELOADED = (
    "IPython.core.debugger_backport",
    "IPython.core.logger",
    "IPython.core.magics.execution",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    *(f"klaviyo_nb.logs.questions.{name}" for name in QUESTIONS),
    "klaviyo_nb.report.charts",
    "klaviyo_nb.report.drawing",
    "klaviyo_nb.report.index",
    "klaviyo_nb.report.texts",
    "klaviyo_nb.report.views",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "pandas.core.reshape.reshape",
    "psutil",
    "tornado.platform.asyncio",
)


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer requests until they end."""
    children = set[int]()

    def reap(_signal: int, _frame: object) -> None:
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                children.discard(ended)

    signal.signal(signal.SIGCHLD, reap)
    for line in requests:
        request = json.loads(line)
        if "evidence" in request:
            answer = int(_read_ahead(Path(request["evidence"])))
        else:
            ((kind, arguments),) = request.items()
            children.add(answer := _fork(partial(_WORK[kind], **arguments)))
        with suppress(BrokenPipeError):  # nobody listens any more; the end of the requests follows
            replies.write(f"{answer}\n")
            replies.flush()
    for pid in tuple(children):
        with suppress(ChildProcessError, ProcessLookupError):  # one that ended at once was never taken out
            if not os.waitpid(pid, os.WNOHANG)[0]:
                os.killpg(pid, signal.SIGKILL)


def _read_ahead(folder: Path) -> bool:
    """Read evidence, decide and ask the logs as notebooks and charts do: what they look up is then there."""
    from klaviyo_nb.diagnosis import decide
    from klaviyo_nb.errors import EvidenceError
    from klaviyo_nb.report import canvas, charts, show, timeline, views
    from klaviyo_nb.response.actions import actions_for
    from klaviyo_nb.response.document import verdict_document

    try:
        seen = show.read_ahead(folder)
    except EvidenceError:
        return False
    verdict = decide(seen)
    document = verdict_document(seen, verdict)
    actions_for(verdict, seen)
    figures = charts.draw_ahead(seen, verdict)
    pictures = _beside(lambda: [canvas.save_png(figure) for figure in figures])
    for name in QUESTIONS:
        views.ask(seen, name)
    views.broken(seen)
    views.changed(seen)
    views.impact(seen)
    timeline.entries(seen, document)
    for figure, png in zip(figures, pictures(), strict=False):  # none, if it was killed
        canvas.painted(figure, png)
    give_back()
    gc.freeze()
    return True


def _beside(work: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    """Begin this in a fork; what is given back waits for what it gives, and gives nothing if it fails."""
    ours, theirs = os.pipe()

    def tell() -> None:
        with os.fdopen(theirs, "wb") as pipe:
            pickle.dump(work(), pipe)

    _fork(tell)
    os.close(theirs)

    def told() -> list[bytes]:
        with os.fdopen(ours, "rb") as pipe, suppress(EOFError, pickle.UnpicklingError):
            return list(pickle.load(pipe))  # noqa: S301 - our own fork wrote it
        return []

    return told


def _fork(work: Callable[[], None]) -> int:
    """A child that does this and nothing else."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setsid()  # its own group, so that an interrupt reaches it and what it started
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def _become_kernel(argv: list[str], cwd: str, env: dict[str, str]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    # The kernel ends when we do, also if we are killed. (What the environment says was read at import.)
    ends_with = f"--IPKernelApp.parent_handle={os.getppid()}"
    import_module("ipykernel.kernelapp").IPKernelApp.launch_instance(argv=[*argv, ends_with])


def _call(given: str, to: str) -> None:
    asked = pickle.loads(Path(given).read_bytes())  # noqa: S301 - who started us wrote it
    part = Path(f"{to}.part")
    part.write_bytes(pickle.dumps(called(*asked)))
    part.rename(to)


_WORK: dict[str, Callable[..., None]] = {"kernel": _become_kernel, "call": _call}


def _prepare() -> None:
    """Import, and read what every fork would read again: endpoints and templates."""
    # Nobody debugs a kernel that runs headless, and ipykernel does without where there is none: 0.1 s each.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    for name in PRELOADED:
        import_module(name)
    backends = import_module("matplotlib.backends")
    backends.backend_registry.list_all()  # else each kernel asks all that is installed for a backend
    from klaviyo_nb.klaviyo.endpoints import catalogue
    from klaviyo_nb.report import look, texts

    catalogue()
    for name in ("parts.html.j2", "index.html.j2"):
        look.PAGES.get_template(name)
    texts.get_ready()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever asked decides
    gc.disable()  # what is imported stays: looking for what does not takes a tenth of the time
    _prepare()
    gc.freeze()  # collecting in a fork would copy the pages it shares with us
    gc.enable()
    serve(sys.stdin, sys.stdout)
    os._exit(0)  # taking apart what was imported takes a tenth of a second, in which somebody waits
