"""Evidence while it comes in: kept each time that there is more, for whoever stops the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from klaviyo_nb.evidence import UNFINISHED, Budget, Coverage, Evidence, Gap
from klaviyo_nb.frames import PROBES
from klaviyo_nb.probes.api import PATHS
from klaviyo_nb.probes.asked import ALLOWED
from klaviyo_nb.window import Window

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.logs import LogsRead, SoFar
    from klaviyo_nb.metrics.client import Fetched
    from klaviyo_nb.probes import Probed

#: Times what the last keeping took that the next one waits: at most so much of the work is done twice [1].
PATIENCE = 10
#: What pipes have sent waits so long to be kept, by what keeping it took: nobody can read it again [s].
LEAST_S, PIPES_S = 1.0, 10.0
_NOT_YET = f"collecting {UNFINISHED} this had come in"


class Keep(Protocol):
    """Writes evidence while more is to come."""

    def __call__(self, evidence: Evidence, /, *, pipes: bool) -> None:
        """Write all of it; `pipes`: its frames hold only what pipes have sent, the rest was kept before.

        Raises:
            OSError: It cannot be written.
        """


@dataclass
class Coming:
    """What has come in so far, the most volatile first: probes, logs, metrics.

    Attributes:
        window: The span asked about.
        context: What was asked of whom.
        clock: The wall clock.
        logs: Names of the log sources asked for, to be shown.
        keep: Keeps what has come in so far; None: nothing is kept before all is there.
        rows: Answers to probes, as they came.
        probed: All of them, when they have ended.
        reading: Gives what the logs have told so far, while they are read.
        read: What the logs told, and the gaps in it.
        fetched: What the metrics server told, and the gaps in it.
        patience: See `PATIENCE`.
        pipes_s: See `PIPES_S`.
    """

    window: Window
    context: Mapping[str, Any]
    clock: Callable[[], datetime]
    logs: Sequence[str]
    keep: Keep | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    probed: Probed | None = None
    reading: SoFar | None = None
    read: tuple[LogsRead | None, list[Gap]] | None = None
    fetched: tuple[Fetched | None, list[Gap]] | None = None
    patience: float = PATIENCE
    pipes_s: float = PIPES_S
    _kept: Evidence | None = None
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
        rows = tuple(map(PROBES.row, probed.rows if probed else self.rows))
        if calls is not None and earlier is not None:
            from klaviyo_nb.diagnosis.portals import told_by_probes  # where no log was read, it is not needed

            calls, earlier = told_by_probes(calls, earlier, rows)
        return Evidence(
            window=self.window,
            collected_at=self.clock(),
            probe_rows=rows,
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
        due, owed, took = 0.0, False, 0.0
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), due - time.monotonic() if owed else None)
            self._news.clear()
            if self._over.is_set():
                return
            began = time.monotonic()
            owed = began < due
            piped = await asyncio.to_thread(self._keep_pipes if owed else self._keep_all, self.keep)
            now = time.monotonic()
            if owed:
                took = now - began
            else:
                due = now + self.patience * (now - began)
            wait = min(max(self.patience * took, LEAST_S), self.pipes_s) if piped else due - now
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), wait)

    def _keep_all(self, keep: Keep) -> bool:
        """Keep all that has come in; is a pipe among it?"""
        evidence = self.evidence()
        keep(evidence, pipes=False)
        self._kept = replace(evidence, calls=None, earlier=None, webhooks=None, metrics=None)
        return self.reading is not None and bool(self.reading(pipes=True).coverage)

    def _keep_pipes(self, keep: Keep) -> bool:
        """Keep what pipes have sent since all was kept; is there a pipe?"""
        kept, reading = self._kept, self.reading
        read = reading(pipes=True) if reading else None
        if kept is None or read is None or not read.coverage:
            return False
        earlier, calls = apart(read.calls, self.window)
        now = {each.source: each for each in about(read.coverage, earlier, self.window)}
        before = {each.source: each for each in kept.coverage}
        evidence = replace(
            kept,
            collected_at=self.clock(),
            calls=calls,
            earlier=earlier,
            webhooks=apart(read.webhooks, self.window)[1],
            coverage=tuple((before | now).values()),
            gaps=tuple(gap for gap in kept.gaps if gap.signal not in now)
            + tuple(Gap(each.source, each.gap) for each in now.values() if each.gap),
        )
        keep(evidence, pipes=True)
        return True


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
