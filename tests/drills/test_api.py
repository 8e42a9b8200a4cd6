from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from klaviyo_nb.drills.api import PretendKlaviyo
from klaviyo_nb.drills.resources import RESOURCES
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.worlds import Reply, Request
from klaviyo_nb.klaviyo.endpoints import catalogue

EVENT = {"properties": {}, "metric": {"data": {}}, "profile": {"data": {}}}


class Asking:
    """A pretend Klaviyo with its key at hand and a clock that a test can turn."""

    def __init__(self, now: datetime, scenario: str = "healthy") -> None:
        self.now, self.key = now, "pk_" + 17 * "0a"
        live = SCENARIOS[scenario].live.api
        self.klaviyo = PretendKlaviyo(self.key, live, 1, lambda: self.now.timestamp())

    def __call__(self, method: str, target: str, document: object = None, **headers: str) -> Reply:
        found = {"Authorization": f"Klaviyo-API-Key {self.key}", "Revision": "2026-07-15"}
        found |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = json.dumps(document).encode() if document is not None else b""
        return self.klaviyo.reply(Request(method, target, found, sent))


@pytest.fixture
def ask(now: datetime) -> Asking:
    return Asking(now)


def error(reply: Reply) -> dict[str, object]:
    (found,) = json.loads(reply.body)["errors"]
    return dict(found)


def test_the_key_opens_the_account(ask: Asking) -> None:
    reply = ask("GET", "/api/accounts")
    assert reply.status == 200
    assert json.loads(reply.body)["data"][0]["attributes"]["public_api_key"] == reply.headers["Cid"]
    assert reply.headers["RateLimit-Limit"] == "1, 1;w=1, 15;w=60"
    assert reply.headers["RateLimit-Remaining"] == "0"
    assert reply.headers["X-Klaviyo-Api-Revision"] == "2026-07-15"
    assert "X-Klaviyo-Api-Retirement-Date" not in reply.headers


def test_a_sparse_fieldset_leaves_the_rest_of_the_account_out(ask: Asking) -> None:
    reply = ask("GET", "/api/accounts?fields%5Baccount%5D=timezone")
    assert list(json.loads(reply.body)["data"][0]["attributes"]) == ["timezone"]


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ("", "Missing or invalid private key."),
        ("Klaviyo-API-Key pk_wrong", "Missing or invalid private key."),
        ("Bearer token", "Missing or invalid private key."),
        ("Basic cGs6", "Missing or invalid authorization scheme. Please use Klaviyo-API-Key."),
    ],
)
def test_another_credential_is_a_401_without_limits_revision_or_account(
    ask: Asking, sent: str, detail: str
) -> None:
    reply = ask("GET", "/api/accounts", Authorization=sent)
    assert (reply.status, error(reply)["detail"]) == (401, detail)
    assert reply.headers["Www-Authenticate"] == "Bearer, Klaviyo-API-Key"
    assert error(reply)["id"] == reply.headers["X-Klaviyo-Req-Id"]
    assert not {"RateLimit-Limit", "X-Klaviyo-Api-Revision", "Cid"} & set(reply.headers)


def test_a_control_character_in_the_key_never_gets_past_the_edge(ask: Asking) -> None:
    reply = ask("GET", "/api/accounts", Authorization=f"Klaviyo-API-Key {ask.key}\t")
    assert (reply.status, reply.headers["Cf-Ray"], reply.way.by) == (400, "-", "edge")


def test_a_keyless_call_is_answered_without_a_key_and_even_with_a_revoked_one(now: datetime) -> None:
    path = "/client/ip-allowlists/integration-egress"
    assert Asking(now)("GET", path, Authorization="").status == 200
    assert Asking(now, "invalid_key")("GET", path, Authorization="").status == 200
    assert Asking(now)("GET", "/client/ip-allowlists/other", Authorization="").status == 404


def test_a_full_second_is_a_429_with_a_wait_instead_of_limits_and_frees_again(ask: Asking) -> None:
    assert [ask("GET", "/api/accounts").status for _ in range(2)] == [200, 429]
    refused = ask("GET", "/api/accounts")
    assert refused.headers["Retry-After"] == "1"
    assert error(refused)["detail"] == "Request was throttled. Expected available in 1 second."
    assert "RateLimit-Limit" not in refused.headers
    ask.now += timedelta(seconds=1)
    assert ask("GET", "/api/accounts").status == 200


def test_a_full_minute_is_a_429_until_the_minute_ends(ask: Asking) -> None:
    statuses = []
    for _ in range(16):
        statuses.append(ask("GET", "/api/accounts").status)
        ask.now += timedelta(seconds=2)
    assert statuses == [200] * 15 + [429]
    assert ask("GET", "/api/accounts").headers["Retry-After"] == "28"


def test_the_runaway_job_leaves_nothing_of_the_minute(now: datetime) -> None:
    ask = Asking(now + timedelta(seconds=20), "rate_limited")
    assert ask("GET", "/api/profiles").headers["Retry-After"] == "40"
    assert ask("GET", "/api/accounts").status == 200


def test_an_event_is_accepted_with_an_empty_body_of_no_type(ask: Asking) -> None:
    reply = ask("POST", "/api/events/", {"data": {"type": "event", "attributes": EVENT}})
    assert (reply.status, reply.body) == (202, "")
    assert "Content-Type" not in reply.headers


@pytest.mark.parametrize("document", [None, [], "x", {"data": None}, {"data": {"type": "event", "attributes": {}}},
                                      {"data": {"type": "event", "attributes": 7}}])  # fmt: skip
