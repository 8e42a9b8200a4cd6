"""The API: can we authenticate, what does our rate limit do, is anybody there at all?

Three requests leave at once. The bodies hold personal data, so sparse fieldsets are asked for, and of a body
only an error is kept. The keyless one is expected to be refused with 401: that refusal, by Klaviyo's
application, shows that edge, application and authentication are alive, whatever becomes of the key.
"""

from __future__ import annotations

import asyncio

from klaviyo_nb.klaviyo.answers import failure
from klaviyo_nb.klaviyo.keys import usable
from klaviyo_nb.probes.asked import Round
from klaviyo_nb.probes.asking import Question, Row

#: Probe → path and query. Brackets are percent-encoded: some clients read bare ones as a pattern.
PATHS = {
    "auth": "/api/accounts?fields%5Baccount%5D=timezone",
    "rate_limit": "/api/profiles?page%5Bsize%5D=1&fields%5Bprofile%5D=created",
    "liveness": "/api/accounts",
}
#: Pause before a second try, and what must be left of the deadline for it [s].
PAUSE_S, WORTHWHILE_S = 0.3, 1.5
_WORTH_AGAIN = {"reset", "truncated", "protocol"}


async def probe_api(this: Round, name: str) -> None:
    """Ask one of `PATHS`; `liveness` without the key.

    A single 5xx or broken connection is asked again once, if budget and deadline allow: one bad answer in a
    hundred is normal. The row is then the second answer's and its detail tells of the first.
    """
    with_key = name != "liveness"
    if with_key and not usable(this.settings.private_key):
        held = this.settings.private_key is not None
        reason = "KLAVIYO_PRIVATE_KEY holds no key" if held else "KLAVIYO_PRIVATE_KEY is not set"
        this.miss(name, reason, configured=held)
        return
    row = await _spend(this, name, with_key)
    if row and with_key and _worth_again(row, this):
        await asyncio.sleep(PAUSE_S)
        second = await _spend(this, name, with_key)
        row = _after(row, second) if second else row
    if row:
        this.emit(row)
    else:
        this.miss(name, f"not asked: {this.purse.shut or 'the request budget is spent'}")


async def _spend(this: Round, name: str, with_key: bool) -> Row | None:
    if not this.purse.take():
        return None
    headers = {"revision": this.revision, "Accept": "application/vnd.api+json"}
    question = Question(name, this.settings.api_url + PATHS[name], "api", headers=headers)
    reply = await this.ask(question, with_key=with_key)
    this.purse.learn(reply.row)
    return reply.row | {"revision_asked": this.revision}


def _worth_again(row: Row, this: Round) -> bool:
    if this.left_s < PAUSE_S + WORTHWHILE_S or (row.get("retry_after_s") or 0) > PAUSE_S:
        return False
    kind = failure(row.get("status_code"), row.get("error_type"), row.get("answered_by"))
    return kind == "server" and (
        (row.get("status_code") or 0) >= 500 or row.get("error_type") in _WORTH_AGAIN
    )


def _after(first: Row, second: Row) -> Row:
    said = row_says(first)
    detail = second.get("detail")
    return second | {"detail": f"first try: {said}" + (f"; then: {detail}" if detail else "")}


def row_says(row: Row) -> str:
    """`HTTP 503`, or the error's name."""
    return f"HTTP {row['status_code']}" if row.get("status_code") else str(row.get("error_type"))
