"""From sources to an evidence folder and back. Contains no rule about Klaviyo."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from klaviyo_nb import __version__, probes
from klaviyo_nb.coming import Coming, Keep
from klaviyo_nb.errors import EvidenceError, UsageError
from klaviyo_nb.evidence import Evidence, Gap, header_fields
from klaviyo_nb.frames import CALLS, METRICS, NOTES, PROBES, WATCH, WEBHOOKS, Schema, plain_rows
from klaviyo_nb.klaviyo.keys import key_facts, usable
from klaviyo_nb.klaviyo.revisions import NEWEST
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window, iso, parse_duration, parse_time

if TYPE_CHECKING:
    import pandas as pd

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
_SCHEMAS = {"probes": PROBES, "calls": CALLS, "earlier": CALLS, "webhooks": WEBHOOKS, "metrics": METRICS,
            "watch": WATCH, "notes": NOTES}  # fmt: skip

#: Frames that pipes may add to, and where their rows are until all are kept together.
_OF_PIPES = {name: f"{name}-of-pipes.csv" for name in ("calls", "earlier", "webhooks")}
#: A frame of so many rows is kept as text while all evidence is read for what must be taken out of it.
KEPT = 100_000
#: By how much a log's clock may be ahead of ours without its newest lines being lost.
CLOCK_AHEAD = timedelta(minutes=2)
#: Logs are read from so long before the window on, or so large a part of it: was it under way at its start?
BEFORE, BEFORE_PART = timedelta(minutes=15), 1 / 4


_USER = re.compile(r"//[^/@]*@")


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def window_of(settings: Settings, now: datetime) -> Window:
    """The window that the settings ask for: `start` and `end`, or the last `since`.

    Raises:
        UsageError: A time is malformed, or the window is empty, or has not begun.
    """
    end = parse_time(settings.end, "--end") if settings.end else now
    start = parse_time(settings.start, "--start") if settings.start else end - parse_duration(settings.since)
    window = Window(start, end)
    if start >= now:
        raise UsageError("--start", f"{iso(start)} lies in the future", "klaviyo-nb triage --since 2h")
    return window


def with_before(window: Window) -> Window:
    """The window from so early on as logs are read."""
    return Window(window.start - min(BEFORE, (window.end - window.start) * BEFORE_PART), window.end)


def to_read(window: Window, settings: Settings) -> Window:
    """The span of logs that is read: a host's clock may be ahead, its newest lines lie in the future."""
    ahead = timedelta(0) if settings.end else CLOCK_AHEAD
    return Window(with_before(window).start, window.end + ahead)


def redactor_for(settings: Settings) -> Redactor:
    """A redactor that knows this run's own secrets; its pseudonyms are this run's alone."""
    known = [
        each for each in (settings.private_key, usable(settings.private_key), settings.metrics_token) if each
    ]
    return Redactor(secrets.token_bytes(16), tuple(dict.fromkeys(known)), settings.ip_addresses)


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


def save(evidence: Evidence, folder: Path, redact: Callable[[str], str] = str) -> None:
    """Write `evidence` to `folder`: `evidence.json`, a CSV per frame, `status_page.json`.

    Each file is whole whenever somebody looks; what was written there before is replaced, what `save_pipes`
    wrote is in it. The header is written last, so that a folder without it is known to be unfinished.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"evidence.json": _json(evidence.header())}
    if evidence.status_page is not None:
        texts["status_page.json"] = _json(evidence.status_page)
    frames = {name: frame for name in _SCHEMAS if (frame := getattr(evidence, name)) is not None}
    _write(folder, texts, frames, redact)


def save_pipes(evidence: Evidence, folder: Path, redact: Callable[[str], str]) -> None:
    """Write what pipes have sent beside what `save` wrote there earlier, and a header of both.

    Args:
        evidence: Its frames hold rows of pipes only; its header is of all.
        folder: Where `save` has written.
        redact: As of `save`.

    Raises:
        OSError: It cannot be written.
    """
    frames = {name: frame for name in _OF_PIPES if (frame := getattr(evidence, name)) is not None}
    _write(folder, {"evidence.json": _json(evidence.header())}, frames, redact, _OF_PIPES)


def _write(
    folder: Path,
    texts: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
    redact: Callable[[str], str],
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write frames, under other `names` where those are given, and then texts, the first of them last."""
    written: dict[str, Iterable[str]] = {
        name: _SCHEMAS[name].csv_parts(frame) for name, frame in frames.items()
    }
    if redact is not str:  # first all is read: what is recognised in the last text is taken out of the first
        for text in texts.values():
            redact(text)
        for name, frame in frames.items():
            written[name] = _recognised(written[name], _SCHEMAS[name], frame, redact)
    for name, parts in written.items():
        _put(folder / names.get(name, f"{name}.csv"), map(redact, parts))
    if not names:
        for name in _OF_PIPES.values():
            (folder / name).unlink(missing_ok=True)
    for name, text in reversed(list(texts.items())):
        _put(folder / name, [redact(text)])


