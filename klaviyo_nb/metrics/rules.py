"""The alert rules that are shipped (`rules.yml`), and their thresholds from one's own traffic.

Source:
    https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources

import pandas as pd

from klaviyo_nb.metrics.counters import counted
from klaviyo_nb.metrics.names import DURATIONS, SUCCEEDED, MetricNames
from klaviyo_nb.metrics.rates import increases, latency
from klaviyo_nb.window import Window, iso

#: Span over which the rules count, and how many of them make a baseline: a day.
SPAN, FEWEST = "5min", 288
#: Calls in a span that make a share or a quantile [calls].
LEAST_CALLS = 20
#: What is usual: this quantile of a day's spans; an alert begins at this many times that.
USUAL, TIMES = 0.99, 2.0
#: No threshold of a share is higher: an alert that half of all calls do not raise is none.
MOST_SHARE = 0.5

#: Selectors of `rules.yml`.
_EVERY, _FAILED = "klaviyo_api_requests_total", "klaviyo_api_errors_total"
_SUCCEEDED = f'{_EVERY}{{status="success"}}'
_REFUSED, _DOWN = f'{_FAILED}{{status_code="429"}}', f'{_FAILED}{{status_code=~"5..|unknown"}}'
_BUCKET, _COUNT = "klaviyo_api_duration_seconds_bucket", "klaviyo_api_duration_seconds_count"
#: Statuses that are codes, and those of calls that had a 5xx or no answer.
_CODE, _NO_ANSWER = r"[1-5][0-9x][0-9x]", "5[0-9x][0-9x]|(?i:unknown|timeout|(io|client)_error)"


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of `rules.yml`, each by the name in its comment there.

    Attributes:
        error_share: Share of an endpoint's calls that fail in five minutes [1].
        throttled: Calls to an endpoint that are throttled in five minutes [calls].
        p95_s: 95th percentile of an endpoint's durations [s].
        down: Calls with a 5xx or no answer in five minutes, while none succeeds [calls].
    """

    error_share: float = 0.05
    throttled: float = 10
    p95_s: float = 3.0
    down: float = 20


def limits(metrics: pd.DataFrame) -> Limits:
    """Thresholds that a usual five minutes do not come near.

    Errors, throttling and latency: twice the 99th percentile of a usual day's five-minute spans of the worst
    endpoint, or the published threshold, whichever is higher. Calls that fail while none succeeds: half of
    the calls of a usual span, where that is fewer than the published 20, which few calls would never reach;
    at least 5. What fewer spans than a day's tell of stays as published.

    Args:
        metrics: METRICS frame of the baseline.
    """
    published, steps = Limits(), increases(metrics)
    calls = _spans(steps)
    busy = calls.loc[calls >= LEAST_CALLS]
    failed = _spans(steps[steps["status"] != "success"]).reindex(busy.index, fill_value=0.0)
    errors = counted(metrics, "errors")
    told = errors if len(errors) else steps
    refused = _spans(told[told["status"] == "429"]).reindex(calls.index, fill_value=0.0)
    total = calls.groupby(level=0).sum()
    usual = float(total.median()) if len(total) >= FEWEST else math.inf
    return Limits(
        error_share=min(MOST_SHARE, _at_least(published.error_share, _usual(failed / busy))),
        throttled=_at_least(published.throttled, _usual(refused)),
        p95_s=_at_least(published.p95_s, _usual(_durations(metrics))),
        down=math.ceil(min(published.down, max(5.0, usual / 2))),
    )


def _spans(steps: pd.DataFrame) -> pd.Series[float]:
    """Calls by span and endpoint."""
    keys = [steps["timestamp"].dt.floor(SPAN), steps["endpoint"].fillna("")]
    sums: pd.Series[float] = steps["calls"].groupby(keys).sum()
    return sums


def _durations(metrics: pd.DataFrame) -> pd.Series[float]:
    """95th percentile by span and endpoint, where enough calls make one."""
    found = {"": pd.Series(dtype="float64")}
    for endpoint in counted(metrics, "duration_bucket")["endpoint"].dropna().unique():
        table = latency(metrics, SPAN, endpoint).set_index("timestamp")
        found[endpoint] = table.loc[table["calls"] >= LEAST_CALLS, "p95_s"]
    every: pd.Series[float] = pd.concat(found).swaplevel()
    return every


