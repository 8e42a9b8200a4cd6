"""The scenarios that are scored, as data: causes, pairs, traps, and as many healthy and undecidable ones.

Their truth follows the contract's "Causes". Two cases it leaves to judgement: when our own retries draw 429s
after Klaviyo's 5xx are over, the cause is `rate_limited`: the failures of now are answers on purpose, and end
when we stop; while the 5xx go on and are more, it is `klaviyo_server_error` with `rate_limited` second.
"""

from __future__ import annotations

from dataclasses import replace

from klaviyo_nb.drills.scenarios import SCENARIOS, Caller, Live, Notice, Phase, Scenario, Slow

_LISTS = ("get_lists", "add_profiles_to_list", "bulk_import_profiles")
_SERVER_ERRORS = {"unavailable": 0.5, "error": 0.2, "edge_525": 0.2, "hang": 0.1}
_NOTHING, _NO_METRICS = frozenset({"logs", "metrics"}), frozenset({"metrics"})

#: A pace at which fewer than ten calls fall into a quarter of an hour.
_FEW = 0.003
#: Many machines that do the same: what one of them does is lost among the calls of all.
_FLEET = Caller("mail-sync", tuple(f"fleet-{number}" for number in range(1, 81)), "worker", 12.0,
                {"get_profiles": 0.6, "create_event": 0.4})  # fmt: skip
#: One of these makes 4 % of all calls.
_SMALL_FLEET = replace(_FLEET, hosts=_FLEET.hosts[:20], per_s=8.0)
#: An application that always loses so many calls, and nobody minds.
_LOSSES = 0.045
#: A job that ignores 429; 60 and 2 calls a minute are allowed, so that its world stays small.
_SMALL = {"query_metric_aggregates": 0.5, "query_campaign_values": 0.5}
_RUNAWAY = Caller("segment-export", ("worker-2",), "worker", 2.4, _SMALL, since_min=8.0, retries=False)


def _post(title: str, component: str | None, impact: str = "major", planned: bool = False) -> Notice:
    status = "under_maintenance" if planned else "major_outage"
    text = "We are looking into it."
    return Notice(title, impact, {component: status} if component else {}, 35.0, text, planned)


_API_POST = _post("API 503 Errors", "Klaviyo API")
_MAIL_POST = _post("Campaigns are not sent", "Campaign Email Sending", "critical")


def _named(name: str, base: str, **changes: object) -> Scenario:
    return replace(SCENARIOS[base], name=name, **changes)  # type: ignore[arg-type]


def _healthy(name: str, **changes: object) -> Scenario:
    return _named(name, "healthy", **changes)


def _undecidable(name: str, **changes: object) -> Scenario:
    """Nothing carries the key, and what is left does not decide."""
    found: dict[str, object] = {"phases": (), "pace": 1.0, "without": _NOTHING}
    return _named(name, "inconclusive", **found | changes)


_CAUSES = (
    *(SCENARIOS[name] for name in SCENARIOS if name not in ("rate_limited", "inconclusive", "healthy")),
    _named(
        "rate_limited", "rate_limited", callers=(_RUNAWAY,), live=Live(dict.fromkeys(_SMALL, "throttled"))
    ),
    _named(
        "one of twenty with an old key, usual losses",
        "invalid_key",
        severity="P2",
        live=Live(),
        callers=(_SMALL_FLEET,),
        noise=_LOSSES,
        phases=(Phase(37.0, {"unauthorized": 1.0}, hosts=("fleet-17",)),),
    ),
    _named(
        "some addresses refused, usual losses",
        "invalid_request",
        pace=5.0,
        noise=_LOSSES,
        phases=(Phase(29.0, {"invalid_email": 1.0}, share=0.25, operations=("create_or_update_profile",)),),
    ),
)

_PAIRS = (
    _named("server_error+rate_limited", "klaviyo_server_error", second="rate_limited",
           phases=(Phase(33.0, {"unavailable": 0.5, "error": 0.25, "throttled": 0.25}, share=0.7),),
           live=Live({"get_profiles": "unavailable"})),
    _named("missing_scope+invalid_request", "missing_scope", second="invalid_request",
           phases=(Phase(41.0, {"forbidden": 1.0}, operations=_LISTS),
                   Phase(29.0, {"invalid_email": 1.0}, operations=("create_or_update_profile",), share=0.8))),
    _named("invalid_key+app_unhealthy", "invalid_key", second="app_unhealthy",
           live=Live({"*": "unauthorized"}, health=503)),
    _named("app_unhealthy+webhook_endpoint_down", "app_unhealthy", second="webhook_endpoint_down",
           live=Live(health=503, webhook=404), webhooks_until_min=44.0),
)  # fmt: skip

