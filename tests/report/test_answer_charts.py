from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

import samples
from klaviyo_nb.collect import load
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.report import charts
from klaviyo_nb.report.canvas import Drawn
from klaviyo_nb.response.lost import lost
from klaviyo_nb.window import iso
from report_samples import healthy, nothing

GOLDEN = Path(__file__).parents[1] / "cases"


def drawn(name: str, evidence: Evidence) -> Drawn:
    return charts.CHARTS[name][1](evidence, decide(evidence))


def headline(of: Drawn) -> str:
    return " ".join(of.figure.texts[0].get_text().split())


def test_the_map_names_the_one_endpoint_that_fails_and_counts_those_that_are_well() -> None:
    shown = drawn("failure_map", load(GOLDEN / "one-endpoint-fails"))
    assert headline(shown) == "/api/profile-bulk-import-jobs fails 75%; 7 of 8 endpoints are well"
    assert "/api/profile-bulk-import-jobs: 50 of 67 failed" in shown.alt
    assert shown.table.groupby("endpoint")["failed"].sum()["/api/profile-bulk-import-jobs"] == 50


def test_the_map_of_calls_that_are_well_says_so() -> None:
    assert headline(drawn("failure_map", healthy())).startswith("No endpoint fails often")


def test_the_contrast_names_the_worker_whose_key_is_old() -> None:
    shown = drawn("contrast", load(GOLDEN / "one-worker-kept-the-old-key"))
    assert "worker-1: 92% of its calls fail" in headline(shown)
    assert "95% interval of the difference" in shown.alt
    assert list(shown.table["p_adjusted"]) == sorted(shown.table["p_adjusted"])


def test_without_failures_nothing_is_contrasted_and_the_chart_says_why() -> None:
    shown = drawn("contrast", healthy())
    assert headline(shown) == "Nothing differs that could be told"
    assert "too few to compare" in shown.alt


def test_retries_are_told_as_attempts_per_call_with_what_they_do_not_cover() -> None:
    shown = drawn("retries", load(GOLDEN / "retries-after-errors-spend-the-limit"))
    assert headline(shown) == "2.00 attempts per call"
    assert "326 of 793 attempts carry no key" in shown.alt
    assert (shown.table["attempts"].sum(), shown.table["calls"].sum()) == (467, 234)


def test_a_ledger_without_keys_says_at_most() -> None:
    shown = drawn("ledger", load(GOLDEN / "retries-after-errors-spend-the-limit"))
    assert headline(shown) == "At most 304 of 560 calls are not known to be delivered"
    assert set(shown.table["outcome"]) >= {"delivered", "refused", "unknown", "fix_first"}


def test_nobody_read_a_log_is_said_and_not_drawn_as_zero() -> None:
    for name in ("failure_map", "contrast", "retries", "ledger"):
        shown = drawn(name, nothing())
        assert "nothing told of" in shown.alt
        assert list(shown.table.columns) == ["not_observed"]


def test_metrics_alone_give_the_map_but_no_ledger() -> None:
    evidence = load(GOLDEN / "healthy-by-metrics-alone")
    assert "Calls counted from metrics" in drawn("failure_map", evidence).alt
    assert "nothing told of" in drawn("ledger", evidence).alt


def test_a_throttled_hour_is_a_ledger_of_refused_calls() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    refused = drawn("ledger", evidence).table.set_index("outcome")
    assert 0 < refused.loc["refused", "calls"] <= (evidence.calls["status_code"] == 429).sum()


def test_the_chart_of_the_ledger_knows_of_a_delay_as_the_postmortem_does() -> None:
    post = {"name": "Data processing delays", "created_at": iso(samples.WINDOW.start), "resolved_at": None}
    evidence = replace(samples.rate_limited(), status_page={"incidents": [post]})
    shown, said = drawn("ledger", evidence), lost(evidence)
    assert said is not None
    assert "accepted_late" in set(shown.table["outcome"])
    pd.testing.assert_frame_equal(shown.table, said.rows)
