"""The log files of a reporting world: calls, other lines, deliveries, and what a collector wraps them in.

Source:
    https://kubernetes.io/docs/concepts/cluster-administration/logging/
"""

from __future__ import annotations

import random
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files

from klaviyo_nb.drills.reporting.serving import Told
from klaviyo_nb.drills.reporting.shop import Part
from klaviyo_nb.drills.reporting.story import Call
from klaviyo_nb.drills.reporting.writers import WRITERS, Record
from klaviyo_nb.drills.ways import compact

#: Writer → its lines that are no calls.
_ASIDES = tomllib.loads(files(__package__).joinpath("asides.toml").read_text("utf-8"))
#: Share of lines that tell of something else, per call.
_CHATTER = 0.15


def logs(told: Told) -> dict[str, str]:
    """File name → text, a file for each part that is collected."""
    if "logs" not in told.plot.signals:
        return {}
    rng = random.Random(f"lines/{told.seed}")  # noqa: S311 - a made-up world
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in told.calls:
        if call.failed or not told.plot.errors_only:
            calls[call.part.name].append(call)
    found = {}
    for part in told.plot.parts:
        if part.name in told.plot.lost:
            continue
        wrap, suffix = rng.choice(_WRAPS)
        found[f"{part.name}{suffix}"] = "".join(
            wrap(text, at, host) for at, host, text in _lines(told, part, calls[part.name], rng)
        )
    return found


def _lines(told: Told, part: Part, calls: list[Call], rng: random.Random) -> list[tuple[float, str, str]]:
    """Moment, host and text of every record of one part."""
    plot, slash = told.plot, rng.choice(("", "/"))
    found = []
    for call in calls:
        record = Record(call, plot.skew.get(call.host, 0.0), rng, slash)
        found += [(record.at, call.host, text) for text in WRITERS[part.writer](record)]
    for _ in range(max(6, int(len(calls) * _CHATTER))):
        at = rng.uniform(told.start - 600, told.end)
        found.append((at, part.hosts[0], _at(rng.choice(_ASIDES[part.writer]["aside"]), at)))
    if plot.deploy is not None:
        found.append((plot.deploy + 9, part.hosts[0], _at(_ASIDES[part.writer]["start"], plot.deploy + 9)))
    found += [(at, part.hosts[0], text) for at, text in _deliveries(told, part, rng)]
    return sorted(found, key=lambda each: each[0])


def _at(form: str, at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    milli = f"{moment.microsecond // 1000:03d}"
    z = moment.strftime("%Y-%m-%dT%H:%M:%S.") + milli
    spaced = z.replace("T", " ")
    form = form.replace("<n>", moment.strftime("%d/%b/%Y:%H:%M:%S +0000"))
    form = form.replace("<e>", moment.strftime("%Y/%m/%d %H:%M:%S"))
    return form.replace("<z>", z).replace("<c>", spaced.replace(".", ",")).replace("<b>", f"{spaced}000")


def _deliveries(told: Told, part: Part, rng: random.Random) -> Iterator[tuple[float, str]]:
    """Webhooks that the first part received, as its server's access log has them."""
    plot = told.plot
    if part is not plot.parts[0] or "webhook" not in plot.signals or not plot.takes_webhooks:
        return
    at = told.start - 600
    while (at := at + rng.expovariate(1 / 40)) < told.end:
        status = plot.deliveries if at >= plot.deliveries_since else 200
        if status is not None:
            moment = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
            yield (
                at,
                (
                    f'10.0.4.{rng.randint(2, 9)} - - [{moment}] "POST /webhooks/klaviyo HTTP/1.1" {status} '
                    f'{rng.choice((2, 15, 31))} "-" "Klaviyo-Webhooks/1.0"'
                ),
            )
        if status == 401:
            yield at, _at(_ASIDES[part.writer]["reject"], at)


def _plain(text: str, at: float, host: str) -> str:
    return text + "\n"


def _docker(text: str, at: float, host: str) -> str:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "481Z")
    return "".join(
        compact({"log": line + "\n", "stream": "stderr", "time": stamp}) + "\n" for line in text.split("\n")
    )


def _cri(text: str, at: float, host: str) -> str:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "481Z")
    return "".join(f"{stamp} stderr F {line}\n" for line in text.split("\n"))


def _syslog(text: str, at: float, host: str) -> str:
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return "".join(f"{stamp} {host} shop[812]: {line}\n" for line in text.split("\n"))


_WRAPS = (
    (_plain, ".log"),
    (_plain, ".log"),
    (_docker, "-json.log"),
    (_cri, ".cri.log"),
    (_syslog, ".syslog"),
)
