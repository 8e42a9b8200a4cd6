"""From sources to evidence. Contains no rule about Klaviyo."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from klaviyo_nb import __version__, probes
from klaviyo_nb.coming import Coming, Keep
from klaviyo_nb.evidence import Evidence, Gap, gaps_of
from klaviyo_nb.klaviyo.keys import key_facts
from klaviyo_nb.klaviyo.revisions import NEWEST
from klaviyo_nb.lines import many
from klaviyo_nb.redact import Redactor
from klaviyo_nb.start import to_read, utc_now
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    from klaviyo_nb.logs import LogsRead, Progress, SoFar
    from klaviyo_nb.metrics.client import Fetched
    from klaviyo_nb.settings import Settings

#: Limits of a collection that has no deadline of its own [s]; that of logs is a setting.
PROBES_S, METRICS_S = 10.0, 60.0
#: What the last answers, deciding and printing take of a deadline where nobody else uses the machine [s].
#: Half of it is work, which takes longer on a busy one; the other half is waiting.
RESERVE_S = 0.5
#: Of the rest, what reading logs may take: making frames of what was read and counting it takes long too [1].
READING = 0.75
#: A thread that a source still holds so many times that limit later is left behind [1].
HELD = 1.2

_USER = re.compile(r"//[^/@]*@")


async def collect(
    settings: Settings,
    window: Window,
    redactor: Redactor,
    *,
    deadline_s: float | None = None,
    slowness: float = 1.0,
    clock: Callable[[], datetime] = utc_now,
    progress: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[], object] = lambda: None,
    leave_out: Mapping[str, str] = MappingProxyType({}),
    allowed: int = probes.ALLOWED,
    reading: Progress | None = None,
    keep: Keep | None = None,
) -> Evidence:
    """Ask everything at once: probes, logs and metrics side by side.

    Args:
        settings: Whom to ask.
        window: The span asked about.
        redactor: What every text from outside passes through.
        deadline_s: Limit of what remains to be done, deciding included [s]; None: probes and metrics have
            their own, logs none.
        slowness: How many times longer than alone this process takes, as others use the machine too [1].
        clock: The wall clock.
        progress: Told what has come in, one short line each.
        meanwhile: Called in a thread of its own while the answers are on their way: the place for imports.
        leave_out: Probe of the API that is not to be asked → why.
        allowed: Requests that may be sent to the API host.
        reading: Told how far the reading of logs has got.
        keep: Keeps what has come in, called now and then while more is to come, in a thread of its own.

    Raises:
        UsageError: A source's URL or a metric's name cannot be understood.
        OSError: `keep` could not write.
    """
    span = _Span(time.monotonic(), _limit_s(deadline_s, slowness))
    named = [str(_bare(url) if "://" in url else url) for url in settings.logs]
    coming = Coming(window, context_of(settings), clock, named, keep)

    def answered(row: dict[str, Any]) -> None:
        progress(_told(row))
        coming.take_row(row)

    asked = asyncio.create_task(
        probes.run(settings, deadline_s=span.limit_s or PROBES_S, clock=clock, redact=redactor.text,
                   on_row=answered, leave_out=leave_out, allowed=allowed)
    )  # fmt: skip
    await asyncio.sleep(0)  # the requests leave before the heavy imports begin

    await asyncio.gather(
        coming.take_all(
            asked,
            _logs(settings, window, redactor, span, progress, reading, coming),
            _metrics(settings, window, span, progress),
            asyncio.to_thread(meanwhile),
        ),
        coming.keeping(),
    )
    return coming.evidence()


def context_of(settings: Settings) -> dict[str, Any]:
    """What was asked of whom, as plain values without secrets."""
    organisation = settings.organisation
    return {
        "tool_version": __version__,
        "api_url": _bare(settings.api_url),
        "status_url": _bare(settings.status_url),
        "health_url": _bare(settings.health_url),
        "webhook_url": _bare(settings.webhook_url),
        "metrics_url": _bare(settings.metrics_url),
        "revision": settings.revision or NEWEST,
        "key": key_facts(settings.private_key),
        "organisation": asdict(organisation) | {"working_days": sorted(organisation.working_days)},
        "thresholds": dict(settings.thresholds),
        "logs": [_USER.sub("//", url) for url in settings.logs],
    }


def _limit_s(deadline_s: float | None, slowness: float) -> float | None:
    """What collecting may take of what is left [s]."""
    return max(deadline_s - RESERVE_S * (1 + slowness) / 2, deadline_s / 2) if deadline_s else None


@dataclass(frozen=True, slots=True)
class _Span:
    """When collecting began, by `time.monotonic`, and its limit [s]; what begins later has no longer."""

    began: float
    limit_s: float | None

    def until(self, share: float = 1.0) -> float | None:
        """When this share of it is over, or None."""
        return self.began + self.limit_s * share if self.limit_s is not None else None

    def left_s(self) -> float | None:
        """Seconds left, or None."""
        return max(self.began + self.limit_s - time.monotonic(), 0.0) if self.limit_s is not None else None


async def _logs(
    settings: Settings,
    window: Window,
    redactor: Redactor,
    span: _Span,
    progress: Callable[[str], None],
    reading: Progress | None,
    coming: Coming,
) -> tuple[LogsRead | None, list[Gap]]:
    """What the logs gave, and the gaps in it.

    A thread that a source holds past the limit, as a dead network file system does, is left behind.
    """
    if not settings.logs:
        return None, [Gap("logs", "no log source was given (--logs URL)", configured=False)]
    patience = settings.limits.source_s if span.limit_s is None else None
    until = span.until(READING) if patience is None else time.monotonic() + patience
    loop = asyncio.get_running_loop()

    def so_far(read: SoFar) -> None:
        coming.reading = read
        with suppress(RuntimeError):  # reading was left behind, and nobody waits for it
            loop.call_soon_threadsafe(coming.more)

    asked = asyncio.to_thread(
        _read_logs, settings, window, to_read(window, coming.clock()), redactor, until, progress, reading,
        so_far if coming.keep else None,
    )  # fmt: skip
    try:
        read = await asyncio.wait_for(asked, patience * HELD if patience else span.left_s())
    except TimeoutError:
        return None, [Gap(name, "reading the logs did not end at the deadline") for name in coming.logs]
    return read, [*gaps_of(read.coverage, coming.clock())]


def _read_logs(
    settings: Settings,
    window: Window,
    span: Window,
    redactor: Redactor,
    deadline: float | None,
    progress: Callable[[str], None],
    reading: Progress | None,
    so_far: Callable[[SoFar], None] | None,
) -> LogsRead:
    from klaviyo_nb import logs

    read = logs.read(
        settings.logs,
        span,
        redact=redactor.text,
        deadline=deadline,
        progress=reading,
        engine=settings.engine,
        formats=settings.log_format,
        limits=settings.limits,
        so_far=so_far,
        since=window.start,
    )
    lines = sum(coverage.lines for coverage in read.coverage)
    progress(f"logs: {len(read.calls):,} calls in {lines:,} lines of {many(len(read.coverage), 'source')}")
    return read


async def _metrics(
    settings: Settings, window: Window, span: _Span, progress: Callable[[str], None]
) -> tuple[Fetched | None, list[Gap]]:
    """What the metrics server gave, and the gaps in it."""
    if not settings.metrics_url:
        return None, [Gap("metrics", "no metrics server was given (--metrics URL)", configured=False)]
    from klaviyo_nb.metrics.names import from_table

    names = from_table(settings.metrics)
    importing = asyncio.to_thread(import_module, "klaviyo_nb.metrics.client")  # brings pandas
    try:
        client = await asyncio.wait_for(importing, span.left_s())
    except TimeoutError:
        return None, [Gap("metrics", "this machine is too busy: nothing was asked before the deadline")]
    left = span.left_s()
    fetched: Fetched = await client.fetch(
        settings.metrics_url,
        window,
        names=names,
        token=settings.metrics_token,
        headers=settings.metrics.get("headers"),
        tls=settings.metrics.get("tls"),
        timeout_s=min(METRICS_S, settings.limits.source_s) if left is None else left,
        most=settings.limits.samples,
    )
    # Rows will be wanted; to make them would hold up this event loop, by which probes are timed.
    await asyncio.to_thread(getattr, fetched, "frame")
    progress(f"metrics: {len(fetched.samples or ()):,} samples from {len(fetched.queries)} queries")
    return fetched, list(fetched.gaps)


def _told(row: dict[str, Any]) -> str:
    said = row.get("error_type") or (
        f"HTTP {row['status_code']}" if row.get("status_code") else row.get("state")
    )
    seconds = row.get("duration_s")
    return f"{row['probe']}: {said}" + (f" in {seconds:.2f} s" if seconds is not None else "")


def _bare(url: str | None) -> str | None:
    """The URL without user, password and query."""
    if not url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