_WELL = (
    _healthy("healthy"),
    _healthy("healthy, busy", pace=2.5),
    _healthy("healthy, no metrics", without=_NO_METRICS),
    _healthy("healthy, metrics alone", without=frozenset({"logs"})),
    _healthy("healthy, no key", key=""),
    _healthy("healthy, probes alone", without=_NOTHING),
    _healthy("healthy, logs alone", key="", without=frozenset({"metrics", "health", "webhook"})),
    _healthy("healthy, few calls", pace=_FEW),
    # Under 5 % of all calls is no incident; that one machine does nothing at all is worth knowing.
    _healthy("one of eighty with an old key", severity="P4", callers=(_FLEET,), without=_NO_METRICS,
             phases=(Phase(37.0, {"unauthorized": 1.0}, hosts=("fleet-17",), passing=True),)),
    _healthy("one of eighty failed for minutes", callers=(_FLEET,), without=_NO_METRICS,
             phases=(Phase(14.5, {"reset": 1.0}, until_min=5.0, hosts=("fleet-17",), passing=True),)),
)  # fmt: skip

_UNDECIDED = (
    _undecidable("no key, no logs"),
    _undecidable("no key, few calls, some fail", pace=_FEW, without=_NO_METRICS,
                 phases=(Phase(14.0, {"error": 1.0}, share=0.5),)),
    _undecidable("no key, few calls, all well", pace=_FEW, without=_NO_METRICS),
    _undecidable("no key, logs that ended", without=_NO_METRICS, silent_min=25.0),
    _undecidable("blank key, no logs", key=" \t"),
    _undecidable("no key, metrics server down", without=frozenset({"logs"}), live=Live(metrics="refused")),
    _undecidable("no key, nothing configured", without=_NOTHING | {"health", "webhook"}),
)  # fmt: skip

#: The traps that hide an incident.
_TRAPS = (
    _named("unrelated incident, revoked key", "invalid_key", notices=(_MAIL_POST,)),
    _named("API incident, revoked key", "invalid_key", notices=(_API_POST,), second="klaviyo_outage"),
    _named("green page, full outage", "klaviyo_server_error", severity="P1", second="klaviyo_outage",
           phases=(Phase(33.0, _SERVER_ERRORS, share=0.99),), live=Live({"*": "unavailable"})),
    _named("one worker with an old key", "invalid_key", severity="P2", live=Live(),
           phases=(Phase(37.0, {"unauthorized": 1.0}, hosts=("worker-1",)),)),
    _named("throttled by retries after 5xx", "rate_limited", live=Live({"get_profiles": "throttled"}),
           callers=(), phases=(Phase(40.0, {"unavailable": 1.0}, until_min=18.0, share=0.9),
                               Phase(18.0, {"throttled": 1.0}, share=0.7,
                                     operations=("get_profiles", "create_event")))),
    _named("5xx, and throttled by retries", "klaviyo_server_error", severity="P1", second="rate_limited",
           phases=(Phase(33.0, {"unavailable": 0.6, "edge_520": 0.15, "throttled": 0.25}, share=0.98),),
           live=Live({"*": "unavailable"})),
    _named("edge challenge", "klaviyo_server_error", phases=(Phase(33.0, {"challenge": 1.0}, share=0.6),),
           live=Live({"get_profiles": "challenge"})),
    _named("captive portal", "network_unreachable", phases=(Phase(18.0, {"portal": 1.0}),),
           live=Live({"*": "portal"}, page="portal")),
    _named("one small endpoint fails", "endpoint_degraded",
           phases=(Phase(26.0, {"unavailable": 0.8, "edge_520": 0.2}, operations=("add_profiles_to_list",)),),
           live=Live({"add_profiles_to_list": "unavailable"})),
    _named("one endpoint, no scope", "missing_scope", severity="P3", live=Live({"get_profiles": "forbidden"}),
           phases=(Phase(41.0, {"forbidden": 1.0}, operations=("get_profiles",)),)),
    _named("ended an hour ago", "resolved_or_intermittent",
           phases=(Phase(95.0, _SERVER_ERRORS, until_min=61.0, share=0.5),)),
    _named("few calls, revoked key", "invalid_key", pace=_FEW),
    _named("daily cap of 18 hours", "rate_limited", severity="P3",
           callers=(Caller("reports", ("worker-1",), "worker", 0.15, {"query_campaign_values": 1.0}),),
           phases=(Phase(45.0, {"throttled": 1.0}, operations=("query_campaign_values",),
                         retry_after_s=67608),),
           live=Live({"query_campaign_values": "throttled"})),
    _named("no answer at all", "klaviyo_server_error", severity="P1", second="klaviyo_outage",
           phases=(Phase(33.0, {"hang": 1.0}, share=0.99),), live=Live({"*": "hang"})),
    _named("404 during an outage", "klaviyo_outage",
           phases=(Phase(52.0, {"gone": 0.6, "edge_525": 0.4}, share=0.97),),
           live=Live({"*": "gone"}), notices=(_post("Klaviyo Service Disruption", None),)),
    _named("403 that sheds load", "klaviyo_server_error", live=Live({"get_profiles": "shed"}),
           phases=(Phase(33.0, {"shed": 0.7, "unavailable": 0.3}, share=0.6),)),
    _named("key with a line break, refused", "invalid_key", key="{key}\n", live=Live(),
           phases=(Phase(37.0, {"edge_400": 1.0}),)),
    _named("slow without failures", "klaviyo_server_error", phases=(), live=Live(),
           slow=(Slow(24.0, 0.0, 25.0),)),
    _named("every signature rejected", "webhook_endpoint_down", live=Live(), webhooks_until_min=0.0,
           webhooks_refused=True),
    _named("health says degraded with 200", "app_unhealthy", live=Live(health_says="degraded")),
    _named("health hangs", "app_unhealthy", live=Live(health=None)),
    _named("maintenance of the API", "klaviyo_outage",
           notices=(_post("Data Infrastructure Maintenance", "Klaviyo API", planned=True),)),
)  # fmt: skip

