"""Frames that answer a question of the notebooks, from one body of evidence; slice them further as you like.

None means that nobody looked or nothing could be seen, which is not the same as no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.diagnosis import decide, phases
from klaviyo_nb.diagnosis import harm as harmed
from klaviyo_nb.diagnosis.harm import at_each_severity, harm, touched
from klaviyo_nb.diagnosis.times import times_of, written_of
from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import CALLS, WEBHOOKS
from klaviyo_nb.logs.questions import by_name, ratelimit
from klaviyo_nb.logs.questions.counts import by, failure_kinds
from klaviyo_nb.logs.questions.question import Records
from klaviyo_nb.metrics.alerts import alerts
from klaviyo_nb.metrics.durations import MILESTONES
from klaviyo_nb.metrics.durations import durations as took
from klaviyo_nb.metrics.impact import SLO
from klaviyo_nb.metrics.rates import increases
from klaviyo_nb.report import timeline
from klaviyo_nb.report.words import length, share
from klaviyo_nb.response.lost import lost
from klaviyo_nb.window import iso, stamp, whole_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.logs.questions.question import Answer
    from klaviyo_nb.metrics.times import Written

#: Failing calls that are shown with their citation.
NEWEST = 10
_ANSWER = ["probe", "status_code", "error_type", "answered_by", "duration_s", "error_code", "detail",
           "request_id"]  # fmt: skip
_LIMIT = ["probe", "status_code", "ratelimit", "ratelimit_remaining", "retry_after_s", "revision_effective"]
_CALL = ["timestamp", "method", "endpoint", "status_code", "error_type", "error_code", "source", "line_no",
         "message"]  # fmt: skip


def asked(evidence: Evidence) -> pd.DataFrame:
    """What was asked of whom, and when: `fact`, `value`."""
    context, key, budget = evidence.context, evidence.context.get("key") or {}, evidence.budget
    calls, metrics = evidence.calls, evidence.metrics
    described = f"set, {key.get('length')} characters, begins {key.get('prefix')}"
    told = {
        "window": f"{iso(evidence.window.start)} to {iso(evidence.window.end)}",
        "collected at": iso(evidence.collected_at),
        "API": context.get("api_url"),
        "revision": context.get("revision"),
        "key": described if key.get("set") else "not set",
        "logs": "none was read" if calls is None else f"{len(calls):,} calls",
        "metrics": "none were read" if metrics is None else f"{len(metrics):,} samples",
        "requests spent on the API": f"{budget.api_calls} of {budget.allowed} allowed",
    }
    return facts(told)


def answers(evidence: Evidence) -> pd.DataFrame:
    """The probes, one row each, without the columns in which nothing was seen."""
    return _seen(evidence.probes[_ANSWER])


def limits(evidence: Evidence) -> pd.DataFrame:
    """What the probes that Klaviyo answered learned of rate limits and of the revision."""
    klaviyo = evidence.probes["answered_by"].eq("klaviyo").fillna(False)
    return _seen(evidence.probes.loc[klaviyo, _LIMIT])


def posts(evidence: Evidence) -> pd.DataFrame | None:
    """Incidents and maintenance on the status page: `kind`, `name`, `status`, `impact`, `since`."""
    page = evidence.status_page
    if page is None:
        return None
    found = [("incident", each) for each in page.get("incidents") or ()]
    found += [("maintenance", each) for each in page.get("maintenances") or ()]
    return _frame(
        ["kind", "name", "status", "impact", "since"],
        [(kind, *map(each.get, ("name", "status", "impact", "created_at"))) for kind, each in found],
    )


def calls_by(evidence: Evidence, *columns: str) -> pd.DataFrame | None:
    """Calls and failures in the logs by these columns, most failures first."""
    if evidence.calls is None:
        return None
    counted = by(evidence.calls, columns).sort_values(
        ["failed", "calls"], ascending=False, kind="stable", ignore_index=True
    )
    return counted.assign(first=counted["first"].dt.floor("s"), last=counted["last"].dt.floor("s"))


@remembered
def ask(evidence: Evidence, name: str) -> Answer | None:
    """What `klaviyo-nb logs --ask NAME` says of the calls in the logs; `rows` of it is a frame.

    The ledger knows of delays that the status page tells of.

    Raises:
        UsageError: There is no such question.
    """
    asked = by_name(name)
    if evidence.calls is None:
        return None
    if name == "ledger":
        return lost(evidence)
    webhooks = WEBHOOKS.empty() if evidence.webhooks is None else evidence.webhooks
    return asked.ask(Records(evidence.calls, webhooks), evidence.window)


@remembered
def broken(evidence: Evidence) -> pd.DataFrame:
    """When windows of rate limits were used up, by the calls in the logs: as `ratelimit.broken`."""
    answer = ask(evidence, "ratelimit")
    if evidence.calls is None or answer is None or answer.rows.empty:
        return ratelimit.broken(CALLS.empty(), evidence.window)
    return ratelimit.broken(evidence.calls, evidence.window)


def minutes_begin(evidence: Evidence) -> dict[tuple[str, str], int]:
    """Method and path → seconds after each minute of the window that Klaviyo's begins, if it is known."""
    answer = ask(evidence, "ratelimit")
    if answer is None:
        return {}
    rows = answer.rows.dropna(subset="minute_begins")
    return {
        (method, path): int(begins)
        for method, path, begins in rows[["method", "endpoint", "minute_begins"]].to_numpy()
    }


