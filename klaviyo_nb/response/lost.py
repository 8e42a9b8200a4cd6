"""What the incident cost in data: the ledger of the evidence, with what the status page says of delays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import remembered
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.question import Answer, of_calls
from klaviyo_nb.response.messages import Data
from klaviyo_nb.window import Window, parse_time

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

#: What is not known to have arrived.
_MISSING = ("refused", "unknown", "fix_first")
#: A post with such a title tells that what was accepted is processed late.
_DELAY = re.compile(r"\b(?:delay|lag|late\b|backlog)", re.IGNORECASE)


@remembered
def lost(evidence: Evidence) -> Answer | None:
    """What became of every logical call of the logs; None if no log was read."""
    if evidence.calls is None:
        return None
    from klaviyo_nb.logs.questions.ledger import question
    from klaviyo_nb.logs.questions.watched import watched

    return watched(question([*delays(evidence)])).ask(of_calls(evidence.calls), evidence.window)


def data(found: Answer | None, window: Window) -> Data | None:
    """What became of the data of a window, from what `lost` says of it; None if no log tells of a call."""
    if found is None or found.rows.empty:
        return None
    calls = dict(zip(found.rows["outcome"], found.rows["calls"], strict=True))
    sure = bool((found.rows["calls"] == found.rows["at_least"]).all())
    missing = sum(int(calls.get(name, 0)) for name in _MISSING)
    every, arrived = sum(map(int, calls.values())), int(calls.get("delivered", 0))
    went = f"{arrived:,} requests" if not sure else f"{arrived:,} of {many(every, 'request')}"
    since, until = f"{window.start:%Y-%m-%d %H:%M}", f"{window.end:%Y-%m-%d %H:%M} UTC"
    public = f"From {since} to {until} {went} went through"
    if late := int(calls.get("accepted_late", 0)):
        public += f", {late:,} were taken in and processed late"
    if missing:
        public += f", and {'' if sure else 'at most '}{missing:,} are not known to have"
    return Data(found.says, f"{public}.")


def delays(evidence: Evidence) -> Iterator[Window]:
    """When Klaviyo processed late, as far as its status page says so: from the post to its resolution."""
    for post in (evidence.status_page or {}).get("incidents") or ():
        begun = _time(post.get("started_at")) or _time(post.get("created_at"))
        ended = _time(post.get("resolved_at")) or evidence.window.end
        if begun is not None and begun < ended and _DELAY.search(str(post.get("name", ""))):
            yield Window(begun, ended)


def _time(text: Any) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except UsageError:
        return None
