"""The world of the probes tests."""

from probes_world import world

__all__ = ["world"]
