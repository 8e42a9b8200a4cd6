from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.metrics.onset import Episode, episodes

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Spans = list[tuple[float, float]]


def bins(calls: list[float], failed: list[float], width: timedelta = MINUTE) -> pd.DataFrame:
    times = [START + index * width for index in range(len(calls))]
    return pd.DataFrame({"timestamp": times, "calls": calls, "failed": failed})


def world(
    rng: np.random.Generator,
    *,
    size: int = 120,
    calls: float = 30,
    noise: float = 0.02,
    share: float = 0.0,
    spans: Spans = (),  # type: ignore[assignment]
    retries: int = 1,
) -> pd.DataFrame:
    """Counts per minute: `noise` failing (each `retries` times), but `share` within `spans` [minutes]."""
    index = np.arange(size)
    inside = sum(
        (np.clip(np.minimum(end, index + 1) - np.maximum(start, index), 0, 1) for start, end in spans),
        np.zeros(size),
    )
    total = rng.poisson(calls, size)
    hit = rng.binomial(total, inside)
    failed = rng.binomial(hit, share) + np.minimum(
        rng.binomial(total - hit, noise / retries) * retries, total - hit
    )
    return bins([float(n) for n in total], [float(k) for k in failed])


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def holds(moments: tuple[datetime, datetime] | None, minutes: float) -> bool:
    return moments is not None and moments[0] <= at(minutes) <= moments[1]


def first_failure(frame: pd.DataFrame, minutes: float, backwards: bool = False) -> float:
    """Middle of the first bin with a failure at or after a moment (or before it) [minutes]."""
    index = frame.index[frame["failed"] > 0]
    whole = int(minutes)
    return float(next(each for each in index if (each <= whole if backwards else each >= whole))) + 0.5


def only(found: list[Episode]) -> Episode:
    assert len(found) == 1
    return found[0]


class TestOfTwoFaults:
    """A seldom-called endpoint fails first, then a busy one."""

    def frame(self, seldom: list[float], before: list[float]) -> pd.DataFrame:
        """Failures among the ten calls to the one; the other fails from minute 40 on."""
        lists = bins([1.0] * 10, before + seldom, 6 * MINUTE).assign(endpoint="/api/lists")
        lists["kind"] = np.where(lists["failed"] > 0, "invalid", None)
        events = bins([10.0] * 60, [0.0] * 60).assign(endpoint="/api/events", kind=None)
        bad = bins([8.0] * 60, [8.0] * 60).iloc[40:].assign(endpoint="/api/events", kind="forbidden")
        return pd.concat([lists, events, bad])

    def test_the_first_is_the_onset(self):
        found = only(episodes(self.frame([0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0] * 3), width_s=60))
        assert found.onset == (at(19), at(25))

    def test_a_failure_that_is_usual_elsewhere_is_not(self):
        noise = bins([1.0] * 4, [1.0] * 4, 9 * MINUTE).assign(endpoint="/api/events", kind="server")
        frame = self.frame([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.0] * 3)
        frame["kind"] = np.where(frame["failed"] > 0, "server", None)
        assert only(episodes(pd.concat([frame, noise]), width_s=60)).onset == (at(40), at(41))

    def test_noise_of_a_third_kind_is_no_part_of_either(self):
        seldom = bins([1.0] * 20, [0.0] * 4 + [1.0] * 16, 3 * MINUTE).assign(endpoint="/api/profiles")
        seldom["kind"] = np.where(seldom["failed"] > 0, "invalid", None)
        noise = bins([2.0] * 5, [2.0] * 5, 11 * MINUTE).assign(endpoint="/api/events", kind="server")
        frame = pd.concat([self.frame([0.0] * 7, [0.0] * 3), seldom, noise])
        assert only(episodes(frame, width_s=60)).onset == (at(10), at(13))

    def test_a_kind_of_which_none_saw_a_beginning_counts_since_the_first_that_was_seen(self):
        """Single errors before are noise, though they are more frequent while others are throttled."""
        every = bins([1.0] * 4, [0.0] * 4, 9 * MINUTE).assign(endpoint="/api/lists", kind=None)
        throttled = bins([1.0] * 60, [1.0] * 60).iloc[40:].assign(endpoint="/api/lists", kind="throttled")
        errors = (
            bins([1.0] * 60, [1.0] * 60).iloc[[12, 41, 47, 52]].assign(endpoint="/api/lists", kind="server")
        )
        well = bins([2.0] * 60, [0.0] * 60).assign(endpoint="/api/events", kind=None)
        found = only(episodes(pd.concat([every, throttled, errors, well]), width_s=60))
        assert found.concerns["kind"] == ("server", "throttled")
        assert found.onset is not None
        assert at(28) <= found.onset[0] <= at(40) <= found.onset[1] <= at(42)

    def test_what_failed_so_before_the_second_began_is_noise(self):
        seldom = bins([1.0] * 60, [0.0] * 10 + [1.0] * 50).assign(endpoint="/api/lists")
        seldom["kind"] = np.where(seldom["failed"] > 0, "forbidden", None)
        well = bins([8.0] * 30, [0.0] * 30).assign(endpoint="/api/events", kind=None)
        bad = bins([8.0] * 60, [8.0] * 60).iloc[30:].assign(endpoint="/api/events", kind="server")
        noise = bins([2.0] * 2, [2.0] * 2).assign(endpoint="/api/segments", kind="server")
        frame = pd.concat([seldom, well, bad, noise])
        assert only(episodes(frame, width_s=60)).onset == (at(10), at(11))

    def test_a_failure_that_was_usual_there_is_not(self):
        found = only(episodes(self.frame([0, 0, 1.0, 0, 0, 1.0, 0], [1.0, 0.0, 0.0]), width_s=60))
        assert found.onset is not None
        assert found.onset[0] >= at(39)


