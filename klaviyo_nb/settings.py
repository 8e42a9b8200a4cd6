"""Settings: the only reader of the environment and of `klaviyo-nb.toml`.

Flags win, then the environment, then the file. The private key comes from the environment alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from klaviyo_nb.errors import UsageError
from klaviyo_nb.expressions import expression
from klaviyo_nb.window import parse_duration, parse_time

FILE_NAME = "klaviyo-nb.toml"
_TABLES = ("metrics", "thresholds", "organisation", "redaction", "limits")
_FORMATS = "log_format"
_REVISION = expression(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z0-9]{1,16})?")
_UNWANTED = expression(r"[\x00-\x20\x7f]")
_CREDENTIALS = expression(r"//[^/]*@")
_ENGINE = expression(r"local(:[1-9][0-9]?)?|dask://[^/@?#\s]+:[0-9]+/?")
_SIZE = expression(r"([1-9][0-9]{0,11}) ?([KMGT]?)i?B")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Organisation:
    """When people work: decides the respond-by time of a P4.

    Attributes:
        timezone: IANA name.
        working_days: 0 is Monday.
        day_end: Hour at which a working day ends, local time.
    """

    timezone: str = "UTC"
    working_days: frozenset[int] = frozenset(range(5))
    day_end: int = 17


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a source may take; what is more than that is left out, and told.

    Attributes:
        source_s: Seconds, where the command has no deadline.
        source_size: Bytes read of each log.
        calls: Calls kept of all logs together.
        samples: Samples of metrics.
    """

    source_s: float = 600.0
    source_size: int = 4 * 1024**3
    calls: int = 250_000
    samples: int = 1_500_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen, after flags, environment and file were merged.

    Attributes:
        private_key: As found in the environment, not yet stripped; None if unset or empty. Never printed.
        api_url: Root of the API.
        status_url: Root of a Statuspage site.
        revision: Revision to pin; None for the newest of the catalogue.
        health_url: The application's health endpoint; empty: not probed.
        webhook_url: The public webhook route; None: not probed.
        metrics_url: Prometheus-compatible server; None: not asked.
        metrics_token: Bearer token for it. Never printed.
        logs: Log source URLs.
        engine: Where they are read: `local`, `local:4` (processes), `dask://HOST:PORT`.
        since: Length of the window when no start is given, e.g. `2h`.
        start: ISO 8601, or None.
        end: ISO 8601, or None for now.
        deadline_s: Limit of the whole command, in seconds.
        metrics: The `[metrics]` table: metric and label names, extra headers.
        thresholds: The `[thresholds]` table.
        organisation: The `[organisation]` table.
        redaction: The `[redaction]` table.
        limits: The `[limits]` table.
        log_format: The `[[log_format]]` tables: formats of logs that are the user's own.
    """

    private_key: str | None = field(default=None, repr=False)
    api_url: str = "https://a.klaviyo.com"
    status_url: str = "https://status.klaviyo.com"
    revision: str | None = None
    health_url: str = "http://localhost:3000/health"
    webhook_url: str | None = None
    metrics_url: str | None = None
    metrics_token: str | None = field(default=None, repr=False)
    logs: tuple[str, ...] = ()
    engine: str = "local"
    since: str = "2h"
    start: str | None = None
    end: str | None = None
    deadline_s: float = 10.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    organisation: Organisation = Organisation()
    redaction: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    log_format: tuple[Mapping[str, Any], ...] = ()

    @property
    def ip_addresses(self) -> bool:
        """Are IP addresses taken out of evidence?"""
        return bool(self.redaction.get("ip_addresses", False))


#: Setting → environment variable.
ENVIRONMENT = {
    "private_key": "KLAVIYO_PRIVATE_KEY",
    "api_url": "KLAVIYO_NB_API_URL",
    "status_url": "KLAVIYO_NB_STATUS_URL",
    "revision": "KLAVIYO_NB_REVISION",
    "health_url": "KLAVIYO_NB_HEALTH_URL",
    "webhook_url": "KLAVIYO_NB_WEBHOOK_URL",
    "metrics_url": "KLAVIYO_NB_METRICS_URL",
    "metrics_token": "KLAVIYO_NB_METRICS_TOKEN",
    "logs": "KLAVIYO_NB_LOGS",
    "engine": "KLAVIYO_NB_ENGINE",
    "since": "KLAVIYO_NB_SINCE",
    "start": "KLAVIYO_NB_START",
    "end": "KLAVIYO_NB_END",
    "deadline_s": "KLAVIYO_NB_DEADLINE",
}
_FILE_KEYS = frozenset(ENVIRONMENT) - {"private_key", "metrics_token", "deadline_s"} | {"deadline"}
_URLS = ("api_url", "status_url", "health_url", "webhook_url", "metrics_url")


def load(
    environ: Mapping[str, str], flags: Mapping[str, Any] | None = None, folder: Path | None = None
) -> Settings:
    """Merge flags over the environment over `klaviyo-nb.toml`.

    Args:
        environ: The process's environment.
        flags: Setting → value; None and empty tuples count as not given.
        folder: Where to look for `klaviyo-nb.toml`; None: no file is read.

    Raises:
        UsageError: A value is malformed, or the file has a key that is not known. Names the setting.
    """
    values, origins = _from_file(folder) if folder else ({}, {})
    for name, variable in ENVIRONMENT.items():
        if variable in environ and (environ[variable] or name == "health_url"):
            values[name], origins[name] = environ[variable], variable
    for name, value in (flags or {}).items():
        if value is not None and value != ():
            values[name], origins[name] = (
                value,
                f"--{name.removesuffix('_s').removesuffix('_url').replace('_', '-')}",
            )
    return Settings(**_typed(values, origins))


def _from_file(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    path = folder / FILE_NAME
    if not path.is_file():
        return {}, {}
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise UsageError(
            str(path), f"cannot be read: {exc}", f"mend {FILE_NAME}, or run from another folder"
        ) from None
    if "private_key" in data:
        raise UsageError(
            f"{FILE_NAME}: private_key",
            "a key does not belong in a file",
            "export KLAVIYO_PRIVATE_KEY=… and remove it",
        )
    unknown = sorted(set(data) - _FILE_KEYS - {*_TABLES, _FORMATS})
    if unknown:
        known = ", ".join(sorted({*_FILE_KEYS, *_TABLES, _FORMATS}))
        raise UsageError(f"{FILE_NAME}: {unknown[0]}", "no such setting", f"use one of: {known}")
    data = {name: value for name, value in data.items() if value != "" or name == "health_url"}
    origins = {name: f"{FILE_NAME}: {name}" for name in data}
    if "deadline" in data:
        data["deadline_s"], origins["deadline_s"] = data.pop("deadline"), origins.pop("deadline")
    return data, origins


def _typed(values: dict[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    for name in _TABLES:
        if not isinstance(values.get(name, {}), Mapping):
            raise UsageError(f"{FILE_NAME}: {name}", "must be a table", f"[{name}]")
    formats = values.get(_FORMATS, [])
    if not isinstance(formats, list) or not all(isinstance(each, Mapping) for each in formats):
        raise UsageError(f"{FILE_NAME}: {_FORMATS}", "must be tables", f"[[{_FORMATS}]]")
    values[_FORMATS] = tuple(formats)
    for name in set(values) - {*_TABLES, _FORMATS, "logs"}:
        values[name] = _text(values[name], origins[name])
    for name in _URLS:
        if values.get(name):
            values[name] = _url(values[name], origins[name])
    if "logs" in values:
        values["logs"] = _logs(values["logs"], origins["logs"])
    _check_shapes(values, origins)
    _check_redaction(values.get("redaction", {}))
    if "deadline_s" in values:
        values["deadline_s"] = parse_duration(values["deadline_s"], origins["deadline_s"]).total_seconds()
    if "organisation" in values:
        values["organisation"] = _organisation(values["organisation"])
    return values | {"limits": _limits(values.get("limits", {}))}


def _text(value: object, origin: str) -> str:
    """A value as text: TOML has numbers (of seconds) and times too."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}s"
    raise UsageError(origin, f"{value!r} is not text", 'write it in quotes: name = "value"')


