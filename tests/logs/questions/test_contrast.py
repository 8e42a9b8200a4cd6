from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_worlds import mask, world
from klaviyo_nb.frames import CALLS, WEBHOOKS, as_texts
from klaviyo_nb.logs.questions import strata
from klaviyo_nb.logs.questions.contrast import AND, ATTRIBUTES, QUESTION, Part, contrast
from klaviyo_nb.logs.questions.question import Records
from klaviyo_nb.window import Window
from samples import WINDOW, rate_limited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from klaviyo_nb.logs.questions.question import Answer


def ask(calls: pd.DataFrame, window: Window = WINDOW) -> Answer:
    return QUESTION.ask(Records(calls, WEBHOOKS.empty()), window)


def traffic(
    minutes: int = 120, per_minute: int = 20, seed: int = 1, **columns: Sequence[str]
) -> pd.DataFrame:
    """Calls that all succeed, every column drawn from the values given for it."""
    rng = np.random.default_rng(seed)
    count = minutes * per_minute
    frame = pd.DataFrame({name: rng.choice(list(values), count) for name, values in columns.items()})
    times = np.sort(rng.random(count)) * minutes * 60
    frame["timestamp"] = pd.Timestamp(WINDOW.start) + pd.to_timedelta(times, unit="s")
    frame["status_code"] = 200
    return CALLS.frame(frame)


def failing(calls: pd.DataFrame, which: Any, share: float, status: int = 503, seed: int = 2) -> pd.DataFrame:
    calls = calls.copy()
    hit = np.asarray(which) & (np.random.default_rng(seed).random(len(calls)) < share)
    calls.loc[hit, "status_code"] = status
    return calls


SHOP = {
    "host": ("web-1", "web-2", "web-3"),
    "caller": ("checkout", "sync"),
    "revision": ("2026-04-15", "2026-07-15"),
}


def test_the_host_on_which_calls_fail_is_named_with_its_shares() -> None:
    calls = traffic(**SHOP)
    rows = contrast(failing(calls, calls["host"] == "web-2", 0.5), WINDOW)
    first = rows.iloc[0]
    assert (first["attribute"], first["value"], len(rows)) == ("host", "web-2", 1)
    assert first["failing_share"] == 1.0
    assert first["other_share"] == pytest.approx(0.2, abs=0.03)
    assert first["low"] < first["failing_share"] - first["other_share"] < first["high"] <= 1
    assert first["fails"] == pytest.approx(0.5, abs=0.05)
    assert first["others_fail"] == 0
    assert first["p_adjusted"] < 1e-6


def test_the_field_that_refusals_name_is_told_whether_something_differs_or_not() -> None:
    calls = as_texts(failing(traffic(**SHOP), True, 0.1, 400))
    calls.loc[calls["status_code"] == 400, "error_pointer"] = "/data/attributes/phone_number"
    calls.loc[calls.index[calls["status_code"] == 400][:5], "error_pointer"] = "/data/attributes/email"
    found = ask(calls)
    assert found.rows.empty
    failed = int((calls["status_code"] == 400).sum())
    told = f"{(failed - 5) / failed:.0%} of the failing calls are refused for /data/attributes/phone_number"
    assert f"spread alike; {told}." in found.says
    all_of_them = ask(calls[calls["status_code"] == 400])
    assert all_of_them.says.endswith(f"calls failed; {told}.")
    assert "refused for" not in ask(failing(traffic(**SHOP), True, 0.1)).says
    assert "refused for" not in ask(calls.assign(status_code=calls["status_code"].replace(400, 429))).says


def test_calls_that_are_alike_in_all_that_is_told_cannot_be_compared() -> None:
    says = ask(failing(traffic(host=("web-1",)), True, 0.1)).says
    assert says.startswith("Cannot tell what differs: all ")
    assert "are alike in what the log tells of them" in says


def test_a_pair_is_named_where_neither_of_its_values_is_enough() -> None:
    calls = traffic(**SHOP)
    which = (calls["host"] == "web-2") & (calls["revision"] == "2026-04-15")
    rows = contrast(failing(calls, which, 0.6), WINDOW)
    assert rows.iloc[0][["attribute", "value"]].tolist() == [f"host{AND}revision", f"web-2{AND}2026-04-15"]
    assert len(rows) == 1


