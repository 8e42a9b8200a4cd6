"""Finding the metrics of an application that names them in its own way, and how often they are sampled.

A counter is used in place of the configured one only if every label of it is understood and no other could be
meant as well: half of the calls, or those of somebody else, would be a wrong number. Whatever else looks like
Klaviyo is named, with the line of `klaviyo-nb.toml` that would make it the one.

Source:
    https://prometheus.io/docs/prometheus/latest/querying/api/#finding-series-by-label-matchers
    https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#http-client
    https://docs.micrometer.io/micrometer/reference/reference/httpcomponents.html
    https://prometheus.io/docs/guides/utf8/
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson

from klaviyo_nb.errors import SourceError
from klaviyo_nb.evidence import Gap
from klaviyo_nb.metrics.gauges import RATE
from klaviyo_nb.metrics.matrix import read
from klaviyo_nb.metrics.names import DURATIONS, LABELS, SUCCEEDED, MetricNames
from klaviyo_nb.metrics.server import Server
from klaviyo_nb.window import Window

#: Span of raw samples from which the scrape interval is read [s]: three samples at five minutes apart.
RAW_S = 900
#: Longest answer that is read [bytes].
LARGEST = 8 * 2**20
#: Candidates that are named at most.
MOST = 5
#: Labels in which client libraries and meshes put the host that was called; any may have dots for `_`.
HOSTS = (
    "server_address", "net_peer_name", "http_host", "host", "hostname", "client_name", "clientName", "peer",
    "target", "remote_host", "url_host", "destination", "destination_service", "domain",
)  # fmt: skip
#: Label of ours → labels that mean it, the surest first; any may have dots for `_`.
MEANT = {
    "status": ("http_response_status_code", "http_status_code", "status_code", "response_code", "http_status",
               "code", "status", "outcome", "result"),
    "method": ("http_request_method", "http_method", "request_method", "method", "verb"),
    "endpoint": ("endpoint", "url_template", "http_route", "uri", "path", "route", "url_path", "operation"),
    "error_type": ("error_type",),
}  # fmt: skip

_HOST = r"(https?://)?a[.]klaviyo[.]com(:[0-9]+)?/?"
_FAILED = "(?i:error|failed|failure|timeout|unknown|(io|client|server)_error)"
_STATUS = re.compile(rf"{SUCCEEDED}|[45][0-9x][0-9x]|{_FAILED}")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_.:]*")
_CALLS = re.compile(r"request|call|http_?client")
_OTHER = re.compile(r"webhook|retr|queue|size|bytes|server|error|fail|limit|job|connect|dns|created")
#: A table that is there cannot be given again.
_PLACE = "the first line of klaviyo-nb.toml (or the same keys in its [metrics] table, if it has one)"

Written = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A metric that may count calls to Klaviyo; `why` it cannot be used, or None."""

    name: str
    matcher: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    why: str | None = None

    @property
    def selector(self) -> str:
        if "." not in self.name:
            return f"{self.name}{{{self.matcher}}}" if self.matcher else self.name
        inside = ",".join(filter(None, (f'__name__="{self.name}"', self.matcher)))
        return f"{{{inside}}}"  # so every server takes a name with dots

    @property
    def rank(self) -> tuple[bool, bool]:
        """Its own metric before a library's, a counter before a histogram that is kept beside it."""
        return "klaviyo" not in self.name.lower(), not self.name.endswith("_total")


async def interval_s(server: Server, expressions: Sequence[str], at: float) -> int | None:
    """Seconds between the samples of the first of these that has any shortly before `at`.

    Raises:
        SourceError: The server refuses.
    """
    for expr in expressions:
        body = await server.ask("/api/v1/query", [("query", f"{expr}[{RAW_S}s]"), ("time", int(at))], LARGEST)
        try:
            series, _ = read(body, int(at) - RAW_S, int(at))
        except ValueError:
            return None
        apart = [np.diff(each.times) for each in series]
        if sum(map(len, apart)):
            return max(1, round(float(np.median(np.concatenate(apart))) / 1e9))
    return None


