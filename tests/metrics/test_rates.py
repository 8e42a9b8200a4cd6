from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.frames import METRICS
from klaviyo_nb.metrics.counters import counted, step_s
from klaviyo_nb.metrics.rates import (
    beforehand,
    begun_late,
    bins,
    disagreements,
    histogram_quantile,
    increases,
    latency,
)

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
STEP = timedelta(seconds=15)


def counter(role: str, values: list[float | None], **labels: str) -> list[dict[str, object]]:
    """A counter's samples, one per step; None: not sampled."""
    le = float(labels["le"]) if "le" in labels else None
    return [
        {
            "timestamp": START + index * STEP,
            "role": role,
            "name": f"klaviyo_{role}",
            "series": json.dumps(labels, sort_keys=True),
            "endpoint": labels.get("endpoint"),
            "method": labels.get("method"),
            "status": labels.get("status") or labels.get("status_code"),
            "le": le,
            "value": value,
        }
        for index, value in enumerate(values)
        if value is not None
    ]


def frame(*counters: list[dict[str, object]]) -> pd.DataFrame:
    return METRICS.frame([row for rows in counters for row in rows])


def rises(metrics: pd.DataFrame, role: str = "requests") -> dict[int, float]:
    """Step → calls."""
    steps = counted(metrics, role)
    index = (steps["timestamp"] - START) // STEP
    return {int(at): float(calls) for at, calls in steps["calls"].groupby(index).sum().items()}


def by_status(metrics: pd.DataFrame) -> dict[tuple[str | None, str | None], float]:
    """(endpoint, status) → calls, without zeros."""
    steps = increases(metrics)
    sums: Mapping[tuple[str, str], float] = (
        steps.astype({"endpoint": object, "status": object})
        .fillna({"endpoint": "", "status": ""})
        .groupby(["endpoint", "status"])["calls"]
        .sum()
        .to_dict()
    )
    return {(one or None, two or None): calls for (one, two), calls in sums.items() if calls}


