"""Parts of sources, put together: one frame with the schema of its kind, by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.frames import CALLS, UTC_NS, WEBHOOKS, Schema, without_indexes
from klaviyo_nb.logs.chunks import Piece
from klaviyo_nb.logs.coded import Numbers

_ARROW = {
    "str": pa.large_string(),
    "category": pa.dictionary(pa.int32(), pa.large_string()),
    "float64": pa.float64(),
    "Int64": pa.int64(),
    "boolean": pa.bool_(),
    UTC_NS: pa.timestamp("ns", "UTC"),
}
_PANDAS = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_LATEST = np.iinfo(np.int64).max


def calls(pieces: Iterable[Piece]) -> pd.DataFrame:
    """The CALLS frame, by time; rows without a time last."""
    return _frame(CALLS, pieces)


def webhooks(pieces: Iterable[Piece]) -> pd.DataFrame:
    """The WEBHOOKS frame, likewise."""
    return _frame(WEBHOOKS, pieces)


def _frame(schema: Schema, pieces: Iterable[Piece]) -> pd.DataFrame:
    rows = _Rows([piece for piece in pieces if piece.rows.count])
    columns = {
        name: _column(rows, "moment" if name == "timestamp" else name, schema.columns[name].dtype)
        for name in [*schema.columns][::-1]  # messages first: all others fit into what they let go
    }
    table = pa.table({name: columns.pop(name) for name in schema.columns})
    frame = table.to_pandas(types_mapper=_PANDAS.get, self_destruct=True)
    repeated = [name for name in frame if frame[name].dtype == "category"]
    untold = [name for name in repeated if not len(frame[name].cat.categories)]
    texts = pd.CategoricalDtype(pd.Index([], dtype="str"))  # pandas makes objects of none
    none = pd.Categorical.from_codes(np.full(len(frame), -1, dtype=np.int8), dtype=texts)
    return without_indexes(schema.check(frame.assign(**dict.fromkeys(untold, none))))


class _Rows:
    """Rows of all pieces, by time and then as they stand in their sources.

    A column is given once, and what pieces held of it let go: rows of gigabytes are held once, not thrice.
    """

    def __init__(self, pieces: list[Piece]) -> None:
        tables: dict[int, list[tuple[int, Piece]]] = {}
        for rank, piece in enumerate(pieces):
            tables.setdefault(id(piece.rows.table), []).append((rank, piece))
        self._held, ranks = [], []
        for each in tables.values():
            each.sort(key=lambda placed: placed[1].rows.start)
            counts = [piece.rows.count for _, piece in each]
            self._held.append(_columns([piece for _, piece in each], counts))
            ranks.append(np.repeat([rank for rank, _ in each], counts))
        self._counts = [len(each) for each in ranks]
        self.count = sum(self._counts)
        self._order = self._by_time(np.concatenate(ranks)) if pieces else None

    def column(self, name: str, dtype: pa.DataType) -> pa.ChunkedArray | None:
        """A column, or None if no piece has it; missing where a piece has not."""
        if not any(name in held for held in self._held):
            return None
        held = [
            held.pop(name, None) or pa.chunked_array([pa.nulls(count, dtype)])
            for held, count in zip(self._held, self._counts, strict=True)
        ]
        whole = pa.chunked_array([chunk for column in held for chunk in column.cast(dtype).chunks], dtype)
        if pa.types.is_dictionary(dtype):
            whole = whole.unify_dictionaries()
        return whole if self._order is None else whole.take(self._order)

    def _by_time(self, ranks: Numbers) -> Any:
        """The order of rows of pieces of these ranks; None if they are in order."""
        moments = np.concatenate([held["moment"].fill_null(_LATEST).to_numpy() for held in self._held])
        lines = np.concatenate([held["line"].to_numpy() for held in self._held])
        order = np.lexsort((lines, ranks, moments))
        return order if (np.diff(order) != 1).any() else None


def _columns(pieces: list[Piece], counts: list[int]) -> dict[str, pa.ChunkedArray]:
    """Rows of pieces that stand in one table, in their order there; with what says where each came from."""
    table = pieces[0].rows.table
    assert table is not None
    if sum(counts) < table.num_rows:
        table = pa.concat_tables(piece.rows.rows() for piece in pieces)
    named = pa.array([piece.source for piece in pieces], pa.large_string())
    source = pa.DictionaryArray.from_arrays(np.repeat(np.arange(len(pieces), dtype=np.int32), counts), named)
    unknown = np.repeat([piece.before is None for piece in pieces], counts)
    before = np.repeat([(piece.before or 0) + 1 for piece in pieces], counts)
    numbers = pc.add(table["line"], pa.array(before, mask=unknown))
    citation = {"source": pa.chunked_array([source]), "line_no": numbers}
    return dict(zip(table.column_names, table.columns, strict=True)) | citation


def _column(rows: _Rows, name: str, dtype: str) -> Any:
    arrow = _ARROW[dtype]
    told = rows.column(name, pa.int64() if pa.types.is_timestamp(arrow) else arrow)
    if told is None:
        return pa.nulls(rows.count, arrow)
    if pa.types.is_timestamp(arrow):
        return told.cast(pa.timestamp("us", "UTC")).cast(arrow)
    return _numbered(told) if dtype == "category" else told


def _numbered(texts: pa.ChunkedArray) -> pa.DictionaryArray:
    """Texts as places among the distinct ones that occur, which are sorted."""
    found = texts.combine_chunks()
    found = found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
    counts = np.bincount(found.indices.drop_null().to_numpy(), minlength=len(found.dictionary))
    used = np.flatnonzero(counts)
    distinct = pc.dictionary_encode(found.dictionary.take(pa.array(used)))  # redacted texts may be equal
    order = pc.sort_indices(distinct.dictionary)
    places = np.empty(len(order), dtype=np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    numbers = np.zeros(len(found.dictionary), dtype=np.int32)
    numbers[used] = places[distinct.indices]
    return pa.DictionaryArray.from_arrays(
        pc.take(pa.array(numbers), found.indices), distinct.dictionary.take(order)
    )
