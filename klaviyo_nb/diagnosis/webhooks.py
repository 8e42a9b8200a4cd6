"""Facts about webhooks from deliveries that logs or metrics tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from klaviyo_nb.metrics.counters import counted as risen

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.thresholds import Thresholds
    from klaviyo_nb.evidence import Evidence
    from klaviyo_nb.window import Window


def delivered(evidence: Evidence, part: Window, flowing: bool, limits: Thresholds) -> dict[str, Any]:
    """Do deliveries arrive, and are they accepted?

    They do not if none was accepted since at least `noise_failures` were rejected, or if the last part, and
    perhaps slices of the window before it, brought none, while more slices before those brought
    `silence_slice` each, and calls are still made.

    Args:
        evidence: Logs are asked first; metrics only if the logs tell of no delivery.
        part: The last part of the window.
        flowing: Does the application still make calls?
        limits: Thresholds.

    Returns:
        `alive`, `says` and `cited`; empty if no delivery was seen.
    """
    logged = evidence.webhooks
    if logged is not None and len(logged):
        refused = _refused(logged, limits)
        if refused:
            return {"alive": False, "says": refused, "cited": "logs:webhooks"}
        times, source = logged["timestamp"].dropna(), "logs"
        counts = pd.Series(1.0, index=times)
    elif evidence.metrics is not None:
        steps = risen(evidence.metrics, "webhooks")
        counts, source = steps.set_index("timestamp")["calls"], "metrics"
    else:
        return {}
    if not counts.sum():
        return {}
    alive, says = _arriving(counts, evidence.window, part, limits)
    return {"alive": alive or not flowing, "says": says, "cited": f"{source}:webhooks"}


def _refused(logged: pd.DataFrame, limits: Thresholds) -> str | None:
    """In words, that none was accepted since enough were rejected."""
    ordered = logged.sort_values("timestamp", kind="stable")
    since = ordered["outcome"].eq("accepted").to_numpy()[::-1].cumsum()[::-1] == 0
    rejected = int((ordered["outcome"].eq("bad_signature") & since).sum())
    failed = int((ordered["outcome"].eq("failed") & since).sum())
    if rejected >= limits.noise_failures:
        return f"all {rejected:,} signatures{'' if since.all() else ' of late'} were rejected"
    if failed >= limits.noise_failures:
        return f"all {failed:,} deliveries{'' if since.all() else ' of late'} failed in our application"
    return None


def _arriving(counts: pd.Series[float], window: Window, part: Window, limits: Thresholds) -> tuple[bool, str]:
    since = counts.index.to_series().sub(pd.Timestamp(part.start)).dt.total_seconds()
    slices = counts.groupby((since // part.seconds).to_numpy()).sum()
    whole = int((part.start - window.start).total_seconds() // part.seconds)
    earlier = [float(slices.get(-number, 0.0)) for number in range(1, whole + 1)]
    lately, minutes = float(slices[slices.index >= 0].sum()), round(part.seconds / 60)
    silent = next((number for number, count in enumerate(earlier) if count), len(earlier))
    busy = earlier[silent + 1 :] if silent else earlier  # in the one between them it began
    if lately or len(busy) <= silent or min(busy) < limits.silence_slice:
        return True, f"{counts.sum():.0f} webhooks arrived, {lately:.0f} in the last {minutes} minutes"
    usual = f"{min(busy):.0f} or more in each {minutes} before"
    return False, f"no webhook in the last {minutes * (silent + 1)} minutes, {usual}"