class TestCounters:
    def test_a_step_counts_what_the_counter_rose_and_stands_at_its_start(self):
        assert rises(frame(counter("requests", [100, 104, 104, 110]))) == {0: 4, 1: 0, 2: 6}

    def test_the_calls_of_days_before_the_first_sample_are_not_counted(self):
        assert sum(rises(frame(counter("requests", [1e6, 1e6 + 1]))).values()) == 1

    def test_what_they_had_come_to_at_the_first_sample_is_what_was_counted_before(self):
        good = counter("requests", [90, 95], endpoint="/api/events", status="success")
        bad = counter("requests", [4, 9], endpoint="/api/events", status="error")
        born = counter("requests", [None, 3], endpoint="/api/lists", status="success")
        found = beforehand(frame(good, bad, born))
        sums = {(row.endpoint, row.status): row.calls for row in found.itertuples()}
        assert sums == {("/api/events", "success"): 90, ("/api/events", "error"): 4}
        assert set(found["timestamp"]) == {pd.Timestamp(START)}

    def test_what_a_new_process_had_come_to_is_told_by_itself(self):
        old = counter("requests", [5, 5, 6, 7], job="web", endpoint="/api/events", status="success")
        new = counter("requests", [None, None, 3, 4], job="cron", endpoint="/api/lists", status="401")
        late = begun_late(frame(old, new))
        assert late[["timestamp", "status", "calls"]].values.tolist() == [[START + STEP, "401", 3.0]]

    @pytest.mark.parametrize("job", ["web", "cron"])
    def test_what_may_be_the_calls_of_days_or_was_counted_anyway_is_not(self, job: str):
        old = counter("requests", [5, 5, 6, 7], job="web", endpoint="/api/events", status="success")
        count = 3 if job == "web" else 4000
        new = counter("requests", [None, None, count, count], job=job, endpoint="/api/lists", status="401")
        assert begun_late(frame(old, new)).empty

    @pytest.mark.parametrize("seed", range(5))
    def test_in_which_order_rows_stand_makes_no_difference(self, seed: int):
        rng = np.random.default_rng(seed)
        rows = [
            row
            for number, role in enumerate(["requests", "errors"] * 4)
            for row in counter(
                role,
                [float(n) if rng.random() < 0.9 else None for n in rng.integers(0, 30, 40)],
                instance=f"web-{number // 2 % 2}",
                status=f"50{number // 4}",
            )
        ]
        shuffled = [rows[at] for at in rng.permutation(len(rows))]
        for role in ("requests", "errors"):
            assert counted(frame(rows), role).equals(counted(frame(shuffled), role))
        assert begun_late(frame(rows)).equals(begun_late(frame(shuffled)))
        assert bins(frame(rows)).equals(bins(frame(shuffled)))

    def test_a_series_that_two_answers_tell_of_does_not_begin_with_the_second(self):
        first = [counter("requests", [1, 2], instance=name, status="success") for name in "ab"]
        second = [counter("requests", [None, None, 4, 7], instance=name, status="success") for name in "ab"]
        assert begun_late(frame(*first, *second)).empty
        assert rises(frame(*first, *second)) == {0: 2, 1: 4, 2: 6}

    def test_calls_of_processes_that_were_sampled_at_other_times_are_added_up(self):
        metrics = frame(
            counter("requests", [1, 2, 4, None, 9], instance="a"),
            counter("requests", [10, None, 30, 31, 31], instance="b"),
        )
        assert rises(metrics) == {0: 1, 1: 2 + 20, 2: 1, 3: 5 + 0}

    def test_calls_of_processes_that_lived_for_a_moment_are_added_up(self):
        metrics = frame(
            counter("webhooks", [1.0] * 100),
            counter("requests", [1, 2, 4], instance="a"),
            counter("requests", [None, 5, 8, 8], instance="b"),
        )
        assert rises(metrics) == {0: 1, 1: 2 + 3, 2: 0}

    def test_a_restarted_process_counts_from_zero(self):
        assert rises(frame(counter("requests", [100, 104, 3, 5]))) == {0: 4, 1: 3, 2: 2}

    def test_a_restarted_process_may_have_had_many_calls_before_it_was_sampled(self):
        assert rises(frame(counter("requests", [9000, 9004, 2000, 2004]))) == {0: 4, 1: 2000, 2: 4}

    def test_of_a_sum_of_processes_of_which_one_began_anew_the_rest_is_not_counted_again(self):
        assert rises(frame(counter("requests", [4000, 4040, 3030, 3070]))) == {0: 40, 1: 0, 2: 40}

    def test_what_happened_in_a_hole_stands_at_its_end(self):
        metrics = frame(counter("requests", [10, None, None, 19]), counter("webhooks", [1, 1, 1, 1]))
        assert rises(metrics) == {2: 9}

    def test_a_counter_whose_first_sample_is_no_number_was_not_born_after_it(self):
        metrics = frame(counter("requests", [math.nan, 5000, 5002]), counter("webhooks", [1, 1, 1]))
        assert rises(metrics) == {1: 2}

    def test_a_sample_that_is_not_a_number_is_a_hole(self):
        metrics = frame(counter("requests", [10, math.nan, 19, 20]), counter("webhooks", [1, 1, 1, 1]))
        assert rises(metrics) == {1: 9, 2: 1}

    def test_a_series_that_appears_counts_from_zero_if_its_process_was_sampled_before(self):
        metrics = frame(
            counter("requests", [5, 6, 7], status="success", instance="a"),
            counter("requests", [None, None, 4], status="error", instance="a"),
        )
        assert rises(metrics) == {0: 1, 1: 1 + 4}

    def test_an_alert_for_a_process_does_not_tell_that_it_was_sampled(self):
        fires = counter("alerts", [1, 1, 1], instance="a", alertname="KlaviyoDown")
        assert rises(frame(fires, counter("requests", [None, 7, 8], instance="a"))) == {1: 1}

    def test_a_series_that_appears_with_its_process_is_only_a_beginning(self):
        metrics = frame(
            counter("requests", [5, 6, 7, 8], instance="a"),
            counter("requests", [None, None, 4000, 4001], instance="b"),
        )
        assert rises(metrics) == {0: 1, 1: 1, 2: 2}

    @pytest.mark.parametrize("label", ["exported_instance", "exported_pod", "cluster"])
    def test_processes_that_another_server_passes_on_are_told_apart(self, label: str):
        both = {"instance": "prometheus-1:9090"}
        metrics = frame(
            counter("requests", [5, 6, 7, 8], **both, **{label: "a"}),
            counter("requests", [None, None, 4000, 4001], **both, **{label: "b"}),
        )
        assert rises(metrics) == {0: 1, 1: 1, 2: 2}

    def test_the_order_of_samples_does_not_matter(self):
        metrics = frame(counter("requests", [7, 9, 4, 6], endpoint="a"), counter("requests", [1, 2, 2, 5]))
        mixed = METRICS.check(metrics.sample(frac=1, random_state=3).reset_index(drop=True))
        assert rises(mixed) == rises(metrics) == {0: 3, 1: 4, 2: 5}
        pd.testing.assert_frame_equal(counted(mixed, "requests"), counted(metrics, "requests"))

    def test_samples_need_not_lie_on_a_grid(self):
        metrics = frame(counter("requests", [1, 3, 8]))
        metrics["timestamp"] += pd.to_timedelta([0, 0, 2], unit="s")
        assert step_s(metrics) == 15
        assert rises(metrics) == {0: 2, 1: 5}

    def test_many_kinds_that_were_each_seen_for_a_moment_are_counted_each_by_itself(self):
        kinds = [
            counter("requests", [*[None] * (2 * at), 1, 2, *[None] * (100 - 2 * at)], endpoint=f"e{at}")
            for at in range(40)
        ]
        steps = counted(frame(*kinds), "requests")
        assert steps["calls"].to_list() == [1] * 79
        assert steps["endpoint"].to_list() == ["e0", *(f"e{at}" for at in range(1, 40) for _ in range(2))]

    def test_one_sample_tells_nothing(self):
        assert rises(frame(counter("requests", [100]))) == {}
        assert step_s(frame(counter("requests", [100]))) is None
        assert bins(frame(counter("requests", [100]))).empty

    @given(
        st.lists(st.integers(0, 50), min_size=2, max_size=30),
        st.sets(st.integers(1, 28)),
        st.integers(0, 10**9),
    )
    def test_whatever_is_missing_in_between_the_total_is_the_same(
        self, moves: list[int], holes: set[int], before: int
    ):
        values: list[float | None] = [float(value) for value in np.cumsum([before, *moves])]
        for hole in holes:
            if hole < len(values) - 1:
                values[hole] = None
        metrics = frame(counter("requests", values), counter("webhooks", [0.0] * len(values)))
        assert sum(rises(metrics).values()) == sum(moves)


