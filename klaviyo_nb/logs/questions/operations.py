"""Which operation of the catalogue is each call of?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from klaviyo_nb.klaviyo.endpoints import catalogue
from klaviyo_nb.logs.questions.tallies import numbered

if TYPE_CHECKING:
    import pandas as pd


def operations(calls: pd.DataFrame) -> Any:
    """Per call, the index of its operation in `catalogue().endpoints`; -1: of none, or it cannot be told."""
    codes, firsts = numbered(calls[["method", "endpoint"]])
    told = calls[["method", "endpoint"]].iloc[firsts].astype(object)
    known = _known()
    pairs = zip(told["method"].where(told["method"].notna(), None), told["endpoint"], strict=True)
    return np.fromiter((known.get(pair, -1) for pair in pairs), np.int64, len(told))[codes]


@cache
def _known() -> dict[tuple[str | None, str], int]:
    """Method and path template → index; without a method only where the path has a single operation."""
    endpoints = catalogue().endpoints
    paths = [each.path for each in endpoints]
    single = {(None, path): index for index, path in enumerate(paths) if paths.count(path) == 1}
    return single | {(each.method, each.path): index for index, each in enumerate(endpoints)}
