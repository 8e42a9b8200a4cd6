"""Reading the matrix that a range query gives: JSON to series, and what their labels mean.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
import pyarrow

from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.lines import LONGEST_LABEL, bounded
from klaviyo_nb.metrics.names import DURATIONS, MetricNames

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
Times = Numbers
_Samples = tuple[Times, Floats]

#: What is said of series of the kind that https://prometheus.io/docs/specs/native_histograms/ describes.
_NATIVE = "it gave native histograms, which are not read here: have classic ones kept beside them"
#: Where the samples of a series begin and end, and what stands between two: the end of one, a time, and
#: the beginning of the next.
_VALUES, _END = b'"values":[[', b"]]"
_BETWEEN, _OPENS = b'"],[', b',"'
#: Short series are read together, up to so many bytes. One of a day is as long: arrays of it stay in the
#: cache, and in memory that was used before, while fresh memory would take as long as reading.
_TOGETHER = 2**16


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples at times [ns since the epoch]."""

    labels: dict[str, str]
    times: Times
    values: Floats


class Answer:
    """An answer that is read as it arrives.

    A million samples as Python's objects take three seconds and 300 MB. So they are taken out of each part,
    and a number is left in place of those of a series; the rest is JSON. Where they are not written as
    servers write them, they are left as they are.

    Args:
        heed: Told every part as it came.
    """

    def __init__(self, heed: Callable[[bytes], object] = len) -> None:
        self._heed = heed
        self._held: list[bytes] = []
        self._samples: list[_Samples] = []
        self._between: tuple[bytes, Times] = b"", np.empty(0, np.int64)

    async def taken(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What is left of the parts when samples are taken out, which a thread does."""
        async for part in parts:
            yield await asyncio.to_thread(self.take, part)
        yield await asyncio.to_thread(self.rest)

    def take(self, part: bytes) -> bytes:
        """What is left of the answer so far; what follows the last series' end is held until more comes."""
        self._heed(part)
        end = part.rfind(_END)
        if end < 0:
            self._held.append(part)
            return b""
        whole = b"".join([*self._held, part[: end + len(_END)]])
        self._held = [part[end + len(_END) :]]
        return self._apart(whole)

    def rest(self) -> bytes:
        """What is left of what was held, when nothing more comes."""
        return self._apart(b"".join(self._held))

    def _apart(self, whole: bytes) -> bytes:
        texts, rests, at = [], [], 0
        while (found := whole.find(_VALUES, at)) >= 0:
            start = found + len(_VALUES)
            brace = whole.find(b"}", start)  # one character is found fastest, and the end stands before it
            end = whole.rfind(_END, start, brace if brace >= 0 else len(whole))
            if end < 0:
                break
            texts.append(whole[start:end])
            rests.append(whole[at:found])
            at = end + len(_END)
        slots = np.cumsum([len(text) for text in texts]) // _TOGETHER
        try:
            samples = [
                each
                for _, some in groupby(zip(slots, texts, strict=True), itemgetter(0))
                for each in self._columns([text for _, text in some])
            ]
        except ValueError:  # pyarrow's are, too
            return whole
        bare = (b'%s"values":%d' % (rest, n) for n, rest in enumerate(rests, len(self._samples) + 1))
        self._samples += samples
        return b"".join([*bare, whole[at:]])

    def read(self, bare: bytes, start: int, end: int) -> tuple[list[Series], list[str]]:
        """The series and remarks of the answer.

        Args:
            bare: What was left of it.
            start: First time asked for, seconds since the epoch.
            end: Last time asked for.

        Raises:
            ValueError: It is not a matrix, tells of other times than asked for, or has native histograms.
        """
        try:
            answer = orjson.loads(bare)
            if answer["status"] != "success" or answer["data"]["resultType"] != "matrix":
                raise ValueError("not a matrix")
            found = [result for result in answer["data"]["result"] if result.get("values")]
            numbers = [each["values"] for each in found if isinstance(each["values"], int)]
            if numbers != list(range(1, len(self._samples) + 1)):
                raise ValueError("it has such a number of its own")
            series = [_one_series(each["metric"], *self._samples_of(each["values"])) for each in found]
            remarks = [
                *(answer.get("warnings") or ()),
                *(answer["data"].get("warnings") or ()),
            ]  # Thanos: both
            remarks += answer.get("infos") or ()
            remarks += ["partial answer"] * bool(answer.get("isPartial"))
            native = any(
                each.get("histograms") and not each.get("values") for each in answer["data"]["result"]
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise ValueError("its answer is not that of a Prometheus API") from None
        if native:
            raise ValueError(_NATIVE)
        for each in series:
            first, last = each.times[[0, -1]]
            if first < start * 10**9 or last > end * 10**9 or (np.diff(each.times) <= 0).any():
                raise ValueError("it answered for other times than those asked for")
        return series, [str(remark) for remark in remarks]

    def _samples_of(self, values: Any) -> _Samples:
        if isinstance(values, int):
            return self._samples[values - 1]
        times, texts = zip(*values, strict=True)
        return _nanoseconds(np.array([*map(float, times)])), _known(np.array([*map(float, texts)]))

    def _columns(self, texts: Sequence[bytes]) -> list[_Samples]:
        """Times and values of each text.

        Quotes tell where they stand. Most series are sampled at the same times as the one before: then what
        stands between its values is the same, and was read.

        Args:
            texts: Such as `1795413600,"823"],[1795413615,"843"`.

        Raises:
            ValueError: They are written in another way.
        """
        rows = _BETWEEN + b"],[".join(texts)
        quotes = np.flatnonzero(np.frombuffer(rows, np.uint8) == ord('"'))
        if len(quotes) < 3 or not len(quotes) % 2 or quotes[-1] != len(rows) - 1:
            raise ValueError("a value is not in quotes")
        closes, opens = quotes[::2], quotes[1::2]
        width = int(opens[0]) + 1
        if (opens - closes[:-1] != width - 1).any():
            raise ValueError("times are not equally long")
        # As many bytes as stand between two values, wherever a value ends.
        between = np.ndarray(len(rows) - width + 1, f"V{width}", rows, strides=1)[closes[:-1]].tobytes()
        if between != self._between[0]:
            self._between = between, _times(between, width)
        values = _known(_numbers(rows, opens + 1, closes[1:]))
        if len(texts) == 1:
            return [(self._between[1], values)]
        ends = np.searchsorted(closes, len(_BETWEEN) + np.cumsum([len(text) + 3 for text in texts]))[:-1] - 1
        return list(zip(np.split(self._between[1], ends), np.split(values, ends), strict=True))


def read(body: bytes, start: int, end: int) -> tuple[list[Series], list[str]]:
    """The series and remarks of an answer that came as a whole; arguments and errors as of `Answer.read`."""
    answer = Answer()
    return answer.read(answer.take(body) + answer.rest(), start, end)


def _times(between: bytes, width: int) -> Times:
    """The times that stand between values, each so many bytes long with what is around it.

    Raises:
        ValueError: Something else stands there.
    """
    parts = np.frombuffer(between, np.uint8).reshape(-1, width)
    around = np.frombuffer(_BETWEEN + _OPENS, np.uint8)
    if (np.delete(parts, slice(len(_BETWEEN), -len(_OPENS)), axis=1) != around).any():
        raise ValueError("not rows of a time and a value")
    starts = np.arange(len(_BETWEEN), len(between), width)
    return _nanoseconds(_numbers(between, starts, starts + width - len(_BETWEEN + _OPENS)))


def _numbers(text: bytes, starts: Numbers, ends: Numbers) -> Floats:
    """The numbers that stand in a text; pyarrow reads texts of one buffer that are told by where they are.

    Raises:
        ValueError: One is no number.
    """
    places = np.empty((len(starts), 2), np.int32)
    places[:, 0], places[:, 1] = starts, ends
    # Every other text is one that stands between: the mask leaves it out.
    masked = (pyarrow.py_buffer(each) for each in (places, text, b"\x55" * (len(places) // 4 + 1)))
    read = pyarrow.StringArray.from_buffers(places.size - 1, *masked).cast(pyarrow.float64())
    return np.frombuffer(read.buffers()[1], np.float64)[::2]


def _nanoseconds(seconds: Floats) -> Times:
    """The same times to the millisecond, as servers have them."""
    found = np.rint(seconds * 1000)
    if not (np.abs(found) < 2**43).all():  # more is too far away for nanoseconds, and NaN is not less
        raise ValueError("a time is not one")
    return found.astype(np.int64) * 1_000_000


def _known(values: Floats) -> Floats:
    """What is no number is missing."""
    return np.where(np.isfinite(values), values, np.nan)


def _one_series(metric: Mapping[str, Any], times: Times, values: Floats) -> Series:
    labels = {str(label): bounded(str(value), LONGEST_LABEL) for label, value in metric.items()}
    return Series(labels, times, values)


def joined(parts: Sequence[Series]) -> list[Series]:
    """One series of all that have the same labels, in order of time; of two samples of a time the later."""
    same: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for each in parts:
        same.setdefault(tuple(sorted(each.labels.items())), []).append(each)
    return [_one(some) for some in same.values()]


def _one(parts: Sequence[Series]) -> Series:
    if len(parts) == 1:
        return parts[0]
    times, values = (
        np.concatenate(each) for each in zip(*((part.times, part.values) for part in parts), strict=True)
    )
    order = np.argsort(times, kind="stable")
    last = order[np.append(np.diff(times[order]) > 0, True)]
    return Series(parts[0].labels, times[last], values[last])


def columns_of(labels: Mapping[str, str], role: str, names: MetricNames) -> dict[str, Any]:
    """The columns of METRICS that labels tell; missing ones are None."""
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
