from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.counted import tallies
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.times import clocks_differ, times_of
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, METRICS, NOTES
from klaviyo_nb.metrics.times import Estimate, Moment, combined
from klaviyo_nb.window import Window, whole_seconds

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def by(source: str, earliest: float | None, latest: float | None) -> Estimate:
    first, last = (None if each is None else at(each) for each in (earliest, latest))
    return Estimate(source, first, last, "a change point")  # type: ignore[arg-type]


def told(moment: Moment | None) -> tuple[datetime, datetime]:
    assert moment is not None
    return moment.earliest, moment.latest


class TestEstimates:
    def test_that_agree_leave_the_first_as_it_is_and_keep_all(self):
        both = (by("logs", 2, 3), by("metrics", 1, 4))
        found = combined(both)
        assert told(found) == (at(2), at(3))
        assert found is not None
        assert found.disagreement is None
        assert found.estimates == both

    def test_that_exclude_each_other_give_all_the_time_between_them_and_a_sentence(self):
        found = combined([by("logs", 2, 3), by("metrics", 7, 8)])
        assert told(found) == (at(2), at(8))
        assert found is not None
        assert found.disagreement == (
            "the estimates exclude each other: logs 2026-11-23T12:02:00Z to 2026-11-23T12:03:00Z;"
            " metrics 2026-11-23T12:07:00Z to 2026-11-23T12:08:00Z"
        )

    def test_that_bound_one_side_only_are_kept_and_place_nothing(self):
        assert combined([by("probes", None, 5)]) is None
        found = combined([by("metrics", 1, 4), by("probes", None, 5)])
        assert told(found) == (at(1), at(4))
        assert found is not None
        assert len(found.estimates) == 2

    def test_by_clocks_that_differ_give_all_the_time_of_both_and_no_disagreement(self):
        found = combined([by("logs", 2, 3), by("metrics", 1, 4)], spanning=True)
        assert told(found) == (at(1), at(4))
        assert found is not None
        assert found.disagreement is None

    def test_of_nothing_are_nothing(self):
        assert combined([]) is None


STEP = timedelta(seconds=15)


def lines(ahead_s: float = 0.0, hosts: int = 1) -> pd.DataFrame:
    """Two calls a minute, as a log tells them; the clock of one host in so many is ahead."""
    seconds = [30.0 * number + (ahead_s if number % hosts == 0 else 0.0) for number in range(120)]
    times = pd.to_datetime([NOON + timedelta(seconds=each) for each in seconds])
    kinds = ["server" if number >= 60 else None for number in range(120)]
    return pd.DataFrame({"timestamp": times, "endpoint": "/api/events", "kind": kinds, "calls": 1.0})


def counts(lost: int = 0) -> pd.DataFrame:
    """The same calls in steps of their counters, but for some that were not counted."""
    frame = lines().iloc[lost:].copy()
    frame["timestamp"] = frame["timestamp"].dt.floor("15s") - timedelta(seconds=7)
    return frame


class TestClocks:
    @pytest.mark.parametrize("ahead_s", [40.0, -40.0])
    def test_ahead_or_behind_show_beside_the_metrics(self, ahead_s: float):
        assert clocks_differ(lines(ahead_s), counts(), STEP)

    def test_of_one_host_in_five_show_as_well(self):
        assert clocks_differ(lines(100.0, hosts=5), counts(), STEP)

    def test_of_one_host_in_twenty_show_as_well_if_it_is_just_more_than_a_step_off(self):
        assert clocks_differ(lines(25.0, hosts=20), counts(), STEP)

    def test_that_are_right_differ_by_no_more_than_a_step(self):
        assert not clocks_differ(lines(), counts(), STEP)
        assert not clocks_differ(lines(6.0), counts(), STEP)

    def test_are_not_judged_by_other_calls_than_the_log_has(self):
        assert not clocks_differ(lines(40.0), counts().assign(endpoint="/api/profiles"), STEP)
        one_series_fits = clocks_differ(lines(40.0), counts(lost=1), STEP)  # the failing calls
        assert one_series_fits
        assert not clocks_differ(lines(40.0).iloc[1:-1], counts(), STEP)

    def test_of_no_calls_are_not_judged(self):
        assert not clocks_differ(lines().head(0), counts().head(0), STEP)


