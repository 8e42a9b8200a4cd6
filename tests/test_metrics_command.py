"""`klaviyo-nb metrics --incident ID`: what people noted stands above what was derived."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import chdir
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from klaviyo_nb.cli import commands
from klaviyo_nb.collect import collect
from klaviyo_nb.commands.metric_answers import read_metrics, render_metrics
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.counted import clocks_ahead
from klaviyo_nb.drills.server import serve
from klaviyo_nb.drills.worlds import generator
from klaviyo_nb.settings import load
from klaviyo_nb.start import redactor_for, utc_now, window_of
from klaviyo_nb.window import iso

NOW = utc_now()


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    world = generator("reporting").make("clean", "rate_limited", 3, NOW)
    with serve(world, tmp_path_factory.mktemp("world")) as services:
        yield dict(services.environ)


def metrics(environ: dict[str, str], *arguments: str) -> dict[str, Any]:
    done = CliRunner(env=environ).invoke(commands, ["metrics", "--format", "json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_noted_onset_stands_above_the_derived_one_for_its_incident_alone(
    environ: dict[str, str], tmp_path: Path
) -> None:
    at = (NOW - timedelta(minutes=50)).replace(second=0, microsecond=0)
    note = ["note", "the job began", "--incident", "INC-7", "--kind", "onset", "--at", iso(at), "--by", "Ada"]
    assert CliRunner().invoke(commands, [*note, "--out", str(tmp_path)]).exit_code == 0
    out = ("--out", str(tmp_path))
    derived = metrics(environ, *out)
    noted = metrics(environ, "--incident", "INC-7", *out)
    assert noted["onset"] == {"earliest": iso(at), "latest": iso(at)}
    assert noted["onset"] != derived["onset"]
    assert noted["estimates"] == derived["estimates"]  # what was derived is still told
    assert (noted["written"]["who"], noted["written"]["why"]) == ("Ada", "the job began")
    assert noted["written"]["written_at"] >= iso(NOW.replace(microsecond=0))
    assert derived["written"] is None
    assert metrics(environ, "--incident", "INC-8", *out) == derived


def test_it_tells_the_same_beginning_as_the_verdict_of_the_same_window(environ: dict[str, str]) -> None:
    start, end = (iso(NOW.replace(microsecond=0) - timedelta(minutes=each)) for each in (60, 0))
    settings = load({**environ, "KLAVIYO_NB_START": start, "KLAVIYO_NB_END": end})
    evidence = asyncio.run(collect(settings, window_of(settings, NOW), redactor_for(settings)))
    onset = decide(evidence).onset
    told = metrics(environ, "--start", start, "--end", end)["onset"]
    assert told == (onset and {"earliest": iso(onset.earliest), "latest": iso(onset.latest)})


def test_thresholds_of_the_settings_count_here_too(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text("[thresholds]\nnoise_failures = 1_000_000\n")
    with chdir(tmp_path):
        told = metrics(environ)["time_at_s"]
    assert not any(name.startswith("P") for name in told)
    assert any(name.startswith("P") for name in metrics(environ)["time_at_s"])


def test_limits_of_the_settings_count_here_too(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    line = "{} POST https://a.klaviyo.com/api/events 202 52ms\n"
    log.write_text(
        "".join(line.format(iso(NOW - timedelta(minutes=30, seconds=-each))) for each in range(900))
    )
    (tmp_path / "klaviyo-nb.toml").write_text("[limits]\ncalls = 100\n")
    env = {"KLAVIYO_NB_METRICS_URL": "http://127.0.0.1:9", "KLAVIYO_NB_LOGS": str(log)}
    whole = read_metrics(load(env))
    some = read_metrics(load(env, folder=tmp_path))
    assert whole.calls is not None
    assert some.calls is not None
    assert 0 < len(some.calls) < len(whole.calls) == 900
    assert any(gap.signal.endswith("app.log") for gap in some.gaps)


def test_an_end_is_told_only_where_something_began(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    line = "{} POST https://a.klaviyo.com/api/events {} 52ms\n"
    at = NOW - timedelta(minutes=30)
    env = {"KLAVIYO_NB_METRICS_URL": "http://127.0.0.1:9", "KLAVIYO_NB_LOGS": str(log)}

    def told(statuses: list[int]) -> dict[str, str]:
        lines = (line.format(iso(at + timedelta(seconds=each)), code) for each, code in enumerate(statuses))
        log.write_text("".join(lines))
        text = render_metrics(read_metrics(load(env)), "text").decode()
        return {each[:10].strip(): each[10:] for each in text.splitlines() if each[0] != " "}

    well = told([202] * 900)
    assert well["began"] == "nothing stands out"
    assert "ended" not in well
    assert well["counted"] == "from logs, as in the verdict"
    assert " to " in told([202] * 600 + [503] * 100 + [202] * 200)["ended"]
    nothing = told([])
    assert nothing["began"] == "not observed"
    assert "ended" not in nothing
    assert "window" in nothing


def test_lines_of_a_clock_that_is_ahead_are_moved_back(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    line = "{} POST https://a.klaviyo.com/api/events 202 52ms\n"
    now = utc_now()
    log.write_text(
        "".join(line.format(iso(now + timedelta(seconds=60 - each))) for each in range(300, -1, -5))
    )
    env = {"KLAVIYO_NB_METRICS_URL": "http://127.0.0.1:9", "KLAVIYO_NB_LOGS": str(log)}
    found = read_metrics(load(env))
    assert found.calls is not None
    (ahead,) = clocks_ahead(found.calls, found).values()
    assert 40 < ahead <= 60
