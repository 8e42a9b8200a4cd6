"""A worker process: reads `(function, task)` pickled on standard input, writes results to standard output."""

from __future__ import annotations

import pickle
import sys


def main() -> None:
    """Work until the other end hangs up."""
    while True:
        try:
            function, task = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent wrote it
        except EOFError:
            return
        pickle.dump(function(task), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
