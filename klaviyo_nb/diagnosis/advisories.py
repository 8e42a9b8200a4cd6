"""What is worth knowing and does not change the cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.probed import KEYED, ON_PURPOSE, Row, kind_of, lacks_accounts_scope, said
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.diagnosis.verdict import Advisory
from klaviyo_nb.klaviyo.revisions import Revision, state

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

#: What stands in the traceback of a call that waited without a limit.
_NO_TIMEOUT = r"timeout=None|_sslobj\.read|recv_into"


def advisories(
    evidence: Evidence, rows: Mapping[str, Row], facts: Facts, limits: Thresholds
) -> tuple[Advisory, ...]:
    """All advisories of one body of evidence, the ones about our own set-up first."""
    return tuple(
        Advisory(code, text)
        for code, text in (
            *_about_key(evidence.context.get("key") or {}),
            *_about_parts(facts),
            *_about_refusals(rows, facts),
            *_about_revision(evidence, rows, limits),
            *_about_application(evidence, facts, limits),
            *_about_hosts(evidence, rows, limits),
            *_about_page(facts),
        )
    )


def _about_key(key: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if key.get("control_characters"):
        yield (
            "key_control_characters",
            "KLAVIYO_PRIVATE_KEY carries blanks or control characters; they were stripped here",
        )
    if key.get("vendor"):
        yield "key_other_vendor", f"KLAVIYO_PRIVATE_KEY looks like a key of {key['vendor']}, not of Klaviyo"
    elif key.get("set") and key.get("prefix") != "pk_":
        yield "key_prefix", "KLAVIYO_PRIVATE_KEY does not begin with pk_, as Klaviyo's private keys do"


def _about_parts(facts: Facts) -> Iterator[tuple[str, str]]:
    for part in facts.failing_parts or ():
        yield "part_failing", f"{part.words}; of all others {part.others_fail:.1%} fail"


def _about_refusals(rows: Mapping[str, Row], facts: Facts) -> Iterator[tuple[str, str]]:
    if lacks_accounts_scope(rows):
        yield (
            "key_without_accounts_scope",
            "the key may not read /api/accounts (accounts:read); other endpoints answer it",
        )
    elif facts.failing is False:
        for purpose, means in ((True, "its key is not ours"), (False, "its way to Klaviyo is not ours")):
            bad = [rows[name] for name in KEYED if name in rows and kind_of(rows[name])]
            bad = [row for row in bad if (kind_of(row) in ON_PURPOSE) is purpose]
            if bad:
                code = "probe_refused" if purpose else "probe_failed"
                yield code, f"our probe failed ({said(bad)}) while the application's calls succeed: {means}"
    health = rows.get("app_health")
    if health and facts.app_healthy and health["state"] is None and "json" not in str(health["content_type"]):
        yield (
            "health_not_json",
            "the health endpoint answers 200 without JSON: it may be a page that is always there",
        )


def _about_revision(
    evidence: Evidence, rows: Mapping[str, Row], limits: Thresholds
) -> Iterator[tuple[str, str]]:
    asked = evidence.context.get("revision")
    if asked is None:
        return
    known = state(asked, evidence.collected_at.date())
    yield from _of_revision(f"revision {asked}", known, limits)
    # An older one means only that the endpoint has not changed since.
    newer = {row["revision_effective"] for row in rows.values() if (row["revision_effective"] or "") > asked}
    if newer:
        yield "revision_fall_forward", f"revision {asked} was asked, {', '.join(sorted(newer))} answered"
    dates = {row["retirement_date"] for row in rows.values() if row["retirement_date"]}
    if dates and known.state not in ("deprecated", "retired"):
        yield (
            "revision_deprecated",
            f"Klaviyo says that revision {asked} retires on {', '.join(sorted(dates))}",
        )


def _of_revision(name: str, known: Revision, limits: Thresholds) -> Iterator[tuple[str, str]]:
    if known.state == "retired":
        yield "revision_retired", f"{name} retired on {known.retired_from}: a later one answers in its place"
    elif known.state == "deprecated":
        soon = known.days_left is not None and known.days_left <= limits.revision_days
        code = "revision_soon_retired" if soon else "revision_deprecated"
        yield code, f"{name} is deprecated and retires on {known.retired_from} ({known.days_left} days)"


def _about_application(evidence: Evidence, facts: Facts, limits: Thresholds) -> Iterator[tuple[str, str]]:
    """What the application's logs tell of how it calls."""
    calls = evidence.calls
    if calls is None:
        return
    today, asked = evidence.collected_at.date(), evidence.context.get("revision")
    for revision, count in calls["revision"].value_counts().items():
        if count and revision != asked:
            name = f"the application's revision {revision} ({count:,} calls)"
            yield from _of_revision(name, state(str(revision), today), limits)
    endless = calls["duration_s"] > limits.endless_call_s
    stuck = calls["message"].str.contains(_NO_TIMEOUT, regex=True).fillna(False)
    if (endless | stuck).any():
        longest = calls["duration_s"].max()
        told = f"the longest took {longest:.0f} s" if endless.any() else "as their tracebacks show"
        yield (
            "sdk_without_timeout",
            f"{(endless | stuck).sum()} calls of the application had no time limit, {told}:"
            " Klaviyo's SDKs set none unless told to",
        )
    for host, seconds in (facts.clocks_ahead or {}).items():
        yield (
            "log_clock_ahead",
            f"the clock of {host} is at least {seconds:.0f} s ahead: its lines were moved back by that",
        )