def failing(evidence: Evidence) -> pd.DataFrame | None:
    """The newest failing calls in the logs, each with source and line."""
    if evidence.calls is None:
        return None
    failed = evidence.calls[failure_kinds(evidence.calls).notna()].sort_values("timestamp", kind="stable")
    return _seen(failed[_CALL].tail(NEWEST).iloc[::-1])


def coverage(evidence: Evidence) -> pd.DataFrame:
    """What each log source was asked for and gave."""
    rows = [
        (each.source, f"{iso(each.got.start)} to {iso(each.got.end)}" if each.got else None,
         each.lines, each.calls, each.unparsed, each.truncated, each.gap)
        for each in evidence.coverage
    ]  # fmt: skip
    return _frame(["source", "got", "lines", "calls", "unparsed", "truncated", "gap"], rows)


def queries(evidence: Evidence) -> pd.DataFrame:
    """What the metrics server was asked, ready to be asked again."""
    found = _named(evidence.queries, "role", "expr", "step_s", "requests", "samples", "sha256")
    return found.assign(sha256=found["sha256"].str[:12])


def metered(evidence: Evidence) -> pd.DataFrame | None:
    """Calls that the metrics counted: `endpoint`, `status`, `calls`."""
    if evidence.metrics is None:
        return None
    steps = increases(evidence.metrics)
    counted = steps.groupby(["endpoint", "status"], dropna=False)["calls"].sum().round().reset_index()
    return counted[counted["calls"] > 0].sort_values(
        "calls", ascending=False, kind="stable", ignore_index=True
    )


def times(evidence: Evidence) -> pd.DataFrame | None:
    """When it began and ended: what is believed, and under it what each source says.

    Returns:
        `moment`, `from`, `earliest`, `latest`, `because`. None if neither logs nor metrics were read.
    """
    if evidence.metrics is None and evidence.calls is None:
        return None
    found = times_of(evidence)
    rows: list[tuple[Any, ...]] = []
    for name, moment in (("began", found.onset), ("ended", found.recovered)):
        if moment:
            why = moment.disagreement or "the estimates agree"
            why = written(moment.written) if moment.written else why
            rows.append((name, "believed", *whole_seconds(moment.earliest, moment.latest), why))
            for each in moment.estimates:
                bounds = whole_seconds(*each.whole) if each.whole else (each.earliest, each.latest)
                rows.append(("", each.source, *bounds, each.because))
    return _frame(["moment", "from", "earliest", "latest", "because"], rows)


def written(note: Written) -> str:
    """Who wrote a moment down, when, and why."""
    when = f", {stamp(note.written_at)} UTC" if note.written_at else ""
    return f"written by {note.who or 'nobody named'}{when}: {note.why or 'no reason given'}"


def durations(evidence: Evidence) -> pd.DataFrame:
    """Times to detect, acknowledge, mitigate, restore: `what`, `at_least`, `at_most`, `from`, `to`."""
    found = decide(evidence)
    begun, over = ((each.earliest, each.latest) if each else None for each in (found.onset, found.recovered))
    notes = {kind: written_of(evidence, kind) for kind in MILESTONES}
    fired = None if evidence.metrics is None else alerts(evidence.metrics)["began"].min()
    noted = {kind: note.at for kind, note in notes.items() if note}
    told = took(begun, over, noted, None if fired is None or pd.isna(fired) else fired.to_pydatetime())
    rows = [
        (name, each.at_least, each.at_most, each.since, each.until) if each else (name, *[None] * 4)
        for name, each in told.items()
    ]
    return _frame(["what", "at_least", "at_most", "from", "to"], rows)


