"""A made-up incident as `Evidence`, for tests that need one and do not care how it was collected."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

from klaviyo_nb.evidence import Budget, Coverage, Evidence, Gap
from klaviyo_nb.frames import CALLS, METRICS, PROBES
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
WINDOW = Window.last(timedelta(hours=2), NOW)
ENDPOINTS = ("/api/events", "/api/profiles", "/api/profile-import")

#: A failed call as the Python client raises it: one record of six lines.
TRACE = (
    "Traceback (most recent call last):",
    '  File "/app/klaviyo_api/wrapper.py", line 88, in create_event',
    "openapi_client.exceptions.ApiException: (429)",
    "Reason: Too Many Requests",
    "HTTP response headers: HTTPHeaderDict({'Retry-After': '12'})",
    'HTTP response body: {"errors":[{"status":429,"code":"throttled","source":{"pointer":"/data/"}}]}',
)


def rate_limited(*, calls_per_minute: int = 30, onset_minute: int = 80, seed: int = 1) -> Evidence:
    """429s on /api/profiles from minute `onset_minute` of the window on; all else is well."""
    rng = random.Random(seed)
    rows = []
    for minute in range(120):
        for index in range(calls_per_minute):
            endpoint = rng.choice(ENDPOINTS)
            hit = minute >= onset_minute and endpoint == "/api/profiles" and rng.random() < 0.8
            rows.append(
                {
                    "timestamp": WINDOW.start
                    + timedelta(minutes=minute, seconds=60 * index / calls_per_minute),
                    "source": "/var/log/app.log",
                    "line_no": len(rows) + 1,
                    "host": rng.choice(("web-1", "web-2")),
                    "caller": "profile-sync" if hit else "checkout",
                    "method": "GET" if endpoint == "/api/profiles" else "POST",
                    "endpoint": endpoint,
                    "status_code": 429 if hit else 202,
                    "error_code": "throttled" if hit else None,
                    "duration_s": rng.lognormvariate(-1.8, 0.4),
                    "retry_after_s": 12.0 if hit else None,
                    "request_id": f"00000000-0000-4000-8000-{len(rows):012d}",
                    "level": "error" if hit else "info",
                    "message": "Request was throttled." if hit else "ok",
                    "parsed": True,
                }
            )
    return Evidence(
        window=WINDOW,
        collected_at=NOW,
        probe_rows=tuple(map(PROBES.row, _probes())),
        calls=CALLS.frame(rows),
        metrics=METRICS.frame(_metrics(rows)),
        status_page={
            "indicator": "none",
            "description": "All Systems Operational",
            "components": [{"name": "Klaviyo API", "status": "operational"}],
            "incidents": [],
            "maintenances": [],
        },
        coverage=(
            Coverage("/var/log/app.log", WINDOW, WINDOW, lines=len(rows) * 3, calls=len(rows), unparsed=2),
        ),
        gaps=(Gap("webhook", "KLAVIYO_NB_WEBHOOK_URL is not set", configured=False),),
        budget=Budget(3, 6),
        context={
            "api_url": "https://a.klaviyo.com",
            "status_url": "https://status.klaviyo.com",
            "revision": "2026-07-15",
            "organisation": {"timezone": "UTC", "working_days": [0, 1, 2, 3, 4], "day_end": 17},
            "key": {"set": True, "length": 37, "prefix": "pk_", "control_characters": False, "vendor": None},
            "tool_version": "0.1.0",
        },
    )


def _probes() -> list[dict[str, object]]:
    common = {"checked_at": NOW - timedelta(seconds=2), "server_date": NOW - timedelta(seconds=2)}
    api = common | {
        "answered_by": "klaviyo",
        "revision_asked": "2026-07-15",
        "revision_effective": "2026-07-15",
    }
    return [
        common | {"probe": "status_page", "target": "https://status.klaviyo.com", "status_code": 200, "state": "none",
                  "duration_s": 0.08},
        api | {"probe": "auth", "target": "https://a.klaviyo.com/api/accounts", "status_code": 200, "duration_s": 0.21,
               "upstream_s": 0.05, "request_id": "11111111-1111-4111-8111-111111111111",
               "ratelimit": "1, 1;w=1, 15;w=60", "ratelimit_limit": 1, "ratelimit_window_s": 1, "ratelimit_remaining": 0},
        common | {"probe": "rate_limit", "target": "https://a.klaviyo.com/api/profiles", "status_code": 429,
                  "answered_by": "klaviyo", "error_code": "throttled", "duration_s": 0.19, "retry_after_s": 12.0,
                  "detail": "Request was throttled. Expected available in 12 seconds.",
                  "request_id": "22222222-2222-4222-8222-222222222222"},
        common | {"probe": "app_health", "target": "http://localhost:3000/health", "status_code": 200, "state": "ok",
                  "duration_s": 0.01, "answered_by": "other"},
    ]  # fmt: skip


def _metrics(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Counters at one-minute steps, as the calls above would have moved them."""
    out: list[dict[str, object]] = []
    totals: dict[tuple[str, str], int] = {}
    for minute in range(120):
        until = WINDOW.start + timedelta(minutes=minute)
        totals = {}
        for row in rows:
            if row["timestamp"] < until:  # type: ignore[operator]
                key = (str(row["endpoint"]), str(row["status_code"]))
                totals[key] = totals.get(key, 0) + 1
        for (endpoint, status), value in totals.items():
            role, name = (
                ("errors", "klaviyo_api_errors_total")
                if status == "429"
                else ("requests", "klaviyo_api_requests_total")
            )
            labels = {"endpoint": endpoint, "status": status}
            out.append({"timestamp": until, "role": role, "name": name, "series": json.dumps(labels, sort_keys=True),
                        "endpoint": endpoint, "status": status, "value": float(value)})  # fmt: skip
    return out
