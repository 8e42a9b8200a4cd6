"""The command line: arguments, one call, print. Data on stdout, progress and trouble on stderr."""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from klaviyo_nb import __version__
from klaviyo_nb.commands import steps
from klaviyo_nb.commands.options import engine, in_full, output, signals, window_options
from klaviyo_nb.commands.reports import COMMANDS
from klaviyo_nb.commands.steps import FAILED, STOPPED, USAGE
from klaviyo_nb.errors import KlaviyoNbError, Stopped, UsageError
from klaviyo_nb.logs.questions import QUESTIONS, by_name
from klaviyo_nb.places import incident_name, must_be_free, must_be_writable, must_exist, no_colour


def main() -> None:
    """Run the command line; every error of a user is two lines on stderr, never a traceback."""
    # Imports make 140,000 objects that stay, or 170,000: looking through them is a tenth of start-up.
    gc.set_threshold(200_000)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - it was closed; nobody is told anything
    if sys.stdout is None:  # closed: what is opened next would take its place
        os._exit(_complain("standard output is closed: there is nowhere to answer", None, USAGE))
    try:
        began = (time.monotonic(), time.process_time())  # a deadline counts from here
        status = commands.main(standalone_mode=False, obj=began)
        sys.stdout.flush()
    except KlaviyoNbError as exc:
        kind = USAGE if isinstance(exc, UsageError) else STOPPED if isinstance(exc, Stopped) else FAILED
        status = _complain(str(exc), exc.hint, kind)
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "klaviyo-nb"
        status = _complain(exc.format_message().replace("\n", " "), f"{path} --help", USAGE)
    except (click.Abort, KeyboardInterrupt):
        status = _complain("stopped", None, STOPPED)
    except BrokenPipeError:  # the reader of a pipe went away; nothing to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as exc:  # a disk that is full, a folder that was taken away meanwhile
        status = _complain(f"{exc.filename or 'output'}: {exc.strerror or exc}", "df -h", FAILED)
    sys.stderr.flush()
    os._exit(status or 0)  # all is written and closed; taking pandas and matplotlib apart takes 0.4 s


def _complain(text: str, hint: str | None, status: int) -> int:
    from klaviyo_nb.redact import harmless

    click.echo(harmless(f"error: {text}").replace("\n", " "), err=True)
    if hint:
        click.echo(f"try: {hint}", err=True)
    return status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="klaviyo-nb")
@click.pass_context
def commands(context: click.Context) -> None:
    """Find out why an application that talks to Klaviyo misbehaves, and what to do.

    Settings come from flags, then the environment (KLAVIYO_PRIVATE_KEY, KLAVIYO_NB_…), then klaviyo-nb.toml.
    """
    context.color = False if no_colour(os.environ) else None


for _command in COMMANDS:
    commands.add_command(_command)


@commands.command()
@signals
@click.option("--deadline", "deadline_s", metavar="10s", help="Limit of the whole command.  [default: 10s]")
@click.option("--watch", "every", metavar="30s", help="Ask again and again; print what changes.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Evidence of --watch.  [default: reports/watch-TIME]"
)
@click.option(
    "--check", "names", multiple=True, metavar="NAME", help="Is this well? A probe, calls, a path, a cause."
)
@in_full
@output("text", "json")
def triage(
    form: str, full: bool, every: str | None, out: Path | None, names: tuple[str, ...], **flags: Any
) -> int:
    """Ask everything at once, decide, say what to do."""
    if every is not None:
        if names:
            raise UsageError("--watch", "it cannot be combined with --check", "klaviyo-nb triage --watch 30s")
        from klaviyo_nb.commands.triage import keep_watching

        return keep_watching(steps.settings_of(flags), every, out, form)
    if out is not None:
        raise UsageError("--out", "only --watch writes evidence here", "klaviyo-nb collect --out DIR")
    if names:
        from klaviyo_nb.commands.triage import must_be_known, show_checks

        must_be_known(names)
    evidence, redactor = steps.collected(flags, deadline=True)
    if names:
        return show_checks(names, evidence, form, redactor)
    return steps.show_verdict(evidence, form, redactor, full)


@commands.command()
@signals
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write; must be new.")
def collect(out: Path, **flags: Any) -> None:
    """Write an evidence folder, decide nothing."""
    must_be_free(out)
    must_be_writable(out)
    from klaviyo_nb.claims import claimed

    with claimed(out, "choose another --out", steps.progress, bundle=False) as making:
        evidence, redactor = steps.collected(flags, keep=making / "evidence")
        from klaviyo_nb.folder import save

        save(evidence, making / "evidence", redactor.text)
        (making / "evidence").rename(out)
        making.rmdir()
    click.echo(str(out))


@commands.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@in_full
@output("text", "json")
def diagnose(folder: Path, form: str, full: bool) -> int:
    """Decide again from an evidence folder or bundle, offline."""
    from klaviyo_nb.folder import load
    from klaviyo_nb.start import redactor_for

    return steps.show_verdict(load(must_exist(folder)), form, redactor_for(steps.settings_of({})), full)


