"""The one sentence that a manager reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.severity import figure
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.klaviyo.ratelimit import shortest_window_s
from klaviyo_nb.lines import many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from klaviyo_nb.diagnosis.tree import Question

_WHAT: dict[Cause, str] = {
    "klaviyo_outage": "Klaviyo acknowledges an incident that explains our failing calls",
    "klaviyo_server_error": "Klaviyo answers our calls with errors or not at all, and does not say why",
    "invalid_key": "Klaviyo does not accept our API key",
    "missing_scope": "Klaviyo forbids our key some calls",
    "rate_limited": "Klaviyo throttles our calls",
    "invalid_request": "Klaviyo rejects what we send",
    "endpoint_degraded": "Klaviyo fails",
    "network_unreachable": "Our calls do not get through to Klaviyo: the way out of our network is broken",
    "app_unhealthy": "Our own application is unwell; calls to Klaviyo are not the trouble",
    "webhook_endpoint_down": "Klaviyo's webhooks do not reach our application",
    "resolved_or_intermittent": "Calls to Klaviyo failed earlier in the window and succeed now",
    "healthy": "No incident was found",
    "inconclusive": "What was seen does not decide it",
}


#: Who answered most of the failing calls → what that means, where it is not Klaviyo's application.
_BY: dict[tuple[Cause, str], str] = {
    (
        "klaviyo_server_error",
        "challenge",
    ): "Klaviyo's edge challenges our calls as a robot's: our egress address"
    " is distrusted, and the key is not the trouble",
    (
        "klaviyo_server_error",
        "edge",
    ): "Klaviyo's edge answers in place of its application, which it does not reach",
    (
        "invalid_key",
        "edge",
    ): "Klaviyo's edge refuses our calls with HTTP 400 before its application sees them:"
    " the key holds a control character",
    (
        "network_unreachable",
        "portal",
    ): "A portal answers in Klaviyo's place: our calls do not leave our network",
    ("network_unreachable", "proxy"): "A proxy of ours answers in Klaviyo's place",
}
#: `errors[].code` of a 403 → what is missing.
_FORBIDDEN = {
    "permission_denied": "a scope of the key, or the account's plan",
    "forbidden": "a feature of the account, not a scope",
}


def summary(cause: Cause, facts: Facts, alive: Sequence[tuple[Cause, Question]]) -> str:
    """What it is, and the figure that says so; what is missing where nothing could be decided."""
    what = _BY.get((cause, facts.answered_by or ""), _WHAT[cause]) if facts.failing else _WHAT[cause]
    return f"{what}{_figure(cause, facts, alive)}{_more(cause, facts)}."


def _more(cause: Cause, facts: Facts) -> str:
    """What tells this case from its neighbours, and what fails beside it."""
    if not facts.failing or cause in ("healthy", "inconclusive"):
        return ""
    parts = []
    if cause == "missing_scope" and facts.error_code in _FORBIDDEN:
        parts.append(f"{facts.error_code} means {_FORBIDDEN[facts.error_code]}")
    if cause == "rate_limited" and facts.retry_after_s is not None:
        parts.append(_wait(facts))
    if facts.failing_hosts:
        parts.append(f"only on {', '.join(facts.failing_hosts[:4])}")
    if facts.differs:
        parts.append(facts.differs)
    parts += [f"beside it {words}" for words in (facts.other_failures or {}).values()]
    return "".join(f"; {part}" for part in parts)


def _wait(facts: Facts) -> str:
    seconds = facts.retry_after_s or 0.0
    if shortest_window_s(seconds) <= 60:
        return f"Klaviyo asks to wait up to {seconds:.0f} s: a window of a second or a minute is spent"
    at = f" and frees at {facts.frees_at:%Y-%m-%d %H:%M} UTC" if facts.frees_at else ""
    return f"a daily cap is spent{at}, {seconds / 3600:.1f} h after the call"


def _figure(cause: Cause, facts: Facts, alive: Sequence[tuple[Cause, Question]]) -> str:
    if cause == "inconclusive":
        questions = list(dict.fromkeys(question.text for _, question in alive))
        return f": nothing answered “{questions[0]}”" if questions else ""
    if cause == "healthy":
        parts = "".join(f"; but {part.words}" for part in (facts.failing_parts or ())[:1])
        return f": {facts.because['failing']}{parts}" if "failing" in facts.because else ""
    if cause == "app_unhealthy":
        return f" ({facts.app_says})"
    if cause == "webhook_endpoint_down":
        return f" ({facts.webhook_says})"
    if cause == "resolved_or_intermittent":
        return f": {facts.failed_calls:,} of {many(facts.calls or 0, 'call')} failed in the window"
    if facts.failing is not True:
        return f": they are slow, p95 {facts.p95_s:.1f} s" if facts.p95_s is not None else ""
    where = ""
    if facts.one_endpoint and facts.endpoints:
        alone = " alone" if cause == "endpoint_degraded" else ""
        where = f" on {facts.endpoints[0].endpoint}{alone}"
    return f"{where}: {figure(facts)}"
