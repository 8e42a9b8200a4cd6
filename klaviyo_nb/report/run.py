"""Run the notebooks side by side: papermill's parameters and file format, our own engine beneath.

Papermill alone says "completed" of a notebook whose kernel was killed or ran out of time, ignores parameters
that do not exist, and stores secrets given as parameters twice. Here the status in the file is the true one,
and such parameters are refused.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from klaviyo_nb.errors import UsageError
from klaviyo_nb.redact import harmless
from klaviyo_nb.report.forks import ForkServer, kernel_environment
from klaviyo_nb.report.kernels import Running, kernel
from klaviyo_nb.report.made import NotebookRun
from klaviyo_nb.report.notebooks import NAMES, shipped
from klaviyo_nb.report.papermills import (
    NotebookExecutionManager,
    PapermillExecutionError,
    infer_parameters,
    load_notebook_node,
    parameterize_notebook,
    prepare_notebook_metadata,
    raise_for_execution_errors,
)

#: Wall clock for one notebook, kernel start included [s].
LIMIT_S = 120.0
#: So many notebooks run side by side: all.
AT_ONCE = len(NAMES)
#: Outputs of one notebook that are kept [bytes].
OUTPUT_CAP = 8_000_000
#: The kernel has answered, and its last output has still to arrive [s].
_DRAIN_S = 10
_SECRET_PARAMETER = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


async def run_all(
    bundle: Path,
    evidence: str,
    *,
    incident: str = "",
    lead: str = "",
    server: ForkServer | None,
    source: Path | None = None,
    names: Sequence[str] = NAMES,
    redact: Callable[[str], str] = str,
    limit_s: float = LIMIT_S,
    output_cap: int = OUTPUT_CAP,
    at_once: int = AT_ONCE,
    on_done: Callable[[NotebookRun, Path], Awaitable[None]] | None = None,
) -> list[NotebookRun]:
    """Execute notebooks into `bundle/notebooks`, side by side; one that fails stops none of the others.

    Args:
        bundle: Folder of the report; `notebooks/` in it is the working directory of all kernels.
        evidence: Their parameter of that name: a path as seen from `bundle/notebooks`.
        incident: Their parameter of that name.
        lead: Likewise.
        server: Where kernels are forked from; None: each is started plainly, which takes longer.
        source: Folder of the notebooks; None: the shipped ones.
        names: Which of them, without `.ipynb`.
        redact: Tells whether a parameter carries a secret.
        limit_s: Wall clock for one notebook [s].
        output_cap: Outputs of one notebook that are kept [bytes].
        at_once: How many run side by side.
        on_done: Awaited with each result and its file, when that is written.

    Raises:
        UsageError: A parameter is unknown or carries a secret.
        OSError: A notebook cannot be read or written.
    """
    target = bundle / "notebooks"
    target.mkdir(parents=True, exist_ok=True)
    folder = source or shipped()
    given = {"evidence": evidence, "incident": incident, "lead": lead}
    parameters = {name: value for name, value in given.items() if value}
    notebooks = {name: prepared(folder / f"{name}.ipynb", parameters, redact) for name in names}

    turns = asyncio.Semaphore(at_once)

    async def run_one(name: str, scratch: Path) -> NotebookRun:
        path = target / f"{name}.ipynb"
        running = kernel(server, target, kernel_environment(os.environ, scratch), scratch)
        async with turns:
            result = await _execute(notebooks[name], path, running, limit_s, output_cap)
        if on_done is not None:
            await on_done(result, path)
        return result

    with tempfile.TemporaryDirectory(prefix="klaviyo-nb-", ignore_cleanup_errors=True) as scratch:
        return list(await asyncio.gather(*(run_one(name, Path(scratch)) for name in names)))


def prepared(path: Path, parameters: Mapping[str, str], redact: Callable[[str], str] = str) -> Any:
    """The notebook at `path` with papermill's cell of `parameters` in it.

    Raises:
        UsageError: A parameter is not text, is not one the notebook has, or carries a secret.
    """
    notebook = load_notebook_node(str(path))
    known = {parameter.name for parameter in infer_parameters(notebook)}
    for name, value in parameters.items():
        _check_parameter(path.stem, name, value, known, redact)
    notebook = parameterize_notebook(notebook, dict(parameters))
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell["id"] = "injected-parameters"  # papermill invents one; the same run is to give the same file
            cell.metadata.setdefault("papermill", {})
    return prepare_notebook_metadata(notebook, path.name, path.name)


def _check_parameter(
    notebook: str, name: str, value: object, known: set[str], redact: Callable[[str], str]
) -> None:
    where = f"{notebook}.ipynb: {name}"
    if name not in known:
        raise UsageError(
            where, "the notebook has no such parameter", f"use one of: {', '.join(sorted(known))}"
        )
    if not isinstance(value, str):
        raise UsageError(where, "parameters are texts", f"pass {str(value)!r}")
    if _SECRET_PARAMETER.search(name) or redact(value) != value:
        raise UsageError(
            where, "a parameter is kept in the notebook, so a secret cannot be one", "export it as a variable"
        )


async def _execute(
    notebook: Any, path: Path, running: Running, limit_s: float, output_cap: int
) -> NotebookRun:
    """Run `notebook` in the kernel that `running` starts, and write it to `path` with its true status."""
    started = time.monotonic()
    state = NotebookExecutionManager(notebook, progress_bar=False)  # without a path: written once, at the end
    state.notebook_start()
    error = await _run_cells(state, running, started + limit_s, output_cap)
    state.notebook_complete()
    if error is None:
        path.write_text(nbformat.writes(notebook), "utf-8")
        return NotebookRun(path.stem, "completed", time.monotonic() - started)
    notebook.metadata.papermill["exception"] = True
    notebook.metadata["klaviyo_nb"] = {"status": "failed", "error": error}
    with suppress(PapermillExecutionError):  # marks the cell as papermill does, writes the file, and raises
        raise_for_execution_errors(notebook, str(path))
    return NotebookRun(path.stem, "failed", time.monotonic() - started, error)


async def _run_cells(
    state: NotebookExecutionManager, running: Running, deadline: float, output_cap: int
) -> str | None:
    """Run all cells; what went wrong, or None."""
    cells = list(enumerate(state.nb.cells))
    index, cell = next((pair for pair in cells if pair[1].cell_type == "code"), cells[0])
    try:
        async with running as (manager, client):
            runner = _Client(state.nb, manager, client, deadline, output_cap)
            for index, cell in cells:
                state.cell_start(cell)
                await runner.async_execute_cell(cell, index)
                state.cell_complete(cell)
    except CellExecutionError as exc:
        state.cell_exception(cell)
        return _one_line(f"{exc.ename}: {exc.evalue}")
    except CellTimeoutError:
        return _failed(state, cell, "Timeout", "the notebook took longer than it may, and was stopped")
    except DeadKernelError:
        return _failed(state, cell, "DeadKernel", "the kernel was killed or ran out of memory")
    except RuntimeError as exc:  # jupyter_client: the kernel did not start
        return _failed(state, cell, "KernelNotStarted", str(exc))
    return None


def _failed(state: NotebookExecutionManager, cell: Any, name: str, what: str) -> str:
    """Record what papermill would pass over: the cell, and with it the notebook, did not complete."""
    cell.outputs.append(
        nbformat.v4.new_output("error", ename=name, evalue=what, traceback=[f"{name}: {what}"])
    )
    state.cell_exception(cell)
    return _one_line(f"{name}: {what}")


def _one_line(text: str) -> str:
    return " ".join(harmless(text).split())[:300]


class _Client(NotebookClient):
    """Executes cells in a kernel that runs already, until a deadline, keeping so much output and no more."""

    def __init__(self, notebook: Any, manager: Any, client: Any, deadline: float, output_cap: int) -> None:
        super().__init__(
            notebook,
            km=manager,
            timeout_func=lambda _cell: max(deadline - time.monotonic(), 0.01),
            iopub_timeout=_DRAIN_S,
            raise_on_iopub_timeout=True,
            coalesce_streams=True,
            record_timing=False,  # papermill's metadata has the times
        )
        self.kc = client
        self._kept, self._cap = 0, output_cap

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        size = sum(len(str(part)) for part in _texts(msg["content"]))
        if self._kept <= self._cap < self._kept + size:
            note = f"\n[output cut here: a notebook may write {self._cap:,} bytes]\n"
            outs.append(nbformat.v4.new_output("stream", name="stderr", text=note))
        self._kept += size
        return super().output(outs, msg, display_id, cell_index) if self._kept <= self._cap else None


def _texts(content: Mapping[str, Any]) -> list[Any]:
    return [content.get("text", ""), *content.get("data", {}).values(), *content.get("traceback", ())]
