"""Who makes the calls that fail: what the failing ones have in common and the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from klaviyo_nb.diagnosis.facts import Facts
    from klaviyo_nb.evidence import Evidence

#: Only the latest calls are compared: a verdict is due within seconds.
MOST_CALLS = 50_000
#: It is named if this share of the failing calls has it, and its calls fail so many times as often as others.
_MOST_OF, _TIMES = 0.5, 3.0
#: Where calls fail is told by other facts; who makes them may be new.
_TOLD, _WHO = frozenset(("endpoint", "method")), ("caller", "worker", "host", "revision", "sdk")
#: Its share of the failing calls is at least so many times that of the others.
_LESS = 1.5


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
