"""What the services of a reporting world answer now: API, status page, application, metrics server."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from klaviyo_nb.drills.api import PretendKlaviyo
from klaviyo_nb.drills.counters import BUCKETS, SCRAPE_S, Labels, Scraped
from klaviyo_nb.drills.prometheus import query_range
from klaviyo_nb.drills.reporting.answers import ANSWERS, ON_PURPOSE, headers_of, id_for, text_of
from klaviyo_nb.drills.reporting.story import BEFORE_S, Call, Plot, Post, endpoint
from klaviyo_nb.drills.ways import OK, Way
from klaviyo_nb.drills.worlds import Answer, Clock, Reply, Request

_JSON = {"Content-Type": "application/json"}
_PORTAL = (
    '<!doctype html><html><head><meta http-equiv="refresh" content="0; url=http://login.wifi/"><title>Sign in'
    "</title></head><body><h1>Welcome</h1><p>Please sign in to use this network.</p></body></html>"
)


class Told(NamedTuple):
    """A world with its calls made."""

    plot: Plot
    calls: Sequence[Call]
    start: float
    end: float
    key: str
    seed: str


def services(told: Told, clock: Clock) -> Mapping[str, Answer]:
    """The services that listen."""
    page, plot = told.plot.page, told.plot
    found: dict[str, Answer] = {}
    if not _refused(told):
        found["api"] = _api(told, clock)
    if page != "refused":
        found["status"] = _page(told)
    if plot.app_listens:
        found["app"] = _app(told)
    if "metrics" in plot.signals:
        found["metrics"] = _metrics(told)
    return found


def _refused(told: Told) -> bool:
    return told.plot.live.get("*") == "refused" or any(
        "refused" in fault.answers and fault.until > told.end for fault in told.plot.faults if not fault.hosts
    )


def _api(told: Told, clock: Clock) -> Answer:
    pretend = PretendKlaviyo(told.key, {}, 0, clock)
    rng = random.Random(f"live/{told.seed}")  # noqa: S311 - a made-up world

    def answer(request: Request) -> Reply:
        name = _live(told, rng, request)
        changed = {"Date": formatdate(clock() + told.plot.skew.get("", 0.0), usegmt=True)}
        if name != "ok":
            return _broken(ANSWERS[name], told, rng, changed)
        reply = pretend.reply(request)
        if told.plot.retiring and reply.status != 401:
            changed["X-Klaviyo-Api-Retirement-Date"] = (
                f"{datetime.fromtimestamp(told.end, UTC).year + 1}-01-15"
            )
        if reply.status < 400:
            factor = told.plot.slow if told.plot.slow_since < told.end else 1.0
            changed["X-Envoy-Upstream-Service-Time"] = str(round(rng.randrange(60, 200) * factor))
        return Reply(reply.way, reply.status, dict(reply.headers) | changed, reply.body)

    return answer


def _live(told: Told, rng: random.Random, request: Request) -> str:
    """The answer to a probe: as the faults have it for somebody who is none of the application's hosts."""
    keyed = "Authorization" in request.headers
    operation = {"/api/accounts": "get_accounts", "/api/profiles": "get_profiles"}.get(
        request.path.rstrip("/"), ""
    )
    live = told.plot.live
    name = live.get(operation if keyed else "keyless", live.get("*"))
    if name is None:
        now = told.end - 1
        hits = (fault.answer(rng, now, operation, None) for fault in told.plot.faults)
        name = next((hit for hit in hits if hit), "ok")
    # Klaviyo's application asks for a key first.
    return "ok" if not keyed and name in ON_PURPOSE else name


def _broken(way: Way, told: Told, rng: random.Random, changed: Mapping[str, str]) -> Reply:
    if way.status is None:
        return Reply(way)
    waits = next((fault.waits for fault in told.plot.faults if "throttled" in fault.answers), (1, 45))
    wait = rng.randint(*waits) if way.status == 429 else None
    request_id = id_for(way, rng)
    found = headers_of(way, rng, request_id, wait) | dict(changed)
    text = _PORTAL if way.by == "portal" and way.status == 200 else text_of(way, request_id, wait)
    return Reply(way, way.status, found, text)


#: Components; the first four are groups of none. What an application uses is among the first three.
COMPONENTS = (
    "Klaviyo API",
    "Segmentation",
    "List Subscription",
    "Campaign Email Sending",
    "Flow Email Sending",
    "SMS Sending",
    "Signup Forms",
    "Reviews",
    "Shopify Integration",
)
_WORDS = {
    "none": "All Systems Operational",
    "minor": "Partially Degraded Service",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
    "maintenance": "Service Under Maintenance",
}