#: The traps in which nothing is wrong.
_FALSE_FRIENDS = (
    _healthy("no accounts scope, all well", severity="P4", live=Live({"get_accounts": "forbidden"})),
    _healthy("unrelated incident, all well", notices=(_MAIL_POST,)),
    _healthy("API incident, all well", severity="P4", notices=(_API_POST,)),
    _healthy(
        "maintenance elsewhere, all well", notices=(_post("Maintenance", "Flow Email Sending", planned=True),)
    ),
    _healthy("key with a line break, all well", severity="P4", key="{key}\n"),
    _healthy("our probe's key is old, all well", severity="P4", live=Live({"*": "unauthorized"})),
    _healthy("noise below the threshold", noise=0.035),
    _healthy("duplicates are refused", noise=0.03, noise_ways=("duplicate",)),
    _healthy("failures of others", chatter=True),
    _healthy("few calls, all well", pace=_FEW),
    _healthy("remaining 0 of XS", callers=(Caller("audit", ("web-1",), "web", 0.1, {"get_accounts": 1.0}),)),
    _healthy("health is a page", severity="P4", live=Live(health_says="")),
    _healthy("metrics server down", severity="P4", live=Live(metrics="refused")),
    _healthy("counters start anew", without=frozenset({"logs"}), restarts_min=(70.0, 31.0, 6.0)),
)

_NEVER_KNOWN = (
    _undecidable("API incident, no key, no logs", notices=(_API_POST,)),
    _undecidable("logs that ended while calls failed, no key", without=_NO_METRICS,
                 silent_min=25.0, phases=(Phase(60.0, {"unavailable": 1.0}, share=0.5),)),
    _undecidable("logs of others alone, no key", without=_NO_METRICS, silent_min=140.0,
                 chatter=True),
    _undecidable("few calls, all fail, no key", pace=_FEW, without=_NO_METRICS,
                 phases=(Phase(14.0, {"error": 1.0}),)),
    _undecidable("unrelated incident, no key, no logs", notices=(_MAIL_POST,)),
    _undecidable("page down, no key, no logs", live=Live(page="refused")),
    _undecidable("blank key, metrics server down", key=" ", without=frozenset({"logs"}),
                 live=Live(metrics="refused")),
    _undecidable("line break for a key, few calls", key="\n", pace=_FEW, without=_NO_METRICS),
)  # fmt: skip


def _by_name(*groups: tuple[Scenario, ...]) -> dict[str, Scenario]:
    return {scenario.name: scenario for group in groups for scenario in group}


#: Name → scenario, for the levels `clean` and `realistic`, and for `adversarial`.
ORDINARY = _by_name(_CAUSES, _PAIRS, _WELL, _UNDECIDED)
TRICKY = _by_name(_TRAPS, _FALSE_FRIENDS, _NEVER_KNOWN)
