"""Metrics: range queries against a Prometheus-compatible server, and when, how many and how bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klaviyo_nb.metrics.client import Fetched, fetch

__all__ = ["Fetched", "fetch"]


def __getattr__(name: str) -> Any:
    """Import the client when it is asked for: who only counts needs no HTTP."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from klaviyo_nb.metrics import client

    return getattr(client, name)
