"""What to do now, per cause. Nothing is executed: each action is a text, most with a command to copy.

To add an action, write it in `refused` (Klaviyo said no on purpose) or `trouble` (all else); to add a cause,
name its function here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from klaviyo_nb.evidence import remembered
from klaviyo_nb.response import refused, trouble
from klaviyo_nb.response.case import Action, Case

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Cause, Verdict
    from klaviyo_nb.evidence import Evidence

__all__ = ["Action", "actions_for"]

_BY_CAUSE: Mapping[Cause, Callable[[Case], Iterator[Action]]] = {
    "klaviyo_outage": trouble.klaviyo,
    "klaviyo_server_error": trouble.klaviyo,
    "invalid_key": refused.invalid_key,
    "missing_scope": refused.missing_scope,
    "rate_limited": refused.rate_limited,
    "invalid_request": refused.invalid_request,
    "endpoint_degraded": trouble.endpoint_degraded,
    "network_unreachable": trouble.network,
    "app_unhealthy": trouble.app,
    "webhook_endpoint_down": trouble.webhook,
    "resolved_or_intermittent": trouble.resolved,
    "healthy": trouble.healthy,
    "inconclusive": trouble.inconclusive,
}


def actions_for(verdict: Verdict, evidence: Evidence) -> tuple[Action, ...]:
    """The actions of a verdict, in the order in which to take them, filled with this incident's values."""
    return _actions(evidence, verdict)


@remembered
def _actions(evidence: Evidence, verdict: Verdict) -> tuple[Action, ...]:
    case = Case(verdict, evidence)
    return (*_BY_CAUSE[verdict.cause](case), *_where_it_differs(case))


def _where_it_differs(case: Case) -> Iterator[Action]:
    """Look at what only the failing calls have in common."""
    differs = case.verdict.facts.get("differs")
    if differs:
        yield Action(
            "Compare what fails with what works: what is special about it?",
            f"{differs}. A deploy, a key, a setting or an address of its own may be why.",
            f"{case.logs()} --ask contrast",
            "the same value on top, with what else differs",
            None,
            case.check("calls"),
        )
