"""The verdict as one JSON document: what `triage` prints and messages are drafted from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from klaviyo_nb.diagnosis.verdict import SCHEMA
from klaviyo_nb.response.actions import actions_for
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence


def verdict_document(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """Everything about one verdict as plain values; what was not observed is None.

    Returns:
        `schema`, `window`, `cause`, `certainty`, `severity`, `severity_because`, `respond_by`, `summary`,
        `onset`, `recovered`, `written` (who noted either of these, when, why), `path`, `rivals` (causes),
        `rival_details` (with `because` and `ask`), `next_probe`, `advisories`, `gaps`, `facts`, `actions`,
        `probes` (rows of PROBES), `budget`.
    """
    return {
        "schema": SCHEMA,
        "window": {"start": _moment(verdict.window.start), "end": _moment(verdict.window.end)},
        "cause": verdict.cause,
        "certainty": verdict.certainty,
        "severity": verdict.severity,
        "severity_because": verdict.severity_because,
        "respond_by": _moment(verdict.respond_by),
        "summary": verdict.summary,
        "onset": verdict.onset.as_json() if verdict.onset else None,
        "recovered": verdict.recovered.as_json() if verdict.recovered else None,
        "written": _written(evidence),
        "path": [asdict(step) | {"evidence": list(step.evidence)} for step in verdict.path],
        "rivals": [rival.cause for rival in verdict.rivals],
        "rival_details": [asdict(rival) for rival in verdict.rivals],
        "next_probe": verdict.next_probe,
        "advisories": [asdict(advisory) for advisory in verdict.advisories],
        "gaps": [asdict(gap) for gap in verdict.gaps],
        "facts": dict(verdict.facts),
        "actions": [asdict(action) for action in actions_for(verdict, evidence)],
        "probes": [{name: _plain(value) for name, value in row.items()} for row in evidence.probe_rows],
        "budget": asdict(evidence.budget),
    }


def _written(evidence: Evidence) -> dict[str, dict[str, Any] | None]:
    if evidence.notes is None:
        return {"onset": None, "recovered": None}
    from klaviyo_nb.diagnosis.times import written_of  # stands on pandas, which most verdicts do not need

    told: dict[str, dict[str, Any] | None] = {}
    for name in ("onset", "recovered"):
        note = written_of(evidence, name)
        said = note and {"who": note.who, "written_at": _moment(note.written_at), "why": note.why}
        told[name] = said or None
    return told


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment.replace(microsecond=0))


def _plain(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value
