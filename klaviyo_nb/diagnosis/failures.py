"""What failing calls look like and where they fall: kinds, words, endpoints, hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.diagnosis.facts import EndpointCount, HostCount
from klaviyo_nb.diagnosis.shares import is_failing
from klaviyo_nb.diagnosis.thresholds import Thresholds
from klaviyo_nb.intervals import wilson
from klaviyo_nb.klaviyo.answers import Failure

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.counted import Tally

#: Kinds that no passing trouble explains: a few of them are worth naming beside another kind.
_NEVER_PASSING = ("unauthorized", "forbidden", "unreachable")
#: Ways to fail that are told, the rest as a number.
_MOST_WORDS = 4


def describe(counted: Tally, quiet: float, limits: Thresholds) -> dict[str, Any]:
    """The fields of `Facts` about failing calls in the last part; `evidence` and `because` for the tree.

    Two more: `unmarked`, nothing but statuses is known of them, not even who answered; `unsigned`, the status
    of most of them (0: no answer came), if nothing in them says who gave it, or why none came.

    Args:
        counted: The calls.
        quiet: Share that may fail when all is well.
        limits: Thresholds.
    """
    failed = counted.last[counted.last["kind"].notna()]
    kinds = _counts(failed, "kind")
    fields: dict[str, Any] = {
        "failures": {str(kind): count for kind, count in kinds.items()},
        "status_codes": {int(str(status)): count for status, count in _counts(failed, "status_code").items()},
        "evidence": {},
        "because": {"failure": words(failed)},
    }
    known = {kind: count for kind, count in kinds.items() if kind != "unknown"}
    kind = next(iter(known), None)
    if kind is None or known[kind] < max(kinds.values()):
        return fields
    kind = _unusual(known, counted, limits) or kind
    rows = failed[failed["kind"] == kind]
    fields["failure"] = kind
    fields["answered_by"] = _commonest(rows, "answered_by")
    fields["error_code"] = _commonest(rows, "error_code")
    fields["unmarked"] = not rows[["error_code", "answered_by", "request_id"]].notna().any(axis=None)
    fields["unsigned"] = _unsigned(rows) if kind == "server" or fields["unmarked"] else None
    fields["other_failures"] = {
        other: words(failed[failed["kind"] == other]) + _on_hosts(counted, other, quiet, limits)
        for other, count in known.items()
        if other != kind and _is_loud(other, count, counted.last_calls, limits)
    } or None
    fields["evidence"]["failure"] = tuple(
        f"{counted.source}:status_code={status}" if status else f"{counted.source}:no response"
        for status in sorted(rows["status_code"].unique())
    )
    return _merged(fields, _waits(rows), _answered(rows, counted), _places(counted, kind, quiet, limits))


def words(failed: pd.DataFrame) -> str:
    """Failing calls in words, most first: `36 × HTTP 401 not_authenticated, 2 × timeout`."""
    said = failed["status_code"].map(lambda code: f"HTTP {code}" if code else "")
    error, code, who = (failed[name].astype("str") for name in ("error_type", "error_code", "answered_by"))
    said = said.where(said != "", error.fillna("no answer"))
    said += (" " + code).fillna("")
    said += (" by " + who.where(who != "klaviyo")).fillna("")
    counts = (
        failed["calls"].groupby(said).sum().sort_values(ascending=False, kind="stable").round().astype(int)
    )
    told = [f"{count:,} × {each}" for each, count in counts.iloc[:_MOST_WORDS].items()]
    more = counts.iloc[_MOST_WORDS:].sum()
    return ", ".join(told) + (f", {more:,} others" if more else "")


def _unusual(known: Mapping[Failure, int], counted: Tally, limits: Thresholds) -> Failure | None:
    """The commonest kind that is surely more than before, or than noise; None if none is.

    An application that always loses three calls in a hundred goes on doing so while a key is refused: what
    makes it an incident is the kind that is new, not the one that is most.
    """
    before = counted.frame[counted.frame["timestamp"] < counted.part.start]
    calls, was = before["calls"].sum(), before.groupby("kind")["calls"].sum()
    for kind, count in known.items():
        usual = wilson(was.get(kind, 0.0), calls, limits.sure_z)[1] if calls else 0.0
        least = wilson(count, counted.last_calls, limits.sure_z)[0]
        if count >= limits.noise_failures and least > min(usual, limits.noise_share):
            return kind
    return None


def _is_loud(kind: str, count: int, calls: int, limits: Thresholds) -> bool:
    if count < limits.noise_failures:
        return False
    return kind in _NEVER_PASSING or count >= limits.noise_share * calls


def _unsigned(rows: pd.DataFrame) -> int | None:
    """The status that most of these calls were answered with, if no mark says by whom; 0: no answer, nor why.

    A page says only that Klaviyo's application did not write it: its edge and our proxy both send pages.
    """
    bare = rows["error_code"].isna() & rows["request_id"].isna()
    bare &= rows["error_type"].isna() | (rows["status_code"] > 0)
    bare &= rows["answered_by"].isna() | (rows["answered_by"] == "edge")
    status, count = next(iter(_counts(rows[bare], "status_code").items()), (0, 0))
    return int(status) if count and 2 * count >= rows["calls"].sum() else None


def _waits(rows: pd.DataFrame) -> dict[str, Any]:
    told = rows[rows["retry_after_s"].notna()]
    if told.empty:
        return {}
    frees = (told["timestamp"] + pd.to_timedelta(told["retry_after_s"], unit="s")).max().floor("us")
    return {"retry_after_s": float(told["retry_after_s"].max()), "frees_at": frees.to_pydatetime()}


def _answered(rows: pd.DataFrame, counted: Tally) -> dict[str, Any]:
    """`nothing_answers` is False where somebody answered most of the failing calls."""
    answered = rows.loc[rows["status_code"] > 0, "calls"].sum()
    if answered < rows["calls"].sum() / 2:
        return {}
    return {
        "nothing_answers": False,
        "evidence": {"nothing_answers": (f"{counted.source}:last_part",)},
        "because": {"nothing_answers": f"{round(answered)} of the failing calls got an answer"},
    }


def _places(counted: Tally, kind: str, quiet: float, limits: Thresholds) -> dict[str, Any]:
    """On which endpoints and hosts calls fail this way."""
    counts = _grouped(counted.last, "endpoint", kind)
    fields: dict[str, Any] = {"endpoints": _told(counted, "endpoint", kind, EndpointCount) or None}
    column = "host" if _tells_apart(counted.last, "host") else "worker"
    fields["hosts"] = _told(counted, column, kind, HostCount) or None
    fields["failing_hosts"] = _failing_hosts(counted, kind, quiet, limits) or None
    if counts.empty:
        return fields
    failed = counted.last.loc[counted.last["kind"] == kind, "calls"].sum()
    nowhere = round(failed) - int(counts["failed"].sum())
    if 2 * nowhere >= failed:  # most may have been anywhere
        because = f"{nowhere} of {round(failed)} failures name no endpoint"
        return fields | {"because": {"one_endpoint": because}}
    worst, others = counts.iloc[0], counts.iloc[1:]
    rest = others.sum()
    if rest.calls >= limits.noise_failures:
        # Few calls suffice where nothing passing explains them: refused twice, and mostly, is refused.
        refused = (others["failed"] >= 2) & (2 * others["failed"] >= others["calls"])
        elsewhere = kind in _NEVER_PASSING and bool(refused.any())
        rest_fails = is_failing(int(rest.failed), int(rest.calls), quiet, limits)
        # A small endpoint that fails is lost among many calls to others: each is weighed by its own calls.
        another = any(
            is_failing(hits, tries, limits.noise_share, limits)
            for hits, tries in zip(others["failed"].tolist(), others["calls"].tolist(), strict=True)
        )
        fields["one_endpoint"] = not (elsewhere or rest_fails or another)
    return fields | {
        "evidence": {"one_endpoint": (f"{counted.source}:endpoint",)},
        "because": {
            "one_endpoint": f"{counts.index[0]}: {worst.failed:,} of {worst.calls:,} failed that way;"
            f" {len(counts) - 1} other endpoints: {rest.failed:,} of {rest.calls:,}"
        },
    }


def _on_hosts(counted: Tally, kind: str, quiet: float, limits: Thresholds) -> str:
    hosts = _failing_hosts(counted, kind, quiet, limits)
    return f" on {', '.join(hosts)}" if hosts else ""


def _failing_hosts(counted: Tally, kind: str, quiet: float, limits: Thresholds) -> tuple[str, ...]:
    """Hosts, else workers, of which most calls fail this way while they do not on the others."""
    for place in ("host", "worker"):
        counts = _grouped(counted.last, place, kind)
        bad = counts["failed"] >= counts["calls"] / 2
        rest = counts[~bad].sum()
        if bad.any() and not bad.all() and not is_failing(int(rest.failed), int(rest.calls), quiet, limits):
            return tuple(str(name) for name in counts.index[bad])
    return ()


def _tells_apart(frame: pd.DataFrame, column: str) -> bool:
    return bool(frame[column].nunique() > 1) or not bool(frame["worker"].notna().any())


def _told(counted: Tally, column: str, kind: str, row_of: Callable[..., Any]) -> tuple[Any, ...]:
    """Calls and failures of the last part per value of a column, and the window's first and last failure.

    Where most calls fail this way comes first.
    """
    counts = _grouped(counted.last, column).reindex(_grouped(counted.last, column, kind).index)
    failed = counted.frame[counted.frame["kind"].notna()]
    times = failed.groupby(column)["timestamp"].agg(["min", "max"])
    return tuple(
        row_of(str(name), int(row.calls), int(row.failed), *_span(times, name))
        for name, row in counts.iterrows()
    )


def _span(times: pd.DataFrame, name: Any) -> tuple[datetime | None, datetime | None]:
    if name not in times.index:
        return None, None
    first, last = times.loc[name, ["min", "max"]]
    return first.floor("s").to_pydatetime(), last.floor("s").to_pydatetime()


def _grouped(frame: pd.DataFrame, column: str, kind: str | None = None) -> pd.DataFrame:
    """Calls and failures, of one kind or any, per value of `column`, most failures first."""
    hit = frame["kind"] == kind if kind else frame["kind"].notna()
    keyed = pd.DataFrame(
        {
            "key": frame[column],
            "calls": frame["calls"],
            "failed": frame["calls"].where(hit.fillna(False), 0.0),
        }
    )
    sums = keyed.dropna(subset="key").groupby("key").sum().round().astype(int)
    return sums.sort_values(["failed", "calls"], ascending=False, kind="stable")


def _counts(frame: pd.DataFrame, column: str) -> dict[Any, int]:
    sums = frame.groupby(column)["calls"].sum().sort_values(ascending=False, kind="stable")
    return {value: round(count) for value, count in sums.items()}


def _commonest(rows: pd.DataFrame, column: str) -> str | None:
    counts = _counts(rows, column)
    return (
        str(next(iter(counts))) if counts and 2 * next(iter(counts.values())) >= rows["calls"].sum() else None
    )


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"evidence": {}, "because": {}}
    for part in parts:
        for name, value in part.items():
            if name in ("evidence", "because"):
                found[name].update(value)
            else:
                found[name] = value
    return found
