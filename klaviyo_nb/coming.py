"""Evidence while it comes in: kept each time that there is more, for whoever stops the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from klaviyo_nb.evidence import UNFINISHED, Budget, Coverage, Evidence, Gap
from klaviyo_nb.frames import PROBES
from klaviyo_nb.probes.api import PATHS
from klaviyo_nb.probes.asked import ALLOWED
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.logs import LogsRead
    from klaviyo_nb.metrics.client import Fetched
    from klaviyo_nb.probes import Probed

#: Times what the last keeping took that the next one waits: at most so much of the work is done twice [1].
PATIENCE = 10
_NOT_YET = f"collecting {UNFINISHED} this had come in"


@dataclass
class Coming:
    """What has come in so far, the most volatile first: probes, logs, metrics.

    Attributes:
        window: The span asked about.
        context: What was asked of whom.
        clock: The wall clock.
        logs: Names of the log sources asked for, to be shown.
        keep: Writes what has come in so far; None: nothing is kept before all is there.
        rows: Answers to probes, as they came.
        probed: All of them, when they have ended.
        reading: Gives what the logs have told so far, while they are read.
        read: What the logs told, and the gaps in it.
        fetched: What the metrics server told, and the gaps in it.
    """

    window: Window
    context: Mapping[str, Any]
    clock: Callable[[], datetime]
    logs: Sequence[str]
    keep: Callable[[Evidence], None] | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    probed: Probed | None = None
    reading: Callable[[], LogsRead] | None = None
    read: tuple[LogsRead | None, list[Gap]] | None = None
    fetched: tuple[Fetched | None, list[Gap]] | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def evidence(self) -> Evidence:
        """As if nothing more would come; what has not come in yet is a gap that says so."""
        read, log_gaps = self.read or self._so_far()
        fetched, metric_gaps = self.fetched or (None, [Gap("metrics", _NOT_YET)])
        probed = self.probed
        api_calls = sum(row["probe"] in PATHS for row in self.rows)
        seen = read is not None and not all(each.gap and not each.lines for each in read.coverage)
        gaps = probed.gaps if probed else [Gap("probes", _NOT_YET)]
        earlier, calls = apart(read.calls, self.window) if read and seen else (None, None)
        return Evidence(
            window=self.window,
            collected_at=self.clock(),
            probe_rows=tuple(map(PROBES.row, probed.rows if probed else self.rows)),
            calls=calls,
            webhooks=apart(read.webhooks, self.window)[1] if read and seen else None,
            earlier=earlier,
            metrics=fetched.frame if fetched else None,
            status_page=probed.status_page if probed else None,
            coverage=about(read.coverage, earlier, self.window) if read else (),
            queries=fetched.queries if fetched else (),
            gaps=(*gaps, *log_gaps, *metric_gaps),
            budget=probed.budget if probed else Budget(api_calls, ALLOWED),
            context=self.context,
        )

    def _so_far(self) -> tuple[LogsRead | None, list[Gap]]:
        if self.reading is None:
            return None, [Gap(name, _NOT_YET) for name in self.logs]
        read = self.reading()
        return read, [Gap(each.source, each.gap) for each in read.coverage if each.gap]

    def take_row(self, row: dict[str, Any]) -> None:
        """A probe was answered."""
        self.rows.append(row)
        self.more()

    async def take_all(
        self,
        probed: Awaitable[Probed],
        read: Awaitable[tuple[LogsRead | None, list[Gap]]],
        fetched: Awaitable[tuple[Fetched | None, list[Gap]]],
        meanwhile: Awaitable[object],
    ) -> None:
        """Take each when it is there, until all are."""

        async def take_probed() -> None:
            self.probed = await probed
            self.more()

        async def take_read() -> None:
            self.read, self.reading = await read, None  # which held all parts
            self.more()

        async def take_fetched() -> None:
            self.fetched = await fetched
            self.more()

        await asyncio.gather(take_probed(), take_read(), take_fetched(), meanwhile)
        self._over.set()
        self._news.set()

    def more(self) -> None:
        """Something has come in."""
        self._news.set()

    async def keeping(self) -> None:
        """Keep it each time that something has come in, until all has: that is not kept here.

        Raises:
            OSError: It cannot be written.
        """
        if self.keep is None:
            return
        await asyncio.to_thread(import_module, "pandas")  # is part of no keeping
        while True:
            await self._news.wait()
            self._news.clear()
            if self._over.is_set():
                return
            began = time.monotonic()
            await asyncio.to_thread(self._keep, self.keep)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), PATIENCE * (time.monotonic() - began))

    def _keep(self, keep: Callable[[Evidence], None]) -> None:
        keep(self.evidence())


def apart(frame: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What lay before the window, and the rest; the frame is in order, rows without a time last."""
    before = int((frame["timestamp"] < window.start).sum())
    return frame.iloc[:before], frame.iloc[before:].reset_index(drop=True)


def about(coverage: Sequence[Coverage], earlier: pd.DataFrame | None, window: Window) -> tuple[Coverage, ...]:
    """What each source gave of the window; lines, and those not understood, are all that were read."""
    before = {} if earlier is None else earlier["source"].value_counts().to_dict()
    return tuple(_of_window(each, int(before.get(each.source, 0)), window) for each in coverage)


def _of_window(coverage: Coverage, before: int, window: Window) -> Coverage:
    got, asked = coverage.got, Window(window.start, coverage.asked.end)
    if got and got.start < window.start:
        got = Window(window.start, got.end) if got.end > window.start else None
    return replace(coverage, asked=asked, got=got, calls=coverage.calls - before)
