"""Parts of sources, put together: one frame with the schema of its kind, by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.frames import CALLS, UTC_NS, WEBHOOKS, Schema
from klaviyo_nb.logs.rows import Piece

_ARROW = {"str": pa.large_string(), "float64": pa.float64(), "Int64": pa.int64(), "boolean": pa.bool_(),
          "category": pa.large_string(), UTC_NS: pa.timestamp("ns", "UTC")}  # fmt: skip
_PANDAS = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_LATEST = np.iinfo(np.int64).max


def calls(pieces: Iterable[Piece]) -> pd.DataFrame:
    """The CALLS frame, by time; rows without a time last."""
    return _frame(CALLS, pieces)


def webhooks(pieces: Iterable[Piece]) -> pd.DataFrame:
    """The WEBHOOKS frame, likewise."""
    return _frame(WEBHOOKS, pieces)


def _frame(schema: Schema, pieces: Iterable[Piece]) -> pd.DataFrame:
    tables = [_cited(piece) for piece in pieces if piece.rows.num_rows]
    rows = pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
    if tables:
        order = _by_time(rows, [table.num_rows for table in tables])
        if (np.diff(order) != 1).any():  # one log is mostly in order, and a copy takes as much memory again
            rows = rows.take(order)
    columns = {
        name: _column(rows, "moment" if name == "timestamp" else name, column.dtype)
        for name, column in schema.columns.items()
    }
    frame = pa.table(columns).to_pandas(types_mapper=_PANDAS.get)
    repeated = [name for name in frame if frame[name].dtype == "category"]
    untold = [name for name in repeated if not len(frame[name].cat.categories)]
    texts = pd.CategoricalDtype(pd.Index([], dtype="str"))  # pandas makes objects of none
    none = pd.Categorical.from_codes(np.full(len(frame), -1, dtype=np.int8), dtype=texts)
    return schema.check(frame.assign(**dict.fromkeys(untold, none)))


def _cited(piece: Piece) -> pa.Table:
    """With the columns that say where each row came from."""
    count, line = piece.rows.num_rows, piece.rows["line"]
    numbers = pa.nulls(count, pa.int64()) if piece.before is None else pc.add(line, piece.before + 1)
    source = pa.repeat(pa.scalar(piece.source, pa.large_string()), count)
    return piece.rows.append_column("source", source).append_column("line_no", numbers)


def _by_time(rows: pa.Table, counts: list[int]) -> Any:
    """The order of rows: by time, then as they stand in their sources."""
    moments = rows["moment"].fill_null(_LATEST).to_numpy()
    return np.lexsort((rows["line"].to_numpy(), np.repeat(np.arange(len(counts)), counts), moments))


def _column(rows: pa.Table, name: str, dtype: str) -> Any:
    arrow = _ARROW[dtype]
    if name not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.dictionary(pa.int8(), arrow) if dtype == "category" else arrow)
    if pa.types.is_timestamp(arrow):
        values = rows[name].cast(pa.timestamp("us", "UTC")).cast(arrow)
    else:
        values = rows[name].cast(arrow)
    return _numbered(values) if dtype == "category" else values


def _numbered(texts: Any) -> pa.DictionaryArray:
    """Texts as places among the distinct ones, which are sorted."""
    found = pc.dictionary_encode(texts)
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    order = pc.sort_indices(found.dictionary)
    places = np.empty(len(order), dtype=np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    numbers = pc.take(pa.array(places), found.indices)
    return pa.DictionaryArray.from_arrays(numbers, found.dictionary.take(order))
