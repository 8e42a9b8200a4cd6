"""Bodies of evidence put together by hand: a few probes, some calls, a status page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import samples
from klaviyo_nb.evidence import Evidence, Gap
from klaviyo_nb.frames import CALLS, PROBES

GREEN = {"indicator": "none", "description": "All Systems Operational", "components": [{"name": "Klaviyo API", "status": "operational"}],
         "incidents": [], "maintenances": []}  # fmt: skip
UNUSED = tuple(Gap(signal, "not set", configured=False) for signal in ("logs", "metrics", "webhook"))
ENDPOINTS = ("/api/events", "/api/profiles", "/api/profile-import")


def probe(name: str, status: int | None = 200, **values: Any) -> dict[str, Any]:
    row = {"checked_at": samples.NOW, "probe": name, "target": f"http://{name}", "status_code": status, "duration_s": 0.1,
           "answered_by": None if status is None else "klaviyo"}  # fmt: skip
    return row | values


WELL = (
    probe("status_page", state="none"),
    probe("auth"),
    probe("rate_limit"),
    probe("app_health", state="ok"),
)


def calls(
    *, failed: int = 0, of: int = 120, minutes: tuple[int, int] = (105, 120), **values: Any
) -> list[dict[str, Any]]:
    """`of` calls spread over these minutes of the window, the first `failed` of each ten dozen with `values`."""
    start, end = (samples.WINDOW.start + timedelta(minutes=minute) for minute in minutes)
    step = (end - start) / of
    rows = []
    for index in range(of):
        bad = (index * 37) % of < failed
        row = {"timestamp": start + index * step, "source": "app.log", "line_no": index + 1, "method": "POST",
               "endpoint": ENDPOINTS[index % 3], "status_code": 202, "duration_s": 0.2, "parsed": True}  # fmt: skip
        rows.append(row | (values if bad else {}))
    return rows


def evidence(*probes: dict[str, Any], rows: list[dict[str, Any]] | None = None, page: dict[str, Any] | None = GREEN,
             gaps: tuple[Gap, ...] = UNUSED, **more: Any) -> Evidence:  # fmt: skip
    return Evidence(
        window=samples.WINDOW, collected_at=samples.NOW, probe_rows=tuple(map(PROBES.row, probes or WELL)),
        calls=None if rows is None else CALLS.frame(rows), status_page=page, gaps=gaps,
        context={"revision": "2026-07-15", "key": {"set": True, "length": 37, "prefix": "pk_"}}, **more,
    )  # fmt: skip


def incident(title: str, *components: str) -> dict[str, Any]:
    return GREEN | {
        "incidents": [
            {"name": title, "status": "investigating", "components": [{"name": each} for each in components]}
        ]
    }
