"""The reporting worlds in which nothing is wrong, or nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from klaviyo_nb.drills.reporting.causes import klaviyo_server_error
from klaviyo_nb.drills.reporting.draw import BOTH, LOGS, METRICS, Draw, Plotter
from klaviyo_nb.drills.reporting.shop import Part
from klaviyo_nb.drills.reporting.story import Fault, Plot, Post

_PROBES = frozenset({"health", "webhook"})


def _well(d: Draw, parts: tuple[Part, ...] | None = None, **more: Any) -> Plot:
    """Nothing is wrong; with `severity` P4 something deserves a line."""
    found: dict[str, Any] = {
        "severity": None,
        "signals": d.signals(),
        "webhook": d.rng.choice((401, 403, 400, 405, 200)),
    }
    return Plot("healthy", parts=parts or d.app(), **(found | more))


def _signals(signals: frozenset[str]) -> Plotter:
    return lambda d: _well(d, signals=signals)


def _few(d: Draw) -> Plot:
    """A small shop; the key works."""
    return _well(d, d.app(8, 60), shows="few")


def _busy(d: Draw) -> Plot:
    return _well(d, d.app(3000, 4500))


def _unrelated(d: Draw) -> Plot:
    return _well(d, posts=(d.unrelated(),))


def _related(d: Draw) -> Plot:
    """They say that some of the API fails; none of our calls does."""
    return _well(d, severity="P4", posts=(d.acknowledgement(d.ago(30)),))


def _planned(d: Draw) -> Plot:
    at = d.end + 3600 * d.rng.uniform(5, 60)
    post = Post(
        "Data Infrastructure Maintenance", "maintenance", {}, at, "scheduled", "We will be carrying it out."
    )
    return _well(d, posts=(post,))


def _without_app(d: Draw) -> Plot:
    """Neither a health endpoint nor a webhook route is configured."""
    return _well(d, signals=d.signals() - _PROBES, app_listens=False, takes_webhooks=False)


def _keyless(d: Draw) -> Plot:
    """No key for the probes, and an application whose calls are well."""
    return _well(d, key="none")


def _health_in_html(d: Draw) -> Plot:
    return _well(
        d, severity="P4", health=(200, "<!doctype html><title>Shop</title>", "text/html; charset=utf-8")
    )


def _retiring(d: Draw) -> Plot:
    return _well(d, severity="P4", retiring=True)


def _page_unreachable(d: Draw) -> Plot:
    return _well(d, page=d.rng.choice(("refused", "hang", "error", "edge_502")))


def _metrics_down(d: Draw) -> Plot:
    return _well(d, severity="P4", signals=BOTH, metrics_down=True)


def _no_accounts_scope(d: Draw) -> Plot:
    return _well(d, severity="P4", live={"get_accounts": "scope"})


def _probe_key_refused(d: Draw) -> Plot:
    """The key of whoever asks is old or throttled; the application's works."""
    live = d.rng.choice(({"*": "bad_key"}, {"get_profiles": "scope"}, {"get_accounts": "throttled"}))
    return _well(d, d.app(least=500), severity="P4", live=live, signals=d.with_logs())


def _blank_in_key(d: Draw) -> Plot:
    return _well(d, d.app(least=500), severity="P4", key=d.rng.choice(("blank", "newline")))


def _nothing_left(d: Draw) -> Plot:
    """A job asks for the account again and again: an XS endpoint always says that nothing is left."""
    since = d.start - 600
    calls = round((d.end - since) / 60)
    job = Part("account-check", ("ops-1",), "slog", "flood", ("get_accounts",), calls, since=since)
    return _well(d, (*d.app(most=900), job), signals=d.rng.choice((BOTH, METRICS)))


def _errors_only(d: Draw) -> Plot:
    """The log tells of failures only, the metrics of everything."""
    return _well(d, d.app(300, 800), errors_only=True, signals=BOTH, noise=0.008)


def _some_failures_few_calls(d: Draw) -> Plot:
    """A small shop with a failure or two."""
    return _well(d, d.app(30, 60), shows="few", noise=0.08)


def _noise(d: Draw) -> Plot:
    return _well(d, d.app(least=600), noise=d.rng.uniform(0.015, 0.03))


