"""What a notebook cell shows: evidence given or collected now, small tables, figures with their alt text.

Everything shown is escaped: it comes from logs, status pages and error texts that others wrote. The frames
themselves stay frames; slice them further in a cell of your own.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb import collect, settings
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.logs.calls import by
from klaviyo_nb.redact import harmless
from klaviyo_nb.report.canvas import save_png
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.response.actions import Action

#: Rows of a table that are shown, and characters of a cell.
MOST_ROWS, MOST_TEXT = 30, 160

#: Columns of a probe that a person reads first.
_PROBE = (
    "probe",
    "status_code",
    "error_type",
    "answered_by",
    "duration_s",
    "error_code",
    "detail",
    "request_id",
)
_LIMIT = ("probe", "status_code", "ratelimit", "ratelimit_remaining", "retry_after_s", "revision_effective")


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
        return collect.load(Path(evidence))
    flags = {"logs": tuple(logs.split()), "metrics_url": metrics or None, "since": since or None}
    chosen = settings.load(os.environ, flags, Path.cwd())
    window = collect.window_of(chosen, collect.utc_now())
    return await collect.collect(chosen, window, collect.redactor_for(chosen))


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
            return data, {"image/png": {"alt": self.plain}}
        return {"text/html": self.html, "text/plain": self.plain}, {}


def table(frame: pd.DataFrame | None, absent: str = "nothing") -> Shown:
    """A frame as a table without index: the first `MOST_ROWS` rows, long texts cut.

    Args:
        frame: None or empty: `absent` is shown instead.
        absent: What it means that there is no row, in words.
    """
    if frame is None or frame.empty:
        return Shown(absent, f"<p><em>{escape(absent)}</em></p>")
    cells = [[_text(value) for value in row] for row in frame.head(MOST_ROWS).itertuples(index=False)]
    names = [str(name).replace("_", " ") for name in frame.columns]
    numeric = [pd.api.types.is_numeric_dtype(dtype) and dtype != "boolean" for dtype in frame.dtypes]
    head = _row("th", names, numeric, ' scope="col"')
    body = "\n".join(_row("td", row, numeric) for row in cells)
    more = f"and {len(frame) - MOST_ROWS:,} more rows" if len(frame) > MOST_ROWS else ""
    html = (
        f'<div class="scroll" tabindex="0"><table class="dataframe">\n<thead>{head}</thead>\n'
        f"<tbody>{body}</tbody></table></div>" + (f"<p><em>{more}</em></p>" if more else "")
    )
    return Shown("\n".join(["  ".join(row) for row in [names, *cells]] + [more]).strip(), html)


def figure(drawn: Figure) -> Shown:
    """A figure of `report.charts` as a picture that carries its alt text."""
    return Shown(harmless(str(drawn.get_label())), png=save_png(drawn))


def text(draft: str) -> Shown:
    """A draft, word for word, ready to be copied."""
    clean = harmless(draft)
    return Shown(clean, f"<pre>{escape(clean)}</pre>")


def verdict(found: Verdict) -> Shown:
    """Cause, severity and respond-by time, and the sentence that a manager can read."""
    level = found.severity or {"healthy": "well"}.get(found.cause, "undecided")
    tone = {"well": "good", "undecided": "none"}.get(level, level.lower())
    deadline = f"respond by {iso(found.respond_by)}" if found.respond_by else ""
    summary, because = harmless(found.summary), harmless(found.severity_because or "")
    html = (
        f'<div class="verdict t-{tone}"><p class="line"><span class="badge">{level}</span>'
        f' <strong>{found.cause}</strong> <span class="respond">{deadline}</span></p>'
        f'<p class="lead">{escape(summary)}</p><p>{escape(because)}</p></div>'
    )
    return Shown("\n".join(filter(None, (f"{level} {found.cause}", summary, because, deadline))), html)


def asked(evidence: Evidence) -> pd.DataFrame:
    """What was asked of whom, and when: one row per fact."""
    key = evidence.context.get("key") or {}
    return _rows(
        ("fact", "value"),
        [
            ("window", f"{iso(evidence.window.start)} to {iso(evidence.window.end)}"),
            ("collected at", iso(evidence.collected_at)),
            ("API", evidence.context.get("api_url")),
            ("revision", evidence.context.get("revision")),
            (
                "key",
                f"set, {key.get('length')} characters, begins {key.get('prefix')}"
                if key.get("set")
                else "not set",
            ),
            (
                "calls read from logs",
                "no log was read" if evidence.calls is None else f"{len(evidence.calls):,}",
            ),
            (
                "samples read from metrics",
                "no metrics were read" if evidence.metrics is None else f"{len(evidence.metrics):,}",
            ),
            (
                "requests spent on the API",
                f"{evidence.budget.api_calls} of {evidence.budget.allowed} allowed",
            ),
        ],
    )


def probes(evidence: Evidence, *columns: str) -> pd.DataFrame:
    """The probes, one row each, without the columns in which nothing was seen; `columns`: which."""
    frame = evidence.probes[list(columns or _PROBE)]
    return frame.loc[:, frame.notna().any()]


def limits(evidence: Evidence) -> pd.DataFrame:
    """What the probes learned of rate limits and of the revision."""
    frame = evidence.probes
    return probes(evidence, *_LIMIT)[frame["answered_by"].eq("klaviyo").fillna(False)]


def posts(evidence: Evidence) -> pd.DataFrame | None:
    """Incidents and maintenance on the status page; None if it could not be read."""
    if evidence.status_page is None:
        return None
    found = [
        (
            kind,
            each.get("name"),
            each.get("status"),
            each.get("impact"),
            each.get("started_at") or each.get("created_at"),
        )
        for kind, key in (("incident", "incidents"), ("maintenance", "maintenances"))
        for each in evidence.status_page.get(key) or ()
    ]
    return _rows(("kind", "name", "status", "impact", "since"), found)


def calls_by(evidence: Evidence, *columns: str) -> pd.DataFrame | None:
    """Calls and failures by these columns, most failures first; None if no log was read."""
    if evidence.calls is None:
        return None
    return by(evidence.calls, columns).sort_values(["failed", "calls"], ascending=False, kind="stable")


def failing(evidence: Evidence) -> pd.DataFrame | None:
    """The last calls with an HTTP status of 400 and more or without a response, each with its citation."""
    calls = evidence.calls
    if calls is None:
        return None
    columns = [
        "timestamp",
        "method",
        "endpoint",
        "status_code",
        "error_type",
        "error_code",
        "source",
        "line_no",
        "message",
    ]
    bad = calls["error_type"].notna() | calls["status_code"].ge(400).fillna(False)
    return calls.loc[bad, columns].tail(10).iloc[::-1]


def coverage(evidence: Evidence) -> pd.DataFrame:
    """What each log source was asked for and gave."""
    return _rows(
        ("source", "got", "lines", "calls", "unparsed", "truncated", "gap"),
        [
            (each.source, f"{iso(each.got.start)} to {iso(each.got.end)}" if each.got else None,
             each.lines, each.calls, each.unparsed, each.truncated, each.gap)
            for each in evidence.coverage
        ],
    )  # fmt: skip


def queries(evidence: Evidence) -> pd.DataFrame:
    """What the metrics server was asked, ready to be asked again."""
    columns = ("role", "expr", "step_s", "requests", "samples", "sha256")
    return _rows(columns, [tuple(asdict(query)[name] for name in columns) for query in evidence.queries])


def gaps(found: Verdict) -> pd.DataFrame:
    """What could not be seen, and why."""
    return _rows(("signal", "reason"), [(gap.signal, gap.reason) for gap in found.gaps])


def path(found: Verdict) -> pd.DataFrame:
    """The questions asked, each with its answer and where that comes from."""
    rows = [(step.question, step.answer, step.because, ", ".join(step.evidence)) for step in found.path]
    return _rows(("question", "answer", "because", "evidence"), rows)


def rivals(found: Verdict) -> pd.DataFrame:
    """Causes still possible, and what would tell them apart."""
    return _rows(("cause", "because", "ask"), [(each.cause, each.because, each.ask) for each in found.rivals])


def actions(steps: Iterable[Action]) -> pd.DataFrame:
    """What to do now, in order."""
    columns = ("title", "why", "command", "expect", "undo", "check")
    return _rows(columns, [tuple(getattr(step, name) for name in columns) for step in steps])


def facts(values: Mapping[str, Any] | None) -> pd.DataFrame | None:
    """Named values, one row each; those that were not observed are left out."""
    return (
        None
        if values is None
        else _rows(("fact", "value"), [pair for pair in values.items() if pair[1] is not None])
    )


def _rows(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool], more: str = "") -> str:
    classes = [' class="num"' if flush else "" for flush in numeric]
    inner = (f"<{tag}{more}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, classes, strict=True))
    return f"<tr>{''.join(inner)}</tr>"


def _text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # NaN differs from itself
        return "–"
    if isinstance(value, pd.Timestamp):
        return iso(value.to_pydatetime(warn=False))
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    said = " ".join(harmless(str(value)).split(" "))
    return said if len(said) <= MOST_TEXT else f"{said[: MOST_TEXT - 1]}…"
