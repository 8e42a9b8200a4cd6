"""The texts of a report that follow from its evidence: written to be sealed, and again to be verified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.report import limits, postmortem
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.messages import Channel, Phase, message

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence

CHANNELS: tuple[Channel, ...] = get_args(Channel)
PHASES: tuple[Phase, ...] = get_args(Phase)


def texts(evidence: Evidence, incident: str, lead: str | None) -> dict[str, str]:
    """Path in the report → what stands there; the same arguments give the same bytes."""
    document = verdict_document(evidence, decide(evidence))
    written = {
        "verdict.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "postmortem.md": postmortem.draft(evidence, document, incident, lead),
        "limits.md": limits.text(evidence),
    }
    drafts = {
        f"messages/{channel}-{phase}.md": message(document, channel, phase, incident, lead)
        for channel in CHANNELS
        for phase in PHASES
    }
    return written | drafts
