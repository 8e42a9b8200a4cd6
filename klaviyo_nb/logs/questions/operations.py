"""Where was each call made: which path of the catalogue, by which method?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

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
    found = _index().get_indexer(pd.MultiIndex.from_frame(calls[["method", "endpoint"]]))
    return np.where(found < 0, len(places()) - 1, found)


@cache
def _index() -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples([(each.method, each.path) for each in places()])
