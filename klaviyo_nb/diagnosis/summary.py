"""The one sentence that a manager reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klaviyo_nb.diagnosis.facts import Facts
from klaviyo_nb.diagnosis.severity import figure
from klaviyo_nb.diagnosis.verdict import Cause

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
    "endpoint_degraded": "One endpoint of Klaviyo fails, the others are well",
    "network_unreachable": "Our calls do not get through to Klaviyo: the way out of our network is broken",
    "app_unhealthy": "Our own application is unwell; calls to Klaviyo are not the trouble",
    "webhook_endpoint_down": "Klaviyo's webhooks do not reach our application",
    "resolved_or_intermittent": "Calls to Klaviyo failed earlier in the window and succeed now",
    "healthy": "No incident was found",
    "inconclusive": "What was seen does not decide it",
}


def summary(cause: Cause, facts: Facts, alive: Sequence[tuple[Cause, Question]]) -> str:
    """What it is, and the figure that says so; what is missing where nothing could be decided."""
    return f"{_WHAT[cause]}{_figure(cause, facts, alive)}."


def _figure(cause: Cause, facts: Facts, alive: Sequence[tuple[Cause, Question]]) -> str:
    if cause == "inconclusive":
        questions = list(dict.fromkeys(question.text for _, question in alive))
        return f": nothing answered “{questions[0]}”" if questions else ""
    if cause == "healthy":
        return f": {facts.because['failing']}" if "failing" in facts.because else ""
    if cause == "app_unhealthy":
        return f" ({facts.app_says})"
    if cause == "webhook_endpoint_down":
        return f" ({facts.webhook_says})"
    if cause == "resolved_or_intermittent":
        return f": {facts.failed_calls} of {facts.calls} calls failed in the window"
    if facts.failing is not True:
        return f": they are slow, p95 {facts.p95_s:.1f} s" if facts.p95_s is not None else ""
    where = ""
    if facts.one_endpoint and facts.endpoints:
        where = f" on {facts.endpoints[0].endpoint}"
    return f"{where}: {figure(facts)}"
