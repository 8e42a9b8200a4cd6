"""A pretend metrics server: range queries of plain selectors over what was scraped, and nothing more.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from klaviyo_nb.drills.counters import SCRAPE_S, Scraped

MOST_POINTS = 11_000
#: How far back a sample may lie to still count [s].
LOOKBACK_S = 300
_SELECTOR = re.compile(r"\s*([a-zA-Z_:][\w:]*)?\s*(?:\{(.*)\})?\s*", re.DOTALL)
_MATCHER = re.compile(r'\s*(\w+|"[\w.]+")\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_STEP = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_Keep = Callable[[Mapping[str, str]], bool]


class BadData(Exception):
    """The query cannot be answered, in the words of the API."""


def query_range(scraped: Scraped, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """HTTP status and document of `/api/v1/query_range`."""
    try:
        start, end, step = _time(form, "start"), _time(form, "end"), _step(form)
        if end < start:
            raise BadData('invalid parameter "end": end timestamp must not be before start time')
        if (end - start) / step > MOST_POINTS:
            raise BadData(
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        keep = selector(form.get("query", ""))
        times = [start + number * step for number in range(int((end - start) / step) + 1)]
        result = list(_matrix(scraped, keep, times))
    except BadData as bad:
        return 400, {"status": "error", "errorType": "bad_data", "error": str(bad)}
    return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}


def selector(expr: str) -> _Keep:
    """A test of labels, from `name{label="value"}`.

    Raises:
        BadData: It is anything else, a function for instance.
    """
    found = _SELECTOR.fullmatch(expr)
    if found is None or not expr.strip():
        raise BadData('invalid parameter "query": 1:1: parse error: this server reads plain selectors only')
    name, inside = found.groups()
    tests = list(_matchers(inside or ""))
    if name:
        tests.append(("__name__", re.compile(re.escape(name)), True))
    return lambda labels: all(
        bool(pattern.fullmatch(labels.get(label, ""))) is wanted for label, pattern, wanted in tests
    )


def _matchers(inside: str) -> Iterator[tuple[str, re.Pattern[str], bool]]:
    at = 0
    while at < len(inside.rstrip()):
        found = _MATCHER.match(inside, at)
        if found is None:
            raise BadData(
                f'invalid parameter "query": 1:{at + 1}: parse error: unexpected {inside[at : at + 9]!r}'
            )
        label, operator, value = found.groups()
        text = re.sub(r"\\(.)", r"\1", value)
        try:
            yield (
                label.strip('"'),
                re.compile(text if "~" in operator else re.escape(text)),
                operator[0] == "=",
            )
        except re.error as exc:
            raise BadData(f'invalid parameter "query": error parsing regexp: {exc}') from None
        at = found.end()


def _matrix(scraped: Scraped, keep: _Keep, times: list[float]) -> Iterator[dict[str, Any]]:
    for labels, (born, values) in sorted(scraped.series.items()):
        if keep(dict(labels)):
            samples = [
                [at, f"{value:.12g}"] for at in times if (value := _at(scraped, born, values, at)) is not None
            ]
            if samples:
                yield {"metric": dict(labels), "values": samples}


def _at(scraped: Scraped, born: int, values: list[float], at: float) -> float | None:
    """The newest sample at or before `at`, unless it is too old."""
    number = min(int((at - scraped.first) // SCRAPE_S), scraped.scrapes - 1)
    if number < born or at - (scraped.first + number * SCRAPE_S) >= LOOKBACK_S:
        return None
    return values[number - born]


def _time(form: Mapping[str, str], name: str) -> float:
    text = form.get(name, "")
    try:
        return (
            float(text) if text.replace(".", "", 1).isdecimal() else datetime.fromisoformat(text).timestamp()
        )
    except ValueError:
        raise BadData(f'invalid parameter "{name}": cannot parse "{text}" to a valid timestamp') from None


def _step(form: Mapping[str, str]) -> float:
    found = _STEP.fullmatch(form.get("step", ""))
    if found is None or float(found[1]) <= 0:
        raise BadData(f'invalid parameter "step": cannot parse "{form.get("step", "")}" to a valid duration')
    return float(found[1]) * _UNITS[found[2]]
