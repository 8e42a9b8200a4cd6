"""The reporting worlds: those on which the published score is measured.

They are made independently of the development worlds and of the diagnosis: other applications, another
traffic, other logs. Every truth is derived from the contract's "Causes"; a world is kept only if what can
be seen in it leads there by a margin, else it is drawn again. A rule is mended from worlds that were judged
wrong, and then judged on other seeds: docs/score.md says on which.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from klaviyo_nb.drills.reporting.calm import HEALTHY, HEALTHY_TRAPS, UNDECIDABLE, UNDECIDABLE_TRAPS
from klaviyo_nb.drills.reporting.causes import CAUSES, PAIRS
from klaviyo_nb.drills.reporting.draw import Draw, Plotter
from klaviyo_nb.drills.reporting.log_files import logs
from klaviyo_nb.drills.reporting.roughness import blur, readable, roughen
from klaviyo_nb.drills.reporting.serving import Told, services
from klaviyo_nb.drills.reporting.story import Plot, count_seen, happen, supports
from klaviyo_nb.drills.reporting.traps import TRAPS
from klaviyo_nb.drills.worlds import SIGNALS, Truth, World
from klaviyo_nb.window import Window

_TRIES = 400
_SPANS_MIN = (60, 90, 120, 120, 120, 180)
_HEX = "0123456789abcdef"
_USUAL: Mapping[str, Plotter] = {**CAUSES, **PAIRS, **HEALTHY, **UNDECIDABLE}
_KINDS: Mapping[str, Mapping[str, Plotter]] = {
    "clean": _USUAL,
    "realistic": _USUAL,
    "adversarial": {**TRAPS, **HEALTHY_TRAPS, **UNDECIDABLE_TRAPS},
}
_BLURRED: Mapping[str, Callable[[Plot, Draw], Plot]] = {
    "clean": lambda plot, _: readable(plot),
    "realistic": lambda plot, draw: roughen(readable(plot), draw),
    "adversarial": lambda plot, draw: blur(readable(plot), draw),
}
LEVELS: Mapping[str, tuple[str, ...]] = {level: tuple(kinds) for level, kinds in _KINDS.items()}


def make(level: str, kind: str, seed: int, now: datetime) -> World:
    """One world that ends at `now`; see `worlds`."""
    told, window = tell(level, kind, seed, now)
    plot = told.plot
    return World(
        window=window,
        services=lambda clock: services(told, clock),
        logs=logs(told),
        truth=_truth(told),
        key={"none": "", "blank": f" {told.key}", "newline": f"{told.key}\n"}.get(plot.key, told.key),
        configured=SIGNALS & plot.signals,
    )


def tell(level: str, kind: str, seed: int, now: datetime) -> tuple[Told, Window]:
    """The first drawn world of its kind whose truth follows from what can be seen."""
    for attempt in range(_TRIES):
        name = f"reporting/{level}/{kind}/{seed}/{attempt}"
        rng = random.Random(name)  # noqa: S311 - a made-up world
        window = Window.last(timedelta(minutes=rng.choice(_SPANS_MIN)), now.astimezone(UTC))
        start, end = window.start.timestamp(), window.end.timestamp()
        draw = Draw(rng, start, end)
        plot = _BLURRED[level](_KINDS[level][kind](draw), draw)
        calls = happen(plot, rng, start, end)
        if supports(plot, count_seen(plot, calls, start, end)):
            return Told(plot, calls, start, end, "pk_" + "".join(rng.choices(_HEX, k=34)), name), window
    raise AssertionError(f"{level}/{kind} {seed}: its truth never follows from what can be seen")


def _truth(told: Told) -> Truth:
    plot = told.plot
    if plot.cause in ("healthy", "inconclusive"):
        return Truth(plot.cause, plot.severity)
    hits = list(_hits(told))
    over = plot.cause == "resolved_or_intermittent"
    return Truth(
        plot.cause,
        plot.severity,
        _moment(hits[0]) if hits else None,
        _moment(hits[-1]) if hits and over else None,
        plot.second,
    )


def _hits(told: Told) -> Iterator[float]:
    """When the incident's calls failed: those a fault hit; where limits are the cause, those over one."""
    limited, loop = told.plot.cause == "rate_limited", max(part.since for part in told.plot.parts)
    for call in told.calls:
        if call.fault is not None and (call.fault >= 0 or (limited and call.at >= loop)):
            yield call.at


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
