"""Whose calls used a limit up, and what is said where the log does not show it."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from klaviyo_nb.frames import CALLS
from klaviyo_nb.logs.questions.question import of_calls
from klaviyo_nb.logs.questions.ratelimit import QUESTION, ratelimit
from klaviyo_nb.window import Window
from samples import WINDOW


def calls(rows: list[tuple[float, int, str, float | None]], attempt: int | None = None) -> pd.DataFrame:
    """Of second, status, caller and `Retry-After`; calls to an operation that allows 75/s, 750/min."""
    return CALLS.frame(
        {"timestamp": WINDOW.start + timedelta(seconds=at), "method": "GET", "endpoint": "/api/profiles",
         "status_code": status, "caller": caller, "retry_after_s": wait, "attempt": attempt}
        for at, status, caller, wait in rows
    )  # fmt: skip


def per_minute(minute: int, status: int, count: int, caller: str) -> list[tuple[float, int, str, None]]:
    return [(60 * (minute + each / count), status, caller, None) for each in range(count)]


@pytest.mark.parametrize("quiet", [0, 40], ids=["it goes on", "it is long over"])
def test_a_storm_is_one_whether_or_not_calm_came_after_it(quiet: int) -> None:
    first = [each for minute in range(20 + quiet) for each in per_minute(minute, 200, 400, "web")]
    again = [each for minute in range(10, 20) for each in per_minute(minute, 429, 900, "web")]
    frame = CALLS.joined([calls(first, 1), calls(again, 2)])
    rows = ratelimit(frame, WINDOW)
    assert rows.loc[rows["window_s"] == 60, "kind"].tolist() == ["retries"]


def test_calls_that_grew_are_growth_though_calm_came_after_them() -> None:
    times = {minute: 3 if 10 <= minute < 20 else 1 for minute in range(31)}
    first = [each for minute, more in times.items() for each in per_minute(minute, 200, 350 * more, "web")]
    again = [each for minute in range(10, 21) for each in per_minute(minute, 429, 900, "web")]
    rows = ratelimit(CALLS.joined([calls(first, 1), calls(again, 2)]), WINDOW)
    assert rows.loc[rows["window_s"] == 60, "kind"].tolist() == ["growth"]


def test_a_days_limit_was_spent_by_whoever_called_before_it_was_used_up() -> None:
    nightly = [(float(at), 200, "nightly", None) for at in range(0, 3000, 3)]
    web = [(at + 0.5, 200 if at < 3000 else 429, "web", 60000.0 if at >= 3000 else None)
           for at in range(0, 7000, 10)]  # fmt: skip
    row = ratelimit(calls([*nightly, *web]), WINDOW).iloc[0]
    assert (row["window_s"], row["caller"]) == (86_400, "nightly")
    assert row["share"] == pytest.approx(1000 / 1300, abs=0.01)
    assert pd.isna(row["backlog_per_min"])


def test_the_calls_of_ten_days_are_not_those_of_one() -> None:
    window = Window(WINDOW.start, WINDOW.start + timedelta(days=10))
    rows = [(864.0 * at, 200 if at < 990 else 429, "web", None if at < 990 else 9000.0) for at in range(1000)]
    assert ratelimit(calls(rows), window)["peak"].tolist() == [100]


def test_others_fill_the_second_where_every_answer_says_to_wait_for_one() -> None:
    rows = [(each / 2, 429 if each % 3 else 200, "web", 1.0 if each % 3 else None) for each in range(600)]
    row = ratelimit(calls(rows), WINDOW).iloc[0]
    assert (row["window_s"], row["limit"], row["others"]) == (1, 75, 73)
    longer = ratelimit(calls([*rows, (300.0, 429, "web", 40.0)]), WINDOW).iloc[0]
    assert (longer["window_s"], longer["limit"]) == (60, 750)


def test_a_limit_that_no_answer_told_may_be_lower() -> None:
    said = "or less is allowed than the catalogue says"
    rows = [(each / 2, 429 if each % 3 else 200, "web", None) for each in range(600)]
    frame = calls(rows)
    told = QUESTION.ask(of_calls(frame), WINDOW)
    assert said in told.says
    assert told.rows["backlog_per_min"].isna().all()  # what others spend is not left for a backlog
    frame.loc[0, "message"] = "'RateLimit-Limit': '75, 75;w=1, 750;w=60'"
    assert said not in QUESTION.ask(of_calls(frame), WINDOW).says


def test_a_limit_that_freed_long_ago_does_not_free_now() -> None:
    rows = [each for minute in range(3) for each in per_minute(minute, 429 if minute == 1 else 200, 900, "a")]
    assert "it frees at " in QUESTION.ask(of_calls(calls(rows[:1800])), WINDOW).says
    assert "it freed at " in QUESTION.ask(of_calls(calls([*rows, (3600.0, 200, "a", None)])), WINDOW).says
