from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from klaviyo_nb.drills.lines import logs
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import Story, tell

WORKER_CALL = re.compile(
    r"^(\S+ \S+?),(\d{3}) \w+ \[[\w-]+\] [\w-]+: (?:GET|POST) https://\S+ (->|failed)", re.MULTILINE
)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_logs_tell_of_exactly_the_calls_of_the_truth(name: str, now: datetime) -> None:
    made = tell(SCENARIOS[name], 2, now)
    calls, failed = _count(made)
    assert (calls, failed) == (made.counts.calls, made.counts.failed_calls)


def test_the_same_world_gives_the_same_bytes(now: datetime) -> None:
    assert logs(tell(SCENARIOS["rate_limited"], 5, now)) == logs(tell(SCENARIOS["rate_limited"], 5, now))


def test_lines_are_in_order_of_time(now: datetime) -> None:
    times = [
        json.loads(line)["time"] for line in logs(tell(SCENARIOS["healthy"], 1, now))["web.log"].splitlines()
    ]
    assert times == sorted(times)


def test_a_refused_call_of_a_worker_is_logged_as_the_official_client_tells_it(now: datetime) -> None:
    text = logs(tell(SCENARIOS["invalid_key"], 1, now))["worker.log"]
    assert "openapi_client.exceptions.UnauthorizedException: (401)\nReason: Unauthorized\n" in text
    assert "HTTP response headers: HTTPHeaderDict({'Server': 'cloudflare'" in text
    assert '"code":"not_authenticated"' in text


def test_an_unreachable_api_is_logged_without_status_or_request_id(now: datetime) -> None:
    text = logs(tell(SCENARIOS["network_unreachable"], 1, now))
    broken = [json.loads(line) for line in text["web.log"].splitlines() if "ECONNREFUSED" in line]
    assert broken
    assert not any("statusCode" in line or "requestId" in line for line in broken)
    assert "[Errno 111] Connection refused" in text["worker.log"]


def test_other_lines_stand_between_and_some_name_klaviyo_without_being_a_call(now: datetime) -> None:
    lines = logs(tell(SCENARIOS["healthy"], 1, now))["web.log"].splitlines()
    others = [line for line in lines if '"method"' not in line and "klaviyo.webhook" not in line]
    assert len(others) > 500
    assert any("klaviyo" in line for line in others)


def test_the_key_leaks_into_one_line_so_that_redaction_has_work(now: datetime) -> None:
    made = tell(SCENARIOS["healthy"], 1, now)
    assert "".join(logs(made).values()).count(made.key) == 1


def _count(made: Story) -> tuple[int, int]:
    """Calls and failures in the window, by reading the lines with nothing of the generator's."""
    texts, start, end = logs(made), made.window.start.timestamp(), made.window.end.timestamp()
    outcomes = []
    for line in texts["web.log"].splitlines():
        row = json.loads(line)
        if "method" in row:
            outcomes.append((row["time"] / 1000, row["level"] == 50))
    for second, millis, arrow in WORKER_CALL.findall(texts["worker.log"]):
        moment = datetime.fromisoformat(f"{second}.{millis}+00:00").timestamp()
        outcomes.append((moment, arrow == "failed"))
    inside = [failed for at, failed in outcomes if int(start) <= at < end]
    return len(inside), sum(inside)
