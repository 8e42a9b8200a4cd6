from __future__ import annotations

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.metrics.names import MetricNames, from_table


def test_an_empty_table_gives_the_published_names():
    names = from_table({})
    assert names == MetricNames()
    assert names.expressions() == {
        "requests": ("klaviyo_api_requests_total",),
        "errors": ("klaviyo_api_errors_total", "klaviyo_errors_total"),
        "duration_bucket": ("klaviyo_api_duration_seconds_bucket",),
        "ratelimit_remaining": ("klaviyo_rate_limit_remaining",),
        "webhooks": ("klaviyo_webhook_received_total",),
        "alerts": ('ALERTS{alertstate="firing",alertname=~"(?i).*klaviyo.*"}',),
    }


def test_every_name_label_and_meaning_can_be_chosen():
    names = from_table(
        {
            "requests": "http_client_requests_total",
            "duration": ["a_seconds_bucket", "b_seconds"],
            "webhooks": "",
            "labels": {"endpoint": "route"},
            "succeeded": "fine",
            "alerts": 'service="shop"',
            "selector": '{host="a.klaviyo.com"}',
            "scrape_interval": "1m",
            "headers": {"X-Scope-OrgID": "shop"},
        }
    )
    assert names.expressions()["requests"] == ('http_client_requests_total{host="a.klaviyo.com"}',)
    assert names.expressions()["duration_bucket"] == (
        'a_seconds_bucket{host="a.klaviyo.com"}',
        'b_seconds_bucket{host="a.klaviyo.com"}',
    )
    assert "webhooks" not in names.expressions()
    assert names.expressions()["alerts"] == ('ALERTS{alertstate="firing",service="shop"}',)
    assert names.labels["endpoint"] == "route"
    assert names.labels["method"] == "method"
    assert names.scrape_interval_s == 60


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"request": "x"}, "metrics.request"),
        ({"requests": "not a name"}, "metrics.requests"),
        ({"requests": 7}, "metrics.requests"),
        ({"requests": ["fine", 7]}, "metrics.requests"),
        ({"labels": "endpoint"}, "metrics.labels"),
        ({"labels": {"route": "endpoint"}}, "metrics.labels.route"),
        ({"labels": {"endpoint": "a-b"}}, "metrics.labels.endpoint"),
        ({"labels": {"endpoint": 3}}, "metrics.labels.endpoint"),
        ({"succeeded": "("}, "metrics.succeeded"),
        ({"succeeded": 200}, "metrics.succeeded"),
        ({"selector": 1}, "metrics.selector"),
        ({"alerts": ["KlaviyoDown"]}, "metrics.alerts"),
        ({"scrape_interval": "soon"}, "metrics.scrape_interval"),
        ({"scrape_interval": "500ms"}, "metrics.scrape_interval"),
    ],
)
def test_a_malformed_table_names_the_key_and_what_to_write(table: dict[str, object], where: str):
    with pytest.raises(UsageError) as caught:
        from_table(table)
    assert caught.value.where.endswith(where)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("labels", "role", "succeeded", "status"),
    [
        ({"status": "error"}, "requests", None, "error"),
        ({"status_code": "202"}, "requests", None, "202"),
        ({"status": "error", "status_code": "429"}, "errors", None, "429"),
        ({"status": "429"}, "errors", None, "429"),
        ({}, "requests", None, None),
        ({"status": ""}, "requests", None, None),
        ({"status": "fine"}, "requests", "fine", "success"),
        ({"status": "ok"}, "requests", "fine", "error"),
        ({"status": "503"}, "requests", "fine", "503"),
    ],
)
def test_the_status_stands_as_it_is_unless_its_meaning_was_chosen(
    labels: dict[str, str], role: str, succeeded: str | None, status: str | None
):
    names = from_table({"succeeded": succeeded} if succeeded else {})
    assert names.status(labels, role) == status
