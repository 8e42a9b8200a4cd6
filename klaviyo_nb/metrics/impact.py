"""How bad was it? Failed calls, their share, the worst five minutes, and the error budget they spent."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from klaviyo_nb.window import Window

#: Share of calls that is promised to succeed.
SLO = 0.999
#: Span over which the peak is measured, and the fewest calls in it that make a share.
PEAK, PEAK_CALLS = pd.Timedelta(minutes=5), 20


@dataclass(frozen=True, slots=True)
class Impact:
    """What the failures of one window came to; None is not known.

    Attributes:
        failed_calls: Calls that failed.
        calls: All calls.
        share: Failed over all, 0..1; None without a call.
        peak_share: Share in the worst five minutes that hold at least `PEAK_CALLS` calls.
        budget_spent: Failed calls over those that the objective allows among so many: 1 spends all of it.
    """

    failed_calls: int | None
    calls: int | None
    share: float | None
    peak_share: float | None
    budget_spent: float | None


def impact(bins: pd.DataFrame, window: Window, slo: float = SLO) -> Impact:
    """Add up the failures of a window.

    Args:
        bins: `timestamp` (start of the bin, UTC), `calls`, `failed`; absent or missing is not observed.
        window: Bins that begin outside it are left out.
        slo: Share of calls promised to succeed, between 0 and 1.

    Raises:
        ValueError: `slo` is not between 0 and 1.
    """
    if not 0 < slo < 1:
        raise ValueError(f"an objective of {slo} leaves no budget to spend, or promises nothing")
    inside = bins[(bins["timestamp"] >= window.start) & (bins["timestamp"] < window.end)]
    failures = inside.loc[inside["failed"].notna(), "failed"]
    seen = inside[inside["calls"].notna() & inside["failed"].notna()]
    failed = float(failures.sum()) if len(failures) else None
    if seen.empty:
        every = inside["calls"].dropna()
        return Impact(_count(failed), _count(float(every.sum()) if len(every) else None), None, None, None)
    calls = float(seen["calls"].sum())
    share = float(seen["failed"].sum()) / calls if calls > 0 else None
    return Impact(
        _count(failed),
        round(calls),
        share,
        _peak(seen),
        None if share is None else share / (1 - slo),
    )


def _count(value: float | None) -> int | None:
    return None if value is None else round(value)


def _peak(bins: pd.DataFrame) -> float | None:
    counts = bins.set_index("timestamp")[["calls", "failed"]].astype("float64").sort_index()
    sums = counts.rolling(PEAK).sum()
    shares = (sums["failed"] / sums["calls"])[sums["calls"] >= PEAK_CALLS]
    return float(shares.max()) if len(shares) else None