def _logs(value: object, origin: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list | tuple) and all(isinstance(url, str) and url for url in value):
        return tuple(value)
    raise UsageError(origin, "not a list of log source URLs", 'logs = ["app.log", "journald:///web"]')


def _check_shapes(values: Mapping[str, str], origins: Mapping[str, str]) -> None:
    if "since" in values:
        parse_duration(values["since"], origins["since"])
    for name in ("start", "end"):
        if name in values:
            parse_time(values[name], origins[name])
    if "engine" in values and not _ENGINE.fullmatch(values["engine"]):
        hint = "local, local:4 or dask://HOST:8786"
        raise UsageError(origins["engine"], f"{values['engine']!r} is not an engine", f"use {hint}")
    if "revision" in values and not _REVISION.fullmatch(values["revision"]):
        raise UsageError(
            origins["revision"], f"{values['revision']!r} is not a revision", "use one such as 2026-07-15"
        )


def _check_redaction(table: Mapping[str, Any]) -> None:
    if set(table) - {"ip_addresses"} or not isinstance(table.get("ip_addresses", False), bool):
        raise UsageError(
            f"{FILE_NAME}: redaction", "it has one setting, true or false", "ip_addresses = true"
        )


def _limits(table: Mapping[str, Any]) -> Limits:
    where, found = f"{FILE_NAME}: limits", dict[str, Any]()
    for name, value in table.items():
        size = _SIZE.fullmatch(value) if name == "source_size" and isinstance(value, str) else None
        if name == "source_time":
            origin = f"{where}.{name}"
            found["source_s"] = parse_duration(_text(value, origin), origin).total_seconds()
        elif size:
            found[name] = int(size[1]) * 1024 ** " KMGT".index(size[2] or " ")
        elif name in ("calls", "samples") and type(value) is int and value > 0:
            found[name] = value
        else:
            what = 'source_time = "10m", source_size = "4GB", calls = 500000 or samples = 500000'
            raise UsageError(f"{where}.{name}", f"{value!r} is no such limit", f"write {what}")
    return Limits(**found)


