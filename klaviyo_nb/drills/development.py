"""The development worlds: a story told once, shown as logs, metrics, status page and live answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from klaviyo_nb.drills import page
from klaviyo_nb.drills.api import PretendKlaviyo
from klaviyo_nb.drills.counters import exposition, scrape
from klaviyo_nb.drills.lines import logs
from klaviyo_nb.drills.prometheus import query_range
from klaviyo_nb.drills.scenarios import SCENARIOS
from klaviyo_nb.drills.traffic import Story, tell
from klaviyo_nb.drills.ways import OK, WAYS, body, headers
from klaviyo_nb.drills.worlds import SIGNALS, Answer, Clock, Reply, Request, World

LEVELS: Mapping[str, tuple[str, ...]] = {"clean": tuple(SCENARIOS)}
_JSON = {"Content-Type": "application/json; charset=utf-8"}


def make(level: str, kind: str, seed: int, now: datetime) -> World:
    """One world that ends at `now`; see `worlds`."""
    return shown(tell(SCENARIOS[kind], seed, now))


def shown(story: Story) -> World:
    """The world in which this story happened."""
    scenario = story.scenario
    return World(
        window=story.window,
        services=lambda clock: _services(story, clock),
        logs=logs(story),
        truth=story.truth,
        key=story.key if scenario.has_key else "",
        configured=SIGNALS if scenario.has_metrics else SIGNALS - {"metrics"},
    )


def _services(story: Story, clock: Clock) -> Mapping[str, Answer]:
    live = story.scenario.live
    found = {
        "api": PretendKlaviyo(story.key, live.api, story.seed, clock).reply,
        "status": _status_page(story),
        "app": _application(story),
        "metrics": _metrics_server(story),
    }
    silent = {"api": live.api.get("*"), "status": live.page}
    return {name: answer for name, answer in found.items() if silent.get(name) != "refused"}


def _status_page(story: Story) -> Answer:
    documents, way = page.documents(story), WAYS[story.scenario.live.page]

    def answer(request: Request) -> Reply:
        if way is not OK:
            return Reply(way, way.status or 0, headers(way, None), body(way, ""))
        return _document(documents.get(request.path))

    return answer


def _application(story: Story) -> Answer:
    live, metrics = story.scenario.live, cache(lambda: exposition(scrape(story)))
    word = "ok" if live.health == 200 else "down"

    def answer(request: Request) -> Reply:
        if request.path == "/health":
            return _document({"status": word, "checks": {"database": word, "klaviyo": "ok"}}, live.health)
        if request.path == "/metrics":
            return Reply(OK, 200, {"Content-Type": "text/plain; version=0.0.4"}, metrics())
        if request.path == "/webhooks/klaviyo" and live.webhook != 404:
            return _document({"error": "invalid signature"}, live.webhook)
        return _document(None)

    return answer


def _metrics_server(story: Story) -> Answer:
    scraped = cache(lambda: scrape(story))

    def answer(request: Request) -> Reply:
        if request.path != "/api/v1/query_range":
            return _document(None)
        status, document = query_range(scraped(), request.form)
        return _document(document, status)

    return answer


def _document(document: Any, status: int = 200) -> Reply:
    if document is None:
        return Reply(OK, 404, _JSON, json.dumps({"error": "not found"}))
    return Reply(OK, status, _JSON, json.dumps(document))
