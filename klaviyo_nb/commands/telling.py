"""`klaviyo-nb message` and `postmortem`: draft what to tell people, and check what a person made of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.redact import Redactor, harmless
from klaviyo_nb.report.manifest import incident_and_lead
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.lint import lint
from klaviyo_nb.response.lost import data, lost
from klaviyo_nb.response.messages import Channel, Phase, message
from klaviyo_nb.start import utc_now


def draft(folder: Path, channel: Channel, phase: Phase, redactor: Redactor) -> str:
    """The message of a phase, from an evidence folder or bundle."""
    evidence = load(folder)
    document = verdict_document(evidence, decide(evidence))
    return redactor.text(
        message(document, channel, phase, *incident_and_lead(folder), data(lost(evidence), evidence.window))
    )


def complaints(
    folder: Path, channel: Channel, phase: Phase, path: Path, redactor: Redactor
) -> tuple[list[str], list[str]]:
    """Check the text in `path` (`-`: standard input) that was made of our draft.

    Returns:
        What may not be sent: where, what, what to write instead. And what a person wrote in place of a blank.

    Raises:
        UsageError: It cannot be read as text.
    """
    text = _edited(path, f"message {shlex.quote(str(folder))} --for {channel} --phase {phase}")
    evidence = load(folder)
    document = verdict_document(evidence, decide(evidence))
    incident, lead = incident_and_lead(folder)
    told = data(lost(evidence), evidence.window)
    drafted = message(document, channel, phase, incident, lead, told)
    checked = lint(
        text, document, channel, utc_now(), redactor.text, named=(incident or "", *(told or ())), lead=lead,
        draft=drafted,
    )  # fmt: skip
    found = (f"{path}:{each.line}: {each.what}; write: {each.instead}" for each in checked.findings)
    said = (f"{path}:{line}: said by a person, not checked: {claim}\n" for line, claim in checked.said)
    return [redactor.text(harmless(each)) for each in found], [redactor.text(harmless(each)) for each in said]


def drafted_postmortem(folder: Path, redactor: Redactor) -> str:
    """The postmortem, drafted from an evidence folder or bundle."""
    return _drafted(load(folder), folder, redactor)


def _drafted(evidence: Evidence, folder: Path, redactor: Redactor) -> str:
    from klaviyo_nb.report.texts import postmortem

    incident, lead = incident_and_lead(folder)
    document = verdict_document(evidence, decide(evidence))
    return redactor.text(postmortem(evidence, document, incident or "‹fill in: incident›", lead))


def unfinished_postmortem(folder: Path, path: Path, redactor: Redactor) -> list[str]:
    """What the postmortem in `path` (`-`: standard input), made of our draft, lacks, each with what instead.

    Raises:
        UsageError: It cannot be read as text.
    """
    from klaviyo_nb.response.postmortem import unfinished

    text, evidence = _edited(path, f"postmortem {shlex.quote(str(folder))}"), load(folder)
    draft = _drafted(evidence, folder, redactor)
    found = unfinished(redactor.text(text), draft, evidence.window.start.date())
    return [
        redactor.text(harmless(f"{path}:{each.line}: {each.what}; write: {each.instead}")) for each in found
    ]


def _edited(path: Path, command: str) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = "not UTF-8" if isinstance(exc, UnicodeDecodeError) else exc.strerror or "cannot be read"
        raise UsageError(str(path), reason, f"klaviyo-nb {command} > draft.md") from None
