"""What to do so that it does not come back, by cause: drafts that a person owns or strikes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

#: Cause → what would make it rarer, shorter or less harmful, and how one sees that it is done. Drafts: a
#: person owns them or strikes them.
ACTION_ITEMS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "klaviyo_outage": (
        (
            "Queue calls that fail, and replay them when Klaviyo is back",
            "a drill of an outage loses no event",
        ),
        (
            "Alert on our own failing calls, since the status page can lag by hours",
            "a drill raises the alert",
        ),
    ),
    "klaviyo_server_error": (
        (
            "Retry with backoff and a limit, and only what is safe to repeat",
            "a drill shows no call tried twice that is not",
        ),
        ("Set a timeout on every call to Klaviyo", "a call that hangs ends in a test"),
    ),
    "invalid_key": (
        (
            "Rehearse the rotation of the key, restart of every worker included",
            "a rotation ends without a 401",
        ),
        ("Alert on the first 401", "a drill with a wrong key raises the alert"),
    ),
    "missing_scope": (
        (
            "Keep the scopes each service needs beside its code, and check them at deploy",
            "a deploy with a key that lacks one stops",
        ),
        ("Alert on the first 403 from Klaviyo's application", "a drill with a narrow key raises the alert"),
    ),
    "rate_limited": (
        (
            "Give each job a share of the limit, and make it obey Retry-After",
            "the job's largest run meets no 429",
        ),
        ("Alert when more than half of a limit is used for five minutes", "a load test raises the alert"),
    ),
    "invalid_request": (
        (
            "Test what we send against the API revision in use, before deploy",
            "the request of this incident fails that test",
        ),
        (
            "Keep rejected payloads, redacted, so that they can be mended and sent again",
            "a rejected payload is found and sent",
        ),
    ),
    "endpoint_degraded": (
        (
            "Let the rest of the application work while one endpoint fails",
            "a drill with one endpoint failing shows it",
        ),
        ("Queue what that endpoint should have received", "the same drill loses nothing"),
    ),
    "network_unreachable": (
        (
            "Watch DNS, TLS and a keyless call to the API from where the application runs",
            "cutting the way out in a drill raises the alert",
        ),
        ("Write down who owns the way out: proxy, firewall, DNS", "the runbook names them"),
    ),
    "app_unhealthy": (
        (
            "Alert on the health endpoint before users notice",
            "a drill with an unwell application raises the alert",
        ),
        (
            "Find what made the application unwell, and limit it",
            "the limit is reached in a test, and it stays well",
        ),
    ),
    "webhook_endpoint_down": (
        (
            "Alert on silence of webhooks against what is usual at that hour",
            "a drill without the route raises the alert",
        ),
        ("Watch the certificate and the route from outside", "the watch reports a certificate near its end"),
    ),
    "resolved_or_intermittent": (
        ("Find out why it ended by itself, before it comes back", "the root cause above says why"),
        (
            "Alert earlier: it was over when somebody looked",
            "the same failures, played back, raise the alert",
        ),
    ),
}
