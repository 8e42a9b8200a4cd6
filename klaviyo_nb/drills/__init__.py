"""Rehearsals: a pretend Klaviyo and a pretend application that break on purpose, from one hidden truth."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.worlds import Truth, World
from klaviyo_nb.errors import UsageError

if TYPE_CHECKING:
    from klaviyo_nb.drills.server import Services

__all__ = ["Truth", "World", "serve", "world"]


def world(scenario: str, seed: int, now: datetime) -> World:
    """The world of a scenario that ends at `now`; the same arguments give the same world.

    Raises:
        UsageError: No scenario has that name.
    """
    from klaviyo_nb.drills.development import shown
    from klaviyo_nb.drills.traffic import tell

    if scenario not in SCENARIOS:
        raise UsageError("SCENARIO", f"{scenario!r} is not a scenario", "klaviyo-nb drill --list")
    return shown(tell(SCENARIOS[scenario], seed, now))


def serve(world: World, folder: Path) -> AbstractContextManager[Services]:
    """Run the services of a world; see `server.serve`."""
    from klaviyo_nb.drills import server  # tornado takes a while to import

    return server.serve(world, folder)
