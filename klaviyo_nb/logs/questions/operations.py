"""Where was each call made: which path of the catalogue, by which method?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from klaviyo_nb.klaviyo.endpoints import catalogue

if TYPE_CHECKING:
    from klaviyo_nb.klaviyo.endpoints import Endpoint


class Place(NamedTuple):
    """A method and a path of the catalogue.

    Attributes:
        method: HTTP method; None: the log does not tell.
        path: Template; None: the catalogue does not know it.
        endpoint: The operation; None if the method does not tell which of the path's it is.
    """

    method: str | None
    path: str | None
    endpoint: Endpoint | None

    @property
    def name(self) -> str:
        """Method and path as people say them."""
        return " ".join(filter(None, (self.method, self.path))) or "paths the catalogue does not know"


@cache
def places() -> tuple[Place, ...]:
    """Every place there is; the last one stands for all that the catalogue does not know."""
    known = catalogue()
    paths = dict.fromkeys(each.path for each in known.endpoints)
    unsaid = (Place(None, path, known.match(None, path)) for path in paths)
    return (
        *(Place(each.method, each.path, each) for each in known.endpoints),
        *unsaid,
        Place(None, None, None),
    )


def places_of(calls: pd.DataFrame) -> Any:
    """Per call, the index of its place in `places`."""
    methods, paths, table = _table()
    return table[_where(calls["method"], methods), _where(calls["endpoint"], paths)]


@cache
def _table() -> tuple[Any, Any, Any]:
    """Methods and paths of the catalogue; the place of each pair; the last two of each: any other, none."""
    every = places()
    methods = sorted({each.method for each in every if each.method})
    paths = sorted({each.path for each in every if each.path})
    index = {(each.method, each.path): number for number, each in enumerate(every)}
    table = [
        [index.get((method, path), len(every) - 1) for path in (*paths, "", None)]
        for method in (*methods, "", None)
    ]
    return pa.array(methods, pa.large_string()), pa.array(paths, pa.large_string()), np.array(table)


def _where(texts: pd.Series[Any], known: Any) -> Any:
    """Place of each text in `known`; one more: it is not there; two more: there is no text."""
    codes, distinct = pd.factorize(texts)
    found = pc.index_in(pa.array(distinct.astype("str"), pa.large_string()), known)
    return np.append(found.fill_null(len(known)).to_numpy(), len(known) + 1)[codes]
