"""Log text that others captured: every sample gives its row, bare and in every wrapper.

The text is not part of this repository: `KLAVIYO_LOG_SAMPLES` names the file. What an expert reads in each
sample is written down here, by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from installed import missing
from klaviyo_nb.logs.reader import read
from klaviyo_nb.window import Window
from tests.logs.wrappers import WRAPPERS, plain

ALWAYS = Window(datetime(2010, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
SAMPLES = os.environ.get("KLAVIYO_LOG_SAMPLES", "")
LABELS: dict[str, dict[str, Any]] = {
    "01": {"status_code": 429, "error_code": "throttled", "error_pointer": "/data/", "retry_after_s": 0.0, "answered_by": "klaviyo"},
    "02": {"status_code": 400},
    "03": {"status_code": 403, "answered_by": "challenge"},
    "04": {"status_code": 404},
    "05": {"error_type": "timeout", "method": "POST", "endpoint": "/api/profiles"},
    "06": {"status_code": 429, "error_code": "throttled", "error_pointer": "/data", "retry_after_s": 1.0,
           "request_id": "8c8f4aea-7289-4a13-b697-5dd5dde38f1e"},
    "07": {},  # a report: silence, then 525
    "08": {"status_code": 400},
    "09": {"status_code": 400},
    "10": {"status_code": 400, "method": "POST", "endpoint": "/api/profiles", "error_code": "invalid",
           "request_id": "edd7f096-d88a-4b8c-80cd-175250722bfe"},
    "11": {"status_code": 400, "method": "POST", "endpoint": "/api/profiles", "error_code": "invalid", "request_id": None},
    "12": {"status_code": 400, "method": "PATCH", "endpoint": "/api/profiles/{id}", "error_code": "invalid",
           "request_id": "67ac7dee-5f10-4e1c-9a3a-2abf14a93cc6", "profile_key": "01HMKGK1BB4D6VV4ZNGJRBKQMS"},
    "13": {"status_code": 400, "error_code": "invalid", "error_pointer": "/data"},
    "14": {"status_code": 400, "endpoint": "/api/accounts", "duration_s": 0.015007, "answered_by": "edge"},
    "15": {"status_code": 401, "endpoint": "/api/reviews", "duration_s": 0.316553},
    "16": {"status_code": 401},
    "17": {"timestamp": "2026-03-17T10:18:18Z", "status_code": 401, "method": "GET", "endpoint": "/api/lists/{id}",
           "error_code": "not_authenticated", "error_pointer": "/data/", "revision": "2025-04-15",
           "request_id": "5e82e068-d8cf-4fc1-9a21-2d5409b7cb81"},
    "18": {"timestamp": "2026-03-17T10:21:15Z", "status_code": 404, "method": "GET", "endpoint": "/api/lists/{id}",
           "error_code": "not_found", "revision": "2025-04-15", "request_id": "8f9d1d67-2e73-4ec4-ab9c-400166d80d64"},
    "19": {"timestamp": "2025-05-15T12:14:44Z", "status_code": 404, "method": "POST", "endpoint": "/api/back-in-stock-subscriptions",
           "error_code": "variant_not_found", "error_pointer": "/data/relationships/variant/data/id",
           "request_id": "d232453f-7418-46f7-b580-1630a30ea16d"},
    "20": {"timestamp": "2026-04-28T11:44:47Z", "status_code": 400, "method": "POST", "endpoint": "/api/profiles",
           "error_code": "invalid", "error_pointer": "/data/attributes/email", "revision": "2025-04-15"},
    "21": {"timestamp": "2026-04-28T12:53:35Z", "status_code": 409, "method": "POST", "endpoint": "/api/profiles",
           "error_code": "duplicate_profile", "error_pointer": "/data/attributes", "request_id": "6bade569-c7f0-4b09-b33c-12a371793538"},
    "22": {"timestamp": "2023-10-26T08:30:54Z", "status_code": 400, "method": "POST",
           "endpoint": "/api/profile-subscription-bulk-create-jobs", "error_code": "invalid",
           "error_pointer": "/data/attributes/profiles/data/0/attributes/email", "revision": "2023-09-15"},
    "23": {"timestamp": "2026-03-18T11:27:54Z", "status_code": 404, "method": "PATCH", "endpoint": "/api/profiles/{id}",
           "error_code": "not_found", "error_pointer": "/data/"},
    "24": {"timestamp": "2026-03-17T15:02:16Z", "status_code": 400, "method": "POST",
           "endpoint": "/api/profile-subscription-bulk-create-jobs", "error_pointer": "/data/relationships/list/data/id"},
    "25": {"timestamp": "2026-03-18T10:52:17Z", "status_code": 202, "method": "POST", "endpoint": "/api/events",
           "request_id": "613aefdf-b1d1-4b63-b0a8-400de21b900d", "revision": "2025-04-15", "error_code": None},
    "26": {"status_code": 429, "method": "POST", "endpoint": "/api/segments", "error_code": "throttled", "retry_after_s": 1.0,
           "request_id": "5a58c965-2946-456e-9691-bb1e644e9344"},
    "27": {"status_code": 403, "method": "POST", "endpoint": "/api/webhooks", "error_code": "permission_denied", "answered_by": "klaviyo"},
    "28": {"status_code": 403, "method": "POST", "endpoint": "/api/push-tokens", "error_code": "forbidden", "answered_by": "klaviyo"},
    "29": {"status_code": 500, "method": "POST", "error_code": "error",
           "endpoint": "/api/object-schemas/{id}/relationships/profile-object-schemas"},
    "30": {"status_code": 410, "answered_by": "klaviyo"},
    "31": {"status_code": 400},
    "32": {"status_code": 401, "endpoint": "/api/events"},
    "33": {"status_code": 403, "endpoint": "/api/webhooks"},
    "34": {"status_code": 403, "endpoint": "/api/metrics"},
    "35": {"error_type": "timeout"},
    "36": {"status_code": 500, "endpoint": "/api/events"},
    "37": {"error_type": "reset"},
    "38": {"status_code": 400, "endpoint": "/api/campaigns"},
    "39": {"timestamp": "2020-04-23T23:44:50.836Z", "status_code": 200, "duration_s": 0.134, "level": "info"},
    "40": {"status_code": 504, "endpoint": "/api/v1/lists"},
    "41": {"status_code": 403, "endpoint": "/api/v1/metrics"},
    "42": {"status_code": 429, "retry_after_s": 56.0},
    "43": {"status_code": 429, "retry_after_s": 60.0},
    "44": {"status_code": 429, "error_code": "throttled"},
    "45": {"status_code": 502},
    "46": {"status_code": 503},
    "47": {"error_type": "timeout"},
    "48": {"error_type": "reset"},
    "49": {"status_code": 204, "request_id": "ce5ef2aa-8ac6-45d6-a012-3e40ac646487"},
    "50": {"status_code": 429, "attempt": 1},
    "51": {"status_code": 401},
    "52": {"status_code": 429},
    "53": {"status_code": 404},
    "54": {"status_code": 401},
    "55": {"status_code": 403},
}  # fmt: skip
#: Nothing in them but what surrounds them says whose they are: read in a source that is named after Klaviyo.
NAMELESS = ("02", "07", "08", "09", "31", "37", "39", "43", "55")
#: The application wrote its own time before it, which no wrapper's replaces.
DATED = ("39",)


@pytest.fixture(autouse=True)
def needs_samples() -> None:
    if not Path(SAMPLES).is_file():
        missing("KLAVIYO_LOG_SAMPLES names no file")


@cache
def captured() -> dict[str, list[str]]:
    """Number → lines."""
    blocks = re.split(r"(?m)^={78}\n", Path(SAMPLES).read_text("utf-8"))[1:]
    told = [block.partition("-" * 78 + "\n") for block in blocks]
    return {
        head[1:3]: text.strip("\n").split("\n")
        for head, _, text in told
        if not re.search(r"^kind: .*-template$", head, re.MULTILINE)
    }


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize("number", LABELS)
def test_a_captured_sample_gives_its_row(
    tmp_path: Path, number: str, wrap: Callable[[list[str]], list[str]]
) -> None:
    path = tmp_path / ("klaviyo.log" if number in NAMELESS else "app.log")
    path.write_text("".join(f"{line}\n" for line in wrap(captured()[number])))
    calls = read([str(path)], ALWAYS, redact=str).calls
    assert len(calls) >= 1
    wanted = dict(LABELS[number])
    row = calls.iloc[0]
    moment = wanted.pop("timestamp", None)
    if wrap is plain and moment is not None:
        assert row["timestamp"] == pd.Timestamp(moment)
    assert wrap is plain or pd.notna(row["timestamp"])
    got = {name: None if pd.isna(row[name]) else row[name] for name in wanted}
    assert got == pytest.approx(wanted) if "duration_s" in wanted else got == wanted
    assert len(calls) == 1 or number == "07"


def test_every_captured_sample_is_labelled() -> None:
    assert set(captured()) == set(LABELS)