async def look(server: Server, names: MetricNames, window: Window) -> tuple[MetricNames, tuple[Gap, ...]]:
    """The names to ask for: the configured ones, or, where calls have no series of that name, those found.

    Raises:
        SourceError: The server refuses.
    """
    wanted = names.expressions()["requests"]
    if await _series(server, wanted, window):
        return names, ()
    rows, written = await _candidates(server, names, window)
    found = [_read(name, of, written) for name, of in _named(rows).items()]
    found.sort(key=lambda each: ":" in each.name)
    usable = sorted((each for each in found if each.why is None), key=lambda each: each.rank)
    best = [each for each in usable if each.rank == usable[0].rank]
    if len(best) != 1:
        return names, _hints(wanted, [replace(each, why="there are several like it") for each in best] + [
            each for each in found if each.why])  # fmt: skip
    used = _using(best[0], found, names)
    text = f"no series of {' or '.join(wanted)}: used {best[0].selector} instead"
    asked = {_stem(each) for each in (*used.requests, *used.duration)}
    others = [each.selector for each in usable if _stem(each.name) not in asked]
    if others:
        text += f". Not looked at, though it may count calls too: {_some(others)}"
    return used, (Gap("metrics:names", f"{text}. To keep it, {_PLACE}: {_toml(used)}"),)


async def _candidates(
    server: Server, names: MetricNames, window: Window
) -> tuple[list[dict[str, str]], Written]:
    """Label sets with `klaviyo` in the name or its host in a label; how the server writes labels with dots.

    Raises:
        SourceError: The server refuses.
    """
    kept = f'__name__!~".*_bucket"{"," * bool(names.selector)}{names.selector}'
    hosts = [f'{{{label}=~"{_HOST}",{kept}}}' for label in HOSTS]
    dotted = [label.replace("_", ".") for label in HOSTS if "_" in label]
    asked = [
        [f'{{{written(label)}=~"{_HOST}",{kept}}}' for label in dotted] for written in (_quoted, _escaped)
    ]
    questions = ([f'{{__name__=~"(?i).*klaviyo.*",{kept}}}', *hosts], *asked)
    # At once, for a server may take seconds for each.
    rows, quoted, escaped = await asyncio.gather(
        *(_series(server, matchers, window) for matchers in questions), return_exceptions=True
    )
    if isinstance(rows, BaseException):
        raise rows
    for more, written in ((quoted, _quoted), (escaped, _escaped)):
        if not isinstance(more, BaseException):
            return rows + [each for each in more if each not in rows], written
        if not isinstance(more, SourceError):
            raise more
    return rows, _quoted  # a server that refuses labels with dots has none


def _quoted(label: str) -> str:
    """A label in a selector, as Prometheus takes it from version 3 on."""
    return f'"{label}"' if "." in label else label


def _escaped(label: str) -> str:
    """A label in a selector, as every version of VictoriaMetrics takes it."""
    return label.replace(".", r"\.")


async def _series(server: Server, matchers: Sequence[str], window: Window) -> list[dict[str, str]]:
    """Label sets that had a sample in the window."""
    question: list[tuple[str, str | int]] = [("match[]", each) for each in matchers]
    question += [("start", int(window.start.timestamp())), ("end", int(window.end.timestamp()))]
    try:
        rows = orjson.loads(await server.ask("/api/v1/series", question, LARGEST))["data"]
        return [{str(key): str(value) for key, value in row.items()} for row in rows]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise SourceError(server.where, "its list of series is not that of a Prometheus API") from None