def test_what_is_not_an_event_is_a_400_with_limits(ask: Asking, document: object) -> None:
    reply = ask("POST", "/api/events", document)
    assert (reply.status, error(reply)["code"]) == (400, "invalid")
    assert "RateLimit-Limit" in reply.headers


def test_a_profile_is_created_once_and_updated_after_that(ask: Asking) -> None:
    document = {"data": {"type": "profile", "attributes": {"email": "new@example.com"}}}
    assert [ask("POST", "/api/profile-import", document).status for _ in range(2)] == [201, 200]
    again = ask("POST", "/api/profiles", document)
    assert (again.status, error(again)["code"]) == (409, "duplicate_profile")


def test_an_address_that_is_none_is_pointed_at(ask: Asking) -> None:
    reply = ask("POST", "/api/profiles", {"data": {"type": "profile", "attributes": {"email": "nobody"}}})
    assert (reply.status, error(reply)["source"]) == (400, {"pointer": "/data/attributes/email"})


@pytest.mark.parametrize("kind", ["thing", None, ["profile"]])
def test_a_resource_of_another_kind_is_not_written(ask: Asking, kind: object) -> None:
    reply = ask("POST", "/api/profiles", {"data": {"type": kind, "attributes": {}}})
    assert (reply.status, error(reply)["source"]) == (400, {"pointer": "/data/type"})


def test_an_update_keeps_the_id_and_the_address_of_what_it_updates(ask: Asking) -> None:
    document = {"data": {"type": "list", "attributes": {"name": "Friends"}}}
    made = json.loads(ask("PATCH", "/api/lists/List01", document).body)["data"]
    assert (made["id"], made["links"]["self"]) == ("List01", "https://a.klaviyo.com/api/lists/List01/")


def test_a_list_is_read_page_by_page(ask: Asking) -> None:
    first = json.loads(ask("GET", "/api/profiles?page%5Bsize%5D=4").body)
    assert len(first["data"]) == 4
    rest = json.loads(ask("GET", first["links"]["next"].removeprefix("https://a.klaviyo.com")).body)
    assert len(rest["data"]) == 2
    assert "next" not in rest["links"]


@pytest.mark.parametrize(
    "query", ["page%5Bsize%5D=0", "page%5Bsize%5D=x", "page%5Bcursor%5D=zz", "filter=equals(id,%221%22)"]
)
def test_a_query_that_is_not_understood_is_a_400_that_names_the_parameter(ask: Asking, query: str) -> None:
    reply = ask("GET", f"/api/profiles?{query}")
    assert reply.status == 400
    assert "parameter" in str(error(reply)["source"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/profiles/nobody", 404), ("GET", "/api/nowhere", 404), ("PUT", "/api/profiles", 405)],
)
def test_what_is_not_there_is_refused_as_json_api(ask: Asking, method: str, path: str, status: int) -> None:
    reply = ask(method, path)
    assert (reply.status, error(reply)["status"]) == (status, status)


def test_the_retired_apis_answer_410_in_a_shape_of_their_own(ask: Asking) -> None:
    reply = ask("GET", "/api/v2/lists")
    assert reply.status == 410
    assert "retired" in json.loads(reply.body)["message"]


def test_a_deprecated_revision_is_served_with_its_retirement_date(ask: Asking) -> None:
    reply = ask("GET", "/api/lists", Revision="2025-04-15")
    assert reply.headers["X-Klaviyo-Api-Revision"] == "2025-04-15"
    assert reply.headers["X-Klaviyo-Api-Retirement-Date"] == "2027-04-15"


def test_a_retired_revision_falls_forward_unless_the_caller_opted_out(ask: Asking) -> None:
    reply = ask("GET", "/api/lists", Revision="2024-07-15")
    assert reply.headers["X-Klaviyo-Api-Revision"] == "2025-01-15"
    assert (
        ask("GET", "/api/lists", Revision="2024-07-15", X_Klaviyo_Revision_Fall_Forward_Opt_Out="1").status
        == 410
    )


@pytest.mark.parametrize(
    ("scenario", "target", "status", "by"),
    [
        ("klaviyo_outage", "/api/accounts", 503, "klaviyo"),
        ("klaviyo_server_error", "/api/profiles", 520, "edge"),
        ("klaviyo_server_error", "/api/accounts", 200, "klaviyo"),
        ("missing_scope", "/api/lists", 403, "klaviyo"),
        ("invalid_key", "/api/accounts", 401, "klaviyo"),
        ("healthy", "/api/lists", 200, "klaviyo"),
    ],
)
def test_the_scenario_decides_how_it_answers_now(
    scenario: str, target: str, status: int, by: str, now: datetime
) -> None:
    reply = Asking(now, scenario)("GET", target)
    assert (reply.status, reply.way.by) == (status, by)


def test_a_refusal_for_lack_of_a_scope_still_tells_the_limits(now: datetime) -> None:
    assert "RateLimit-Limit" in Asking(now, "missing_scope")("GET", "/api/lists").headers


def test_every_operation_of_the_catalogue_is_answered_with_its_own_status_or_as_not_found(
    now: datetime,
) -> None:
    ask = Asking(now)
    for endpoint in catalogue().endpoints:
        kinds = [row["type"] for row in RESOURCES.get(endpoint.path.removesuffix("/{id}"), [])]
        kinds += ["profile" if endpoint.path == "/api/profile-import" else "thing"]
        document = {"data": {"type": kinds[0], "attributes": EVENT}}
        sent = document if endpoint.method in ("POST", "PATCH") else None
        reply = ask(endpoint.method, endpoint.path.replace("{id}", "abc"), sent)
        assert reply.status in {*endpoint.success, 404}, endpoint.operation_id
        assert bool(reply.body) == (reply.status not in (202, 204)), endpoint.operation_id