def clock_skew_s(probes: Iterable[Row]) -> float | None:
    """By how much Klaviyo's clock is ahead of this machine's [s], at the least; None if no answer told."""
    skews = [
        (row["server_date"] - row["checked_at"]).total_seconds() - (row["duration_s"] or 0.0) / 2
        for row in probes
        if row["probe"] in (*KEYED, "liveness")  # the status page is another machine, with a clock of its own
        and row["server_date"] is not None
        and row["answered_by"] == "klaviyo"
    ]
    return min(skews, key=abs) if skews else None


def skew_told(skew_s: float) -> str:
    """`clock_skew_s` in words."""
    if abs(skew_s) < 1:
        return "this machine's clock is within a second of Klaviyo's"
    return f"this machine's clock is {abs(skew_s):.0f} s {'behind' if skew_s > 0 else 'ahead of'} Klaviyo's"


def _about_hosts(
    evidence: Evidence, rows: Mapping[str, Row], limits: Thresholds
) -> Iterator[tuple[str, str]]:
    for name in ("tls", "webhook"):
        row = rows.get(name)
        if row and row["cert_expires"] is not None:
            days = (row["cert_expires"] - evidence.collected_at) / timedelta(days=1)
            if days < limits.certificate_days:
                yield "certificate_expiring", f"the certificate of {row['target']} ends in {days:.0f} days"
    skew = clock_skew_s(evidence.probe_rows)
    if skew is not None and abs(skew) > limits.clock_skew_s:
        yield "clock_skew", skew_told(skew)
    for gap in evidence.gaps:
        if gap.signal == "metrics" and gap.configured:
            yield "metrics_unreachable", f"the metrics server gave nothing: {gap.reason}"
            return


def _about_page(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.acknowledged and facts.failing is False:
        yield (
            "status_page_incident",
            f"Klaviyo reports an incident, our calls succeed: {facts.acknowledged_as}",
        )
    onset, posted = facts.onset, facts.acknowledged_at
    if facts.failure == "server" and onset and posted and posted > onset.latest:
        minutes = (posted - onset.latest) / timedelta(minutes=1)
        yield (
            "status_page_late",
            f"we saw failures since {onset.latest:%H:%M} UTC; the status page told of nothing until"
            f" {posted:%H:%M} UTC, {minutes:.0f} minutes later",
        )