class TestBeforeTheBins:
    """What counters had come to when the bins begin."""

    def past(self, calls: float, failed: float, **labels: str) -> pd.DataFrame:
        return bins([calls], [failed]).assign(**labels)

    def test_calls_of_which_none_failed_place_the_beginning_at_the_first_failing_bin(self):
        frame = bins([1.0] * 30, [1.0] * 30).iloc[2:]
        found = only(episodes(frame, before=self.past(40, 0)))
        assert found.onset == (at(0), at(3))
        assert found.proven

    def test_failures_are_no_proof_that_it_had_not_begun(self):
        found = only(episodes(bins([1.0] * 30, [1.0] * 30), before=self.past(40, 4)))
        assert found.onset is None
        assert not found.proven

    def test_one_failure_in_forty_is_noise_and_hides_no_beginning(self):
        found = only(episodes(bins([1.0] * 30, [1.0] * 30).iloc[2:], before=self.past(40, 1)))
        assert found.onset == (at(0), at(3))
        assert found.proven

    def test_noise_in_the_first_bin_does_not_widen_a_beginning_that_is_seen_later(self):
        frame = bins([150.0] * 60, [1.0] + [0.0, 1.0] * 15 + [60.0] * 29)
        found = only(episodes(frame, before=self.past(20_000, 40)))
        assert found.onset == only(episodes(frame)).onset
        assert found.onset == (at(30), at(32))

    @pytest.mark.parametrize(("calls", "proven"), [(2, False), (10, False), (40, True)])
    def test_fewer_calls_than_go_well_by_chance_prove_nothing(self, calls: float, proven: bool):
        found = only(episodes(bins([1.0] * 60, [1.0, 0.0, 0.0, 0.0, 0.0] * 12), before=self.past(calls, 0)))
        assert found.proven == proven
        assert (found.onset is not None) == proven

    def test_no_calls_prove_nothing(self):
        found = only(episodes(bins([1.0] * 30, [1.0] * 30), before=self.past(0, 0)))
        assert found.onset is None

    def test_an_endpoint_that_had_failed_and_goes_on_was_under_way(self):
        well = bins([10.0] * 10, [0.0] * 10).assign(endpoint="/api/events")
        bad = bins([10.0] * 60, [8.0] * 60).iloc[10:].assign(endpoint="/api/lists")
        also = bins([10.0] * 60, [8.0] * 60).iloc[20:].assign(endpoint="/api/events")
        frame = pd.concat([well, bad, also])
        assert only(episodes(frame)).onset is not None
        past = pd.concat([self.past(40, 0, endpoint="/api/events"), self.past(9, 4, endpoint="/api/lists")])
        assert only(episodes(frame, before=past)).onset is None

    def test_a_kind_that_had_failed_and_begins_late_only_because_others_were_well_was_under_way(self):
        """An endpoint that is called every ten minutes fails, as it did; noise of another kind goes on."""
        well = bins([6.0] * 180, [0.0] * 180).assign(endpoint="/api/events", kind=None)
        noise = bins([1.0] * 20, [1.0] * 20, 9 * MINUTE).assign(endpoint="/api/campaigns", kind="server")
        bad = bins([24.0] * 17, [24.0] * 17, 10 * MINUTE).assign(endpoint="/api/campaigns", kind="throttled")
        bad["timestamp"] += 9 * MINUTE
        noise["timestamp"] += 10 * MINUTE
        frame = pd.concat([well, noise, bad])
        past = [
            self.past(200, 0, endpoint="/api/events", kind=None),
            self.past(8, 0, endpoint="/api/campaigns", kind=None),
            self.past(11, 11, endpoint="/api/campaigns", kind="throttled"),
        ]
        assert only(episodes(frame, before=pd.concat(past), width_s=60)).onset is None

    def test_two_failures_of_an_endpoint_may_be_chance(self):
        well = bins([10.0] * 10, [0.0] * 10).assign(endpoint="/api/events")
        bad = bins([10.0] * 60, [8.0] * 60).iloc[10:].assign(endpoint="/api/lists")
        frame = pd.concat([well, bad])
        past = pd.concat([self.past(40, 0, endpoint="/api/events"), self.past(9, 2, endpoint="/api/lists")])
        assert only(episodes(frame, before=past)).onset is not None

    def test_the_past_of_an_endpoint_that_fails_throughout_counts_without_that_of_others(self):
        well = bins([10.0] * 30, [0.0] * 30).assign(endpoint="/api/events")
        bad = bins([5.0] * 30, [5.0] * 30).assign(endpoint="/api/lists")
        frame = pd.concat([well, bad])
        assert only(episodes(frame)).onset is None
        past = [self.past(400, 3, endpoint="/api/events"), self.past(40, 0, endpoint="/api/lists")]
        assert only(episodes(frame, before=pd.concat(past))).onset == (at(0), at(1))

    def test_failures_that_successes_followed_do_not_make_it_under_way(self):
        frame = bins([10.0] * 60, [0.0] * 20 + [8.0] * 40)
        assert episodes(frame, before=self.past(40, 9)) == episodes(frame)


