"""Webhooks: does a record tell of a delivery from Klaviyo to us, and was it accepted?"""

from __future__ import annotations

import re
from typing import Any

from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.formats import text, values
from klaviyo_nb.logs.formats.answering import FAILS_FROM, our_answer
from klaviyo_nb.logs.formats.outcomes import Outcome
from klaviyo_nb.logs.formats.places import Where
from klaviyo_nb.logs.formats.reading import Read

_OTHERS_HOOK = expression(
    r"\b(?:shopify|stripe|recharge|bigcommerce|paypal|github|twilio|hubspot)\W{1,3}webhook"
)
_HOOK_REJECTED = expression(
    r"signature\W+(?:\w+\W+){0,3}(?:invalid|mismatch|fail|reject|missing|wrong)|"
    r"(?:invalid|bad|wrong|mismatch|reject|fail|missing|"
    r"unverified)\w*\W+(?:\w+\W+){0,3}signature", re.IGNORECASE
)  # fmt: skip
_HOOK_FAILED = expression(
    r"\b(?:failed|failure|error|exception|could(?: not|n't)|cannot|unable to|blocked|denied|"
    r"unknown webhook|rejected|refused|panicked|crashed|dropping)\b",
    re.IGNORECASE,
)
_HOOK_ARRIVED = expression(
    r"\b(?:received|processed|accepted|handled|verified|unhandled topic|ok|success\w*)\b", re.IGNORECASE
)
_HOOK_OURS = expression(
    r"(?<![.:/_-])\b(?:send|sending|sent|create[sd]?|creating|"
    r"(?<!not )register\w*|subscri\w+|configur\w+|deliver to)\b",
    re.IGNORECASE,
)
_HOOK_ROUTE = expression(
    r"(?<![\w.:/])/(?:[\w-]+/){0,4}[\w-]*hooks?/klaviyo\b|(?<![\w.:/])/(?:[\w-]+/){0,4}klaviyo[\w/-]*hook"
)
_SERVER = expression(r"https?://[^/]*")


def webhook(it: Read, body: str, where: Where, outcome: Outcome, speaks: bool) -> dict[str, Any] | None:
    """A delivery from Klaviyo to us, if the record tells of one."""
    low = it.text[: text.MOST].lower()
    route = _route_in(low, where) if "hook" in low else ""
    routed = "klaviyo" in route and "hook" in route  # a request to a route of our own
    if (
        ("webhook" not in low and not routed)
        or where.place == "api"
        or not (speaks or body.lstrip().startswith("[Webhook]"))
        or "Parameters: {" in body  # what came in, before anything was done with it
    ):
        return None
    if where.place == "path" and not it.access:
        return None
    if it.access and not routed:
        return None
    if _OTHERS_HOOK.search(low):
        return None
    verdict = _delivery(body, outcome)
    if verdict is None and routed and (status := text.lone_status(body)):
        verdict = _delivery(body, Outcome(status))
    if where.endpoint is not None and not it.access and our_answer(it.text):
        return None
    if verdict is None or (_HOOK_OURS.search(body) and verdict != "bad_signature" and not routed):
        return None
    topic = text.search("topic", body)
    said = it.found.values
    return {"topic": values.word(said.get("topic")) or (topic["v"] if topic else None), "outcome": verdict,
            "sent_at": said.get("sent_at")}  # fmt: skip


def _route_in(low: str, where: Where) -> str:
    """The route of ours that was asked for."""
    if where.path:
        return _SERVER.sub("", where.path.partition("?")[0].lower())
    found = _HOOK_ROUTE.search(low) if "post" in low else None
    return found[0] if found else ""


def _delivery(body: str, outcome: Outcome) -> str | None:
    if _HOOK_REJECTED.search(body) or outcome.status in (401, 403):
        return "bad_signature"
    if outcome.status is not None:
        return "accepted" if outcome.status < FAILS_FROM else "failed"
    if outcome.worked is not None:
        return "accepted" if outcome.worked else "failed"
    if outcome.error or _HOOK_FAILED.search(body):
        return "failed"
    return "accepted" if _HOOK_ARRIVED.search(body) or "klaviyo.webhook." in body else None
