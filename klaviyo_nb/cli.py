"""The command line: arguments, one call, print. Data on stdout, progress and trouble on stderr."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from klaviyo_nb import __version__, steps
from klaviyo_nb.errors import KlaviyoNbError, Stopped, UsageError
from klaviyo_nb.frames import NOTE_KINDS
from klaviyo_nb.logs.questions import QUESTIONS, by_name
from klaviyo_nb.places import incident_name, must_be_free, must_be_writable, must_exist, no_colour
from klaviyo_nb.steps import FAILED, STOPPED, USAGE

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> None:
    """Run the command line; every error of a user is two lines on stderr, never a traceback."""
    gc.set_threshold(50_000)  # imports make much and drop little: looking through it is a tenth of start-up
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


_engine = click.option(
    "--engine", metavar="E", help="Where logs are read: local, local:4 (processes), dask://HOST:PORT."
)


def _signals(command: Command) -> Command:
    """Add the options that say where to look and when."""
    for option in reversed(
        (
            click.option(
                "--logs",
                multiple=True,
                metavar="URL",
                help="Log source: path, glob, -, journald:///UNIT. Repeatable.",
            ),
            _engine,
            click.option("--metrics", "metrics_url", metavar="URL", help="Prometheus-compatible server."),
            *_WINDOW,
        )
    ):
        command = option(command)
    return command


_WINDOW = (
    click.option("--since", metavar="2h", help="Length of the window that ends now.  [default: 2h]"),
    click.option("--start", metavar="T", help="Start of the window, ISO 8601, UTC unless it has an offset."),
    click.option("--end", metavar="T", help="End of the window; default now."),
)  # fmt: skip


def _window_options(command: Command) -> Command:
    for option in reversed(_WINDOW):
        command = option(command)
    return command


def _format(*choices: str) -> Callable[[Command], Command]:
    return click.option("--format", "form", type=click.Choice(choices), default=choices[0], show_default=True)


_full = click.option("--full", is_flag=True, help="Tell every action in full, not the first ones only.")


@commands.command()
@_signals
@click.option("--deadline", "deadline_s", metavar="10s", help="Limit of the whole command.  [default: 10s]")
@click.option("--watch", "every", metavar="30s", help="Ask again and again; print what changes.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Evidence of --watch.  [default: reports/watch-TIME]"
)
@click.option(
    "--check", "names", multiple=True, metavar="NAME", help="Is this well? A probe, calls, a path, a cause."
)
@_full
@_format("text", "json")
def triage(
    form: str, full: bool, every: str | None, out: Path | None, names: tuple[str, ...], **flags: Any
) -> int:
    """Ask everything at once, decide, say what to do."""
    if every is not None:
        if names:
            raise UsageError("--watch", "it cannot be combined with --check", "klaviyo-nb triage --watch 30s")
        from klaviyo_nb.triage import keep_watching

        return keep_watching(steps.settings_of(flags), every, out, form)
    if out is not None:
        raise UsageError("--out", "only --watch writes evidence here", "klaviyo-nb collect --out DIR")
    if names:
        from klaviyo_nb.triage import must_be_known, show_checks

        must_be_known(names)
    evidence, redactor = steps.collected(flags, deadline=True)
    if names:
        return show_checks(names, evidence, form, redactor)
    return steps.show_verdict(evidence, form, redactor, full)


@commands.command()
@_signals
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write; must be new.")
def collect(out: Path, **flags: Any) -> None:
    """Write an evidence folder, decide nothing."""
    must_be_free(out)
    must_be_writable(out)
    evidence, redactor = steps.collected(flags)
    from klaviyo_nb.collect import save

    save(evidence, out, redactor.text)
    click.echo(str(out))


@commands.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@_full
@_format("text", "json")
def diagnose(folder: Path, form: str, full: bool) -> int:
    """Decide again from an evidence folder or bundle, offline."""
    from klaviyo_nb.collect import load, redactor_for

    return steps.show_verdict(load(must_exist(folder)), form, redactor_for(steps.settings_of({})), full)


@commands.command()
@_signals
@click.option(
    "--evidence", "folder", type=click.Path(path_type=Path), help="Use this evidence folder; ask nobody."
)
@click.option("--incident", metavar="ID", help="Name of the report; default from the clock.")
@click.option("--lead", metavar="NAME", help="Who leads the incident.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option(
    "--sign", "key", type=click.Path(path_type=Path), metavar="KEYFILE", help="Sign it with this SSH key."
)
def bundle(
    folder: Path | None, incident: str | None, lead: str | None, out: Path, key: Path | None, **flags: Any
) -> int:
    """Collect, run the four notebooks, draft postmortem and messages, seal."""
    if key is not None:
        from klaviyo_nb.report.signing import must_sign

        must_sign(key)
    name = incident_name(incident, datetime.now(UTC))
    must_be_free(out / name, "choose another --incident or --out")
    must_be_writable(out)
    with steps.forks_ahead() as server:
        if folder is None:
            evidence, redactor = steps.collected(flags)
        else:
            from klaviyo_nb.collect import load, redactor_for

            evidence, redactor = load(must_exist(folder)), redactor_for(steps.settings_of(flags))
        from klaviyo_nb.notes import read, with_notes

        return steps.seal(with_notes(evidence, read(out, name)), redactor, out, name, lead, server, key)


@commands.command()
@click.argument("text", required=False)
@click.option("--incident", required=True, metavar="ID", help="Name of the incident, as bundle has it.")
@click.option("--kind", type=click.Choice(NOTE_KINDS), default="note", show_default=True, help="What it is.")
@click.option("--at", metavar="T", help="When that was, ISO 8601, else UTC.  [default: now]")
@click.option("--by", envvar="USER", metavar="NAME", help="Who says so.  [default: $USER]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
def note(text: str | None, incident: str, kind: str, at: str | None, by: str | None, out: Path) -> None:
    """Note what was seen or done, with its time, for the postmortem; without TEXT, list the notes."""
    from klaviyo_nb import notes
    from klaviyo_nb.collect import redactor_for
    from klaviyo_nb.window import parse_time

    now = datetime.now(UTC)
    name = incident_name(incident, now)
    if text is not None:
        moment, redact = parse_time(at, "--at") if at else now, redactor_for(steps.settings_of({})).text
        path = notes.add(out, name, text, kind=kind, at=moment, who=by or "", now=now, redact=redact)
        click.echo(str(path))
        return
    found = notes.read(out, name)
    if found is None:
        raise UsageError(
            str(notes.path_of(out, name)), "no note was made yet",
            f'klaviyo-nb note "what was seen or done" --incident {name}',
        )  # fmt: skip
    click.echo(notes.listing(found), nl=False)


@commands.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New bundle; must not exist.")
@click.option("--ip-addresses", is_flag=True, help="Take out IP addresses too.")
def redact(bundle: Path, out: Path, ip_addresses: bool) -> int:
    """Redact a bundle further, into a new one that is sealed again; the first stays as it is."""
    from klaviyo_nb.collect import load, redactor_for
    from klaviyo_nb.report.manifest import incident_and_lead

    settings = steps.settings_of({"redaction": {"ip_addresses": True}} if ip_addresses else {})
    evidence, lead = load(must_exist(bundle)), incident_and_lead(bundle)[1]
    with steps.forks_ahead() as server:
        return steps.seal(evidence, redactor_for(settings), out.parent, out.name, lead, server)


@commands.command()
@click.argument("path", metavar="DIR|ZIP", type=click.Path(path_type=Path))
@click.option(
    "--signers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One of these must have signed it (ssh-keygen).",
)
@_format("text", "json")
def verify(path: Path, signers: Path | None, form: str) -> int:
    """Check a bundle: hashes, completeness, recomputed numbers, no secrets."""
    from klaviyo_nb.redact import harmless
    from klaviyo_nb.report.verify import verify as check

    found = check(must_exist(path), must_exist(signers) if signers else None)
    if form == "json":
        problems = [{"path": problem.path, "what": problem.what} for problem in found.problems]
        steps.print_json(
            {
                "schema": "klaviyo-nb/verify/1",
                "intact": found.intact,
                "problems": problems,
                "signer": found.signer,
            }
        )
    else:
        by = f", signed by {harmless(found.signer)}" if found.signer else ""
        click.echo(f"{path}: {'intact' if found.intact else 'NOT intact'}{by}")
        for problem in found.problems:
            click.echo(f"  {problem.path}: {problem.what}")
    return 0 if found.intact else FAILED


@commands.command()
@click.argument("urls", metavar="URL...", nargs=-1)
@_engine
@_window_options
@click.option(
    "--by", multiple=True, metavar="COLUMN",
    help="Count by endpoint, status, caller, minute, host, worker, error_code, error_pointer, request_id, …"
)  # fmt: skip
@click.option("--ask", "name", metavar="NAME", help=f"Ask a question: {', '.join(QUESTIONS)}.")
@click.option(
    "--line", "line_no", type=click.IntRange(1), metavar="N",
    help="Show line N of the one URL as it was written, with its neighbours: what a finding cites.",
)  # fmt: skip
@_format("text", "json", "csv", "parquet")
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
    from klaviyo_nb import answers

    settings = steps.settings_of(flags | {"logs": urls})
    answers.need_logs(settings)
    if line_no is not None:
        click.echo(answers.raw_lines(settings, line_no), nl=False)
        return
    meter = steps.meter()
    found = answers.read_logs(settings, asked, meter.reading)
    meter.wipe()
    steps.report_gaps(found.gaps, nothing=not found.lines, hint=answers.look_at_logs(found))
    steps.print_bytes(answers.render_logs(found, by, form))


@commands.command()
@click.argument("url", required=False)
@_window_options
@click.option("--rules", is_flag=True, help="Print alert rules; with URL, thresholds from its last 7 days.")
@_format("text", "json")
def metrics(url: str | None, rules: bool, form: str, **flags: Any) -> None:
    """Say from metrics when it began, when it ended, how bad it was."""
    from klaviyo_nb import answers

    if rules and url is None:
        click.echo(answers.alert_rules(None), nl=False)
        return
    if rules and not flags["start"]:
        flags["since"] = flags["since"] or answers.BASELINE
    settings = steps.settings_of(flags | {"metrics_url": url})
    answers.need_metrics(settings)
    found = answers.read_metrics(settings)
    steps.report_gaps(found.gaps, nothing=found.frame is None, hint=answers.look_at_metrics(settings))
    steps.print_bytes(answers.alert_rules(found).encode() if rules else answers.render_metrics(found, form))


@commands.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--for", "channel", required=True, type=click.Choice(["slack", "status-page"]))
@click.option("--phase", required=True, type=click.Choice(["investigating", "mitigating", "resolved"]))
@click.option(
    "--check", "text", type=click.Path(path_type=Path), metavar="FILE", help="May this text be sent?"
)
def message(folder: Path, channel: str, phase: str, text: Path | None) -> int:
    """Draft the message of a phase, from an evidence folder or bundle; or check what became of the draft."""
    from klaviyo_nb import telling
    from klaviyo_nb.collect import redactor_for

    redactor = redactor_for(steps.settings_of({}))
    if text is None:
        click.echo(telling.draft(must_exist(folder), channel, phase, redactor), nl=False)  # type: ignore[arg-type]
        return 0
    found, said = telling.complaints(must_exist(folder), channel, phase, text, redactor)  # type: ignore[arg-type]
    click.echo("".join(said), nl=False, err=True)
    click.echo("\n".join(found) or f"{text}: fit to be sent")
    return FAILED if found else 0


@commands.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--check", "text", type=click.Path(path_type=Path), metavar="FILE", help="Is it finished?")
def postmortem(folder: Path, text: Path | None) -> int:
    """Draft the postmortem, from an evidence folder or bundle; or check what became of the draft."""
    from klaviyo_nb import telling
    from klaviyo_nb.collect import redactor_for

    redactor = redactor_for(steps.settings_of({}))
    if text is None:
        click.echo(telling.drafted_postmortem(must_exist(folder), redactor), nl=False)
        return 0
    found = telling.unfinished_postmortem(must_exist(folder), text, redactor)
    click.echo("\n".join(found) or f"{text}: finished")
    return FAILED if found else 0


@commands.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--label", required=True, metavar="CAUSE", help="The cause that it is.")
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the case.")
@click.option("--why", metavar="TEXT", help="Why it is that cause.  [default: the verdict's summary]")
@click.option("--wanted-failure", "wanted", is_flag=True, help="The verdict is wrong now; the test waits.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("tests/cases"), show_default=True)
def promote(folder: Path, label: str, name: str, why: str | None, wanted: bool, out: Path) -> None:
    """Make a regression case of a bundle or evidence folder, for the tests to decide again."""
    from klaviyo_nb.collect import redactor_for
    from klaviyo_nb.promotion import promote as make

    must_be_free(out / incident_name(name, datetime.now(UTC)), "choose another --as")
    must_be_writable(out)
    redact = redactor_for(steps.settings_of({})).text
    case = make(must_exist(folder), label, name, out, redact, why=why, wanted=wanted)
    click.echo(f"{case}: read it through before it is committed; then uv run pytest tests/test_cases.py")


@commands.command()
@_format("text", "mermaid")
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
@_format("text", "json")
def drill(scenario: str | None, seed: int, listing: bool, serve: bool, out: Path, **scored: Any) -> int:
    """Rehearse an incident on a pretend Klaviyo and application. Default scenario: rate_limited.

    With --score, SCENARIO limits the cells to those with it in their name.
    """
    from klaviyo_nb import rehearsal

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