class TestAnEndpointThatFailsFromItsFirstCall:
    def frame(self, first: int, every: int, host: str = "web-1") -> pd.DataFrame:
        """Four of five calls to it fail, the first of them among these."""
        well = [bins([2.0] * 90, [0.0] * 90).assign(endpoint="/api/events", host=f"web-{n}") for n in (1, 2)]
        number = (90 - first) // every
        failed = [4.0, 4.0, 4.0, 4.0, 0.0] * 90
        bad = bins([4.0] * number, failed[:number], every * MINUTE).assign(endpoint="/api/lists", host=host)
        bad["timestamp"] += first * MINUTE
        bad["kind"] = np.where(bad["failed"] > 0, "forbidden", None)
        return pd.concat([*well, bad])

    def test_begins_with_it_after_a_silence_that_never_comes_again(self):
        assert only(episodes(self.frame(30, 1), width_s=60)).onset == (at(30), at(31))

    def test_may_have_failed_before_where_it_is_called_seldom(self):
        assert only(episodes(self.frame(8, 5), width_s=60)).onset is None

    def test_may_have_failed_before_where_its_host_had_not_been_heard(self):
        assert only(episodes(self.frame(30, 1, host="cron-1"), width_s=60)).onset is None


class TestAnIncident:
    def test_its_beginning_and_end_are_placed_to_the_bin_that_holds_them(self):
        calls = [30.0] * 60
        failed = [0.0] * 20 + [12.0] + [30.0] * 19 + [6.0] + [0.0] * 19
        found = only(episodes(bins(calls, failed)))
        assert found.onset == (at(20), at(21))
        assert found.recovered == (at(40), at(41))
        assert found.seen == (at(20), at(41))
        assert (found.calls, found.failed) == (630, 588)

    def test_a_change_between_two_bins_is_told_by_the_first_failing_call(self):
        found = only(episodes(bins([30.0] * 60, [0.0] * 20 + [30.0] * 40)))
        assert found.onset == (at(20), at(21))
        assert found.recovered is None

    def test_a_fault_of_one_endpoint_in_ten_is_placed_on_its_own_calls(self):
        rows = [
            (minute, f"/api/{name}", 3.0, 3.0 if name == 7 and minute >= 40 else 0.0)
            for minute in range(90)
            for name in range(10)
        ]
        frame = pd.DataFrame(rows, columns=["minute", "endpoint", "calls", "failed"])
        frame["timestamp"] = [at(minute) for minute in frame["minute"]]
        found = only(episodes(frame))
        assert found.onset == (at(40), at(41))
        assert (found.calls, found.failed) == (150, 150)

    def test_failures_that_come_and_go_within_minutes_are_one_episode(self):
        failed = [0.0] * 30 + [30.0, 30.0, 0.0, 0.0] * 5 + [0.0] * 30
        found = only(episodes(bins([30.0] * 80, failed)))
        assert found.onset == (at(30), at(31))
        assert found.recovered == (at(47), at(48))

    @pytest.mark.parametrize("seed", [0, 1, 21, 30, 35])
    def test_a_node_that_is_cut_off_and_idle_for_nine_minutes_was_not_well_between(self, seed: int):
        """One of four, that lines do not tell apart; each failing call is tried twice."""
        rng = np.random.default_rng(seed)
        seconds = np.sort(rng.choice(3600, 700, replace=False))
        bad = (rng.integers(0, 4, 700) == 0) & (seconds >= 1500) & ~((seconds > 2100) & (seconds < 2650))
        tries = np.repeat(seconds, 1 + bad)
        rows = pd.DataFrame({"s": tries, "bad": np.repeat(bad, 1 + bad)})
        rows["s"] += rows.groupby("s").cumcount()
        noise = ~rows["bad"] & (rng.random(len(rows)) < 0.01)
        frame = pd.DataFrame({
            "timestamp": START + pd.to_timedelta(rows["s"], unit="s"), "calls": 1.0,
            "failed": (rows["bad"] | noise).astype(float),
            "endpoint": rng.choice(["/api/events", "/api/profiles"], len(rows)),
            "kind": np.where(rows["bad"], "unreachable", np.where(noise, "server", None)),
        })  # fmt: skip
        found = only(episodes(frame, width_s=1))
        assert holds(found.onset, seconds[bad].min() / 60)

    def test_few_failures_in_the_bin_of_the_change_leave_it_as_narrow(self):
        failed = [0.0] * 100 + [3.0] + [15.0] * 18 + [18.0] * 150
        onset = only(episodes(bins([30.0] * 269, failed))).onset
        recovered = only(episodes(bins([30.0] * 269, failed[::-1]))).recovered
        assert onset == (at(100), at(101))
        assert recovered == (at(168), at(169))

    def test_single_failures_just_before_belong_to_it(self):
        calls, failed = [1.0] * 240, [0.0] * 118 + [1.0] + [0.0] * 4 + [1.0] * 117
        found = only(episodes(bins(calls, failed, timedelta(seconds=10))))
        assert found.onset is not None
        assert (
            found.onset[0]
            <= START + timedelta(seconds=1180)
            < START + timedelta(seconds=1230)
            <= found.onset[1]
        )

    def test_a_failure_just_before_may_be_chance_and_the_interval_holds_both(self):
        failed = [0.0] * 58 + [1.0, 0.0] + [1.0, 1.0, 0.0] * 20
        onset = only(episodes(bins([1.0] * 120, failed))).onset
        assert holds(onset, 58.5)
        assert holds(onset, 60.5)

    def test_one_that_still_goes_on_has_not_recovered(self):
        rng = np.random.default_rng(1)
        found = only(episodes(world(rng, share=0.5, spans=[(80.5, 200)])))
        assert holds(found.onset, 80.5)
        assert found.recovered is None

    def test_one_that_was_under_way_has_no_observed_beginning(self):
        rng = np.random.default_rng(2)
        found = only(episodes(world(rng, share=0.5, spans=[(-10, 40.3)])))
        assert found.onset is None
        assert found.seen[0] == START
        assert holds(found.recovered, 40.3)

    def test_one_success_before_tells_that_it_was_not_under_way(self):
        assert only(episodes(bins([1.0] * 31, [0.0] + [1.0] * 30))).onset == (at(1), at(2))

    def test_a_single_failure_long_before_is_no_beginning(self):
        failed = [0.0, 0.0, 1.0] + [0.0] * 40 + [1.0, 0.0] * 6
        assert holds(only(episodes(bins([1.0] * 55, failed))).onset, 43.5)

    def test_one_that_fills_the_window_has_neither_beginning_nor_end(self):
        found = only(episodes(bins([30.0] * 60, [30.0] * 60)))
        assert found.onset is None
        assert found.recovered is None

    def test_two_in_one_window_are_two(self):
        rng = np.random.default_rng(3)
        one, two = episodes(world(rng, share=0.6, spans=[(20.5, 40.5), (80.5, 95.5)]))
        assert holds(one.onset, 20.5)
        assert holds(one.recovered, 40.5)
        assert holds(two.onset, 80.5)
        assert holds(two.recovered, 95.5)

    def test_one_that_gets_worse_is_one(self):
        calls = [50.0] * 90
        failed = [1.0] * 30 + [10.0] * 30 + [50.0] * 30
        assert holds(only(episodes(bins(calls, failed))).onset, 30)

    def test_a_call_a_minute_is_enough_if_all_fail(self):
        calls = [1.0, 0.0] * 60
        failed = [0.0] * 80 + [1.0, 0.0] * 20
        found = only(episodes(bins(calls, failed)))
        assert holds(found.onset, 80.5)

    @pytest.mark.parametrize("calls", [15, 60, 300])
    def test_what_gets_worse_for_half_an_hour_begins_with_its_first_failure_where_none_failed_before(
        self, calls: float
    ):
        rng = np.random.default_rng(5)
        share = np.clip((np.arange(480) - 160) / 120, 0.0, 1.0) * 0.8
        for _ in range(20):
            total = rng.poisson(calls, 480)
            frame = bins([*total], [*rng.binomial(total, share)], timedelta(seconds=15))
            found = episodes(frame, width_s=15)
            assert found[0].onset is not None
            assert holds(found[0].onset, (first_failure(frame, 0) - 0.5) / 4)

    def test_a_beginning_within_missing_bins_is_as_wide_as_they_are(self):
        frame = bins([30.0] * 60, [0.0] * 30 + [30.0] * 30)
        frame = frame.drop(index=range(25, 35))
        found = only(episodes(frame))
        assert found.onset is not None
        assert found.onset[0] <= at(25)
        assert found.onset[1] >= at(35)

    def test_bins_without_calls_or_counts_are_missing_bins(self):
        frame = bins([30.0] * 60, [0.0] * 30 + [30.0] * 30)
        absent = episodes(frame.drop(index=range(25, 35)))
        assert (
            episodes(frame.assign(calls=frame["calls"].where(~frame.index.isin(range(25, 35)), 0.0)))
            == absent
        )
        assert (
            episodes(frame.assign(failed=frame["failed"].where(~frame.index.isin(range(25, 35))))) == absent
        )

    def test_a_scrape_interval_moves_what_can_be_late(self):
        frame = bins([30.0] * 60, [0.0] * 20 + [12.0] + [30.0] * 19 + [6.0] + [0.0] * 19)
        found = only(episodes(frame, lag_s=15))
        assert found.onset == (at(19.75), at(21))
        assert found.recovered == (at(39.75), at(41))

    def test_the_order_of_the_rows_does_not_matter(self):
        frame = world(np.random.default_rng(4), share=0.5, spans=[(50.5, 70.5)])
        assert episodes(frame.sample(frac=1, random_state=1)) == episodes(frame)

    def test_many_bins_are_cut_in_groups_and_placed_exactly(self):
        frame = world(np.random.default_rng(5), size=7000, calls=10, share=0.9, spans=[(3000.5, 4000.5)])
        found = only(episodes(frame))
        assert holds(found.onset, 3000.5)
        assert found.onset is not None
        assert found.onset[1] - found.onset[0] <= 3 * MINUTE


