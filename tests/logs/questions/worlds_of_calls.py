"""Made-up applications that call Klaviyo through an incident, retry, and log; what became of each call is known.

Told by its own tables, not by those of the package: an application sees an answer or none, and retries as its
client library does. What it may know of a call is what can be asked of a ledger.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from klaviyo_nb.window import Window

CALLS = (("POST", "/api/events"), ("POST", "/api/profile-import"), ("GET", "/api/profiles/{id}"))
#: What an incident answers: status or error, what the application may conclude, does its client retry it?
ANSWERS = {
    "throttle": [(429, "turned away", True)],
    "outage": [
        (503, "turned away", True),
        (503, "turned away", True),
        (500, "no telling", False),
        ("timeout", "no telling", False),
    ],
    "broken edge": [
        (502, "no telling", False),
        (504, "no telling", True),
        ("reset", "no telling", False),
        (524, "no telling", True),
    ],
    "dead key": [(401, "wrong", False)],
    "bad payload": [(400, "wrong", False), (404, "wrong", False), (409, "wrong", False)],
    "no network": [(why, "turned away", True) for why in ("dns", "refused", "connect_timeout")],
}


@dataclass
class World:
    """Rows of a CALLS frame in the order of a log, and line of each call's first attempt → what became of it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[int, str] = field(default_factory=dict)


def make(
    seed: int,
    window: Window,
    key: str,
    *,
    numbered: bool = True,
    calls: int = 600,
    trouble: str | None = None,
) -> World:
    """A world whose calls carry `key`: event, profile, request or none."""
    rng = random.Random(f"{seed}/{key}/{numbered}")
    kind = trouble or rng.choice(list(ANSWERS))
    begins, lasts = rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.5)
    share, tries = rng.choice((0.3, 0.8, 1.0)), rng.choice((1, 3, 5))
    told: list[tuple[datetime, int, dict[str, Any]]] = []
    outcomes: list[str] = []
    # without numbers nothing but time parts the calls of one profile: they are made hours apart, or once
    profiles = [f"01P{number:06d}" for number in range(calls if not numbered else calls // 4)]
    for number in range(calls):
        method, path = rng.choice(CALLS)
        moment = window.start + timedelta(seconds=rng.uniform(0, window.seconds * 0.9))
        profile = profiles[number] if not numbered else rng.choice(profiles)
        became = "given up"
        doubt = False
        for attempt in range(1, tries + 1):
            at = (moment - window.start) / (window.end - window.start)
            bad = begins <= at < begins + lasts and rng.random() < share
            answer, meaning, again = (
                rng.choice(ANSWERS[kind]) if bad else (202 if method == "POST" else 200, "taken", False)
            )
            row = {
                "timestamp": moment, "method": method, "endpoint": path,
                "status_code": answer if isinstance(answer, int) else None,
                "error_type": None if isinstance(answer, int) else answer,
                "attempt": attempt if numbered else None, "duration_s": rng.lognormvariate(-1.8, 0.4),
                "retry_after_s": 3.0 if answer == 429 else None,
                "request_id": f"req-{number}" if key == "request" else f"vendor-{rng.getrandbits(60):x}" if isinstance(answer, int) else None,
                "event_key": f"event-{number}" if key == "event" else None,
                "profile_key": profile if key in ("event", "profile") else None,
            }  # fmt: skip
            told.append((moment, number, row if key != "none" else row | {"request_id": None}))
            doubt |= meaning == "no telling"
            became = meaning
            if not again:
                break
            moment += timedelta(seconds=rng.uniform(0.3, 1.0) * 2**attempt)
        outcomes.append({"taken": "delivered", "turned away": "refused", "no telling": "unknown", "wrong": "fix_first"}[
            "no telling" if doubt and became != "taken" else became
        ])  # fmt: skip
    world, first = World(), {}
    for line, (_, number, row) in enumerate(sorted(told, key=lambda each: each[0]), 1):
        world.rows.append(row | {"line_no": line, "source": "app.log"})
        first.setdefault(number, line)
    world.truth = {first[number]: became for number, became in enumerate(outcomes)}
    return world
