"""Kernels: forked or plain, without our secrets, and gone afterwards."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

import samples
from klaviyo_nb.folder import save
from klaviyo_nb.report.drawing import draw
from klaviyo_nb.report.forks import Forked, ForkFailed, ForkServer, fork_server, kernel_environment
from klaviyo_nb.report.kernels import kernel
from klaviyo_nb.report.made import Made

DRAW = "klaviyo_nb.report.drawing:draw"
CLEAN = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp")}


def test_what_is_named_like_a_secret_stays_out_of_the_environment(tmp_path: Path) -> None:
    environ = {"PATH": "/bin", "KLAVIYO_PRIVATE_KEY": "x", "AWS_SECRET_ACCESS_KEY": "x", "NPM_TOKEN": "x",
               "DB_PASSWORD": "x", "KLAVIYO_NB_LOGS": "x", "LANG": "C"}  # fmt: skip
    assert set(kernel_environment(environ, tmp_path)) == {"PATH", "LANG", "IPYTHONDIR"}


async def _ask(server: ForkServer | None, scratch: Path) -> tuple[str, bool]:
    """The class of the provisioner, and whether the kernel is gone at the end."""
    async with kernel(server, scratch, kernel_environment(CLEAN, scratch), scratch) as (manager, client):
        name, pid = type(manager.provisioner).__name__, manager.provisioner.pid  # type: ignore[union-attr]
        asked = client.execute("1")
        while (await client.shell_channel.get_msg(timeout=20))["parent_header"]["msg_id"] != asked:
            pass
    return name, not _alive(pid)  # type: ignore[arg-type]


def _alive(pid: int) -> bool:
    """Does it run? One that ended may still stand in the table until its parent has looked."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_forked_kernel_answers_and_is_gone_at_the_end(tmp_path: Path) -> None:
    async def both() -> tuple[str, bool]:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            return await _ask(server, tmp_path)

    assert asyncio.run(both()) == ("ForkProvisioner", True)


def test_a_forked_kernel_ends_with_its_fork_server_also_if_that_is_killed(tmp_path: Path) -> None:
    async def killed() -> bool:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            async with kernel(server, tmp_path, kernel_environment(CLEAN), tmp_path) as (manager, _):
                pid: int = manager.provisioner.pid  # type: ignore[union-attr, assignment]
                ended, its_server = os.pidfd_open(pid), psutil.Process(pid).parent()
                assert its_server is not None
                assert its_server.ppid() == os.getpid()
                its_server.kill()
                seen = await asyncio.to_thread(select.select, [ended], [], [], 30)
                os.close(ended)
                return bool(seen[0])

    assert asyncio.run(killed())


def test_kernels_are_forked_also_after_evidence_that_cannot_be_read(tmp_path: Path) -> None:
    async def after_trouble() -> tuple[str, bool]:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            await server.read_ahead(tmp_path / "nothing")
            return await _ask(server, tmp_path)

    assert asyncio.run(after_trouble()) == ("ForkProvisioner", True)


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("[b'a' * 200_000]", [200_000]),  # more than a pipe holds
        ("os.kill(os.getpid(), 9)", []),
        ("1 / 0", []),
    ],
)
def test_what_is_done_beside_is_told_and_nothing_if_it_fails(work: str, told: list[int]) -> None:
    code = f"import os; from klaviyo_nb.report.forkserver import _beside; told = _beside(lambda: {work})()"
    done = [sys.executable, "-c", f"{code}; print([len(each) for each in told])"]
    said = subprocess.run(done, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == f"{told}\n"


class DiesOnce(ForkServer):
    """A fork server whose first kernel is dead at once, as one whose port somebody took."""

    def __init__(self, server: ForkServer) -> None:
        self._server, self.forked = server, 0

    async def fork(self, argv: list[str], cwd: str, env: Mapping[str, str]) -> Forked:
        self.forked += 1
        child = await self._server.fork(argv, cwd, env)
        if self.forked == 1:
            child.send_signal(signal.SIGKILL)
        return child


def test_a_kernel_that_ends_while_it_starts_is_started_once_more(tmp_path: Path) -> None:
    async def unlucky() -> tuple[tuple[str, bool], int]:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            dying = DiesOnce(server)
            return await _ask(dying, tmp_path), dying.forked

    assert asyncio.run(unlucky()) == (("ForkProvisioner", True), 2)


def test_what_a_fork_draws_is_what_is_drawn_here(tmp_path: Path) -> None:
    for name in ("there", "here"):
        save(samples.rate_limited(), tmp_path / name / "evidence")

    async def there() -> Made:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            await server.read_ahead(tmp_path / "there" / "evidence")
            return await server.call(DRAW, tmp_path / "there", "INC-7", None)

    drawn, expected = asyncio.run(there()), draw(tmp_path / "here", "INC-7", None)
    assert (drawn.texts, drawn.answers) == (expected.texts, expected.answers)
    assert [each.svg.read_bytes() for each in drawn.charts] == [
        each.svg.read_bytes() for each in expected.charts
    ]


def test_a_fork_that_cannot_draw_says_so(tmp_path: Path) -> None:
    async def there() -> None:
        with fork_server(kernel_environment(CLEAN)) as server:
            assert server is not None
            with pytest.raises(ForkFailed):
                await server.call(DRAW, tmp_path / "nothing", "INC-7", None)

    asyncio.run(there())


def test_without_a_fork_server_a_plain_kernel_does_the_same(tmp_path: Path) -> None:
    assert asyncio.run(_ask(None, tmp_path)) == ("LocalProvisioner", True)


def test_a_fork_server_that_died_is_done_without(tmp_path: Path) -> None:
    async def after_death() -> tuple[str, bool]:
        with fork_server({"PYTHONHOME": "/nowhere"}) as server:  # cannot even start
            assert server is not None
            return await _ask(server, tmp_path)

    assert asyncio.run(after_death()) == ("LocalProvisioner", True)


def test_signals_to_a_kernel_that_has_just_ended_do_no_harm() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        gone = Forked(process.pid)
        assert gone.poll() is None
    gone.send_signal(signal.SIGKILL)
    assert gone.poll() is not None
    asyncio.run(gone.wait())


def test_a_process_that_ended_before_we_looked_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass  # waited for: its number names nothing any more
    gone = Forked(process.pid)
    gone.send_signal(signal.SIGTERM)
    assert gone.poll() == -signal.SIGKILL
    asyncio.run(gone.wait())
