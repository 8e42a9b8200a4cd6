"""What to tell people, per phase: a Slack message, a text for our status page. From verdict and ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from klaviyo_nb.redact import harmless
from klaviyo_nb.window import parse_time

Channel = Literal["slack", "status-page"]
Phase = Literal["investigating", "mitigating", "resolved"]

CHANNELS: tuple[Channel, ...] = ("slack", "status-page")
PHASES: tuple[Phase, ...] = ("investigating", "mitigating", "resolved")

#: Minutes to the next update, by severity. Source: PagerDuty's incident response guide, at least every 20
#: minutes for the first two hours of a major incident; the lesser levels are ours.
NEXT_UPDATE_MIN = {"P1": 20, "P2": 30, "P3": 120}

#: What users of ours feel. Says nothing about whose fault it is.
_FELT = {
    "app_unhealthy": "Parts of our service respond slowly or not at all.",
    "webhook_endpoint_down": "Updates that we receive about e-mails and subscriptions arrive late.",
    "resolved_or_intermittent": "Some e-mail and marketing updates were delayed earlier.",
    "endpoint_degraded": "Some e-mail and marketing updates are delayed.",
}
_FELT_ELSE = "E-mail and marketing updates are delayed."


class Data(NamedTuple):
    """What became of the data, as the logs tell: to colleagues, and to everybody."""

    internal: str
    public: str


def message(
    document: Mapping[str, Any],
    channel: Channel,
    phase: Phase,
    incident: str | None = None,
    lead: str | None = None,
    data: Data | None = None,
) -> str:
    """Draft one message; what only a person can know is a visible blank.

    Args:
        document: As `verdict_document` gives it.
        channel: `slack` (mrkdwn) or `status-page` (plain Markdown).
        phase: Which of the three.
        incident: Its id.
        lead: Who leads it.
        data: What became of the data; None: the logs do not tell. Said once it is over.
    """
    if channel == "slack":
        lines = _slack(document, phase, incident, lead, data)
    else:
        lines = _status_page(document, phase, data)
    return "\n".join(lines) + "\n"


def blank(what: str) -> str:
    """A place that only a person can fill."""
    return f"‹fill in: {what}›"


def _slack(
    document: Mapping[str, Any], phase: Phase, incident: str | None, lead: str | None, data: Data | None
) -> list[str]:
    level = document["severity"] or "no severity"
    title = f"*{level} · Klaviyo integration*" + (f" · {_slack_text(incident)}" if incident else "")
    lines = [title, f"*Status:* {phase}", f"*Impact:* {_slack_text(_impact(document))}"]
    lines.append(f"*Root cause:* {_slack_text(_cause(document))}")
    lines.append(f"*Current action:* {_slack_text(_action(document, phase))}")
    if phase == "resolved":
        lines.append(f"*Ended:* {_ended(document)}")
        told = f"{_slack_text(data.internal)} " if data else ""
        lines.append(f"*Data:* {told}{blank('what was lost, what was replayed')}")
    else:
        lines.append(f"*ETA:* {_eta(document)}")
    lines.append(f"*Lead:* {_slack_text(lead) if lead else blank('who leads')}")
    if phase != "resolved":
        lines.append(f"*Next update:* {_next_update(document)}")
    return lines


def _status_page(document: Mapping[str, Any], phase: Phase, data: Data | None) -> list[str]:
    felt = _FELT.get(document["cause"], _FELT_ELSE)
    if document["cause"] in ("healthy", "inconclusive"):
        felt = blank("what users notice; nothing was found that would explain it")
    began = document["onset"]
    since = f" This began around {_clock(began['latest'])}." if began else ""
    if phase == "investigating":
        body = f"{felt}{since} We are looking into it."
    elif phase == "mitigating":
        body = f"{felt}{since} We know where the trouble lies and are working on it."
    else:
        told = f"{data.public} " if data else ""
        body = (
            f"This is over since {_ended(document)}. {told}{blank('say plainly whether any data was lost')}"
        )
    queued = (
        ""
        if phase == "resolved"
        else f" {blank('only if it is so: updates are queued and will be delivered')}"
    )
    return [f"**{phase.capitalize()}**", "", body + queued, "", f"Last updated {_clock(_now(document))}."]


def _impact(document: Mapping[str, Any]) -> str:
    return document["severity_because"] or "none was measured"


def _cause(document: Mapping[str, Any]) -> str:
    if document["cause"] == "inconclusive":
        return "not known yet"
    doubt = ""
    if document["certainty"] == "tentative" and document["rivals"]:
        doubt = f" (not certain; could still be {', '.join(document['rivals'][:3])})"
    return f"{document['cause']}: {document['summary']}{doubt}"


def _action(document: Mapping[str, Any], phase: Phase) -> str:
    if phase == "resolved":
        return "watching; postmortem follows"
    if not document["actions"]:
        return blank("what is being done")
    index = 0 if phase == "investigating" else min(1, len(document["actions"]) - 1)
    return str(document["actions"][index]["title"])


def _eta(document: Mapping[str, Any]) -> str:
    wait = document["facts"].get("retry_after_s") if document["cause"] == "rate_limited" else None
    person = blank("when you expect it to be over, or unknown")
    return f"Klaviyo asks to wait {wait:.0f} s; {person}" if wait is not None else person


def _ended(document: Mapping[str, Any]) -> str:
    recovered = document["recovered"]
    return _clock(recovered["latest"]) if recovered else blank("when calls were well again; not observed yet")


def _next_update(document: Mapping[str, Any]) -> str:
    minutes = NEXT_UPDATE_MIN.get(document["severity"])
    return blank("when") if minutes is None else _clock(_now(document) + timedelta(minutes=minutes))


def _now(document: Mapping[str, Any]) -> datetime:
    """The moment of the verdict: the end of its window, or of the incident if a watch saw it later."""
    ended = document["recovered"]["latest"] if document["recovered"] else document["window"]["end"]
    return max(parse_time(document["window"]["end"]), parse_time(ended))


def _clock(moment: datetime | str) -> str:
    return f"{parse_time(moment) if isinstance(moment, str) else moment:%Y-%m-%d %H:%M} UTC"


def _slack_text(text: str) -> str:
    """One line, Slack's three control characters escaped.

    Source: https://api.slack.com/reference/surfaces/formatting#escaping
    """
    line = " ".join(harmless(text).split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