def test_what_another_row_explains_is_left_out() -> None:
    calls = traffic(host=("web-1", "web-2"), caller=("a", "b"))
    calls["worker"] = (
        calls["host"].astype("str") + np.where(np.arange(len(calls)) % 4, "-w1", "-w2")
    ).astype("str")
    rows = contrast(failing(calls, calls["worker"] == "web-2-w2", 0.7), WINDOW)
    assert rows["value"].tolist() == ["web-2-w2"]


def test_two_values_of_the_very_same_calls_are_both_named() -> None:
    calls = traffic(host=("web-1", "web-2", "web-3"))
    calls["worker"] = calls["host"].str.replace("web", "worker").astype("str")
    rows = contrast(failing(calls, calls["host"] == "web-3", 0.7), WINDOW)
    assert set(rows["value"]) == {"web-3", "worker-3"}


def test_what_only_failures_have_is_no_culprit() -> None:
    evidence = rate_limited()
    assert evidence.calls is not None
    rows = contrast(evidence.calls, evidence.window)
    assert rows.iloc[0][["attribute", "value"]].tolist() != ["error_code", "throttled"]
    assert set(rows["attribute"].str.split(AND).explode()) <= set(ATTRIBUTES)


def test_an_attribute_that_only_failing_lines_tell_tells_nothing() -> None:
    calls = failing(traffic(host=("web-1", "web-2")), True, 0.2)
    calls["caller"] = pd.Series(np.where(calls["status_code"] == 503, "app.errors", None), dtype="str")
    assert contrast(calls, WINDOW).empty


def test_one_burst_of_retries_is_no_culprit() -> None:
    calls = failing(traffic(host=[f"web-{n}" for n in range(10)]), True, 0.05)
    burst = calls.iloc[[1200] * 300].assign(host="web-3", status_code=503)
    told = pd.concat([calls, burst], ignore_index=True).astype(calls.dtypes)
    assert contrast(CALLS.check(told), WINDOW).empty


def test_a_job_that_runs_while_everything_fails_is_no_culprit() -> None:
    calls = as_texts(traffic(caller=("checkout",), host=("web-1", "web-2")))
    minute = (calls["timestamp"] - WINDOW.start).dt.total_seconds() // 60
    outage = (minute >= 60) & (minute < 90)
    half = np.random.default_rng(5).random(len(calls)) < 0.5
    calls.loc[outage & half, "caller"] = "nightly"
    assert contrast(failing(calls, outage, 0.6), WINDOW).empty


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.95])
def test_nothing_is_named_where_failures_are_spread_alike(share: float) -> None:
    told = ask(failing(traffic(**SHOP), True, share))
    assert told.rows.empty
    assert told.says.startswith("Nothing tells the failing calls from the others")


@pytest.mark.parametrize("attributes", [1, 2])
def test_made_up_culprits_come_first(attributes: int) -> None:
    for seed in range(5_000, 5_003):
        made = world(seed, attributes)
        first = contrast(made.calls, made.window).iloc[0]
        terms = dict(zip(first["attribute"].split(AND), first["value"].split(AND), strict=True))
        told = made.calls[[*terms, *made.culprit]].notna().all(axis=1)
        assert (mask(made.calls, terms) == mask(made.calls, made.culprit))[told].all(), seed


def test_nobody_is_named_in_made_up_worlds_without_a_culprit() -> None:
    for seed in range(5_000, 5_006):
        made = world(seed, 0)
        assert contrast(made.calls, made.window).empty, seed


CANNOT_TELL = {
    "no call": CALLS.empty(),
    "one call": traffic(1, 1, host=("web-1",)),
    "all fail": failing(traffic(**SHOP), True, 1.0),
    "none fails": traffic(**SHOP),
    "four fail": failing(traffic(**SHOP), np.arange(2400) < 4, 1.0),
    "one minute": failing(traffic(1, 300, **SHOP), np.arange(300) < 9, 1.0),
    "no attribute": failing(traffic(), True, 0.5),
    "no time": failing(traffic(**SHOP), True, 0.5).assign(timestamp=pd.Series([pd.NaT] * 2400, dtype=CALLS.columns["timestamp"].dtype)),
}  # fmt: skip


@pytest.mark.parametrize("calls", CANNOT_TELL.values(), ids=CANNOT_TELL)
def test_it_says_why_it_cannot_tell(calls: pd.DataFrame) -> None:
    told = ask(CALLS.check(calls))
    assert told.says.startswith("Cannot tell what differs: ")
    assert told.rows.empty
    assert list(told.rows.columns)[:4] == ["attribute", "value", "failing_share", "other_share"]


