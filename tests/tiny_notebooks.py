"""Small notebooks for tests of what runs them."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PARAMETERS = 'evidence: str = ""  # a folder\nincident: str = ""\nlead: str = ""\napi_key: str = ""'


def write(folder: Path, name: str, *cells: str) -> Path:
    """A notebook with the parameters above, and these cells."""
    first = new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]})
    rest = [new_code_cell(cell, id=f"cell-{number}") for number, cell in enumerate(cells)]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[first, *rest], metadata={"kernelspec": KERNEL}), path)
    return path
