"""Made-up secrets go through what a report goes through; if one can be read afterwards, nothing is sealed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html import escape
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

import samples
from installed import missing
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, NOTES, as_texts
from klaviyo_nb.logs import read
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.canaries import ENCODINGS, Canaries, _picture, logged, plant, readable
from klaviyo_nb.report.charts import CHARTS, save_all
from klaviyo_nb.report.manifest import pictures, swept, without_words
from klaviyo_nb.report.run import run_all
from klaviyo_nb.report.verify import _secrets
from klaviyo_nb.window import iso


def as_if_run(path: Path) -> tuple[Canaries, Path]:
    """Canaries, and a notebook that shows them in all ways, without a kernel."""
    canaries = Canaries.hatch(random.SystemRandom())
    text = "\n".join(canaries.lines())
    cell = v4.new_code_cell("show(note)")
    cell.outputs = [
        v4.new_output("stream", text=text),
        v4.new_output("display_data", {"text/html": f"<p>{escape(text)}</p>", "text/plain": repr(text)}),
        v4.new_output("display_data", {"application/json": {"note": text}, "text/plain": text}),
        v4.new_output("display_data", {"text/markdown": text, "text/plain": text}),
        v4.new_output(
            "display_data", {"image/svg+xml": f"<svg><title>{escape(text)}</title></svg>", "text/plain": text}
        ),
        v4.new_output("display_data", {"image/png": _picture(canaries)}),
        v4.new_output("error", ename="ValueError", evalue=text, traceback=text.split("\n")),
    ]
    nbformat.write(v4.new_notebook(cells=[cell]), path / "canary.ipynb")
    return canaries, path / "canary.ipynb"


def left(redactor: Redactor, canaries: Canaries, notebook: Path) -> list[str]:
    """Where one can still be read."""
    return readable(redactor, canaries, logged(redactor, samples.WINDOW.end, canaries), notebook)


def test_no_canary_can_be_read_in_evidence_notebook_or_page(tmp_path: Path) -> None:
    assert len(ENCODINGS) >= 14
    assert left(Redactor(b"k"), *as_if_run(tmp_path)) == []


def test_canaries_are_parameters_of_a_notebook_too(tmp_path: Path) -> None:
    nbformat.write(v4.new_notebook(), tmp_path / "shows-none.ipynb")
    canaries = Canaries.hatch(random.Random(3))
    blind = left(Blind(b"k"), canaries, tmp_path / "shows-none.ipynb")
    assert any("in notebook" in place for place in blind)


def test_canaries_that_went_through_a_kernel_are_in_every_kind_of_output_and_cannot_be_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    canaries = Canaries.hatch(random.Random(3))
    plant(canaries, tmp_path / "canary.ipynb")
    (ran,) = asyncio.run(run_all(tmp_path, "", server=None, source=tmp_path, names=["canary"]))
    assert capfd.readouterr() == ("", "")  # papermill says nothing of them
    assert ran.error is not None
    assert ran.error.startswith("ValueError: raw: pk_")  # all cells before it have run
    executed = tmp_path / "notebooks" / "canary.ipynb"
    outputs = [each for cell in nbformat.read(executed, 4).cells for each in cell.get("outputs", ())]
    kinds = {each.output_type for each in outputs} | {
        kind for each in outputs for kind in each.get("data", ())
    }
    assert kinds >= {"stream", "error", "text/html", "text/markdown", "text/plain", "application/json",
                     "image/png", "image/svg+xml"}  # fmt: skip
    assert all(any(value in str(each) for each in outputs) for value in canaries.values())
    assert left(Redactor(b"k"), canaries, executed) == []
    blind = left(Blind(b"k"), canaries, executed)
    assert any("in notebook" in place for place in blind)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_hides_a_canary(encoding: str, seed: int) -> None:
    canaries = Canaries.hatch(random.Random(seed))
    found = Redactor(b"k").in_all({"all": "\n".join(canaries.lines())})["all"]
    for value in canaries.values():
        assert ENCODINGS[encoding](value) not in found


class Blind(Redactor):
    """Sees no address."""

    def text(self, text: str) -> str:
        return text if "canary." in text and text.count("\n") > 20 else super().text(text)


def test_a_redactor_that_misses_something_is_found_out(tmp_path: Path) -> None:
    blind = left(Blind(b"k"), *as_if_run(tmp_path))
    assert any("email" in place for place in blind)


def test_what_is_written_in_a_picture_is_taken_out_and_the_picture_stays() -> None:
    canaries = Canaries.hatch(random.Random(1))
    coded = _picture(canaries)
    (before,) = pictures(coded)
    (after,) = pictures(swept(f'"{coded}"', Redactor(b"k").text))
    assert b"canary." in before
    assert b"canary." not in after
    assert b"IDAT" in after
    assert after.endswith(before[-12:])
    assert without_words(after) == after


class Nowhere(Redactor):
    """Sees nothing where an address of ours is."""

    def text(self, text: str) -> str:
        return text if "canary." in text else super().text(text)


def test_what_workers_and_a_cluster_give_back_is_looked_through_too(tmp_path: Path) -> None:
    blind = left(Nowhere(b"k"), *as_if_run(tmp_path))
    places = {place.partition(" in ")[2] for place in blind}
    assert places >= {"evidence", "evidence of a worker", "evidence of a cluster", "header"}


@pytest.mark.parametrize("engine", ["local:2", "dask"])
def test_no_canary_comes_back_from_real_workers(tmp_path: Path, engine: str) -> None:
    canaries, window = Canaries.hatch(random.Random(4)), samples.WINDOW
    call = {
        "time": iso(window.end - timedelta(hours=1)),
        "url": "https://a.klaviyo.com/api/events",
        "status": 503,
    }
    for name in ("first.log", "second.log"):
        lines = (json.dumps(call | {"msg": line}) + "\n" for line in canaries.lines())
        (tmp_path / name).write_text("".join(lines))
    redactor = Redactor(b"k")
    logs = [str(tmp_path / name) for name in ("first.log", "second.log")]
    if engine == "dask":
        with cluster() as address:
            found = read(logs, window, redact=redactor.text, engine=address)
    else:
        found = read(logs, window, redact=redactor.text, engine=engine)
    assert len(found.calls) == 2 * (len(ENCODINGS) * len(canaries.values()) + 1)
    seen = redactor.in_all({"calls": CALLS.to_csv(found.calls)})["calls"]
    # What a cluster's worker learns stays there (docs/design/redaction.md): a password of no shape is taken out
    # where its name stands beside it, and nowhere else.
    known = canaries.values() if engine != "dask" else canaries.values()[:3]
    forms = [write(value).strip('"\n') for write in ENCODINGS.values() for value in known]
    assert [form for form in forms if form in seen] == []
    assert f"api_key={canaries.password}" not in seen


@contextmanager
def cluster() -> Iterator[str]:
    """A scheduler with one worker, which is a process of its own."""
    if find_spec("distributed") is None:
        missing("dask.distributed is not installed (extra `cluster`)")
    from distributed import LocalCluster

    given = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, **given) as found:
        yield found.scheduler_address.replace("tcp://", "dask://")


def told_everywhere(canaries: Canaries) -> Evidence:
    """Evidence in which every text that a chart may show is a canary in some encoding."""
    base = samples.rate_limited(calls_per_minute=2)
    forms = [line for line in canaries.lines() if "password" not in line]
    calls = as_texts(base.calls)  # type: ignore[arg-type]
    for offset, name in enumerate(("endpoint", "caller", "host", "worker", "message", "error_code", "sdk")):
        calls[name] = [forms[(offset + row) % len(forms)] for row in range(len(calls))]
    at = samples.WINDOW.start + timedelta(minutes=70)
    note = {
        "written_at": at,
        "at": at,
        "kind": "deploy",
        "who": canaries.email,
        "text": " ".join(canaries.values()),
    }
    update = {"status": "investigating", "body": canaries.key, "display_at": "2026-11-23T06:11:00Z"}
    post = {"name": canaries.email, "status": "x", "components": [], "incident_updates": [update]}
    page = {
        "indicator": "major",
        "description": canaries.phone,
        "components": [],
        "maintenances": [],
        "incidents": [post],
    }
    return replace(base, calls=CALLS.frame(calls), notes=NOTES.frame([note]), status_page=page)


def test_no_canary_can_be_read_in_any_chart_of_evidence_that_was_never_redacted(tmp_path: Path) -> None:
    canaries = Canaries.hatch(random.Random(5))
    seen = told_everywhere(canaries)
    drawn = save_all(seen, decide(seen), tmp_path)
    assert [each.name for each in drawn] == list(CHARTS)
    redactor, bare = Redactor(b"k"), set()
    redactor.text("\n".join(canaries.lines()))  # the password is told by its name, in the evidence
    forms = [write(value).strip('"\n') for write in ENCODINGS.values() for value in canaries.values()]
    for chart in drawn:
        told = {"alt": chart.alt, "svg": chart.svg.read_text(), "csv": chart.csv.read_text()}
        bare |= {(chart.name, kind) for kind, text in told.items() if any(form in text for form in forms)}
        for kind, text in told.items():
            assert [form for form in forms if form in swept(text, redactor.text)] == [], (chart.name, kind)
        assert without_words(chart.png.read_bytes()) == chart.png.read_bytes()
        assert not any(form.encode() in chart.png.read_bytes() for form in forms)
    assert {kind for _, kind in bare} == {"alt", "svg", "csv"}  # it was there before
    assert len({name for name, _ in bare}) >= 3


class ShortSighted(Redactor):
    """Sees no address in names of files."""

    def text(self, text: str) -> str:
        return text if '"coverage"' in text else super().text(text)


def test_a_redactor_that_forgets_names_of_files_is_found_out(tmp_path: Path) -> None:
    blind = left(ShortSighted(b"k"), *as_if_run(tmp_path))
    assert any("in header" in place for place in blind)


def test_a_picture_that_carries_text_is_found_by_verify(tmp_path: Path) -> None:
    coded = _picture(Canaries.hatch(random.Random(1)))
    (tmp_path / "triage.html").write_text(f'<img src="data:image/png;base64,{coded}">')
    assert "a picture in it carries text" in [problem.what for problem in _secrets(tmp_path)]
    (tmp_path / "triage.html").write_text(swept(coded, str))
    assert not list(_secrets(tmp_path))
