"""`limits.md`: what was looked at, what could not be seen, and what a negative finding rests on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from klaviyo_nb.logs.calls import failure_kinds
from klaviyo_nb.report.words import number, plain, stamp, table

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Coverage, Evidence
    from klaviyo_nb.window import Window


def text(evidence: Evidence) -> str:
    """The whole page as Markdown."""
    return "\n".join(
        [
            "# What was looked at, and what was not",
            "",
            f"Asked about {_span(evidence.window)}. Collected at {stamp(evidence.collected_at)} UTC.",
            f"Requests to Klaviyo's API: {evidence.budget.api_calls} of {evidence.budget.allowed} allowed.",
            "",
            "## Not seen",
            "",
            *_gaps(evidence),
            "",
            "## Log sources",
            "",
            *_sources(evidence),
            "",
            "## Metrics queries",
            "",
            *_queries(evidence),
            "",
            "## What each finding rests on",
            "",
            *(f"- {line}" for line in findings(evidence)),
            "",
        ]
    )


def findings(evidence: Evidence, say: Callable[[object], str] = plain) -> Iterator[str]:
    """What was found and what was not, each with what was looked at, a line each.

    Args:
        evidence: What was seen.
        say: How to write what others wrote; Markdown unless told.
    """
    yield _calls_finding(evidence)
    yield _webhook_finding(evidence)
    if evidence.metrics is None:
        yield "Metrics: not read, so nothing is said from them."
    else:
        yield f"Metrics: {number(len(evidence.metrics), 'sample')}."
    yield _page_finding(evidence, say)
    ran = ", ".join(say(name) for name in evidence.probes["probe"])
    yield f"Probes: {ran or 'none ran'}. Each is one request at one moment."


def _gaps(evidence: Evidence) -> list[str]:
    troubles = [gap for gap in evidence.gaps if gap.configured]
    unused = [gap for gap in evidence.gaps if not gap.configured]
    lines = [f"- **{plain(gap.signal)}** could not be seen: {plain(gap.reason)}" for gap in troubles]
    lines += [f"- Not asked for: {plain(gap.signal)}: {plain(gap.reason)}" for gap in unused]
    return lines or ["Everything that was asked for answered."]


def _sources(evidence: Evidence) -> list[str]:
    if not evidence.coverage:
        return [
            "No log source was given."
            if evidence.calls is None
            else "The evidence does not name its log sources."
        ]
    head = (
        "source",
        "asked",
        "got",
        "lines",
        "calls",
        "not understood",
        "bytes skipped",
        "cut short",
        "trouble",
    )
    rows = [_source(each) for each in evidence.coverage]
    note = "“Not understood”: lines that speak of Klaviyo and gave no call. “Cut short”: the end is missing."
    return [*table(head, rows), "", note]


def _source(each: Coverage) -> tuple[str, ...]:
    counts = (each.lines, each.calls, each.unparsed, each.skipped_bytes)
    return (
        plain(each.source),
        _span(each.asked),
        _span(each.got) if each.got else "no time in the window",
        *(f"{count:,}" for count in counts),
        "yes" if each.truncated else "no",
        plain(each.gap) or "–",
    )


def _queries(evidence: Evidence) -> list[str]:
    if not evidence.queries:
        return [
            "No metrics server was asked."
            if evidence.metrics is None
            else "The evidence does not name its queries."
        ]
    rows = [
        (
            plain(each.role),
            plain(each.expr),
            f"{plain(each.start)} to {plain(each.end)}",
            f"{each.step_s:g} s",
            f"{each.samples:,}",
            plain("; ".join(each.warnings)) or "–",
            plain(each.sha256)[:16],
        )
        for each in evidence.queries
    ]
    return table(
        ("what", "query", "asked", "step", "samples", "server's remarks", "sha256 of the answer"), rows
    )


def _calls_finding(evidence: Evidence) -> str:
    if evidence.calls is None:
        return "Calls in logs: no log was read, so neither success nor failure of calls is known from logs."
    lines = sum(each.lines for each in evidence.coverage)
    unread = sum(each.unparsed for each in evidence.coverage)
    cut = sum(each.truncated or each.gap is not None for each in evidence.coverage)
    failed = int(failure_kinds(evidence.calls).notna().sum())
    untimed = int(evidence.calls["timestamp"].isna().sum())
    read = f"{number(lines, 'line')} of {number(len(evidence.coverage), 'source')}"
    notes = [f"{number(unread, 'line')} about Klaviyo not understood"] if unread else []
    notes += [f"{number(untimed, 'call')} without a time"] if untimed else []
    notes += [f"{number(cut, 'source')} cut short or not read"] if cut else []
    found = f"Calls in logs: {failed:,} failing among {number(len(evidence.calls), 'call')} in {read}"
    return f"{'; '.join([found, *notes])}."


def _webhook_finding(evidence: Evidence) -> str:
    if evidence.webhooks is None:
        return "Webhook deliveries: not looked for in any log."
    bad = int((evidence.webhooks["outcome"] != "accepted").sum())
    return f"Webhook deliveries in logs: {len(evidence.webhooks):,}, of which {bad:,} were not accepted."


def _page_finding(evidence: Evidence, say: Callable[[object], str]) -> str:
    page = evidence.status_page
    if page is None:
        return "Klaviyo's status page: not read, so nothing is known of what Klaviyo acknowledges."
    posts = [*(page.get("incidents") or ()), *(page.get("maintenances") or ())]
    said = say(page.get("description") or page.get("indicator"))
    late = "It has been more than a day late before: a green page is no evidence that Klaviyo is well."
    return f"Klaviyo's status page said “{said}”, with {number(len(posts), 'open post')}. {late}"


def _span(window: Window) -> str:
    return f"{stamp(window.start)} to {stamp(window.end)} UTC"