def fixed(evidence: Evidence) -> pd.DataFrame:
    """Is it fixed, against the time before it began: `fact`, `value`."""
    found = phases.fixed(evidence)
    answer = {True: "yes", False: "no", None: "not known"}[found.answer]
    return facts({"is it fixed": answer, "because": found.says})


def burning(evidence: Evidence) -> pd.DataFrame | None:
    """How fast the error budget is spent at the end of the window, by the windows of the SRE workbook."""
    found = harmed.burning(evidence)
    if found is None:
        return None
    return found.assign(**found[["long", "short"]].map(length)).round({"long_rate": 1, "short_rate": 1})


def impact(evidence: Evidence) -> pd.DataFrame | None:
    """What the failures came to, by the calls that the verdict counts: `fact`, `value`; None: no calls."""
    found, reach = harm(evidence), reached(evidence)
    if found is None:
        return None
    graded = at_each_severity(evidence, decide(evidence).cause).items()
    times = {f"time at {name}" if name[0] == "P" else f"time, {name}": length(span) for name, span in graded}
    total = found.total
    told: dict[str, Any] = {
        "counted from": found.source,
        "failed calls": total.failed_calls,
        "calls": total.calls,
        "share": share(total.share, 1),
        "share in the worst 5 minutes": share(total.peak_share, 1),
        "error budget of the window": budget(evidence),
    }
    return facts(told | ({"touched": reach} if reach else {}) | times)


def budget(evidence: Evidence) -> str | None:
    """How much of the window's error budget was spent; None if no calls were counted."""
    found = harm(evidence)
    if found is None or not found.total.calls or found.total.budget_spent is None:
        return None
    allowed = found.total.calls * (1 - SLO)
    told = f"{found.total.failed_calls:,} failed; {SLO:.1%} allows {allowed:,.1f}"
    return f"spent {found.total.budget_spent:,.1f} times ({told})"


def reached(evidence: Evidence) -> str | None:
    """Distinct profiles, events, lists that failed calls name, with bounds; None where none names one."""
    found = touched(evidence)
    return None if found is None or found.rows.empty else found.says


def changed(evidence: Evidence) -> pd.DataFrame | None:
    """`phases.changed` as people write it: shares in percent, the change with its 95 % interval."""
    found = phases.changed(evidence)
    if found is None:
        return None
    shares = {name: found[f"{name}_share"].map("{:.1%}".format, na_action="ignore") for name in phases.PHASES}
    bounds = zip(found["change"], found["low"], found["high"], strict=True)
    change = [
        f"{each:+.1%} ({low:+.1%} to {high:+.1%})" if pd.notna(each) else None for each, low, high in bounds
    ]
    of = found["value"].where(found["attribute"] != "caller", "caller " + found["value"].astype("str"))
    told = pd.DataFrame({"of": of, "calls": found["calls"], **shares, "change": change})
    return told.astype(dict.fromkeys((*shares, "change"), "str")).fillna("–")


def events(evidence: Evidence, document: Mapping[str, Any]) -> pd.DataFrame:
    """What happened when, each line with its source: `from`, `until`, `what`, `source`."""
    told = timeline.entries(evidence, document)
    rows = [(iso(each.at), iso(each.until) if each.until else None, each.what, each.source) for each in told]
    return _seen(_frame(["from", "until", "what", "source"], rows))


def path(verdict: Verdict) -> pd.DataFrame:
    """The questions asked, each with its answer and where that comes from."""
    rows = [(step.question, step.answer, step.because, ", ".join(step.evidence)) for step in verdict.path]
    return _frame(["question", "answer", "because", "evidence"], rows)


def rivals(verdict: Verdict) -> pd.DataFrame:
    """Causes still possible, and what would tell them apart."""
    return _named(verdict.rivals, "cause", "because", "ask")


def gaps(verdict: Verdict) -> pd.DataFrame:
    """What could not be seen, and why."""
    return _named(verdict.gaps, "signal", "reason")


def facts(values: Mapping[str, Any]) -> pd.DataFrame:
    """Named values, one row each: `fact`, `value`; None where it is not known."""
    return _frame(["fact", "value"], [(name.replace("_", " "), value) for name, value in values.items()])


def _named(items: Sequence[object], *names: str) -> pd.DataFrame:
    return _frame(list(names), [tuple(getattr(each, name) for name in names) for each in items])


def _frame(columns: list[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def _seen(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[:, frame.notna().any()]
