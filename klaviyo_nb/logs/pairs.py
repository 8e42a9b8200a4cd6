"""One call that two records tell of: the client library's line of each exchange, and the application's own.

An application that logs its failures, with its HTTP client's log switched on, writes two lines per call. The
first knows method and URL, the second often the body and who logged. They are made one row: the
application's, with what only the library's tells, cited where the first of them stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from klaviyo_nb.logs.coded import Numbers

#: The column that marks a library's line; it stays inside this package.
WIRE = "wire"
#: The application's line comes within this time [microseconds], by clocks with and without fractions of a
#: second, and within so many rows.
_SOON, _SOON_BY_SECONDS = 250_000, 1_000_000
_NEXT = 24
_PLACE = ("line", "offset", "moment")  # of the first of both
_SAME = ("status_code", "endpoint", "method", "host", "worker")


def joined(rows: pa.Table, chunks: Callable[[Numbers], Numbers] = np.zeros_like) -> pa.Table:
    """`rows` with one row per call; `chunks` says which chunk a line is of: no call is told of in two."""
    if WIRE not in rows.column_names:
        return rows
    import pyarrow.compute as pc  # takes as long as all else that a worker imports

    first = _partners(rows, chunks)
    rows = rows.drop_columns([WIRE])
    rows = rows.cast(pa.schema([(field.name, _plain(field.type)) for field in rows.schema]))
    paired = np.flatnonzero(first >= 0)
    if not len(paired):
        return rows
    other = pa.array(np.where(first >= 0, first, np.arange(len(first))))
    columns = {}
    for name in rows.column_names:
        theirs = rows[name].take(other)
        columns[name] = pc.coalesce(*((theirs, rows[name]) if name in _PLACE else (rows[name], theirs)))
    keep = np.ones(len(first), dtype=bool)
    keep[first[paired]] = False
    return pa.table(columns).filter(pa.array(keep))


def _plain(kind: pa.DataType) -> pa.DataType:
    """Texts that repeat are taken for texts: what one line tells may stand in another."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _partners(rows: pa.Table, chunks: Callable[[Numbers], Numbers]) -> Numbers:
    """Row → the library's row of the same call, or -1."""
    lines = rows["line"].to_numpy()
    order, of = np.argsort(lines, kind="stable").tolist(), chunks(lines).tolist()
    wires = set(np.flatnonzero(rows[WIRE].fill_null(False).to_numpy(zero_copy_only=False)).tolist())
    told = [rows[name].to_pylist() if name in rows.column_names else None for name in _SAME]
    moments = rows["moment"].to_pylist()
    first = np.full(len(order), -1)
    for place, wire in enumerate(order):
        if wire not in wires:
            continue
        for row in order[place + 1 : place + 1 + _NEXT]:
            if of[row] != of[wire] or not _soon(moments[wire], moments[row], row == order[place + 1]):
                break
            if row not in wires and first[row] < 0 and _same(told, wire, row):
                first[row] = wire
                break
    return first


def _soon(then: int | None, now: int | None, next_one: bool) -> bool:
    if then is None or now is None:  # of a log whose lines carry no time, or the line right behind
        return then is now or next_one
    coarse = then % 1_000_000 == 0 or now % 1_000_000 == 0
    return abs(now - then) <= (_SOON_BY_SECONDS if coarse else _SOON)


def _same(told: Sequence[Any], wire: int, row: int) -> bool:
    """Do both tell the same status (or none), and nothing that differs?"""
    statuses, *rest = told
    if statuses is not None and statuses[wire] != statuses[row]:
        return False
    return all(
        column is None or column[wire] is None or column[row] is None or column[wire] == column[row]
        for column in rest
    )
