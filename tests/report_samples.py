"""Evidence of other kinds than `samples.rate_limited`, for tests of what a report shows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pandas as pd

import samples
from klaviyo_nb.evidence import Budget, Coverage, Evidence, Gap
from klaviyo_nb.frames import CALLS, as_texts

HOSTILE = "<script>alert(1)</script>\"' onerror=x $\\frac{1}{0}$ | `x` [a](javascript:alert(1)) _b_ \x1b[31m\u202egnp.exe 😀 \x00"


def healthy() -> Evidence:
    return samples.rate_limited(onset_minute=121)


def nothing() -> Evidence:
    return Evidence(
        window=samples.WINDOW,
        collected_at=samples.NOW,
        gaps=(
            Gap("logs", "no log source was given", configured=False),
            Gap("metrics", "no answer from http://prometheus:9090: refused"),
        ),
        budget=Budget(0, 6),
    )


def no_call_in_window() -> Evidence:
    coverage = Coverage(
        "/var/log/app.log", samples.WINDOW, None, lines=12, truncated=True, gap="torn archive"
    )
    return replace(nothing(), calls=CALLS.empty(), coverage=(coverage,))


def recovered() -> Evidence:
    """503s and time-outs from minute 50 to minute 85, and a status page that tells of it late."""
    base = samples.rate_limited(onset_minute=121)
    rng = random.Random(5)
    rows = []
    for row in base.calls.to_dict("records"):  # type: ignore[union-attr]
        minute = (row["timestamp"] - samples.WINDOW.start) / timedelta(minutes=1)
        if 50 <= minute < 85 and rng.random() < 0.85:
            silent = rng.random() < 0.2
            row |= {"status_code": None if silent else 503, "error_type": "timeout" if silent else None}
        rows.append(row)
    update = {
        "status": "investigating",
        "body": f"We are looking into it. {HOSTILE}",
        "display_at": "2026-11-23T06:11:00Z",
    }
    incident = {"name": "API 503 Errors", "status": "investigating", "components": [{"name": "Klaviyo API"}]}
    return replace(
        base,
        calls=CALLS.frame(rows),
        status_page={
            "indicator": "minor",
            "description": "Minor Service Outage",
            "components": [],
            "maintenances": [],
            "incidents": [
                incident | {"incident_updates": [update, {"body": None, "display_at": "not a time"}]}
            ],
        },
        context=dict(base.context) | {"organisation": {"timezone": "Europe/Berlin"}},
    )


def hostile(text: str = HOSTILE) -> Evidence:
    """Everything that others write is `text`."""
    base = samples.rate_limited(calls_per_minute=2)
    calls = as_texts(base.calls)  # type: ignore[arg-type]
    calls["endpoint"] = calls["endpoint"].replace({"/api/profiles": text * 20, "/api/events": f"={text}"})
    for column in ("source", "caller", "host", "message", "error_code", "request_id"):
        calls[column] = text
    columns = ("detail", "error_code", "state", "target", "request_id")
    update = {"status": text, "body": text * 50, "display_at": "2026-11-23T06:11:00Z"}
    return replace(
        base,
        calls=CALLS.frame(calls),
        probe_rows=tuple(dict(row) | dict.fromkeys(columns, text) for row in base.probe_rows),
        status_page={
            "indicator": text,
            "description": text,
            "components": [{"name": text, "status": text}],
            "incidents": [{"name": text, "status": text, "components": [], "incident_updates": [update]}],
            "maintenances": [],
        },
        coverage=(Coverage(text, samples.WINDOW, None, gap=text),),
        gaps=(Gap(text, text),),
    )


CASES = {
    "rate limited": samples.rate_limited,
    "recovered": recovered,
    "healthy": healthy,
    "nothing": nothing,
    "no call in window": no_call_in_window,
    "hostile": hostile,
}


def under_way() -> Evidence:
    """A log that fails from its first line on, and nothing before it."""
    evidence = samples.rate_limited()
    assert isinstance(evidence.calls, pd.DataFrame)
    failing = evidence.calls[evidence.calls["status_code"] == 429].reset_index(drop=True)
    return replace(evidence, calls=failing, earlier=None, metrics=None)
