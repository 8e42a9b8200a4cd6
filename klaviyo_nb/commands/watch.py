"""`klaviyo-nb triage --watch`: ask again and again, tell what changed, say when it is over.

The first round is a whole triage. Each one after it is cheap: it looks at the last minutes only, and sends
the API two requests at most, none while Klaviyo asks us to wait. A round is *bad* if its verdict is an
incident, *good* if nothing is wrong and everything that made the last bad one bad was seen again, each log
source that showed failures included, and
*unclear* otherwise: a quiet probe says nothing about calls that failed in the logs.

docs/design/watching.md says why.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from klaviyo_nb.collect import collect
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.thresholds import Thresholds, from_table
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import save
from klaviyo_nb.frames import WATCH
from klaviyo_nb.klaviyo.keys import usable
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.probes import ALLOWED
from klaviyo_nb.redact import Redactor, harmless
from klaviyo_nb.response.document import verdict_document
from klaviyo_nb.settings import Settings
from klaviyo_nb.start import utc_now, window_of
from klaviyo_nb.window import iso, parse_time

State = Literal["good", "bad", "unclear"]

SCHEMA = "klaviyo-nb/watch/1"

#: Requests to the API host in a round, and seconds between two rounds that send any: `GET /api/accounts`
#: allows 15 a minute to all keys of the account together.
API_CALLS, API_EVERY_S = 2, 10.0
#: How long to wait after a 429 that does not say, or when a minute's limit is used up [s].
MINUTE_S = 60.0
_API = ("auth", "rate_limit", "liveness")
_WELL = ("healthy", "resolved_or_intermittent")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Round:
    """One round, and what the next one has to know.

    Attributes:
        number: 0 for the first.
        at: When it began.
        document: Its verdict.
        state: Good, bad or unclear.
        answers: Signal → what it said when it was last heard, in words.
        changes: What is new since the round before, one line each; empty for the first.
        good: Good rounds since the last bad one.
        good_since: When the first of them began.
        recovered: Is the recovery announced in this round?
        bad: Verdict of the last bad round, until its recovery is announced.
        bad_at: When that one began.
        failing: Sources of calls that showed failures when they were last read, up to the last bad round.
        wait_until: No request goes to the API before.
        folder: Where this round's evidence was saved, if it was.
    """

    number: int
    at: datetime
    document: Mapping[str, Any]
    state: State
    answers: Mapping[str, str]
    changes: tuple[str, ...] = ()
    good: int = 0
    good_since: datetime | None = None
    recovered: bool = False
    bad: Mapping[str, Any] | None = None
    bad_at: datetime | None = None
    failing: frozenset[str] = frozenset()
    wait_until: datetime | None = None
    folder: Path | None = None

    def as_json(self) -> str:
        """The round as one line of JSON."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "round": self.number,
                "at": iso(self.at),
                "state": self.state,
                "changes": list(self.changes),
                "good_in_a_row": self.good,
                "recovered": self.recovered,
                "evidence": str(self.folder) if self.folder else None,
                "verdict": self.document,
            },
            ensure_ascii=False,
        )

    def row(self) -> dict[str, Any]:
        """The round as a row of WATCH."""
        facts, counted = self.document["facts"], _counted(self.document)
        return {
            "checked_at": self.at,
            "round": self.number,
            "cause": self.document["cause"],
            "severity": self.document["severity"],
            "state": self.state,
            "good_in_a_row": self.good,
            "recovered": self.recovered,
            "calls": facts["last_calls"] if counted else None,
            "failed_calls": facts["last_failed"] if counted else None,
            "answers": "; ".join(f"{name}: {said}" for name, said in _answers(self.document).items()) or None,
            "changes": "; ".join(self.changes) or None,
            "api_calls": self.document["budget"]["api_calls"],
        }


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the calls of a round came from: log sources by name, or `metrics`.

    Attributes:
        failed: Those with failed calls.
        read: Those that gave lines, and have no gap.
    """

    failed: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()


def sources_of(evidence: Evidence) -> Sources:
    """Which sources showed failures, and which were read at all."""
    failed: set[str] = set()
    read = {each.source for each in evidence.coverage if each.got and not each.gap}
    if evidence.calls is not None:
        failed = set(evidence.calls["source"][failure_kinds(evidence.calls).notna()].dropna())
    elif evidence.metrics is not None:
        failed = {"metrics"}
    if evidence.metrics is not None and not any(gap.signal == "metrics" for gap in evidence.gaps):
        read.add("metrics")
    return Sources(frozenset(failed), frozenset(read))


def watch(
    settings: Settings,
    every_s: float,
    folder: Path,
    redactor: Redactor,
    tell: Callable[[Round], None],
    *,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> Round:
    """Ask every `every_s` seconds until Ctrl-C; returns the last round.

    Args:
        settings: Whom to ask.
        every_s: From the beginning of one round to that of the next [s].
        folder: Where the evidence goes: that of the first round, a line of `watch.csv` per round, and that of
            each round which finds another incident, as `round-N`.
        redactor: What every text from outside passes through.
        tell: Told every round, changed or not.
        progress: Told what the first round finds out.
        clock: The wall clock.
        sleep: Waits so many seconds; Ctrl-C ends it.

    Raises:
        UsageError: The logs come from standard input, which can be read only once.
        KeyboardInterrupt: Ctrl-C came before the first verdict.
    """
    if "-" in settings.logs:
        raise UsageError("--watch", "standard input can be read only once", "--logs FILE --watch 30s")
    limits = from_table(settings.thresholds)
    evidence = _collect(settings, None, clock(), redactor, clock, progress)
    document = verdict_document(evidence, decide(evidence))
    latest = judge(None, document, clock(), limits.good_rounds, sources_of(evidence))
    latest = replace(latest, folder=folder)
    save(replace(evidence, watch=WATCH.frame([latest.row()])), folder, redactor.text)
    # What is watched is now, though the first round may have been asked about the past.
    cheap = replace(settings, since=f"{max(limits.watch_s, every_s):.3f}s", start=None, end=None)
    try:
        tell(latest)
        while True:
            sleep(min(max(every_s - (clock() - latest.at).total_seconds(), 0.0), every_s))
            latest = _again(cheap, latest, folder, redactor, limits, clock)
            tell(latest)
    except KeyboardInterrupt:
        return latest


def _again(
    settings: Settings, before: Round, folder: Path, redactor: Redactor, limits: Thresholds,
    clock: Callable[[], datetime],
) -> Round:  # fmt: skip
    """One cheap round, saved."""
    at = clock()
    evidence = _collect(settings, before, at, redactor, clock)
    document = verdict_document(evidence, decide(evidence))
    found = judge(before, document, at, limits.good_rounds, sources_of(evidence))
    if found.state == "bad" and found.document["cause"] != before.document["cause"]:
        found = replace(found, folder=folder / f"round-{found.number}")
        save(evidence, folder / f"round-{found.number}", redactor.text)
    line = WATCH.to_csv(WATCH.frame([found.row()])).partition("\n")[2]
    with (folder / "watch.csv").open("a", encoding="utf-8", newline="") as stream:
        stream.write(redactor.text(line))
        stream.flush()
        os.fsync(stream.fileno())
    return found


def _collect(
    settings: Settings, before: Round | None, at: datetime, redactor: Redactor, clock: Callable[[], datetime],
    progress: Callable[[str], None] = lambda _: None,
) -> Evidence:  # fmt: skip
    left_out = leave_out(before, at, has_key=bool(usable(settings.private_key))) if before else {}
    return asyncio.run(
        collect(settings, window_of(settings, at), redactor, deadline_s=settings.deadline_s, clock=clock,
                progress=progress, leave_out=left_out, allowed=API_CALLS if before else ALLOWED)
    )  # fmt: skip


def leave_out(before: Round, now: datetime, *, has_key: bool) -> dict[str, str]:
    """Probe of the API that the round after `before` does not ask → why."""
    if before.wait_until and now < before.wait_until:
        return dict.fromkeys(_API, f"no call to the API before {before.wait_until:%Y-%m-%d %H:%M:%S} UTC")
    return {"liveness": "the two calls with the key tell as much"} if has_key else {}


def judge(
    before: Round | None, document: Mapping[str, Any], at: datetime, good_rounds: int,
    sources: Sources = Sources(),
) -> Round:  # fmt: skip
    """Compare a verdict with the round before it.

    Args:
        before: That round; None for the first.
        document: The verdict, as `verdict_document` gives it.
        at: When the round began.
        good_rounds: Good rounds in a row that make a recovery.
        sources: Of its calls.
    """
    missing = _not_seen_again(before.bad, document) if before and before.bad else ()
    unread = before.failing - sources.read if before else frozenset()
    if "calls" not in missing:
        missing += tuple(sorted(unread))
    state = _state(document["cause"], missing)
    failing = before.failing if before else frozenset()
    if state == "bad":
        failing = unread if document["facts"]["failing"] is False else unread | sources.failed
    said = _answers(document)
    known = dict(before.answers) if before else {}
    waits = [end for end in (before.wait_until if before else None, _wait_until(document, at)) if end]
    found = Round(
        number=before.number + 1 if before else 0,
        at=at,
        document=document,
        state=state,
        answers=known | said,
        failing=failing,
        changes=tuple(_changes(before, document, state, missing, known, said)) if before else (),
        wait_until=max(waits, default=None),
    )
    return _counted_on(found, before, good_rounds)


def _counted_on(found: Round, before: Round | None, good_rounds: int) -> Round:
    """With the count of good rounds, and the recovery that it makes."""
    if found.state == "bad" or (before is None and found.document["cause"] in _WELL[1:]):
        return replace(found, bad=found.document, bad_at=found.at)
    good, since = (before.good, before.good_since) if before else (0, None)
    bad, bad_at = (before.bad, before.bad_at) if before else (None, None)
    if found.state == "good":
        good, since = good + 1, since or found.at
    over = found.state == "good" and bad is not None and good >= good_rounds
    if over:
        told = f"recovered: {good} good rounds in a row since {since:%H:%M:%S} UTC"
        found, bad = (
            replace(found, recovered=True, changes=(*found.changes, told), failing=frozenset()),
            None,
        )
    return replace(found, good=good, good_since=since, bad=bad, bad_at=bad_at)


def _state(cause: str, missing: tuple[str, ...]) -> State:
    if cause not in (*_WELL, "inconclusive"):
        return "bad"
    return "unclear" if missing or cause == "inconclusive" else "good"


def _not_seen_again(bad: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, ...]:
    """What the bad verdict read and this one did not, question by question."""
    steps = {step["question"]: step for step in document["path"]}
    missing: dict[str, None] = {}
    for asked in bad["path"]:
        step = steps.get(asked["question"])
        if step is None or asked["answer"] == "unknown":
            continue
        lost = _sources(asked) - _sources(step)
        if step["answer"] == "unknown":
            lost = lost or {f"an answer to “{step['question']}”"}
        missing |= dict.fromkeys(sorted(lost))
    return tuple(missing)


def _sources(step: Mapping[str, Any]) -> set[str]:
    """What answered a question: names of probes, `status_page`, or `calls` for logs and metrics alike."""
    cited = (str(each).partition(":")[0].removeprefix("probes#") for each in step["evidence"])
    return {"calls" if each in ("logs", "metrics") else each for each in cited}


def _answers(document: Mapping[str, Any]) -> dict[str, str]:
    """Signal → what it said, in words."""
    said = {}
    for row in document["probes"]:
        words = f"HTTP {row['status_code']}" if row["status_code"] is not None else row["error_type"]
        state = row["state"] if row["probe"] in ("status_page", "app_health") else None
        said[row["probe"]] = " ".join(filter(None, (words, state))) or "answers"
    for gap in document["gaps"]:
        if gap["configured"] and gap["signal"] != "liveness":
            said[gap["signal"]] = f"not seen: {gap['reason']}"
    facts = document["facts"]
    posts = "; ".join(filter(None, (facts.get("acknowledged_as"), facts.get("unrelated"))))
    if facts.get("acknowledged") is not None:  # which of them concern us may change: not news by itself
        said["Klaviyo's page"] = "; ".join(sorted(posts.split("; "))) or "no incident"
    return {name: " ".join(harmless(words).split()) for name, words in said.items()}


def _changes(
    before: Round | None, document: Mapping[str, Any], state: State, missing: tuple[str, ...],
    known: Mapping[str, str], said: Mapping[str, str],
) -> Iterator[str]:  # fmt: skip
    if before is None:
        return
    then, now = (_title(each) for each in (before.document, document))
    if then != now:
        yield f"{then} → {now}: {document['summary']}"
    for name, words in said.items():
        if name in known and _alike(known[name]) != _alike(words):
            yield f"{name}: {known[name]} → {words}"
        elif name not in known:
            yield f"{name}: {words}"
    if state == "unclear" and before.state != "unclear":
        yield f"cannot tell whether it is over: not seen again: {', '.join(missing) or 'enough to decide'}"


def _alike(words: str) -> str:
    """Reasons of gaps that differ in a number only are one reason."""
    return _NUMBER.sub("#", words) if words.startswith("not seen") else words


def _title(document: Mapping[str, Any]) -> str:
    return f"{document['cause']} {document['severity'] or ''}".rstrip()


def _counted(document: Mapping[str, Any]) -> bool:
    return document["facts"]["counted_from"] in ("logs", "metrics")


def _wait_until(document: Mapping[str, Any], at: datetime) -> datetime | None:
    """Until when Klaviyo does not want to hear from us, as the probes of the API tell."""
    ends = []
    for row in document["probes"]:
        if row["probe"] not in _API:
            continue
        wait = row["retry_after_s"] or API_EVERY_S
        used_up = row["ratelimit_remaining"] == 0 and (row["ratelimit_window_s"] or 0) >= MINUTE_S
        if used_up or (row["status_code"] == 429 and row["retry_after_s"] is None):
            wait = max(wait, MINUTE_S)
        ends.append((parse_time(row["checked_at"]) if row["checked_at"] else at) + timedelta(seconds=wait))
    return max(ends, default=None)
