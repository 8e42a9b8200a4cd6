"""The adversarial reporting worlds that are broken: in each, a simple reading names something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from klaviyo_nb.drills.reporting.causes import endpoint_degraded, invalid_key, missing_scope
from klaviyo_nb.drills.reporting.draw import Draw, Plotter, failing
from klaviyo_nb.drills.reporting.shop import Part
from klaviyo_nb.drills.reporting.story import Fault, Plot, Post


def _revoked_key_unrelated_incident(d: Draw) -> Plot:
    return replace(invalid_key(d), posts=(d.unrelated(),))


def _revoked_key_during_outage(d: Draw) -> Plot:
    post = Post("Elevated error rates", "major", {"Klaviyo API": "partial_outage"}, d.ago(3, 90))
    return replace(invalid_key(d), posts=(post,), second="klaviyo_outage")


def _green_page_full_outage(d: Draw) -> Plot:
    return failing(d, "klaviyo_server_error", "P1", Fault(d.trouble(), d.ago(4)))


def _late_page(d: Draw) -> Plot:
    """Klaviyo says so in the last minutes only."""
    since = d.ago(40)
    post = replace(d.acknowledgement(since), at=d.ago(1, 4))
    return failing(d, "klaviyo_outage", "P1", Fault(d.trouble(), since), posts=(post,))


def _one_worker_old_key(d: Draw, answer: str = "bad_key") -> Plot:
    parts = d.app(least=500, hosts=d.rng.randint(3, 5))
    hosts = sorted({host for part in parts[:2] for host in part.hosts})
    fault = Fault({answer: 1}, d.ago(6), hosts=frozenset(d.rng.sample(hosts, d.rng.choice((1, 2)))))
    return failing(d, "invalid_key", "P2", fault, parts=parts, signals=d.with_logs())


def _one_node_cut_off(d: Draw) -> Plot:
    return replace(_one_worker_old_key(d, "refused"), cause="network_unreachable")


def _retry_storm(d: Draw) -> Plot:
    """Klaviyo fails, we try again at once and run into its limits as well; the 5xx are still the most."""
    parts, since = tuple(replace(part, attempts=3, at_once=True) for part in d.app(least=800)), d.ago(16, 70)
    first = Fault({"unavailable": 3, "edge_502": 1}, since, share=d.rng.uniform(0.35, 0.5))
    second = Fault({"throttled": 1}, since + 90, share=d.rng.uniform(0.16, 0.26), waits=(1, 12))
    plot = failing(d, "klaviyo_server_error", "P2", first, second, parts=parts, second="rate_limited")
    return replace(plot, signals=d.with_logs())


def _storm_outlives_errors(d: Draw) -> Plot:
    """Klaviyo is well again, our retries are not: what fails now is refused on purpose."""
    over = d.ago(17, 24)
    storm = Fault({"throttled": 1}, over, share=d.rng.uniform(0.4, 0.8), waits=(1, 40))
    before = Fault({"unavailable": 1}, over - 60 * d.rng.uniform(8, 25), over, share=0.8)
    return failing(d, "rate_limited", "P2", storm, before, parts=d.app(least=500), signals=d.with_logs())


def _edge_challenge(d: Draw) -> Plot:
    """403s of the edge, told by the answer's body or headers alone."""
    fault, severity = d.everything({d.rng.choice(("challenge", "challenge", "shed")): 1}, 6)
    parts = tuple(replace(part, writer=_TELLING.get(part.writer, part.writer)) for part in d.app())
    return failing(d, "klaviyo_server_error", severity, fault, parts=parts, signals=d.with_logs())


#: Guzzle cuts a body so short that its reader would have to guess.
_TELLING = {"guzzle": "monolog"}


def _captive_portal(d: Draw) -> Plot:
    fault = Fault({"portal": 1}, d.ago(4))
    return failing(d, "network_unreachable", "P1", fault, page="portal", signals=d.with_logs())


def _ended_an_hour_ago(d: Draw) -> Plot:
    until = d.ago(50, 70)
    fault = Fault(d.trouble(), until - 60 * d.rng.uniform(8, 25), until, share=d.rng.uniform(0.5, 1.0))
    posts = (Post("API 503 Errors", "minor", {}, until + 300, "monitoring"),) if d.rng.random() < 0.3 else ()
    return failing(d, "resolved_or_intermittent", "P3", fault, shows="over", posts=posts)


def _low_traffic_bad_key(d: Draw) -> Plot:
    """Too few calls to count; the probe is refused as well."""
    return failing(d, "invalid_key", "P1", Fault({"bad_key": 1}, d.ago(60)), parts=d.app(8, 45), shows="few")


def _daily_cap(d: Draw) -> Plot:
    """225 reports a day are spent, and the next is welcome in 18 hours."""
    parts, names = d.app(most=900), (d.rng.choice(("query_campaign_values", "query_flow_values")),)
    writer, calls = d.rng.choice(parts).writer, d.rng.randint(120, 220)
    board = Part("dashboards", ("bi-1",), writer, "cron", names, calls, every_s=300.0)
    fault = Fault({"throttled": 1}, d.ago(20), operations=frozenset(names), waits=(60_000, 68_000))
    return failing(d, "rate_limited", "P3", fault, parts=(*parts, board), signals=d.with_logs())


def _hang(d: Draw) -> Plot:
    """Connections are taken and never answered; a client without timeout does not even log that."""
    if d.rng.random() < 0.5:
        fault, severity = d.everything({"hang": 1})
        return failing(d, "klaviyo_server_error", severity, fault)
    stuck = Fault({"stuck": 1}, d.ago(20))
    return failing(d, "klaviyo_server_error", "P1", stuck, shows="few", live={"*": "hang"})


def _key_with_newline(d: Draw) -> Plot:
    """The key was stored with a newline: the edge refuses what the application sends."""
    fault, live = Fault({"edge_400": 1}, d.ago(6)), {"*": "ok"}
    return failing(d, "invalid_key", "P1", fault, live=live, key="newline", signals=d.with_logs())


def _plan_looks_like_scope(d: Draw) -> Plot:
    return replace(missing_scope(d, "plan"), signals=d.with_logs())


def _slow_without_failures(d: Draw) -> Plot:
    """Only applications whose lines tell how long a call took."""
    parts = d.app(500, kind=d.rng.choice(("go", "ruby")))
    plot = failing(d, "klaviyo_server_error", "P2", parts=parts, shows="well", signals=d.with_logs())
    return replace(plot, slow=d.rng.uniform(45, 80), slow_since=d.ago(18, 60))


TRAPS: Mapping[str, Plotter] = {
    "revoked_key_unrelated_incident": _revoked_key_unrelated_incident,
    "revoked_key_during_outage": _revoked_key_during_outage,
    "green_page_full_outage": _green_page_full_outage,
    "late_page": _late_page,
    "one_worker_old_key": _one_worker_old_key,
    "one_node_cut_off": _one_node_cut_off,
    "retry_storm": _retry_storm,
    "storm_outlives_errors": _storm_outlives_errors,
    "edge_challenge": _edge_challenge,
    "captive_portal": _captive_portal,
    "single_failing_endpoint": endpoint_degraded,
    "ended_an_hour_ago": _ended_an_hour_ago,
    "low_traffic_bad_key": _low_traffic_bad_key,
    "daily_cap": _daily_cap,
    "hang": _hang,
    "key_with_newline": _key_with_newline,
    "plan_looks_like_scope": _plan_looks_like_scope,
    "slow_without_failures": _slow_without_failures,
}
