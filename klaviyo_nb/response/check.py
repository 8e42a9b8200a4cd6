"""`triage --check NAME`: is this one thing well? What the actions of a verdict are checked by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from klaviyo_nb.diagnosis.probed import is_well
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.errors import UsageError

PROBES = ("auth", "rate_limit", "liveness", "status_page", "app_health", "webhook", "dns", "tls")
CAUSES: tuple[Cause, ...] = get_args(Cause)
#: Probes that the verdict's facts judge.
_JUDGED = {"app_health": ("app_healthy", "app_says"), "webhook": ("webhooks_arrive", "webhook_says")}


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing looked at again.

    Attributes:
        name: What was asked for.
        well: Is it well? None if nothing showed it.
        because: What was seen, in words.
    """

    name: str
    well: bool | None
    because: str


def must_be_known(names: Sequence[str]) -> None:
    """Refuse what `check` cannot answer.

    Raises:
        UsageError: A name is none of a probe, a cause, `calls`, `advisories` or an endpoint's path.
    """
    known = (*PROBES, "calls", "advisories", *CAUSES)
    for name in names:
        if name not in known and not name.startswith("/"):
            raise UsageError(
                "--check", f"{name!r} cannot be checked", f"use /api/… or one of: {', '.join(known)}"
            )


def check(document: Mapping[str, Any], name: str) -> Checked:
    """Look one thing up in a verdict.

    Args:
        document: As `verdict_document` gives it.
        name: A probe; `calls`; an endpoint's path; `advisories` or a cause, which are well when gone.
    """
    if name == "calls" or name.startswith("/"):
        return _calls(document, name)
    if name in PROBES:
        return _probe(document, name)
    if name in CAUSES:
        open_ = document["cause"] == "inconclusive" and name != "inconclusive"
        return Checked(name, None if open_ else document["cause"] != name, document["summary"])
    said = "; ".join(each["text"] for each in document["advisories"])
    return Checked(name, not said, said or "none")


def _calls(document: Mapping[str, Any], name: str) -> Checked:
    facts = document["facts"]
    step = document["path"][0] if document["path"] else {}
    failing, because = facts["failing"], step.get("because") or "no call was seen"
    if name == "calls" or not failing:
        return Checked(name, None if failing is None else not failing, because)
    for each in facts["endpoints"] or ():
        if each["endpoint"] == name:
            return Checked(name, each["failed"] == 0, f"{each['failed']} of {each['calls']} calls failed")
    return Checked(name, None, "no call to it was seen")


def _probe(document: Mapping[str, Any], name: str) -> Checked:
    row = next((each for each in document["probes"] if each["probe"] == name), None)
    if row is None:
        gaps = (gap["reason"] for gap in document["gaps"] if gap["signal"] == name)
        return Checked(name, None, next(gaps, "it was not asked"))
    said = f"HTTP {row['status_code']}" if row["status_code"] is not None else row["error_type"] or "answers"
    if name in _JUDGED:
        well, says = (document["facts"][each] for each in _JUDGED[name])
        return Checked(name, well, says or said)
    return Checked(name, is_well(row), said)
