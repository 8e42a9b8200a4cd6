"""What `klaviyo-nb metrics --rules` prints: alert rules, with names and thresholds from a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from klaviyo_nb.commands import steps
from klaviyo_nb.commands.metric_answers import ask_metrics, look_at_metrics
from klaviyo_nb.metrics import rules
from klaviyo_nb.start import utc_now, window_of

if TYPE_CHECKING:
    from klaviyo_nb.metrics.client import Fetched
    from klaviyo_nb.window import Window

#: Span that thresholds of alerts are taken from, if none is given: a week holds what a day and a weekend do.
BASELINE = "7d"


def print_rules(url: str | None, flags: dict[str, Any]) -> None:
    """Print the alert rules: as they are shipped, or for what the server at `url` has.

    Raises:
        UsageError: A setting is wrong, or the server gave nothing.
    """
    if url is None:
        steps.print_bytes(alert_rules(None, None)[0].encode())
        return
    since = flags["since"] or (None if flags["start"] else BASELINE)
    settings = steps.settings_of(flags | {"metrics_url": url, "since": since})
    window = window_of(settings, utc_now())
    fetched = ask_metrics(settings, window)
    steps.report_gaps(fetched.gaps, nothing=fetched.samples is None, hint=look_at_metrics(settings))
    text, unfit = alert_rules(fetched, window)
    if unfit:
        click.echo(f"klaviyo-nb: {unfit}", err=True)
    steps.print_bytes(text.encode())


def alert_rules(fetched: Fetched | None, baseline: Window | None) -> tuple[str, str | None]:
    """The alert rules, with names and thresholds from what was found, if anything was.

    Returns:
        The rules, and what is wrong with them if they cannot fire on that server as they are.
    """
    if fetched is None or fetched.frame is None or baseline is None:
        return rules.shipped(), None
    text, unfit = rules.fitted(fetched.names, fetched.frame), None
    if text is None:
        unfit = (
            "the rules name klaviyo_api_…, for which this server has no counter that tells which calls failed"
            " and has a name without dots"
        )
    return rules.tuned(rules.limits(fetched.frame), baseline, text), unfit