@commands.command()
@click.argument("urls", metavar="URL...", nargs=-1)
@engine
@window_options
@click.option(
    "--by", multiple=True, metavar="COLUMN",
    help="Count by endpoint, status, caller, minute, host, worker, error_code, error_pointer, request_id, …"
)  # fmt: skip
@click.option("--ask", "name", metavar="NAME", help=f"Ask a question: {', '.join(QUESTIONS)}.")
@click.option(
    "--line", "line_no", type=click.IntRange(1), metavar="N",
    help="Show line N of the one URL as it was written, with its neighbours: what a finding cites.",
)  # fmt: skip
@output("text", "json", "csv", "parquet")
def logs(
    urls: tuple[str, ...],
    by: tuple[str, ...],
    name: str | None,
    line_no: int | None,
    form: str,
    **flags: Any,
) -> None:
    """Read Klaviyo's calls out of logs, or ask a question about them."""
    if sum(map(bool, (by, name, line_no))) > 1:
        what = "it cannot be combined with --by or --line, nor they with each other"
        raise UsageError("--ask", what, "klaviyo-nb logs LOG-FILE --ask scopes")
    asked = by_name(name) if name else None
    from klaviyo_nb.commands import log_answers

    settings = steps.settings_of(flags | {"logs": urls})
    log_answers.need_logs(settings)
    if line_no is not None:
        click.echo(log_answers.raw_lines(settings, line_no), nl=False)
        return
    meter = steps.meter()
    found = log_answers.read_logs(settings, asked, meter.reading)
    meter.wipe()
    steps.report_gaps(found.gaps, nothing=not found.lines, hint=log_answers.look_at_logs(found))
    steps.print_bytes(log_answers.render_logs(found, by, form))


@commands.command()
@click.argument("url", required=False)
@window_options
@click.option("--rules", is_flag=True, help="Print alert rules; with URL, thresholds from its last 7 days.")
@click.option(
    "--incident", metavar="ID", help="Count its notes: `onset` and `recovered` stand above the rest."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@output("text", "json")
def metrics(url: str | None, rules: bool, incident: str | None, out: Path, form: str, **flags: Any) -> None:
    """Say from metrics when it began, when it ended, how bad it was."""
    from klaviyo_nb import notes
    from klaviyo_nb.commands import metric_answers, metric_rules
    from klaviyo_nb.start import utc_now

    if rules:
        metric_rules.print_rules(url, flags)
        return
    settings = steps.settings_of(flags | {"metrics_url": url})
    metric_answers.need_metrics(settings)
    found = metric_answers.read_metrics(settings)
    if incident:
        name = incident_name(incident, utc_now())
        found = metric_answers.with_incident(found, notes.read(out, name), out / name)
    steps.report_gaps(
        found.gaps, nothing=found.metrics is None, hint=metric_answers.look_at_metrics(settings)
    )
    steps.print_bytes(metric_answers.render_metrics(found, form))


@commands.command()
@output("text", "mermaid")
def tree(form: str) -> None:
    """Print the decision tree."""
    from klaviyo_nb.diagnosis.tree import as_mermaid, as_text

    click.echo(as_mermaid() if form == "mermaid" else as_text(), nl=False)


@commands.command()
@click.argument("scenario", required=False)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed is another incident.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios.")
@click.option("--serve", is_flag=True, help="Keep the pretend services running and print their URLs.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option("--score", is_flag=True, help="Judge made-up worlds, and print how often the verdict is right.")
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Worlds per cell."
)
@click.option(
    "--first-seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Seed of the first of them.",
)
@click.option("--worlds", default="reporting", show_default=True, help="Who makes them.")
@output("text", "json")
def drill(scenario: str | None, seed: int, listing: bool, serve: bool, out: Path, **scored: Any) -> int:
    """Rehearse an incident on a pretend Klaviyo and application. Default scenario: rate_limited.

    With --score, SCENARIO limits the cells to those with it in their name.
    """
    from klaviyo_nb.commands import rehearsal

    if listing:
        click.echo(rehearsal.listing(), nl=False)
        return 0
    if scored.pop("score"):
        return rehearsal.score(scenario, **scored)
    if serve:
        return rehearsal.keep_serving(scenario, seed)
    must_be_writable(out)
    return rehearsal.rehearse(scenario, seed, out)


@commands.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=Path("klaviyo-notebooks"), show_default=True
)
def lab(folder: Path) -> None:
    """Start JupyterLab on the notebooks: those of this checkout, else a copy of the shipped ones in --dir."""
    from klaviyo_nb.report.notebooks import working_copy

    root = working_copy(Path.cwd(), folder)
    click.echo(f"notebooks: {root}", err=True)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"])  # noqa: S606 - becomes JupyterLab; no shell
