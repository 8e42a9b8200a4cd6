"""`klaviyo-nb drill`: serve a made-up incident, triage it as if it were real, compare with the truth."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from klaviyo_nb import drills
from klaviyo_nb.collect import collect
from klaviyo_nb.commands import steps
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.errors import UsageError
from klaviyo_nb.settings import load
from klaviyo_nb.start import redactor_for, utc_now, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from klaviyo_nb.drills.worlds import Truth
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.redact import Redactor

DEFAULT = "rate_limited"


def listing() -> str:
    """One line per scenario."""
    width = max(map(len, SCENARIOS))
    return "".join(f"{name:<{width}}  {scenario.title}\n" for name, scenario in SCENARIOS.items())


def rehearse(name: str | None, seed: int, out: Path) -> int:
    """Break something, triage it, seal the report; 0 if the verdict met the hidden truth, else 1.

    The logs stay in `out` beside the report, whose commands and citations name them.
    """
    scenario, now = _known(name), utc_now()
    target = out / f"drill-{scenario}-{now:%Y%m%dT%H%M%SZ}"
    click.echo(f"Drill: {SCENARIOS[scenario].title} (seed {seed})", err=True)
    with steps.report_in_the_making(target) as making:
        kept, redactor, logs, truth, met = _triaged(scenario, seed, now, target, making[0])
        click.echo("")
        sealed = steps.seal(kept, redactor, making, target, None)
    click.echo(f"logs:    {' '.join(map(str, logs))}")
    told = f"hidden truth: {truth.cause} {truth.severity or ''}".rstrip()
    click.echo(f"{told} — {'the verdict met it' if met else 'the verdict MISSED it'}")
    return 0 if met and not sealed else 1


def _triaged(
    scenario: str, seed: int, now: datetime, target: Path, folder: Path
) -> tuple[Evidence, Redactor, Sequence[Path], Truth, bool]:
    """The evidence, kept in `folder`, its redactor and logs, the truth, and whether the verdict met it."""
    world = drills.world(scenario, seed, now)
    world = replace(world, logs={f"{target.name}.{name}": text for name, text in world.logs.items()})
    with drills.serve(world, target.parent) as services:
        settings = load(services.environ)
        redactor = redactor_for(settings)
        evidence = asyncio.run(collect(settings, window_of(settings, now), redactor, progress=steps.progress))
        steps.show_verdict(evidence, "text", redactor)
    from klaviyo_nb.report.bundle import keep

    met = decide(evidence).cause == world.truth.cause
    return keep(evidence, folder, redactor, steps.progress), redactor, services.logs, world.truth, met


def score(only: str | None, seeds: int, first_seed: int, worlds: str, form: str) -> int:
    """Judge worlds of every kind and print how often the verdict was right; 1 if a world crashed, else 0."""
    from klaviyo_nb.drills import score as scoring
    from klaviyo_nb.drills import tables

    tasks = scoring.cells(worlds, seeds, only, first_seed)
    if not tasks:
        raise UsageError("SCENARIO", f"no cell has {only!r} in its name", "klaviyo-nb drill --score healthy")
    found = scoring.document(scoring.judge_all(tasks, steps.progress), worlds, seeds, first_seed)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if form == "json" else tables.text(found))
    return 1 if found["crashed"] else 0


def keep_serving(name: str | None, seed: int) -> int:
    """Keep the pretend services running until Ctrl-C; print what to export."""
    scenario = _known(name)
    world = drills.world(scenario, seed, utc_now())
    with (
        tempfile.TemporaryDirectory(prefix="klaviyo-nb-drill-") as folder,
        drills.serve(world, Path(folder)) as services,
    ):
        for variable, value in services.environ.items():
            click.echo(f"export {variable}='{value}'")
        click.echo("pretend services are up; Ctrl-C ends them", err=True)
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        try:
            stopped.wait()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
    return 0


def _known(name: str | None) -> str:
    if name is None:
        return DEFAULT
    if name not in SCENARIOS:
        raise UsageError("SCENARIO", f"{name!r} is not a scenario", "klaviyo-nb drill --list")
    return name
