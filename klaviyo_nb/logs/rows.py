"""Rows while they are found: by column, redacted when they are packed, small enough to travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.logs.coded import Coded, Texts, indices
from klaviyo_nb.redact import harmless

Redact = Callable[[str], str]
Column = Sequence[Any] | np.ndarray[Any, Any] | Coded | Texts
#: Rows by column, and how many.
Block = tuple[Mapping[str, Column], int]
#: Characters of a record's text that leave with its row.
MESSAGE = 500
#: Columns that are no text. `moment` is microseconds since 1970; `line` counts the lines before the row.
_TYPES = {
    **dict.fromkeys(("moment", "line", "offset", "status_code", "attempt", "sent_at"), pa.int64()),
    **dict.fromkeys(("duration_s", "retry_after_s"), pa.float64()),
    **dict.fromkeys(("parsed", "wire"), pa.bool_()),
}
#: Columns of texts of which hardly two rows have the same.
_DIFFERING = frozenset(("request_id", "profile_key", "event_key", "message"))
_DELETE = 0x7F
#: Ends each text that is redacted together with others, lest their lines seem to be of one text in base64.
#: Behind several lines it is one of its own.
_END = " ."
#: So many rows are kept as lists; then they are packed.
_MOST = 8_192


class Rows:
    """Rows of one kind; a column is missing where it was not told."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._blocks: list[Block] = []
        self._count = 0
        self._single: list[Mapping[str, Any]] = []
        self._packed: list[pa.Table] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._single.append(row)
        if len(self._single) >= _MOST:
            self._add_single()

    def extend(self, columns: Mapping[str, Column], count: int) -> None:
        """Add `count` rows by column."""
        self._blocks.append((columns, count))
        self._count += count
        if self._count >= _MOST:
            self._pack()

    def table(self) -> pa.Table:
        """All of them; columns that were never told are not in it."""
        self._add_single()
        self._pack()
        return pa.concat_tables(self._packed, promote_options="default")

    def _add_single(self) -> None:
        rows, self._single = self._single, []
        names = dict.fromkeys(name for row in rows for name in row)
        self.extend({name: [row.get(name) for row in rows] for name in names}, len(rows))

    def _pack(self) -> None:
        blocks, self._blocks, self._count = self._blocks, [], 0
        names = dict.fromkeys(name for columns, _ in blocks for name in columns)
        told = [name for name in names if name not in _TYPES]
        differing = [name for name in told if any(isinstance(block[0].get(name), Texts) for block in blocks)]
        texts = {name: _joined(blocks, name) for name in told if name not in differing}
        if "profile_key" in names:  # an address is a pseudonym from here on
            texts["profile_domain"] = _joined([(_domains(each), count) for each, count in blocks], "domain")
        changed = _changed(self._redact, (column.values for column in texts.values()))
        arrays = {}
        for name, column in texts.items():
            if changed:
                column = column.map(lambda value: changed.get(value, value))
            if name == "message":
                column = column.map(lambda value: value and value[:MESSAGE])
            arrays[name] = _array(column) if name in _DIFFERING else _repeating(column)
        for name in differing:
            array = self._redacted(_in_one(blocks, name))
            arrays[name] = pc.utf8_slice_codeunits(array, 0, MESSAGE) if name == "message" else array
        for name in (each for each in names if each in _TYPES):
            arrays[name] = _numbers(blocks, name, _TYPES[name])
        self._packed.append(pa.table(arrays))

    def _redacted(self, texts: pa.Array) -> pa.Array:
        """Texts of which hardly two are equal, without what must be taken from them."""
        long = pc.match_substring(texts, "\n")
        if not pc.any(long).as_py():
            return texts if self._stay(texts) else self._each_redacted(texts)
        # Of most texts nothing is to be taken: they are not looked at one by one for a traceback among them.
        if not self._stay(texts.filter(pc.invert(long))):
            return self._each_redacted(texts)
        return pc.replace_with_mask(texts, long, self._each_redacted(texts.filter(long)))

    def _stay(self, lines: pa.Array) -> bool:
        """Is nothing to be taken from texts of one line?"""
        ends = _array(Coded.of(["", f"{_END}\n"]))
        joined = pc.binary_join_element_wise(lines.drop_null(), *ends)
        whole = joined.buffers()[2].to_pybytes().decode()
        return _is_printable(whole) and self._redact(whole) == whole

    def _each_redacted(self, texts: pa.Array) -> pa.Array:
        column = Coded.of(texts.to_pylist())
        changed = _changed(self._redact, [column.values])
        return _array(column.map(lambda value: changed.get(value, value)))


def _in_one(blocks: Sequence[Block], name: str) -> pa.Array:
    """A column of texts of all blocks; None where a block has it not."""
    arrays = []
    for columns, count in blocks:
        column = columns.get(name)
        if isinstance(column, Texts):
            arrays.append(column.array)
        elif isinstance(column, Coded):
            arrays.append(_array(column))
        else:
            arrays.append(_array(Coded.of([None] * count if column is None else [*column])))
    return pa.concat_arrays(arrays)


