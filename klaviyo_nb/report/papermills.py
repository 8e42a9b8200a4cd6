"""What we use of papermill, imported without the clients of object stores that it would bring.

It looks for boto3 and others to read notebooks from S3 and the like, which is not done here: where boto3 is
installed for `cloudwatch://`, that is a third of all that running notebooks imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NotebookExecutionManager", "PapermillExecutionError", "infer_parameters", "load_notebook_node",
           "parameterize_notebook", "prepare_notebook_metadata", "raise_for_execution_errors"]  # fmt: skip


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """As if they were not installed; what is imported already is not touched."""
    new = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(new))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]


with _hidden("boto3", "azure", "gcsfs", "github", "pyarrow.fs"):
    from papermill.engines import NotebookExecutionManager
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import prepare_notebook_metadata, raise_for_execution_errors
    from papermill.inspection import _infer_parameters as infer_parameters
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook
