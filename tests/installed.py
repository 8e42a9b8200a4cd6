"""What a test needs and may not find here."""

from __future__ import annotations

import os

import pytest


def missing(what: str) -> None:
    """Skip, saying what is missing; fail when CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; .ci/run must install it")
    pytest.skip(what)
