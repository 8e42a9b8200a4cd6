from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.klaviyo import revisions
from klaviyo_nb.klaviyo.endpoints import SIZES, catalogue, generic_template

ULID = "01GDDKASAP8TKDDA2GRZDSVP4H"


def test_the_catalogue_is_the_newest_revision_whole():
    assert catalogue().revision == revisions.NEWEST
    assert len(catalogue().endpoints) == 345
    assert {endpoint.size for endpoint in catalogue().endpoints} == {*SIZES, None}
    assert len({scope for endpoint in catalogue().endpoints for scope in endpoint.scopes}) == 46


def test_every_operation_is_found_again_by_its_own_path_and_name():
    for endpoint in catalogue().endpoints:
        path = endpoint.path.replace("{id}", ULID).replace("{job_id}", "7")
        assert catalogue().match(endpoint.method, f"https://a.klaviyo.com{path}/?page=2") is endpoint
        for name in (endpoint.operation_id, *endpoint.aliases):
            assert catalogue().by_operation(name) is endpoint


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("get_accounts", {1: 1, 60: 15}),
        ("create_event", {1: 350, 60: 3500}),
        ("get_profiles", {1: 75, 60: 750}),
        ("query_flow_values", {1: 1, 60: 2, 86400: 225}),
        ("create_client_subscription", {1: 350, 60: 750}),
        ("create_segment", {1: 1, 60: 15, 86400: 100}),
    ],
)
def test_limits_are_per_window(name, limits):
    assert catalogue().by_operation(name).limits == limits


def test_some_query_parameters_bring_tighter_limits():
    (limit,) = catalogue().by_operation("get_profiles").conditional
    assert (limit.when, limit.burst) == ("additional-fields[profile]=predictive_analytics", 10)


@pytest.mark.parametrize(
    ("method", "text", "template"),
    [
        ("GET", f"/api/profiles/{ULID}", "/api/profiles/{id}"),
        (None, f"/api/profiles/{ULID}/", "/api/profiles/{id}"),
        ("GET", "https://a.klaviyo.com/api/events/?filter=x/y#z", "/api/events"),
        ("GET", "a.klaviyo.com/api/events", "/api/events"),
        ("get", "//a.klaviyo.com:443/api/events", "/api/events"),
        ("GET", "/api/profiles/:id", "/api/profiles/{id}"),
        ("GET", "/api/lists/Y6nRLr/relationships/profiles", "/api/lists/{id}/relationships/profiles"),
        ("BREW", "/api/profiles", "/api/profiles"),
        ("POST", "/api/v2/list/Y6nRLr/members", "/api/v2/list/{id}/members"),
        ("GET", "/api/track", "/api/track"),
        ("GET", "/orders/1234/items/9f8e7d6c-0000-4000-8000-000000000000", "/orders/{id}/items/{id}"),
        ("GET", "/users/ann@example.com", "/users/{id}"),
        ("GET", "/" + "a/" * 30, "/" + "a/" * 12 + "…"),
        ("GET", "/" + "a" * 99, "/{id}"),
        ("GET", "", "/"),
    ],
)
def test_a_path_becomes_its_template(method, text, template):
    assert catalogue().template(method, text) == template


def test_without_a_method_an_operation_is_named_only_if_it_is_the_only_one():
    assert catalogue().match(None, "/api/accounts").operation_id == "get_accounts"
    assert catalogue().match(None, "/api/profiles") is None
    assert {each.method for each in catalogue().operations("/api/profiles")} == {"GET", "POST"}


@pytest.mark.parametrize(
    "text", ["", "/", "/api", "/health", "https://example.com/", "/api/profiles/a/b/c/d"]
)
def test_what_is_not_klaviyos_is_not_matched(text):
    assert catalogue().match("GET", text) is None
    assert catalogue().operations(text) == ()


@pytest.mark.parametrize("name", ["getProfiles", "GetProfiles", "get_profiles"])
def test_an_operation_is_known_in_every_sdks_spelling(name):
    assert catalogue().by_operation(name).path == "/api/profiles"


def test_an_unknown_operation_is_none():
    assert catalogue().by_operation("brew_coffee") is None


@given(st.text())
def test_any_text_has_a_template_and_a_template_is_its_own(text):
    once = catalogue().template("GET", text)
    assert catalogue().template("GET", once) == once
    assert generic_template(text).startswith("/")


def test_a_deep_path_costs_no_more_than_a_shallow_one():
    started = time.perf_counter()
    catalogue().template("GET", "/api" * 100_000)
    assert time.perf_counter() - started < 1
