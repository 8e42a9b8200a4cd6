"""What a notebook cell shows: evidence given or collected now, small tables, figures with their alt text.

Everything shown is escaped: it comes from logs, status pages and error texts that others wrote. What is shown
are frames of `views`, of the evidence, or of your own making.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from klaviyo_nb import collect, settings, start
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.redact import harmless
from klaviyo_nb.report.canvas import save_png
from klaviyo_nb.report.look import PAGES
from klaviyo_nb.report.words import badge_and_tone, to_the_second
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.logs.questions.question import Answer
    from klaviyo_nb.response.actions import Action

#: Rows of a table that are shown, and characters of a cell.
MOST_ROWS, MOST_TEXT = 30, 160
#: From here on a cell's text needs room, or its row grows tall [characters].
LONG_TEXT = 60
#: Width at which JupyterLab shows a picture, which has more pixels than that.
SHOWN_PX = 680
#: Numbers that are looked up rather than read.
_PLACES = ("line_no", "offset")
#: Evidence that was read before a notebook asks for it, by its folder.
_AHEAD: dict[Path, Evidence] = {}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z")
_SPAN = re.compile(rf"{_MOMENT.pattern}(?: to {_MOMENT.pattern})?")


async def open_evidence(evidence: str = "", logs: str = "", metrics: str = "", since: str = "2h") -> Evidence:
    """The evidence in folder `evidence`; if that is empty, what can be seen now.

    Args:
        evidence: An evidence folder, or a bundle that holds one.
        logs: Log source URLs, separated by blanks; empty: `KLAVIYO_NB_LOGS`.
        metrics: A Prometheus-compatible server; empty: `KLAVIYO_NB_METRICS_URL`.
        since: Length of the window that ends now.

    Raises:
        EvidenceError: The folder is not evidence.
        UsageError: A setting is wrong.
    """
    if evidence:
        return opened(Path(evidence))
    flags = {"logs": tuple(logs.split()), "metrics_url": metrics or None, "since": since or None}
    chosen = settings.load(os.environ, flags, Path.cwd())
    window = start.window_of(chosen, start.utc_now())
    return await collect.collect(chosen, window, start.redactor_for(chosen))


def opened(folder: Path) -> Evidence:
    """The evidence in `folder`, from memory if it was read ahead; that once, for it may change afterwards.

    Raises:
        EvidenceError: The folder is not evidence.
    """
    return _AHEAD.pop(folder.resolve(), None) or load(folder)


def read_ahead(folder: Path) -> Evidence:
    """Read the evidence in `folder`, also for the first notebook that asks.

    Raises:
        EvidenceError: The folder is not evidence.
    """
    found = _AHEAD[folder.resolve()] = load(folder)
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """Something a cell ends with.

    Attributes:
        plain: As text.
        html: As HTML, escaped.
        png: As a picture, whose alt text `plain` is; instead of `html`.
    """

    plain: str
    html: str = ""
    png: bytes = b""

    def __repr__(self) -> str:
        return self.plain

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict[str, str], dict[str, Any]]:
        if self.png:
            data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.plain}
            return data, {"image/png": {"alt": self.plain, "width": SHOWN_PX}}
        return {"text/html": self.html, "text/plain": self.plain}, {}


def table(frame: pd.DataFrame | None, none: str = "nothing", unseen: str = "it was not observed") -> Shown:
    """A frame as a table without index: the first `MOST_ROWS` rows, long texts cut.

    Args:
        frame: What to show.
        none: What it means that there is no row, in words.
        unseen: What it means that there is no frame: nobody looked, or nothing could be seen.
    """
    if frame is None or frame.empty:
        said = unseen if frame is None else none
        return Shown(said, f"<p><em>{escape(said)}</em></p>")
    columns = [_column(str(name), values) for name, values in frame.head(MOST_ROWS).items()]
    head = [(name, kind) for name, kind, _ in columns]
    names = [name for name, _ in head]
    cells = [list(row) for row in zip(*(texts for _, _, texts in columns), strict=True)]
    more = f"and {len(frame) - MOST_ROWS:,} more rows" if len(frame) > MOST_ROWS else ""
    html = _parts().grid(more, head, [(False, row) for row in cells])
    return Shown("\n".join(["  ".join(row) for row in [names, *cells]] + [more]).strip(), html)


def answer(found: Answer | None) -> Shown:
    """A question's answer: its sentence, what stands behind it, what it does not cover."""
    if found is None:
        return table(None, unseen="no log was read")
    told = found.rows.loc[:, found.rows.notna().any()]  # what the log never tells is no column
    rows = table(told, "no row stands behind it")
    limits = [harmless(each) for each in found.covers]
    listed = "".join(f"<li>{escape(each)}</li>" for each in limits)
    html = f"<p><strong>{escape(harmless(found.says))}</strong></p>{rows.html}"
    plain = "\n".join([harmless(found.says), rows.plain, *(f"not covered: {each}" for each in limits)])
    return Shown(plain, f"{html}<p>What this does not cover:</p><ul>{listed}</ul>" if limits else html)


