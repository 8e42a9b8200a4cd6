"""What `klaviyo-nb logs` and `klaviyo-nb metrics` answer: read, then render as text, JSON, CSV or Parquet."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb import logs
from klaviyo_nb.collect import context_of, load, redactor_for, utc_now, window_of, with_before
from klaviyo_nb.coming import about, apart
from klaviyo_nb.commands import terminal
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.harm import at_each_severity, harm
from klaviyo_nb.diagnosis.phases import Fixed, fixed
from klaviyo_nb.diagnosis.times import Times, times_of
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Coverage, Evidence, Gap, Query, in_short, together
from klaviyo_nb.frames import CALLS, without_formulas
from klaviyo_nb.logs.engines import TRY
from klaviyo_nb.logs.questions.counts import by as grouped
from klaviyo_nb.logs.questions.question import Answer, Question
from klaviyo_nb.logs.raw import around
from klaviyo_nb.metrics import rules
from klaviyo_nb.metrics.client import fetch
from klaviyo_nb.metrics.impact import SLO, Impact
from klaviyo_nb.metrics.names import from_table
from klaviyo_nb.metrics.times import Moment
from klaviyo_nb.redact import harmless
from klaviyo_nb.report import views
from klaviyo_nb.report.words import length
from klaviyo_nb.window import Window, iso

if TYPE_CHECKING:
    from klaviyo_nb.settings import Settings

METRICS_TIMEOUT_S = 60.0
#: Span that thresholds of alerts are taken from, if none is given: a week holds what a day and a weekend do.
BASELINE = "7d"


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What the logs gave: calls, or the answer to a question about them."""

    window: Window
    given: pd.DataFrame | Answer
    coverage: tuple[Coverage, ...]

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """One per source that could not be read whole."""
        return tuple(Gap(coverage.source, coverage.gap) for coverage in self.coverage if coverage.gap)

    @property
    def lines(self) -> int:
        """Lines read, over all sources."""
        return sum(coverage.lines for coverage in self.coverage)


@dataclass(frozen=True, slots=True)
class MetricAnswer:
    """What the metrics server gave, and the calls in the logs, if some are configured."""

    window: Window
    frame: pd.DataFrame | None
    gaps: tuple[Gap, ...]
    calls: pd.DataFrame | None = None
    coverage: tuple[Coverage, ...] = ()
    queries: tuple[Query, ...] = ()
    notes: pd.DataFrame | None = None
    earlier: pd.DataFrame | None = None
    probe_rows: tuple[Mapping[str, Any], ...] = ()


def need_logs(settings: Settings) -> None:
    """Refuse to run without a log source.

    Raises:
        UsageError: None was given.
    """
    if not settings.logs:
        raise UsageError("URL", "no log source was given", "klaviyo-nb logs /var/log/app.log --since 2h")


def need_metrics(settings: Settings) -> None:
    """Refuse to run without a metrics server.

    Raises:
        UsageError: None was given.
    """
    if not settings.metrics_url:
        raise UsageError(
            "URL", "no metrics server was given", "klaviyo-nb metrics http://localhost:9090 --since 2h"
        )


def read_logs(
    settings: Settings, question: Question[Any] | None = None, progress: logs.Progress | None = None
) -> LogAnswer:
    """Read the settings' log sources over their window; with a question, ask it there."""
    window = window_of(settings, utc_now())
    how: dict[str, Any] = {
        "redact": redactor_for(settings).text, "progress": progress, "engine": settings.engine,
        "formats": settings.log_format,
    }  # fmt: skip
    if question is not None:
        asked = logs.ask(question, settings.logs, window, **how)
        return LogAnswer(window, asked.answer, asked.coverage)
    read = logs.read(settings.logs, window, **how)
    return LogAnswer(window, read.calls, read.coverage)


def raw_lines(settings: Settings, line_no: int) -> str:
    """A line of the one log source, marked, with those around it; without secrets, and harmless.

    Raises:
        UsageError: There are several sources, or there is no such line.
        SourceError: The source cannot be read.
    """
    if len(settings.logs) != 1:
        hint = f"klaviyo-nb logs {shlex.quote(settings.logs[0])} --line {line_no}"
        raise UsageError("--line", f"belongs to one source, not {len(settings.logs)}", hint)
    found = around(settings.logs[0], window_of(settings, utc_now()), line_no)
    texts = redactor_for(settings).text("\n".join(line.text for line in found)).split("\n")
    width = len(str(found[-1].number))
    return "".join(
        f"{'>' if line.number == line_no else ' '} {line.number:>{width}}  {harmless(text)}\n"
        for line, text in zip(found, texts, strict=True)
    )


