"""Fixtures of all tests: a fixed `now`, a clean environment, and no way out of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import hypothesis
import pytest

from installed import missing
from klaviyo_nb.window import Window

#: A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
#: For the wheel, of whose parts only the presence is in question: `--hypothesis-profile=few`.
hypothesis.settings.register_profile("few", deadline=None, max_examples=3)

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


def _stay_here(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple) and not str(args[1][0]).startswith(LOOPBACK):
        raise PermissionError(f"a test tried to reach {args[1][0]}; use a local server or a transport")


sys.addaudithook(_stay_here)

# A shell ignores Ctrl-C for what it runs in the background, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("KLAVIYO_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


@pytest.fixture
def window(now: datetime) -> Window:
    return Window.last(timedelta(hours=2), now)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """No rights beyond what a file's mode gives: where root runs the tests, this one goes on as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def need() -> Callable[[str], str]:
    """`need("promtool")` is the path of a program; without it the test skips, but fails when CI=true."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            missing(f"{program} is not installed")
        return str(path)

    return find
