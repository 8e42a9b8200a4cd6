"""Finding the notebooks, and never overwriting a person's copy."""

from __future__ import annotations

from pathlib import Path

from klaviyo_nb.report.notebooks import NAMES, shipped, working_copy


def test_the_four_notebooks_are_shipped() -> None:
    assert {path.stem for path in shipped().glob("*.ipynb")} >= set(NAMES)


def test_a_checkout_opens_its_own_notebooks() -> None:
    assert working_copy(shipped().parent, Path("unused")) == shipped()


def test_elsewhere_a_copy_is_made_and_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "logs.ipynb").write_text("my work")
    root = working_copy(tmp_path, tmp_path / "mine")
    assert (root / "logs.ipynb").read_text() == "my work"
    assert (root / "triage.ipynb").read_bytes() == (shipped() / "triage.ipynb").read_bytes()
