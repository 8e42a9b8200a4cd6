"""Advisories from probes: certificates, clocks. They never change the cause."""

from __future__ import annotations

from datetime import timedelta

import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import PROBES


def told(*rows: dict[str, object]) -> dict[str, str]:
    seen = Evidence(samples.WINDOW, samples.NOW, tuple(map(PROBES.row, rows)))
    return {advisory.code: advisory.text for advisory in decide(seen).advisories}


@pytest.mark.parametrize(("days", "warned"), [(400, False), (30, False), (3, True), (0, True), (-2, True)])
@pytest.mark.parametrize("probe", ["tls", "webhook"])
def test_a_certificate_is_told_of_before_it_ends(probe: str, days: int, warned: bool) -> None:
    row = {"probe": probe, "target": "host:443", "cert_expires": samples.NOW + timedelta(days=days, hours=1)}
    found = told(row | ({"status_code": 405} if probe == "webhook" else {}))
    assert ("certificate_expiring" in found) is warned
    if warned:
        assert "host:443" in found["certificate_expiring"]


@pytest.mark.parametrize(
    ("seconds", "who", "words"),
    [
        (0, "klaviyo", None),
        (2, "klaviyo", None),
        (-600, "klaviyo", "600 s ahead of"),
        (600, "klaviyo", "600 s behind"),
        (600, "portal", None),  # a stranger's clock says nothing about ours
    ],
)
def test_our_clock_is_compared_with_klaviyos(seconds: int, who: str, words: str | None) -> None:
    row = {"probe": "auth", "status_code": 200, "answered_by": who, "checked_at": samples.NOW, "duration_s": 0.2,
           "server_date": samples.NOW + timedelta(seconds=seconds)}  # fmt: skip
    found = told(row).get("clock_skew")
    assert (found is None) if words is None else (found is not None and words in found)


def test_without_a_date_nothing_is_said_of_clocks() -> None:
    assert "clock_skew" not in told(
        {"probe": "auth", "status_code": 200, "answered_by": "klaviyo", "checked_at": samples.NOW}
    )
