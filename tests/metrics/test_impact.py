from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.metrics.impact import Impact, burn_rates, impact
from klaviyo_nb.window import Window


def bins(window: Window, calls: list[float], failed: list[float]) -> pd.DataFrame:
    times = [window.start + timedelta(minutes=minute) for minute in range(len(calls))]
    return pd.DataFrame({"timestamp": times, "calls": calls, "failed": failed})


def test_failures_their_share_the_worst_five_minutes_and_the_budget_are_added_up(window: Window):
    found = impact(bins(window, [10.0] * 100, [0.0] * 50 + [5.0] * 5 + [1.0] * 45), window)
    assert found.failed_calls == 70
    assert found.calls == 1000
    assert found.share == pytest.approx(0.07)
    assert found.peak_share == pytest.approx(0.5)
    assert found.budget_spent == pytest.approx(70)
    assert found.failed_calls == 70


def test_nothing_failing_spends_nothing(window: Window):
    assert impact(bins(window, [10.0] * 9, [0.0] * 9), window) == Impact(0, 90, 0.0, 0.0, 0.0)


def test_nothing_observed_is_unknown_and_not_zero(window: Window):
    assert impact(bins(window, [], []), window) == Impact(None, None, None, None, None)
    assert impact(bins(window, [np.nan], [np.nan]), window) == Impact(None, None, None, None, None)


def test_failures_without_calls_have_a_number_but_no_share(window: Window):
    assert impact(bins(window, [np.nan] * 2, [3.0, 4.0]), window) == Impact(7, None, None, None, None)


def test_calls_of_which_nobody_knows_whether_they_failed_have_no_share(window: Window):
    assert impact(bins(window, [9.0], [np.nan]), window) == Impact(None, 9, None, None, None)


def test_no_traffic_at_all_has_no_share(window: Window):
    assert impact(bins(window, [0.0] * 3, [0.0] * 3), window) == Impact(0, 0, None, None, None)


def test_two_calls_failing_at_night_are_no_peak(window: Window):
    assert impact(bins(window, [2.0] + [0.0] * 9, [2.0] + [0.0] * 9), window).peak_share is None


def test_the_worst_five_minutes_are_the_same_where_a_bin_has_a_row_per_status(window: Window):
    whole = bins(window, [100.0] * 30, [0.0] * 10 + [10.0] * 10 + [0.0] * 10)
    failed = whole.assign(calls=whole["failed"])
    well = whole.assign(calls=whole["calls"] - whole["failed"], failed=0.0)
    rows = pd.concat([failed, well]).sort_values("timestamp", kind="stable", ignore_index=True)
    assert impact(rows, window).peak_share == pytest.approx(0.1)


def test_bins_outside_the_window_do_not_count(window: Window):
    later = Window(window.start + timedelta(minutes=5), window.end)
    assert impact(bins(window, [10.0] * 6, [10.0] * 5 + [1.0]), later).failed_calls == 1


def test_the_objective_can_be_chosen_and_must_leave_a_budget(window: Window):
    frame = bins(window, [100.0], [1.0])
    assert impact(frame, window, slo=0.99).budget_spent == pytest.approx(1.0)
    with pytest.raises(ValueError, match="objective"):
        impact(frame, window, slo=1.0)


class TestBurnRates:
    def test_a_fast_burn_is_told_and_windows_longer_than_what_was_asked_are_not_known(self):
        start = pd.Timestamp("2026-11-23T05:00:00Z").to_pydatetime()
        window = Window(start, start + timedelta(hours=2))
        found = burn_rates(bins(window, [10.0] * 120, [0.0] * 60 + [1.0] * 60), window, window)
        assert found["factor"].to_list() == [14.4, 6.0, 3.0, 1.0]
        assert found.loc[0, "long_rate"] == pytest.approx(100)
        assert found.loc[0, "burning"]
        assert found.loc[1:, "burning"].isna().all()
        assert found.loc[1:, "long_rate"].isna().all()

    def test_a_burn_that_is_over_does_not_go_on(self):
        start = pd.Timestamp("2026-11-23T05:00:00Z").to_pydatetime()
        window = Window(start, start + timedelta(hours=1))
        found = burn_rates(bins(window, [10.0] * 60, [5.0] * 50 + [0.0] * 10), window, window)
        assert found.loc[0, "short_rate"] == 0
        assert not found.loc[0, "burning"]

    def test_two_failures_at_night_burn_nothing(self):
        start = pd.Timestamp("2026-11-23T05:00:00Z").to_pydatetime()
        window = Window(start, start + timedelta(hours=1))
        found = burn_rates(bins(window, [1.0] * 60, [0.0] * 58 + [1.0] * 2), window, window)
        assert not found.loc[0, "burning"]

    def test_nothing_observed_is_not_known(self):
        start = pd.Timestamp("2026-11-23T05:00:00Z").to_pydatetime()
        window = Window(start, start + timedelta(hours=1))
        assert burn_rates(bins(window, [], []), window, window)["burning"].isna().all()

    @pytest.mark.parametrize(("hours", "known"), [(2, [True, False, False]), (5.5, [True, True, False])])
    def test_of_a_day_of_which_the_last_hours_were_sampled_no_rate_of_the_day_is_told(
        self, hours: float, known: list[bool]
    ):
        start = pd.Timestamp("2026-11-23T05:00:00Z").to_pydatetime()
        window = Window(start, start + timedelta(days=1))
        seen = Window(window.end - timedelta(hours=hours), window.end)
        found = burn_rates(bins(seen, [10.0] * int(hours * 60), [1.0] * int(hours * 60)), window, seen)
        assert found["long_rate"].notna().to_list() == [*known, False]
        assert found.loc[0, "long_rate"] == pytest.approx(100)
        assert found["burning"].notna().to_list() == [*known, False]
