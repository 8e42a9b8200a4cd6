"""Options that several commands have: where to look and when, in what form to print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

engine = click.option(
    "--engine", metavar="E", help="Where logs are read: local, local:4 (processes), dask://HOST:PORT."
)


def signals(command: Command) -> Command:
    """Add the options that say where to look and when."""
    for option in reversed(
        (
            click.option(
                "--logs",
                multiple=True,
                metavar="URL",
                help="Log source: path, glob, -, journald:///UNIT. Repeatable.",
            ),
            engine,
            click.option("--metrics", "metrics_url", metavar="URL", help="Prometheus-compatible server."),
            *_WINDOW,
        )
    ):
        command = option(command)
    return command


_WINDOW = (
    click.option("--since", metavar="2h", help="Length of the window that ends now.  [default: 2h]"),
    click.option("--start", metavar="T", help="Start of the window, ISO 8601, UTC unless it has an offset."),
    click.option("--end", metavar="T", help="End of the window; default now."),
)  # fmt: skip


def window_options(command: Command) -> Command:
    """Add the options that say when."""
    for option in reversed(_WINDOW):
        command = option(command)
    return command


def output(*choices: str) -> Callable[[Command], Command]:
    """The option that says in what form to print; the first is the default."""
    return click.option("--format", "form", type=click.Choice(choices), default=choices[0], show_default=True)


in_full = click.option("--full", is_flag=True, help="Tell every action in full, not the first ones only.")
