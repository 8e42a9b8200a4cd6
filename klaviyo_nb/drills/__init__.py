"""Rehearsals: a pretend Klaviyo and a pretend application that break on purpose, from one hidden truth."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from klaviyo_nb.drills.traffic import Truth, World, world

if TYPE_CHECKING:
    from klaviyo_nb.drills.server import Services

__all__ = ["Truth", "World", "serve", "world"]


def serve(world: World, folder: Path) -> AbstractContextManager[Services]:
    """Run the services of a world; see `server.serve`."""
    from klaviyo_nb.drills import server  # tornado takes a while to import

    return server.serve(world, folder)
