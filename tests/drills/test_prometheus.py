from __future__ import annotations

from datetime import datetime

import pytest

from klaviyo_nb.drills.counters import SCRAPE_S, Scraped, scrape
from klaviyo_nb.drills.prometheus import LOOKBACK_S, query_range
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import tell

A = (("__name__", "calls_total"), ("endpoint", "/api/events"), ("status", "success"))
B = (("__name__", "calls_total"), ("endpoint", "/api/lists"), ("status", "error"))


@pytest.fixture
def scraped() -> Scraped:
    """Two series over ten scrapes; the second is born at the fifth."""
    found = Scraped(first=1000.0)
    for number in range(10):
        found.add({A: float(number)} | ({B: 1.5} if number >= 4 else {}))
    return found


def ask(
    scraped: Scraped, query: str, start: float = 1000, end: float = 1135, step: str = "15"
) -> tuple[int, dict]:  # type: ignore[type-arg]
    return query_range(scraped, {"query": query, "start": str(start), "end": str(end), "step": step})


def endpoints(scraped: Scraped, query: str) -> list[str]:
    status, document = ask(scraped, query)
    assert status == 200, document
    return [series["metric"]["endpoint"] for series in document["data"]["result"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("calls_total", ["/api/events", "/api/lists"]),
        ('calls_total{status="error"}', ["/api/lists"]),
        ('calls_total{status!="error",}', ["/api/events"]),
        ('calls_total{endpoint=~"/api/(events|flows)"}', ["/api/events"]),
        ('calls_total{endpoint!~".*events"}', ["/api/lists"]),
        ('{__name__=~"calls.*", status="success"}', ["/api/events"]),
        ('calls_total{absent=""}', ["/api/events", "/api/lists"]),
        ("others_total", []),
    ],
)
def test_plain_selectors_choose_series(scraped: Scraped, query: str, found: list[str]) -> None:
    assert endpoints(scraped, query) == found


def test_samples_stand_at_the_steps_asked_for_as_text(scraped: Scraped) -> None:
    _, document = ask(scraped, 'calls_total{status="success"}', 1030, 1060, "15s")
    assert document["data"]["resultType"] == "matrix"
    assert document["data"]["result"][0]["values"] == [[1030.0, "2"], [1045.0, "3"], [1060.0, "4"]]


def test_a_series_has_no_sample_before_it_was_born(scraped: Scraped) -> None:
    _, document = ask(scraped, 'calls_total{status="error"}')
    values = document["data"]["result"][0]["values"]
    assert values[0] == [1060.0, "1.5"]


def test_a_sample_counts_until_it_is_too_old(scraped: Scraped) -> None:
    last = 1000 + 9 * SCRAPE_S
    _, document = ask(scraped, 'calls_total{status="success"}', last, last + LOOKBACK_S, "100")
    assert [at for at, _ in document["data"]["result"][0]["values"]] == [last, last + 100, last + 200]


def test_nothing_was_scraped_before_the_first_scrape(scraped: Scraped) -> None:
    assert ask(scraped, "calls_total", 0, 900)[1]["data"]["result"] == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "rate(calls_total[5m])",
        "calls_total[5m]",
        "sum(calls_total)",
        'a{b="c"',
        'a{b~"c"}',
        'a{b=~"("}',
        "a b",
    ],
)
def test_anything_beyond_a_selector_is_bad_data_and_never_a_wrong_number(
    scraped: Scraped, query: str
) -> None:
    status, document = ask(scraped, query)
    assert (status, document["errorType"]) == (400, "bad_data")
    assert document["error"].startswith('invalid parameter "query"')


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"step": "0"}, "step"),
        ({"step": "soon"}, "step"),
        ({"start": "yesterday"}, "start"),
        ({"end": "0"}, "end"),
        ({"start": "0", "step": "0.05"}, "11,000 points"),
    ],
)
def test_a_range_that_cannot_be_is_refused_in_the_words_of_the_api(
    scraped: Scraped, changes: dict[str, str], says: str
) -> None:
    form = {"query": "calls_total", "start": "1000", "end": "1135", "step": "15"} | changes
    status, document = query_range(scraped, form)
    assert status == 400
    assert says in document["error"]


def test_times_may_be_iso_8601(now: datetime) -> None:
    scraped = scrape(tell(SCENARIOS["healthy"], 1, now))
    form = {
        "query": "klaviyo_api_requests_total",
        "start": "2026-11-23T06:00:00Z",
        "end": "2026-11-23T06:01:00Z",
    }
    status, document = query_range(scraped, form | {"step": "30s"})
    assert status == 200
    assert len(document["data"]["result"][0]["values"]) == 3
