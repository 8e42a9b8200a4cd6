"""Evidence that leaves charts little room: many markers, an edge of the window, long names, days, no call."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from klaviyo_nb.evidence import Coverage, Evidence
from klaviyo_nb.frames import CALLS, NOTES
from klaviyo_nb.window import Window

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
LONG = "/api/coupon-code-bulk-create-jobs/{id}/relationships/very-long-relationship-name-%d/and-more-of-it"


def world(
    bad: Sequence[tuple[int, int]],
    *,
    hours: float = 2,
    start: datetime = START,
    endpoints: Sequence[str] = ("/api/events", "/api/profiles"),
    failing: Sequence[str] = (),
    posts: Sequence[int] = (),
    deploys: Sequence[int] = (),
) -> Evidence:
    """2,400 calls, of which 503s are seven in ten within `bad` [s from the start]; posts and deploys at minutes."""
    rng, rows, size = random.Random(1), [], 2_400
    for number in range(size):
        at, endpoint = hours * 3600 * (number + rng.random()) / size, rng.choice(endpoints)
        fails = any(a <= at < b for a, b in bad) and (not failing or endpoint in failing)
        rows.append(
            {"timestamp": start + timedelta(seconds=at), "source": "app.log", "line_no": number + 1, "method": "POST",
             "endpoint": endpoint, "status_code": 503 if fails and rng.random() < 0.7 else 202, "duration_s": 0.2}
        )  # fmt: skip
    window = Window(start, start + timedelta(hours=hours))
    moments = [start + timedelta(minutes=each) for each in deploys]
    noted = [{"written_at": at, "at": pd.Timestamp(at), "kind": "deploy", "text": "a release with a long description"}
             for at in moments]  # fmt: skip
    updates = [
        {
            "status": "monitoring",
            "body": "A fix is out.",
            "created_at": (start + timedelta(minutes=m)).isoformat(),
        }
        for m in posts
    ]
    return Evidence(
        window, window.end, calls=CALLS.frame(rows), notes=NOTES.frame(noted) if noted else None,
        coverage=(Coverage("app.log", window, window, lines=size, calls=size),),
        status_page={"incidents": [{"name": "API", "incident_updates": updates}] if posts else []},
    )  # fmt: skip


WORLDS: dict[str, Callable[[], Evidence]] = {
    "eight deploys and three posts close together": lambda: world(
        [(2400, 4800)], deploys=range(30, 54, 3), posts=(47, 49, 52)
    ),
    "eight deploys and three posts far apart": lambda: world(
        [(2400, 4800)], deploys=range(5, 117, 14), posts=(12, 40, 72)
    ),
    "a day": lambda: world([(21_600, 32_400)], hours=24),
    "three days": lambda: world([(21_600, 132_400)], hours=72, deploys=(600,)),
    "a quarter of an hour": lambda: world([(300, 900)], hours=0.25),
    "a change of year": lambda: world([(3000, 5000)], start=datetime(2026, 12, 31, 23, tzinfo=UTC)),
    "under way at the start": lambda: world([(0, 1500)]),
    "at the end": lambda: world([(6900, 7200)]),
    "two incidents": lambda: world([(1500, 2400), (5000, 5900)], deploys=(20, 80)),
    "two incidents in days": lambda: world([(50_000, 70_000), (150_000, 170_000)], hours=72),
    "one endpoint": lambda: world([(2400, 4800)], endpoints=("/api/events",)),
    "forty endpoints": lambda: world([(2400, 4800)], endpoints=[f"/api/thing-{n}" for n in range(40)]),
    "long names": lambda: world([(2400, 4800)], endpoints=[LONG % n for n in range(6)], failing=[LONG % 2]),
    "no call": lambda: replace(world([]), calls=None, coverage=()),
}
