"""Made-up calls of which it is known what makes them fail, or that nothing does; made from a seed.

Knows nothing of how `contrast` works. A logical call is drawn with its host, worker, caller, endpoint and
revision, which hang together as in a real shop: workers belong to hosts, callers to endpoints, revisions to
deployments. It fails by background noise, in a burst that hits everybody, in a burst that hits one sort of
calls for seconds, or because of the culprit; then it is retried, and a retry mostly fails as the first try did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from klaviyo_nb.frames import CALLS
from klaviyo_nb.window import Window

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
ENDPOINTS = (
    ("POST", "/api/events"), ("GET", "/api/profiles"), ("POST", "/api/profiles"), ("POST", "/api/profile-import"),
    ("GET", "/api/lists"), ("GET", "/api/flows"), ("GET", "/api/metrics"), ("POST", "/api/metric-aggregates"),
    ("GET", "/api/segments"), ("POST", "/api/profile-bulk-import-jobs"), ("GET", "/api/campaigns"), ("GET", "/api/events"),
)  # fmt: skip
CULPABLE = ("endpoint", "host", "worker", "caller", "revision")
ATTRIBUTES = (*CULPABLE, "method")
#: A culprit made so many calls fail that would not have failed without it, and such a share of all that fail.
LEAST_DONE, LEAST_SHARE = 60, 0.2
REVISIONS = ("2025-10-15", "2026-01-15", "2026-04-15", "2026-07-15")


@dataclass(frozen=True)
class World:
    """Calls, and what makes them fail: attribute → value, of one or two; empty: nothing does."""

    calls: pd.DataFrame
    window: Window
    culprit: dict[str, str]


def world(seed: int, attributes: int, noise: float | None = None) -> World:
    """A world whose culprit is of so many attributes; `noise` is the share that fails anyway."""
    rng = np.random.default_rng([seed, attributes, 7919])
    while True:
        made = _world(rng, attributes, noise)
        if made is not None:
            return made


def _world(rng: np.random.Generator, attributes: int, noise: float | None) -> World | None:
    """None: there is no culprit that could be told apart, or it hardly did anything."""
    calls = _logical(rng)
    found = _culprit(rng, calls, attributes) if attributes else {}
    if found is None:
        return None
    window = Window.last(timedelta(hours=float(rng.choice([0.5, 1, 2, 2, 2, 6]))), NOW)
    calls["at"] = _times(rng, len(calls), window.seconds)
    noise = float(rng.choice([0.0, 0.01, 0.03, 0.08, 0.15])) if noise is None else noise
    anyway = _chance(rng, calls, window.seconds, noise)
    drawn = rng.random(len(calls))
    fails = drawn < anyway
    if found:
        begin, lasts = rng.uniform(0, 0.7) * window.seconds, rng.uniform(0.25, 1.0) * window.seconds
        hit = mask(calls, found) & calls["at"].between(begin, begin + lasts).to_numpy()
        share = float(rng.choice([0.3, 0.6, 0.9, 1.0]))
        fails = np.where(hit, drawn < np.maximum(anyway, share), fails)
        done = int(fails.sum() - (drawn < anyway).sum())
        if done < LEAST_DONE or done < LEAST_SHARE * fails.sum():
            return None
    return World(_frame(rng, _retried(rng, calls, fails), window, found), window, found)


def _logical(rng: np.random.Generator) -> pd.DataFrame:
    """Calls without their outcome."""
    count = int(rng.choice([2_000, 5_000, 12_000, 30_000]))
    hosts, callers = int(rng.integers(2, 9)), int(rng.integers(2, 8))
    host = rng.choice(hosts, count, p=_shares(rng, hosts))
    worker = host * 4 + rng.integers(0, int(rng.integers(1, 5)), count)
    caller = rng.choice(callers, count, p=_shares(rng, callers))
    wants = np.array([rng.dirichlet(np.full(len(ENDPOINTS), 0.3)) for _ in range(callers)]).cumsum(axis=1)
    endpoint = (rng.random(count)[:, None] > wants[caller]).sum(axis=1).clip(0, len(ENDPOINTS) - 1)
    deployed = rng.integers(0, len(REVISIONS), (callers, hosts))
    deployed[rng.random((callers, hosts)) < 0.6] = 3
    return pd.DataFrame(
        {
            "host": [f"web-{each}" for each in host],
            "worker": [f"worker-{each}" for each in worker],
            "caller": [f"job-{each}" for each in caller],
            "method": [ENDPOINTS[each][0] for each in endpoint],
            "endpoint": [ENDPOINTS[each][1] for each in endpoint],
            "revision": [REVISIONS[each] for each in deployed[caller, host]],
        }
    )


def _shares(rng: np.random.Generator, count: int) -> Any:
    return rng.dirichlet(np.full(count, 4.0))


def _culprit(rng: np.random.Generator, calls: pd.DataFrame, attributes: int) -> dict[str, str] | None:
    """Values that have 1 % to 60 % of the calls, and not nearly the same calls as another value or pair has."""
    names = list(map(str, rng.choice(CULPABLE, attributes, replace=False)))
    one = calls.iloc[int(rng.integers(len(calls)))]
    found = {name: str(one[name]) for name in names}
    hit = mask(calls, found)
    if not 0.01 <= hit.mean() <= 0.6:
        return None
    for other in ((name,) for name in ATTRIBUTES), combinations(ATTRIBUTES, 2):
        for columns in map(list, other):
            sizes, both = calls.groupby(columns).size(), calls[hit].groupby(columns).size()
            overlap = (both / (hit.sum() + sizes - both)).sort_values(ascending=False)
            if (overlap > 0.75).sum() > (sorted(columns) == sorted(names)):
                return None
    return found


def mask(calls: pd.DataFrame, terms: dict[str, str]) -> Any:
    """Which calls have these values?"""
    return np.logical_and.reduce([(calls[name] == value).to_numpy() for name, value in terms.items()])


def _times(rng: np.random.Generator, count: int, seconds: float) -> Any:
    """Traffic that swells and ebbs, with a job that runs for a while."""
    at = rng.random(count * 2) * seconds
    swell = 0.6 + 0.4 * np.sin(at / seconds * 2 * np.pi * rng.integers(1, 4) + rng.random() * 6)
    at = at[rng.random(len(at)) < swell]
    return np.sort(rng.choice(at, count))


def _chance(rng: np.random.Generator, calls: pd.DataFrame, seconds: float, noise: float) -> Any:
    """How likely each call is to fail, whoever the culprit is."""
    at = calls["at"].to_numpy()
    chance = np.full(len(calls), noise)
    for _ in range(int(rng.integers(0, 4))):  # everybody
        begin, lasts = rng.random() * seconds, rng.uniform(5, 400)
        chance[(at >= begin) & (at < begin + lasts)] = rng.uniform(0.1, 0.9)
    for _ in range(int(rng.integers(0, 6))):  # one sort, for seconds
        name = str(rng.choice(CULPABLE))
        sort = (calls[name] == calls[name].iloc[int(rng.integers(len(calls)))]).to_numpy()
        begin, lasts = rng.random() * seconds, rng.uniform(1, 30)
        chance[sort & (at >= begin) & (at < begin + lasts)] = rng.uniform(0.5, 1.0)
    return chance


def _retried(rng: np.random.Generator, calls: pd.DataFrame, fails: Any) -> pd.DataFrame:
    """Attempts: a call that failed is tried again after 1, 2, 4 … or a fixed number of seconds."""
    calls = calls.assign(failed=fails)
    most, stays = int(rng.choice([0, 1, 3, 5])), float(rng.choice([0.3, 0.8, 0.95]))
    waits = [2.0**n for n in range(most)] if rng.random() < 0.7 else [5.0] * most
    attempts, last = [calls], calls
    for wait in waits:
        last = last[last["failed"]].copy()
        last["at"] += wait * rng.uniform(0.8, 1.2, len(last))
        last["failed"] = rng.random(len(last)) < stays
        attempts.append(last)
    return pd.concat(attempts)


def _frame(
    rng: np.random.Generator, attempts: pd.DataFrame, window: Window, culprit: dict[str, str]
) -> pd.DataFrame:
    attempts = attempts[attempts["at"] < window.seconds].sort_values("at")
    failed = attempts.pop("failed").to_numpy()
    status = int(rng.choice([400, 403, 429, 500, 503]))
    frame = attempts.drop(columns="at").reset_index(drop=True)
    frame["timestamp"] = pd.Timestamp(window.start) + pd.to_timedelta(attempts["at"].to_numpy(), unit="s")
    frame["status_code"] = np.where(failed, status, 200)
    for name in ("error_code", "error_pointer"):  # the failure itself
        frame[name] = pd.Series(np.where(failed, f"the {name}", None), dtype="str")
    for name in ("revision", "worker", "caller"):  # not every line tells everything
        if rng.random() < 0.3:
            untold = 0.2 if name in culprit else float(rng.choice([0.2, 0.9]))
            frame[name] = frame[name].where(rng.random(len(frame)) > untold, None)
    return CALLS.frame(frame)
