"""What others wrote, where there is room for one line, or for so much and no more."""

from __future__ import annotations

from klaviyo_nb.expressions import expression

#: Characters that are kept of any text, and of one label of a metric.
LONGEST, LONGEST_LABEL = 10_000, 500
#: A word that is cut may be part of a secret that nobody recognises then.
_CUT_WORD = expression(r"[^\s\"'&;,]{1,256}\Z")


def one_line(text: str, most: int) -> str:
    r"""`text` in one line of at most `most` characters; … stands for what was cut off.

    >>> one_line("it broke,\n  and nobody knows why", 12)
    'it broke, a…'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def many(count: float, noun: str, plural: str | None = None) -> str:
    """`1 source`, `1,200 sources`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def bounded(text: str, most: int = LONGEST) -> str:
    """`text`, or as much of it as fits, with how much is missing; what differs still does.

    Done twice it is as done once.
    """
    if len(text) <= most:
        return text
    from hashlib import sha256  # 3 ms that most commands do not need

    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    kept = _CUT_WORD.sub("", text[: most - 64])
    return f"{kept}… ({len(text) - len(kept):,} more characters, sha256 {digest})"


def bounded_labels(series: str) -> str:
    """Labels of a series as JSON, each of them bounded; or one label that stands for too many."""
    if len(series) <= LONGEST:
        return series
    import json

    try:
        labels = {str(name): bounded(str(value), LONGEST_LABEL) for name, value in json.loads(series).items()}
    except (ValueError, AttributeError):
        labels = {}
    told = json.dumps(labels, sort_keys=True, ensure_ascii=False)
    if labels and len(told) <= LONGEST:
        return told
    return json.dumps({"labels": bounded(series, LONGEST_LABEL)}, ensure_ascii=False)
