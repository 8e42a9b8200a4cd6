"""Which calls a component of Klaviyo's status page concerns.

The full list of components is not published, so names are matched by word, and of an unknown name nobody can
say what it concerns. Names seen: "Klaviyo API", "Analytics", "Segmentation", "List Subscription", "Signup
Forms", "Flow Triggering", "Campaign Email Sending", "Flow Email Sending", "Klaviyo App".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from klaviyo_nb.expressions import expression

#: Words in a component's name → pattern of the path templates it serves. First match wins.
COMPONENTS: tuple[tuple[str, str], ...] = (
    (r"\bapis?\b", r"."),
    (r"\ball (\w+ )?(services|systems|products)\b", r"."),
    (r"\bsending\b|e-?mail", r"^$"),  # what leaves Klaviyo explains no call to it
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
_EVERYTHING = expression(
    r"\bapis?\b|\ball (\w+ )?(services|systems|products)\b|service disruption|major outage|platform(-| )wide",
    re.IGNORECASE,
)


def concerned(components: Iterable[str], weights: Mapping[str, float]) -> float | None:
    """What share of the weight lies on path templates that these components serve.

    Args:
        components: Their names.
        weights: Path template → its weight.

    Returns:
        0 to 1; None if no component's name is known.

    >>> calls = {"/api/events": 3.0, "/api/segments": 1.0}
    >>> concerned(["Segmentation"], calls), concerned(["Campaign Email Sending"], calls)
    (0.25, 0.0)
    """
    served = [paths for paths in map(_serves, components) if paths]
    if not served:
        return None
    pattern = re.compile("|".join(served))
    hit = sum(weight for endpoint, weight in weights.items() if pattern.search(endpoint))
    return hit / (sum(weights.values()) or 1.0)


def _serves(component: str) -> str | None:
    name = component.lower()
    return next((paths for words, paths in COMPONENTS if re.search(words, name)), None)


def concerns_everything(title: str) -> bool:
    """Does an incident with this title, and no component, speak of the API or of all services?

    >>> concerns_everything("API 503 Errors"), concerns_everything("SMS sending delays")
    (True, False)
    >>> concerns_everything("All Klaviyo services are unavailable")
    True
    """
    return bool(_EVERYTHING.search(title))
