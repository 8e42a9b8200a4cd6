"""The broken reporting worlds, one per cause of the contract, and pairs of causes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from klaviyo_nb.drills.reporting.draw import TROUBLES, Draw, Plotter, failing
from klaviyo_nb.drills.reporting.shop import Part
from klaviyo_nb.drills.reporting.story import Fault, Plot

if TYPE_CHECKING:
    from klaviyo_nb.diagnosis.verdict import Severity

_UNWELL: tuple[tuple[int, str, str] | None, ...] = (
    (503, '{"status":"down","components":{"db":{"status":"down"}}}', "application/json"),
    (500, "<h1>Server Error (500)</h1>", "text/html"),
    (200, '{"status":"DOWN"}', "application/json"),
    (200, '{"status":"fail","checks":{"redis:memory":[{"status":"fail"}]}}', "application/health+json"),
    (404, '{"detail":"Not Found"}', "application/json"),
    None,
)
#: What a loop asks for, and how often [calls per second]: more than the limits of S and M allow.
_LOOPS = (
    (("query_metric_aggregates",), 1.7),
    (("get_flows", "query_metric_aggregates"), 2.6),
    (("bulk_import_profiles",), 4.0),
    (("get_campaigns", "get_metrics"), 7.0),
)


def klaviyo_outage(d: Draw) -> Plot:
    """Klaviyo fails and says so."""
    fault, severity = d.everything(d.trouble())
    return failing(d, "klaviyo_outage", severity, fault, posts=(d.acknowledgement(fault.since),))


def klaviyo_server_error(d: Draw) -> Plot:
    """Klaviyo fails and does not say so."""
    fault, severity = d.everything(d.trouble())
    posts = (d.unrelated(),) if d.rng.random() < 0.2 else ()
    return failing(d, "klaviyo_server_error", severity, fault, posts=posts)


def invalid_key(d: Draw) -> Plot:
    """The key was revoked."""
    return failing(d, "invalid_key", "P1", Fault({"bad_key": 1}, d.ago(4)))


def missing_scope(d: Draw, answer: str = "scope") -> Plot:
    """The key lacks a scope that one or several endpoints need."""
    parts, several = d.app(), d.rng.random() < 0.5
    fault = Fault({answer: 1}, d.ago(6), operations=d.by_scope(parts, several))
    return failing(d, "missing_scope", "P2" if several else "P3", fault, parts=parts)


def rate_limited(d: Draw) -> Plot:
    """A loop of ours, or somebody else who spends the account's quota."""
    if d.rng.random() < 0.5:
        return _loop(d)
    parts, count, share = d.app(), d.rng.choice((1, 2, 3)), d.rng.uniform(0.3, 0.9)
    fault = Fault({"throttled": 1}, d.ago(6), share=share, operations=d.some(parts, count), waits=(1, 58))
    return failing(d, "rate_limited", "P3" if count == 1 else "P2", fault, parts=parts)


def _loop(d: Draw) -> Plot:
    parts, (names, per_s) = d.app(most=900), d.rng.choice(_LOOPS)
    since = d.ago(5, min(14, 40 / per_s))
    name, writer = d.rng.choice(("backfill", "segment-export", "nightly-sync")), d.rng.choice(parts).writer
    calls = round(per_s * (d.end - since))
    loop = Part(name, ("job-7",), writer, "flood", names, calls, since=since)
    return failing(d, "rate_limited", "P3" if len(names) == 1 else "P2", parts=(*parts, loop))


def invalid_request(d: Draw) -> Plot:
    """A deploy sends what Klaviyo does not take; or the revision is gone."""
    parts, count = d.app(), d.rng.choice((1, 1, 2))
    severity: Severity = "P3" if count == 1 else "P2"
    answers = {d.rng.choice(("email", "phone", "list_gone", "item_gone")): 1.0}
    fault = Fault(answers, d.ago(6), share=d.rng.uniform(0.4, 1.0), operations=d.some(parts, count))
    if d.rng.random() < 0.25:
        fault, severity = Fault({"retired": 1}, d.ago(6)), "P2"
    return failing(d, "invalid_request", severity, fault, parts=parts, live={"*": "ok"})


def endpoint_degraded(d: Draw) -> Plot:
    """Klaviyo fails on one endpoint."""
    parts, share = d.app(), d.rng.uniform(0.4, 1.0)
    answers = d.rng.choice(
        ({"error": 1.0}, {"unavailable": 2.0, "error": 1.0}, {"edge_502": 1.0, "edge_520": 1.0})
    )
    fault = Fault(answers, d.ago(6), share=share, operations=d.some(parts, 1))
    return failing(d, "endpoint_degraded", "P3", fault, parts=parts)