def look_at_logs(found: LogAnswer) -> str:
    """The next command when no log could be read: is it there, may we read it? A cluster says it itself."""
    if command := next((gap.reason for gap in found.gaps), "").partition(TRY)[2]:
        return command
    source = next((gap.signal for gap in found.gaps), "")
    scheme, _, rest = source.partition("://")
    unit = f" -u {shlex.quote(rest.strip('/'))}" if rest.strip("/") else ""
    asks = {
        "docker": "docker ps -a",
        "k8s": f"kubectl -n {shlex.quote(rest.partition('/')[0])} get pods",
        "journald": f"journalctl -n 5{unit}",
    }
    if scheme in asks:
        return asks[scheme]
    path = Path(source.removeprefix("file://")).absolute()
    return f"ls -l {shlex.quote(str(next(each for each in path.parents if os.path.isdir(each))))}"


def look_at_metrics(settings: Settings) -> str:
    """The next command when the metrics server gave nothing: is it up?"""
    return f"curl -sS {shlex.quote(str(context_of(settings)['metrics_url']))}/-/ready"


def render_logs(found: LogAnswer, by: Sequence[str], form: str) -> bytes:
    """`text`, `json`, `csv` or `parquet`; without `by`, the last two give the CALLS frame."""
    if isinstance(found.given, Answer):
        return _answered(found, found.given, form)
    if form in ("csv", "parquet"):
        frame = grouped(found.given, by) if by else found.given
        return _csv(frame, bool(by)) if form == "csv" else _parquet(frame)
    columns = tuple(by) or ("endpoint", "status")
    rows = _plain(grouped(found.given, columns))
    if form == "json":
        return _json({"schema": "klaviyo-nb/logs/1"} | _seen(found) | {"rows": rows})
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
        return _json({"schema": "klaviyo-nb/answer/1"} | said | _seen(found) | {"rows": rows})
    columns = list(map(str, answer.rows.columns))
    return terminal.answer(answer.says, rows, columns, answer.covers, _coverage_text(found)).encode()


def _seen(found: LogAnswer) -> dict[str, Any]:
    return {
        "window": found.window.as_json(),
        "coverage": [each.as_json() for each in found.coverage],
    }


def with_incident(found: MetricAnswer, notes: pd.DataFrame | None, report: Path) -> MetricAnswer:
    """The same with an incident's notes, which stand above it, and its report's probes of the window.

    Raises:
        EvidenceError: The report cannot be read.
    """
    rows = load(report).probe_rows if (report / "evidence").is_dir() else ()
    seen = tuple(row for row in rows if row["checked_at"] in found.window)
    return replace(found, notes=notes, probe_rows=seen)


def read_metrics(settings: Settings) -> MetricAnswer:
    """Ask the settings' metrics server over their window, and read the logs."""
    window = window_of(settings, utc_now())
    fetched = asyncio.run(
        fetch(
            str(settings.metrics_url),
            window,
            names=from_table(settings.metrics),
            token=settings.metrics_token,
            headers=settings.metrics.get("headers"),
            tls=settings.metrics.get("tls"),
            timeout_s=METRICS_TIMEOUT_S,
        )
    )
    if not settings.logs:
        return MetricAnswer(window, fetched.frame, fetched.gaps, queries=fetched.queries)
    read = logs.read(
        settings.logs, with_before(window), redact=redactor_for(settings).text, progress=None,
        engine=settings.engine, formats=settings.log_format,
    )  # fmt: skip
    earlier, calls = apart(read.calls, window)
    unread = LogAnswer(window, calls, about(read.coverage, earlier, window))
    read_any, gaps = bool(unread.lines), (*fetched.gaps, *unread.gaps)
    return MetricAnswer(
        window, fetched.frame, gaps, calls if read_any else None, unread.coverage, fetched.queries,
        earlier=earlier if read_any else None,
    )  # fmt: skip


def unfit_rules(found: MetricAnswer) -> str | None:
    """Which series of the server the alert rules do not name, if they cannot fire there as they are."""
    shipped = set(re.findall(r"[\w:]+", rules.shipped()))
    used = {each.expr.partition("{")[0] for each in found.queries if each.role in ("requests", "errors")}
    other = sorted(name for name in used if name and name not in shipped)
    if not other:
        return None
    return f"the rules name klaviyo_api_…, this server has {', '.join(other)}: put its names and labels there"


def alert_rules(found: MetricAnswer | None) -> str:
    """The alert rules, with thresholds from what was found, if anything was."""
    if found is None or found.frame is None:
        return rules.shipped()
    return rules.tuned(rules.limits(found.frame), found.window)


