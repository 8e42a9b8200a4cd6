"""What the evidence says of data: the ledger, with the delays that the status page tells of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import samples
from klaviyo_nb.response.lost import delays, lost
from klaviyo_nb.window import Window, iso
from report_samples import nothing

START, END = samples.WINDOW.start, samples.WINDOW.end


def post(name: str, **more: Any) -> dict[str, Any]:
    return {
        "incidents": [
            {"name": name, "status": "resolved", "created_at": iso(START), "resolved_at": None} | more
        ]
    }


def test_without_logs_nothing_is_said() -> None:
    assert lost(nothing()) is None


def test_the_ledger_is_of_the_evidence() -> None:
    evidence = samples.rate_limited()
    found = lost(evidence)
    assert found is not None
    assert found.rows["outcome"].tolist() == ["delivered", "refused", "unknown", "fix_first"]
    assert evidence.calls is not None
    assert found.rows["calls"].sum() == len(evidence.calls)


@pytest.mark.parametrize("name", ["Data processing delays", "Segmentation is lagging", "Events backlog"])
def test_what_was_accepted_while_the_page_tells_of_a_delay_is_late(name: str) -> None:
    evidence = replace(samples.rate_limited(), status_page=post(name))
    assert [*delays(evidence)] == [Window(START, END)]
    found = lost(evidence)
    assert found is not None
    assert found.rows.set_index("outcome").at["accepted_late", "calls"] > 1_000


@pytest.mark.parametrize(
    "page",
    [None, {}, post("API 503 errors"), post("Email translated"), post("Processing delays", created_at="soon"),
     post("Processing delays", resolved_at=iso(START))],
)  # fmt: skip
def test_a_page_that_tells_of_no_delay_makes_nothing_late(page: dict[str, Any] | None) -> None:
    assert [*delays(replace(samples.rate_limited(), status_page=page))] == []
