"""How bad was it? Failed calls, their share, the worst five minutes, and the error budget they spent."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from klaviyo_nb.window import Window

#: Share of calls that is promised to succeed.
SLO = 0.999
#: Burn rates that wake somebody up, each with the long and the short window in which it has to be exceeded.
#: Source: https://sre.google/workbook/alerting-on-slos/, "Multiwindow, Multi-Burn-Rate Alerts".
BURN_RATES = (
    (14.4, pd.Timedelta(hours=1), pd.Timedelta(minutes=5)),
    (6.0, pd.Timedelta(hours=6), pd.Timedelta(minutes=30)),
    (3.0, pd.Timedelta(days=1), pd.Timedelta(hours=2)),
    (1.0, pd.Timedelta(days=3), pd.Timedelta(hours=6)),
)
#: Share of a window that has to have been observed, for its rate to be known.
OBSERVED = 0.9
#: Fewer failures in the long window burn nothing, whatever share they are [calls].
BURN_FAILURES = 5
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
        bins: `timestamp` (start of the bin, UTC), `calls`, `failed`; absent or missing is not observed. A bin
            may have several rows, such as one per status.
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


def burn_rates(bins: pd.DataFrame, window: Window, observed: Window | None, slo: float = SLO) -> pd.DataFrame:
    """How fast the error budget is spent at the end of a window: 1 spends it in the objective's period.

    Args:
        bins: As in `impact`.
        window: What was asked about.
        observed: The part of it in which a call would have been counted, or None. The rate of a span of
            which it holds less than `OBSERVED` is not known.
        slo: Share of calls promised to succeed.

    Returns:
        `factor`, `long`, `short` (windows), `long_rate`, `short_rate` (missing if not observed), `burning`
        (both exceed the factor, with `BURN_FAILURES` failures or more; missing if not known).
    """
    seen = bins[bins["calls"].notna() & bins["failed"].notna()]
    rows = []
    for factor, long, short in BURN_RATES:
        rates, failed = [], 0.0
        for span in (long, short):
            inside = seen[(seen["timestamp"] >= window.end - span) & (seen["timestamp"] < window.end)]
            calls = float(inside["calls"].sum()) if _covered(span, window, observed) else 0.0
            rates.append(float(inside["failed"].sum()) / calls / (1 - slo) if calls else None)
            failed = max(failed, float(inside["failed"].sum()))
        known = rates[0] is not None and rates[1] is not None
        burning = (
            known and failed >= BURN_FAILURES and all(rate > factor for rate in rates if rate is not None)
        )
        rows.append((factor, long, short, *rates, burning if known else None))
    frame = pd.DataFrame(rows, columns=["factor", "long", "short", "long_rate", "short_rate", "burning"])
    return frame.astype({"long_rate": "float64", "short_rate": "float64", "burning": "boolean"})


def _covered(span: pd.Timedelta, window: Window, observed: Window | None) -> bool:
    """Was the span before a window's end observed?"""
    if observed is None or span > window.end - window.start:
        return False
    seen = min(observed.end, window.end) - max(observed.start, window.end - span)
    return bool(seen >= OBSERVED * span)


def _count(value: float | None) -> int | None:
    return None if value is None else round(value)


def _peak(bins: pd.DataFrame) -> float | None:
    sums = bins.groupby("timestamp")[["calls", "failed"]].sum().astype("float64").rolling(PEAK).sum()
    shares = (sums["failed"] / sums["calls"])[sums["calls"] >= PEAK_CALLS]
    return float(shares.max()) if len(shares) else None
