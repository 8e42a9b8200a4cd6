"""One thing looked at again: well, not well, or not seen; nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.response.check import check, must_be_known
from klaviyo_nb.response.document import verdict_document

THROTTLED = verdict_document(samples.rate_limited(), decide(samples.rate_limited()))
NOTHING = Evidence(window=samples.WINDOW, collected_at=samples.NOW)
UNSEEN = verdict_document(NOTHING, decide(NOTHING))
QUIET = replace(samples.rate_limited(onset_minute=120), probe_rows=samples.rate_limited().probe_rows[:2])
WELL = verdict_document(QUIET, decide(QUIET))


@pytest.mark.parametrize(
    ("name", "well"),
    [("auth", True), ("rate_limit", False), ("status_page", True), ("app_health", True), ("webhook", None), ("dns", None),
     ("calls", False), ("/api/profiles", False), ("/api/events", True), ("/api/lists", None), ("rate_limited", False),
     ("invalid_key", True), ("advisories", True)],
)  # fmt: skip
def test_during_an_incident(name: str, well: bool | None) -> None:
    assert check(THROTTLED, name).well is well


@pytest.mark.parametrize("name", ["calls", "/api/profiles", "rate_limited", "auth"])
def test_when_it_is_over(name: str) -> None:
    assert check(WELL, name).well is True


@pytest.mark.parametrize("name", ["auth", "webhook", "calls", "/api/profiles", "rate_limited", "invalid_key"])
def test_what_nobody_saw_is_neither(name: str) -> None:
    found = check(UNSEEN, name)
    assert found.well is None
    assert found.because


def test_a_name_that_cannot_be_checked_is_a_mistake_and_not_well() -> None:
    must_be_known(("auth", "/api/lists", "klaviyo_outage"))
    with pytest.raises(UsageError, match="auht"):
        must_be_known(("auht",))
