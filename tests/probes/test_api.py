from __future__ import annotations

import pytest

from klaviyo_nb.klaviyo.answers import failure
from probes_world import KLAVIYO, NOW, garble, hang, healthy, refusal, reply, reset, row_of

BOTH = ("/api/accounts", "/api/profiles")
EDGE = {"Server": "cloudflare", "Content-Type": "text/html", "CF-RAY": "-"}


def looks_like(row):
    return failure(row.get("status_code"), row.get("error_type"), row.get("answered_by"))


class After:
    """Answers in turn; the last one again and again."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def __call__(self, asked, writer):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            await answer(asked, writer)


@pytest.mark.parametrize(
    ("route", "status", "who", "code", "kind"),
    [
        (refusal(401, "not_authenticated"), 401, "klaviyo", "not_authenticated", "unauthorized"),
        (refusal(403, "permission_denied"), 403, "klaviyo", "permission_denied", "forbidden"),
        (reply(403, b"<html>", EDGE | {"cf-mitigated": "challenge"}), 403, "challenge", None, "server"),
        (reply(403, b""), 403, "other", None, "server"),
        (reply(400, b"<html><center>cloudflare</center>", EDGE), 400, "edge", None, "unauthorized"),
        (reply(200, b"<html>Welcome to the airport", {"Content-Type": "text/html"}), 200, "portal", None, "unreachable"),
        (reply(302, b"", {"Location": "http://portal.example/login"}), 302, "portal", None, "unreachable"),
        (reply(407, b"", {"Proxy-Authenticate": "Basic"}), 407, "proxy", None, "unreachable"),
        (reply(410, {"message": "This API has been retired"}), 410, "klaviyo", None, "invalid"),
        (refusal(404, "not_found"), 404, "klaviyo", "not_found", "invalid"),
        (reply(200, {"data": []}, KLAVIYO), 200, "klaviyo", None, None),
    ],
)  # fmt: skip
def test_who_refused_is_told_apart_in_the_row(world, route, status, who, code, kind):
    world.routes |= dict.fromkeys(BOTH, route)
    row = row_of(world.probe(), "auth")
    assert (row["status_code"], row["answered_by"], row["error_code"], looks_like(row)) == (
        status,
        who,
        code,
        kind,
    )
    assert len(world.paths("/api/accounts")) == 2  # auth and liveness, no second try


def test_a_redirect_elsewhere_is_not_followed_and_named(world):
    world.routes["/api/accounts"] = reply(302, b"", {"Location": "http://portal.example/login"})
    assert row_of(world.probe(), "auth")["detail"] == "redirects to http://portal.example/login"


@pytest.mark.parametrize("wait", ["1", "45", "67608"])
def test_a_429_is_not_asked_again_and_tells_how_long(world, wait):
    world.routes |= dict.fromkeys(BOTH, refusal(429, "throttled", **{"Retry-After": wait}))
    probed = world.probe()
    assert row_of(probed, "rate_limit")["retry_after_s"] == float(wait)
    assert looks_like(row_of(probed, "auth")) == "throttled"
    assert probed.budget.api_calls == 3


def test_after_a_429_nobody_asks_again(world):
    world.routes |= {"/api/accounts": refusal(429, "throttled"), "/api/profiles": refusal(503, "error")}
    assert world.probe().budget.api_calls == 3


def test_after_a_used_up_minute_nobody_asks_again(world):
    spent = KLAVIYO | {"RateLimit-Limit": "15, 1;w=1, 15;w=60", "RateLimit-Remaining": "0"}
    world.routes |= {"/api/accounts": reply(200, {"data": []}, spent), "/api/profiles": refusal(503, "error")}
    assert world.probe().budget.api_calls == 3


def test_nothing_left_of_a_second_is_no_reason_to_stop(world):
    small = KLAVIYO | {"RateLimit-Limit": "1, 1;w=1, 15;w=60", "RateLimit-Remaining": "0"}
    world.routes |= {"/api/accounts": reply(200, {"data": []}, small), "/api/profiles": refusal(503, "error")}
    probed = world.probe()
    assert probed.budget.api_calls == 4
    assert (row_of(probed, "auth")["ratelimit_remaining"], row_of(probed, "auth")["ratelimit_window_s"]) == (
        0,
        1,
    )


@pytest.mark.parametrize(
    ("first", "said"), [(refusal(503, "error"), "HTTP 503"), (reset, "reset"), (garble, "protocol")]
)
def test_a_single_failure_is_asked_again_and_the_row_tells_of_both(world, first, said):
    world.routes["/api/profiles"] = After(first, healthy()["/api/profiles"])
    probed = world.probe()
    row = row_of(probed, "rate_limit")
    assert (row["status_code"], row["detail"], looks_like(row)) == (200, f"first try: {said}", None)
    assert probed.budget.api_calls == 4


def test_when_all_calls_fail_the_budget_holds(world):
    world.routes |= dict.fromkeys((*BOTH, "keyless"), refusal(500, "error", "A server error occurred."))
    probed = world.probe()
    assert (
        probed.budget.api_calls == len(world.paths("/api/accounts")) + len(world.paths("/api/profiles")) == 5
    )
    assert row_of(probed, "auth")["detail"] == "first try: HTTP 500; then: A server error occurred."


@pytest.mark.parametrize("first", [refusal(503, "error", **{"Retry-After": "30"}), hang])
def test_what_asks_for_patience_is_not_asked_again(world, first):
    world.routes["/api/profiles"] = first
    assert world.probe(deadline_s=0.7).budget.api_calls == 3


def test_with_little_time_left_there_is_no_second_try(world):
    world.routes["/api/profiles"] = refusal(503, "error")
    assert world.probe(deadline_s=1.0).budget.api_calls == 3


def test_brackets_are_percent_encoded_and_no_personal_data_is_asked_for(world):
    world.probe()
    with_key = {each.path for each in world.asked if each.with_key}
    assert with_key == {
        "/api/accounts?fields%5Baccount%5D=timezone",
        "/api/profiles?page%5Bsize%5D=1&fields%5Bprofile%5D=created",
    }


def test_a_deprecated_revision_and_the_time_inside_klaviyo_are_in_the_row(world):
    headers = KLAVIYO | {
        "X-Klaviyo-Api-Revision": "2025-04-15", "X-Klaviyo-Api-Retirement-Date": "2027-04-15",
        "X-Envoy-Upstream-Service-Time": "36",
    }  # fmt: skip
    world.routes["/api/accounts"] = reply(200, {"data": []}, headers)
    row = row_of(world.probe(), "auth")
    assert (row["revision_effective"], row["retirement_date"], row["upstream_s"]) == (
        "2025-04-15",
        "2027-04-15",
        0.036,
    )


def test_the_body_of_a_good_answer_stays_out_of_the_rows(world):
    world.routes["/api/accounts"] = reply(200, {"data": [{"attributes": {"city": "Springfield"}}]}, KLAVIYO)
    assert "Springfield" not in str(world.probe())


def test_an_answer_that_is_gzipped_although_nobody_asked_is_read(world):
    import gzip

    body = gzip.compress(b'{"errors": [{"id": "i", "code": "not_authenticated", "detail": "no"}]}')
    world.routes["/api/accounts"] = reply(401, body, {"Content-Encoding": "gzip"})
    assert row_of(world.probe(), "auth")["error_code"] == "not_authenticated"


def test_a_body_that_grows_without_end_when_unpacked_is_cut(world):
    import gzip

    world.routes["/health"] = reply(200, gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"})
    assert row_of(world.probe(), "app_health")["status_code"] == 200


def test_a_name_that_no_resolver_takes_is_dns():
    from probes_world import World

    name = "http://" + "a" * 70 + ".invalid"
    probed = World().probe(api_url=name, status_url=name, health_url="", webhook_url=None)
    assert {row["error_type"] for row in probed.rows} == {"dns"}


@pytest.mark.parametrize(
    ("route", "status", "who", "kind"),
    [
        (
            refusal(401, "not_authenticated"),
            401,
            "klaviyo",
            "unauthorized",
        ),  # edge and authentication are alive
        (reply(403, b"<html>", EDGE), 403, "edge", "server"),  # the edge is, and lets nobody through
        (reply(525, b"<html>", EDGE), 525, "edge", "server"),
        (hang, None, None, "server"),
    ],
)
def test_without_a_key_it_shows_how_far_a_call_gets(world, route, status, who, kind):
    world.routes["keyless"] = route
    row = row_of(world.probe(deadline_s=2), "liveness")
    assert (row.get("status_code"), row.get("answered_by"), looks_like(row)) == (status, who, kind)


def test_what_support_asks_for_and_the_clock_of_the_other_side_are_in_the_row(world):
    row = row_of(world.probe(), "auth")
    assert (row["request_id"], row["server_date"]) == (KLAVIYO["X-Klaviyo-Req-Id"], NOW)