class TestAddingUp:
    def test_the_errors_counter_tells_how_the_failed_calls_failed(self):
        metrics = frame(
            counter("requests", [0, 50, 90], endpoint="/api/events", method="POST", status="success"),
            counter("requests", [0, 0, 10], endpoint="/api/events", method="POST", status="error"),
            counter("errors", [0, 0, 7], endpoint="/api/events", status_code="429"),
            counter("errors", [0, 0, 3], endpoint="/api/events", status_code="unknown"),
        )
        assert by_status(metrics) == {
            ("/api/events", "success"): 90,
            ("/api/events", "429"): 7,
            ("/api/events", "unknown"): 3,
        }
        assert disagreements(metrics) == ()

    def test_failures_that_no_error_accounts_for_stay_errors(self):
        metrics = frame(
            counter("requests", [0, 40], endpoint="/api/events", status="error"),
            counter("errors", [0, 30], endpoint="/api/events", status_code="500"),
        )
        assert by_status(metrics) == {("/api/events", "500"): 30, ("/api/events", "error"): 10}
        assert disagreements(metrics) == (
            "/api/events: 40 failures by the requests counter, 30 by the other",
        )

    def test_two_counters_a_step_apart_are_not_counted_twice(self):
        metrics = frame(
            counter("requests", [0, 1, 2, 3, 4], endpoint="/a", status="error"),
            counter("errors", [1, 2, 3, 4, 5], endpoint="/a", status_code="500"),
        )
        assert by_status(metrics) == {("/a", "500"): 4}
        late = frame(
            counter("requests", [0, 9, 9, 9], endpoint="/a", status="error"),
            counter("errors", [0, 8, 9, 9], endpoint="/a", status_code="500"),
        )
        assert sum(by_status(late).values()) <= 10

    def test_more_errors_than_failed_requests_are_kept_and_told(self):
        metrics = frame(
            counter("requests", [0, 10], endpoint="/a", status="error"),
            counter("errors", [0, 30], endpoint="/a", status_code="500"),
        )
        assert by_status(metrics) == {("/a", "500"): 30}
        assert disagreements(metrics) == ("/a: 10 failures by the requests counter, 30 by the other",)

    def test_without_an_errors_counter_it_is_known_that_they_failed_and_not_how(self):
        metrics = frame(
            counter("requests", [0, 40], endpoint="/a", status="success"),
            counter("requests", [0, 4], endpoint="/a", status="error"),
        )
        assert by_status(metrics) == {("/a", "success"): 40, ("/a", "error"): 4}

    def test_a_requests_counter_with_codes_needs_no_errors_counter(self):
        metrics = frame(
            counter("requests", [0, 40], endpoint="/a", status="202"),
            counter("requests", [0, 4], endpoint="/a", status="429"),
            counter("errors", [0, 9], endpoint="/a", status_code="500"),
        )
        assert by_status(metrics) == {("/a", "success"): 40, ("/a", "429"): 4}

    def test_a_requests_counter_without_status_holds_the_errors_too(self):
        metrics = frame(
            counter("requests", [0, 40, 50], endpoint="/a", method="GET"),
            counter("errors", [0, 4, 5], endpoint="/a", status_code="500"),
        )
        assert by_status(metrics) == {("/a", "success"): 45, ("/a", "500"): 5}

    def test_an_older_counter_without_endpoint_fits_where_one_endpoint_fails(self):
        metrics = frame(
            counter("requests", [0, 9], endpoint="/a", status="error"),
            counter("requests", [0, 9], endpoint="/b", status="success"),
            counter("errors", [0, 9], status_code="500"),
        )
        assert by_status(metrics) == {("/a", "500"): 9, ("/b", "success"): 9}

    def test_an_older_counter_without_endpoint_is_not_given_to_one_of_two(self):
        metrics = frame(
            counter("requests", [0, 9], endpoint="/a", status="error"),
            counter("requests", [0, 5], endpoint="/b", status="error"),
            counter("errors", [0, 12], status_code="500"),
        )
        assert by_status(metrics) == {(None, "500"): 12, (None, "error"): 2}

    def test_calls_of_which_nothing_tells_whether_they_failed_have_no_status(self):
        metrics = frame(counter("requests", [0, 40], endpoint="/a"))
        assert by_status(metrics) == {("/a", None): 40}
        assert bins(metrics)["calls"].tolist() == [40.0]
        assert bins(metrics)["failed"].isna().all()

    def test_failures_alone_have_no_calls_to_be_a_share_of(self):
        metrics = frame(counter("errors", [0, 4], endpoint="/a", status_code="500"))
        assert increases(metrics).empty
        assert bins(metrics)["failed"].tolist() == [4.0]
        assert bins(metrics)["calls"].isna().all()

    def test_nothing_observed_gives_frames_with_columns_and_no_rows(self):
        assert list(increases(METRICS.empty())) == ["timestamp", "endpoint", "method", "status", "calls"]
        assert list(bins(METRICS.empty())) == ["timestamp", "calls", "failed"]
        assert list(latency(METRICS.empty())) == ["timestamp", "calls", "p50_s", "p95_s", "p99_s"]
        assert (
            len(increases(METRICS.empty())) + len(bins(METRICS.empty())) + len(latency(METRICS.empty())) == 0
        )
        assert disagreements(METRICS.empty()) == ()


