"""`klaviyo-nb triage --check` and `--watch`: what they print, and with which status they end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klaviyo_nb.commands import terminal
from klaviyo_nb.commands.steps import INCIDENT, INCONCLUSIVE, progress
from klaviyo_nb.commands.watch import Round, watch
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.errors import UsageError
from klaviyo_nb.places import must_be_free, must_be_writable, no_colour
from klaviyo_nb.redact import Redactor
from klaviyo_nb.response.check import check, must_be_known
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.start import redactor_for, utc_now
from klaviyo_nb.window import parse_duration

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.settings import Settings

__all__ = ["keep_watching", "must_be_known", "show_checks"]

#: What the exit status says of the application: as `triage` without these options.
_STATUS = {"good": 0, "bad": INCIDENT, "unclear": INCONCLUSIVE}


def show_checks(names: Sequence[str], evidence: Evidence, form: str, redactor: Redactor) -> int:
    """Print whether each of `names` is well; the status is that of the worst."""
    document = verdict_document(evidence, decide(evidence))
    found = [check(document, name) for name in names]
    if form == "json":
        whole = document | {"checks": [asdict(each) for each in found]}
        click.echo(redactor.text(json.dumps(whole, indent=2, ensure_ascii=False)))
    else:
        lines = (terminal.check(each.name, each.well, each.because) for each in found)
        click.echo(redactor.text("".join(lines)), nl=False)
    wells = {each.well for each in found}
    return INCIDENT if False in wells else INCONCLUSIVE if None in wells else 0


def keep_watching(settings: Settings, every: str, out: Path | None, form: str) -> int:
    """Watch until Ctrl-C; the status is that of the last round."""
    every_s = parse_duration(every, "--watch").total_seconds()
    if every_s < 1:
        raise UsageError("--watch", f"{every!r} is less than a second", "--watch 30s")
    out = out or Path("reports") / f"watch-{utc_now():%Y%m%dT%H%M%SZ}"
    must_be_free(out)
    must_be_writable(out)
    redactor = redactor_for(settings)

    def tell(found: Round) -> None:
        _tell(found, form, redactor)

    click.echo(f"evidence: {out}    (Ctrl-C ends the watch)", err=True)
    last = watch(settings, every_s, out, redactor, tell, progress=progress)
    click.echo(f"\nwatched {last.number + 1} rounds, the last one {last.state}; evidence: {out}", err=True)
    return _STATUS[last.state]


def _tell(found: Round, form: str, redactor: Redactor) -> None:
    """Print a round in which something changed; on a terminal, a passing line for any other."""
    passing = sys.stderr.isatty() and not no_colour(os.environ)  # it is wiped by an escape
    if passing:
        click.echo("\r\x1b[K", nl=False, err=True)
    if found.number and not found.changes:
        if passing:
            click.echo(terminal.heartbeat(found.number, found.at, found.state), nl=False, err=True)
    elif form == "json":
        click.echo(redactor.text(found.as_json()))
        sys.stdout.flush()
    elif found.number:
        folder = str(found.folder) if found.folder else None
        click.echo(redactor.text(terminal.changes(found.at, found.changes, folder)), nl=False)
    else:
        click.echo(redactor.text(terminal.verdict(found.document)), nl=False)
