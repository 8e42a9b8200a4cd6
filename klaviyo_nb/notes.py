"""What people note during an incident: a line each in a file beside the reports, taken into the evidence.

A note says when something was, what kind of moment it is, who says so and what. Kinds other than `note` are
milestones: durations are counted from them, and `onset` and `recovered` stand over what was derived.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from klaviyo_nb.errors import EvidenceError, ReportError, UsageError
from klaviyo_nb.frames import NOTES, plain_rows
from klaviyo_nb.redact import harmless
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.evidence import Evidence

#: Characters of a note: more belongs into the postmortem.
LONGEST = 2_000


def path_of(out: Path, incident: str) -> Path:
    """Where the notes on an incident are kept until its report is sealed."""
    return out / f"{incident}.notes.csv"


def add(
    out: Path, incident: str, text: str, *, kind: str, at: datetime, who: str, now: datetime,
    redact: Callable[[str], str],
) -> Path:  # fmt: skip
    """Append a note. Two people may do so at once, and a kill loses no note that was taken before it.

    Args:
        out: Folder of reports; made if it is not there.
        incident: Name of the incident.
        text: What is to be noted.
        kind: One of `frames.NOTE_KINDS`.
        at: When that was.
        who: Who says so.
        now: The wall clock.
        redact: What every text passes through.

    Raises:
        UsageError: The note is empty, too long, or the report is sealed.
        ReportError: It cannot be written; nothing of it is left behind then.
    """
    told, name = (" ".join(redact(harmless(each)).split()) for each in (text, who))
    longest = max(told, name, key=len)
    if not told or len(longest) > LONGEST:
        what = "it is empty" if not told else f"it has {len(longest):,} characters, {LONGEST:,} at most"
        raise UsageError("note", what, f'klaviyo-nb note "what was seen or done" --incident {incident}')
    sealed, path = out / incident, path_of(out, incident)
    if sealed.exists():
        again = f"--incident {incident}-2 --out {quote(str(out))}"
        raise UsageError(
            str(sealed),
            "it is sealed and stays as it is; note it for a new report of the same evidence",
            f'klaviyo-nb note "…" {again}\nthen: klaviyo-nb bundle --evidence {quote(str(sealed))} {again}',
        )
    row = {"written_at": now, "at": at, "kind": kind, "who": name or None, "text": told}
    header, _, line = NOTES.to_csv(NOTES.frame([row])).partition("\n")
    try:
        out.mkdir(parents=True, exist_ok=True)
        _append(path, f"{header}\n".encode(), line.encode())
    except OSError as exc:
        raise ReportError(str(path), f"cannot be written: {exc.strerror or exc}", "df -h") from exc
    return path


def _append(path: Path, header: bytes, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        data = line if size else header + line
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("no room for all of it")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def read(out: Path, incident: str) -> pd.DataFrame | None:
    """The notes on an incident as a NOTES frame, in the order of `at`; None if there is none.

    Raises:
        EvidenceError: The file is not one of notes.
    """
    path = path_of(out, incident)
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
        frame = NOTES.from_csv(data[: data.rfind(b"\n") + 1].decode("utf-8"))
    except (OSError, ValueError) as exc:
        raise EvidenceError(str(path), f"cannot be read: {exc}", f"mv {quote(str(path))} aside") from exc
    return frame.sort_values("at", kind="stable", ignore_index=True)


def with_notes(evidence: Evidence, notes: pd.DataFrame | None) -> Evidence:
    """`evidence` with these notes besides its own."""
    if notes is None:
        return evidence
    if evidence.notes is not None:
        import pandas as pd

        notes = pd.concat([evidence.notes, notes], ignore_index=True).drop_duplicates()
    return replace(evidence, notes=notes.sort_values("at", kind="stable", ignore_index=True))


def listing(notes: pd.DataFrame) -> str:
    """The notes as lines for a terminal."""
    return "".join(
        f"{stamp(row['at'])} UTC  {row['kind']:<12}  {row['who'] or '–'}: {row['text']}\n"
        for row in plain_rows(notes)
    )
