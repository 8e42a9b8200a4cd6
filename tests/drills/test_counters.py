from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest

from klaviyo_nb.drills.counters import SCRAPE_S, Scraped, exposition, scrape
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import endpoint_of, tell

FAMILIES = {
    "klaviyo_api_requests_total",
    "klaviyo_api_errors_total",
    "klaviyo_api_duration_seconds_bucket",
    "klaviyo_api_duration_seconds_sum",
    "klaviyo_api_duration_seconds_count",
    "klaviyo_rate_limit_remaining",
    "klaviyo_webhook_received_total",
}


@pytest.mark.parametrize("name", ["rate_limited", "klaviyo_outage", "healthy"])
def test_the_counters_grow_over_the_window_by_the_calls_of_the_truth(name: str, now: datetime) -> None:
    made = tell(SCENARIOS[name], 2, now)
    scraped = scrape(made)
    grown = _growth(scraped, made.window.start.timestamp())
    assert grown["klaviyo_api_requests_total"] == made.counts.calls
    assert grown["klaviyo_api_errors_total"] == made.counts.failed_calls
    assert grown["klaviyo_api_duration_seconds_count"] == made.counts.calls
    assert grown["klaviyo_webhook_received_total"] == made.counts.deliveries


def test_errors_are_split_by_endpoint_as_in_the_truth(now: datetime) -> None:
    made = tell(SCENARIOS["rate_limited"], 2, now)
    split: Counter[str] = Counter()
    for labels, (_, values) in scrape(made).series.items():
        named = dict(labels)
        if named["__name__"] == "klaviyo_api_errors_total":
            split[named["endpoint"]] += int(values[-1])
    before = Counter(endpoint_of(call.operation).path for call in made.calls
                     if call.way != "ok" and call.at < made.window.start.timestamp())  # fmt: skip
    assert split - before == Counter(made.counts.failed_by)


def test_a_series_is_absent_until_its_first_call(now: datetime) -> None:
    scraped = scrape(tell(SCENARIOS["invalid_key"], 1, now))
    born = {dict(labels)["status_code"]: first for labels, (first, _) in scraped.series.items()
            if "status_code" in dict(labels)}  # fmt: skip
    assert born["401"] * SCRAPE_S > 80 * 60


def test_buckets_are_cumulative_and_end_in_all_calls(now: datetime) -> None:
    last = {
        labels: values[-1]
        for labels, (_, values) in scrape(tell(SCENARIOS["healthy"], 1, now)).series.items()
    }
    rows = [(dict(labels), value) for labels, value in last.items()]
    buckets = {row["le"]: value for row, value in rows
               if row["__name__"].endswith("_bucket") and row["endpoint"] == "/api/events"}  # fmt: skip
    bounds = sorted(buckets, key=float)
    assert [buckets[bound] for bound in bounds] == sorted(buckets.values())
    counts = [value for row, value in rows
              if row["__name__"].endswith("_count") and row["endpoint"] == "/api/events"]  # fmt: skip
    assert counts == [buckets["+Inf"]]


def test_the_exposition_names_every_family(now: datetime) -> None:
    text = exposition(scrape(tell(SCENARIOS["klaviyo_outage"], 1, now)))
    assert {line.partition("{")[0] for line in text.splitlines()} == FAMILIES
    assert 'klaviyo_api_errors_total{endpoint="/api/events",error_code="error",status_code="503"}' in text


def _growth(scraped: Scraped, since: float) -> Counter[str]:
    number = int((since - scraped.first) // SCRAPE_S)
    grown: Counter[str] = Counter()
    for labels, (born, values) in scraped.series.items():
        before = values[number - born] if number >= born else 0.0
        grown[dict(labels)["__name__"]] += int(values[-1] - before)
    return grown
