"""What we keep: notebooks run by papermill, charts, postmortem, a sealed bundle that verifies."""

import sys

# jsonschema, which nbformat validates notebooks with, imports `rfc3987_syntax` where it is installed
# (JupyterLab pulls it in), and that package builds 38 grammars at import: 0.8 s in every process that reads a
# notebook. It checks internationalised URLs, which no notebook field is. None here reads as "not installed",
# which jsonschema allows for.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
