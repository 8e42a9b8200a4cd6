"""Rows while they are found: by column, redacted when they are packed, small enough to travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from klaviyo_nb.redact import harmless

Redact = Callable[[str], str]
#: Characters of a record's text that leave with its row.
MESSAGE = 500
#: Columns that are no text. `moment` is microseconds since 1970; `line` counts the lines before the row.
_TYPES = {
    **dict.fromkeys(("moment", "line", "offset", "status_code", "attempt", "sent_at"), pa.int64()),
    **dict.fromkeys(("duration_s", "retry_after_s"), pa.float64()),
    **dict.fromkeys(("parsed", "wire"), pa.bool_()),
}
#: Ends each line that is redacted together with others, lest ids seem to be lines of one text in base64.
_END = " ."
#: So many rows are kept as lists; then they are packed.
_MOST = 8_192


class Piece(NamedTuple):
    """Rows of one part of a source.

    Attributes:
        source: Its name, to be shown.
        before: Lines of the source before the part; None: nobody knows.
        rows: As `chunks.Part` holds them.
    """

    source: str
    before: int | None
    rows: pa.Table


class Rows:
    """Rows of one kind; a column begins where it is first told, and is missing before."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._columns: dict[str, list[Any]] = {}
        self._count = 0
        self._single: list[Mapping[str, Any]] = []
        self._packed: list[pa.Table] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._single.append(row)
        if len(self._single) >= _MOST:
            self._add_single()

    def extend(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        """Add `count` rows by column."""
        for name, values in columns.items():
            if name not in self._columns:
                self._columns[name] = [None] * self._count
            self._columns[name] += values
        self._count += count
        for values in self._columns.values():
            if len(values) < self._count:
                values += [None] * (self._count - len(values))
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
        texts = {name: values for name, values in self._columns.items() if name not in _TYPES}
        if "profile_key" in texts:  # an address is a pseudonym from here on
            texts["profile_domain"] = list(map(_domain, texts["profile_key"]))
        changed = _changed(self._redact, texts.values())
        for name, values in texts.items():
            if changed:
                values = [changed.get(value, value) for value in values]
            self._columns[name] = (
                [value and value[:MESSAGE] for value in values] if name == "message" else values
            )
        arrays = {name: _array(values, _TYPES.get(name)) for name, values in self._columns.items()}
        self._packed.append(pa.table(arrays))
        self._columns, self._count = {}, 0


def _array(values: Sequence[Any], dtype: pa.DataType | None) -> pa.Array:
    """Values as `dtype`, or as text. `pa.array` does that too, but imports pandas: 0.3 s in every worker."""
    whole = None not in values
    present = None if whole else np.packbits([value is not None for value in values], bitorder="little")
    valid = None if whole else pa.py_buffer(present)
    if dtype is None:
        return _texts(values if whole else [value or "" for value in values], valid)
    filled = values if whole else [value or 0 for value in values]
    if dtype == pa.bool_():
        data = np.packbits(np.array(filled, dtype=bool), bitorder="little")
    else:
        data = np.array(filled, dtype=dtype.to_pandas_dtype())
    return pa.Array.from_buffers(dtype, len(values), [valid, pa.py_buffer(data)])


def _texts(values: Sequence[str], valid: pa.Buffer | None) -> pa.Array:
    data = "".join(values).encode("utf-8", "replace")
    plain = len(data) == sum(map(len, values))
    parts: Sequence[str | bytes] = values if plain else [value.encode("utf-8", "replace") for value in values]
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(values)), out=offsets[1:])
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers)


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
    whole = "\n".join(text if "\n" in text else text + _END for text in told)
    kept = redact(whole)
    if kept == whole and whole.replace("\n", "").isprintable():
        return {}
    shown = map(_shown, _parts(redact, told, kept.split("\n")))
    return {text: after for text, after in zip(told, shown, strict=True) if text != after}


def _parts(redact: Redact, texts: Sequence[str], lines: Sequence[str]) -> Iterable[str]:
    """The lines of what was redacted together, put back to the texts they belong to."""
    counts = [text.count("\n") + 1 for text in texts]
    if sum(counts) != len(lines):
        return map(redact, texts)
    if len(lines) == len(texts):
        return (line.removesuffix(_END) for line in lines)
    given = iter(lines)
    return [
        next(given).removesuffix(_END) if count == 1 else "\n".join(next(given) for _ in range(count))
        for count in counts
    ]


def _shown(text: str) -> str:
    return text if text.isprintable() else harmless(text)
