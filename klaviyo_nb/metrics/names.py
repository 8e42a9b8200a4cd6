"""Which metrics and labels tell of Klaviyo: the `[metrics]` table of `klaviyo-nb.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from klaviyo_nb.errors import UsageError
from klaviyo_nb.window import parse_duration

#: What a series can be, as in the METRICS frame.
ROLES = ("requests", "errors", "duration", "ratelimit_remaining", "webhooks")
#: Label of ours → label on the server.
LABELS = MappingProxyType(
    {
        "endpoint": "endpoint",
        "method": "method",
        "status": "status",
        "status_code": "status_code",
        "error_code": "error_code",
        "error_type": "error_type",
    }
)
#: Values of a status label that mean the call did not fail; every other value means that it did.
SUCCEEDED = r"success|succeeded|ok|[123][0-9x][0-9x]"
#: Which alerts are ours, as label matchers: those of the whole company may be on the same server.
ALERTS = 'alertname=~"(?i).*klaviyo.*"'

#: Ends of the names of histograms of durations; their bounds are in milliseconds if that group matches.
DURATIONS = re.compile(r"_(?:seconds|(milliseconds|ms))$")
#: Seconds between samples, if neither the samples nor the table tell.
SCRAPED_S = 15

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})?|\{__name__=\".*\}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Names on the server, each with label matchers in braces where it needs them.

    A name with dots is written whole, as `{__name__="http.client.request.duration_count"}`.

    Where there are several for one role, the first that has series is used.

    Attributes:
        requests: Counters of all calls, by method, endpoint and status.
        errors: Counters of failed calls, by endpoint, status code and error code.
        duration: Histograms of call durations [s, or ms if the name ends so]; `_bucket` is added.
        ratelimit_remaining: Gauges of calls left in Klaviyo's window.
        webhooks: Counters of webhooks received.
        labels: As `LABELS`.
        succeeded: Regular expression for the status labels of calls that did not fail.
        selector: Label matchers added to every query but that for alerts, such as `namespace="shop"`.
        alerts: Label matchers of the alerts that concern Klaviyo; empty: they are not asked for.
        scrape_interval_s: How often the server reads the application, whole seconds; None: as samples tell.
    """

    requests: tuple[str, ...] = ("klaviyo_api_requests_total",)
    errors: tuple[str, ...] = ("klaviyo_api_errors_total", "klaviyo_errors_total")
    duration: tuple[str, ...] = ("klaviyo_api_duration_seconds",)
    ratelimit_remaining: tuple[str, ...] = ("klaviyo_rate_limit_remaining",)
    webhooks: tuple[str, ...] = ("klaviyo_webhook_received_total",)
    labels: Mapping[str, str] = field(default_factory=lambda: LABELS)
    succeeded: str = SUCCEEDED
    selector: str = ""
    alerts: str = ALERTS
    scrape_interval_s: int | None = None

    def expressions(self) -> dict[str, tuple[str, ...]]:
        """Role in the METRICS frame → selectors to try, in order; no role whose name was emptied."""
        found = {}
        for role in ROLES:
            if names := getattr(self, role):
                key, end = ("duration_bucket", "_bucket") if role == "duration" else (role, "")
                found[key] = tuple(self.selector_of(name, end) for name in names)
        if self.alerts:
            found["alerts"] = (f'ALERTS{{alertstate="firing",{self.alerts}}}',)
        return found

    def selector_of(self, name: str, end: str = "") -> str:
        """One name with the matchers that every query has; `end` is added to it."""
        metric, _, own = name.removesuffix("}").partition("{")
        inside = ",".join(filter(None, (own, self.selector)))
        return (metric and metric.removesuffix(end) + end) + (f"{{{inside}}}" if inside else "")

    def status(self, labels: Mapping[str, str], role: str) -> str | None:
        """The status of a series; `success` and `error` where this table redefines what they are."""
        first, second = ("status_code", "status") if role == "errors" else ("status", "status_code")
        found = labels.get(self.labels[first]) or labels.get(self.labels[second])
        if not found and labels.get(self.labels["error_type"]):
            return "unknown"  # no answer came, as OpenTelemetry says it
        if not found or self.succeeded == SUCCEEDED:
            return found or None
        if re.fullmatch(self.succeeded, found):
            return "success"
        return "error" if re.fullmatch(SUCCEEDED, found) else found


def from_table(table: Mapping[str, Any]) -> MetricNames:
    """Read the `[metrics]` table.

    A metric name is a text or a list of texts; an empty text means: do not ask for it. `labels` is a table,
    `scrape_interval` a duration such as `30s`. `headers` and `tls` are `client.fetch`'s, and passed over.

    Raises:
        UsageError: A key is unknown, or a value is malformed. Names the key.
    """
    known = {each.name for each in fields(MetricNames)} - {"scrape_interval_s"} | {"scrape_interval"}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("headers", "tls"):
            continue
        if key not in known:
            raise _wrong(
                key, "no such setting", f"use one of: {', '.join(sorted(known | {'headers', 'tls'}))}"
            )
        name, read = (
            ("scrape_interval_s", _interval) if key == "scrape_interval" else (key, _READERS.get(key, _names))
        )
        values[name] = read(key, value)
    return MetricNames(**values)


def _names(key: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else (None,)
    names = tuple(name for name in names if name != "")
    if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise _wrong(key, f"{value!r} is not a metric name or a list of them", f'{key} = "my_{key}_total"')
    return names


def _labels(key: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(key, "must be a table", 'labels = { endpoint = "route" }')
    for ours, theirs in value.items():
        if ours not in LABELS:
            raise _wrong(f"{key}.{ours}", "no such label", f"use one of: {', '.join(LABELS)}")
        if not isinstance(theirs, str) or not _LABEL.fullmatch(theirs):
            raise _wrong(f"{key}.{ours}", f"{theirs!r} is not a label name", f'{ours} = "{ours}"')
    return {**LABELS, **value}


def _pattern(key: str, value: Any) -> str:
    try:
        re.compile(value)
    except (TypeError, re.error):
        raise _wrong(key, f"{value!r} is not a regular expression", f"{key} = 'success|2..'") from None
    return str(value)


def _selector(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(key, f"{value!r} is not a text", f"{key} = 'service=\"shop\"'")
    return value.strip().removeprefix("{").removesuffix("}").strip()


def _interval(key: str, value: Any) -> int:
    seconds = parse_duration(str(value), f"klaviyo-nb.toml: metrics.{key}").total_seconds()
    if seconds < 1 or seconds % 1:
        raise _wrong(key, f"{value!r} is not a whole number of seconds", f'{key} = "15s"')
    return int(seconds)


_READERS = {"labels": _labels, "succeeded": _pattern, "selector": _selector, "alerts": _selector}


def _wrong(key: str, what: str, hint: str) -> UsageError:
    return UsageError(f"klaviyo-nb.toml: metrics.{key}", what, hint)
