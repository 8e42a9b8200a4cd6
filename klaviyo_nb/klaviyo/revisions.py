"""API revisions and how long each lives.

A revision is stable for a year, deprecated for another, then retired: served by the next newer one unless the
caller opted out, which changes the shape of answers without a word. Each one's dates follow from its name;
`X-Klaviyo-Api-Retirement-Date`, sent on deprecated ones, has been seen to agree.

Source:
    https://developers.klaviyo.com/en/docs/api_versioning_and_deprecation_policy
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from klaviyo_nb.expressions import expression

#: The revision of the endpoint catalogue, pinned unless another is configured.
NEWEST = "2026-07-15"

#: Revisions that were generally available, oldest first. The last is known from an official client only.
REVISIONS = (
    "2022-10-17", "2023-01-24", "2023-02-22", "2023-06-15", "2023-07-15", "2023-08-15", "2023-09-15",
    "2023-10-15", "2023-12-15", "2024-02-15", "2024-05-15", "2024-06-15", "2024-07-15", "2024-10-15",
    "2025-01-15", "2025-04-15", "2025-07-15", "2025-10-15", "2026-01-15", "2026-04-15", "2026-07-15",
    "2026-10-15",
)  # fmt: skip

_FORM = expression(r"\d{4}-\d{2}-\d{2}(?:\.[a-z0-9]{1,16})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Revision:
    """Where a revision stands in its life.

    Attributes:
        name: As asked.
        state: `unknown` for a name that is no known revision, `beta` for one with a suffix.
        deprecated_from: First day it is deprecated; None if unknown or beta.
        retired_from: First day it is retired; likewise.
        days_left: Days until then, negative after it; likewise.
    """

    name: str
    state: Literal["stable", "deprecated", "retired", "unknown", "beta"]
    deprecated_from: date | None = None
    retired_from: date | None = None
    days_left: int | None = None


def well_formed(revision: str) -> bool:
    """Whether it has the form of one: `YYYY-MM-DD`, perhaps with a suffix such as `.pre`."""
    return _FORM.fullmatch(revision) is not None


def state(revision: str, today: date) -> Revision:
    """Where `revision` stands on the day `today`."""
    if revision not in REVISIONS:
        beta = well_formed(revision) and "." in revision
        return Revision(revision, "beta" if beta else "unknown")
    born = date.fromisoformat(revision)
    deprecated, retired = born.replace(year=born.year + 1), born.replace(year=born.year + 2)
    now: Literal["stable", "deprecated", "retired"] = "stable"
    if today >= deprecated:
        now = "retired" if today >= retired else "deprecated"
    return Revision(revision, now, deprecated, retired, (retired - today).days)