class TestEvidence:
    def test_without_calls_has_no_times(self):
        found = times_of(replace(samples.rate_limited(), calls=None, metrics=None))
        assert found.onset is None
        assert not found.failed
        assert not found.ongoing

    def test_gives_the_verdict_the_same_interval_in_whole_seconds(self):
        evidence = samples.rate_limited()
        onset = decide(evidence).onset
        assert onset is not None
        assert whole_seconds(*told(times_of(evidence).onset)) == (onset.earliest, onset.latest)

    def test_under_way_from_the_first_sample_of_the_metrics_claims_no_beginning(self):
        evidence = samples.rate_limited()
        assert evidence.metrics is not None
        later = evidence.metrics["timestamp"] >= evidence.window.start + timedelta(minutes=90)
        found = times_of(replace(evidence, metrics=evidence.metrics[later].reset_index(drop=True)))
        assert found.ongoing
        assert found.onset is None

    def test_with_a_note_of_the_onset_has_the_persons_time_and_keeps_the_derived_interval(self):
        evidence = samples.rate_limited()
        derived = told(times_of(evidence).onset)
        when = evidence.window.start + timedelta(minutes=1)
        row = {
            "written_at": evidence.collected_at,
            "at": when,
            "kind": "onset",
            "who": "Ann",
            "text": "a customer called",
        }
        noted = replace(evidence, notes=NOTES.frame(pd.DataFrame([row])))
        found = times_of(noted).onset
        assert told(found) == (when, when)
        assert found is not None
        assert found.derived == derived
        assert found.written is not None
        assert (found.written.who, found.written.why) == ("Ann", "a customer called")
        assert decide(noted).onset is not None
        assert decide(noted).onset.earliest == when  # type: ignore[union-attr]


def test_calls_that_failed_before_the_window_make_it_under_way() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    start = evidence.window.start + timedelta(minutes=100)
    late = replace(evidence, window=Window(start, evidence.window.end), metrics=None)
    calls = evidence.calls
    cut = replace(late, calls=calls[calls["timestamp"] >= start], earlier=calls[calls["timestamp"] < start])
    found = times_of(cut)
    assert found.ongoing
    assert found.onset is None


def test_calls_that_succeeded_before_the_window_place_the_beginning_at_its_first_call() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    begun = times_of(replace(evidence, metrics=None)).onset
    assert begun is not None
    start = begun.latest - timedelta(seconds=6)  # so far beyond the line's second it tells
    calls = evidence.calls
    bare = replace(evidence, metrics=None, window=Window(start, evidence.window.end))
    calls, earlier = calls[calls["timestamp"] >= start], calls[calls["timestamp"] < start]
    assert times_of(replace(bare, calls=calls)).onset is None
    found = times_of(replace(bare, calls=calls, earlier=earlier)).onset
    assert told(found) == told(begun)


