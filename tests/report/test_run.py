"""Notebooks run for real: what papermill passes over is refused or told, and nothing stops the others."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from tiny_notebooks import run_notebooks, write

from klaviyo_nb.errors import UsageError
from klaviyo_nb.report.made import NotebookRun
from klaviyo_nb.report.run import prepared

SECRET = "pk_0123456789abcdef0123456789abcdef01"


def outputs(folder: Path, name: str) -> list[dict[str, object]]:
    notebook = nbformat.read(folder / "notebooks" / f"{name}.ipynb", as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NotebookRun]]:
    """Six notebooks, five of them bad, run side by side once for all tests below."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLAVIYO_PRIVATE_KEY", SECRET)
        patch.setenv("SOME_API_TOKEN", SECRET)
        write(
            source,
            "good",
            "import os\nevidence, os.path.basename(os.getcwd())",
            "sorted(name for name in os.environ if 'KLAVIYO' in name or 'TOKEN' in name)",
            "open('/proc/self/environ').read().count('pk_') if os.path.exists('/proc/self') else 0",
            "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone",
        )
        write(source, "raises", "1 / 0", "print('never')")
        write(source, "killed", "import os\nos.kill(os.getpid(), 9)", "print('never')")
        write(source, "hangs", "import time\ntime.sleep(60)", "print('never')")
        write(source, "floods", "for number in range(40_000):\n    print('x' * 50)")
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))"  # no more than it has
        write(source, "greedy", f"{limit}\nlen([bytes(1 << 24) for _ in range(1_000)])", "print('never')")
        names = ("good", "raises", "killed", "hangs", "floods", "greedy")
        results = run_notebooks(
            out, "../evidence", source=source, names=names, limit_s=12, output_cap=1_000_000
        )
    return out, {result.name: result for result in results}


def test_a_good_notebook_completes_whatever_the_others_do(ran: tuple[Path, dict[str, NotebookRun]]) -> None:
    out, results = ran
    assert results["good"].status == "completed"
    assert results["good"].error is None
    notebook = nbformat.read(out / "notebooks" / "good.ipynb", as_version=4)
    assert notebook.metadata.papermill.exception is None
    assert notebook.metadata.papermill.parameters == {"evidence": "../evidence"}
    assert {cell.metadata.papermill.status for cell in notebook.cells} == {"completed"}


def test_it_gets_its_parameter_and_works_in_its_own_folder(ran: tuple[Path, dict[str, NotebookRun]]) -> None:
    first = outputs(ran[0], "good")[0]
    assert first["data"]["text/plain"] == "('../evidence', 'notebooks')"  # type: ignore[index]


def test_no_secret_is_in_the_environment_of_a_kernel(ran: tuple[Path, dict[str, NotebookRun]]) -> None:
    _, names, hits = outputs(ran[0], "good")[:3]
    assert names["data"]["text/plain"] == "[]"  # type: ignore[index]
    assert hits["data"]["text/plain"] == "0"  # type: ignore[index]


def test_a_chart_of_pyplot_is_kept(ran: tuple[Path, dict[str, NotebookRun]]) -> None:
    assert "image/png" in outputs(ran[0], "good")[-1]["data"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("raises", "ZeroDivisionError"),
        ("killed", "DeadKernel"),
        ("hangs", "Timeout"),
        ("greedy", "MemoryError"),
    ],
)
def test_a_failure_has_its_true_status_in_result_and_file(
    ran: tuple[Path, dict[str, NotebookRun]], name: str, error: str
) -> None:
    out, results = ran
    assert results[name].status == "failed"
    assert str(results[name].error).startswith(error)
    notebook = nbformat.read(out / "notebooks" / f"{name}.ipynb", as_version=4)
    assert notebook.metadata.papermill.exception is True
    assert notebook.metadata.klaviyo_nb.status == "failed"
    cells = {
        cell["id"]: cell.metadata.papermill.status for cell in notebook.cells if "papermill" in cell.metadata
    }
    assert cells["cell-0"] == "failed"
    assert cells["cell-1"] == "pending"
    assert [output["ename"] for output in outputs(out, name)] == [error]


def test_a_flood_of_output_is_cut_and_says_so(ran: tuple[Path, dict[str, NotebookRun]]) -> None:
    out, results = ran
    assert results["floods"].status == "completed"
    # up to the cap; as JSON each line of 51 characters takes 62
    assert (out / "notebooks" / "floods.ipynb").stat().st_size < 1_000_000 * 62 / 51 + 10_000
    assert any("output cut here" in str(output.get("text")) for output in outputs(out, "floods"))


def test_papermill_can_run_the_result_again(ran: tuple[Path, dict[str, NotebookRun]], tmp_path: Path) -> None:
    again = prepared(ran[0] / "notebooks" / "raises.ipynb", {"evidence": "../other"})
    assert [cell["id"] for cell in again.cells].count("injected-parameters") == 1


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such parameter") as caught:
        prepared(write(tmp_path, "one"), {"evidnce": "x"})
    assert "evidence" in str(caught.value.hint)


def test_a_parameter_named_like_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a secret cannot be one"):
        prepared(write(tmp_path, "one"), {"api_key": "x"})


def test_a_parameter_that_carries_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a secret cannot be one"):
        prepared(write(tmp_path, "one"), {"evidence": SECRET}, lambda text: text.replace(SECRET, "…"))


def test_a_parameter_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="texts"):
        prepared(write(tmp_path, "one"), {"evidence": ("a", "b")})  # type: ignore[dict-item]


def test_the_same_parameters_give_the_same_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "one", "1")
    first, second = (prepared(path, {"evidence": "../evidence"}) for _ in range(2))
    assert [(cell["id"], cell.source) for cell in first.cells] == [
        (cell["id"], cell.source) for cell in second.cells
    ]