class TestWhatIsNotCertain:
    def test_is_a_slow_rise_and_the_interval_holds_its_first_failing_call(self):
        failed = [0.0] * 30 + [float(round(30 * minute / 20)) for minute in range(1, 21)] + [30.0] * 30
        found = only(episodes(bins([30.0] * 80, failed)))
        assert holds(found.onset, 30.5)
        assert found.recovered is None

    def test_is_no_beginning_at_the_end_of_a_night_with_hardly_a_call(self):
        rng = np.random.default_rng(7)
        calls = np.round(30 * (1 - np.cos(np.arange(288) / 288 * 2 * np.pi)) / 2)
        quiet = rng.binomial(calls.astype(int), 0.02).astype(float)
        assert episodes(bins(list(calls), list(quiet), timedelta(minutes=5))) == []

    def test_is_a_single_failure_that_may_be_the_first_of_one_endpoint(self):
        rows = [
            (second, name, 1.0, 1.0 if second >= 3000 or (name == "/api/lists" and second == 2860) else 0.0)
            for second in range(0, 6000, 20)
            for name in ("/api/events", "/api/lists")
        ]
        frame = pd.DataFrame(rows, columns=["second", "endpoint", "calls", "failed"])
        frame["timestamp"] = [START + timedelta(seconds=second) for second in frame["second"]]
        found = only(episodes(frame, width_s=1.0))
        assert holds(found.onset, 50)

    def test_is_an_end_after_no_more_time_than_it_paused_before(self):
        on_and_off = [30.0, 30.0, 0.0, 0.0, 0.0] * 6
        assert only(episodes(bins([30.0] * 60, [0.0] * 30 + on_and_off))).recovered is None
        over = only(episodes(bins([30.0] * 80, [0.0] * 30 + on_and_off + [0.0] * 20)))
        assert over.recovered is not None


