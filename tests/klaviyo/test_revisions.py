from __future__ import annotations

from datetime import date

import pytest

from klaviyo_nb.klaviyo.revisions import NEWEST, REVISIONS, state, well_formed

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("revision", "today", "expected", "days_left"),
    [
        ("2024-10-15", TODAY, "retired", -39),
        ("2024-10-15", date(2026, 10, 14), "deprecated", 1),
        ("2025-04-15", date(2026, 3, 17), "stable", 394),
        ("2025-04-15", date(2026, 4, 28), "deprecated", 352),
        ("2025-10-15", TODAY, "deprecated", 326),
        (NEWEST, TODAY, "stable", 600),
    ],
)
def test_a_revision_is_stable_a_year_and_gone_after_two(revision, today, expected, days_left):
    found = state(revision, today)
    assert (found.state, found.days_left) == (expected, days_left)


def test_the_retirement_date_is_the_one_that_was_seen_in_a_header():
    assert state("2025-04-15", TODAY).retired_from == date(2027, 4, 15)


@pytest.mark.parametrize("revision", ["2026-07-16", "2031-01-15", "", "latest", "2024-10", "2024-10-15\n"])
def test_of_an_unknown_revision_no_date_is_claimed(revision):
    found = state(revision, TODAY)
    assert (found.state, found.retired_from, found.days_left) == ("unknown", None, None)


def test_a_beta_is_told_from_an_unknown_one():
    assert state("2026-07-15.pre", TODAY).state == "beta"
    assert state("2026-07-15", TODAY).state == "stable"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("2026-07-15", True),
        ("2026-07-15.pre", True),
        ("2026-07-15\n", False),
        ("latest", False),
        ("٢٠٢٦-07-15", False),
    ],
)
def test_a_revision_fits_in_a_header(text, fits):
    assert well_formed(text) is fits


def test_revisions_are_in_order_and_hold_the_newest():
    assert list(REVISIONS) == sorted(set(REVISIONS))
    assert NEWEST in REVISIONS
