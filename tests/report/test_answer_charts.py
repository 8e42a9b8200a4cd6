from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Coverage, Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.report import charts
from klaviyo_nb.report.canvas import Drawn
from klaviyo_nb.response.lost import lost
from klaviyo_nb.window import Window, iso
from report_samples import healthy, nothing

GOLDEN = Path(__file__).parents[1] / "cases"


def drawn(name: str, evidence: Evidence) -> Drawn:
    return charts.CHARTS[name][1](evidence, decide(evidence))


def headline(of: Drawn) -> str:
    return " ".join(of.figure.texts[0].get_text().split())


def test_the_map_names_the_one_endpoint_that_fails_and_counts_those_that_are_well() -> None:
    shown = drawn("failure_map", load(GOLDEN / "one-endpoint-fails"))
    assert (
        headline(shown) == "/api/profile-bulk-import-jobs fails 76% since it began; 7 of 8 endpoints are well"
    )
    assert "/api/profile-bulk-import-jobs: 50 of 67 failed" in shown.alt
    assert shown.table.groupby("endpoint")["failed"].sum()["/api/profile-bulk-import-jobs"] == 50


def test_the_map_of_an_incident_that_is_over_tells_the_share_while_it_lasted() -> None:
    endpoints = ("/api/profiles", "/api/events", "/api/lists")
    status = [
        503 if endpoint == endpoints[0] and 300 <= number < 400 and number % 5 else 202
        for number in range(720)
        for endpoint in endpoints
    ]
    times = pd.date_range(samples.WINDOW.start, periods=720, freq="10s").repeat(3)
    over = calls(
        samples.WINDOW,
        timestamp=times,
        line_no=range(1, 2161),
        endpoint=[*endpoints] * 720,
        status_code=status,
    )
    assert decide(over).recovered is not None
    shown = drawn("failure_map", over)
    found = re.fullmatch(
        r"/api/profiles failed (\d+)% while it lasted; 2 of 3 endpoints were well", headline(shown)
    )
    assert found
    assert 79 <= int(found[1]) <= 81
    assert any(text.get_text() == "11% failed of 720" for text in shown.figure.texts)


def test_the_map_of_calls_that_are_well_says_so() -> None:
    one_failed = calls(samples.WINDOW, status_code=[503, *[202] * 119])
    assert headline(drawn("failure_map", one_failed)) == "No endpoint fails often, of 1"
    assert headline(drawn("failure_map", healthy())) == "No call failed, of 3,600 to 3 endpoints"


@pytest.mark.parametrize(
    ("status", "headlines"),
    [
        (202, ["The only call did not fail", "No call failed, of 1 to 1 endpoint", "The only call was delivered"]),
        (503, ["The only call failed", "/api/events fails 100%, and nothing else is called",
               "The only call is not known to be delivered"]),
    ],
)  # fmt: skip
def test_a_single_call_is_not_counted_in_shares(status: int, headlines: list[str]) -> None:
    one = calls(Window.last(timedelta(minutes=1), samples.WINDOW.end), event_key="e", status_code=[status])
    assert [headline(drawn(name, one)) for name in ("calls_by_status", "failure_map", "ledger")] == headlines


def test_a_log_that_tells_of_no_call_is_said_to_have_been_read() -> None:
    read = Coverage("app.log", samples.WINDOW, samples.WINDOW, lines=900)
    evidence = replace(nothing(), calls=CALLS.empty(), webhooks=WEBHOOKS.empty(), coverage=(read,), gaps=())
    for name in ("calls_by_status", "failure_map", "rate_limit_headroom", "latency"):
        assert "no call to Klaviyo was found in 900 lines of logs" in drawn(name, evidence).alt
    for name in ("contrast", "retries", "ledger"):
        assert "Cannot tell" in drawn(name, evidence).alt
        assert "no call" in drawn(name, evidence).alt


def calls(window: Window, **columns: Any) -> Evidence:
    """A call each minute; from the second half on, nine of ten fail."""
    count = round(window.seconds / 60)
    given = {"timestamp": pd.date_range(window.start, periods=count, freq="min"), "method": "POST", "source": "app.log",
             "endpoint": "/api/events", "line_no": range(1, count + 1),
             "status_code": [503 if 2 * n > count and n % 10 else 202 for n in range(count)]}  # fmt: skip
    read = CALLS.frame(pd.DataFrame(given | columns))
    return Evidence(window, window.end, calls=read, webhooks=WEBHOOKS.empty())


def test_the_map_of_the_only_endpoint_counts_no_others() -> None:
    assert (
        headline(drawn("failure_map", calls(samples.WINDOW)))
        == "/api/events fails 91% since it began, and nothing else is called"
    )


def test_long_names_that_differ_in_the_middle_are_told_apart() -> None:
    names = [
        f"/api/a-collection-with-a-long-name-{n}/{{id}}/relationships/all-of-its-things" for n in range(3)
    ]
    shown = drawn("failure_map", calls(samples.WINDOW, endpoint=[names[n % 3] for n in range(120)]))
    written = [each.get_text() for each in shown.figure.texts if each.get_text().startswith("…")]
    assert len(set(written)) == 3
    assert all(len(each) <= 40 for each in written)


def test_in_a_window_of_days_the_beginning_has_a_date() -> None:
    week = Window.last(timedelta(days=6), samples.WINDOW.end)
    evidence = calls(week)
    begun = decide(evidence).onset
    assert begun is not None
    day = f"{begun.earliest.day} {begun.earliest:%b} "
    assert f"began {day}" in " ".join(
        each.get_text() for each in drawn("calls_by_status", evidence).figure.texts
    )
    assert f"Failures began between {day}" in drawn("calls_by_status", evidence).alt


def test_one_call_is_said_as_one_and_was_not_tried_again() -> None:
    one = calls(Window.last(timedelta(minutes=1), samples.WINDOW.end), event_key="e")
    assert headline(drawn("retries", one)) == "No call is tried again"
    assert "one call was read from logs" in drawn("latency", one).alt


def test_the_contrast_names_the_worker_whose_key_is_old() -> None:
    shown = drawn("contrast", load(GOLDEN / "one-worker-kept-the-old-key"))
    assert "worker-1: 92% of its calls fail" in headline(shown)
    assert "95% interval of the difference" in shown.alt
    assert list(shown.table["p_adjusted"]) == sorted(shown.table["p_adjusted"])


def test_without_failures_nothing_is_contrasted_and_the_chart_says_why() -> None:
    shown = drawn("contrast", healthy())
    assert headline(shown) == "No difference to show"
    assert "none of 3,600 calls failed" in shown.alt
    few = drawn("contrast", calls(samples.WINDOW, status_code=[503, *[202] * 119]))
    assert "1 of 120 calls failed, too few to compare" in few.alt


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