def _usual(spans: pd.Series[float]) -> float | None:
    """The usual value of the worst endpoint, of those that have a day of spans: its median over days.

    A bad day may be the reason why somebody tunes the rules; it is not usual.
    """
    if spans.empty:
        return None
    number, endpoint = (spans.index.get_level_values(level) for level in (0, 1))
    day = ((number - number.min()) // pd.Timedelta(days=1)).rename("day")
    usual = spans.groupby([endpoint, day]).quantile(USUAL).groupby(level=0).median()
    known = usual[spans.groupby(level=1).size() >= FEWEST]
    return float(known.max()) if len(known) else None


def _at_least(published: float, usual: float | None) -> float:
    return published if usual is None else max(published, _round(TIMES * usual))


def _round(value: float) -> float:
    """Up to two digits, as a person would write it."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit - 1e-9) * unit, 6)


def shipped() -> str:
    """The rules as they are published with this package."""
    return resources.files("klaviyo_nb.metrics").joinpath("rules.yml").read_text("utf-8")


def fitted(names: MetricNames, metrics: pd.DataFrame) -> str | None:
    """The rules for the series that a server has, as they are shipped where it has those.

    Where the counter of calls tells itself how they ended, its failures stand for a counter of errors.
    A rule that nothing on the server could make fire is left out, which a comment says.

    Args:
        names: What was asked for.
        metrics: METRICS frame that came.

    Returns:
        None if no call was counted, or nothing tells of some whether they failed.
    """
    rows = metrics[(metrics["role"] == "requests").to_numpy()].drop_duplicates("series")
    requests = _used(names.requests, rows)
    if requests is None or rows["status"].isna().any():
        return None
    coded = bool(rows["status"].astype("str").str.fullmatch(_CODE).any())
    errors = _used(names.errors, metrics[(metrics["role"] == "errors").to_numpy()])
    if errors is None and requests in MetricNames().requests:
        errors = names.errors[0] if names.errors else None  # it has no series before the first error
    every, absent = names.selector_of(requests), {}
    if coded or errors is None:
        found = _of_one(every, names, rows, coded)
    else:
        found = _of_two(every, names.selector_of(errors), names)
    if not coded and errors is None:
        absent["KlaviyoRateLimited"] = f"no label of {every} tells a 429"
    timed = _used(names.duration, metrics[(metrics["role"] == "duration_bucket").to_numpy()], "_bucket")
    if timed is None and requests in MetricNames().requests:
        timed = next(iter(names.duration), None)  # as published, though it has no series yet
    if timed:
        found |= _durations_of(names.selector_of(timed, "_bucket"))
    else:
        absent["KlaviyoHighLatency"] = "no histogram of durations was found beside it"
    return _written(found, names.labels["endpoint"], absent)


def _used(names: Sequence[str], rows: pd.DataFrame, end: str = "") -> str | None:
    """Of several names for one role the one whose series came."""
    came = set(rows["name"].dropna().unique())
    return next((name for name in names if _metric(name).removesuffix(end) + end in came), None)


def _metric(selector: str) -> str:
    return selector.partition("{")[0]


def _with(selector: str, matcher: str) -> str:
    return f"{selector[:-1]},{matcher}}}" if selector.endswith("}") else f"{selector}{{{matcher}}}"


def _quoted(pattern: str) -> str:
    return '"' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _of_two(every: str, failed: str, names: MetricNames) -> dict[str, str]:
    """Shipped selector → ours, where errors have a counter of their own."""
    status, code = names.labels["status"], names.labels["status_code"]
    well = f'{status}="success"' if names.succeeded == SUCCEEDED else f"{status}=~{_quoted(names.succeeded)}"
    return {
        _REFUSED: _with(failed, f'{code}="429"'),
        _DOWN: _with(failed, f'{code}=~"5..|unknown"'),
        _FAILED: failed,
        _SUCCEEDED: _with(every, well),
        _EVERY: every,
    }


def _of_one(every: str, names: MetricNames, rows: pd.DataFrame, coded: bool) -> dict[str, str]:
    """Shipped selector → ours, where the counter of calls tells how each ended."""
    labels = [json.loads(each) for each in rows["series"].astype("str")]
    either = [names.labels[name] for name in ("status", "status_code")]
    status = next((label for label in either if any(each.get(label) for each in labels)), either[0])
    silent = any(not each.get(status) for each in labels)  # no answer came, as OpenTelemetry counts it
    well = _quoted(names.succeeded)
    failed = _with(every, f"{status}!~{well}")
    return {
        _REFUSED: _with(every, f'{status}="429"'),
        _DOWN: _with(every, f"{status}=~{_quoted(_NO_ANSWER + '|' * silent)}") if coded else failed,
        _FAILED: failed,
        _SUCCEEDED: _with(every, f"{status}=~{well}"),
        _EVERY: every,
    }


def _durations_of(bucket: str) -> dict[str, str]:
    """Shipped selector → ours, for durations; in seconds, as the threshold is."""
    base = _metric(bucket).removesuffix("_bucket")
    unit = DURATIONS.search(base)
    rate = f"sum by (endpoint, le) (rate({bucket}[5m])))"
    return {
        f"sum by (endpoint, le) (rate({_BUCKET}[5m])))": f"{rate} / 1000" if unit and unit[1] else rate,
        _COUNT: f"{base}_count{bucket.removeprefix(_metric(bucket))}",
    }


def _written(selectors: Mapping[str, str], endpoint: str, absent: Mapping[str, str]) -> str:
    """The rules with these selectors, without those that are absent, whose reasons a comment tells."""
    head, groups, rules = shipped().partition("groups:\n")
    told = "|".join(map(re.escape, sorted(selectors, key=len, reverse=True)))
    written = re.sub(told, lambda found: selectors[found[0]], rules)
    written = re.sub(r"(?<=by \()endpoint\b", endpoint, written)
    for rule in absent:
        written = re.sub(rf"      - alert: {rule}\n(?:        .*\n)+", "", written)
    if written == rules:
        return shipped()
    written = written.replace("$labels.endpoint", f'or $labels.{endpoint} "Klaviyo"')
    head += f"# The selectors are those of {selectors[_EVERY]}.\n"
    head += "".join(f"# Not here: {rule}: {why}.\n" for rule, why in absent.items())
    return head + groups + written


def tuned(limits: Limits, baseline: Window, text: str | None = None) -> str:
    """The rules (those that are shipped, or `text`) with these thresholds, and where they come from."""
    text, usual = text or shipped(), Limits()
    told = [f"# Thresholds from {iso(baseline.start)} to {iso(baseline.end)}:"]
    for each in fields(limits):
        value, before = getattr(limits, each.name), getattr(usual, each.name)
        text = re.sub(rf"(?<=[>=] )\S+(?= # {each.name}$)", f"{value:g}", text, flags=re.MULTILINE)
        told.append(f"#   {each.name} {value:g}" + ("" if value != before else ", as published"))
    return "\n".join([*told, text])
