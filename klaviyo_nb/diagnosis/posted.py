"""Facts from Klaviyo's status page: does it tell of something that explains our failures, and since when?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from klaviyo_nb.errors import UsageError
from klaviyo_nb.klaviyo.components import concerned, concerns_everything
from klaviyo_nb.window import parse_time

#: A post in one of these states tells of nothing that goes on now.
_NOT_NOW = frozenset({"scheduled", "completed", "resolved", "postmortem"})


def page_facts(page: Mapping[str, Any] | None, weights: Mapping[str, float]) -> dict[str, Any]:
    """`acknowledged`: does Klaviyo's page tell of something that explains failing calls to these endpoints?

    Unresolved incidents and maintenance in progress count by the components they list, else, or where no
    component's name is known, by their title; degraded components count by name. A post explains the
    failures if half of them fall on what it concerns; if fewer do, it is `acknowledged_in_part`. A page that
    only tells its indicator counts when that is critical.

    Args:
        page: `Evidence.status_page`.
        weights: Endpoints in use → how much each counts: its failures, or 1 each where none fails.
    """
    if page is None:
        return {}
    told: dict[str, list[str]] = {"ours": [], "part": [], "others": []}
    first: list[datetime] = []
    for text, share, posted in _posts(page, weights):
        told["ours" if share >= 0.5 else "part" if share else "others"].append(text)
        if share >= 0.5 and posted:
            first.append(posted)
    known = bool(page.get("components") or page.get("incidents"))
    acknowledged: bool | None = bool(told["ours"])
    if not any(told.values()) and not known and page.get("indicator") not in (None, "none"):
        acknowledged = True if page["indicator"] == "critical" else None
        told["ours"] = [str(page.get("description"))] if acknowledged else []
    words = {name: "; ".join(dict.fromkeys(texts)) or None for name, texts in told.items()}
    said = (
        words["ours"] or words["part"] or words["others"] or page.get("description") or page.get("indicator")
    )
    return {
        "acknowledged": acknowledged,
        "acknowledged_as": words["ours"],
        "acknowledged_at": min(first, default=None),
        "acknowledged_in_part": words["part"],
        "unrelated": words["others"],
        "evidence": {"acknowledged": ("status_page",)},
        "because": {"acknowledged": str(said)},
    }


def against_onset(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, with what the page said when our calls began to fail added to its words."""
    onset, posted = facts.get("onset"), facts.get("acknowledged_at")
    if facts.get("failing") and onset and facts.get("acknowledged") is not None:
        since = f"we saw failures since {onset.latest:%H:%M} UTC"
        said = facts["because"]["acknowledged"]
        if posted and posted > onset.latest:
            said = f"{said}; {since}, the page told of nothing until {posted:%H:%M} UTC"
        elif not facts["acknowledged"]:
            said = f"{said}, while {since}"
        facts["because"]["acknowledged"] = said
    return facts


def _posts(
    page: Mapping[str, Any], weights: Mapping[str, float]
) -> Iterator[tuple[str, float, datetime | None]]:
    """What the page tells, the share of the failures that it concerns, and when it was posted."""
    for post in [*(page.get("incidents") or ()), *(page.get("maintenances") or ())]:
        status = str(post.get("status", "status unknown"))
        if status in _NOT_NOW:
            continue
        name = str(post.get("name", ""))
        components = [str(component.get("name", "")) for component in post.get("components") or ()]
        share = concerned(components, weights)
        if share is None:
            share = 1.0 if concerns_everything(name) else 0.0
        yield f"{name} ({status})", share, _time(post.get("created_at"))
    for component in page.get("components") or ():
        if component.get("status", "operational") != "operational" and not component.get("group"):
            name = str(component.get("name", ""))
            yield f"{name}: {component.get('status')}", concerned([name], weights) or 0.0, None


def _time(text: Any) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except UsageError:
        return None
