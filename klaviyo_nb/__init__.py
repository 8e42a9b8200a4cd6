"""Incident response for applications that talk to Klaviyo.

The command line (`klaviyo-nb`) and the notebooks are two thin faces of the same functions; start reading at
`collect` (what we can see), `diagnosis` (what it means), `response` (what to do) and `report` (what we keep).
"""

import os

# Threads of numpy's OpenBLAS wait for work by spinning: a tenth of a second of processor time wherever it is
# imported. We give them none: let them sleep at once.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

__version__ = "0.1.0"
