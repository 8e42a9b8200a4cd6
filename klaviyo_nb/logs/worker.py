"""A worker process: reads tasks pickled on standard input, writes what they give to standard output.

A task is `(function, argument, tells)`. Each answer is `(whole, result)`: what a chunk has given so far, now
and then and only if `tells` (`chunks.partly`), and at last the result.
"""

from __future__ import annotations

import gc
import pickle
import sys
from typing import Any

from klaviyo_nb.logs.chunks import partly


def main() -> None:
    """Work until the other end hangs up."""
    gc.disable()  # of a chunk, some thirty objects are left in cycles
    while True:
        try:
            function, task, tells = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
        except EOFError:
            return
        telling = partly.set(lambda _, part: _send(False, part)) if tells else None
        _send(True, function(task))
        if telling:
            partly.reset(telling)


def _send(whole: bool, result: Any) -> None:
    pickle.dump((whole, result), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
