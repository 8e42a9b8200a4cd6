"""The texts of a report that follow from its evidence: written to be sealed, and again to be verified.

Each is a Markdown template. Whatever is put into one passes through `words.plain`, so that what others wrote
stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.advisories import clock_skew_s, skew_told
from klaviyo_nb.diagnosis.harm import at_each_severity, harm
from klaviyo_nb.diagnosis.times import written_of
from klaviyo_nb.evidence import together
from klaviyo_nb.lines import many
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.report import views, words
from klaviyo_nb.report.timeline import NOTED, entries, milestones, under_way
from klaviyo_nb.response import support
from klaviyo_nb.response.action_items import ACTION_ITEMS
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.response.lost import data, lost
from klaviyo_nb.response.messages import CHANNELS, PHASES, message
from klaviyo_nb.window import stamp

if TYPE_CHECKING:
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.logs.questions.question import Answer

_MARKDOWN = Environment(
    loader=PackageLoader("klaviyo_nb.report"),
    autoescape=False,  # noqa: S701 - not HTML; `plain` escapes what means something in Markdown
    finalize=words.plain,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
#: What JSON may hold as it is, and a terminal or an editor would obey, hide or turn round.
_OBEYED = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_MARKDOWN.globals |= {
    "between": words.between,
    "counted": "{:,}".format,
    "duration": words.duration,
    "length": words.length,
    "number": many,
    "share": words.share,
    "stamp": stamp,
    "together": together,
}


def _json(document: Mapping[str, Any]) -> str:
    """The same values, without a character that is more than a sign to read."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def get_ready() -> None:
    """Compile the templates ahead of time."""
    for name in ("postmortem", "limits", "support"):
        _MARKDOWN.get_template(f"{name}.md.j2")


def texts(evidence: Evidence, incident: str, lead: str | None) -> dict[str, str]:
    """Path in the report → what stands there; the same arguments give the same bytes."""
    document = verdict_document(evidence, decide(evidence))
    found = lost(evidence)
    told = data(found, evidence.window)
    written = {
        "verdict.json": _json(document),
        "postmortem.md": postmortem(evidence, document, incident, lead, found),
        "limits.md": limits(evidence),
    }
    drafts = {
        f"messages/{channel}-{phase}.md": message(document, channel, phase, incident, lead, told)
        for channel in CHANNELS
        for phase in PHASES
    }
    return written | drafts | packet(evidence, document, incident)


def packet(evidence: Evidence, document: Mapping[str, Any], incident: str) -> dict[str, str]:
    """What goes to Klaviyo's support: a letter, and the calls that they can look up."""
    told = support.failing(evidence, document)
    page = _MARKDOWN.get_template("support.md.j2").render(
        document=document,
        facts=document["facts"],
        incident=incident,
        titles=words.TITLES,
        unseen=unseen(evidence),
        **support.letter(evidence, document, told),
    )
    command = f"```sh\n{support.repeated(evidence, told)}\n```\n"
    return {"support-packet/README.md": page + command, "support-packet/calls.csv": support.listed(told)}


#: What each duration is called in a postmortem, the note that ends it, and why it is not known without that.
_DURATIONS = {
    "MTTD": ("Time to detect", "detected", "no alert or note says when it was detected"),
    "MTTA": ("Time to acknowledge", "acknowledged", "no note says when it was detected and acknowledged"),
    "MTTM": ("Time to mitigate", "mitigated", "no note says when it was mitigated"),
    "MTTR": ("Time to restore", "restored", "not seen to end, and no note says when it was restored"),
}


