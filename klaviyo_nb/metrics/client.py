"""Range queries against a Prometheus-compatible server, into a METRICS frame.

Raw counters are fetched, not `rate()`: what was sampled is kept, and `rates` does the arithmetic. Whatever
goes wrong is a gap with its reason; a role is read wholly or not at all, so that a hole in it is never
mistaken for silence.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from klaviyo_nb.errors import SourceError
from klaviyo_nb.evidence import Gap, Query
from klaviyo_nb.metrics import repeats
from klaviyo_nb.metrics.discovery import RAW_S, interval_s, look
from klaviyo_nb.metrics.gauges import no_counter, sums_that_fell
from klaviyo_nb.metrics.layout import Layout, laid_out, to_frame
from klaviyo_nb.metrics.matrix import Answer, Series, columns_of, joined
from klaviyo_nb.metrics.names import SCRAPED_S, MetricNames
from klaviyo_nb.metrics.rates import disagreements
from klaviyo_nb.metrics.replicas import without_copies
from klaviyo_nb.metrics.server import LONGEST_ERROR, Question, Server, connect
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    import httpx
    import pandas as pd

#: Points per series that a server gives at most in one answer (Prometheus refuses more).
MOST_POINTS = 11_000
#: How a server writes how long it keeps samples; a limit of their size may follow.
_KEPT = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
#: Remarks of the server that are told.
MOST_REMARKS = 3
#: Points per series over the whole window; a longer window gets a longer step.
FINEST = 12_000


@dataclass(frozen=True)
class Fetched:
    """What a metrics server gave.

    Attributes:
        samples: All series; None if it gave none at all, which is not the same as no call.
        queries: Those that were answered.
        gaps: `metrics` if nothing could be read, `metrics:<role>` for a part; `configured` is False for
            metrics that an application need not have.
        names: What was asked for: the configured names, or those that were found in their place.
    """

    samples: Layout | None = field(repr=False)  # asyncio.run makes a repr of its result
    queries: tuple[Query, ...]
    gaps: tuple[Gap, ...]
    names: MetricNames

    @cached_property
    def frame(self) -> pd.DataFrame | None:
        """METRICS of all series, made when it is first asked for; None if there is none."""
        return None if self.samples is None else to_frame(self.samples)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One role's series, or why there are none."""

    role: str
    queries: tuple[Query, ...] = ()
    series: Sequence[Series] = ()
    trouble: str | None = None


