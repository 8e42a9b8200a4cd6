"""Who makes the calls that fail: what the failing ones have in common and the others do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from klaviyo_nb.diagnosis.facts import Facts, FailingPart
from klaviyo_nb.frames import plain_rows

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.thresholds import Thresholds
    from klaviyo_nb.evidence import Evidence

#: Only the latest calls are compared: a verdict is due within seconds.
MOST_CALLS = 50_000
#: It is named if this share of the failing calls has it, and its calls fail so many times as often as others.
_MOST_OF, _TIMES = 0.5, 3.0
#: Where calls fail is told by other facts; who makes them may be new.
_TOLD, _WHO = frozenset(("endpoint", "method")), ("caller", "worker", "host", "revision", "sdk")
#: Its share of the failing calls is at least so many times that of the others.
_LESS = 1.5
#: Where all calls of a part may fail unnoticed, since it makes few of them; so many are told.
_PARTS, _MOST_PARTS = (*_WHO, "endpoint"), 5
#: It has ended if its newest calls were well in a row that comes by chance less often than this.
_BY_CHANCE = 0.05


def differs(evidence: Evidence, facts: Facts) -> str | None:
    """A caller, revision or pair of values with most of the failing calls; None if none stands out."""
    if not facts.failing or facts.one_endpoint or facts.failing_hosts or evidence.calls is None:
        return None
    from klaviyo_nb.logs.questions.contrast import (  # brings pandas, which is here by now
        AND,
        contrast,
        in_words,
    )

    calls = evidence.calls.tail(MOST_CALLS)
    if not _stands_out(calls):
        return None
    for _, row in contrast(calls, evidence.window).iterrows():
        names = set(row["attribute"].split(AND))
        telling = row["failing_share"] >= _MOST_OF and row["fails"] >= _TIMES * row["others_fail"]
        if telling and not names <= _TOLD:
            latest = f" among the latest {MOST_CALLS:,}" if len(evidence.calls) > MOST_CALLS else ""
            return (
                f"{row['failing_share']:.0%} of the failing calls{latest} are of {in_words(row)},"
                f" of which {row['fails']:.0%} fail; of all others {row['others_fail']:.1%}"
            )
    return None


def failing_parts(evidence: Evidence, facts: Facts, limits: Thresholds) -> tuple[FailingPart, ...]:
    """Machines, callers, endpoints of which most calls fail now, while of all calls hardly any do.

    One worker of forty with an old key is lost among the others' calls: it is no incident by its share, and
    all that it should have done is not done.
    """
    if facts.failing is not False or facts.last_part is None or evidence.calls is None:
        return ()
    from klaviyo_nb.logs.questions.contrast import AND, contrast  # brings pandas, which is here by now
    from klaviyo_nb.logs.questions.counts import failure_kinds

    times = evidence.calls["timestamp"]
    last = evidence.calls[(times >= facts.last_part.start) & (times < facts.last_part.end)].tail(MOST_CALLS)
    failed = failure_kinds(last).notna()
    if not any(_mostly_fails(last[name], failed, limits) for name in _PARTS):
        return ()
    rows = contrast(last, facts.last_part)
    rows = rows[(rows["fails"] >= _MOST_OF) & ~rows["attribute"].str.contains(AND, regex=False)]
    return tuple(_parts(last, failed, rows))[:_MOST_PARTS]


def _parts(last: pd.DataFrame, failed: pd.Series[bool], rows: pd.DataFrame) -> Iterator[FailingPart]:
    """Those of a contrast's rows that still fail: it would be chance that their newest calls were well."""
    from klaviyo_nb.diagnosis.failures import words

    told: list[pd.Index[int]] = []
    for row in plain_rows(rows):
        own = last[last[row["attribute"]].astype("str") == row["value"]]
        bad = own[failed[own.index]]
        if any(bad.index.isin(each).all() for each in told):  # a host and its only worker
            continue
        told.append(bad.index)
        well_since = int(failed[own.index[::-1]].to_numpy().argmax())  # calls after the last one that failed
        if (1 - row["fails"]) ** well_since >= _BY_CHANCE:
            looks = words(bad.assign(calls=1.0, status_code=bad["status_code"].fillna(0)))
            yield FailingPart(
                row["attribute"], row["value"], row["calls"], row["failed"], row["others_fail"], looks
            )


def _mostly_fails(values: pd.Series[str], failed: pd.Series[bool], limits: Thresholds) -> bool:
    """Do most calls of a value fail? A contrast takes ten times as long."""
    counts = failed.groupby(values.astype("str")).agg(["size", "sum"])
    return bool(((counts["sum"] >= limits.noise_failures) & (2 * counts["sum"] >= counts["size"])).any())


def _stands_out(calls: pd.DataFrame) -> bool:
    """Has a value most of the failing calls, far less of the others? A contrast takes ten times as long."""
    from klaviyo_nb.logs.questions.counts import failure_kinds

    failed = failure_kinds(calls).notna()
    for name in _WHO:
        told = calls[name].notna()
        bad, good = (calls.loc[told & each, name].value_counts(normalize=True) for each in (failed, ~failed))
        if len(bad) and bad.iloc[0] >= _MOST_OF and bad.iloc[0] >= _LESS * good.get(bad.index[0], 0.0):
            return True
    return False
