"""Memory that arrays let go is kept for the next ones: reading makes and drops the same for every batch.

The C library gives large pieces back at once, and the kernel clears each page of them when it is asked again:
a tenth of the time of a log in which all lines are calls.

Source:
    https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import os
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: As much is kept [bytes]; what is larger than this is given back as before.
_KEPT, _LARGE = 64 * 1024 * 1024, 16 * 1024 * 1024


@cache
def keep() -> bool:
    """Keep it, from now on in this process; False where the C library knows no way, or was told another."""
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    import ctypes  # numpy brings it anyway

    option = getattr(ctypes.CDLL(None), "mallopt", None)
    return option is not None and bool(option(_M_TRIM_THRESHOLD, _KEPT) and option(_M_MMAP_THRESHOLD, _LARGE))
