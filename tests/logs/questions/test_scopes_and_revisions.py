from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import by_name, revisions
from klaviyo_nb.logs.questions.question import Answer, Records
from klaviyo_nb.logs.questions.revisions import OTHERS
from klaviyo_nb.logs.questions.scopes import scopes
from samples import WINDOW

READ_LISTS = {"method": "GET", "endpoint": "/api/lists"}
IMPORT = {"method": "POST", "endpoint": "/api/profile-bulk-import-jobs"}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return CALLS.frame(
        [{"timestamp": WINDOW.start + timedelta(seconds=n)} | row for n, row in enumerate(rows)]
    )


def ask(name: str, *rows: dict[str, Any]) -> Answer:
    return by_name(name).ask(Records(frame(*rows), WEBHOOKS.empty()), WINDOW)


def test_a_refused_call_needs_what_no_call_that_worked_has_used() -> None:
    lists = {"method": "POST", "endpoint": "/api/lists", "status_code": 201}
    told = scopes(frame(IMPORT | {"status_code": 403}, lists), WINDOW)
    assert told[["method", "endpoint", "refused", "worked"]].values.tolist() == [
        ["POST", IMPORT["endpoint"], 1, 0]
    ]
    assert told[["needs", "seen", "lacks"]].values.tolist() == [
        ["lists:write, profiles:write", "lists:write", "profiles:write"]
    ]


def test_a_refusal_in_spite_of_all_scopes_is_no_matter_of_scopes() -> None:
    found = ask("scopes", READ_LISTS | {"status_code": 403}, READ_LISTS | {"status_code": 200})
    assert found.rows["lacks"].isna().all()
    assert "plan, feature" in found.says


@pytest.mark.parametrize("who", ["challenge", "edge", "proxy"])
def test_a_403_that_klaviyo_did_not_give_needs_no_scope(who: str) -> None:
    found = ask("scopes", READ_LISTS | {"status_code": 403, "answered_by": who})
    assert found.says == "None of 1 call was refused with 403 by Klaviyo's application."


def test_a_path_whose_operation_is_not_told_is_counted_and_not_guessed() -> None:
    found = ask(
        "scopes", {"endpoint": "/api/lists", "status_code": 403}, {"endpoint": "/nowhere", "status_code": 403}
    )
    assert found.rows.empty
    assert "cannot tell which scopes" in found.says


@pytest.mark.parametrize(
    ("revision", "state", "retires"),
    [("2024-07-15", "retired", "2026-07-15"), ("2025-10-15", "deprecated", "2027-10-15"), ("2026-07-15", "stable", "2028-07-15"),
     ("2026-07-15.pre", "beta", None), ("2020-01-01", "unknown", None)],
)  # fmt: skip
def test_a_revision_has_a_state_on_the_last_day_of_the_window(
    revision: str, state: str, retires: str | None
) -> None:
    row = revisions.revisions(frame({"revision": revision, "status_code": 200}), WINDOW).iloc[0]
    assert row["state"] == state
    assert row["retires"] == retires or (retires is None and pd.isna(row["retires"]))


def test_what_retires_first_stands_first_and_is_said() -> None:
    found = ask("revisions", *({"revision": each} for each in ("2026-07-15", "2025-10-15", "2024-07-15")), {})
    assert found.rows["revision"].tolist() == ["2024-07-15", "2025-10-15", "2026-07-15"]
    assert "2024-07-15 is retired since 2026-07-15" in found.says
    assert found.covers == ("1 calls do not tell their revision.",)


def test_revisions_that_are_well_are_said_to_be() -> None:
    assert (
        ask("revisions", {"revision": "2026-07-15"}).says
        == "All 1 calls with a revision ask for one that is not deprecated."
    )


def test_no_call_tells_its_revision() -> None:
    assert ask("revisions", {"status_code": 200}).says == "Cannot tell: none of 1 call tells its revision."


def test_very_many_names_are_counted_together() -> None:
    names = [f"2026-07-15.x{n:04d}" for n in range(revisions.MOST + 50)]
    found = ask("revisions", *({"revision": each} for each in [*names, "what?"]))
    told = dict(zip(found.rows["revision"], found.rows["calls"], strict=True))
    assert len(told) == revisions.MOST + 1
    assert told[OTHERS] == 51
    assert any("counted together" in each for each in found.covers)
