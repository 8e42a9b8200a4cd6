"""How a call ended, as its record says: with a status, without an answer, or by words such as "ok"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from klaviyo_nb.expressions import expression
from klaviyo_nb.klaviyo.answers import CODES
from klaviyo_nb.logs.formats import text, values
from klaviyo_nb.logs.formats.answering import CALM
from klaviyo_nb.logs.formats.places import Where
from klaviyo_nb.logs.formats.reading import Read
from klaviyo_nb.logs.formats.silence import no_response

_WORKED = expression(
    r"\b(?:ok|succeeded|success(?:ful(?:ly)?)?|completed|delivered|accepted)\b", re.IGNORECASE
)
_NOT_WORKED = expression(r"\b(?:failed|failure|error)\b", re.IGNORECASE)
#: How node and its libraries say why no response came.
_CODE = expression(r"\"code\" ?: ?\"(E[A-Z_]{4,20}|UND_ERR_\w{4,30}|ERR_\w{4,30})\"", re.ASCII)
#: What proxies and Tornado write of an answer that did not come in time; Klaviyo sends none of them.
UNANSWERED = frozenset((598, 599))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    Attributes:
        status: HTTP's; None if the record names none.
        error: Why no answer came, as `error_type` of the CALLS frame.
        worked: What words say of it, where neither is known.
        at: Where in the text the status stands.
    """

    status: int | None = None
    error: str | None = None
    worked: bool | None = None
    at: int | None = None

    @property
    def known(self) -> bool:
        """Was there a status, or no answer?"""
        return self.status is not None or self.error is not None


def outcome_of(it: Read, body: str, where: Where) -> Outcome:
    """What a record says of how its call ended; all None if nothing."""
    said = it.found.values
    status = None if where.told else values.status(said.get("status"))  # a key speaks of what came in
    status = 0 if it.access and said.get("status") == "0" else status  # Envoy: no answer was sent
    at = None
    if (status is None or where.told) and (found := text.status(body)):
        status, at = int(found["v"]), found.start("v")
    if status is None and (where.place in ("api", "path") or str(said.get("outcome")).startswith("HTTP")):
        status = values.status(said.get("outcome"))
    if status is None:
        status = text.said_status(f"{body}\nstatus {'' if where.told else said.get('status')}") or CODES.get(
            str(said.get("error_code"))
        )
    if unanswered := status in UNANSWERED:
        status = at = None
    worked = values.good(said.get("outcome"))
    worked = values.good(said.get("status")) if worked is None else worked
    if status:
        return Outcome(status, None, worked, at)
    silence = no_response(body, calm=where.path is None and values.level(said.get("level")) in CALM)
    silence = (
        silence or no_response(f"reason: {said.get('outcome')}") or (("timeout", 0) if unanswered else None)
    )
    if (silence is None or silence[0] == "other") and (code := _CODE.search(it.text)):
        silence = no_response(code[1]) or silence
    error, at = silence if silence else ("other" if status == 0 else None, None)
    tied = where.place in ("api", "path") or where.endpoint is not None
    if error is None and tied and (status := text.lone_status(body)):
        return Outcome(status)
    if error is None and worked is None and where.path is not None and not text.supposes(body):
        worked = False if _NOT_WORKED.search(body) else True if _WORKED.search(body) else None
    return Outcome(None, error, worked, at)
