from __future__ import annotations

import pytest

from klaviyo_nb.logs.formats import values


@pytest.mark.parametrize(
    ("value", "key", "seconds"),
    [
        (132, "durationms", 0.132),
        (132000000, "duration", 0.132),
        (0.132, "duration", 0.132),
        (132, "duration", 0.132),
        (42.5, "elapsed", 0.0425),
        (0.132, "requesttime", 0.132),
        ("132ms", "duration", 0.132),
        ("0.132s", "latency", 0.132),
        ("1.5e-05s", "latency", 1.5e-05),
        ("132000", "durationus", 0.132),
        (12, "retryafters", 12.0),
    ],
)
def test_a_duration_has_the_unit_of_its_value_or_key(value: object, key: str, seconds: float) -> None:
    assert values.seconds(value, key) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [None, True, "soon", -1, float("nan"), 1e30, [], {}])
def test_what_is_no_duration_gives_none(value: object) -> None:
    assert values.seconds(value, "durations") is None


@pytest.mark.parametrize(
    ("value", "level"),
    [("WARN", "warning"), ("Error", "error"), (30, "info"), (50, "error"), ("3", "error"), (6, "info"), (400, "error"),
     (200, "info"), ("fatal", "critical"), ("ok", None), (None, None), ("", None)],
)  # fmt: skip
def test_levels_are_read_from_words_and_numbers(value: object, level: str | None) -> None:
    assert values.level(value) == level


@pytest.mark.parametrize(
    ("value", "status"),
    [(429, 429), ("429", 429), ("429 Too Many Requests", 429), (429.0, 429), (0, 0), (600, None), ("ok", None),
     (True, None), (None, None), ("4290", None), (99, None)],
)  # fmt: skip
def test_a_status_has_three_digits(value: object, status: int | None) -> None:
    assert values.status(value) == status
