"""The shipped notebooks: thin, clean, and the same by hand as headless."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_notebooks import run_notebooks

import samples
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import save
from klaviyo_nb.report.notebooks import NAMES, shipped

PARAMETERS = ("evidence", "logs", "metrics", "since", "incident", "lead")
FORBIDDEN = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.AsyncFor, ast.While, ast.If,
    ast.IfExp, ast.Try, ast.With, ast.AsyncWith, ast.Match, ast.Delete, ast.Global,
)  # fmt: skip
LONGEST = 8


def notebook(name: str) -> dict[str, Any]:
    return json.loads((shipped() / f"{name}.ipynb").read_text("utf-8"))  # type: ignore[no-any-return]


def code_cells(name: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_without_outputs_and_without_traces_of_a_run(name: str) -> None:
    found = notebook(name)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(name))
    assert all(set(cell["metadata"]) <= {"tags"} for cell in found["cells"])
    assert set(found["metadata"]) == {"kernelspec", "language_info"}
    assert found["metadata"]["language_info"] == {"name": "python"}


@pytest.mark.parametrize("name", NAMES)
def test_cell_ids_are_words_and_differ(name: str) -> None:
    ids = [cell["id"] for cell in notebook(name)["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", each) for each in ids)


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_with_title_question_and_parameters(name: str) -> None:
    first, second = notebook(name)["cells"][:2]
    assert source(first).startswith("# ")
    assert "?" in source(first)
    assert second["metadata"] == {"tags": ["parameters"]}


@pytest.mark.parametrize("name", NAMES)
def test_it_has_one_parameters_cell_of_commented_typed_texts(name: str) -> None:
    cells = [cell for cell in code_cells(name) if "parameters" in cell["metadata"].get("tags", ())]
    assert len(cells) == 1
    lines = source(cells[0]).splitlines()
    assert [line.partition(":")[0] for line in lines] == list(PARAMETERS)
    assert all(re.fullmatch(r'\w+: str = "[^"]*"  # .+', line) for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_imports_calls_or_shows(name: str) -> None:
    for cell in code_cells(name):
        text = source(cell)
        assert len(text.splitlines()) <= LONGEST, cell["id"]
        tree = compile(text, cell["id"], "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert not [node for node in ast.walk(tree) if isinstance(node, FORBIDDEN)], cell["id"]


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_decides_says_what_it_could_not_see_and_what_to_do(name: str) -> None:
    headings = [source(cell) for cell in notebook(name)["cells"] if cell["cell_type"] == "markdown"]
    order = [
        "## Evidence",
        "## Verdict",
        "## What else could it be?",
        "## What we could not see",
        "## What to do now",
        "## Draft",
    ]
    places = [next(index for index, text in enumerate(headings) if text.startswith(each)) for each in order]
    assert places == sorted(places)
    assert places[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_it_names_no_machine_and_no_key(name: str) -> None:
    text = (shipped() / f"{name}.ipynb").read_text("utf-8")
    assert not re.search(r"/home/|/tmp/|/work/|localhost|[ps]k_[A-Za-z0-9]{8}", text)


def nothing_seen() -> Evidence:
    bare = samples.rate_limited(calls_per_minute=2)
    return replace(
        bare,
        probe_rows=(),
        calls=None,
        webhooks=None,
        metrics=None,
        status_page=None,
        coverage=(),
        context={},
    )


@pytest.mark.parametrize(
    "evidence", [samples.rate_limited(), nothing_seen()], ids=["incident", "nothing-seen"]
)
def test_all_run_headless(evidence: Evidence, tmp_path: Path) -> None:
    save(evidence, tmp_path / "evidence")
    for run in run_notebooks(tmp_path, "../evidence", incident="INC-7"):
        assert (run.status, run.error) == ("completed", None), run.name
        cells = json.loads((tmp_path / "notebooks" / f"{run.name}.ipynb").read_text("utf-8"))["cells"]
        showing = [cell for cell in cells if cell["cell_type"] == "code" and "show." in source(cell)]
        assert all(cell["outputs"] for cell in showing)
        streams = [
            output
            for cell in cells
            for output in cell.get("outputs", ())
            if output["output_type"] == "stream"
        ]
        assert not streams, "a warning or stray print"
