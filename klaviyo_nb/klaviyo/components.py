"""Which calls a component of Klaviyo's status page concerns.

The full list of components is not published, so names are matched by word, and an unknown name concerns
nothing. Names seen: "Klaviyo API", "Analytics", "Segmentation", "List Subscription", "Signup Forms",
"Flow Triggering", "Campaign Email Sending", "Flow Email Sending", "Klaviyo App".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Words in a component's name → pattern of the path templates it serves. First match wins.
COMPONENTS: tuple[tuple[str, str], ...] = (
    (r"\bapis?\b", r"."),
    (r"\ball (services|systems|products)\b", r"."),
    (r"analytics|reporting|metric", r"/metric|-reports$|/reporting"),
    (r"segment", r"/segments"),
    (r"subscri|list", r"/lists|/profile-subscription|/subscriptions"),
    (r"form", r"/forms|/client/"),
    (r"catalog", r"/catalog"),
    (r"webhook", r"/webhook"),
    (r"coupon", r"/coupon"),
    (r"review", r"/reviews|/client/review"),
    (r"flow", r"/flows?\b|/flow-"),
    (r"campaign", r"/campaign"),
    (r"sms|push", r"/push|/conversation"),
    (r"profile", r"/profile"),
    (r"event|track|ingest", r"/events|/event-bulk"),
)

#: Words of a title that speaks of everything, for an incident that lists no component.
_EVERYTHING = re.compile(
    r"\bapis?\b|\ball (services|systems|products)\b|service disruption|major outage|platform(-| )wide",
    re.IGNORECASE,
)


def concerns(component: str, endpoints: Iterable[str]) -> bool:
    """Does this component serve any of these path templates?

    >>> concerns("Klaviyo API", ["/api/events"]), concerns("Campaign Email Sending", ["/api/events"])
    (True, False)
    """
    name = component.lower()
    for words, paths in COMPONENTS:
        if re.search(words, name):
            return any(re.search(paths, endpoint) for endpoint in endpoints)
    return False


def concerns_everything(title: str) -> bool:
    """Does an incident with this title, and no component, speak of the API or of all services?

    >>> concerns_everything("API 503 Errors"), concerns_everything("SMS sending delays")
    (True, False)
    """
    return bool(_EVERYTHING.search(title))
