"""Columns in which values repeat: each distinct value once, and which of them a row has.

What is done to a value is done once for all rows that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column.

    Attributes:
        codes: Row → place of its value.
        values: Each is some row's; equal ones may stand there twice.
    """

    codes: Numbers
    values: Sequence[Any]

    @classmethod
    def of(cls, column: Sequence[Any]) -> Coded:
        """Any values; numbers of different types are different."""
        places: dict[Any, int] = {}
        kinds = set(map(type, column))
        # To a dictionary, True is 1 and 1.0.
        mixed = len(kinds - {type(None)}) > 1
        keys: Iterable[Any] = zip(map(type, column), column, strict=True) if mixed else column
        codes = np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, len(column))
        return cls(codes, [value for _, value in places] if mixed else [*places])

    @classmethod
    def constant(cls, value: Any, count: int) -> Coded:
        """The same in so many rows."""
        return cls(np.zeros(count, np.int64), [value])

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes.tolist())

    def __getitem__(self, row: int) -> Any:
        return self.values[self.codes[row]]

    def map(self, function: Callable[[Any], Any]) -> Coded:
        """What `function` makes of each."""
        return Coded(self.codes, list(map(function, self.values)))

    def only(self, rows: Numbers) -> Coded:
        """Some of the rows, by their numbers or as a mask."""
        used, codes = distinct(self.codes[rows])
        return Coded(codes, [self.values[place] for place in used.tolist()])

    def having(self, wanted: Callable[[Any], Any]) -> Numbers:
        """Of each row: is its value wanted?"""
        chosen: Numbers = np.fromiter(map(bool, map(wanted, self.values)), np.bool_, len(self.values))
        return chosen[self.codes]

    def among(self, rows: Numbers, count: int) -> Coded:
        """As `rows` of `count` rows; the others have None."""
        codes = np.full(count, len(self.values), np.int64)
        codes[rows] = self.codes
        return Coded(codes, [*self.values, None])

    def or_else(self, other: Coded | Texts | None) -> Coded | Texts:
        """With the other column's value where this one has none."""
        if other is None or None not in self.values:
            return self
        if set(self.values) == {None}:
            return other
        if isinstance(other, Texts):
            other = Coded.of(list(other))
        return together(self, other).map(lambda both: both[1] if both[0] is None else both[0])


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts of which hardly two are equal. No address is among them."""

    array: pa.Array

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array.to_pylist())

    def __getitem__(self, row: int) -> Any:
        return self.array[row].as_py()

    def only(self, rows: Numbers) -> Texts:
        """Some of the rows, by their numbers or as a mask."""
        return Texts(self.array.take(indices(np.arange(len(self.array))[rows])))

    def or_else(self, other: Coded | Texts | None) -> Coded | Texts:
        """As `Coded.or_else`."""
        return Coded.of(list(self)).or_else(other) if other is not None and self.array.null_count else self


def indices(numbers: Numbers, valid: pa.Buffer | None = None) -> pa.Array:
    """Whole numbers as Arrow's; `pa.array` makes them too, but imports pandas: 0.3 s in every worker."""
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [valid, pa.py_buffer(numbers)]
    )


def distinct(codes: Numbers) -> tuple[Numbers, Numbers]:
    """Each number once, ascending, and where each is among them. `np.unique` imports `numpy.ma`: 16 ms."""
    ordered = np.sort(codes)
    used = ordered[np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))]
    return used, np.searchsorted(used, codes)


def numbers(array: pa.Array, dtype: Any) -> Numbers:
    """Arrow's numbers, none of which is missing, the other way round: `to_numpy` imports pandas."""
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * np.dtype(dtype).itemsize)


def together(*columns: Coded) -> Coded:
    """Columns side by side: the combinations that occur, as tuples."""
    first, *others = columns
    codes, values = first.codes, list(zip(first.values, strict=True))
    for other in others:
        used, codes = distinct(codes * len(other.values) + other.codes)
        ours, theirs = np.divmod(used, len(other.values))
        values = [
            (*values[one], other.values[two]) for one, two in zip(ours.tolist(), theirs.tolist(), strict=True)
        ]
    return Coded(codes, values)
