"""What others wrote, where there is room for one line."""

from __future__ import annotations


def one_line(text: str, most: int) -> str:
    r"""`text` in one line of at most `most` characters; … stands for what was cut off.

    >>> one_line("it broke,\n  and nobody knows why", 12)
    'it broke, a…'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