def _url(text: str, origin: str) -> str:
    text = text.strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and (parts.port or 1) > 0 and not _UNWANTED.search(text)
        usable = usable and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        usable = False
    if not usable:
        shown = _CREDENTIALS.sub("//***@", text)
        raise UsageError(
            origin, f"{shown!r} is not an http(s) URL", "give one such as https://host.example:9090"
        )
    return text.rstrip("/")


def _organisation(table: Mapping[str, Any]) -> Organisation:
    where = f"{FILE_NAME}: organisation"
    unknown = sorted(set(table) - {"timezone", "working_days", "day_end"})
    if unknown:
        raise UsageError(f"{where}.{unknown[0]}", "no such setting", "use timezone, working_days or day_end")
    timezone = str(table.get("timezone", "UTC"))
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"{where}.timezone", f"{timezone!r} is not a time zone", 'timezone = "Europe/Berlin"'
        ) from None
    listed = table.get("working_days", _DAYS[:5])
    days = [str(day).lower()[:3] for day in listed] if isinstance(listed, list | tuple) else []
    if not days or any(day not in _DAYS for day in days):
        raise UsageError(f"{where}.working_days", "not a list of weekdays", 'working_days = ["mon", "tue"]')
    day_end = table.get("day_end", 17)
    if type(day_end) is not int or not 0 < day_end < 24:
        raise UsageError(f"{where}.day_end", f"{day_end!r} is not an hour", "day_end = 17")
    return Organisation(timezone, frozenset(_DAYS.index(day) for day in days), day_end)
