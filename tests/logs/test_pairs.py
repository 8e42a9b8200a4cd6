from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb.logs.reader import read
from klaviyo_nb.window import Window

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
URLLIB3 = '2026-11-23 05:00:00,250 DEBUG urllib3.connectionpool: https://a.klaviyo.com:443 "POST /api/events HTTP/1.1" 503 173\n'
REQUESTS = (
    "2026-11-23 05:00:00,251 ERROR shop.sync: push failed: 503 Server Error: Service Unavailable for url: "
    "https://a.klaviyo.com/api/events\n"
)
HTTPX = '2026-11-23 05:00:01,100 INFO httpx: HTTP Request: POST https://a.klaviyo.com/api/profiles "HTTP/1.1 429 Too Many Requests"\n'
BODY = (
    "2026-11-23 05:00:01,102 ERROR shop.klaviyo: POST https://a.klaviyo.com/api/profiles -> 429: "
    '{"errors":[{"id":"0c9f6ef4-0c5e-4a2e-9be1-1d6a4c8a7f10","status":429,"code":"throttled"}]}\n'
)
RUBY = (
    "D, [2026-11-23T05:00:02.000000 #41] DEBUG -- : ETHON: performed EASY "
    "effective_url=https://a.klaviyo.com/api/lists response_code=403 return_code=ok total_time=0.1\n"
    "E, [2026-11-23T05:00:02.001000 #41] ERROR -- : Error message: the server returns an error (KlaviyoAPI::ApiError)\n"
    'HTTP status code: 403\nResponse headers: {"server" => "cloudflare", "cf-mitigated" => "challenge"}\n'
    "Response body: <html><title>Just a moment...</title></html>\n"
)


def rows(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    path = tmp_path / "app.log"
    path.write_text(text)
    calls = read([str(path)], DAY, redact=str).calls
    return [
        {name: value for name, value in row.items() if not pd.isna(value)} for row in calls.to_dict("records")
    ]


@pytest.mark.parametrize(
    ("text", "line", "fields"),
    [
        (URLLIB3 + REQUESTS, 1, {"method": "POST", "endpoint": "/api/events", "status_code": 503, "level": "error", "caller": "shop.sync"}),
        (HTTPX + BODY, 1, {"method": "POST", "endpoint": "/api/profiles", "error_code": "throttled", "caller": "shop.klaviyo"}),
        (RUBY, 1, {"endpoint": "/api/lists", "status_code": 403, "answered_by": "challenge", "duration_s": 0.1}),
    ],
    ids=["urllib3", "httpx", "ethon"],
)  # fmt: skip
def test_the_librarys_line_and_the_applications_are_one_call(
    tmp_path: Path, text: str, line: int, fields: dict[str, Any]
) -> None:
    (row,) = rows(tmp_path, text)
    assert row["line_no"] == line
    assert {name: row.get(name) for name in fields} == fields


def test_a_librarys_line_without_a_time_is_not_that_of_a_call_further_on(tmp_path: Path) -> None:
    timeless = (
        'INFO:httpx:HTTP Request: POST https://a.klaviyo.com/api/events "HTTP/1.1 503 Service Unavailable"\n'
    )
    between = (
        "2026-11-23 05:00:00,240 INFO shop.klaviyo: GET https://a.klaviyo.com/api/lists -> 200 in 0.1s\n"
    )
    assert len(rows(tmp_path, timeless + between + REQUESTS)) == 3
    assert len(rows(tmp_path, timeless + REQUESTS)) == 1


def test_two_calls_side_by_side_stay_two(tmp_path: Path) -> None:
    found = rows(tmp_path, URLLIB3 + URLLIB3 + REQUESTS + REQUESTS)
    assert [row["status_code"] for row in found] == [503, 503]


@pytest.mark.parametrize(
    "text",
    [
        URLLIB3 + URLLIB3,
        REQUESTS + REQUESTS,
        URLLIB3 + BODY,
        URLLIB3 + REQUESTS.replace("05:00:00,251", "05:00:09,251"),
        URLLIB3 + REQUESTS.replace("/api/events", "/api/lists"),
        RUBY.split("\n")[0] + "\n" + RUBY.replace("#41", "#42").partition("\n")[2],
    ],
    ids=[
        "library only",
        "application only",
        "another status",
        "later",
        "another endpoint",
        "another process",
    ],
)
def test_records_that_differ_are_two_calls(tmp_path: Path, text: str) -> None:
    assert len(rows(tmp_path, text)) == 2
