from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klaviyo_nb.frames import CALLS, WEBHOOKS, as_texts
from klaviyo_nb.klaviyo.ratelimit import MARGIN
from klaviyo_nb.logs.questions.question import Records
from klaviyo_nb.logs.questions.ratelimit import QUESTION, broken, ratelimit
from klaviyo_nb.logs.questions.waiting import (
    MOST_ATTEMPTS,
    Clears,
    Pauses,
    Queue,
    clears_in_s,
    lately,
    queue_of,
)
from klaviyo_nb.logs.questions.windows import Seconds
from klaviyo_nb.window import Window
from ratelimit_worlds import START, Story, story
from samples import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from klaviyo_nb.logs.questions.question import Answer


def ask(calls: pd.DataFrame, window: Window = WINDOW) -> Answer:
    return QUESTION.ask(Records(calls, WEBHOOKS.empty()), window)


def steady(rate: float) -> Callable[[float], float]:
    return lambda _: rate


def between(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda at: high if start <= at < end else low


def of(found: Story, window_s: int) -> Any:
    rows = ratelimit(found.calls, found.window)
    return rows[rows["window_s"] == window_s].iloc[0]


def since_start(moment: pd.Timestamp) -> float:
    return (moment - pd.Timestamp(START)).total_seconds()


def every(gap_s: float, count: int, **columns: Any) -> pd.DataFrame:
    times = pd.Timestamp(WINDOW.start) + pd.to_timedelta(np.arange(count) * gap_s, unit="s")
    given = {"method": "GET", "endpoint": "/api/campaigns", "status_code": 200} | columns
    return CALLS.frame(
        pd.DataFrame(
            {"timestamp": times}
            | {name: [value] * count if np.isscalar(value) else value for name, value in given.items()}
        )
    )


@pytest.mark.parametrize("tells", [True, False], ids=["with Retry-After", "without"])
@pytest.mark.parametrize("heeds", [True, False], ids=["clients wait", "clients hammer"])
def test_the_end_of_the_minute_is_found_to_the_second(heeds: bool, tells: bool) -> None:
    for seed in range(6):
        found = story(seed, rates={"web": steady(0.8), "report": steady(3.0)}, heeds=heeds, tells=tells,
                      cut_s=900.0 + 7 * seed, until_s=930)  # fmt: skip
        assert since_start(of(found, 60)["frees_at"]) == pytest.approx(found.frees_s[60], abs=2.0), seed


def test_what_waits_is_served_about_when_it_is_said_to_be() -> None:
    off, held = [], []
    for seed in range(12):
        report = between(0.4, 4.0, 900, 1500)
        found = story(
            seed, rates={"web": steady(0.8), "report": report}, heeds=bool(seed % 2), cut_s=1700, until_s=3200
        )
        assert found.clears_s is not None
        row = of(found, 60)
        said = since_start(row["clears_at"])
        held.append(since_start(row["clears_from"]) <= found.clears_s <= since_start(row["clears_until"]))
        off.append(abs(said - found.clears_s) / (found.clears_s - found.cut_s))
    assert np.median(off) < 0.1
    assert max(off) < 0.2
    assert sum(held) >= 11


def queue(comes: float = 0, waits: int = 300, **others: Any) -> Queue:
    """Calls that wait at the end of a window of 150, refused in the ten seconds before."""
    given: dict[str, Any] = {
        "at": 110 + np.arange(waits) % 10, "attempt": np.ones(waits, np.int64), "now": 119, "comes": comes,
        "known": 60, "capacity": 150.0, "at_once": 10.0, "phase": 0, "served": np.zeros(60), "shut": True,
        "pauses": Pauses((np.array([1.0]),), np.array([0.0])),
    }  # fmt: skip
    return Queue(**given | {"served": np.full(60, 2.5)} | others)


def waiting(**given: Any) -> Clears:
    found = clears_in_s(queue(**given))
    assert found is not None
    return found


def test_what_waits_is_served_in_windows_and_is_done_soon_after_one_began() -> None:
    assert waiting().likely == pytest.approx(1 + 60 + 150 / 10, abs=3)
    assert waiting(comes=50).likely == pytest.approx(1 + 2 * 60 + 11, abs=4)
    own = Pauses(
        (np.arange(20.0, 41.0),), None
    )  # a minute later half of them are served, and then the others
    assert waiting(pauses=own).likely == pytest.approx(1 + 60 + 40, abs=15)


def test_what_is_left_of_the_window_that_goes_on_is_served_in_it() -> None:
    early: dict[str, Any] = {"now": 125, "served": np.r_[np.zeros(55), np.full(5, 10.0)], "waits": 60}
    assert waiting(**early, shut=False).likely == pytest.approx(60 / 10, abs=4)
    full = np.r_[np.zeros(55), np.full(5, 30.0)]
    assert waiting(**early | {"served": full}).likely == pytest.approx(55 + 60 / 10, abs=4)


def test_a_long_queue_is_as_quick_to_tell_as_a_short_one_and_lasts_as_many_windows() -> None:
    # 100,000 wait, 3,500 - 500 are served in a minute
    found = waiting(comes=500, waits=100_000, capacity=3500.0, at_once=350.0)
    assert found.likely == pytest.approx(60 * 100_000 / 3000, rel=0.03)
    assert found.latest is not None
    assert found.soonest < found.likely < found.latest < 1.1 * found.likely


def test_where_nobody_knows_when_windows_begin_the_interval_is_wider() -> None:
    sure, doubt = waiting(), waiting(phase=None, shut=False)
    assert sure.latest is not None
    assert doubt.latest is not None
    assert doubt.latest - doubt.soonest > 1.5 * (sure.latest - sure.soonest)


@pytest.mark.parametrize("heeds", [True, False], ids=["clients wait", "clients hammer"])
def test_how_waiting_calls_are_tried_again_is_seen_in_the_log(heeds: bool) -> None:
    found = story(7, rates={"web": steady(0.8), "report": between(0.4, 4.0, 600, 900)}, heeds=heeds,
                  cut_s=1200, until_s=1210)  # fmt: skip
    seen = queue_of(*seconds_of(found.calls), 10, 1200, round(found.phase_s), {1: 10, 60: 150})
    assert seen is not None
    assert (len(seen.at), seen.capacity, seen.at_once) == (found.world.waiting, 150, 10)
    assert seen.comes == pytest.approx(1.2 * 60, rel=0.1)
    middle = [float(np.median(each)) for each in seen.pauses.after]
    if heeds:
        assert seen.pauses.opens is not None
        assert np.quantile(seen.pauses.opens, 0.95) <= 4
        assert middle == [pytest.approx(2.5, abs=1)]
    else:
        assert seen.pauses.opens is None
        assert middle == pytest.approx([2, 4, 8, 16, 32, 32, 32, 32], rel=0.15)


def seconds_of(calls: pd.DataFrame) -> tuple[Seconds, dict[int, Seconds]]:
    at = (calls["timestamp"] - pd.Timestamp(START)).dt.total_seconds().astype(int)
    refused = calls["status_code"].eq(429).astype(int)

    def seconds(which: Any) -> Seconds:
        told = pd.DataFrame({"calls": 1, "refused": refused[which]}).groupby(at[which]).sum()
        return Seconds(told.index.to_numpy(), told["calls"].to_numpy(), told["refused"].to_numpy())

    number = calls["attempt"].clip(upper=MOST_ATTEMPTS)
    return seconds(calls.index), {int(each): seconds(calls.index[number == each]) for each in number.unique()}


def test_calls_that_were_given_up_do_not_wait() -> None:
    # a minute after the last was tried for the third time the job goes on with others; nobody tries four times
    found = story(8, rates={"web": steady(0.8), "report": between(0.4, 4.0, 600, 900)}, heeds=False,
                  cut_s=1200, until_s=1210)  # fmt: skip
    calls = found.calls[found.calls["attempt"] <= 3]
    given_up = queue_of(*seconds_of(calls), 10, 1200, None, {1: 10, 60: 150})
    assert given_up is not None
    assert given_up.attempt.max() <= 2
    assert len(given_up.at) < 0.2 * found.world.waiting


def test_nothing_waits_once_the_operation_is_silent_while_others_go_on() -> None:
    found = story(
        8, rates={"web": steady(0.8), "report": between(0.4, 4.0, 600, 900)}, cut_s=1000, until_s=1010
    )
    window = Window(START, START + timedelta(seconds=2000))
    assert pd.notna(ratelimit(found.calls, window)["clears_at"]).all()
    others = every(1, 1900, endpoint="/api/flows", attempt=1)
    silent = pd.concat([found.calls, others], ignore_index=True)
    assert pd.isna(ratelimit(CALLS.frame(silent), window)["clears_at"]).all()


def test_how_many_calls_come_is_taken_from_as_long_as_they_came_alike() -> None:
    assert lately(np.array([60.0, 61.0, 59.0, 80.0]), np.array([200.0, 60.0, 62.0])).tolist() == [
        60,
        61,
        59,
        60,
        62,
    ]
    assert lately(np.array([10.0, 11.0, 9.0, 80.0]), np.array([200.0, 60.0, 62.0])).tolist() == [60, 62]


def test_the_less_is_known_of_what_comes_the_wider_is_the_interval() -> None:
    known, new = waiting(comes=100, known=60), waiting(comes=100, known=3)
    assert known.latest is not None
    assert 0 <= new.soonest <= known.soonest < known.likely < known.latest
    assert new.latest is None or new.latest > known.latest


def test_no_latest_time_is_named_where_calls_may_come_as_fast_as_they_are_served() -> None:
    found = waiting(comes=135, known=3)
    assert found.latest is None
    assert 0 < found.soonest < found.likely
    assert clears_in_s(queue(comes=150)) is None


def test_no_time_is_named_while_calls_come_faster_than_they_are_served() -> None:
    found = story(1, rates={"web": steady(0.8), "report": steady(3.0)}, cut_s=900, until_s=930)
    assert pd.isna(of(found, 60)["clears_at"])


def test_a_caller_that_alone_grew_is_a_loop_and_named_with_its_share() -> None:
    found = story(
        2, rates={"web": steady(0.8), "report": between(0.2, 6.0, 600, 1200)}, cut_s=900, until_s=930
    )
    row = of(found, 60)
    assert (row["kind"], row["caller"]) == ("loop", "report")
    assert 0.75 < row["share"] <= 1.0
    assert row["refused"] == (found.calls["status_code"] == 429).sum()
    assert 600 <= since_start(row["first_exceeded"]) < 660
    assert pd.isna(row["others"])


def test_callers_that_all_grew_are_growth() -> None:
    rates = {name: between(0.5, 1.5, 600, 1200) for name in ("web", "report", "sync")}
    found = story(3, rates=rates, cut_s=660, until_s=700)
    assert of(found, 60)["kind"] == "growth"


def test_retries_of_few_calls_are_a_storm() -> None:
    found = story(4, rates={"web": steady(1.5), "report": between(0.3, 30, 600, 610)}, heeds=False, refused_count=True,
                  limits={1: 10, 60: 140}, cut_s=1500, until_s=1530)  # fmt: skip
    late = found.calls[found.calls["timestamp"] >= START + timedelta(seconds=900)]
    window = Window(START + timedelta(seconds=900), found.window.end)
    rows = ratelimit(late, window, {"GET /api/campaigns": {1: 10, 60: 140}})
    assert rows[rows["window_s"] == 60].iloc[0]["kind"] == "retries"


@pytest.mark.parametrize("seed", range(3))
def test_the_broken_windows_are_those_in_which_calls_were_refused(seed: int) -> None:
    report = between(0.4, 4.0, 600, 800)
    found = story(seed, rates={"web": steady(0.8), "report": report}, cut_s=1500, until_s=1530)
    marked = broken(found.calls, found.window)
    minutes = marked[marked["window_s"] == 60]
    assert (minutes["start"].shift(-1).dropna() > minutes["end"].iloc[:-1]).all()
    for row in marked.itertuples():
        length = (row.end - row.start).total_seconds()
        assert length == pytest.approx(row.window_s * round(length / row.window_s))
        inside = found.calls["timestamp"].between(row.start, row.end)
        assert (found.calls.loc[inside, "status_code"] == 429).any()
    refused = found.calls.loc[
        found.calls["status_code"].eq(429) & found.calls["retry_after_s"].gt(1), "timestamp"
    ]
    pad = pd.Timedelta(2, "s")  # the beginning of a minute is found to the second
    held = [((minutes["start"] - pad <= at) & (at < minutes["end"] + pad)).any() for at in refused]
    assert np.mean(held) > 0.97
    row = of(found, 60)
    assert row["broken"] == round((minutes["end"] - minutes["start"]).dt.total_seconds().sum() / 60)


def test_no_window_is_marked_where_no_limit_was_reached() -> None:
    assert broken(every(1, 120), WINDOW).empty
    assert broken(CALLS.empty(), WINDOW).empty


def test_refusals_that_our_calls_do_not_explain_are_spent_by_others() -> None:
    found = story(5, rates={"web": steady(0.5)}, others_per_s=2.2, cut_s=1200, until_s=1230)
    told = ask(found.calls, found.window)
    row = told.rows.iloc[0]
    assert row["window_s"] == 60
    assert 150 - row["peak"] == row["others"] > 50
    assert f"(other callers, other apps) spends at least {row['others']} of it" in told.says


def test_what_grew_is_not_told_where_others_spend_most_of_the_limit() -> None:
    callers = {"web": steady(0.1), "report": between(0.05, 0.6, 600, 1200)}
    row = of(story(5, rates=callers, others_per_s=1.9, cut_s=1200, until_s=1230), 60)
    assert row["others"] > row["peak"]
    assert pd.isna(row["kind"])


def test_the_window_that_broke_first_comes_first() -> None:
    found = story(6, rates={"web": between(0.5, 40, 600, 602)}, cut_s=700, until_s=730)
    rows = ratelimit(found.calls, found.window)
    assert rows["window_s"].iloc[0] == 1
    assert rows["first_exceeded"].is_monotonic_increasing
    assert rows["limit"].iloc[0] == 10


def test_a_daily_cap_frees_when_the_answer_says() -> None:
    status = [200] * 40 + [429] * 30
    calls = every(60, 70, method="POST", endpoint="/api/campaign-values-reports", status_code=status,
                  retry_after_s=[None] * 40 + [67608.0 - 60 * n for n in range(30)], caller="nightly")  # fmt: skip
    row = ratelimit(calls, WINDOW).iloc[0]
    assert (row["window_s"], row["limit"], row["caller"], row["share"]) == (86400, 225, "nightly", 1.0)
    assert row["first_exceeded"] == WINDOW.start + timedelta(minutes=40)
    assert row["frees_at"] == WINDOW.start + timedelta(seconds=40 * 60 + 67608)


def test_a_wait_of_hours_on_an_endpoint_without_a_known_daily_limit_has_no_limit_to_show() -> None:
    calls = every(60, 20, status_code=429, retry_after_s=7000.0)
    row = ratelimit(calls, WINDOW).iloc[0]
    assert row["window_s"] == 86400
    assert pd.isna(row["limit"])
    assert pd.isna(row["concurrency"])


def test_the_servers_word_wins_over_the_catalogue() -> None:
    line = "HTTP response headers: HTTPHeaderDict({'RateLimit-Limit': '3, 3;w=1, 20;w=60', 'x': 'y'})"
    calls = every(1, 120, status_code=[200] * 40 + [429] * 80, message=[line] + [None] * 119)
    row = ratelimit(calls, WINDOW).iloc[0]
    assert (row["limit"], row["observed"], row["window_s"]) == (20, True, 60)
    probed = ratelimit(calls, WINDOW, {"GET /api/campaigns": {60: 30}})
    assert (probed["limit"].iloc[0], probed["observed"].iloc[0]) == (30, True)


def test_the_pace_stays_below_the_margin() -> None:
    row = ratelimit(every(0.1, 900, status_code=[200] * 150 + [429] * 750, duration_s=2.0), WINDOW).iloc[0]
    limit, window_s = int(row["limit"]), int(row["window_s"])
    assert window_s / row["pause_s"] <= MARGIN * limit + 0.5
    assert row["p50_s"] == pytest.approx(2.0, rel=0.05)
    assert row["concurrency"] / row["p50_s"] * window_s <= MARGIN * limit


@pytest.mark.parametrize(
    "calls",
    [every(1, 120), every(1, 1), every(0.5, 240, status_code=503), every(40, 100, endpoint="/api/flows")],
    ids=["below", "one", "other failures", "small endpoint"],
)
def test_nothing_is_named_where_no_limit_was_reached(calls: pd.DataFrame) -> None:
    told = ask(calls)
    assert told.rows.empty
    assert told.says.startswith("No limit was reached")


@pytest.mark.parametrize(
    "calls",
    [CALLS.empty(), every(1, 50, endpoint="/health"), every(1, 50, endpoint=None, method=None),
     every(1, 50, status_code=429).assign(timestamp=pd.Series([pd.NaT] * 50, dtype=CALLS.columns["timestamp"].dtype))],
    ids=["none", "not in the catalogue", "nothing told", "no time"],
)  # fmt: skip
def test_it_says_why_it_cannot_tell(calls: pd.DataFrame) -> None:
    told = ask(calls)
    assert told.says.startswith("Cannot tell ")
    assert told.rows.empty


@pytest.mark.parametrize("status", [200, 429])
def test_every_shape_of_calls_has_an_answer(status: int) -> None:
    for calls in (every(0.001, 500, status_code=status), every(1, 1, status_code=status), every(7, 1000, status_code=status),
                  pd.concat([every(1, 60, status_code=status)] * 2, ignore_index=True), every(1, 90, status_code=status).iloc[::-1],
                  every(1, 90, status_code=status, retry_after_s=0.0)):  # fmt: skip
        assert ask(calls).says.endswith(".")
    ten_days = Window(WINDOW.end - timedelta(days=10), WINDOW.end)
    assert ask(every(1, 90, status_code=status), ten_days).says.endswith(".")


def test_what_was_left_out_is_said() -> None:
    calls = as_texts(every(1, 100, status_code=429))
    calls.loc[:4, "timestamp"] = pd.NaT
    calls.loc[5:7, "timestamp"] = WINDOW.end + timedelta(hours=1)
    calls.loc[8:9, "endpoint"] = "/health"
    covers = " ".join(ask(calls).covers)
    assert "5 calls without a time" in covers
    assert "outside the window are left out: 3" in covers
    assert "2 calls are of no operation of the catalogue" in covers


def test_refused_calls_that_are_of_no_known_window_are_not_called_none() -> None:
    calls = as_texts(every(1, 100, status_code=429)).assign(endpoint="/nowhere")
    fine = every(1, 100, status_code=200)
    for told in (calls, pd.concat([fine, CALLS.frame(calls)], ignore_index=True)):
        says = ask(told).says
        assert says.startswith(
            "Cannot tell which limit was reached: 100 calls were refused with 429, but their"
        )
    assert ask(fine).says.startswith("No limit was reached: none of 100 calls")


def plain(part: Any) -> Any:
    def table(each: Any) -> Any:
        return each and (each.rung, each.values, each.cells.to_dict("list"))

    return (table(part.seconds), {name: table(each) for name, each in part.spenders.items()},
            part.waits, {name: dict(bins) for name, bins in part.durations.items()}, *part[4:])  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 600), max_size=4), order=st.randoms())
def test_parts_merged_in_any_order_are_the_whole(seed: int, cuts: list[int], order: Any) -> None:
    found = story(seed, rates={"web": steady(0.8), "report": steady(3.0)}, cut_s=200, until_s=210)
    calls = as_texts(found.calls)
    calls.loc[calls.index % 9 == 0, "endpoint"] = "/api/profiles"
    calls.loc[calls.index % 5 == 0, "attempt"] = None
    edges = [0, *sorted(min(cut, len(calls)) for cut in cuts), len(calls)]
    told = [
        QUESTION.part(Records(calls.iloc[start:end], WEBHOOKS.empty()), found.window)
        for start, end in zip(edges, edges[1:], strict=False)
    ]
    order.shuffle(told)
    at = len(told) // 2 or 1
    grouped = [QUESTION.merge(told[:at]), *([QUESTION.merge(told[at:])] if told[at:] else [])]
    whole = QUESTION.part(Records(calls, WEBHOOKS.empty()), found.window)
    merged = pickle.loads(pickle.dumps(QUESTION.merge(grouped)))
    assert plain(merged) == plain(whole)
    assert QUESTION.answer(merged, found.window).says == QUESTION.answer(whole, found.window).says