def figure(drawn: Figure) -> Shown:
    """A figure of `report.charts` as a picture that carries its alt text."""
    return Shown(harmless(str(drawn.get_label())), png=save_png(drawn))


def text(draft: str) -> Shown:
    """A draft, word for word, ready to be copied."""
    clean = harmless(draft)
    return Shown(clean, f"<pre>{escape(clean)}</pre>")


def steps(actions: Iterable[Action]) -> Shown:
    """What to do now: each step with its command, what to expect, how to undo and how to check it."""
    told = list(actions)
    if not told:
        return table(None, unseen="nothing to do")
    lines = []
    for number, step in enumerate(told, 1):
        lines += [f"{number}. {step.title}", step.why, *(["", step.command, ""] if step.command else [])]
        lines += [f"expect: {step.expect}", *([f"undo: {step.undo}"] if step.undo else [])]
        lines += [f"check: {step.check}", ""]
    return Shown(harmless("\n".join(lines)).strip(), _parts().steps(told))


def verdict(found: Verdict) -> Shown:
    """Cause, severity and respond-by time, and the sentence that a manager can read."""
    level, tone = badge_and_tone(found.cause, found.severity)
    deadline = f"respond by {stamp(found.respond_by)} UTC" if found.respond_by else ""
    summary, because = harmless(found.summary), harmless(found.severity_because or "")
    because = "" if because in summary else because  # said already
    html = (
        f'<div class="verdict t-{tone}"><p class="line"><span class="badge">{level}</span>'
        f' <strong>{found.cause}</strong> <span class="respond">{deadline}</span></p>'
        f'<p class="lead">{escape(summary)}</p><p>{escape(because)}</p></div>'
    )
    return Shown("\n".join(filter(None, (f"{level} {found.cause}", summary, because, deadline))), html)


def _parts() -> Any:
    return PAGES.get_template("parts.html.j2").module


def _column(name: str, values: pd.Series[Any]) -> tuple[str, str, list[str]]:
    """What stands over a column, its CSS class, its cells."""
    title = name.replace("_", " ")
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        days = set(values.dropna().dt.tz_convert("UTC").dt.date)
        day = f"{days.pop():%d %b} " if len(days) == 1 else ""
        return f"{title} ({day}UTC)", "nowrap", [_moment(each, bool(day)) for each in values]
    number = pd.api.types.is_numeric_dtype(values.dtype) and values.dtype not in ("boolean", "bool")
    form = str if name in _PLACES else "{:.1%}".format if number and name.endswith("share") else _text
    texts = ["–" if each is None or pd.isna(each) else form(each) for each in values]
    long = any(len(each) > LONG_TEXT for each in texts)
    return title, "num" if number else "long" if long else "", texts


def _moment(value: Any, short: bool) -> str:
    return "–" if pd.isna(value) else stamp(value)[11 if short else 0 :]


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, pd.Timestamp | datetime):
        return f"{stamp(value)} UTC"
    if isinstance(value, timedelta):
        return to_the_second(value)
    if isinstance(value, Integral):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    said = " ".join(harmless(str(value)).split(" "))
    if _SPAN.fullmatch(said):
        return _MOMENT.sub(lambda found: f"{found[1]} {found[2]}", said) + " UTC"
    return said if len(said) <= MOST_TEXT else f"{said[: MOST_TEXT - 1]}…"
