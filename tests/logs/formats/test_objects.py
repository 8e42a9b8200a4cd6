from __future__ import annotations

from typing import Any

import pytest

from klaviyo_nb.logs.formats import keys
from klaviyo_nb.logs.formats.objects import Found, walk


def walked(data: dict[str, Any]) -> Found:
    found = Found()
    walk(data, found)
    return found


@pytest.mark.parametrize(
    "data",
    [
        {"status_code": 429}, {"statusCode": 429}, {"http.response.status_code": 429}, {"http": {"status": 429}},
        {"a": {"b": {"c": {"HTTP-Status": 429}}}}, {"err": {"response": {"status": 429}}}, {"errors": [{"status": 429}]},
        {"attributes": [{"key": "http.status_code", "value": {"intValue": 429}}]}, {"body": '{"status": 429}'},
    ],
    ids=str,
)  # fmt: skip
def test_a_status_is_found_whatever_its_key_and_depth(data: dict[str, Any]) -> None:
    assert walked(data).values["status"] == 429


def test_the_better_key_wins_then_the_outermost() -> None:
    assert walked({"code": 500, "x": {"status_code": 429}}).values["status"] == 429
    assert walked({"status": 429, "x": {"status": 500}}).values["status"] == 429


def test_a_url_of_klaviyos_api_wins_over_any_other() -> None:
    found = walked({"url": "/checkout", "err": {"config": {"url": "https://a.klaviyo.com/api/events"}}})
    assert found.values["url"] == "https://a.klaviyo.com/api/events"
    flat = walked({"url": "/checkout", "target": "https://a.klaviyo.com/api/events"})
    assert flat.values["url"] == "https://a.klaviyo.com/api/events"


def test_a_number_that_is_no_time_is_not_taken_for_one() -> None:
    assert (
        walked({"time": 132, "startedDateTime": "2026-11-23T05:00:00Z"}).values["timestamp"]
        == "2026-11-23T05:00:00Z"
    )


def test_a_code_is_a_status_or_a_word() -> None:
    assert walked({"errors": [{"code": "throttled", "status": 429}]}).values["error_code"] == "throttled"
    assert "error_code" not in walked({"err": {"code": "ECONNRESET"}}).values
    assert walked({"code": 429}).values["status"] == 429


def test_depth_and_size_are_bounded() -> None:
    deep: dict[str, Any] = {"status": 500}
    for _ in range(100):
        deep = {"x": deep}
    assert "status" not in walked(deep).values
    assert walked({"x": [{"y": n} for n in range(100_000)], "status": 429}).values["status"] == 429


def test_keys_without_end_are_not_all_remembered() -> None:
    for number in range(6_000):
        walked({f"key{number}": 1, "x" * number: 1})
    assert len(keys.meanings) <= 4_096
