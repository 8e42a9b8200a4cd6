"""When it began and ended, from all that tells it. What every page shows of these times comes from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.diagnosis.clocks import CLOCK_S, PAUSES, as_sure_as_clocks
from klaviyo_nb.diagnosis.counted import earlier, tallies, with_new
from klaviyo_nb.diagnosis.portals import COLUMNS, first_answers, with_first_answers
from klaviyo_nb.diagnosis.probed import KEYED, kind_of
from klaviyo_nb.diagnosis.thresholds import from_table
from klaviyo_nb.evidence import remembered
from klaviyo_nb.frames import plain_rows
from klaviyo_nb.metrics.counters import rises, step_s
from klaviyo_nb.metrics.onset import Episode, Moments, episodes
from klaviyo_nb.metrics.times import Estimate, Moment, Source, Written, combined
from klaviyo_nb.window import iso

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.counted import Tally
    from klaviyo_nb.evidence import Evidence

#: Log lines carry the second at best [s]; failures that clocks set so far apart can be one onset.
LINE_S, CLOCKS = 1.0, timedelta(minutes=3)
#: How far before the first failing line a call may have begun to fail, where it does not tell how
#: long it took: lines are written when calls end [s].
NEAR_S = 15.0
#: A window that ended so long before collecting did ended when its logs were read.
LIVE = timedelta(seconds=15)
#: After so many of the usual pauses between two failures the next has come, 19 times in 20 [1].
NEXT = 3.0
#: Share of the metrics' calls from which on logs hold them all.
WHOLE = 0.95
#: Hosts whose clocks are compared at most, and the fewest failures that tell something of one.
MOST_HOSTS, HOST_FAILURES = 8, 5
#: Share of calls that logs and metrics may place differently, before the logs' clocks are believed to be off:
#: on one clock none is, and a host that is off may have made few of them.
OFF = 0.005
#: Share of failing calls from which a host's first failing call tells when that began.
NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True)
class Times:
    """The last incident of a window.

    Attributes:
        onset: None if it was not observed: nothing began, or it was under way when the window began.
        recovered: None if it was not observed to end.
        earlier: Stretches of failures before it, in the same window.
        failed: Did calls fail for certain, at some time of the window?
        ongoing: And did that go on at its end?
    """

    onset: Moment | None = None
    recovered: Moment | None = None
    earlier: tuple[Episode, ...] = ()
    failed: bool = False
    ongoing: bool = False

    @property
    def under_way(self) -> bool:
        """Did calls fail from the first that was read on, so that its beginning lies before?"""
        return self.failed and self.onset is None


@remembered
def times_of(evidence: Evidence) -> Times:
    """The last incident of a window, by its evidence alone."""
    return times(evidence, tallies(evidence, from_table(evidence.context.get("thresholds") or {})))


def times(evidence: Evidence, counted: Mapping[str, Tally]) -> Times:
    """The last incident, from what logs and metrics count, what was watched, and what people wrote.

    Args:
        evidence: What was seen.
        counted: `counted.tallies` of it.
    """
    found: dict[Source, list[Episode]] = {}
    off, before = False, earlier(evidence)
    if "logs" in counted and "metrics" in counted and evidence.metrics is not None:
        step = timedelta(seconds=step_s(evidence.metrics) or 0.0)
        off = clocks_differ(counted["logs"].frame, counted["metrics"].frame, step)
    counted = with_new(evidence, counted)
    if "logs" in counted:
        frame = pd.concat([before.get("logs"), counted["logs"].frame])  # None is left out
        read_until = min(evidence.window.end, evidence.collected_at)
        by_logs = _from_logs(frame, read_until)
        if "metrics" not in counted:
            live = evidence.collected_at - evidence.window.end <= LIVE
            by_logs = [as_sure_as_clocks(each, frame, read_until if live else None) for each in by_logs]
        read = [each[COLUMNS] for each in (evidence.earlier, evidence.calls) if each is not None]
        answers = first_answers(pd.concat(read))
        by_logs = [with_first_answers(each, answers) for each in by_logs]
        found["logs"] = list(_since(evidence.window.start, by_logs))
    if "metrics" in counted and evidence.metrics is not None:
        width = step_s(evidence.metrics) or 0.0
        counts, past = (
            _counts(frame, ("endpoint", "kind")) for frame in (counted["metrics"].frame, before["metrics"])
        )
        placed = episodes(counts, width, width or None, past)
        counts = counts.assign(took_s=width, unseen_s=_unseen_s(counts, evidence.metrics, width))
        found["metrics"] = [_maybe_before(_nearer(each, counts, width), counts, past) for each in placed]
        if not placed and "logs" in counted and _of_failures_only(counted):
            found.pop("logs", None)
    last = {name: each[-1] for name, each in found.items() if each}
    since = max((each.seen[0] for each in last.values()), default=None)
    same = {name: each for name, each in last.items() if since and each.seen[1] + CLOCKS >= since}
    watched = recovery_seen(evidence)
    goes_on = any(each.recovered is None for each in same.values()) and watched is None
    begun = [_begun(name, each, each.onset) for name, each in same.items() if each.onset]
    known = any(each.proven for each in same.values()) or _told_whole(same, counted, before)
    if len(begun) < len(same) and not known:
        begun = []  # one of them saw it under way from the first: that the other did not is no beginning
    refused = [] if same else list(_still_refused(evidence, counted, before))
    over = [_estimate(name, each.recovered) for name, each in same.items() if each.recovered]
    seen = [Estimate("probes", *watched, "triage --watch: last bad round, first good one")] if watched else []
    written = {name: written_of(evidence, name) for name in ("onset", "recovered")}
    return Times(
        combined([*begun, *refused, *_failing_probes(evidence)], written["onset"], off),
        combined(seen or ([] if goes_on else over), written["recovered"], off),
        tuple(each for name in same for each in found[name][:-1]),
        bool(same or refused),
        (goes_on or bool(refused)) and not written["recovered"],
    )


def _of_failures_only(counted: Mapping[str, Tally]) -> bool:
    """Do logs hold nothing but failures, no more of them than the metrics count among all calls?

    That tells nothing of the share that fails.
    """
    calls = {name: each.frame["calls"].sum() for name, each in counted.items()}
    failed = {
        name: each.frame.loc[each.frame["kind"].notna(), "calls"].sum() for name, each in counted.items()
    }
    return bool(failed["logs"] >= NEARLY_ALL * calls["logs"] and failed["logs"] <= failed["metrics"] / WHOLE)


def _told_whole(
    same: Mapping[Source, Episode], counted: Mapping[str, Tally], before: Mapping[str, pd.DataFrame]
) -> bool:
    """Do the logs tell of its beginning, of all calls that the metrics count, and of the time before?

    Then what the metrics saw from their first sample on is a failure that was none of it.
    """
    calls = {name: each.frame["calls"].sum() for name, each in counted.items()}
    begun = "logs" in same and same["logs"].onset is not None and len(before.get("logs", ())) > 0
    return begun and calls["logs"] >= WHOLE * calls.get("metrics", 0.0)


def _since(start: datetime, found: list[Episode]) -> Iterator[Episode]:
    """Those that were seen in the window; what began before it was under way."""
    for each in found:
        if each.seen[1] > start:
            known = each.onset is not None and each.onset[1] >= start
            yield each if known else replace(each, onset=None)


def _still_refused(
    evidence: Evidence, counted: Mapping[str, Tally], before: Mapping[str, pd.DataFrame]
) -> Iterator[Estimate]:
    """Of calls too few to be certain: the first that ended as our own calls do, if none was well since.

    That one was well before it may be known of the time before the window.
    """
    kinds = {kind for row in evidence.probe_rows if row["probe"] in KEYED and (kind := kind_of(row))}
    for each in counted.values():
        name, metrics = each.source, evidence.metrics
        step = LINE_S if name == "logs" or metrics is None else step_s(metrics) or 0.0
        frame = pd.concat([before.get(name), each.frame])  # None is left out
        good = frame.loc[frame["kind"].isna(), "timestamp"].max()
        bad = frame.loc[frame["kind"].isin(kinds), "timestamp"]
        first = bad[bad > good].min()
        if not pd.isna(first) and first >= evidence.window.start:
            since = max(good, first - timedelta(seconds=NEAR_S if name == "logs" else step))
            yield _estimate(name, (since, first + timedelta(seconds=step)), good)


def _failing_probes(evidence: Evidence) -> list[Estimate]:
    """It had begun when the first of our own calls failed."""
    failed = [row["checked_at"] for row in evidence.probe_rows if row["probe"] in KEYED and kind_of(row)]
    if not failed:
        return []
    return [Estimate("probes", None, min(failed), "the first of our own calls that failed")]


def recovery_seen(evidence: Evidence) -> Moments | None:
    """The end that `triage --watch` saw: after the last bad round, before the good ones that announced it."""
    rounds = evidence.watch
    if rounds is None or not rounds["recovered"].any():
        return None
    last = rounds[rounds["recovered"].fillna(False)].index[-1]
    bad = rounds["state"] == "bad"
    if bad.loc[last:].any() or not bad.loc[:last].any():
        return None
    since = bad.loc[:last][bad.loc[:last]].index[-1]
    good = rounds.loc[since:last][rounds.loc[since:last, "state"] == "good"]
    return rounds.loc[since, "checked_at"].to_pydatetime(), good["checked_at"].iloc[0].to_pydatetime()


def written_of(evidence: Evidence, kind: str) -> Written | None:
    """The newest note of a kind."""
    if evidence.notes is None:
        return None
    rows = evidence.notes[(evidence.notes["kind"] == kind) & evidence.notes["at"].notna()]
    for row in plain_rows(rows.sort_values("written_at", kind="stable").tail(1)):
        return Written(row["at"].to_pydatetime(), row["who"], row["written_at"], row["text"])
    return None


def _estimate(name: Source, moments: Moments, good_until: datetime | None = None) -> Estimate:
    margin = timedelta(seconds=CLOCK_S if name == "logs" else 0)
    because = f"change of the share of failing calls in {name}"
    if good_until and good_until < moments[0]:
        because += f"; the call before was well, at {iso(good_until)}"
    return Estimate(name, moments[0] - margin, moments[1] + margin, because)


def _begun(name: Source, found: Episode, onset: Moments) -> Estimate:
    estimate, clocks = _estimate(name, onset, found.good_until), " or ".join(found.unconfirmed)
    doubt = f"; nothing confirms the clock of {clocks}, which may be off" if clocks else ""
    return replace(estimate, because=estimate.because + doubt)


def _unseen_s(counts: pd.DataFrame, metrics: pd.DataFrame, width_s: float) -> pd.Series[float]:
    """How long before the step of each row no series had a sample; of the first step nobody knows."""
    calls, errors = (rises(metrics, role) for role in ("requests", "errors"))
    steps = calls.starts(calls.observed()).union(errors.starts(errors.observed()))
    unseen = (steps.to_series().diff().dt.total_seconds() - width_s).clip(lower=0.0)
    return counts["timestamp"].map(unseen).fillna(0.0)


def _counts(frame: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    failed = frame["calls"].where(frame["kind"].notna(), 0.0)
    return frame[["timestamp", "calls", *labels]].assign(failed=failed)


def _from_logs(frame: pd.DataFrame, until: datetime) -> list[Episode]:
    counts = _counts(frame, ("endpoint", "clock", "kind")).rename(columns={"clock": "host"})
    counts["timestamp"] = counts["timestamp"].dt.floor("s")
    counts["took_s"], counts["unseen_s"] = frame["duration_s"].clip(lower=0.0).fillna(NEAR_S), 0.0
    found = episodes(counts, width_s=LINE_S)
    nearer = (_nearer(_by_hosts(each, counts, until), counts, LINE_S) for each in found)
    return [_doubted(each, counts, until) for each in nearer]


def _nearer(found: Episode, counts: pd.DataFrame, width_s: float) -> Episode:
    """The same, from when its first failing call began, and until `width_s` after its last one.

    Of that call the calls beside it, which may be minutes away, tell nothing; they tell of the fault. A line
    is written when its call ends: that bounds the end as sharply as its time is written, and the beginning
    as sharply as it tells how long the call took (`took_s`). What is counted behind a time without samples
    may be of any moment of it (`unseen_s`).
    """
    bad = counts[counts["failed"] > 0]
    onset, recovered, width = found.onset, found.recovered, timedelta(seconds=width_s)
    first, last = (
        bad[(bad["timestamp"] >= each[0]) & (bad["timestamp"] <= each[1])] if each else bad.head(0)
        for each in (onset, recovered)
    )
    if onset and len(first):
        took = first["took_s"] + first["unseen_s"]
        began = first["timestamp"] - pd.to_timedelta(took.round(3), unit="s")
        of_first = began[first["timestamp"] == first["timestamp"].min()]
        onset = max(onset[0], of_first.min().to_pydatetime()), onset[1]
    if recovered and len(last):
        of_last = last.iloc[int(last["timestamp"].argmax())]
        unseen = timedelta(seconds=float(of_last["unseen_s"]))
        recovered = recovered[0] - unseen, min(recovered[1], of_last["timestamp"].to_pydatetime() + width)
    return replace(found, onset=onset, recovered=recovered, good_until=found.onset and found.onset[0])


def _maybe_before(found: Episode, counts: pd.DataFrame, past: pd.DataFrame) -> Episode:
    """The same, as much earlier as it takes for failures that had been counted before to be its first.

    They may be where it is seen no longer after than the next failure of it may take. Where it begins with
    another endpoint's failures than it mostly concerns, these are what is looked at.
    """
    if found.onset is None:
        return found
    bad = counts[(counts["failed"] > 0) & (counts["timestamp"] >= found.onset[0])]
    first = bad[bad["timestamp"] <= found.onset[1]]
    concerns: Mapping[str, Sequence[str]] = found.concerns
    if len(first) and _concerned(first, concerns).empty:
        concerns = {label: first[label].unique().tolist() for label in ("endpoint", "kind")}
    failed, own = (_concerned(frame, concerns)["failed"].sum() for frame in (past, bad))
    if not failed or not own:
        return found
    every, counted = (found.seen[1] - found.onset[0]) / own, past["timestamp"].max().to_pydatetime()
    if found.onset[0] - counted > NEXT * every:
        return found
    return replace(found, onset=(min(found.onset[0], counted - (failed + NEXT) * every), found.onset[1]))


def _concerned(counts: pd.DataFrame, concerns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    for label in concerns.keys() & set(counts):
        counts = counts[counts[label].isin(concerns[label])]
    return counts


def _by_hosts(found: Episode, counts: pd.DataFrame, until: datetime) -> Episode:
    """The same, as wide as the hosts' clocks make it.

    Each host's own beginning and end are looked at: where they exclude that of all, and lie no further apart
    than clocks do, the interval spans both. A host whose newest line is older than any pause it made may
    have a clock that is behind by so much.
    """
    onset, recovered = found.onset, found.recovered
    failing = counts.loc[counts["failed"] > 0, "host"].value_counts()
    for host in failing[failing >= HOST_FAILURES].index[:MOST_HOSTS] if len(failing) > 1 else failing.index:
        own = counts[counts["host"] == host]
        behind = _behind(own["timestamp"], until)
        alone = (
            episodes(own.drop(columns=["endpoint", "host"]), width_s=LINE_S) if len(failing) > 1 else [found]
        )
        for each in alone:
            if each.failed < NEARLY_ALL * each.calls:
                continue  # its first failing call comes by chance
            onset = _spanning(onset, _later(each.onset, behind))
            recovered = _spanning(recovered, _later(each.recovered, behind))
    return replace(found, onset=onset, recovered=recovered)


def _doubted(found: Episode, counts: pd.DataFrame, until: datetime) -> Episode:
    """The same, later by as much as the clocks may be behind that tell of it.

    It began no later than any of its first lines says, and ended no earlier than any of its last.
    """
    bad = counts[counts["failed"] > 0]

    def doubts(moments: Moments) -> list[timedelta]:
        told = bad.loc[(bad["timestamp"] >= moments[0]) & (bad["timestamp"] <= moments[1]), "host"].unique()
        return [_behind(counts.loc[counts["host"] == host, "timestamp"], until) for host in told]

    onset, recovered = found.onset, found.recovered
    onset = onset and _later(onset, min(doubts(onset), default=timedelta(0)))
    recovered = recovered and _later(recovered, max(doubts(recovered), default=timedelta(0)))
    return replace(found, onset=onset, recovered=recovered)


def clocks_differ(logs: pd.DataFrame, metrics: pd.DataFrame, step: timedelta) -> bool:
    """Do log lines carry other times than the metrics, whose server has one clock, have for the same calls?

    Where both count as many calls of an endpoint with one outcome, the n-th in one is the n-th in the other.

    Args:
        logs: A `Tally.frame`.
        metrics: Another.
        step: Width of the metrics' bins; calls may lie so far apart, and a second, on one clock.

    Returns:
        False also where no series counts as many calls in both, so that nothing can be held side by side.
    """
    apart: list[pd.Series[Any]] = []
    of_logs, of_metrics = (
        dict(iter(frame.fillna({"kind": ""}).groupby(["endpoint", "kind"]))) for frame in (logs, metrics)
    )
    for series in of_logs.keys() & of_metrics.keys():
        lines, counts = of_logs[series], of_metrics[series]
        often = counts["calls"].round().astype(int)
        if often.sum() == len(lines):
            times = counts["timestamp"].repeat(often.tolist()).sort_values(ignore_index=True)
            apart.append((times - lines["timestamp"].sort_values(ignore_index=True)).abs())
    if not apart:
        return False
    return float((pd.concat(apart) > step + timedelta(seconds=LINE_S)).mean()) > OFF


def _behind(moments: pd.Series[pd.Timestamp], until: datetime) -> timedelta:
    """By how much a clock may be behind; zero if its newest line is no older than its pauses are long."""
    age = until - moments.max()
    pauses = moments.sort_values().diff().tail(PAUSES)
    return age.to_pytimedelta() if pauses.max() * 1.5 < age <= CLOCKS else timedelta(0)


def _later(moments: Moments | None, by: timedelta) -> Moments | None:
    return moments and (moments[0], moments[1] + by)


def _spanning(all_of: Moments | None, own: Moments | None) -> Moments | None:
    """Both, if they exclude each other within `CLOCKS`, or the own one is wider by doubt of its clock."""
    if all_of is None or own is None:
        return all_of
    apart = max(own[0] - all_of[1], all_of[0] - own[1])
    if timedelta(0) < apart <= CLOCKS:
        return min(own[0], all_of[0]), max(own[1], all_of[1])
    return all_of