def _page(told: Told) -> Answer:
    page, documents = told.plot.page, _documents(told)

    def answer(request: Request) -> Reply:
        if page in ANSWERS and page != "ok":
            way = ANSWERS[page]
            if way.status is None:
                return Reply(way)
            text = _PORTAL if page == "portal" else text_of(way, None, None)
            return Reply(way, way.status, headers_of(way, random.Random(0), None, None), text)  # noqa: S311
        name = request.path.removeprefix("/api/v2/").removesuffix(".json")
        if name not in documents or (page == "no summary" and name == "summary"):
            return Reply(OK, 404, {"Content-Type": "text/html"}, "<h1>Not Found</h1>")
        return Reply(OK, 200, _JSON, json.dumps(documents[name]))

    return answer


def _documents(told: Told) -> dict[str, dict[str, Any]]:
    posts = told.plot.posts
    states = {name: state for post in posts for name, state in post.components.items()}
    rows = [_component(i, name, states.get(name, "operational")) for i, name in enumerate(COMPONENTS)]
    planned = [_incident(post, rows) for post in posts if post.status in ("in_progress", "scheduled")]
    incidents = [_incident(post, rows) for post in posts if post.status not in ("in_progress", "scheduled")]
    active = [each for each in planned if each["status"] == "in_progress"]
    impacts = [post.impact for post in posts if post.status != "scheduled"]
    worst = max(impacts, key=list(_WORDS).index, default="none")
    page = {
        "id": "k9yv2mq7t1xd",
        "name": "Klaviyo",
        "url": "https://status.klaviyo.com",
        "time_zone": "America/New_York",
        "updated_at": _iso(max((post.at for post in posts), default=told.start)),
    }
    parts: dict[str, dict[str, Any]] = {
        "status": {"status": {"indicator": worst, "description": _WORDS[worst]}},
        "components": {"components": rows},
        "incidents/unresolved": {"incidents": incidents},
        "scheduled-maintenances/active": {"scheduled_maintenances": active},
    }
    whole = {key: value for part in parts.values() for key, value in part.items()}
    parts["summary"] = whole | {"scheduled_maintenances": planned}
    return {name: {"page": page} | part for name, part in parts.items()}


def _component(number: int, name: str, state: str) -> dict[str, Any]:
    return {
        "id": f"c{number:02d}w5xq7",
        "name": name,
        "status": state,
        "created_at": "2021-06-01T12:00:00.000Z",
        "updated_at": "2026-01-01T12:00:00.000Z",
        "position": number + 1,
        "description": None,
        "showcase": False,
        "start_date": "2021-06-01",
        "group_id": None,
        "page_id": "k9yv2mq7t1xd",
        "group": False,
        "only_show_if_degraded": False,
    }


def _incident(post: Post, rows: list[dict[str, Any]]) -> dict[str, Any]:
    posted = _iso(post.at)
    touched = [row for row in rows if row["name"] in post.components]
    changes = [
        {"code": row["id"], "name": row["name"], "old_status": "operational", "new_status": row["status"]}
        for row in touched
    ]
    update = {
        "id": "u1",
        "status": post.status,
        "body": post.text,
        "incident_id": "i1",
        "created_at": posted,
        "updated_at": posted,
        "display_at": posted,
        "affected_components": changes or None,
        "deliver_notifications": True,
        "custom_tweet": None,
        "tweet_id": None,
    }
    found = {
        "id": "i1",
        "name": post.title,
        "status": post.status,
        "created_at": posted,
        "updated_at": posted,
        "monitoring_at": posted if post.status == "monitoring" else None,
        "resolved_at": None,
        "impact": post.impact,
        "shortlink": "https://stspg.io/k9yv2mq7t1xd",
        "started_at": posted,
        "page_id": "k9yv2mq7t1xd",
        "incident_updates": [update],
        "components": touched,
    }
    if post.impact == "maintenance":
        found |= {"scheduled_for": posted, "scheduled_until": _iso(post.at + 7200)}
    return found


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _app(told: Told) -> Answer:
    plot = told.plot

    def answer(request: Request) -> Reply:
        if request.path == "/health":
            if plot.health is None:
                return Reply(ANSWERS["hang"])
            status, text, kind = plot.health
            return Reply(OK, status, {"Content-Type": kind}, text)
        if request.path != "/webhooks/klaviyo" or plot.webhook == 404:
            return Reply(OK, 404, {"Content-Type": "text/html"}, "<h1>Not Found</h1>")
        if plot.webhook == 405 and request.method == "GET":
            return Reply(OK, 405, {"Allow": "POST"}, "")
        status = 401 if plot.webhook == 405 else plot.webhook
        return Reply(OK, status, _JSON, '{"detail":"signature"}' if status >= 400 else "{}")

    return answer


