"""Commands that make, check and pass on a report: bundle, note, verify, messages, postmortem, golden case."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from klaviyo_nb.commands import steps
from klaviyo_nb.commands.options import output, signals
from klaviyo_nb.commands.steps import FAILED
from klaviyo_nb.errors import UsageError
from klaviyo_nb.frames import NOTE_KINDS
from klaviyo_nb.places import incident_name, must_be_free, must_be_writable, must_exist

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.redact import Redactor


@click.command()
@signals
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
    with steps.report_in_the_making(out / name) as making:
        kept, redactor = _kept(folder, flags, out / name, making[0])
        return steps.seal(kept, redactor, making, out / name, lead, key)


def _kept(given: Path | None, flags: dict[str, Any], target: Path, folder: Path) -> tuple[Evidence, Redactor]:
    """What was collected or given, kept in `folder`. Its frames, which may be large, end with this call."""
    if given is None:
        evidence, redactor = steps.collected(flags, keep=folder / "evidence")
    else:
        from klaviyo_nb.folder import load
        from klaviyo_nb.start import redactor_for

        evidence, redactor = load(must_exist(given)), redactor_for(steps.settings_of(flags))
    from klaviyo_nb.notes import read, with_notes
    from klaviyo_nb.report.bundle import keep

    noted = with_notes(evidence, read(target.parent, target.name))
    return keep(noted, folder, redactor, steps.progress), redactor


@click.command()
@click.argument("text", required=False)
@click.option("--incident", required=True, metavar="ID", help="Name of the incident, as bundle has it.")
@click.option("--kind", type=click.Choice(NOTE_KINDS), default="note", show_default=True, help="What it is.")
@click.option("--at", metavar="T", help="When that was, ISO 8601, else UTC.  [default: now]")
@click.option("--by", envvar="USER", metavar="NAME", help="Who says so.  [default: $USER]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
def note(text: str | None, incident: str, kind: str, at: str | None, by: str | None, out: Path) -> None:
    """Note what was seen or done, with its time, for the postmortem; without TEXT, list the notes."""
    from klaviyo_nb import notes
    from klaviyo_nb.start import redactor_for
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


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New bundle; must not exist.")
@click.option("--ip-addresses", is_flag=True, help="Take out IP addresses too.")
def redact(bundle: Path, out: Path, ip_addresses: bool) -> int:
    """Redact a bundle further, into a new one that is sealed again; the first stays as it is."""
    from klaviyo_nb.folder import load
    from klaviyo_nb.report.bundle import keep
    from klaviyo_nb.report.manifest import incident_and_lead
    from klaviyo_nb.start import redactor_for

    incident_name(out.name, datetime.now(UTC), "--out")
    must_be_free(out)
    must_be_writable(out.parent)
    must_exist(bundle)
    redactor = redactor_for(steps.settings_of({"redaction": {"ip_addresses": True}} if ip_addresses else {}))
    with steps.report_in_the_making(out) as making:
        kept = keep(load(bundle), making[0], redactor, steps.progress)
        return steps.seal(kept, redactor, making, out, incident_and_lead(bundle)[1])


@click.command()
@click.argument("path", metavar="DIR|ZIP", type=click.Path(path_type=Path))
@click.option(
    "--signers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="One of these must have signed it (ssh-keygen).",
)
@output("text", "json")
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
        if found.intact:
            click.echo(
                "  made again from evidence/ and the same: verdict, postmortem, limits, messages,"
                " support packet, charts, index.html\n"
                "  held by their hashes, and so by the digest or the signature: evidence/, executed notebooks"
            )
    return 0 if found.intact else FAILED


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--for", "channel", required=True, type=click.Choice(["slack", "status-page"]))
@click.option("--phase", required=True, type=click.Choice(["investigating", "mitigating", "resolved"]))
@click.option(
    "--check", "text", type=click.Path(path_type=Path), metavar="FILE", help="May this text be sent?"
)
def message(folder: Path, channel: str, phase: str, text: Path | None) -> int:
    """Draft the message of a phase, from an evidence folder or bundle; or check what became of the draft."""
    from klaviyo_nb.commands import telling
    from klaviyo_nb.start import redactor_for

    redactor = redactor_for(steps.settings_of({}))
    if text is None:
        click.echo(telling.draft(must_exist(folder), channel, phase, redactor), nl=False)  # type: ignore[arg-type]
        return 0
    found, said = telling.complaints(must_exist(folder), channel, phase, text, redactor)  # type: ignore[arg-type]
    click.echo("".join(said), nl=False, err=True)
    click.echo("\n".join(found) or f"{text}: fit to be sent")
    return FAILED if found else 0


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--check", "text", type=click.Path(path_type=Path), metavar="FILE", help="Is it finished?")
def postmortem(folder: Path, text: Path | None) -> int:
    """Draft the postmortem, from an evidence folder or bundle; or check what became of the draft."""
    from klaviyo_nb.commands import telling
    from klaviyo_nb.start import redactor_for

    redactor = redactor_for(steps.settings_of({}))
    if text is None:
        click.echo(telling.drafted_postmortem(must_exist(folder), redactor), nl=False)
        return 0
    found = telling.unfinished_postmortem(must_exist(folder), text, redactor)
    click.echo("\n".join(found) or f"{text}: finished")
    return FAILED if found else 0


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--label", required=True, metavar="CAUSE", help="The cause that it is.")
@click.option("--as", "name", required=True, metavar="NAME", help="Name of the case.")
@click.option("--why", metavar="TEXT", help="Why it is that cause.  [default: the verdict's summary]")
@click.option("--wanted-failure", "wanted", is_flag=True, help="The verdict is wrong now; the test waits.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("tests/cases"), show_default=True)
def promote(folder: Path, label: str, name: str, why: str | None, wanted: bool, out: Path) -> None:
    """Make a regression case of a bundle or evidence folder, for the tests to decide again."""
    from klaviyo_nb.commands.promotion import promote as make
    from klaviyo_nb.start import redactor_for

    must_be_free(out / incident_name(name, datetime.now(UTC), "--as"), "choose another --as")
    must_be_writable(out)
    redact = redactor_for(steps.settings_of({})).text
    case = make(must_exist(folder), label, name, out, redact, why=why, wanted=wanted)
    click.echo(f"{case}: read it through before it is committed; then uv run pytest tests/test_cases.py")


COMMANDS = (bundle, note, redact, verify, message, postmortem, promote)
