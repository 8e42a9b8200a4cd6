"""Made-up secrets go through what a report goes through; if one can be read afterwards, nothing is sealed."""

from __future__ import annotations

import asyncio
import random
from html import escape
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

import samples
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.canaries import ENCODINGS, Canaries, _picture, plant, readable
from klaviyo_nb.report.manifest import pictures, swept, without_words
from klaviyo_nb.report.run import run_all
from klaviyo_nb.report.verify import _secrets


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


def test_no_canary_can_be_read_in_evidence_notebook_or_page(tmp_path: Path) -> None:
    assert len(ENCODINGS) >= 14
    assert readable(Redactor(b"k"), samples.WINDOW.end, *as_if_run(tmp_path)) == []


def test_canaries_are_parameters_of_a_notebook_too(tmp_path: Path) -> None:
    nbformat.write(v4.new_notebook(), tmp_path / "shows-none.ipynb")
    canaries = Canaries.hatch(random.Random(3))
    blind = readable(Blind(b"k"), samples.WINDOW.end, canaries, tmp_path / "shows-none.ipynb")
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
    assert readable(Redactor(b"k"), samples.WINDOW.end, canaries, executed) == []
    blind = readable(Blind(b"k"), samples.WINDOW.end, canaries, executed)
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
    blind = readable(Blind(b"k"), samples.WINDOW.end, *as_if_run(tmp_path))
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


class ShortSighted(Redactor):
    """Sees no address in names of files."""

    def text(self, text: str) -> str:
        return text if '"coverage"' in text else super().text(text)


def test_a_redactor_that_forgets_names_of_files_is_found_out(tmp_path: Path) -> None:
    blind = readable(ShortSighted(b"k"), samples.WINDOW.end, *as_if_run(tmp_path))
    assert any("in header" in place for place in blind)


def test_a_picture_that_carries_text_is_found_by_verify(tmp_path: Path) -> None:
    coded = _picture(Canaries.hatch(random.Random(1)))
    (tmp_path / "triage.html").write_text(f'<img src="data:image/png;base64,{coded}">')
    assert "a picture in it carries text" in [problem.what for problem in _secrets(tmp_path)]
    (tmp_path / "triage.html").write_text(swept(coded, str))
    assert not list(_secrets(tmp_path))