def _recognised(
    parts: Iterable[str], schema: Schema, frame: pd.DataFrame, redact: Callable[[str], str]
) -> Iterable[str]:
    """What is to be written, when it was looked through; a large frame is made text once more for it."""
    held = list(parts) if len(frame) <= KEPT else None
    for part in held or parts:
        redact(part)
    return held or schema.csv_parts(frame)


def _put(path: Path, parts: Iterable[str]) -> None:
    """Write a file that is there whole, or as it was before."""
    unfinished = path.with_name(f".{path.name}.partial")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
    unfinished.replace(path)


def load(folder: Path) -> Evidence:
    """Read what `save` wrote, from an evidence folder or a bundle that holds one.

    Raises:
        EvidenceError: It is not evidence, or a file of it cannot be read.
    """
    if not (folder / "evidence.json").is_file() and (folder / "evidence" / "evidence.json").is_file():
        folder = folder / "evidence"
    header = folder / "evidence.json"
    if not header.is_file():
        raise EvidenceError(
            str(folder), "no evidence.json in it", "klaviyo-nb collect --out DIR, then diagnose DIR"
        )
    try:
        fields = header_fields(json.loads(header.read_text("utf-8")))
        frames: dict[str, Any] = {
            name: _read(path, schema)
            for name, schema in _SCHEMAS.items()
            if (path := folder / f"{name}.csv").is_file()
        }
        frames |= dict(_with_pipes(folder, frames))
        page = folder / "status_page.json"
        status_page = json.loads(page.read_text("utf-8")) if page.is_file() else None
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise EvidenceError(
            str(folder), f"cannot be read: {exc}", "klaviyo-nb verify the bundle it came from"
        ) from exc
    rows = tuple(plain_rows(frames.pop("probes"))) if "probes" in frames else ()
    return Evidence(status_page=status_page, probe_rows=rows, **frames, **fields)


def _with_pipes(folder: Path, frames: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Frames to which pipes have added since all was kept: their rows instead of those that they had then."""
    for name, file in _OF_PIPES.items():
        if (folder / file).is_file():
            schema, new = _SCHEMAS[name], _read(folder / file, _SCHEMAS[name])
            was = frames.get(name, schema.empty())
            both = schema.joined([was[~was["source"].isin(new["source"])], new])
            yield name, both.sort_values("timestamp", kind="stable", ignore_index=True)


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
        loop.call_soon_threadsafe(coming.more)

    asked = asyncio.to_thread(
        _read_logs, settings, window, redactor, until, progress, reading, so_far if coming.keep else None
    )
    try:
        read = await asyncio.wait_for(asked, patience * HELD if patience else span.left_s())
    except TimeoutError:
        return None, [Gap(name, "reading the logs did not end at the deadline") for name in coming.logs]
    return read, [Gap(coverage.source, coverage.gap) for coverage in read.coverage if coverage.gap]


def _read_logs(
    settings: Settings,
    window: Window,
    redactor: Redactor,
    deadline: float | None,
    progress: Callable[[str], None],
    reading: Progress | None,
    so_far: Callable[[SoFar], None] | None,
) -> LogsRead:
    from klaviyo_nb import logs

    read = logs.read(
        settings.logs,
        to_read(window, settings),
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
    progress(f"logs: {len(read.calls):,} calls in {lines:,} lines of {len(read.coverage)} sources")
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
    samples = 0 if fetched.frame is None else len(fetched.frame)
    progress(f"metrics: {samples:,} samples from {len(fetched.queries)} queries")
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


def _read(path: Path, schema: Schema) -> pd.DataFrame:
    """The frame; of `watch.csv`, which grows by a line per round until it is killed, the whole lines."""
    if path.name == "watch.csv":
        data = path.read_bytes()
        return schema.from_csv(data[: data.rfind(b"\n") + 1].decode("utf-8"))
    with path.open(encoding="utf-8", newline="") as file:  # line ends as they are
        return schema.from_csv(file)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
