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
from pyarrow import csv

from klaviyo_nb.frames import METRICS
from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.lines import LONGEST_LABEL, bounded
from klaviyo_nb.metrics.names import DURATIONS, MetricNames

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

_VALUES = b'"values":[['
_ONE_A_LINE = bytes.maketrans(b',[]"', b"\n   ")  # blanks around a number are nothing, within it an error


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
        samples = [values[each["values"]] if values else _samples(each["values"]) for each in found]
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
    texts, rests = [], []
    for part in parts:
        text, end, rest = part.partition(b"]]")
        if not end:
            return body, []
        texts.append(text)
        rests.append(rest)
    if not texts:
        return body, []
    counts = [text.count(b"[") + 1 for text in texts]
    rows = b",".join(texts)
    numbers = (rows.replace(b'"+', b'"') if b'"+' in rows else rows).translate(_ONE_A_LINE)
    try:
        table = csv.read_csv(
            pyarrow.py_buffer(numbers),
            csv.ReadOptions(column_names=["number"], use_threads=False),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(column_types={"number": pyarrow.float64()}, null_values=["NaN"]),
        )
    except pyarrow.ArrowInvalid:
        return body, []
    if len(table) != 2 * sum(counts):
        return body, []
    ends = np.cumsum(counts)[:-1]
    pairs = table["number"].to_numpy().reshape(-1, 2).T
    both = [np.split(np.ascontiguousarray(each), ends) for each in pairs]
    bare = head + b"".join(b'"values":%d%s' % (at + 1, rest) for at, rest in enumerate(rests))
    return bare, [(both[0][0], both[1][0]), *zip(*both, strict=True)]


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
    frame = told.take(np.repeat(np.arange(len(every)), [len(each.values) for each in every]))
    frame = frame.reset_index(drop=True)
    nanoseconds = np.concatenate([each.times for each in every]) * 1_000_000
    frame["timestamp"] = pd.DatetimeIndex(nanoseconds.view("datetime64[ns]"), tz="UTC")
    frame["value"] = np.concatenate([each.values for each in every])
    return METRICS.check(frame)


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
