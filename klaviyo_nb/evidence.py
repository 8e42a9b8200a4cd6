"""`Evidence`: what was seen in one window, and what was not.

The value that passes from collecting to deciding. It holds frames and plain values only; `folder` writes it
to a folder and reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar
from weakref import ref

from klaviyo_nb.errors import UsageError
from klaviyo_nb.expressions import expression
from klaviyo_nb.frames import PROBES
from klaviyo_nb.window import Window, exact, iso, parse_time

if TYPE_CHECKING:
    import pandas as pd

Asked = ParamSpec("Asked")
Told = TypeVar("Told")
Seen = TypeVar("Seen")

SCHEMA = "klaviyo-nb/evidence/1"
#: `Coverage.gap` of a source that was read whole and holds nothing.
EMPTY = "it is empty"
#: Between the reason of a gap and the next command to type.
TRY = "; try: "
#: Part of the reason of a gap: what had not come in when a run was stopped.
UNFINISHED = "was stopped before"
#: So many gaps that are alike, and so many log sources, are told one by one to a person.
MOST_ALIKE = 3
MOST_SOURCES = 20
#: By how much a log's clock may be ahead of ours without its newest lines being lost; how far time zones are
#: ahead of UTC, at most.
CLOCK_AHEAD, _ZONES = timedelta(minutes=2), timedelta(hours=15)
_ANOTHER = "its clock, or a time zone that it does not name, is ahead; give --start and --end by it"
_NUMBER = expression(r"\d+")


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that could not be seen.

    Attributes:
        signal: What is missing: a probe's name, `logs`, `metrics`, or a source's URL.
        reason: Why, one short line.
        configured: False if nobody asked for it, which is a gap but no trouble.
    """

    signal: str
    reason: str
    configured: bool = True


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a source was asked for and what it gave.

    Attributes:
        source: Its URL, credentials removed.
        asked: The window asked for.
        got: First to last time seen in it; None if no line carried a time in the window.
        lines: Lines read.
        calls: Rows that came of them.
        unparsed: Lines that speak of Klaviyo and gave no row.
        skipped_bytes: Bytes, as stored, that are there and were not read, or could not be, as far as that is
            known. What is missing behind a torn end is no byte of it.
        truncated: True if the end is missing: a torn archive, a cap, the deadline.
        gap: Why something is missing, or None.
        outside: Latest time seen in lines outside the window; None if there was none, or nobody looked.
    """

    source: str
    asked: Window
    got: Window | None = None
    lines: int = 0
    calls: int = 0
    unparsed: int = 0
    skipped_bytes: int = 0
    truncated: bool = False
    gap: str | None = None
    outside: datetime | None = None

    @property
    def whole(self) -> bool:
        """Was all of it read?"""
        return not self.truncated and self.gap in (None, EMPTY)

    def as_json(self) -> dict[str, Any]:
        """Plain values, windows as in `Window.as_json`."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}  # there may be 100,000 of these
        return told | {
            "asked": self.asked.as_json(),
            "got": self.got.as_json() if self.got else None,
            "outside": exact(self.outside) if self.outside else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Coverage:
        """Read back what `as_json` wrote."""
        windows = {name: Window.from_json(data[name]) if data[name] else None for name in ("asked", "got")}
        outside = data.get("outside")  # older evidence does not tell
        return cls(**(dict(data) | windows | {"outside": parse_time(outside) if outside else None}))


def gaps_of(coverage: Iterable[Coverage], now: datetime) -> Iterator[Gap]:
    """What could not be seen of log sources that were read until `now`.

    Lines stamped later than that are another time zone's, or those of a clock that is ahead: they are missing
    in a window that ends now, and others stand in it that do not belong there.
    """
    for each in coverage:
        if each.gap:
            yield Gap(each.source, each.gap)
        if each.outside and now + CLOCK_AHEAD < each.outside < now + _ZONES:
            yield Gap(each.source, f"it goes on to {iso(each.outside)}, which has not come yet: {_ANOTHER}")


def together(gaps: Iterable[Gap]) -> list[Gap]:
    """Gaps for a person to read: of many that differ in source or numbers only, the first speaks for all.

    A glob may name thousands of archives that are torn alike. Data for machines, and `limits.md`, name each.
    """
    alike: dict[tuple[str, bool], list[Gap]] = {}
    for gap in gaps:
        reason = gap.reason.partition(TRY)[0]  # the command names the source
        alike.setdefault((_NUMBER.sub("#", reason), gap.configured), []).append(gap)
    return [
        told
        for same in alike.values()
        for told in (
            same
            if len(same) <= MOST_ALIKE
            else [replace(same[0], signal=f"{same[0].signal} and {len(same) - 1:,} more")]
        )
    ]


def in_short(coverage: Sequence[Coverage]) -> list[Coverage]:
    """Log sources for a person to read: of many, those with trouble or most calls, and the rest as one."""
    if len(coverage) <= MOST_SOURCES:
        return list(coverage)
    ranked = sorted(coverage, key=lambda each: (each.whole, -each.calls))
    named, rest = ranked[: MOST_SOURCES - 1], ranked[MOST_SOURCES - 1 :]
    spans = [each.got for each in rest if each.got]
    troubles = sum(not each.whole for each in rest)
    return [
        *named,
        Coverage(
            f"{len(rest):,} more sources",
            rest[0].asked,
            Window(min(each.start for each in spans), max(each.end for each in spans)) if spans else None,
            lines=sum(each.lines for each in rest),
            calls=sum(each.calls for each in rest),
            unparsed=sum(each.unparsed for each in rest),
            skipped_bytes=sum(each.skipped_bytes for each in rest),
            truncated=any(each.truncated for each in rest),
            gap=f"{troubles:,} of them were not read whole" if troubles else None,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Query:
    """One question put to a metrics server.

    Attributes:
        role: What the answer is, as in the METRICS frame.
        expr: The expression, as sent.
        start: First step, ISO 8601.
        end: Last step, ISO 8601.
        step_s: Seconds between steps.
        requests: How many requests it took (long windows are cut).
        samples: Samples in the answer.
        sha256: Hash of the answers' bodies, in order.
        warnings: What the server remarked.
    """

    role: str
    expr: str
    start: str
    end: str
    step_s: float
    requests: int
    samples: int
    sha256: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests spent on the API host, and how many were allowed."""

    api_calls: int
    allowed: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Evidence:
    """What was seen in one window.

    Attributes:
        window: The span asked about.
        collected_at: When collecting ended; the `now` of every decision made from it.
        probe_rows: One per probe that ran, with the columns of PROBES; missing values are None.
        calls: CALLS frame; None if no log could be read, which is not the same as no call.
        webhooks: WEBHOOKS frame; None likewise.
        earlier: CALLS frame of what lay shortly before the window, from the same logs: it tells whether what
            fails at the window's start was under way, and nothing else is counted from it.
        metrics: METRICS frame; None if no metrics server could be read.
        watch: WATCH frame, one row per round; None if nobody watched.
        notes: NOTES frame, what people noted; None if nobody did.
        status_page: The page's own words (`indicator`, `description`, `components`, `incidents`,
            `maintenances`); None if it could not be read.
        coverage: One per log source.
        queries: One per question to the metrics server.
        gaps: One per thing that could not be seen.
        budget: Requests spent on the API host.
        context: What was asked of whom: `api_url`, `status_url`, `revision`, `organisation`, `key` (a dict:
            `set`, `length`, `prefix`, `control_characters`, `vendor`; never the key), `logs` (URLs as given,
            without credentials), `tool_version`.
    """

    window: Window
    collected_at: datetime
    probe_rows: tuple[Mapping[str, Any], ...] = ()
    # Frames are left out of the repr: asyncio.run makes one of its result, and it took 50 ms.
    calls: pd.DataFrame | None = field(default=None, repr=False)
    webhooks: pd.DataFrame | None = field(default=None, repr=False)
    earlier: pd.DataFrame | None = field(default=None, repr=False)
    metrics: pd.DataFrame | None = field(default=None, repr=False)
    watch: pd.DataFrame | None = field(default=None, repr=False)
    notes: pd.DataFrame | None = field(default=None, repr=False)
    status_page: Mapping[str, Any] | None = None
    coverage: tuple[Coverage, ...] = ()
    queries: tuple[Query, ...] = ()
    gaps: tuple[Gap, ...] = ()
    budget: Budget = Budget(0, 6)
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def probes(self) -> pd.DataFrame:
        """PROBES frame of `probe_rows`; made on demand, because deciding needs no frame of so few rows."""
        return _probes(self)

    def header(self) -> dict[str, Any]:
        """All but the frames and the status page, as plain values."""
        return {
            "schema": SCHEMA,
            "window": self.window.as_json(),
            "collected_at": exact(self.collected_at),
            "coverage": [coverage.as_json() for coverage in self.coverage],
            "queries": [asdict(query) for query in self.queries],
            "gaps": [asdict(gap) for gap in self.gaps],
            "budget": asdict(self.budget),
            "context": dict(self.context),
        }


def _key(value: object) -> object:
    """The value; which one it is, if it cannot be looked up by what it holds."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


class Remembered(Generic[Seen, Asked, Told]):
    """A function whose last answers are known; `remembered` makes it."""

    def __init__(self, function: Callable[Concatenate[Seen, Asked], Told]) -> None:
        self._function = function
        self._known: dict[object, tuple[ref[Seen], object, Told]] = {}
        update_wrapper(self, function)

    def __call__(self, seen: Seen, /, *args: Asked.args, **named: Asked.kwargs) -> Told:
        """What it says, or said of the same."""
        last = self._known.get((*map(_key, args), *named.items()))
        if last is None or last[0]() is not seen:
            return self.know(self._function(seen, *args, **named), seen, *args, **named)
        return last[2]

    def know(self, answer: Told, seen: Seen, /, *args: Asked.args, **named: Asked.kwargs) -> Told:
        """Take an answer for the function's, and give it back: who makes a frame may know it beforehand."""
        key = (*map(_key, args), *named.items())
        self._known[key] = ref(seen, partial(self._forget, key)), args, answer
        return answer

    def _forget(self, key: object, gone: ref[Seen]) -> None:
        if key in self._known and self._known[key][0] is gone:
            del self._known[key]


def remembered(function: Callable[Concatenate[Seen, Asked], Told]) -> Remembered[Seen, Asked, Told]:
    """Remember what a function said of the last evidence or frame, for each of its other arguments.

    Verdict, texts, charts, page and cells ask the same of the same evidence, which is a value: whoever
    changes a frame in place gets the former answer. Answers are shared: they are not to be changed. Evidence
    that nobody else has is forgotten, as it may be large.
    """
    return Remembered(function)


@remembered
def _probes(evidence: Evidence) -> pd.DataFrame:
    return PROBES.frame(evidence.probe_rows)


def header_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Evidence` that `Evidence.header` wrote.

    Raises:
        KeyError, TypeError, ValueError: It is not such a header.
    """
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']!r} is not {SCHEMA!r}")
    if not isinstance(data["context"], Mapping):
        raise TypeError("context is not an object")
    try:
        return _fields(data)
    except UsageError as exc:  # a time or window in it is wrong, which is no mistake of the user's
        raise ValueError(str(exc)) from exc


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "window": Window.from_json(data["window"]),
        "collected_at": parse_time(data["collected_at"]),
        "coverage": tuple(Coverage.from_json(row) for row in data["coverage"]),
        "queries": tuple(Query(**(row | {"warnings": tuple(row["warnings"])})) for row in data["queries"]),
        "gaps": tuple(Gap(**row) for row in data["gaps"]),
        "budget": Budget(**data["budget"]),
        "context": data["context"],
    }