def _joined(blocks: Sequence[Block], name: str) -> Coded:
    """A column of texts of all blocks, each distinct one once; None where a block has it not."""
    places: dict[str | None, int] = {}

    def place(value: str | None) -> int:
        return places.setdefault(value, len(places))

    codes = []
    for columns, count in blocks:
        column = columns.get(name)
        if column is None:
            codes.append(np.full(count, place(None)))
        elif isinstance(column, Coded):
            codes.append(np.fromiter(map(place, column.values), np.int64, len(column.values))[column.codes])
        else:
            codes.append(np.fromiter(map(place, column), np.int64, count))
    return Coded(np.concatenate(codes), [*places])


def _numbers(blocks: Sequence[Block], name: str, dtype: pa.DataType) -> pa.Array:
    """A column of numbers, or of yes and no, of all blocks; missing where a block has it not."""
    parts, present = [], []
    for columns, count in blocks:
        column: Any = columns.get(name)
        values = column.values if isinstance(column, Coded) else column
        if values is None:
            there, numbers = np.zeros(count, np.bool_), np.zeros(count, dtype.to_pandas_dtype())
        elif isinstance(values, np.ndarray):
            there, numbers = np.ones(count, np.bool_), values
        else:
            there = np.fromiter((value is not None for value in values), np.bool_, len(values))
            numbers = np.array([value or 0 for value in values], dtype=dtype.to_pandas_dtype())
        rows = column.codes if isinstance(column, Coded) else slice(None)
        parts.append(numbers[rows])
        present.append(there[rows])
    data, there = np.concatenate(parts), np.concatenate(present)
    if dtype == pa.bool_():
        data = np.packbits(data, bitorder="little")
    return pa.Array.from_buffers(dtype, len(there), [_valid(there), pa.py_buffer(data)])


def _valid(there: np.ndarray[Any, Any]) -> pa.Buffer | None:
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _array(column: Coded) -> pa.Array:
    """As Arrow's texts."""
    return _distinct(column).take(_places(column, np.int64))


def _repeating(column: Coded) -> pa.Array:
    """As Arrow's texts that repeat: numbers of distinct ones."""
    return pa.DictionaryArray.from_arrays(_places(column, np.int32), _distinct(column))


def _places(column: Coded, dtype: Any) -> pa.Array:
    """Which text each row has."""
    there = column.having(lambda value: value is not None)
    return indices(column.codes.astype(dtype), _valid(there))


def _distinct(column: Coded) -> pa.Array:
    """The texts. `pa.array` makes them too, but imports pandas: 0.3 s in every worker."""
    values = [value or "" for value in column.values]
    data = "".join(values).encode("utf-8", "replace")
    plain = len(data) == sum(map(len, values))
    parts: Sequence[str | bytes] = values if plain else [value.encode("utf-8", "replace") for value in values]
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(values)), out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers)


def _domains(columns: Mapping[str, Column]) -> Mapping[str, Column]:
    """Those of the profiles of a block."""
    profiles = columns.get("profile_key")
    if profiles is None or isinstance(profiles, Texts):
        return {}
    if isinstance(profiles, Coded):
        return {"domain": profiles.map(_domain)}
    return {"domain": list(map(_domain, profiles))}


def _domain(profile: str | None) -> str | None:
    """Domain of an address that may be URL-encoded; None of an id."""
    if profile is None or ("@" not in profile and "%40" not in profile):
        return None
    return profile.replace("%40", "@").rpartition("@")[2].lower() or None


def _changed(redact: Redact, columns: Iterable[Sequence[Any]]) -> dict[str | None, str]:
    """Texts from which something must be taken → what is left of them.

    Distinct texts in one go: that is many times faster than one by one.
    """
    texts: dict[str | None, None] = {}
    for column in columns:
        texts.update(dict.fromkeys(column))
    texts.pop(None, None)
    told = [text for text in texts if text is not None]
    whole = "\n".join(f"{text}\n{_END}" if "\n" in text else text + _END for text in told)
    kept = redact(whole)
    if kept == whole and _is_printable(whole):
        return {}
    shown = map(_shown, _parts(redact, told, kept.split("\n")))
    return {text: after for text, after in zip(told, shown, strict=True) if text != after}


def _parts(redact: Redact, texts: Sequence[str], lines: Sequence[str]) -> Iterable[str]:
    """The lines of what was redacted together, put back to the texts they belong to."""
    counts = [text.count("\n") + 1 for text in texts]
    if sum(count + (count > 1) for count in counts) != len(lines):
        return map(redact, texts)
    if len(lines) == len(texts):
        return (line.removesuffix(_END) for line in lines)
    given = iter(lines)
    return [
        next(given).removesuffix(_END) if count == 1 else "\n".join([*islice(given, count + 1)][:count])
        for count in counts
    ]


def _is_printable(lines: str) -> bool:
    """Are all lines? Of ASCII, which most logs are, ten times as fast as `str.isprintable`."""
    if not lines.isascii():
        return lines.replace("\n", "").isprintable()
    letters = np.frombuffer(lines.encode(), np.uint8)
    control = (letters < ord(" ")) | (letters == _DELETE)
    return int(np.count_nonzero(control)) == lines.count("\n")


def _shown(text: str) -> str:
    return text if text.isprintable() else harmless(text)
