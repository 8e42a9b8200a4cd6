"""What became of a call, as far as its answer tells, and whether sending it again is safe.

Source:
    https://developers.klaviyo.com/en/reference/events_api_overview (`unique_id`, `time`, `backfill`), the
    OpenAPI description of each operation, and Klaviyo's word on its 503s of April 2026: requests that met one
    "will need to be retried".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from klaviyo_nb.klaviyo.answers import failure

#: `refused`: not accepted, safe to send again. `unknown`: Klaviyo may have accepted it. `fix_first`: not
#: accepted, and it never will be as it is.
Outcome = Literal["refused", "unknown", "fix_first"]
#: `yes`: send it again. `with_care`: it may undo or overwrite what happened since. `person`: somebody must
#: decide. `no`: never as it is.
Advice = Literal["yes", "with_care", "person", "no"]

#: Taken in, which does not say that it is processed.
ACCEPTED = 202
#: Kinds of failure in which the call never reached Klaviyo's application, or was turned away at its door.
_NEVER_IN = ("throttled", "unreachable")
#: Answers that ask for the same call again: it did not arrive whole, came too early, or was turned away.
_AGAIN = (408, 425, 503)


class Replay(NamedTuple):
    """Whether to send a call again.

    Attributes:
        advice: In a word.
        why: In a sentence without a full stop.
    """

    advice: Advice
    why: str


_SENDS = Replay("no", "it sends messages: never automatically")
_STATES = Replay("with_care", "it may overwrite what was changed since: compare first")
_REMOVES = Replay("with_care", "it may undo what was added since")
_SET = Replay("yes", "members of a set: twice is once")
_ONCE = Replay("yes", "a repeat is answered with 409 and changes nothing")
_ORDERLY = Replay("yes", "idempotent by id")

#: Operation → whether to send it again, whatever became of it.
_ALWAYS = {
    **dict.fromkeys(("send_campaign", "create_conversation_message", "update_flow", "update_flow_action",
                     "cancel_campaign_send"), _SENDS),
    "request_profile_deletion": Replay("no", "it cannot be undone: never automatically"),
    "merge_profiles": Replay("no", "it cannot be undone: never automatically"),
    **dict.fromkeys(("bulk_subscribe_profiles", "bulk_unsuppress_profiles", "create_client_subscription"),
                    Replay("person", "people may have left meanwhile, and would be subscribed again")),
    **dict.fromkeys(("bulk_unsubscribe_profiles", "bulk_suppress_profiles"),
                    Replay("yes", "in the direction of privacy; without a list it is for all lists")),
    "create_profile": Replay("yes", "a repeat is answered with 409 and the id of the profile"),
    "create_or_update_profile": Replay("with_care", "the last write wins: old data may overwrite newer"),
    "bulk_import_profiles": Replay("with_care", "the last write wins: old data may overwrite newer"),
    **dict.fromkeys(("add_profiles_to_list", "tag_flows", "tag_campaigns", "tag_lists"), _SET),
    "tag_segments": _SET,
    **dict.fromkeys(("add_items_to_catalog_category", "add_categories_to_catalog_item"), _ONCE),
    **dict.fromkeys((f"bulk_{verb}_catalog_{what}" for verb in ("create", "update")
                     for what in ("items", "variants", "categories")), _ORDERLY),
}  # fmt: skip
#: Operation → whether to send it again if it may have been accepted; if it was refused, yes.
_UNSURE = {
    "bulk_create_events": Replay("no", "one event that was accepted fails all: send them singly"),
    "bulk_create_client_events": Replay("no", "one event that was accepted fails all: send them singly"),
    "create_coupon_code": Replay("no", "codes may exist already: look first"),
    "bulk_create_coupon_codes": Replay("no", "codes may exist already: look first"),
}
_EVENTS = ("create_event", "create_client_event")


def outcome(status_code: int | None, error_type: str | None, answered_by: str | None) -> Outcome | None:
    """What became of one call; None if it did not fail.

    A 503 counts as refused because Klaviyo said so of its outage of April 2026, 408 and 425 because that is
    what they mean (RFC 9110, RFC 8470); 500, 502, 504, 520 to 527 and silence do not tell on which side of
    the work the failure was.

    Args:
        status_code: HTTP status, or None if no answer came.
        error_type: Why no answer came.
        answered_by: Who answered; None counts as Klaviyo's application.
    """
    kind = failure(status_code, error_type, answered_by)
    if kind is None:
        return None
    below = status_code is not None and status_code < 500
    turned_away = status_code in _AGAIN or (below and kind == "server")
    if kind in _NEVER_IN or turned_away:
        return "refused"
    return "unknown" if kind == "server" else "fix_first"


def replay(operation_id: str | None, method: str | None, became: Outcome, unique_id: bool) -> Replay:
    """Whether to send a call that failed again.

    Args:
        operation_id: Of the catalogue; None: it knows none, or the log does not tell which.
        method: HTTP method; None: the log does not tell.
        became: What became of it.
        unique_id: Does the log tell the event's `unique_id`?
    """
    if became == "fix_first":
        return Replay("no", "it is refused again as it is: mend it first")
    if method == "GET":
        return Replay("yes", "it only reads")
    if operation_id in _ALWAYS:
        return _ALWAYS[operation_id]
    if operation_id in _EVENTS:
        return _event(became, unique_id)
    if became == "refused":
        if method in ("PATCH", "PUT"):
            return _STATES
        if method == "DELETE" or (operation_id or "").startswith("remove_"):
            return _REMOVES
        return Replay("yes", "it was not accepted")
    return _UNSURE.get(operation_id or "", Replay("person", "it may have been accepted: look whether it was"))


def _event(became: Outcome, unique_id: bool) -> Replay:
    if unique_id:
        return Replay(
            "yes", "singly, with the same unique_id and its original time; backfill if flows must not fire"
        )
    if became == "refused":
        return Replay("yes", "singly, with its original time; backfill if flows must not fire")
    return Replay("person", "only with the time it was sent with; without one a repeat is a second event")
