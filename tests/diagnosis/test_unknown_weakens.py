"""What is not seen may weaken a verdict, never turn it into another certainty: over whole bodies of evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.tree import questions, walk
from klaviyo_nb.diagnosis.verdict import Verdict
from klaviyo_nb.evidence import Coverage, Evidence, Gap
from klaviyo_nb.frames import CALLS, METRICS, PROBES, WEBHOOKS
from klaviyo_nb.klaviyo.answers import Failure

#: How a call or a probe ends: HTTP status, why no answer came, who answered.
ENDS: Mapping[str, tuple[int | None, str | None, str | None]] = {
    "well": (200, None, "klaviyo"),
    "unauthorized": (401, None, "klaviyo"),
    "forbidden": (403, None, "klaviyo"),
    "throttled": (429, None, "klaviyo"),
    "invalid": (400, None, "klaviyo"),
    "error": (503, None, "klaviyo"),
    "page": (503, None, "edge"),
    "proxy": (503, None, "proxy"),
    "challenge": (403, None, "challenge"),
    "bare_403": (403, None, None),
    "portal": (200, None, "portal"),
    "silence": (None, "timeout", None),
    "refused": (None, "refused", None),
}
ENDPOINTS = ("/api/events", "/api/profiles", "/api/catalog-items")
PAGES: Mapping[str, Mapping[str, Any]] = {
    "green": {"components": [{"name": "Klaviyo API", "status": "operational"}]},
    "api": {"components": [{"name": "Klaviyo API", "status": "major_outage"}]},
    "catalog": {"components": [{"name": "Catalog", "status": "partial_outage"}]},
    "e-mail": {"components": [{"name": "Campaign Email Sending", "status": "partial_outage"}]},
    "bare": {"indicator": "major", "description": "Partial System Outage"},
}
PROBED = ("status_page", "auth", "rate_limit", "liveness", "app_health", "webhook")
FRAMES = ("calls", "webhooks", "metrics", "status_page")
#: One of two logs, which holds every second call and delivery, or all that one of the hosts wrote.
ONE_LOG = "web-1.log"

#: A stretch of calls: how many, how the bad ones end, their share in tenths, only on one endpoint or host?
STRETCH = st.tuples(
    st.sampled_from([0, 6, 12, 18, 60]),
    st.sampled_from([each for each in ENDS if each != "well"]),
    st.sampled_from([0, 1, 5, 10]),
    st.sampled_from(["all", "endpoint", "host"]),
)
SOURCE = st.none() | st.tuples(STRETCH, STRETCH)
WORLDS = st.fixed_dictionaries(
    {
        "logs": SOURCE,
        "metrics": SOURCE,
        "page": st.sampled_from([None, *PAGES]),
        "webhooks": st.sampled_from([None, "none", "accepted", "bad_signature", "ended"]),
        "probes": st.fixed_dictionaries(
            {name: st.sampled_from([None, *ENDS]) for name in PROBED},
        ),
        "vague": st.booleans(),
        "unused": st.sets(st.sampled_from(["logs", "metrics", "webhook", "app_health", "auth"])),
    }
)
DROPS = st.sets(st.sampled_from([*PROBED, *FRAMES, ONE_LOG]), min_size=1, max_size=4)


def calls(stretches: Iterable[tuple[int, str, int, str]]) -> list[dict[str, Any]]:
    """The first stretch fills the window up to its last 15 minutes, the second those."""
    rows = []
    for (count, end, tenths, where), (start, length) in zip(stretches, ((0, 105), (105, 15)), strict=True):
        for index in range(count):
            endpoint, host = ENDPOINTS[index % 3], f"web-{index % 2}"
            touched = {"all": True, "endpoint": endpoint == ENDPOINTS[2], "host": host == "web-1"}[where]
            bad = touched and (index * 7) % 10 < tenths
            status, error, by = ENDS[end if bad else "well"]
            at = samples.WINDOW.start + timedelta(minutes=start + length * index / count)
            rows.append({"timestamp": at, "source": f"{host}.log", "host": host, "endpoint": endpoint, "status_code": status,
                         "error_type": error, "answered_by": by, "duration_s": 0.2})  # fmt: skip
    return rows


def counters(stretches: Iterable[tuple[int, str, int, str]], vague: bool) -> list[dict[str, Any]]:
    """The same calls, as a counter per endpoint and status that is read every three minutes.

    A vague one tells only whether calls failed.
    """
    rows = []
    told = [
        (row["timestamp"], (row["endpoint"], _label(row["status_code"], vague))) for row in calls(stretches)
    ]
    for minute in range(0, 121, 3):
        at = samples.WINDOW.start + timedelta(minutes=minute)
        for key in sorted({key for _, key in told}):
            endpoint, status = key
            value = sum(each == key and moment < at for moment, each in told)
            labels = {"endpoint": endpoint, "status": status}
            rows.append({"timestamp": at, "role": "requests", "name": "klaviyo_api_requests_total", "value": float(value),
                         "series": json.dumps(labels, sort_keys=True)} | labels)  # fmt: skip
    return rows


def _label(status: int | None, vague: bool) -> str:
    return "success" if status == 200 else "error" if vague else str(status or "unknown")


def deliveries(kind: str) -> list[dict[str, Any]]:
    minutes = {"none": range(0), "ended": range(105)}.get(kind, range(120))
    outcome = "bad_signature" if kind == "bad_signature" else "accepted"
    return [
        {
            "timestamp": samples.WINDOW.start + timedelta(minutes=minute),
            "source": f"web-{minute % 2}.log",
            "outcome": outcome,
        }
        for minute in minutes
    ]


def probe(name: str, end: str) -> dict[str, Any]:
    status, error, by = ENDS[end]
    return {"checked_at": samples.NOW, "probe": name, "target": name, "status_code": status, "error_type": error,
            "duration_s": 0.1, "answered_by": by if name in ("auth", "rate_limit", "liveness") else None}  # fmt: skip


def seen(world: Mapping[str, Any]) -> Evidence:
    """What is seen of a world. What it does not use was never configured; what it lacks beside was asked in vain."""
    unused = set(world["unused"])
    if "auth" in unused:
        unused.add("rate_limit")
    rows = [probe(name, end) for name, end in world["probes"].items() if end and name not in unused]
    logs = None if "logs" in unused else world["logs"]
    webhooks = None if "logs" in unused else world["webhooks"]
    metrics = None if "metrics" in unused else world["metrics"]
    return Evidence(
        window=samples.WINDOW,
        collected_at=samples.NOW,
        probe_rows=tuple(map(PROBES.row, rows)),
        calls=None if logs is None else CALLS.frame(calls(logs)),
        webhooks=None if webhooks is None else WEBHOOKS.frame(deliveries(webhooks)),
        metrics=None if metrics is None else METRICS.frame(counters(metrics, world.get("vague", False))),
        status_page=PAGES.get(world["page"]),
        gaps=tuple(Gap(name, "not set", configured=False) for name in sorted(unused)),
        context={"revision": "2026-07-15"},
    )


def without(evidence: Evidence, drops: Iterable[str]) -> Evidence:
    dropped = set(drops)
    kept = tuple(row for row in evidence.probe_rows if row["probe"] not in dropped)
    left = {name: None if name in dropped else getattr(evidence, name) for name in FRAMES}
    if ONE_LOG in dropped and evidence.calls is not None:
        for name in ("calls", "webhooks"):
            frame = left[name]
            left[name] = None if frame is None else frame[frame["source"] != ONE_LOG].reset_index(drop=True)
        left["coverage"] = (Coverage(ONE_LOG, samples.WINDOW, gap="permission denied"),)
    return replace(evidence, probe_rows=kept, **left)


def weakened(before: Verdict, after: Verdict) -> bool:
    """The rule, as docs/design/unknown-weakens.md has it."""
    if after.cause in (before.cause, "inconclusive"):
        return True
    named = before.cause == "inconclusive" or before.cause in {rival.cause for rival in after.rivals}
    return after.certainty == "tentative" and named


_FINE: Mapping[str, Any] = dict.fromkeys(PROBED, "well")


@settings(max_examples=80, deadline=None)
@given(WORLDS, DROPS)
@example(  # one worker with an old key, and the logs cannot be read any more
    {"logs": ((60, "error", 0, "all"), (60, "unauthorized", 10, "host")), "metrics": None, "page": "green",
     "webhooks": "none", "probes": _FINE, "unused": set()}, {"calls"})  # fmt: skip
@example(  # one of two hosts is throttled, and its log cannot be read
    {"logs": ((60, "error", 0, "all"), (60, "throttled", 10, "host")), "metrics": None, "page": "green",
     "webhooks": "none", "probes": _FINE | {"rate_limit": "throttled"}, "unused": set()}, {ONE_LOG})  # fmt: skip
@example(  # a key without the accounts scope, and the probe that tells so was not asked
    {"logs": None, "metrics": None, "page": "green", "webhooks": None, "probes": _FINE | {"auth": "forbidden"},
     "unused": {"logs", "metrics", "webhook"}}, {"rate_limit"})  # fmt: skip
@example(  # only the keyless call tells that somebody is there
    {"logs": None, "metrics": None, "page": None, "webhooks": None, "unused": {"logs", "metrics", "webhook"},
     "probes": dict.fromkeys(PROBED, "silence") | {"liveness": "unauthorized"}}, {"liveness"})  # fmt: skip
@example(  # a stopped stream of webhooks that only the logs show
    {"logs": ((60, "error", 0, "all"), (60, "error", 0, "all")), "metrics": None, "page": "green",
     "webhooks": "ended", "probes": _FINE, "unused": set()}, {"webhooks"})  # fmt: skip
def test_dropping_any_evidence_may_weaken_the_verdict_but_never_flips_it(
    world: Mapping[str, Any], drops: set[str]
) -> None:
    evidence = seen(world)
    before, after = decide(evidence), decide(without(evidence, drops))
    assert weakened(before, after), f"{before.cause} became {after.certainty} {after.cause}"


ASKED = [question.fact for question in questions()]
BOOL = st.sampled_from([True, False, None])
FACTS = st.builds(
    Facts,
    failure=st.sampled_from([*get_args(Failure), None]),
    presumed=st.dictionaries(st.sampled_from(ASKED), st.just("the logs gave nothing")),
    **{fact: BOOL for fact in ASKED if fact != "failure"},
)


@settings(max_examples=500)
@given(FACTS, st.sets(st.sampled_from(ASKED)))
def test_removing_any_facts_may_weaken_the_walk_but_never_flips_it(facts: Facts, gone: set[str]) -> None:
    before, after = walk(facts), walk(replace(facts, **dict.fromkeys(gone)))
    if after.cause not in (before.cause, "inconclusive"):
        assert before.cause == "inconclusive" or before.cause in {cause for cause, _ in after.alive}
        assert after.alive


def test_any_field_of_the_facts_may_be_absent() -> None:
    told = decide(samples.rate_limited())
    assert set(told.facts) <= {field.name for field in fields(Facts)}
    for field in fields(Facts):
        if field.name not in ("evidence", "because", "presumed"):
            assert walk(replace(Facts(), **{field.name: None})).cause == "inconclusive"
