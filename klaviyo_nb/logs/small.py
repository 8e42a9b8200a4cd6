"""Small files are read as one: a table and a hand-over for each would cost more than reading it.

They are one task, so that their records are understood together and their rows stand in one table; each has a
job and a part of its own, and what it covers is told as of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from klaviyo_nb.logs.chunks import Job, Task

#: What is small, and what is read as one at most [bytes, bytes, files].
_SMALL, _MOST, _FILES = 256 * 1024, 8 * 1024 * 1024, 1_000
#: Fewer are read as one where there would be fewer tasks than these: all processes shall be busy.
_TASKS = 64


def _is_small(job: Job) -> bool:
    """Is it a file that costs more to open than to read? Only of files both are known."""
    return 0 < job.chunk.size <= _SMALL and getattr(job.chunk, "anywhere", False)


def tasks(jobs: Sequence[Job], whole: Callable[[Job], bool]) -> list[Task]:
    """Jobs as they are read: in their order, but that small ones come with the first that they are read with.

    Args:
        jobs: What is to be read.
        whole: Is its chunk all of its source?
    """
    small = [whole(job) and _is_small(job) for job in jobs]
    files = min(_FILES, 1 + sum(small) // _TASKS)
    made: list[Task] = []
    room: dict[tuple[Any, ...], tuple[list[Job], int]] = {}  # what those must have alike: a task, bytes left
    for job, is_one in zip(jobs, small, strict=True):
        alike = job.about, job.most, getattr(job.chunk, "packed", False)
        task, left = room[alike] if is_one and alike in room else (list[Job](), 0)
        if not task or len(task) == files or job.chunk.size > left:
            made.append(task := [])
            left = _MOST
        task.append(job)
        if is_one:
            room[alike] = task, left - job.chunk.size
    return made
