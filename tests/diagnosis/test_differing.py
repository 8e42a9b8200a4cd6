from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.differing import MOST_CALLS
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.response.actions import actions_for

GOLDEN = Path(__file__).parents[1] / "cases"


def refused_to(callers: pd.Series[str]) -> Evidence:
    """An hour in which a third of the calls are refused with 401, made by these callers."""
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    fails = callers.eq("export") & (evidence.calls.index % 10 != 0)
    calls = evidence.calls.assign(
        caller=callers.astype("str"), status_code=fails.map({True: 401, False: 202}).astype("Int64")
    )
    return replace(evidence, calls=calls, metrics=None)


def every_third(evidence: Evidence) -> pd.Series[str]:
    assert evidence.calls is not None
    return pd.Series(
        ["export" if row % 3 == 0 else "checkout" for row in range(len(evidence.calls))],
        index=evidence.calls.index,
    )


def test_a_caller_with_most_of_the_failures_is_named_in_the_summary_and_has_a_step() -> None:
    evidence = refused_to(every_third(samples.rate_limited()))
    verdict = decide(evidence)
    assert verdict.cause == "invalid_key"
    assert "100% of the failing calls are of caller export, of which 90% fail" in verdict.summary
    assert any("--ask contrast" in (step.command or "") for step in actions_for(verdict, evidence))


def test_failures_that_everybody_has_name_nobody() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    callers = pd.Series(["a", "b", "c"] * (len(evidence.calls) // 3), index=evidence.calls.index)
    verdict = decide(replace(evidence, calls=evidence.calls.assign(caller=callers.astype("str"))))
    assert verdict.facts["differs"] is None


def test_the_integration_whose_new_key_lacks_a_scope_is_named() -> None:
    verdict = decide(load(GOLDEN / "new-key-without-the-list-scopes"))
    assert "of caller newsletter, of which 100% fail" in verdict.summary


def test_where_nothing_fails_nothing_is_compared() -> None:
    assert decide(load(GOLDEN / "healthy")).facts["differs"] is None


def test_one_endpoint_that_fails_is_told_by_itself() -> None:
    assert decide(load(GOLDEN / "one-endpoint-fails")).facts["differs"] is None


def test_of_very_many_calls_the_latest_are_compared_and_that_is_said() -> None:
    evidence = refused_to(every_third(samples.rate_limited()))
    assert evidence.calls is not None
    many = pd.concat([evidence.calls] * (MOST_CALLS // len(evidence.calls) + 1), ignore_index=True)
    many = many.sort_values("timestamp", kind="stable", ignore_index=True)
    told = decide(replace(evidence, calls=many)).facts["differs"]
    assert told.startswith(f"100% of the failing calls among the latest {MOST_CALLS:,} are of caller export")
