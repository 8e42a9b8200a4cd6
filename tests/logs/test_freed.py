from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Arrays made and dropped again and again; counts the pages that the kernel cleared for them.
AGAIN_AND_AGAIN = """
import resource, sys
from klaviyo_nb.logs import freed
print(freed.keep() if sys.argv[1] == "keep" else None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    few = [bytearray(1_000_000) for _ in range(8)]
    for each in few:
        each[::4096] = bytes(len(each[::4096]))
    del few, each
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def told(keep: str, **more: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN_AND_AGAIN, keep],
        capture_output=True, text=True, check=True, env=environment | more,
    )  # fmt: skip
    kept, pages = done.stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="what the C library of Linux is told")
def test_memory_that_was_let_go_is_used_again_without_being_cleared_anew() -> None:
    kept, pages = told("keep")
    if kept == "False":
        pytest.skip("this C library knows no way")
    assert pages < told("leave")[1] / 4


def test_whoever_told_the_c_library_otherwise_is_heeded() -> None:
    assert told("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
