"""What `klaviyo-nb logs` answers: read, then render as text, JSON, CSV or Parquet."""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klaviyo_nb import logs
from klaviyo_nb.commands import terminal
from klaviyo_nb.errors import SourceError, UsageError
from klaviyo_nb.evidence import TRY, Coverage, Gap, gaps_of, in_short
from klaviyo_nb.frames import CALLS, plain_rows, without_formulas
from klaviyo_nb.logs.questions.question import Answer, Question
from klaviyo_nb.logs.raw import around
from klaviyo_nb.logs.sources.base import without_credentials
from klaviyo_nb.redact import harmless
from klaviyo_nb.start import redactor_for, utc_now, window_of
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    import pandas as pd  # the reader imports it while others read

    from klaviyo_nb.settings import Settings


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What the logs gave: calls, or the answer to a question about them."""

    asked_at: datetime
    window: Window
    given: pd.DataFrame | Answer
    coverage: tuple[Coverage, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """One per source that could not be read whole."""
        return tuple(gaps_of(self.coverage, self.asked_at))

    @property
    def lines(self) -> int:
        """Lines read, over all sources."""
        return sum(coverage.lines for coverage in self.coverage)


def need_logs(settings: Settings) -> None:
    """Refuse to run without a log source.

    Raises:
        UsageError: None was given.
    """
    if not settings.logs:
        raise UsageError("URL", "no log source was given", "klaviyo-nb logs /var/log/app.log --since 2h")


def read_logs(
    settings: Settings, question: Question[Any] | None = None, progress: logs.Progress | None = None
) -> LogAnswer:
    """Read the settings' log sources over their window; with a question, ask it there."""
    now = utc_now()
    window = window_of(settings, now)
    how: dict[str, Any] = {
        "redact": redactor_for(settings).text, "progress": progress, "engine": settings.engine,
        "formats": settings.log_format,
    }  # fmt: skip
    if question is not None:
        asked = logs.ask(question, settings.logs, window, **how)
        return LogAnswer(now, window, asked.answer, asked.coverage)
    read = logs.read(settings.logs, window, **how)
    return LogAnswer(now, window, read.calls, read.coverage)


def raw_lines(settings: Settings, line_no: int) -> str:
    """A line of the one log source, marked, with those around it; without secrets, and harmless.

    Raises:
        UsageError: There are several sources, or there is no such line.
        SourceError: The source cannot be read; what its client or server complains of is redacted.
    """
    redact = redactor_for(settings).text
    if len(settings.logs) != 1:
        hint = f"klaviyo-nb logs {shlex.quote(without_credentials(settings.logs[0]))} --line {line_no}"
        raise UsageError("--line", f"belongs to one source, not {len(settings.logs)}", hint)
    try:
        found = around(settings.logs[0], window_of(settings, utc_now()), line_no)
    except SourceError as exc:
        what, _, command = exc.what.partition(TRY)
        raise type(exc)(exc.where, redact(what), command or exc.hint) from None
    texts = redact("\n".join(line.text for line in found)).split("\n")
    width = len(str(found[-1].number))
    return "".join(
        f"{'>' if line.number == line_no else ' '} {line.number:>{width}}  {harmless(text)}\n"
        for line, text in zip(found, texts, strict=True)
    )


