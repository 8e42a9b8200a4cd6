"""The counters that the pretend application exposes, counted from the same calls as the logs.

Source:
    https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

from klaviyo_nb.drills.traffic import WARM_UP, Call, Delivery, Story, endpoint_of
from klaviyo_nb.drills.ways import WAYS

SCRAPE_S = 15
#: Upper bounds of the duration histogram [s].
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Scraped:
    """What a metrics server has stored of one application.

    Attributes:
        first: Time of the first scrape [s since the epoch].
        scrapes: How many there were, `SCRAPE_S` apart.
        series: Labels with `__name__` → number of its first scrape, and its values from there on.
    """

    first: float
    scrapes: int = 0
    series: dict[Labels, tuple[int, list[float]]] = field(default_factory=dict)

    def add(self, values: dict[Labels, float]) -> None:
        """Store one scrape."""
        for labels, value in values.items():
            if labels not in self.series:
                self.series[labels] = (self.scrapes, [])
            self.series[labels][1].append(value)
        self.scrapes += 1


def scrape(story: Story) -> Scraped:
    """Everything that was scraped, from the start of the application to the end of the window."""
    start, end = (story.window.start - WARM_UP).timestamp(), story.window.end.timestamp()
    first = start - start % SCRAPE_S
    scraped, values = Scraped(first), dict[Labels, float]()
    unsorted: list[Call | Delivery] = [*story.calls, *story.deliveries]
    events = deque(sorted(unsorted, key=lambda event: event.at))
    restarts = deque(sorted(end - 60 * ago for ago in story.scenario.restarts_min))
    for number in range(int((end - first) // SCRAPE_S) + 1):
        if restarts and restarts[0] <= first + number * SCRAPE_S:
            restarts.popleft()
            values = dict.fromkeys(values, 0.0)
        while events and events[0].at <= first + number * SCRAPE_S:
            event = events.popleft()
            if isinstance(event, Call):
                _count_call(values, event)
            else:
                _count_delivery(values, event)
        scraped.add(values)
    return scraped


def exposition(scraped: Scraped) -> str:
    """The last scrape as text, as `/metrics` shows it."""
    lines = []
    for labels, (_, values) in sorted(scraped.series.items()):
        pairs = ",".join(f'{name}="{value}"' for name, value in labels if name != "__name__")
        lines.append(f"{dict(labels)['__name__']}{{{pairs}}} {values[-1]:.12g}\n")
    return "".join(lines)


def _count_call(values: dict[Labels, float], call: Call) -> None:
    counted, total, limit = _touched(call.operation, call.way, bisect_left(BUCKETS, call.duration_s))
    for labels in counted:
        values[labels] = values.get(labels, 0.0) + 1
    values[total] = values.get(total, 0.0) + call.duration_s
    if call.remaining is not None:
        values[limit] = float(call.remaining)


@lru_cache(maxsize=1024)
def _touched(operation: str, way_name: str, bucket: int) -> tuple[tuple[Labels, ...], Labels, Labels]:
    """The series that count one such call, the one that adds its duration, and the gauge of the limit."""
    endpoint, way, name = endpoint_of(operation), WAYS[way_name], "klaviyo_api_duration_seconds"
    where = {"method": endpoint.method, "endpoint": endpoint.path}
    status = "success" if way_name == "ok" else "error"
    bounds = [*(f"{bound:g}" for bound in BUCKETS[bucket:]), "+Inf"]
    counted = [
        _labels("klaviyo_api_requests_total", **where, status=status),
        _labels(f"{name}_count", **where),
        *(_labels(f"{name}_bucket", **where, le=bound) for bound in bounds),
    ]
    if status == "error":
        codes = {"status_code": str(way.status or "unknown"), "error_code": way.code or "unknown"}
        counted.append(_labels("klaviyo_api_errors_total", endpoint=endpoint.path, **codes))
    return tuple(counted), _labels(f"{name}_sum", **where), _labels("klaviyo_rate_limit_remaining")


def _count_delivery(values: dict[Labels, float], delivery: Delivery) -> None:
    labels = _labels("klaviyo_webhook_received_total", topic=delivery.topic)
    values[labels] = values.get(labels, 0.0) + 1


def _labels(name: str, **labels: str) -> Labels:
    return tuple(sorted((labels | {"__name__": name}).items()))