def network_unreachable(d: Draw) -> Plot:
    """Our egress: refused, silent, or a proxy that answers itself; with or without the status page."""
    name = d.rng.choice(("refused", "hang", "proxy_407", "proxy_503"))
    page = "ok" if name == "refused" and d.rng.random() < 0.4 else name
    signals = d.signals() if name in ("refused", "hang") else d.with_logs()
    return failing(d, "network_unreachable", "P1", Fault({name: 1}, d.ago(4)), page=page, signals=signals)


def app_unhealthy(d: Draw) -> Plot:
    """Klaviyo is well and our application is not."""
    health = d.rng.choice(_UNWELL)
    listens = health is None or d.rng.random() < 0.8
    signals = d.signals() if listens else d.signals() - {"webhook"}
    return Plot("app_unhealthy", "P2", d.app(), health=health, app_listens=listens, signals=signals)


def webhook_endpoint_down(d: Draw) -> Plot:
    """The route is gone or broken, or rejects every signature."""
    status, since, signals = d.rng.choice((404, 410, 500, 502, 503)), d.ago(5), d.signals()
    route = status
    if d.rng.random() < 0.3:
        route, status, since, signals = 401, 401, d.ago(35, 240), d.with_logs()
    plot = Plot("webhook_endpoint_down", "P3", d.app(), webhook=route, signals=signals)
    return replace(plot, deliveries=status, deliveries_since=since)


def resolved_or_intermittent(d: Draw) -> Plot:
    """It failed, and is well again."""
    until = d.ago(20, (d.end - d.start) / 60 * 0.7)
    answers = d.rng.choice((*TROUBLES, {"bad_key": 1.0}, {"throttled": 1.0}))
    fault = Fault(answers, until - 60 * d.rng.uniform(6, 40), until, share=d.rng.uniform(0.4, 1.0))
    return failing(d, "resolved_or_intermittent", "P3", fault, shows="over")


CAUSES: Mapping[str, Plotter] = {
    "klaviyo_outage": klaviyo_outage,
    "klaviyo_server_error": klaviyo_server_error,
    "invalid_key": invalid_key,
    "missing_scope": missing_scope,
    "rate_limited": rate_limited,
    "invalid_request": invalid_request,
    "endpoint_degraded": endpoint_degraded,
    "network_unreachable": network_unreachable,
    "app_unhealthy": app_unhealthy,
    "webhook_endpoint_down": webhook_endpoint_down,
    "resolved_or_intermittent": resolved_or_intermittent,
}


def _server_error_and_scope(d: Draw) -> Plot:
    parts = d.app(least=600)
    first = Fault(d.trouble(), d.ago(16), share=d.rng.uniform(0.35, 0.6))
    second = Fault({"scope": 1}, d.ago(16), operations=d.some(parts, d.rng.choice((1, 2))))
    return failing(d, "klaviyo_server_error", "P2", first, second, parts=parts, second="missing_scope")


def _limits_and_request(d: Draw) -> Plot:
    parts = d.app(least=600)
    limited = d.some(parts, 2)
    first = Fault({"throttled": 1}, d.ago(16), share=d.rng.uniform(0.5, 0.9), operations=limited)
    second = Fault(
        {"email": 1}, d.ago(16), share=0.9, operations=d.some(parts, 1) - limited or frozenset({"none"})
    )
    return failing(
        d, "rate_limited", "P2", first, second, parts=parts, second="invalid_request", live={"*": "ok"}
    )  # fmt: skip


def _scope_and_request(d: Draw) -> Plot:
    parts = d.app(least=600)
    scoped = d.by_scope(parts, several=True)
    first = Fault({"scope": 1}, d.ago(16), operations=scoped)
    second = Fault(
        {"email": 1}, d.ago(16), share=0.8, operations=d.some(parts, 1) - scoped or frozenset({"none"})
    )
    return failing(
        d, "missing_scope", "P2", first, second, parts=parts, second="invalid_request", live={"*": "ok"}
    )  # fmt: skip


def _key_and_app(d: Draw) -> Plot:
    return replace(invalid_key(d), second="app_unhealthy", health=d.rng.choice(_UNWELL))


def _app_and_webhook(d: Draw) -> Plot:
    changed = {"severity": "P2", "second": "webhook_endpoint_down", "health": d.rng.choice(_UNWELL)}
    return replace(webhook_endpoint_down(d), cause="app_unhealthy", **changed)  # type: ignore[arg-type]


PAIRS: Mapping[str, Plotter] = {
    "server_error+missing_scope": _server_error_and_scope,
    "rate_limited+invalid_request": _limits_and_request,
    "missing_scope+invalid_request": _scope_and_request,
    "invalid_key+app_unhealthy": _key_and_app,
    "app_unhealthy+webhook_endpoint_down": _app_and_webhook,
}
