"""Small notebooks for tests of what runs them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from klaviyo_nb.report.forks import fork_server, kernel_environment
from klaviyo_nb.report.made import NotebookRun
from klaviyo_nb.report.run import run_all

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PARAMETERS = 'evidence: str = ""  # a folder\nincident: str = ""\nlead: str = ""\napi_key: str = ""'


def write(folder: Path, name: str, *cells: str) -> Path:
    """A notebook with the parameters above, and these cells."""
    first = new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]})
    rest = [new_code_cell(cell, id=f"cell-{number}") for number, cell in enumerate(cells)]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[first, *rest], metadata={"kernelspec": KERNEL}), path)
    return path


def run_notebooks(bundle: Path, evidence: str, **options: Any) -> list[NotebookRun]:
    """`run_all`, with kernels from a fork server."""

    async def run() -> list[NotebookRun]:
        with fork_server(kernel_environment(os.environ)) as server:
            return await run_all(bundle, evidence, server=server, **options)

    return asyncio.run(run())