def few(statuses: list[int]) -> Evidence:
    """Calls that are minutes apart, as many as there are statuses; our own calls are refused with 401."""
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    calls = evidence.calls.iloc[:: 3600 // len(statuses)].head(len(statuses)).reset_index(drop=True)
    codes = pd.Series(statuses, dtype="Int64")
    refused = tuple(
        row | {"status_code": 401} if row["probe"] == "auth" else row for row in evidence.probe_rows
    )
    return replace(
        evidence, calls=calls.assign(status_code=codes, error_code=None), metrics=None, probe_rows=refused
    )


def test_two_calls_that_end_as_our_own_do_tell_when_it_began_if_none_was_well_since() -> None:
    evidence = few([200] * 8 + [401] * 2)
    assert evidence.calls is not None
    found = times_of(evidence)
    assert found.ongoing
    first = evidence.calls["timestamp"].iloc[8].to_pydatetime()
    assert found.onset is not None
    assert found.onset.earliest <= first <= found.onset.latest
    assert found.onset.latest - found.onset.earliest < timedelta(seconds=30)


def test_that_calls_were_well_before_the_window_lets_the_first_two_of_it_tell_when_it_began() -> None:
    evidence = few([200] * 8 + [401] * 2)
    assert evidence.calls is not None
    start = evidence.calls["timestamp"].iloc[8].to_pydatetime() - timedelta(seconds=1)
    late = replace(evidence, window=Window(start, evidence.window.end), calls=evidence.calls[8:])
    assert times_of(late).onset is None
    assert told(times_of(replace(late, earlier=evidence.calls[:8])).onset) == told(times_of(evidence).onset)


@pytest.mark.parametrize("statuses", [[200] * 8 + [401, 401, 200], [401] * 2, [200] * 8 + [500] * 2])
def test_they_tell_nothing_if_one_was_well_since_or_none_before_or_they_ended_otherwise(
    statuses: list[int],
) -> None:
    found = times_of(few(statuses))
    assert found.onset is None
    assert not found.failed


def test_the_interval_is_of_the_first_failing_call_and_the_call_before_is_told() -> None:
    evidence = few([200] * 100 + [500] * 20)
    assert evidence.calls is not None
    found = times_of(evidence).onset
    first = evidence.calls["timestamp"].iloc[100].to_pydatetime()
    assert found is not None
    assert found.earliest <= first <= found.latest
    assert "the call before was well, at 2026-" in found.estimates[0].because


def spanned(evidence: Evidence) -> timedelta:
    """How wide the interval of its onset is."""
    onset = times_of(evidence).onset
    assert onset is not None
    return onset.latest - onset.earliest


@pytest.mark.parametrize(("took_s", "before_s"), [(0.0, 0.0), (2.0, 2.0), (None, 15.0), (-1.0, 0.0)])
def test_it_begins_as_long_before_its_first_line_as_that_tells_that_its_call_took(
    took_s: float | None, before_s: float
) -> None:
    evidence = samples.rate_limited(calls_per_minute=4)
    assert evidence.calls is not None
    first = evidence.calls.loc[evidence.calls["status_code"] == 429, "timestamp"].min().floor("s")
    found = times_of(replace(evidence, calls=evidence.calls.assign(duration_s=took_s))).onset
    assert found is not None
    assert first - found.earliest == timedelta(seconds=before_s + 4)


@pytest.mark.parametrize(
    ("host", "metrics", "doubted"),
    [("web-1", False, True), ("web-1", True, False), ("web-1|web-2", False, False)],
    ids=["one clock", "one clock and metrics", "two clocks that agree"],
)
def test_a_clock_that_nothing_confirms_makes_it_wide_and_is_named(
    host: str, metrics: bool, doubted: bool
) -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    calls = evidence.calls[evidence.calls["host"].astype("str").str.fullmatch(host)]
    known = evidence.metrics if metrics else None
    later = evidence.collected_at + timedelta(hours=1)  # how old its newest line was nobody knows by then
    onset = times_of(replace(evidence, calls=calls, metrics=known, collected_at=later)).onset
    assert onset is not None
    assert (onset.latest - onset.earliest > timedelta(minutes=1)) == doubted
    assert ("nothing confirms the clock of web-1, which" in onset.estimates[0].because) == doubted


def logged(statuses: list[int], every_s: float = 20.0, ago_s: float = 0.0, before: int = 0) -> Evidence:
    """Calls of one endpoint; the newest line is so old when it is read, and so many lie before the window."""
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    newest = evidence.collected_at - timedelta(seconds=ago_s)
    ages = [timedelta(seconds=every_s * number) for number in reversed(range(len(statuses)))]
    calls = evidence.calls.iloc[[0] * len(statuses)].reset_index(drop=True)
    calls = calls.assign(
        timestamp=pd.to_datetime([newest - age for age in ages]),
        status_code=pd.Series(statuses, dtype="Int64"),
        error_code=None,
    )
    start = calls["timestamp"].iloc[before].to_pydatetime() - timedelta(seconds=1)
    window = Window(start, evidence.window.end)
    return replace(evidence, window=window, calls=calls[before:], earlier=calls[:before], metrics=None)


def test_a_failure_before_the_window_that_is_noise_hides_no_beginning_within_it() -> None:
    statuses = [200] * 40 + [500] + [200] * 8 + [500, 200, 500, 500] * 10
    found = times_of(logged(statuses, before=43)).onset
    first = logged(statuses).calls["timestamp"].iloc[49].to_pydatetime()  # type: ignore[index]
    assert found is not None
    assert found.earliest <= first <= found.latest


def test_a_clock_that_may_be_behind_makes_the_interval_later_also_where_not_all_calls_fail() -> None:
    statuses = [200] * 60 + [500, 200, 500, 500, 200] * 20
    right = times_of(logged(statuses, every_s=2.0)).onset
    behind = times_of(logged(statuses, every_s=2.0, ago_s=100.0)).onset
    assert right is not None
    assert behind is not None
    assert right.latest - behind.latest <= timedelta(0)
    assert behind.latest - right.latest < timedelta(seconds=10)


def test_a_host_that_calls_seldom_is_not_behind_for_being_silent() -> None:
    statuses = [200] * 60 + [500, 200, 500, 500, 200] * 20
    right = times_of(logged(statuses, every_s=80.0)).onset
    silent = times_of(logged(statuses, every_s=80.0, ago_s=100.0)).onset
    assert right is not None
    assert silent is not None
    assert silent.latest - silent.earliest == right.latest - right.earliest


def test_the_age_of_the_newest_line_confirms_a_clock_unless_the_window_ended_before_it_was_read() -> None:
    at_once = logged([200] * 60 + [500, 200, 500, 500, 200] * 20, every_s=2.0)
    later = replace(at_once, collected_at=at_once.collected_at + timedelta(seconds=100))
    right, unknown = times_of(at_once).onset, times_of(later).onset
    assert right is not None
    assert unknown is not None
    assert right.latest - right.earliest < timedelta(seconds=30)
    assert unknown.latest - unknown.earliest > timedelta(minutes=2)
    assert "nothing confirms the clock" in unknown.estimates[0].because
    assert "nothing confirms" not in right.estimates[0].because


def test_its_end_is_bounded_by_the_second_of_its_last_line() -> None:
    evidence = logged([200] * 40 + [500] * 40 + [200] * 60)
    found = times_of(evidence).recovered
    last = evidence.calls["timestamp"].iloc[79].to_pydatetime()  # type: ignore[index]
    assert found is not None
    assert found.earliest <= last <= found.latest
    assert found.latest - last <= timedelta(seconds=5)


def test_what_ended_before_the_window_is_not_told() -> None:
    evidence = samples.rate_limited()
    assert evidence.calls is not None
    shifted = evidence.calls.assign(timestamp=evidence.calls["timestamp"] - timedelta(hours=2))
    good = evidence.calls[evidence.calls["status_code"] < 400]
    found = times_of(replace(evidence, calls=good, earlier=shifted, metrics=None))
    assert not found.failed


@pytest.mark.parametrize("logs_from", [None, 83], ids=["no logs", "logs from later on"])
def test_counters_that_had_counted_no_failure_place_the_beginning_after_their_first_sample(
    logs_from: int | None,
) -> None:
    evidence = samples.rate_limited()
    assert evidence.metrics is not None
    assert evidence.calls is not None
    begun = times_of(replace(evidence, calls=None)).onset
    start = evidence.window.start + timedelta(minutes=80)
    late = replace(evidence, window=Window(start, evidence.window.end), calls=None)
    if logs_from:  # they know of nothing but failures
        since = evidence.window.start + timedelta(minutes=logs_from)
        late = replace(late, calls=evidence.calls[evidence.calls["timestamp"] >= since])
    metrics = evidence.metrics[evidence.metrics["timestamp"] >= start].reset_index(drop=True)
    assert told(times_of(replace(late, metrics=metrics)).onset) == told(begun)


@pytest.mark.parametrize("late_s", [75, 150])
def test_counters_that_had_counted_its_first_failures_place_the_beginning_before_their_first_sample(
    late_s: float,
) -> None:
    evidence = samples.rate_limited()
    assert evidence.metrics is not None
    begun = evidence.window.start + timedelta(minutes=80)
    start = begun + timedelta(seconds=late_s)
    metrics = evidence.metrics[evidence.metrics["timestamp"] >= start].reset_index(drop=True)
    window = Window(start, evidence.window.end)
    found = times_of(replace(evidence, window=window, calls=None, metrics=metrics)).onset
    assert found is not None
    assert timedelta(0) <= begun - found.earliest <= timedelta(minutes=2)


#: When samples are taken, from noon on [s].
SECONDS = pd.Series(range(0, 7_200, 15), dtype="float64")


def sampled(*counters: tuple[str, str, str, pd.Series[float]]) -> Evidence:
    """Two hours of counters: role, endpoint, status, and what each has come to at some of `SECONDS`."""
    rows = [
        pd.DataFrame({
            "timestamp": pd.Timestamp(NOON) + pd.to_timedelta(SECONDS[value.index], unit="s"), "role": role, "name": role,
            "series": f'{{"endpoint": "{endpoint}", "status": "{status}"}}', "endpoint": endpoint, "status": status,
            "value": value,
        })
        for role, endpoint, status, value in counters
    ]  # fmt: skip
    window = Window(NOON, at(120))
    return Evidence(window, window.end, metrics=METRICS.frame(pd.concat(rows, ignore_index=True)))


def scraped(*without: tuple[float, float], code: str = "503") -> Evidence:
    """Four calls a second from noon on; two in three fail from minute 50 to 75. No samples in some minutes."""
    unseen = [SECONDS.between(60 * first, 60 * last, inclusive="left") for first, last in without]
    seen = ~pd.concat(unseen, axis=1).any(axis=1)
    bad = SECONDS.between(3_000, 4_500, inclusive="right") * 40.0
    return sampled(
        ("requests", "/api/events", "success", (60 - bad).cumsum()[seen]),
        ("requests", "/api/events", "error", bad.cumsum()[seen]),
        ("errors", "/api/events", code, bad.cumsum()[seen]),
    )


def test_a_beginning_or_an_end_while_no_series_was_sampled_may_be_of_any_moment_of_it() -> None:
    found = times_of(scraped((48, 55), (73, 77)))
    assert told(found.onset) == (at(47.5), at(55))
    assert told(found.recovered) == (at(72.5), at(77))
    narrow = times_of(scraped((30, 35)))  # such a time elsewhere changes nothing
    assert told(narrow.onset) == (at(49.75), at(50.25))
    assert told(narrow.recovered) == (at(74.5), at(75))


@pytest.mark.parametrize("before_s", [5, 20, 35])
def test_failures_between_the_first_sample_and_the_window_are_the_past_of_its_counters(
    before_s: float,
) -> None:
    """A window that begins between two scrapes: what was counted until then is neither lost nor in it."""
    begun, seen = at(50), scraped((130, 140))
    start = begun + timedelta(seconds=before_s)
    assert seen.metrics is not None
    metrics = seen.metrics[seen.metrics["timestamp"] >= begun - timedelta(seconds=15)].reset_index(drop=True)
    onset = times_of(replace(seen, window=Window(start, at(120)), metrics=metrics)).onset
    assert onset is not None
    assert onset.earliest <= begun <= onset.latest


@pytest.mark.parametrize(("counted", "held"), [(0, False), (2, True)])
def test_of_two_faults_the_first_may_have_begun_with_what_its_endpoint_had_counted_before(
    counted: float, held: bool
) -> None:
    """Every five minutes a profile is refused; from minute 50 on all events fail. The window begins in between."""
    step, failing = SECONDS // 15, (SECONDS > 3_000) * 5.0
    seen = sampled(
        ("requests", "/api/profiles", "400", (step % 20 == 10).astype(float).cumsum() + counted),
        ("requests", "/api/profiles", "200", (step % 15 == 3).cumsum() + 30.0),
        ("requests", "/api/events", "503", failing.cumsum()),
        ("requests", "/api/events", "202", (5.0 - failing).cumsum() + 50),
    )
    onset = times_of(seen).onset
    assert onset is not None
    assert onset.latest <= at(3)
    assert (onset.earliest < NOON - timedelta(minutes=5)) == held


@pytest.mark.parametrize(
    ("code", "kind"), [("503", "server"), ("5xx", "server"), ("5XX", "server"), ("4xx", "unknown")]
)
def test_a_class_of_codes_tells_what_all_of_its_codes_do(code: str, kind: str) -> None:
    counted = tallies(scraped((130, 140), code=code), Thresholds())["metrics"].frame
    assert set(counted["kind"].dropna()) == {kind}


@pytest.mark.parametrize(("lines", "told"), [(8, False), (40, True)])
def test_a_log_of_failures_alone_is_no_trouble_where_metrics_count_the_same_among_many(
    lines: int, told: bool
) -> None:
    """Of 28,800 calls the metrics saw eight fail. A log that tells of more failures saw something else."""
    times = [at(120 * number / lines + 0.5) for number in range(lines)]
    calls = pd.DataFrame(
        {"timestamp": times, "source": "app.log", "endpoint": "/api/events", "status_code": 503}
    )
    counted = sampled(
        ("requests", "/api/events", "202", (SECONDS * 0 + 60.0).cumsum()),
        ("requests", "/api/events", "503", (SECONDS % 900 == 450).cumsum() * 1.0),
    )
    seen = replace(counted, calls=CALLS.frame(calls))
    assert times_of(seen).failed == told
