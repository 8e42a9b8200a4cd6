from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.frames import CALLS, WEBHOOKS, as_texts
from klaviyo_nb.logs.questions import counts, overview
from klaviyo_nb.logs.questions.question import Answer, Records
from samples import WINDOW, rate_limited

EVENT = {"method": "POST", "endpoint": "/api/events", "status_code": 202}


@pytest.fixture(scope="module")
def calls() -> pd.DataFrame:
    found = rate_limited().calls
    assert found is not None
    return found


def ask(calls: pd.DataFrame) -> Answer:
    return overview.QUESTION.ask(Records(calls, WEBHOOKS.empty()), WINDOW)


def at(*minutes: float, **more: Any) -> pd.DataFrame:
    return CALLS.frame(
        [EVENT | {"timestamp": WINDOW.start + timedelta(minutes=each)} | more for each in minutes]
    )


def in_pandas(calls: pd.DataFrame) -> pd.DataFrame:
    """The same by hand: exact quantiles, all rows at once."""
    kinds = counts.failure_kinds(calls)
    frame = as_texts(calls[["endpoint", "duration_s"]]).assign(
        kind=kinds, failed=kinds.notna(), failed_at=calls["timestamp"].where(kinds.notna())
    )
    grouped = frame.groupby("endpoint", dropna=False, sort=False)
    told = grouped.agg(
        calls=("failed", "size"), failed=("failed", "sum"), kind=("kind", lambda each: each.mode().get(0)),
        first_failed=("failed_at", "min"), last_failed=("failed_at", "max"), p50_s=("duration_s", "median"),
        p95_s=("duration_s", lambda each: each.quantile(0.95)), share=("failed", "mean"),
    )  # fmt: skip
    return told.reset_index().sort_values(
        ["failed", "calls"], ascending=False, kind="stable", ignore_index=True
    )


def test_shares_quantiles_and_failures_are_those_of_the_calls(calls: pd.DataFrame) -> None:
    told = overview.overview(calls, WINDOW)
    by_hand = in_pandas(calls)
    for name in ("endpoint", "calls", "failed", "share", "kind", "first_failed", "last_failed"):
        pd.testing.assert_series_equal(told[name], by_hand[name], check_dtype=False)
    for name in ("p50_s", "p95_s"):
        np.testing.assert_allclose(told[name], by_hand[name], rtol=0.03)
    assert (told["share_low"] < told["share"])[:1].all()
    assert (told["share"] < told["share_high"]).all()


def test_the_quiet_part_has_quantiles_of_its_own() -> None:
    rows = [
        EVENT | {"timestamp": WINDOW.start + timedelta(seconds=10 * n), "duration_s": 0.1} for n in range(360)
    ]
    rows += [
        EVENT
        | {
            "timestamp": WINDOW.start + timedelta(seconds=3_600 + 10 * n),
            "duration_s": 4.0,
            "status_code": 503,
        }
        for n in range(360)
    ]
    told = overview.overview(CALLS.frame(rows), WINDOW).iloc[0]
    assert told["quiet_p95_s"] == pytest.approx(0.1, rel=0.03)
    assert told["p95_s"] == pytest.approx(4.0, rel=0.03)


def test_first_and_last_failure_per_cause(calls: pd.DataFrame) -> None:
    told = overview.causes(calls, WINDOW)
    throttled = calls[calls["status_code"] == 429]
    assert told["kind"].tolist() == ["throttled"]
    assert told["failed"].tolist() == [len(throttled)]
    assert [told["first"][0], told["last"][0]] == [throttled["timestamp"].min(), throttled["timestamp"].max()]


def test_calls_by_class_endpoint_and_minute_add_up(calls: pd.DataFrame) -> None:
    told = overview.over_time(calls, WINDOW)
    assert told["calls"].sum() == len(calls)
    assert set(told["status"]) == {2, 4}
    minute = told[told["timestamp"] == WINDOW.start + timedelta(minutes=100)]
    seen = calls[calls["timestamp"].dt.floor("min") == WINDOW.start + timedelta(minutes=100)]
    assert minute["calls"].sum() == len(seen)


def test_a_log_that_is_silent_is_not_called_healthy() -> None:
    found = ask(at(*(n / 2 for n in range(60)), *(60 + n / 2 for n in range(120))))
    assert (
        "the log was silent for 30 min since 2026-11-23 05:29:30 UTC (else 30 s at most): of that time nothing is known"
        in found.says
    )


def test_calls_without_a_pause_are_no_silence() -> None:
    assert "silent" not in ask(at(*(n / 2 for n in range(240)))).says


def test_a_few_calls_tell_of_no_silence() -> None:
    assert "silent" not in ask(at(1, 100)).says


def test_each_cause_is_said_as_people_call_it_and_together_they_are_all_failures() -> None:
    statuses = [401, 403, 429, 429, 400, 503]
    rows = [EVENT | {"timestamp": WINDOW.start, "status_code": each} for each in statuses]
    rows.append(EVENT | {"timestamp": WINDOW.start, "error_type": "dns"})
    said = ask(CALLS.frame(rows)).says.split("; ")
    assert said[0].startswith("7 of 7 calls failed")
    assert [each.partition(" at ")[0] for each in said[1:]] == [
        "2 × throttled (429)", "1 × forbidden (403)", "1 × rejected (another 4xx)",
        "1 × server error or no answer", "1 × unauthorized (401)", "1 × Klaviyo not reached",
    ]  # fmt: skip


def test_no_failure_is_said_with_how_sure_that_is() -> None:
    assert ask(at(*range(120))).says == "0 of 120 calls failed (0.0%, between 0.0% and 3.1%)."


def test_very_many_paths_are_counted_together() -> None:
    rows = [EVENT | {"timestamp": WINDOW.start, "endpoint": f"/x{n:05d}"} for n in range(overview.MOST + 10)]
    random.Random(1).shuffle(rows)
    found = ask(CALLS.frame(rows))
    told = dict(zip(found.rows["endpoint"], found.rows["calls"], strict=True))
    assert (len(told), told[overview.OTHERS]) == (overview.MOST + 1, 10)
    assert any("counted together" in each for each in found.covers)


def test_which_paths_are_counted_together_does_not_depend_on_how_the_log_was_cut() -> None:
    paths = [f"/x{n:05d}" for n in range(overview.MOST + 30)] + [overview.OTHERS, None]
    random.Random(2).shuffle(paths)
    calls = CALLS.frame([EVENT | {"timestamp": WINDOW.start, "endpoint": path} for path in paths])
    halves = [calls[:-9], calls[-9:]]
    parts = [overview.part(Records(half, WEBHOOKS.empty()), WINDOW) for half in halves]
    told = overview.answer(overview.merge(parts), WINDOW).rows
    pd.testing.assert_frame_equal(told, ask(calls).rows)
    counts = dict(zip(told["endpoint"].fillna(""), told["calls"], strict=True))
    assert counts == {f"/x{n:05d}": 1 for n in range(overview.MOST)} | {overview.OTHERS: 31, "": 1}