def _durations(evidence: Evidence, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Name of each duration, and how long it was, or why that is not known."""
    for row in views.durations(evidence).to_dict("records"):
        name, kind, why = _DURATIONS[row["what"]]
        if pd.isna(row["at_least"]):
            if kind != "acknowledged" and decide(evidence).onset is None:
                why = unseen(evidence)[1]
            elif known >= ({"detected", kind} if kind == "acknowledged" else {kind}):
                why = "it was noted earlier than what it is counted from"
            yield name, f"not known: {why}"
            continue
        spent = words.length_between(row["at_least"], row["at_most"])
        yield name, f"{spent} (from {row['from']} to {row['to']})"


def unseen(evidence: Evidence) -> tuple[str, str]:
    """What is told of a beginning that was not seen, and why no duration is known then."""
    if under_way(evidence):
        return "before what was read", "it began before what was read"
    if harm(evidence) is None:
        return "not known", "no call was counted"
    return "not found in the window", "no onset was found"


def postmortem(
    evidence: Evidence,
    document: Mapping[str, Any],
    incident: str,
    lead: str | None,
    found: Answer | None = None,
) -> str:
    """A draft with every number computed, and every blank for a person marked.

    Args:
        evidence: What was seen.
        document: The verdict as in `verdict.json`.
        incident: Name of the incident.
        lead: Who leads; None is a blank.
        found: What `lost` says of it, if that was asked already.
    """
    kinds, profiles = pd.Series(dtype="str"), pd.Series(dtype="str")
    if evidence.calls is not None:
        kinds = failure_kinds(evidence.calls).dropna()
        profiles = evidence.calls.loc[kinds.index, "profile_key"].dropna()
    asked_at, known = evidence.probes["checked_at"].min(), milestones(evidence)
    return _MARKDOWN.get_template("postmortem.md.j2").render(
        evidence=evidence,
        document=document,
        facts=document["facts"],
        incident=incident,
        lead=lead,
        titles=words.TITLES,
        unseen=unseen(evidence),
        written={
            name: f", {views.written(note)}" if (note := written_of(evidence, name)) else ""
            for name in ("onset", "recovered")
        },
        entries=entries(evidence, document),
        known=known,
        durations=[*_durations(evidence, known)],
        budget=views.budget(evidence),
        graded=[*at_each_severity(evidence, document["cause"]).items()],
        touched=views.reached(evidence),
        asked_of_people=[(kind, NOTED[kind], ask) for kind, ask in words.MILESTONES.items()],
        outcomes=[(count, words.OUTCOMES[str(kind)]) for kind, count in kinds.value_counts().items()],
        failed=len(kinds),
        profiles=profiles,
        lost=(found or lost(evidence)) if len(kinds) else None,
        items=ACTION_ITEMS.get(document["cause"], ()),
        asked_at=None if pd.isna(asked_at) else asked_at,
    )


def limits(evidence: Evidence) -> str:
    """What was looked at, what could not be seen, and what a negative finding rests on."""
    page = _MARKDOWN.get_template("limits.md.j2")
    sampled: dict[Any, str] = {}
    if evidence.metrics is not None:
        kinds = evidence.metrics.groupby("role")["timestamp"]
        sampled = {role: _extent(times) for role, times in kinds}
    return page.render(evidence=evidence, findings=findings(evidence), sampled=sampled)


def findings(evidence: Evidence) -> Iterator[str]:
    """What was found and what was not, each with what was looked at, a line each; holds others' words."""
    yield _calls_finding(evidence)
    yield _webhook_finding(evidence)
    yield _metrics_finding(evidence)
    yield _page_finding(evidence)
    ran = ", ".join(evidence.probes["probe"])
    asked = f" ({_extent(evidence.probes['checked_at'])})" if ran else ""
    yield f"Probes: {ran or 'none ran'}. Each is one request at one moment{asked}."
    skew = clock_skew_s(evidence.probe_rows)
    told = "not compared with Klaviyo's, for no answer told its time" if skew is None else skew_told(skew)
    yield f"Clocks: {told}. Those of the hosts that wrote the logs were not compared."


def _calls_finding(evidence: Evidence) -> str:
    if evidence.calls is None:
        return "Calls in logs: no log was read, so neither success nor failure of calls is known from logs."
    unread = sum(each.unparsed for each in evidence.coverage)
    failed = int(failure_kinds(evidence.calls).notna().sum())
    untimed = int(evidence.calls["timestamp"].isna().sum())
    notes = [f"{many(unread, 'line')} about Klaviyo not understood"] if unread else []
    notes += [f"{many(untimed, 'call')} without a time"] if untimed else []
    found = f"Calls in logs: {failed:,} failing among {many(len(evidence.calls), 'call')}"
    return f"{'; '.join([f'{found} in {_read(evidence)}', *notes])}."


def _read(evidence: Evidence) -> str:
    """What a finding from logs rests on: lines, sources, the times in them, what was not read of them."""
    lines = sum(each.lines for each in evidence.coverage)
    read = f"{many(lines, 'line')} of {many(len(evidence.coverage), 'source')}"
    times = [moment for each in evidence.coverage if each.got for moment in (each.got.start, each.got.end)]
    cut = sum(each.truncated or each.gap is not None for each in evidence.coverage)
    within = f" ({_extent(pd.Series(times))})" if times else ""
    return f"{read}{within}" + (f"; {many(cut, 'source')} cut short or not read" if cut else "")


def _extent(times: pd.Series[pd.Timestamp]) -> str:
    """First to last of them."""
    if not times.notna().any():
        return "at no known time"
    first, last = stamp(times.min()), stamp(times.max())
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _metrics_finding(evidence: Evidence) -> str:
    if evidence.metrics is None:
        return "Metrics: not read, so nothing is said from them."
    found = f"Metrics: {many(len(evidence.metrics), 'sample')} ({_extent(evidence.metrics['timestamp'])})"
    steps = [each.step_s for each in evidence.queries]
    apart = f", {max(steps):g} s apart at most; what lasts shorter is not seen" if steps else ""
    return f"{found}{apart}."


def _webhook_finding(evidence: Evidence) -> str:
    if evidence.webhooks is None:
        return "Webhook deliveries: not looked for in any log."
    bad = int((evidence.webhooks["outcome"] != "accepted").sum())
    found = f"Webhook deliveries in logs: {len(evidence.webhooks):,}, of which {bad:,} were not accepted"
    return f"{found}, in {_read(evidence)}."


def _page_finding(evidence: Evidence) -> str:
    page = evidence.status_page
    if page is None:
        return "Klaviyo's status page: not read, so nothing is known of what Klaviyo acknowledges."
    posts = [*(page.get("incidents") or ()), *(page.get("maintenances") or ())]
    said = page.get("description") or page.get("indicator")
    late = "It has been more than a day late before: a green page is no evidence that Klaviyo is well."
    return f"Klaviyo's status page said “{said}”, with {many(len(posts), 'open post')}. {late}"