def test_what_was_left_out_is_said() -> None:
    calls = failing(traffic(**SHOP), True, 0.3)
    calls.loc[:9, "timestamp"] = WINDOW.end + timedelta(hours=1)
    calls.loc[10:14, "timestamp"] = pd.NaT
    covers = " ".join(ask(calls).covers)
    assert "5 calls without a time" in covers
    assert "outside the window are left out: 10" in covers
    assert "does not tell: endpoint, method, worker" in covers


def test_a_hundred_thousand_endpoints_are_given_up_and_the_host_is_still_named() -> None:
    count = strata.MOST_CELLS + 1
    calls = traffic(1, count, host=("web-1", "web-2", "web-3", "web-4"))
    calls["timestamp"] = pd.Timestamp(WINDOW.start) + pd.to_timedelta(np.linspace(0, 7000, count), unit="s")
    calls["endpoint"] = pd.Series([f"/{n}" for n in range(count)], dtype="str")
    told = ask(failing(calls, calls["host"] == "web-1", 0.3))
    assert told.rows["value"].tolist() == ["web-1"]
    assert any(text.startswith("Too many different values to compare: endpoint,") for text in told.covers)


def test_twice_the_same_lines_and_jumping_clocks_change_no_culprit() -> None:
    calls = traffic(**SHOP)
    calls = failing(calls, calls["host"] == "web-2", 0.5)
    jumped = calls.assign(
        timestamp=calls["timestamp"].where(calls.index % 3 > 0, calls["timestamp"] - timedelta(minutes=7))
    )
    for told in (pd.concat([calls, calls], ignore_index=True), jumped):
        assert contrast(told, WINDOW)["value"].tolist() == ["web-2"]


def test_ten_days_are_compared_by_the_minute() -> None:
    calls = traffic(**SHOP)
    calls = failing(calls, calls["host"] == "web-2", 0.5)
    long = Window(WINDOW.end - timedelta(days=10), WINDOW.end)
    assert contrast(calls, long)["value"].tolist() == ["web-2"]


def same(one: Part, other: Part) -> bool:
    def plain(part: Part) -> Any:
        tables = {
            name: table and (table.rung, table.values, table.cells.to_dict("list"))
            for name, table in part.tables.items()
        }
        return tables, part[1:]

    return bool(plain(one) == plain(other))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 240), max_size=4), order=st.randoms())
def test_parts_merged_in_any_order_are_the_whole(seed: int, cuts: list[int], order: Any) -> None:
    calls = failing(
        traffic(12, 20, seed, **SHOP, endpoint=[f"/{n}" for n in range(30)]), True, 0.3, seed=seed
    )
    calls.loc[calls.index % 7 == 0, "host"] = None
    edges = [0, *sorted(cuts), len(calls)]
    told = [
        QUESTION.part(Records(calls.iloc[start:end], WEBHOOKS.empty()), WINDOW)
        for start, end in zip(edges, edges[1:], strict=False)
    ]
    order.shuffle(told)
    at = len(told) // 2 or 1
    grouped = [QUESTION.merge(told[:at]), *([QUESTION.merge(told[at:])] if told[at:] else [])]
    whole = QUESTION.part(Records(calls, WEBHOOKS.empty()), WINDOW)
    merged = pickle.loads(pickle.dumps(QUESTION.merge(grouped)))
    assert same(merged, QUESTION.merge([whole]))
    assert same(merged, whole)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_table_that_grows_too_large_is_put_together_alike_however_it_was_read(data: Any) -> None:
    """With a bound of 40 cells instead of 100,000, which is all that differs."""
    rows = data.draw(
        st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1200)), min_size=1, max_size=150)
    )
    names, stretches = (np.array(each) for each in zip(*rows, strict=True))
    cut = data.draw(st.integers(0, len(rows)))

    def counted(where: slice) -> strata.Strata | None:
        coded = strata.coded(pd.Series(names[where], dtype="str"))
        ones = np.ones(len(names[where]))
        return strata.counted({"host": coded}, stretches[where], ones, ones, most=40)

    whole, merged = (
        counted(slice(None)),
        strata.merged([counted(slice(cut)), counted(slice(cut, None))], most=40),
    )
    if whole is None or merged is None:
        assert whole is merged
    else:
        assert (whole.rung, whole.values) == (merged.rung, merged.values)
        pd.testing.assert_frame_equal(whole.cells, merged.cells)