class TestNoIncident:
    def test_no_bins_and_no_failures_give_nothing(self):
        assert episodes(bins([], [])) == []
        assert episodes(bins([0.0] * 9, [0.0] * 9)) == []
        assert episodes(bins([np.nan] * 9, [9.0] * 9)) == []
        assert episodes(bins([30.0] * 60, [0.0] * 60)) == []

    def test_a_single_bin_is_seen_but_not_placed(self):
        found = only(episodes(bins([30.0], [30.0])))
        assert found.onset is None
        assert found.recovered is None

    @pytest.mark.parametrize("failed", [1.0, 2.0, 3.0, 4.0])
    def test_fewer_than_five_failures_are_noise(self, failed: float):
        assert episodes(bins([1.0] * 60, [0.0] * 40 + [1.0] * int(failed) + [0.0] * (20 - int(failed)))) == []

    def test_a_rise_that_stays_under_five_percent_is_noise(self):
        assert episodes(bins([1000.0] * 60, [1.0] * 30 + [40.0] * 30)) == []

    def test_three_failures_of_forty_calls_are_not_enough_to_tell(self):
        assert episodes(bins([4.0] * 10, [0.0] * 7 + [1.0] * 3)) == []

    @pytest.mark.parametrize("calls", [1, 3, 30, 300])
    @pytest.mark.parametrize(("noise", "retries"), [(0.01, 1), (0.03, 1), (0.03, 2)])
    def test_healthy_noise_is_hardly_ever_an_incident(self, calls: float, noise: float, retries: int):
        rng = np.random.default_rng(int(calls * 100 + noise * 1000 + retries))
        tries = 100
        false = sum(
            bool(episodes(world(rng, calls=calls, noise=noise, retries=retries))) for _ in range(tries)
        )
        print(f"false: {false} of {tries} at {calls} calls a minute, {noise:.0%} noise, {retries} tries")
        assert false <= 0.01 * tries


