"""Reading the matrix that a range query gives: JSON to series, series to METRICS rows.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow

from klaviyo_nb.frames import METRICS
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.lines import LONGEST_LABEL, bounded
from klaviyo_nb.metrics.names import DURATIONS, MetricNames

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Numbers = np.ndarray[tuple[int], np.dtype[np.integer[Any]]]

_VALUES = b'"values":[['


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples at times in milliseconds."""

    labels: dict[str, str]
    times: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: np.ndarray[tuple[int], np.dtype[np.float64]]


def read(body: bytes, start: int, end: int) -> tuple[list[Series], list[str]]:
    """The series and remarks of one answer.

    Args:
        body: As it came.
        start: First time asked for, seconds since the epoch.
        end: Last time asked for.

    Raises:
        ValueError: It is not a matrix, or tells of other times than those asked for.
    """
    try:
        bare, values = _apart(body)
        answer = orjson.loads(bare)
        if answer["status"] != "success" or answer["data"]["resultType"] != "matrix":
            raise ValueError("not a matrix")
        found = [result for result in answer["data"]["result"] if result.get("values")]
        samples = [values[each["values"] - 1] if values else _samples(each["values"]) for each in found]
        series = [_one_series(each["metric"], *both) for each, both in zip(found, samples, strict=True)]
        remarks = [*(answer.get("warnings") or ()), *(answer.get("infos") or ())]
        remarks += ["partial answer"] * bool(answer.get("isPartial"))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError("its answer is not that of a Prometheus API") from None
    for each in series:
        if each.times[0] < start * 1000 or each.times[-1] > end * 1000 or (np.diff(each.times) <= 0).any():
            raise ValueError("it answered for other times than those asked for")
    return series, [str(remark) for remark in remarks]


def _apart(body: bytes) -> tuple[bytes, list[tuple[Floats, Floats]]]:
    """The answer with a number in place of each series' samples, and the samples.

    A million of them as Python's objects take three seconds and 300 MB. Where they are not written as
    servers write them, the answer comes back as it was, without any.
    """
    head, *parts = body.split(_VALUES)
    texts, ends, rests = zip(*(part.partition(b"]]") for part in parts), strict=True) if parts else [()] * 3
    if not texts or not all(ends):
        return body, []
    try:
        counts, *both = _columns(b"],[".join(texts), [len(text) for text in texts])
    except ValueError:  # pyarrow's are, too
        return body, []
    split = [np.split(each, np.cumsum(counts)[:-1]) for each in both]
    bare = head + b"".join(b'"values":%d%s' % (at, rest) for at, rest in enumerate(rests, 1))
    return bare, list(zip(*split, strict=True))


def _columns(rows: bytes, sizes: Sequence[int]) -> tuple[Numbers, Floats, Floats]:
    """How many rows each text has, times and values of all.

    Quotes tell where they stand; pyarrow reads texts of one buffer that are told by where they begin and end.

    Args:
        rows: Texts such as `1795413600,"823"],[1795413615,"843"`, with `],[` between them, too.
        sizes: How long each of the texts is [bytes].

    Raises:
        ValueError: They are written in another way.
    """
    quotes = np.flatnonzero(np.frombuffer(rows, np.uint8) == ord('"')).astype(np.int32)
    if len(quotes) % 2 or not len(quotes) or not quotes[0] or quotes[-1] != len(rows) - 1:
        raise ValueError("a value is not in quotes")
    opens, closes = quotes[::2], quotes[1::2]
    if not (_stands(b',"', rows, opens - 1) and _stands(b'"],[', rows, closes[:-1])):
        raise ValueError("not rows of a time and a value")
    places = np.empty((len(opens), 4), np.int32)  # where a time begins and ends, and a value
    places[0, 0], places[1:, 0] = 0, closes[:-1] + 4
    places[:, 1], places[:, 2], places[:, 3] = opens - 1, opens + 1, closes
    texts = pyarrow.StringArray.from_buffers(places.size - 1, *map(pyarrow.py_buffer, (places, rows)))
    times, values = (
        texts.take(pyarrow.array(np.arange(each, places.size, 4))).cast(pyarrow.float64()).to_numpy()
        for each in (0, 2)
    )
    until = np.searchsorted(closes, np.cumsum(np.add(sizes, 3)))
    return np.diff(until, prepend=0), times, values


def _stands(mark: bytes, rows: bytes, places: Numbers) -> bool:
    """Does this stand in all these places? Two or four bytes, compared as a number."""
    every = np.ndarray(len(rows) - len(mark) + 1, f"u{len(mark)}", rows, strides=1)
    return bool((every[places] == np.frombuffer(mark, every.dtype)).all())


def _samples(values: Sequence[Any]) -> tuple[Floats, Floats]:
    times, texts = zip(*values, strict=True)
    return np.fromiter(times, np.float64, len(times)), np.fromiter(map(float, texts), np.float64, len(texts))


def _one_series(metric: Mapping[str, Any], times: Floats, values: Floats) -> Series:
    labels = {str(label): bounded(str(value), LONGEST_LABEL) for label, value in metric.items()}
    milliseconds = np.rint(times * 1000)
    if not np.isfinite(milliseconds).all():
        raise ValueError("a time is not a number")
    return Series(labels, milliseconds.astype(np.int64), np.where(np.isfinite(values), values, np.nan))


def to_frame(found: Mapping[str, Sequence[Series]], names: MetricNames) -> pd.DataFrame:
    """METRICS rows of the series of each role."""
    every = [each for series in found.values() for each in series]
    told = METRICS.frame(
        _labels(each.labels, role, names) for role, series in found.items() for each in series
    )
    of = np.repeat(np.arange(len(every)), [len(each.values) for each in every])
    nanoseconds = np.concatenate([each.times for each in every]) * 1_000_000
    columns: dict[str, Any] = {
        "timestamp": pd.DatetimeIndex(nanoseconds.view("datetime64[ns]"), tz="UTC"),
        "value": np.concatenate([each.values for each in every]),
    }
    labels = {name: each.array.take(of) for name, each in told.items() if name not in columns}
    return METRICS.check(pd.DataFrame(columns | labels, columns=list(told), copy=False))


def _labels(labels: Mapping[str, str], role: str, names: MetricNames) -> dict[str, Any]:
    own = {label: value for label, value in labels.items() if label != "__name__"}
    method = own.get(names.labels["method"]) or None
    return {
        "role": role,
        "name": labels.get("__name__"),
        "series": json.dumps(own, sort_keys=True, ensure_ascii=False),
        "endpoint": _template(own.get(names.labels["endpoint"]), method),
        "method": method.upper() if method else None,
        "status": names.status(own, role),
        "error_code": own.get(names.labels["error_code"]) or None,
        "le": _bound(own, labels.get("__name__", "")) if role == "duration_bucket" else None,
    }


def _template(label: str | None, method: str | None) -> str | None:
    """The path template that an endpoint label means: a path, a template, or the name of an operation."""
    if not label:
        return None
    known = catalogue()
    if "/" not in label:
        operation = known.by_operation(label.rpartition(".")[2])
        return operation.path if operation else label
    inside = f"/api/{label.strip('/')}"  # clients that are given the API's root label what follows it
    return known.template(method, inside if known.operations(inside) else label)


def _bound(labels: Mapping[str, str], name: str) -> float | None:
    """Upper bound of a bucket [s]."""
    try:
        bound = float(labels["le"])
    except (KeyError, ValueError):
        return None
    unit = DURATIONS.search(name.removesuffix("_bucket"))
    return bound / 1000 if unit and unit[1] else bound