async def fetch(
    url: str,
    window: Window,
    *,
    names: MetricNames,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    tls: Mapping[str, Any] | None = None,
    timeout_s: float,
    most: int | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Fetched:
    """Ask for every role of `names` over `window`, all at once.

    Where the calls have no series of the configured name, one that is understood beyond doubt is taken
    instead, which a gap tells. The step is the interval at which samples were taken, or a multiple of it.
    Samples are taken at multiples of the step, from the last one at or before the window's start (what later
    ones are counted from) to the last one at or before its end.

    Args:
        url: Root of the server, with the path prefix of its API if it has one.
        window: Span to ask about.
        names: Metric and label names.
        token: Bearer token.
        headers: Extra headers, such as a tenant's id.
        tls: `ca_file`, `client_cert`, `client_key` (paths of PEM files), `verify` (False: any certificate
            will do, which becomes a gap).
        timeout_s: Limit for all of it [s].
        most: Samples that one role may have, or None; else it is a gap, for a part of it would count too few.
        transport: In place of the network.

    Raises:
        UsageError: The URL, the token, a header or a certificate is malformed.
    """
    server = connect(url, token, headers, tls, timeout_s, transport)
    async with server.client:
        until = asyncio.get_running_loop().time() + timeout_s
        names, interval, gaps = await _prepared(server, names, window, timeout_s / 4)
        grid = _grid(window, interval)
        answers = await asyncio.gather(
            *(_role(server, role, tries, grid, most, until) for role, tries in names.expressions().items())
        )
        answers, unsure = await _without_repeats(server, answers, grid, until)
        samples, told = await asyncio.to_thread(_together, answers, names)  # probes are timed by this loop
        reach = _reach(answers, grid, None)
        gone = await _gone(server, grid, until) if samples is None or reach else None
    queries = tuple(query for answer in answers for query in answer.queries)
    gaps += _gaps(answers, names) if samples is not None else (_nothing(answers, server, names, gone),)
    gaps += unsure + (_holes(samples, grid) if samples is not None else ())
    if remarks := dict.fromkeys(f"{query.role}: {said}" for query in queries for said in query.warnings):
        text = f"something may be missing, for the server remarked: {'; '.join([*remarks][:MOST_REMARKS])}"
        gaps += (Gap("metrics:remarks", text),)
    if not (tls or {}).get("verify", True):
        gaps += (Gap("metrics:tls", f"{server.where}: its certificate was not checked (tls.verify = false)"),)
    return Fetched(samples, queries, gaps + (_reach(answers, grid, gone) if gone else reach) + told, names)


async def _prepared(
    server: Server, names: MetricNames, window: Window, limit_s: float
) -> tuple[MetricNames, int, tuple[Gap, ...]]:
    """The names to ask for, the seconds between samples, and what is to be told of both."""
    said, found = names.scrape_interval_s, None
    gaps: tuple[Gap, ...] = ()
    looked = False
    try:
        if "requests" in names.expressions():
            async with asyncio.timeout(limit_s):
                found = await interval_s(server, names.expressions()["requests"], window.end.timestamp())
            looked = found is None
        if looked:
            async with asyncio.timeout(2 * limit_s):  # without a counter of calls there is little else to ask
                names, gaps = await look(server, names, window)
                early = min(window.end.timestamp(), window.start.timestamp() + RAW_S)
                for at in (window.end.timestamp(), early):
                    found = found or await interval_s(server, names.expressions()["requests"], at)
    except (TimeoutError, SourceError) as error:
        if looked and not gaps:
            why = str(error) or f"{server.where}: no answer in time"
            gaps = (Gap("metrics:names", f"whether other names are there is not known: {why}"),)
        # Else what is asked next meets the same trouble, and tells it.
    if said and found and said != found:
        text = f"klaviyo-nb.toml says {said} s, samples lie {found} s apart: that was believed"
        gaps += (Gap("metrics:scrape_interval", text),)
    return names, found or said or SCRAPED_S, gaps


@dataclass(frozen=True, slots=True)
class _Grid:
    """Times of the samples, whole seconds since the epoch: multiples of the step, both ends included."""

    first: int
    last: int
    step: int

    def chunks(self) -> Iterable[tuple[int, int]]:
        """First and last time of each request."""
        reach = (MOST_POINTS - 1) * self.step
        for start in range(self.first, self.last + 1, reach + self.step):
            yield start, min(start + reach, self.last)


def _grid(window: Window, scrape_interval_s: int) -> _Grid:
    step = scrape_interval_s * max(1, math.ceil(window.seconds / scrape_interval_s / FINEST))
    start, end = window.start.timestamp(), window.end.timestamp()
    return _Grid(math.floor(start / step) * step, math.floor(end / step) * step, step)


async def _role(
    server: Server, role: str, tries: Sequence[str], grid: _Grid, most: int | None, until: float
) -> _Answer:
    queries: list[Query] = []
    try:
        async with asyncio.timeout_at(until):
            for expr in tries:
                series, query = await _query(server, role, expr, grid)
                queries.append(query)
                if most is not None and query.samples > most:
                    trouble = f"{query.samples:,} samples, and {most:,} are the most ([limits] samples)"
                    return _Answer(role, tuple(queries), trouble=trouble)
                if wrong := no_counter(role, series):
                    return _Answer(role, tuple(queries), trouble=wrong)
                if series:
                    return _Answer(role, tuple(queries), series)
    except TimeoutError:
        return _Answer(role, tuple(queries), trouble=f"{server.where}: no answer in time")
    except SourceError as error:
        return _Answer(role, tuple(queries), trouble=str(error))
    return _Answer(role, tuple(queries))


async def _without_repeats(
    server: Server, answers: Sequence[_Answer], grid: _Grid, until: float
) -> tuple[list[_Answer], tuple[Gap, ...]]:
    """The answers without samples that the server only repeats, which it is asked about if that can be."""
    sampled = [answer for answer in answers if answer.series and answer.role != "alerts"]
    every = [each for answer in sampled for each in answer.series]
    still = await asyncio.to_thread(repeats.still, every, grid.first, grid.step) if every else ()
    if not len(still):
        return [*answers], ()
    try:
        async with asyncio.timeout_at(until):
            asked = repeats.question(every, np.array(still))
            newest, query = await _query(server, sampled[0].role, asked, grid)
    except (TimeoutError, SourceError) as error:
        why = str(error) or f"{server.where}: no answer in time"
        return [*answers], (
            Gap("metrics:repeats", f"{why}; a time without samples may look like one without calls"),
        )
    told = (repeats.repeated(each, grid.step) for each in newest)
    times = np.intersect1d(still, np.concatenate([np.empty(0, np.int64), *told]))
    return [
        replace(
            answer,
            queries=(*answer.queries, *([query] if answer is sampled[0] else [])),
            series=repeats.without(answer.series, times) if answer in sampled else answer.series,
        )
        for answer in answers
    ], ()


async def _query(server: Server, role: str, expr: str, grid: _Grid) -> tuple[list[Series], Query]:
    series: list[Series] = []
    warnings: dict[str, None] = {}
    digest, requests = hashlib.sha256(), 0
    for start, end in grid.chunks():
        question: Question = [
            ("query", expr),
            ("start", start),
            ("end", end),
            ("step", grid.step),
            ("nocache", 1),
        ]
        answer = Answer(digest.update)
        bare = await server.ask("/api/v1/query_range", question, through=answer.taken)
        requests += 1
        try:
            found, remarks = await asyncio.to_thread(answer.read, bare, start, end)
        except ValueError as exc:
            raise SourceError(server.where, str(exc)) from None
        series += found
        warnings |= dict.fromkeys(map(server.quote, remarks))
    samples = sum(len(each.values) for each in series)
    asked = (_iso(grid.first), _iso(grid.last), grid.step, requests)
    return joined(series), Query(role, expr, *asked, samples, digest.hexdigest(), tuple(warnings))


def _together(answers: Iterable[_Answer], names: MetricNames) -> tuple[Layout | None, tuple[Gap, ...]]:
    """The series of all answers, None if there is none; what was left out, where counters disagree."""
    found = {answer.role: answer.series for answer in answers if answer.series}
    if not found:
        return None, ()
    left, copies = without_copies(found)
    every = [each for series in left.values() for each in series]
    labels = [columns_of(each.labels, role, names) for role, series in left.items() for each in series]
    samples = laid_out(labels, [each.times for each in every], [each.values for each in every])
    told = [Gap("metrics:sums", text) for text in disagreements(samples)]
    if fell := sums_that_fell(left):
        told.append(Gap("metrics:resets", fell))
    if copies:
        text = (
            f"{copies:,} series were scraped by another server or job too: left out, the others are counted"
        )
        told.append(Gap("metrics:replicas", text))
    return samples, tuple(told)


def _gaps(answers: Iterable[_Answer], names: MetricNames) -> tuple[Gap, ...]:
    """One per role without series; an application has no error counter before its first error."""
    return tuple(
        Gap(
            f"metrics:{answer.role}",
            answer.trouble or _absent(answer.role, names),
            configured=answer.trouble is not None or answer.role == "requests",
        )
        for answer in answers
        if not answer.series
    )


def _nothing(answers: Sequence[_Answer], server: Server, names: MetricNames, gone: str | None) -> Gap:
    troubles = list(dict.fromkeys(answer.trouble for answer in answers if answer.trouble))
    if troubles:
        more = f" (and {len(troubles) - 1} more like it)" if len(troubles) > 1 else ""
        return Gap("metrics", troubles[0] + more)
    if not answers:
        return Gap("metrics", "every name in the [metrics] table is empty", configured=False)
    return Gap(
        "metrics",
        f"{server.where}: {_absent(answers[0].role, names)}, nor of any other of the table [metrics]"
        + (f"; {gone}" if gone else ""),
    )


def _absent(role: str, names: MetricNames) -> str:
    if role == "alerts":
        return f"no alert with {names.alerts} fired in the window, or none is defined"
    return f"no series of {' or '.join(names.expressions()[role])} in the window"


def _holes(samples: Layout, grid: _Grid) -> tuple[Gap, ...]:
    """Say so if nothing was sampled for a while in between."""
    times = samples.times // 10**9
    after = np.flatnonzero(np.diff(times) > _slack(grid))
    if not len(after):
        return ()
    first, last = _iso(times[after[0]]), _iso(times[after[0] + 1])
    more = f" (and {len(after) - 1} more such times)" if len(after) > 1 else ""
    text = f"no samples from {first} to {last}{more}: what was called meanwhile is counted at the end of it"
    return (Gap("metrics:holes", text),)


def _slack(grid: _Grid) -> int:
    """So long without samples is told [s]."""
    return max(300, 5 * grid.step)


def _reach(answers: Iterable[_Answer], grid: _Grid, gone: str | None) -> tuple[Gap, ...]:
    """Say so if the samples begin late or end early: retention, an outage of the server, a window ahead."""
    sampled = [each.times for answer in answers if answer.role != "alerts" for each in answer.series]
    if not sampled:
        return ()
    first, last = (edge / 1e9 for edge in (min(t[0] for t in sampled), max(t[-1] for t in sampled)))
    late = first - grid.first > _slack(grid)
    if not late and grid.last - last <= _slack(grid):
        return ()
    got, asked = (first, last), (grid.first, grid.last)
    texts = [" to ".join(map(_iso, span)) for span in (got, asked)]
    why = f"; {gone or 'what is older is no longer kept, or was not scraped'}" if late else ""
    return (Gap("metrics:window", f"samples from {texts[0]}, asked from {texts[1]}{why}"),)


async def _gone(server: Server, grid: _Grid, until: float) -> str | None:
    """That the server keeps no samples of so long ago, if it says for how long it does.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/api/#runtime-information
    """
    try:
        async with asyncio.timeout_at(until):
            body = await server.ask("/api/v1/status/runtimeinfo", (), LONGEST_ERROR)
        kept = str(orjson.loads(body)["data"]["storageRetention"]).partition(" or ")[0]
    except (TimeoutError, SourceError, LookupError, TypeError, ValueError):
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _KEPT.findall(kept))
    if not seconds or grid.first >= datetime.now(UTC).timestamp() - seconds:
        return None
    return f"retention: the server keeps {server.quote(kept)}, what is older is gone"


def _iso(seconds: float) -> str:
    return iso(datetime.fromtimestamp(seconds, UTC))