def _before_the_window(d: Draw) -> Plot:
    """It was over before the window opened; the log still tells of it."""
    until = d.start - d.rng.uniform(60, 300)
    return _well(d, faults=(Fault({"unavailable": 1}, until - 600, until),), signals=d.with_logs())


def _restarted(d: Draw) -> Plot:
    return _well(d, d.app(least=500), deploy=d.ago(3, 60))


HEALTHY: Mapping[str, Plotter] = {
    "healthy": lambda d: _well(d),
    "healthy_logs_only": _signals(LOGS),
    "healthy_metrics_only": _signals(METRICS),
    "healthy_probes_only": _signals(_PROBES),
    "healthy_low_traffic": _few,
    "healthy_high_traffic": _busy,
    "healthy_unrelated_incident": _unrelated,
    "healthy_planned_maintenance": _planned,
    "healthy_without_app": _without_app,
    "healthy_retiring_revision": _retiring,
    "healthy_no_key": _keyless,
}
HEALTHY_TRAPS: Mapping[str, Plotter] = {
    "accounts_scope_missing": _no_accounts_scope,
    "nothing_remaining": _nothing_left,
    "probe_key_refused": _probe_key_refused,
    "blank_in_key": _blank_in_key,
    "health_in_html": _health_in_html,
    "metrics_down": _metrics_down,
    "page_unreachable": _page_unreachable,
    "acknowledged_elsewhere": _related,
    "unrelated_incident": _unrelated,
    "errors_only_log": _errors_only,
    "low_traffic_some_failures": _some_failures_few_calls,
    "noise_only": _noise,
    "before_the_window": _before_the_window,
    "restarted": _restarted,
}


def _unknown(d: Draw, parts: tuple[Part, ...], **more: Any) -> Plot:
    """No key, and too little of the application to tell."""
    found: dict[str, Any] = {"key": "none", "shows": "few", "signals": d.signals()}
    return Plot("inconclusive", None, parts, **(found | more))


def _few_without_key(d: Draw) -> Plot:
    return _unknown(d, d.app(6, 50))


def _some_fail_without_key(d: Draw) -> Plot:
    fault = Fault({"error": 1, "unavailable": 1}, d.ago(6), share=d.rng.uniform(0.3, 0.7))
    return _unknown(d, d.app(10, 45), faults=(fault,), live={"*": "ok"})


def _silent_after_failures(d: Draw) -> Plot:
    """It failed, and then the application called no more."""
    until = d.ago(16, 40)
    failing = Fault({"unavailable": 1}, until - 1500, until, share=0.6)
    return _unknown(d, d.app(), faults=(failing, Fault({"stuck": 1}, until)), live={"*": "ok"})


def _quiet_since(d: Draw) -> Plot:
    """Well, and then nothing: it sleeps, or it hangs."""
    return _unknown(d, d.app(), faults=(Fault({"stuck": 1}, d.ago(17, 60)),), live={"*": "ok"})


def _outcome_not_logged(d: Draw) -> Plot:
    parts = tuple(replace(part, writer="mute") for part in d.app())
    broken = klaviyo_server_error(d) if d.rng.random() < 0.5 else None
    faults = broken.faults if broken else ()
    return _unknown(d, parts, faults=faults, live={"*": "ok"}, signals=LOGS, shows="any")


def _other_logs(d: Draw) -> Plot:
    """The logs that were named are not those of what calls Klaviyo."""
    parts = tuple(replace(part, calls=0) for part in d.app() if part.pattern != "cron")
    return _unknown(d, parts, signals=LOGS, takes_webhooks=False)


UNDECIDABLE: Mapping[str, Plotter] = {
    "inconclusive": _few_without_key,
    "quiet_without_key": _quiet_since,
    "silent_after_failures": _silent_after_failures,
    "outcome_not_logged": _outcome_not_logged,
    "other_logs": _other_logs,
}
UNDECIDABLE_TRAPS: Mapping[str, Plotter] = {
    "low_traffic_failing_without_key": _some_fail_without_key,
    "silent_after_failures": _silent_after_failures,
    "outcome_not_logged": _outcome_not_logged,
    "quiet_without_key": _quiet_since,
}
