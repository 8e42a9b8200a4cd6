from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

import samples
from klaviyo_nb.commands.metric_answers import render_metrics, with_incident
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.harm import at_each_severity, harm
from klaviyo_nb.diagnosis.times import times_of
from klaviyo_nb.evidence import Coverage, Evidence
from klaviyo_nb.folder import save
from klaviyo_nb.frames import CALLS, METRICS, NOTES, PROBES
from klaviyo_nb.report import views
from klaviyo_nb.window import Window, iso, stamp, whole_seconds


def test_the_impact_is_that_of_the_calls_that_the_verdict_counts():
    evidence = samples.rate_limited()
    found, facts = harm(evidence), decide(evidence).facts
    assert found is not None
    assert (found.source, found.total.calls, found.total.failed_calls) == (
        facts["counted_from"], facts["calls"], facts["failed_calls"],
    )  # fmt: skip


def test_the_times_at_each_severity_add_up_to_the_window():
    evidence = samples.rate_limited()
    graded = at_each_severity(evidence, "rate_limited")
    assert set(graded) == {"P3", "none"}
    assert sum(graded.values(), timedelta(0)) == evidence.window.end - evidence.window.start


def test_an_incident_that_is_over_was_as_bad_as_its_failures_were():
    window = samples.rate_limited().window
    minutes = range(60)
    rows = [
        {"timestamp": window.start + timedelta(minutes=minute, seconds=each), "method": "POST",
         "endpoint": f"/api/{('events', 'profiles')[each % 2]}", "source": "app.log", "line_no": minute * 60 + each,
         "status_code": 503 if 10 <= minute < 20 else (429 if 30 <= minute < 35 and each % 4 == 0 else 202)}
        for minute in minutes for each in range(0, 60, 3)
    ]  # fmt: skip
    read = Coverage("file:app.log", window, window, lines=len(rows), calls=len(rows))
    evidence = Evidence(window, window.end, calls=CALLS.frame(rows), coverage=(read,))
    graded = at_each_severity(evidence, "resolved_or_intermittent")
    assert graded["P1"] == timedelta(minutes=10)
    assert graded["P3"] == timedelta(minutes=5)
    assert set(graded) == {"P1", "P3", "none", "not known"}


def test_without_calls_nothing_is_known_of_it():
    evidence = replace(samples.rate_limited(), calls=None, metrics=None)
    assert harm(evidence) is None
    assert at_each_severity(evidence, "rate_limited") == {}
    assert views.impact(evidence) is None


def test_what_changed_is_told_in_percent():
    told = views.changed(samples.rate_limited())
    assert told is not None
    assert told.loc[0, "of"] == "all calls"
    assert str(told.loc[0, "during"]).endswith("%")
    assert not told.astype("str").apply(lambda column: column.str.contains("nan")).any(axis=None)


def counted(evidence: Evidence) -> Evidence:
    """What `klaviyo-nb metrics` would have of it."""
    return Evidence(evidence.window, evidence.window.end, calls=evidence.calls, metrics=evidence.metrics)


def test_a_note_of_the_onset_counts_in_metrics_too():
    evidence = samples.rate_limited()
    at = evidence.window.start + timedelta(minutes=1)
    row = {"written_at": evidence.collected_at, "at": at, "kind": "onset", "who": "Ann", "text": "a call"}
    notes = NOTES.frame(pd.DataFrame([row]))
    found = replace(counted(evidence), notes=notes)
    told = f"written by Ann, {stamp(evidence.collected_at)} UTC: a call"
    text, rows, derived = render_metrics(found, "text").decode(), views.times(found), times_of(evidence).onset
    assert told in text
    assert derived is not None
    assert f"derived {' to '.join(map(iso, whole_seconds(derived.earliest, derived.latest)))}" in text
    assert rows is not None
    assert rows.loc[rows["moment"] == "began", "because"].item() == told


def test_the_metrics_command_tells_what_was_touched_and_how_long_it_was_how_bad():
    evidence = samples.rate_limited()
    found = counted(evidence)
    document = json.loads(render_metrics(found, "json"))
    assert sum(document["time_at_s"].values()) == evidence.window.seconds
    assert document["time_at_s"]["P3"] == 2400
    assert document["touched"] == views.reached(evidence)
    assert "severity  P3 for 40 min" in render_metrics(found, "text").decode()


