"""What became of each logical call, on made-up worlds where it is known."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import attempts
from klaviyo_nb.logs.questions.ledger import entries, ledger, question
from klaviyo_nb.logs.questions.question import Records, of_calls
from klaviyo_nb.logs.questions.retries import amplification, retries
from klaviyo_nb.window import Window
from samples import WINDOW
from tests.logs.questions.worlds_of_calls import ANSWERS, World, make

EVENT = {"method": "POST", "endpoint": "/api/events"}


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return CALLS.frame(
        [
            EVENT | {"timestamp": WINDOW.start + timedelta(seconds=n), "line_no": n + 1} | row
            for n, row in enumerate(rows)
        ]
    )


def totals(calls: pd.DataFrame, **options: Any) -> dict[str, tuple[int, int]]:
    rows = ledger(calls, WINDOW, **options)
    return {row.outcome: (row.calls, row.at_least) for row in rows.itertuples() if row.calls}


def told(calls: pd.DataFrame) -> dict[int, str]:
    found = entries(calls, WINDOW)
    return dict(zip(found["line_no"].tolist(), found["outcome"].tolist(), strict=True))


def worst(world: World) -> tuple[float, float]:
    """The least precision and recall of all classes."""
    found = told(CALLS.frame(world.rows))
    agreed = Counter(became for line, became in world.truth.items() if found.get(line) == became)
    said, true = Counter(found.values()), Counter(world.truth.values())
    precision = min(agreed[name] / said[name] for name in said)
    return precision, min(agreed[name] / true[name] for name in true)


@pytest.mark.parametrize("trouble", ANSWERS)
@pytest.mark.parametrize(
    ("key", "numbered"),
    [("event", True), ("event", False), ("profile", True), ("profile", False), ("request", False)],
)
def test_where_calls_carry_keys_each_is_known(key: str, numbered: bool, trouble: str) -> None:
    for seed in range(3):
        world = make(seed, WINDOW, key, numbered=numbered, trouble=trouble)
        precision, recall = worst(world)
        assert min(precision, recall) >= 0.99, (seed, precision, recall)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("numbered", [True, False])
def test_without_keys_the_truth_lies_between_at_least_and_at_most(seed: int, numbered: bool) -> None:
    world = make(seed, WINDOW, "none", numbered=numbered)
    found = ledger(CALLS.frame(world.rows), WINDOW).set_index("outcome")
    true = Counter(world.truth.values())
    for name in found.index:
        assert found.at[name, "at_least"] <= true[name] <= found.at[name, "calls"], name


def test_numbers_of_attempts_alone_tell_that_a_refused_call_was_tried_again() -> None:
    late = WINDOW.start + timedelta(hours=1)
    tries = [{"status_code": status, "attempt": number, "timestamp": late + timedelta(seconds=at)}
             for at, (status, number) in enumerate([(503, 1), (503, 1), (202, 2), (503, 2), (202, 3)])]  # fmt: skip
    assert totals(frame(*tries)) == {"delivered": (2, 2)}
    assert totals(frame(*tries[:4])) == {"delivered": (1, 1), "refused": (1, 0)}
    assert totals(frame(*tries[1:3], tries[0])) == {"delivered": (1, 1), "refused": (1, 0)}


def test_an_attempt_that_may_have_begun_before_the_window_or_tells_no_number_rules_no_loss_out() -> None:
    early = [{"status_code": 503, "attempt": 1}, {"status_code": 202, "attempt": 2}]
    assert totals(frame(*early)) == {"delivered": (1, 1), "refused": (1, 0)}
    late = [each | {"timestamp": WINDOW.start + timedelta(hours=1)} for each in early]
    assert totals(frame(*late)) == {"delivered": (1, 1)}
    assert totals(frame(*late, {"status_code": 503})) == {"delivered": (1, 1), "refused": (2, 0)}


def test_a_call_that_may_have_been_accepted_stays_unknown_when_a_later_attempt_is_refused() -> None:
    late = WINDOW.start + timedelta(hours=1)
    tries = [{"status_code": status, "attempt": number, "timestamp": late}
             for status, number in ((500, 1), (503, 2))]  # fmt: skip
    assert totals(frame(*tries))["unknown"] == (1, 0)


def test_bounds_are_said_as_bounds() -> None:
    answer = question().ask(
        Records(frame({"status_code": 503}, {"status_code": 202}), WEBHOOKS.empty()), WINDOW
    )
    assert answer.says == "Calls: 1 delivered, at most 1 (at least 0) refused."
    assert any("2 of 2 attempts carry no key" in each for each in answer.covers)


def test_attempts_that_may_not_be_a_calls_last_are_not_counted_as_reasons_of_it() -> None:
    late = {"timestamp": WINDOW.start + timedelta(hours=1)}
    tries = [
        {"status_code": 503, "attempt": 1},
        {"status_code": 503, "attempt": 2},
        {"status_code": 429, "attempt": 3},
    ]
    row = ledger(frame(*(late | each for each in tries)), WINDOW).set_index("outcome").loc["refused"]
    assert (row["calls"], row["reasons"], row["replay"]) == (1, "503, 429", "yes")
    keyed = ledger(frame(*(late | {"event_key": "e"} | each for each in tries)), WINDOW)
    assert keyed.set_index("outcome").loc["refused", "reasons"] == "429 (1)"


def test_reasons_that_are_not_named_are_counted_all_the_same() -> None:
    statuses = [400, 400, 401, 403, 404, 410, 415]
    calls = frame(*({"status_code": each, "event_key": str(n)} for n, each in enumerate(statuses)))
    told = ledger(calls, WINDOW).set_index("outcome").loc["fix_first"]
    assert told["reasons"] == "400 (2), 401 (1), 403 (1), 404 (1), others (2)"


def test_how_many_attempts_the_calls_took_is_said_where_some_were_tried_again() -> None:
    said = "These calls took 3 attempts; counts of failed calls are of attempts."
    tries = [{"status_code": 503, "event_key": "e"}, {"status_code": 202, "event_key": "e"}]
    for calls, expected in (([*tries, {"status_code": 202, "event_key": "f"}], True), (tries[:1], False)):
        assert (said in question().ask(of_calls(frame(*calls)), WINDOW).covers) == expected


def test_a_failure_after_the_last_success_is_at_least_one_lost_call() -> None:
    late = {"status_code": 503, "timestamp": WINDOW.start + timedelta(hours=1)}
    assert totals(frame({"status_code": 202}, late, late)) == {"delivered": (1, 1), "refused": (2, 1)}
    numbered = [late | {"attempt": 1}, late | {"attempt": 2}, late | {"attempt": 1}]
    assert totals(frame({"status_code": 202}, *numbered)) == {"delivered": (1, 1), "refused": (3, 2)}


@pytest.mark.parametrize(
    ("answers", "became"),
    [
        ([429, 202], "delivered"), ([500, 503], "unknown"), ([503, 500], "unknown"), ([500, 202], "delivered"),
        ([503, 400], "fix_first"), ([401, 429], "refused"), ([202, 500], "delivered"), ([None], "delivered"),
    ],
)  # fmt: skip
def test_one_outcome_follows_from_all_attempts(answers: list[int | None], became: str) -> None:
    calls = frame(*({"status_code": answer, "event_key": "e"} for answer in answers))
    assert totals(calls) == {became: (1, 1)}


def test_a_call_that_several_parts_of_a_log_tell_of_is_one() -> None:
    asked = question()
    parts = [
        asked.part(Records(frame({"status_code": status, "event_key": "e"}), WEBHOOKS.empty()), WINDOW)
        for status in (202, 503)
    ]
    rows = asked.answer(asked.merge(parts), WINDOW).rows
    assert rows["calls"].tolist() == [1, 0, 0, 0]


def test_the_same_key_on_another_path_is_another_call() -> None:
    calls = frame(
        {"status_code": 503, "profile_key": "p"},
        {"status_code": 200, "profile_key": "p", "endpoint": "/api/profiles"},
    )
    assert totals(calls) == {"delivered": (1, 1), "refused": (1, 1)}


def test_klaviyos_own_request_ids_join_nothing_and_the_applications_do() -> None:
    vendor = frame({"status_code": 503, "request_id": "a"}, {"status_code": 202, "request_id": "b"})
    assert totals(vendor) == {"delivered": (1, 1), "refused": (1, 0)}
    ours = frame(
        {"status_code": 503, "request_id": "a"},
        {"status_code": 202, "request_id": "a"},
        {"status_code": 503, "request_id": "c"},
    )
    assert totals(ours) == {"delivered": (1, 1), "refused": (1, 1)}


@pytest.mark.parametrize(
    ("seconds", "lost"), [([0, 2, 6], (1, 1)), ([0, 30], (2, 1)), ([0, 0.1, 0.2], (3, 1))],
    ids=["three times", "in two files with two clocks", "three lines of one answer"],
)  # fmt: skip
def test_an_id_that_is_refused_again_and_again_is_the_applications(
    seconds: list[float], lost: tuple[int, int]
) -> None:
    start = WINDOW.start + timedelta(hours=1)
    rows = [
        {"status_code": 429, "request_id": "one", "timestamp": start + timedelta(seconds=at)}
        for at in seconds
    ]
    assert totals(frame(*rows))["refused"] == lost


def test_calls_of_one_profile_that_overlap_are_told_apart_by_the_numbers_of_their_attempts() -> None:
    steps = [
        (503, 1),
        (503, 1),
        (202, 2),
        (503, 2),
        (503, 3),
    ]  # the first call, the second, the first, the second
    calls = frame(
        *({"status_code": status, "attempt": attempt, "profile_key": "p"} for status, attempt in steps)
    )
    found = entries(calls, WINDOW)
    assert found[["outcome", "attempts"]].values.tolist() == [["delivered", 2], ["refused", 3]]


def test_a_call_that_was_given_up_does_not_take_later_attempts() -> None:
    first = {"status_code": 400, "attempt": 1, "profile_key": "p"}
    again = {"status_code": 503, "attempt": 1, "profile_key": "p"}
    calls = frame(first, again, first, {"status_code": 202, "attempt": 2, "profile_key": "p"})
    assert entries(calls, WINDOW)["outcome"].tolist() == ["fix_first", "delivered", "fix_first"]


def test_calls_of_one_profile_that_overlap_are_told_apart_by_the_applications_ids() -> None:
    steps = [(503, "a"), (503, "b"), (202, "a")]
    calls = frame(
        *({"status_code": status, "request_id": name, "profile_key": "p"} for status, name in steps)
    )
    assert totals(calls) == {"delivered": (1, 1), "refused": (1, 1)}


def test_a_later_call_of_the_same_profile_does_not_deliver_what_was_lost() -> None:
    later = {"status_code": 200, "profile_key": "p", "timestamp": WINDOW.start + timedelta(hours=1)}
    assert totals(frame({"status_code": 503, "profile_key": "p"}, later)) == {
        "delivered": (1, 1),
        "refused": (1, 1),
    }
    waited = {"status_code": 429, "profile_key": "p", "retry_after_s": 3_500.0}
    assert totals(frame(waited, later)) == {"delivered": (1, 1)}


def test_a_line_that_stands_there_twice_is_one_attempt() -> None:
    row = {"status_code": 503, "event_key": "e", "timestamp": WINDOW.start}
    assert entries(frame(row, row), WINDOW)["attempts"].tolist() == [1]


def test_accepted_late_is_known_only_with_a_delay() -> None:
    calls = frame({"status_code": 202, "event_key": "e"}, {"status_code": 200, "event_key": "f"})
    assert totals(calls) == {"delivered": (2, 2)}
    delay = Window(WINDOW.start, WINDOW.start + timedelta(minutes=5))
    assert totals(calls, delays=[delay]) == {"delivered": (1, 1), "accepted_late": (1, 1)}
    assert totals(calls, delays=[Window(delay.end, WINDOW.end)]) == {"delivered": (2, 2)}


def test_an_entry_carries_what_a_replay_needs() -> None:
    calls = frame(
        {"status_code": 429, "event_key": "e", "profile_key": "p", "source": "app.log"}, {"status_code": 503, "event_key": "e"},
        {"status_code": 500, "endpoint": "/api/campaign-send-jobs", "profile_key": "x"}, {"status_code": 500},
    )  # fmt: skip
    found = entries(calls, WINDOW)
    first = found.iloc[0]
    assert (first["outcome"], first["reason"], first["key"], first["attempts"]) == (
        "refused",
        "503",
        "event",
        2,
    )
    assert (first["at"], first["line_no"], first["event_key"], first["replay"]) == (
        WINDOW.start,
        1,
        "e",
        "yes",
    )
    assert "original time" in first["why"]
    assert found["replay"].tolist()[1:] == ["no", "person"]
    assert found["key"].tolist()[1:] == ["profile", "none"]


def test_more_attempts_than_are_kept_are_counted_on_whole_calls() -> None:
    world = make(1, WINDOW, "event", calls=4_000, trouble="outage")
    whole = attempts.part(Records(CALLS.frame(world.rows), WEBHOOKS.empty()), WINDOW)
    kept = attempts.bounded(whole, 2_000)
    assert len(kept.rows) <= 2_000
    halves = [
        attempts.bounded(attempts.Attempts(rows, whole.below, whole.bare, 0), 2_000)
        for rows in (whole.rows[::2], whole.rows[1::2])
    ]
    below = min(each.below for each in halves)
    rows = np.concatenate([each.rows for each in halves])
    again = attempts.bounded(attempts.Attempts(rows[rows["key"] < below], below, whole.bare, 0), 2_000)
    assert again.below == kept.below
    assert np.array_equal(np.sort(again.rows), np.sort(kept.rows))
    answer = question().answer(kept, WINDOW)
    true = Counter(world.truth.values())
    assert answer.rows["calls"].tolist()[0] == pytest.approx(true["delivered"], rel=0.1)
    assert any("% of the keys" in each for each in answer.covers)


# Retries


def test_attempts_per_call_and_those_in_vain() -> None:
    calls = frame(*({"status_code": status, "event_key": key} for status, key in
                    [(503, "a"), (202, "a"), (202, "b"), (401, "c"), (401, "c"), (401, "c")]))  # fmt: skip
    row = retries(calls, WINDOW).iloc[0]
    assert (row["calls"], row["attempts"], row["amplification"], row["most"], row["futile"]) == (
        3,
        6,
        2.0,
        3,
        2,
    )


def test_without_keys_the_numbers_of_attempts_tell_how_many_calls_there_were() -> None:
    calls = frame(
        {"status_code": 503, "attempt": 1},
        {"status_code": 202, "attempt": 2},
        {"status_code": 202, "attempt": 1},
    )
    row = retries(calls, WINDOW).iloc[0]
    assert (row["calls"], row["attempts"], row["most"]) == (2, 3, 2)


def test_where_nothing_joins_attempts_no_factor_is_shown() -> None:
    calls = frame(
        {"status_code": 503},
        {"status_code": 202},
        {"status_code": 202, "endpoint": "/api/profiles", "event_key": "e"},
    )
    rows = retries(calls, WINDOW).set_index("endpoint")
    factors = ["amplification", "most", "futile"]
    assert rows.loc["/api/events", factors].isna().all()
    assert rows.loc["/api/profiles", factors].tolist() == [1.0, 1, 0]


def test_no_retries_are_a_factor_of_one() -> None:
    answer = retries(frame(*({"status_code": 202, "event_key": str(n)} for n in range(50))), WINDOW)
    assert answer["amplification"].tolist() == [1.0]


def test_amplification_over_time_counts_calls_where_they_begin() -> None:
    late = {"status_code": 202, "event_key": "a", "timestamp": WINDOW.start + timedelta(minutes=3)}
    found = amplification(frame({"status_code": 503, "event_key": "a"}, late), WINDOW)
    assert len(found) == 120
    assert (found["calls"].tolist()[:4], found["attempts"].tolist()[:4]) == ([1, 0, 0, 0], [1, 0, 0, 1])
    assert found["amplification"].tolist()[0] == 1.0
    assert found["amplification"].isna().tolist()[:4] == [False, True, True, True]


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("key", ["event", "profile", "request"])
def test_as_many_calls_are_found_as_there_were(key: str, numbered: bool) -> None:
    world = make(5, WINDOW, key, numbered=numbered or key == "profile", trouble="outage")
    found = retries(CALLS.frame(world.rows), WINDOW)
    assert found["calls"].sum() == pytest.approx(len(world.truth), rel=0.01)
    assert found["attempts"].sum() == len(world.rows)