def _named(rows: Sequence[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if _NAME.fullmatch(name := row.get("__name__", "")) and len(name) <= 120:
            found.setdefault(name, []).append(row)
    return dict(sorted(found.items()))


def _read(name: str, rows: Sequence[Mapping[str, str]], written: Written) -> _Candidate:
    """What a metric means, from the labels of its series."""
    plain = name.replace(".", "_")
    if RATE.search(name):
        return _Candidate(name, why="it is no counter, as its name says")
    if ":" in name:
        return _Candidate(name, why="a rule computes it from others")
    if not plain.endswith(("_total", "_count")) or not _CALLS.search(plain) or _OTHER.search(plain):
        return _Candidate(name, why="it may count something else")
    present = {label.replace(".", "_"): label for row in rows for label in row}
    matcher = "" if "klaviyo" in name.lower() else _matcher(rows, present, written)
    means = {
        ours: next((present[one] for one in each if one in present), None) for ours, each in MEANT.items()
    }
    labels = {ours: label for ours, label in means.items() if label}
    return _Candidate(name, matcher, labels, _unclear(rows, labels))


def _matcher(rows: Sequence[Mapping[str, str]], present: Mapping[str, str], written: Written) -> str:
    known = (present[each] for each in HOSTS if each in present)
    label = next(each for each in known if any(re.fullmatch(_HOST, row.get(each, "")) for row in rows))
    hosts = sorted({row[label] for row in rows if label in row})
    return f'{written(label)}="{hosts[0]}"' if len(hosts) == 1 else f'{written(label)}=~"{_HOST}"'


def _unclear(rows: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> str | None:
    if (status := labels.get("status")) is None:
        return "no label of it tells how calls ended"
    strange = sorted({row[status] for row in rows if row.get(status) and not _STATUS.fullmatch(row[status])})
    if strange:
        return f"what {status}={strange[0][:40]!r} of it means, only you know: succeeded = '…'"
    error = labels.get("error_type", "error_type")
    silent = any(not row.get(status) and not row.get(error) for row in rows)
    return f"some series of it have neither {status} nor {error}" if silent else None


def _using(chosen: _Candidate, found: Sequence[_Candidate], names: MetricNames) -> MetricNames:
    """`names` with the chosen counter of calls, and the histogram that is kept with it."""
    kin = [each for each in found if each.rank[0] == chosen.rank[0]]
    timed = [base for each in [chosen, *kin] if (base := each.name.removesuffix("_count")) != each.name]
    timed = [base for base in dict.fromkeys(timed) if DURATIONS.search(base)]
    duration = names.duration
    if len(timed) == 1 or chosen.name.removesuffix("_count") in timed:
        duration = (replace(chosen, name=f"{timed[0]}_bucket").selector,)
    return replace(
        names, requests=(chosen.selector,), duration=duration, labels={**names.labels, **chosen.labels}
    )


def _stem(selector: str) -> str:
    """What a histogram's counter and its buckets are both called."""
    name = selector.removeprefix('{__name__="').partition('"')[0].partition("{")[0]
    return name.removesuffix("_bucket").removesuffix("_count")


def _toml(names: MetricNames) -> str:
    """The settings that give the same, on one line, for messages are lines."""
    labels = ", ".join(f'{ours} = "{label}"' for ours, label in names.labels.items() if label != LABELS[ours])
    roles = {"requests": names.requests, "duration": names.duration}
    told = [f"{role} = '{each[0]}'" for role, each in roles.items() if each]
    return f"metrics = {{ {', '.join(told + [f'labels = {{ {labels} }}'] * bool(labels))} }}"


def _hints(wanted: Sequence[str], found: Sequence[_Candidate]) -> tuple[Gap, ...]:
    """What was found and not used, with what to type for it."""
    if not found:
        return ()
    counter = next((each.selector for each in found if not RATE.search(each.name)), None)
    line = f" If one counts calls, {_PLACE}: metrics = {{ requests = '{counter}' }}" if counter else ""
    text = (
        f"no series of {' or '.join(wanted)}, and none was used instead of it. Candidates:"
        f" {_some([f'{each.selector} ({each.why})' for each in found])}."
        f"{line}"
    )
    return (Gap("metrics:names", text),)


def _some(told: Sequence[str]) -> str:
    more = f"; and {len(told) - MOST} more" if len(told) > MOST else ""
    return "; ".join(told[:MOST]) + more