class TestBins:
    def test_bins_are_as_wide_as_asked_and_quiet_ones_are_zero(self):
        metrics = frame(
            counter("requests", [0, 1, 2, 3, 4, 4, 4, 4, 4], endpoint="/a", status="success"),
            counter("requests", [0, 0, 0, 0, 2, 2, 2, 2, 2], endpoint="/a", status="error"),
        )
        found = bins(metrics, "1min")
        assert found["timestamp"].tolist() == [
            pd.Timestamp(START),
            pd.Timestamp(START + timedelta(minutes=1)),
        ]
        assert found["calls"].tolist() == [6.0, 0.0]
        assert found["failed"].tolist() == [2.0, 0.0]

    def test_steps_that_were_not_sampled_are_absent(self):
        metrics = frame(counter("requests", [0, 5, None, None, 9, 10], status="success"))
        assert len(bins(metrics)) == 3


class TestLatency:
    BUCKETS = pd.DataFrame({"le": [0.1, 0.5, np.inf], "count": [50.0, 90.0, 100.0]})

    @pytest.mark.parametrize(
        ("q", "seconds"),
        [(0.0, 0.0), (0.25, 0.05), (0.5, 0.1), (0.7, 0.3), (0.9, 0.5), (0.99, 0.5), (1.0, 0.5)],
    )
    def test_a_quantile_is_interpolated_inside_its_bucket(self, q: float, seconds: float):
        assert histogram_quantile(self.BUCKETS, q) == pytest.approx(seconds)

    def test_no_call_has_no_quantile(self):
        assert histogram_quantile(self.BUCKETS.assign(count=0.0), 0.5) is None

    def test_the_lowest_bucket_may_end_at_zero(self):
        assert histogram_quantile(pd.DataFrame({"le": [0.0, np.inf], "count": [9.0, 10.0]}), 0.5) == 0.0

    @pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
    def test_a_quantile_outside_its_range_is_refused(self, q: float):
        with pytest.raises(ValueError, match="outside"):
            histogram_quantile(self.BUCKETS, q)

    @pytest.mark.parametrize("le", [[np.inf], [0.1, 0.5], [0.5, 0.1, np.inf], []])
    def test_buckets_that_do_not_ascend_to_inf_are_refused(self, le: list[float]):
        with pytest.raises(ValueError, match="buckets"):
            histogram_quantile(pd.DataFrame({"le": le, "count": [1.0] * len(le)}), 0.5)

    @given(
        st.lists(st.integers(0, 100), min_size=4, max_size=4).filter(any),
        st.floats(0, 1),
        st.floats(0, 1),
    )
    def test_quantiles_ascend_and_stay_within_the_bounds(self, counts: list[int], one: float, two: float):
        table = pd.DataFrame({"le": [0.1, 1.0, 5.0, np.inf], "count": np.cumsum(counts).astype(float)})
        low, high = (histogram_quantile(table, q) for q in sorted((one, two)))
        assert low is not None
        assert high is not None
        assert 0 <= low <= high <= 5.0

    def test_quantiles_over_time_come_from_what_was_counted_in_each_bin(self):
        metrics = frame(
            counter("duration_bucket", [500, 550, 550], endpoint="/a", le="0.1"),
            counter("duration_bucket", [500, 590, 590], endpoint="/a", le="0.5"),
            counter("duration_bucket", [500, 600, 600], endpoint="/a", le="+Inf"),
            counter("duration_bucket", [0, 10, 20], endpoint="/b", le="+Inf"),
        )
        found = latency(metrics, endpoint="/a")
        assert found["calls"].tolist() == [100.0, 0.0]
        assert found["p50_s"].tolist()[0] == pytest.approx(0.1)
        assert found["p95_s"].isna().tolist() == [False, True]
        assert latency(metrics, "1min")["calls"].tolist() == [120.0]

    def test_buckets_without_an_upper_end_have_no_quantile(self):
        metrics = frame(
            counter("duration_bucket", [0, 5], le="0.1"), counter("duration_bucket", [0, 5], le="0.5")
        )
        assert latency(metrics)["p50_s"].isna().all()