@pytest.mark.parametrize(
    ("calls", "share", "retries", "least", "widest"),
    [
        (300, 1.0, 1, 0.95, 2),
        (30, 1.0, 1, 0.95, 2),
        (30, 0.3, 1, 0.95, 3),
        (30, 0.5, 2, 0.92, 3),
        (3, 0.6, 1, 0.9, 5),
    ],
)
def test_the_interval_holds_the_truth(calls: float, share: float, retries: int, least: float, widest: float):
    rng = np.random.default_rng(11)
    hits, widths, tries = {"onset": 0, "recovered": 0}, [], 100
    for _ in range(tries):
        start = rng.uniform(40, 60)
        end = start + rng.uniform(20, 50)
        frame = world(rng, calls=calls, share=share, spans=[(start, end)], retries=retries)
        found = episodes(frame)
        if len(found) == 1 and (onset := found[0].onset):
            hits["onset"] += holds(onset, start) or holds(onset, first_failure(frame, start))
            last = first_failure(frame.iloc[::-1], end, backwards=True)
            hits["recovered"] += holds(found[0].recovered, end) or holds(found[0].recovered, last)
            widths.append((onset[1] - onset[0]) / MINUTE)
    print(
        f"{calls} calls a minute, {share:.0%} failing: {hits} of {tries}, median width {median(widths):g} bins"
    )
    assert hits["onset"] >= least * tries
    assert hits["recovered"] >= least * tries
    assert median(widths) <= widest


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-1, 1e6) | st.just(np.nan) | st.just(np.inf), st.floats(-1, 1e6) | st.just(np.nan)
        ),
        max_size=40,
    )
)
def test_whatever_the_counts_the_episodes_are_in_order_and_within_the_bins(counts: list[tuple[float, float]]):
    frame = bins([n for n, _ in counts], [k for _, k in counts])
    last = START
    for episode in episodes(frame):
        assert last <= episode.seen[0] <= episode.seen[1] <= START + len(counts) * MINUTE
        assert 5 <= episode.failed <= episode.calls
        for moments in (episode.onset, episode.recovered):
            assert moments is None or START <= moments[0] <= moments[1] <= START + len(counts) * MINUTE
        if episode.onset and episode.recovered:
            assert episode.onset[0] <= episode.recovered[1]
        last = episode.seen[1]