def touching(profiles: list[str | None], made: int | None = None, **coverage: Any) -> Evidence:
    """Failed calls in a log that name these profiles; metrics count `made` of them."""
    evidence = samples.rate_limited()
    window = evidence.window
    at = window.start + timedelta(minutes=5)
    calls = CALLS.frame([{"timestamp": at, "status_code": 503, "profile_key": each} for each in profiles])
    read = Coverage("file:app.log", window, window, lines=len(profiles), calls=len(profiles), **coverage)
    metrics = None
    if made is not None:
        metrics = METRICS.frame(
            {"timestamp": at + timedelta(seconds=15 * step), "role": "requests", "name": "c", "series": "{}",
             "status": "503", "value": float(value)} for step, value in enumerate((0, made))
        )  # fmt: skip
    return Evidence(window, window.end, calls=calls, metrics=metrics, coverage=(read,))


def test_a_log_that_was_read_whole_bounds_what_was_touched() -> None:
    assert views.reached(touching(["a", "a", "b"])) == "3 failed calls touch 2 profiles."
    named = touching(["a", "a", None], made=3)
    assert views.reached(named) == "3 failed calls touch at least 1 profiles (at most 2)."


def test_where_a_log_is_sampled_each_failed_call_that_it_lacks_may_touch_another_one() -> None:
    found = touching(["a", "a", "b"], made=100)
    said = "100 failed calls, of which logs tell 3, touch at least 2 profiles (at most 99)."
    assert views.reached(found) == said
    (row,) = json.loads(render_metrics(found, "json"))["affected"]
    assert row == {"what": "profiles", "distinct": 2, "at_least": 2, "at_most": 99, "calls": 3}
    assert said in render_metrics(found, "text").decode()


def test_counts_a_scrape_apart_do_not_make_a_log_a_sample() -> None:
    assert views.reached(touching(["a"] * 50, made=54)) == "50 failed calls touch 1 profiles."


def test_a_log_of_which_a_part_is_missing_bounds_nothing_unless_metrics_counted() -> None:
    torn = touching(["a", "b"], truncated=True, gap="torn")
    assert views.reached(torn) == "2 failed calls, which may not be all, touch at least 2 profiles."
    (row,) = json.loads(render_metrics(torn, "json"))["affected"]
    assert row["at_most"] is None
    counted = touching(["a", "b"], made=2, truncated=True, gap="torn")
    assert views.reached(counted) == "2 failed calls touch 2 profiles."


def test_the_budget_burns_by_logs_too_where_there_are_no_metrics():
    evidence = samples.rate_limited()
    assert views.burning(replace(evidence, calls=None, metrics=None)) is None
    found = views.burning(replace(evidence, metrics=None))
    assert found is not None
    assert found["burning"].fillna(False).any()


def test_the_budget_of_an_hour_is_not_told_by_logs_that_began_in_it():
    evidence = replace(samples.rate_limited(), metrics=None)
    since = evidence.window.end - timedelta(minutes=40)
    kept = tuple(replace(each, got=Window(since, evidence.window.end)) for each in evidence.coverage)
    found = views.burning(replace(evidence, coverage=kept))
    assert found is not None
    assert found["long_rate"].isna().all()
    assert found.loc[0, "short_rate"] > 0


def test_the_first_failing_probe_of_an_incidents_report_is_an_estimate_too(tmp_path: Path):
    evidence = samples.rate_limited()
    at = evidence.window.start + timedelta(minutes=110)
    rows = [
        {"probe": "auth", "checked_at": each, "status_code": 503} for each in (at, at - timedelta(hours=9))
    ]
    save(replace(evidence, probe_rows=tuple(map(PROBES.row, rows))), tmp_path / "INC-7" / "evidence")
    found = counted(evidence)
    told = json.loads(render_metrics(with_incident(found, None, tmp_path / "INC-7"), "json"))
    probes = [each for each in told["estimates"] if each["from"] == "probes"]
    assert [(each["earliest"], each["latest"]) for each in probes] == [(None, iso(at))]
    assert with_incident(found, None, tmp_path / "INC-8") == found
