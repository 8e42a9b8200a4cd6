"""What several commands do on their way: settings, collecting, telling progress, showing, sealing.

Imported at every start, so that what it needs for one command only is imported where it is needed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from klaviyo_nb.errors import UsageError
from klaviyo_nb.places import no_colour

if TYPE_CHECKING:
    from klaviyo_nb.commands.meter import Meter
    from klaviyo_nb.evidence import Evidence, Gap
    from klaviyo_nb.redact import Redactor
    from klaviyo_nb.report.forks import ForkServer
    from klaviyo_nb.settings import Settings

#: Exit statuses (contracts.md): none of them says that nothing is wrong.
INCIDENT, INCONCLUSIVE, FAILED, USAGE, STOPPED = 10, 11, 1, 2, 130
#: A slower start than this is no measure of how busy the machine is [times the work].
MOST_SLOW = 4.0


def collected(
    flags: dict[str, Any], deadline: bool = False, keep: Path | None = None
) -> tuple[Evidence, Redactor]:
    """Ask what the flags, the environment and the file say; and the redactor that knows this run's secrets.

    What has come in is kept in the folder `keep`, if there is one, until all has.

    Raises:
        UsageError: A setting is wrong.
    """
    import asyncio

    from klaviyo_nb.collect import collect as ask
    from klaviyo_nb.folder import save, save_pipes
    from klaviyo_nb.start import redactor_for, utc_now, window_of

    settings = settings_of(flags)
    redactor = redactor_for(settings)
    window = window_of(settings, utc_now())
    spent, slowness = _so_far(*click.get_current_context().obj)
    limit = max(settings.deadline_s - spent, settings.deadline_s / 2) if deadline else None

    def write(evidence: Evidence, *, pipes: bool) -> None:
        assert keep is not None
        (save_pipes if pipes else save)(evidence, keep, redactor.text)

    asking = ask(
        settings, window, redactor, deadline_s=limit, slowness=slowness, progress=progress,
        meanwhile=lambda: _get_ready_to_decide(redactor), reading=meter().reading,
        keep=write if keep else None,
    )  # fmt: skip
    return asyncio.run(asking), redactor


def _so_far(began: float, worked: float) -> tuple[float, float]:
    """Seconds since the command began, and how many times its own work that is.

    So far it did nothing but work: the rest of the time others had the processors, or a disk was slow.
    """
    spent, work = time.monotonic() - began, time.process_time() - worked
    return spent, min(max(spent / max(work, 0.01), 1.0), MOST_SLOW)


def _get_ready_to_decide(redactor: Redactor) -> None:
    """Compile what is looked for in every answer, and import what `show_verdict` needs."""
    from importlib import import_module

    redactor.text("")
    for name in ("klaviyo_nb.diagnosis", "klaviyo_nb.response.document", "klaviyo_nb.commands.terminal"):
        import_module(name)


def settings_of(flags: dict[str, Any]) -> Settings:
    """The settings: flags, then the environment, then the file in this folder.

    Raises:
        UsageError: One is wrong.
    """
    from klaviyo_nb.settings import load

    settings = load(os.environ, flags, Path.cwd())
    if settings.thresholds or settings.metrics:  # else told when all has been asked, or never
        from klaviyo_nb.diagnosis import thresholds
        from klaviyo_nb.metrics import names

        thresholds.from_table(settings.thresholds)
        names.from_table(settings.metrics)
    return settings


@cache
def meter() -> Meter:
    """What says on a terminal how far reading has got."""
    from klaviyo_nb.commands.meter import Meter

    return Meter(sys.stderr, plain=no_colour(os.environ))


def progress(text: str) -> None:
    """Tell what has been done: one line on stderr."""
    from klaviyo_nb.redact import harmless

    meter().wipe()
    plain = False if no_colour(os.environ) else None  # other threads have no click context to say so
    click.echo(click.style(f"  · {harmless(text)}", dim=True), err=True, color=plain)


def show_verdict(evidence: Evidence, form: str, redactor: Redactor, full: bool = False) -> int:
    """Decide and print; the exit status says incident, none, or cannot tell."""
    from klaviyo_nb.commands import terminal
    from klaviyo_nb.diagnosis import decide
    from klaviyo_nb.response.document import verdict_document

    document = verdict_document(evidence, decide(evidence))
    if form == "json":
        print_json(document, redactor)
    else:
        click.echo(redactor.text(terminal.verdict(document, full)), nl=False)
    return {"healthy": 0, "inconclusive": INCONCLUSIVE}.get(document["cause"], INCIDENT)


@contextmanager
def report_in_the_making(target: Path) -> Iterator[tuple[Path, ForkServer | None]]:
    """The folder in which a report is made, and where notebooks will run, which gets ready meanwhile.

    Raises:
        ReportError: The report exists, or another run is writing it, or the folder cannot be written.
        Stopped: Ctrl-C, when something had been collected.
    """
    from klaviyo_nb.claims import claimed
    from klaviyo_nb.report.forks import fork_server, kernel_environment

    another = f"klaviyo-nb bundle --incident {target.name}-2"
    with claimed(target, another, progress) as folder, fork_server(kernel_environment(os.environ)) as server:
        yield folder, server


def seal(
    kept: Evidence,
    redactor: Redactor,
    making: tuple[Path, ForkServer | None],
    target: Path,
    lead: str | None,
    key: Path | None = None,
) -> int:
    """Make the report of what was kept and say where it is; 1 if something in it went wrong."""
    from klaviyo_nb.report.bundle import seal

    folder, server = making
    sealed = seal(
        kept, folder, target, lead=lead, redactor=redactor, progress=progress, server=server, key=key
    )
    click.echo(f"report:  {sealed.path / 'index.html'}")
    click.echo(f"archive: {sealed.zip}")
    click.echo(f"digest:  sha256:{sealed.digest}")
    for problem in sealed.problems:
        click.echo(f"warning: {problem}", err=True)
    return FAILED if sealed.partial else 0


def report_gaps(gaps: tuple[Gap, ...], nothing: bool, hint: str) -> None:
    """Tell what could not be read; with nothing read at all it is an error of the settings."""
    troubles = [gap for gap in gaps if gap.configured]
    if troubles and nothing:
        from klaviyo_nb.evidence import TRY

        raise UsageError(troubles[0].signal, troubles[0].reason.partition(TRY)[0], hint)
    from klaviyo_nb.evidence import together

    for gap in together(troubles):
        click.echo(f"warning: {gap.signal}: {gap.reason}", err=True)


def print_json(value: Any, redactor: Redactor | None = None) -> None:
    """Print a document for machines."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(redactor.text(text) if redactor else text)


def print_bytes(data: bytes) -> None:
    """Print what may be no text."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
