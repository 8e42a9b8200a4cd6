"""From evidence to facts: what each source says, which is believed, and what is only presumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis import posted, probed
from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.shares import is_failing
from klaviyo_nb.diagnosis.thresholds import Thresholds

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence


def observe(
    evidence: Evidence, rows: Mapping[str, probed.Row], missed: frozenset[str], limits: Thresholds
) -> Facts:
    """Read the facts from evidence; `missed` is what was asked in vain.

    Where the application's own calls and our probes disagree, the calls are believed: enough successes
    overrule a refused probe, and enough traffic makes the probes silent about `failing`.
    """
    calls, used, fresh = _counted(evidence, limits, whole="some logs" not in missed)
    flowing = (calls.get("last_calls") or 0) >= limits.last_part_calls
    arrived = _delivered(evidence, flowing, limits)
    asked = probed.api_facts(rows)
    unmarked, unsigned = calls.pop("unmarked", False), calls.pop("unsigned", None)
    told = not unmarked and unsigned is None
    if not told:
        key = evidence.context.get("key") or {} if unmarked else {}
        calls = _joined([calls, _by_their_like(calls, unsigned, rows, key)])
    if calls.get("failing"):
        calls |= _behind_a_portal(calls, asked)
    trusted, doubt = _by_trust(calls, asked, fresh, missed, limits)
    merged = _joined(
        [
            probed.app_facts(rows.get("app_health")),
            probed.webhook_facts(rows.get("webhook"), arrived),
            posted.page_facts(evidence.status_page, _weights(calls, used, limits)),
            probed.silence_facts(rows),
            *trusted,
        ]
    )
    if calls.get("failing"):
        merged["probe_failure"] = (
            asked.get("failure") if asked.get("failure") != merged.get("failure") else None
        )
        if merged.get("one_endpoint") is None and probed.others_succeed(rows):
            merged["one_endpoint"] = len(calls.get("endpoints") or ()) == 1 or None
    if not told and not doubt and calls.get("failing"):
        doubt = next((f"{name} was not asked" for name in probed.KEYED if name in missed), None)
    presumed = _presumed(merged, doubt, missed, bool(arrived))
    return Facts(**posted.against_onset(merged), presumed=presumed)


def _counted(evidence: Evidence, limits: Thresholds, whole: bool) -> tuple[dict[str, Any], set[str], bool]:
    """Facts from counting calls, the endpoints in use, and whether the newest calls fail.

    Without logs and metrics no pandas either.
    """
    if evidence.calls is None and evidence.metrics is None:
        return {}, set(), False
    from klaviyo_nb.diagnosis import counted
    from klaviyo_nb.diagnosis.times import times_of

    found = counted.tallies(evidence, limits)
    tally = counted.chosen(found, limits, whole)
    if tally is None:
        return {}, set(), False
    facts = counted.counted_facts(tally, times_of(evidence), evidence, limits)
    if facts["failing"]:
        facts = _joined([facts, counted.failing_facts(tally, facts, limits)])
    return facts, set(tally.frame["endpoint"].dropna().unique()), counted.newest_fail(tally, limits)


def _by_their_like(
    calls: Mapping[str, Any], unsigned: int | None, rows: Mapping[str, probed.Row], key: Mapping[str, Any]
) -> dict[str, Any]:
    """Who answered calls that do not say it, told by what our probes or our key look like.

    A 403 or a 5xx is the edge's or a proxy's if a probe of ours gets the same status from there. Where nobody
    noted why no answer came, our probe gets none for the same reason. A 400 on all endpoints alike is the
    edge's if the key holds what no header can carry.
    """
    statuses = set(calls.get("status_codes") or ())
    asked = (rows[name] for name in probed.KEYED if name in rows)
    ours = [row for row in asked if (row["status_code"] or 0) == unsigned]
    strange = next((row for row in ours if row["answered_by"] != "klaviyo"), None)
    if strange and calls.get("failure") in ("forbidden", "server"):
        kind = probed.kind_of(strange)
        return {
            "failure": kind,
            "failure_alone": calls["failure"] if calls["failure"] != kind else None,
            "answered_by": strange["answered_by"],
            "evidence": {"failure": (*calls["evidence"]["failure"], f"probes#{strange['probe']}")},
            "because": {"failure": f"{calls['because']['failure']}; {probed.said([strange])}"},
        }
    everywhere = calls.get("failure") == "invalid" and calls.get("one_endpoint") is not True
    if everywhere and 400 in statuses and key.get("control_characters"):
        return {"failure": "unauthorized", "answered_by": "edge"}
    return {}


def _behind_a_portal(calls: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """How many calls the share of failures is of: where a portal answers us too, its 200 is no success."""
    if calls.get("answered_by") == "portal" == asked.get("answered_by"):
        return {"since_calls": calls["since_calls"] - calls["since_unclear"]}
    return {"since_unclear": None}


def _delivered(evidence: Evidence, flowing: bool, limits: Thresholds) -> dict[str, Any]:
    if evidence.webhooks is None and evidence.metrics is None:
        return {}
    from klaviyo_nb.diagnosis.webhooks import delivered

    return delivered(evidence, limits.last_part(evidence.window), flowing, limits)


def _joined(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of several sources; later ones are believed over earlier ones."""
    merged: dict[str, Any] = {"evidence": {}, "because": {}}
    for source in sources:
        for name, value in source.items():
            if name in ("evidence", "because"):
                merged[name].update(value)
            elif value is not None:
                merged[name] = value
    return merged