def render_metrics(found: MetricAnswer, form: str) -> bytes:
    """Onset, recovery and impact as `text` or `json`."""
    evidence = Evidence(
        found.window, found.window.end, calls=found.calls, metrics=found.frame, coverage=found.coverage,
        notes=found.notes, earlier=found.earlier, probe_rows=found.probe_rows,
    )  # fmt: skip
    when, repaired, harmed = times_of(evidence), fixed(evidence), harm(evidence)
    total = harmed.total if harmed else None
    touched, graded = views.reached(evidence), at_each_severity(evidence, decide(evidence).cause)
    if form == "json":
        seconds = {name: span.total_seconds() for name, span in graded.items()}
        more = {"touched": touched, "time_at_s": seconds}
        return _json(_metrics_document(found, when, total, repaired) | more)
    start, end = found.window.as_json().values()
    spans = [f"{name} for {length(each)}" for name, each in graded.items()]
    lines = [
        f"began     {_moment_text(when.onset, 'under way before' if when.failed else 'nothing stands out')}",
        *_told_by(when.onset),
        f"ended     {_moment_text(when.recovered, 'goes on' if when.ongoing else 'not observed')}",
        *_told_by(when.recovered),
        *(f"earlier   {iso(each.seen[0])} to {iso(each.seen[1])}, {each.failed:,.0f} failed"
          for each in when.earlier),
        *([f"fixed     {repaired.says}"] if when.failed else []),
        *_impact_text(total),
        *([f"touched   {touched}"] if touched else []),
        *([f"severity  {', '.join(spans)}"] if spans else []),
        *([f"counted   from {harmed.source}, as in the verdict"] if harmed else []),
        f"window    {start} to {end}",
        *(f"not seen  {gap.signal}: {gap.reason}" for gap in together(found.gaps)),
    ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _moment_text(moment: Moment | None, otherwise: str) -> str:
    return otherwise if moment is None else f"{iso(moment.earliest)} to {iso(moment.latest)}"


def _told_by(moment: Moment | None) -> list[str]:
    """Whether the estimates agree, and, if they do not, each of them; what a person wrote."""
    if moment is None:
        return []
    whole = [each for each in moment.estimates if each.whole]
    names = " and ".join(each.source for each in whole)
    lines = [f"          by {names}" + (", which agree" if len(whole) > 1 else "")] if whole else []
    if moment.disagreement:
        lines = [f"          the estimates exclude each other: {names}"]
        lines += [f"          {each.source:<8}{iso(each.whole[0])} to {iso(each.whole[1])}"
                  for each in whole if each.whole]  # fmt: skip
    if moment.written:
        lines.insert(0, f"          written by {moment.written.who}: {moment.written.why}")
    return lines


def _impact_text(total: Impact | None) -> list[str]:
    if total is None or total.failed_calls is None:
        return ["impact    not observed"]
    if total.calls is None or total.share is None:
        return [f"impact    {total.failed_calls:,} calls failed, of how many is not known"]
    peak = "" if total.peak_share is None else f", {_share(total.peak_share)} in the worst 5 minutes"
    spent = f"{_share(total.budget_spent or 0.0)} of the window's error budget (objective {SLO:.1%})"
    told = f"{total.failed_calls:,} of {total.calls:,} calls failed, {_share(total.share)}{peak}"
    return [f"impact    {told}", f"budget    {spent}"]


def _share(value: float) -> str:
    return f"{value:,.1%}" if value >= 0.1 or not value else f"{max(value, 0.0001):.2%}"


def _metrics_document(
    found: MetricAnswer, when: Times, total: Impact | None, repaired: Fixed
) -> dict[str, Any]:
    nothing = dict.fromkeys(("failed_calls", "calls", "share", "peak_share", "budget_spent"))
    return {
        "schema": "klaviyo-nb/metrics/1",
        "window": found.window.as_json(),
        "onset": _between(when.onset),
        "recovered": _between(when.recovered),
        "ongoing": when.ongoing,
        "fixed": {
            "answer": repaired.answer,
            "says": repaired.says,
            "wait_s": repaired.wait and repaired.wait.total_seconds(),
        },
        "impact": asdict(total) if total else nothing,
        "estimates": _estimates(when.onset),
        "recovered_estimates": _estimates(when.recovered),
        "disagreement": when.onset.disagreement if when.onset else None,
        "gaps": [asdict(gap) for gap in found.gaps],
    }


def _estimates(moment: Moment | None) -> list[dict[str, Any]]:
    return [
        {
            "from": each.source,
            "earliest": iso(each.earliest) if each.earliest else None,
            "latest": iso(each.latest) if each.latest else None,
            "because": each.because,
        }
        for each in (moment.estimates if moment else ())
    ]


def _between(moment: Moment | None) -> dict[str, str] | None:
    return None if moment is None else {"earliest": iso(moment.earliest), "latest": iso(moment.latest)}


def _coverage_text(found: LogAnswer) -> str:
    lines = [f"window {found.window.as_json()['start']} to {found.window.as_json()['end']}"]
    for each in in_short(found.coverage):
        got = f"{iso(each.got.start)} to {iso(each.got.end)}" if each.got else "no line in the window"
        lines.append(
            f"{each.source}: {each.lines:,} lines, {each.calls:,} calls, {each.unparsed:,} not understood,"
            f" {got}" + (", cut short" if each.truncated else "") + (f"; {each.gap}" if each.gap else "")
        )
    return "\n".join(lines)


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-able values: times as ISO 8601, missing as None."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(key): _value(value) for key, value in row.items()} for row in rows]


def _value(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return iso(value.to_pydatetime())
    return value.item() if hasattr(value, "item") else value


def _csv(frame: pd.DataFrame, is_grouped: bool) -> bytes:
    return (without_formulas(frame).to_csv(index=False) if is_grouped else CALLS.to_csv(frame)).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
