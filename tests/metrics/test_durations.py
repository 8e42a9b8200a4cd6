from __future__ import annotations

from datetime import UTC, datetime, timedelta

from klaviyo_nb.metrics.durations import Duration, durations

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def minutes(found: Duration | None) -> tuple[float, float] | None:
    return found and (found.at_least / timedelta(minutes=1), found.at_most / timedelta(minutes=1))


def test_what_was_noted_counts_from_the_onset_as_an_interval():
    noted = {"detected": at(10), "acknowledged": at(12), "mitigated": at(30), "restored": at(40)}
    found = durations((at(0), at(2)), None, noted, at(5))
    assert {name: minutes(each) for name, each in found.items()} == {
        "MTTD": (8, 10),
        "MTTA": (2, 2),
        "MTTM": (28, 30),
        "MTTR": (38, 40),
    }


def test_the_first_alert_is_the_detection_and_the_recovery_the_end_where_nobody_noted_them():
    found = durations((at(0), at(2)), (at(30), at(33)), {}, at(5))
    assert minutes(found["MTTD"]) == (3, 5)
    assert minutes(found["MTTR"]) == (28, 33)
    assert found["MTTA"] is found["MTTM"] is None
    assert found["MTTD"] is not None
    assert found["MTTD"].until == "first alert"


def test_nothing_observed_is_none_and_so_is_what_ended_before_it_began():
    assert set(durations(None, None, {}, None).values()) == {None}
    assert durations((at(10), at(12)), None, {"detected": at(5)}, None)["MTTD"] is None


def test_what_was_detected_within_the_onset_took_no_time_at_the_least():
    assert minutes(durations((at(0), at(4)), None, {"detected": at(3)}, None)["MTTD"]) == (0, 3)
