from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from klaviyo_nb.drills import tables
from klaviyo_nb.drills.baselines import first_error, runbook
from klaviyo_nb.drills.score import Judged, Task, cells, document, judge_all
from klaviyo_nb.drills.worlds import Truth
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, PROBES
from klaviyo_nb.window import Window
from test_cli import run


def judged(kind: str, truth: Truth | None, said: str | None, severity: str | None = None, rivals: tuple[str, ...] = (),
           rules: tuple[str, str] = ("healthy", "healthy"), crash: str | None = None) -> Judged:  # fmt: skip
    task = Task("development", "clean", kind, 1)
    if crash:
        return Judged(task, crash=crash)
    found = dict(zip(("first_error", "runbook"), rules, strict=True))
    return Judged(task, truth, said, severity, rivals, 2.0, 3, found)  # type: ignore[arg-type]


BY_HAND = [
    judged("key", Truth("invalid_key", "P1"), "invalid_key", "P1", rules=("invalid_key", "klaviyo_outage")),
    judged(
        "key", Truth("invalid_key", "P1", second="klaviyo_outage"), "invalid_key", "P2", ("klaviyo_outage",)
    ),
    judged("key", Truth("invalid_key", "P1"), "missing_scope", "P2", ("invalid_key",)),
    judged("key", Truth("invalid_key", "P1"), "inconclusive"),
    judged("well", Truth("healthy", None), "healthy"),
    judged("well", Truth("healthy", None), "rate_limited", "P2"),
    judged("well", None, None, crash="ValueError: no"),
]


def test_the_figures_of_a_cell_are_shares_of_its_worlds() -> None:
    key, well = document(BY_HAND, "development", 4)["cells"]
    assert (key["n"], key["top1"], key["truth_in_rivals"], key["abstained"]) == (4, 0.5, 0.75, 0.25)
    assert (key["severity_right"], key["second_named"], key["crashed"]) == (0.5, 1.0, 0)
    assert (key["seconds"], key["api_calls"]) == (2.0, 3.0)
    assert key["baselines"] == {"majority": 1.0, "first_error": 0.25, "runbook": 0.0}
    assert (well["n"], well["top1"], well["false_alarms"], well["severity_right"]) == (3, 0.3333, 0.3333, 1.0)


def test_a_crash_is_a_world_that_is_wrong_and_is_told() -> None:
    found = document(BY_HAND, "development", 4)
    assert found["levels"][0]["n"] == 7
    assert found["levels"][0]["crashed"] == 1
    assert found["crashed"][0]["crash"] == "ValueError: no"
    assert "CRASHED clean/well seed 1: ValueError: no" in tables.text(found)


def test_what_was_said_instead_is_counted_and_listed() -> None:
    found = document(BY_HAND, "development", 4)
    assert {"truth": "healthy", "said": "rate_limited", "n": 1} in found["confusion"]
    assert [(row["truth"], row["said"]) for row in found["wrong"]] == [
        ("invalid_key", "invalid_key"),  # with another severity
        ("invalid_key", "missing_scope"),
        ("invalid_key", "inconclusive"),
        ("healthy", "rate_limited"),
    ]


def test_verdicts_of_a_process_that_stood_still_are_told() -> None:
    found = document([replace(BY_HAND[0], again=2)], "development", 1)
    assert (found["judged_again"], found["cells"][0]["n"]) == (2, 1)
    assert "2 verdicts were thrown away" in tables.text(found)


def test_no_share_is_made_of_nothing() -> None:
    (cell,) = document([judged("well", None, None, crash="X: y")], "development", 1)["cells"]
    assert (cell["top1"], cell["severity_right"], cell["seconds"]) == (0.0, None, None)


def test_a_table_lines_up() -> None:
    tables_ = tables.text(document(BY_HAND, "development", 4)).split("\n\n")
    for table in (each.splitlines() for each in tables_ if each.startswith("| ")):
        assert len({len(line) for line in table}) == 1
        assert table[1].startswith("|--")


def test_a_world_that_cannot_be_made_is_a_crash_of_its_own() -> None:
    bad, good = judge_all(
        [Task("development", "clean", "volcano", 1), Task("development", "clean", "no key, no logs", 1)]
    )
    assert bad.crash == "KeyError: 'volcano'"
    assert good.said == "inconclusive"


def test_cells_are_chosen_by_a_part_of_their_name() -> None:
    chosen = cells("development", 3, "realistic/rate_limited")
    assert [(task.kind, task.seed) for task in chosen] == [("rate_limited", seed) for seed in (1, 2, 3)]
    with pytest.raises(UsageError):
        cells("martian", 1)


def test_seeds_that_nobody_has_looked_at_begin_where_one_says() -> None:
    chosen = cells("development", 2, "realistic/rate_limited", first_seed=101)
    assert [task.seed for task in chosen] == [101, 102]
    found = document([replace(BY_HAND[0], task=chosen[0])], "development", 1, first_seed=101)
    assert found["first_seed"] == 101
    assert "from seed 101 on" in tables.text(found)


def evidence(statuses: list[int | None], **changes: object) -> Evidence:
    window = Window(datetime(2026, 11, 23, 5, tzinfo=UTC), datetime(2026, 11, 23, 7, tzinfo=UTC))
    rows = [{"timestamp": pd.Timestamp(window.end) - pd.Timedelta(minutes=10 - 0.01 * n), "status_code": status,
             "error_type": None if status else "timeout"} for n, status in enumerate(statuses)]  # fmt: skip
    probes = (dict.fromkeys(PROBES.columns) | {"probe": "app_health", "status_code": 200},)
    fields = {
        "window": window,
        "collected_at": window.end,
        "probe_rows": probes,
        "calls": CALLS.frame(rows),
    } | changes
    return Evidence(**fields)  # type: ignore[arg-type]


def test_the_first_error_wins_whatever_comes_after_it() -> None:
    assert first_error(evidence([200, 500, 401, 401])) == "klaviyo_server_error"
    assert first_error(evidence([200, None, 401])) == "network_unreachable"
    assert first_error(evidence([200])) == "healthy"


def test_the_runbook_asks_the_page_first_and_counts_after_that() -> None:
    assert runbook(evidence([200, 401, 401, 500])) == "invalid_key"
    assert runbook(evidence([200, 401], status_page={"indicator": "critical"})) == "klaviyo_outage"
    assert runbook(evidence(99 * [200] + [500])) == "healthy"
    assert runbook(evidence([], calls=None)) == "inconclusive"


def test_the_command_prints_the_contracts_keys(tmp_path: Path) -> None:
    done = run(
        *("drill", "clean/no key, no", "--score", "--worlds", "development"),
        *("--seeds", "1", "--format", "json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    score = json.loads(done.stdout)
    assert {cell["kind"] for cell in score["cells"]} == {"no key, no logs", "no key, nothing configured"}
    for cell in score["cells"]:
        assert {"n", "top1", "truth_in_rivals", "abstained", "severity_right", "baselines"} <= set(cell)
        assert (cell["n"], cell["top1"], cell["abstained"]) == (1, 1.0, 1.0)
        assert set(cell["baselines"]) == {"majority", "first_error", "runbook"}


@pytest.mark.parametrize(
    "flags",
    [("--seeds", "0"), ("--first-seed", "-1"), ("--seeds", "many"), ("--worlds", "martian"), ("volcano",)],
)
def test_what_cannot_be_scored_is_a_usage_error(flags: tuple[str, ...], tmp_path: Path) -> None:
    done = run("drill", "--score", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert "try: " in done.stderr
