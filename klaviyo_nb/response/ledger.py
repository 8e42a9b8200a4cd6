"""What became of a call that failed, as far as its answer tells, and whether sending it again is safe."""

from __future__ import annotations

from typing import Literal

from klaviyo_nb.klaviyo.answers import failure

#: `refused`: not accepted, safe to send again. `unknown`: Klaviyo may have accepted it. `fix_first`: not
#: accepted, and it never will be as it is.
Outcome = Literal["refused", "unknown", "fix_first"]

#: Kinds of failure in which the call never reached Klaviyo's application, or was turned away at its door.
_NEVER_IN = ("throttled", "unreachable")


def outcome(status_code: int | None, error_type: str | None, answered_by: str | None) -> Outcome | None:
    """What became of one call; None if it did not fail.

    A 503 counts as refused because Klaviyo said so of its outage of April 2026; 500, 502, 504, 520 to 527 and
    silence do not tell on which side of the work the failure was.

    Args:
        status_code: HTTP status, or None if no answer came.
        error_type: Why no answer came.
        answered_by: Who answered; None counts as Klaviyo's application.
    """
    kind = failure(status_code, error_type, answered_by)
    if kind is None:
        return None
    turned_away = status_code == 503 or (status_code is not None and status_code < 500 and kind == "server")
    if kind in _NEVER_IN or turned_away:
        return "refused"
    return "unknown" if kind == "server" else "fix_first"