def look_at_logs(found: LogAnswer) -> str:
    """The next command when no log could be read: is it there, may we read it? A cluster says it itself."""
    reason, source = next(((gap.reason, gap.signal) for gap in found.gaps), ("", ""))
    if command := reason.partition(TRY)[2] or reason.partition(" is not installed: ")[2]:
        return command
    scheme, mark, rest = source.partition("://")
    host = rest.partition("/")[0]
    unit = f" -u {shlex.quote(rest.strip('/'))}" if rest.strip("/") else ""
    asks = {
        "docker": "docker ps -a",
        "k8s": f"kubectl -n {shlex.quote(host)} get pods",
        "loki": f"curl -s {shlex.quote(f'http://{host}/loki/api/v1/labels')}",
        "loki+https": f"curl -s {shlex.quote(f'https://{host}/loki/api/v1/labels')}",
        "cloudwatch": f"aws logs describe-log-groups --region {shlex.quote(host)}",
        "journald": f"journalctl -n 5{unit}",
    }
    if scheme in asks:
        return asks[scheme]
    if mark and scheme != "file":
        return f"python -c {shlex.quote(f'import fsspec; print(fsspec.open_files({json.dumps(source)}))')}"
    path = Path(source.removeprefix("file://")).absolute()
    if path.is_dir() and any(path.glob("*.log*")):
        return f"klaviyo-nb logs {shlex.quote(f'{path}/*.log*')}"
    folder = next(each for each in (path, *path.parents) if os.path.isdir(each))
    return f"ls -l {shlex.quote(str(folder))}"


def render_logs(found: LogAnswer, by: Sequence[str], form: str) -> bytes:
    """`text`, `json`, `csv` or `parquet`; without `by`, the last two give the CALLS frame."""
    if isinstance(found.given, Answer):
        return _answered(found, found.given, form)
    from klaviyo_nb.logs.questions.counts import by as grouped

    if form in ("csv", "parquet"):
        frame = grouped(found.given, by) if by else found.given
        return _csv(frame, bool(by)) if form == "csv" else _parquet(frame)
    columns = tuple(by) or ("endpoint", "status")
    rows = _plain(grouped(found.given, columns))
    if form == "json":
        return as_json({"schema": "klaviyo-nb/logs/1"} | _seen(found) | {"rows": rows})
    text = (
        terminal.table(rows, (*columns, "calls", "failed", "first", "last")) if rows else "no call was found"
    )
    return f"{text}\n\n{_coverage_text(found)}\n".encode()


def _answered(found: LogAnswer, answer: Answer, form: str) -> bytes:
    """The answer to a question: the sentence first, then the rows behind it, then what it does not cover."""
    if form in ("csv", "parquet"):
        return _csv(answer.rows, True) if form == "csv" else _parquet(answer.rows)
    rows = _plain(answer.rows)
    if form == "json":
        said = {"ask": answer.ask, "says": answer.says, "covers": list(answer.covers)}
        return as_json({"schema": "klaviyo-nb/answer/1"} | said | _seen(found) | {"rows": rows})
    columns = list(map(str, answer.rows.columns))
    return terminal.answer(answer.says, rows, columns, answer.covers, _coverage_text(found)).encode()


def _seen(found: LogAnswer) -> dict[str, Any]:
    return {
        "window": found.window.as_json(),
        "coverage": [each.as_json() for each in found.coverage],
    }


def _coverage_text(found: LogAnswer) -> str:
    lines = [f"window {found.window.as_json()['start']} to {found.window.as_json()['end']}"]
    for each in in_short(found.coverage):
        got = f"{iso(each.got.start)} to {iso(each.got.end)}" if each.got else "no time in the window"
        if not (each.lines or each.gap or each.truncated):
            got = "it is there, and has no line that was asked for"
        if each.outside and not each.got:
            got += f", the latest is {iso(each.outside)}"
        lines.append(
            f"{each.source}: {each.lines:,} lines, {each.calls:,} calls, {each.unparsed:,} not understood,"
            f" {got}"
            + (f", {each.skipped_bytes:,} bytes skipped" if each.skipped_bytes else "")
            + (", cut short" if each.truncated else "")
            + (f"; {each.gap}" if each.gap else "")
        )
    return "\n".join(lines)


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-able values: times as ISO 8601, missing as None."""
    return [
        {name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in plain_rows(frame)
    ]


def _csv(frame: pd.DataFrame, is_grouped: bool) -> bytes:
    return (without_formulas(frame).to_csv(index=False) if is_grouped else CALLS.to_csv(frame)).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def as_json(document: dict[str, Any]) -> bytes:
    """One document for machines."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