def _metrics(told: Told) -> Answer:
    scraped = _scraped(told)  # before anybody waits for it

    def answer(request: Request) -> Reply:
        if told.plot.metrics_down:
            return Reply(OK, 503, {"Content-Type": "text/plain"}, "Service Unavailable")
        if request.path != "/api/v1/query_range":
            return Reply(OK, 404, {"Content-Type": "text/plain"}, "404 page not found")
        status, document = query_range(scraped, request.form)
        return Reply(OK, status, _JSON, json.dumps(document))

    return answer


def _scraped(told: Told) -> Scraped:
    """Counters of each job as a server stores them; they start again where the application did."""
    rng = random.Random(f"labels/{told.seed}")  # noqa: S311 - a made-up world
    label = rng.choice((_result_label, _status_label, _class_label))
    slash = rng.choice(("", "/"))
    older = rng.random() < 0.2
    first = (told.start - BEFORE_S) // SCRAPE_S * SCRAPE_S
    scraped = Scraped(first, int((told.end - first) // SCRAPE_S) + 1)
    added: dict[Labels, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    gauge: dict[int, float] = {}
    for call in told.calls:
        number = max(0, int(-((first - call.at) // SCRAPE_S)))
        if number >= scraped.scrapes:
            continue
        for labels, value in _increments(call, label, slash, older):
            added[labels][number] += value
        if call.remaining is not None:
            gauge[number] = float(call.remaining)
    again = _number(told.plot.deploy, first) if told.plot.deploy else None
    for labels, steps in added.items():
        scraped.series[labels] = min(steps), list(_counter(steps, scraped.scrapes, again))
    if gauge:
        born = min(gauge)
        held = accumulate(range(born, scraped.scrapes), lambda last, i: gauge.get(i, last), initial=0.0)
        name = _labels("klaviyo_rate_limit_remaining")
        scraped.series[name] = born, list(held)[1:]
    return scraped


def _number(at: float, first: float) -> int:
    return int((at - first) // SCRAPE_S) + 1


def _counter(steps: Mapping[int, float], scrapes: int, again: int | None) -> Iterator[float]:
    value = 0.0
    for number in range(min(steps), scrapes):
        value = steps.get(number, 0.0) + (0.0 if number == again else value)
        yield value


_Label = Callable[[Call], str]


def _result_label(call: Call) -> str:
    return "error" if call.failed else "success"


def _status_label(call: Call) -> str:
    return "unknown" if call.failed and _code(call) == "unknown" else _code(call)


def _class_label(call: Call) -> str:
    code = _status_label(call)
    return code if code == "unknown" else f"{code[0]}xx"


def _code(call: Call) -> str:
    if not call.failed:
        return str(endpoint(call.operation).success[0])
    status = ANSWERS[call.answer].status
    return "unknown" if status in (None, 200) else str(status)


def _increments(call: Call, label: _Label, slash: str, older: bool) -> Iterator[tuple[Labels, float]]:
    found = endpoint(call.operation)
    where = {"method": found.method, "endpoint": found.path + slash, "job": call.part.name}
    yield _labels("klaviyo_api_requests_total", **where, status=label(call)), 1
    base = "klaviyo_api_duration_seconds"
    for bound in (*BUCKETS, float("inf")):
        inside = call.duration_s <= bound
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        yield _labels(f"{base}_bucket", **where, le=le), float(inside)
    yield _labels(f"{base}_count", **where), 1
    yield _labels(f"{base}_sum", **where), call.duration_s
    if call.failed:
        name = "klaviyo_errors_total" if older else "klaviyo_api_errors_total"
        error = {"status_code": _code(call), "error_code": ANSWERS[call.answer].code or "unknown"}
        yield _labels(name, endpoint=where["endpoint"], job=call.part.name, **error), 1


@cache
def _of(items: tuple[tuple[str, str], ...]) -> Labels:
    return tuple(sorted(items))


def _labels(name: str, **labels: str) -> Labels:
    return _of((("__name__", name), *labels.items()))