def _weights(calls: Mapping[str, Any], used: set[str], limits: Thresholds) -> dict[str, float]:
    """Endpoints that an incident must concern to explain our failures: those that fail, else those in use."""
    places = calls.get("endpoints") or ()
    sure = [each for each in places if is_failing(each.failed, each.calls, limits.noise_share, limits)]
    failing = {each.endpoint: float(each.failed) for each in sure or places if each.failed}
    return failing or dict.fromkeys(used or {"/api/accounts", "/api/profiles"}, 1.0)


def _by_trust(
    calls: dict[str, Any],
    asked: dict[str, Any],
    fresh: bool,
    missed: frozenset[str],
    limits: Thresholds,
) -> tuple[list[dict[str, Any]], str | None]:
    """Counted and probed facts in the order in which they are believed, least first; and what casts doubt."""
    lesser = next((text for name, text in _LESS_THAN_LOGS.items() if name in missed), None)
    # With two answers to the key, the keyless call decides nothing.
    asks = probed.KEYED if not missed & {*probed.KEYED} and asked else (*probed.KEYED, "liveness")
    unasked = next((f"{name} was not asked" for name in asks if name in missed), None)
    if not calls or calls["failing"] is None:
        # Too little traffic: the probes decide; the counts stay as history.
        few = "few calls were made, and most of them failed" if _mostly_fail(calls) else None
        no_metrics = "the metrics gave nothing" if "metrics" in missed else None
        return [calls, asked], lesser or no_metrics or unasked or few
    unanswered = calls["failing"] and calls.get("failure") == "server" and "nothing_answers" not in calls
    if asked.get("answered_by") == "portal" and (unanswered or not calls["failing"]):
        # A portal answers 200 to everything: in a log that looks like success, or like nothing known.
        return [calls, asked], lesser or unasked
    if calls["failing"]:
        return [
            {name: value for name, value in asked.items() if name not in _DECIDED_BY_COUNTS},
            calls,
        ], lesser or (unasked if unanswered or "failure" not in calls else None)
    many = calls["last_calls"] - calls["last_failed"] >= limits.overrule_successes
    if many and not fresh and "some logs" not in missed:
        return [calls], lesser or unasked
    return [calls, asked] if asked.get("failing") else [asked, calls], lesser or unasked


#: What was asked in vain → why what decides in its place is only presumed.
_LESS_THAN_LOGS = {"logs": "the logs gave nothing", "some logs": "some of the logs were not read"}
_DECIDED_BY_COUNTS = ("one_endpoint", "failures", "status_codes", "retry_after_s", "frees_at", "answered_by",
                      "error_code")  # fmt: skip


def _mostly_fail(calls: Mapping[str, Any]) -> bool:
    failed = calls.get("last_failed") or 0
    return bool(failed >= 3 and 2 * failed >= calls["last_calls"])


def _presumed(
    facts: Mapping[str, Any], doubt: str | None, missed: frozenset[str], arrived: bool
) -> dict[str, str]:
    """Facts that a better source could have told otherwise, had it not been asked in vain → which one."""
    found = dict.fromkeys(_FROM_CALLS, doubt) if doubt else {}
    silent = next((name for name in (*probed.KEYED, "liveness") if name in missed), None)
    if facts.get("nothing_answers") and silent:
        found.setdefault("nothing_answers", f"{silent} was not asked")
    told = ("webhook", "deliveries", "logs") if arrived else ("webhook", "deliveries", "logs", "metrics")
    unseen = next((name for name in told if name in missed), None)
    if facts.get("webhooks_arrive") and unseen:
        found["webhooks_arrive"] = f"{unseen} gave nothing"
    if "some logs" in missed:
        found.setdefault("webhooks_arrive", _LESS_THAN_LOGS["some logs"])
    if "earlier logs" in missed:
        found.setdefault("failed_earlier", "some of the logs were not read to their start")
    return {name: reason for name, reason in found.items() if reason and facts.get(name) is not None}


_FROM_CALLS = (
    "failing",
    "failure",
    "nothing_answers",
    "acknowledged",
    "one_endpoint",
    "slow",
    "failed_earlier",
)
