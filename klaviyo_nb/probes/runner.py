"""All probes at once, under one deadline and one request budget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Budget, Gap
from klaviyo_nb.klaviyo.keys import usable
from klaviyo_nb.klaviyo.revisions import NEWEST, well_formed
from klaviyo_nb.probes.api import PATHS, probe_api
from klaviyo_nb.probes.application import probe_health, probe_webhook
from klaviyo_nb.probes.asked import ALLOWED, Purse, Round
from klaviyo_nb.probes.asking import Clients, Row
from klaviyo_nb.probes.network import probe_network
from klaviyo_nb.probes.status_page import probe_status_page
from klaviyo_nb.settings import Settings

if TYPE_CHECKING:
    import httpx

ORDER = ("status_page", "auth", "rate_limit", "liveness", "app_health", "webhook", "dns", "tls")
#: What tidying up may take after the deadline [s].
GRACE_S = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Probed:
    """What asking gave.

    Attributes:
        rows: One per probe that ran, with columns of the PROBES frame.
        status_page: The page's own words; None if it could not be read.
        gaps: One per thing that could not be asked.
        budget: Requests spent on the API host.
    """

    rows: list[Row]
    status_page: Mapping[str, Any] | None
    gaps: list[Gap]
    budget: Budget


async def run(
    settings: Settings,
    *,
    deadline_s: float,
    clock: Callable[[], datetime],
    redact: Callable[[str], str],
    transport: httpx.AsyncBaseTransport | None = None,
    on_row: Callable[[Row], None] | None = None,
    leave_out: Mapping[str, str] = MappingProxyType({}),
    allowed: int = ALLOWED,
) -> Probed:
    """Ask everything at once.

    Args:
        settings: Whom to ask, and the key.
        deadline_s: When all must be over, from now [s]; kept whatever the other sides do.
        clock: The wall clock.
        redact: What every text from outside passes through.
        transport: Answers in place of the network, which is then not probed itself.
        on_row: Told each row as it comes.
        leave_out: Probe of the API that is not to be asked → why, which becomes its gap.
        allowed: Requests that may be sent to the API host.

    Raises:
        UsageError: The revision cannot be one, or the environment's certificate file cannot be read.
    """
    if not well_formed(settings.revision or NEWEST):
        raise UsageError(
            "KLAVIYO_NB_REVISION",
            f"{settings.revision!r} is not a revision",
            f"export KLAVIYO_NB_REVISION={NEWEST}",
        )
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ImpatientExecutor())
    clients = Clients(usable(settings.private_key), transport)
    this = Round(settings, clients, clock, loop.time() + deadline_s, redact, on_row, purse=Purse(allowed))
    for name, why in leave_out.items():
        this.miss(name, f"not asked: {why}")
    page = asyncio.create_task(probe_status_page(this), name="status_page")
    others: dict[str, Coroutine[Any, Any, None]] = {
        name: probe_api(this, name) for name in PATHS if name not in leave_out
    }
    others |= {"app_health": probe_health(this), "webhook": probe_webhook(this)}
    others |= {} if transport else {"network": probe_network(this)}
    await _all(this, [page, *(asyncio.create_task(work, name=name) for name, work in others.items())])
    found = page.result() if page.done() and not page.cancelled() else None
    rows = sorted(this.rows, key=lambda row: ORDER.index(row["probe"]))
    return Probed(rows, found, [*this.gaps, *clients.gaps], this.budget)


async def _all(this: Round, tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for all, not longer than the deadline allows; raise what is a fault of ours."""
    try:
        done, late = await asyncio.wait(tasks, timeout=max(this.left_s, 0.0) + GRACE_S)
        for task in done:
            task.result()
        for task in late:
            this.miss(task.get_name(), "it did not end at the deadline")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait([asyncio.create_task(this.clients.aclose())], timeout=GRACE_S)


class ImpatientExecutor(ThreadPoolExecutor):
    """Runs each call in a daemon thread, and waits for none when the loop or the program ends.

    The event loop looks names up in its default executor. A resolver that does not answer holds a thread for
    many seconds, and both closing the loop and leaving the program would wait for it.
    """

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Start `fn` at once, in a thread of its own."""
        future: Future[_T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                with _Delivering(future):
                    future.set_result(fn(*args, **kwargs))

        threading.Thread(target=work, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to wait for."""


@dataclass(frozen=True, slots=True)
class _Delivering:
    """Hands on to a future whatever its work raises."""

    future: Future[Any]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exc is not None:
            self.future.set_exception(exc)
        return exc is not None
