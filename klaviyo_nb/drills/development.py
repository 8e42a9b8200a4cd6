"""The development worlds: a story told once, shown as logs, metrics, status page and live answers."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email.utils import formatdate
from functools import cache
from typing import Any

from klaviyo_nb.drills import page
from klaviyo_nb.drills.api import PretendKlaviyo
from klaviyo_nb.drills.cells import ORDINARY, TRICKY
from klaviyo_nb.drills.counters import Scraped, exposition, scrape
from klaviyo_nb.drills.lines import logs
from klaviyo_nb.drills.noise import blinded, disturbed, varied
from klaviyo_nb.drills.prometheus import query_range
from klaviyo_nb.drills.traffic import Story, tell
from klaviyo_nb.drills.ways import OK, WAYS, body, headers
from klaviyo_nb.drills.worlds import SIGNALS, Answer, Clock, Reply, Request, World

_CELLS = {"clean": ORDINARY, "realistic": ORDINARY, "adversarial": TRICKY}
LEVELS: Mapping[str, tuple[str, ...]] = {level: tuple(cells) for level, cells in _CELLS.items()}
_SHOP = "<!doctype html><title>Shop</title>"
_JSON = {"Content-Type": "application/json; charset=utf-8"}


def make(level: str, kind: str, seed: int, now: datetime) -> World:
    """One world that ends at `now`; see `worlds`."""
    rng = random.Random(f"{level}/{kind}/{seed}")  # noqa: S311 - a made-up world
    scenario = varied(_CELLS[level][kind], rng)
    if level != "clean":
        scenario = disturbed(scenario, rng)
    if level == "realistic":
        scenario = blinded(scenario, rng)
    return shown(tell(scenario, seed, now))


def shown(story: Story) -> World:
    """The world in which this story happened."""
    scenario = story.scenario
    return World(
        window=story.window,
        services=lambda clock: _services(story, clock),
        logs={} if "logs" in scenario.without else logs(story),
        truth=story.truth,
        key=scenario.key.format(key=story.key),
        configured=SIGNALS - scenario.without,
    )


def _services(story: Story, clock: Clock) -> Mapping[str, Answer]:
    live = story.scenario.live
    theirs = lambda: clock() + story.scenario.date_skew_s  # noqa: E731 - a clock
    found = {
        "api": _dated(PretendKlaviyo(story.key, live.api, story.seed, clock).reply, theirs),
        "status": _dated(_status_page(story), theirs),
        "app": _application(story),
        "metrics": _metrics_server(story),
    }
    silent = {"api": live.api.get("*"), "status": live.page, "metrics": live.metrics}
    return {name: answer for name, answer in found.items() if silent.get(name) != "refused"}


def _dated(answer: Answer, clock: Clock) -> Answer:
    """The same answers, with the `Date` of another clock."""

    def dated(request: Request) -> Reply:
        reply = answer(request)
        return replace(reply, headers={"Date": formatdate(clock(), usegmt=True)} | dict(reply.headers))

    return dated


def _status_page(story: Story) -> Answer:
    documents, way = page.documents(story), WAYS[story.scenario.live.page]

    def answer(request: Request) -> Reply:
        if way is not OK:
            return Reply(way, way.status or 0, headers(way, None), body(way, ""))
        return _document(documents.get(request.path))

    return answer


def _application(story: Story) -> Answer:
    live, metrics = story.scenario.live, cache(lambda: exposition(scrape(story)))
    word = live.health_says or ("ok" if live.health == 200 else "down")

    def answer(request: Request) -> Reply:
        if request.path == "/health" and live.health is None:
            return Reply(WAYS["hang"])
        if request.path == "/health" and live.health_says == "":
            return Reply(
                OK, live.health or 200, {"Content-Type": "text/html"}, "<!doctype html><title>Shop</title>"
            )
        if request.path == "/health":
            return _document({"status": word, "checks": {"database": word, "klaviyo": "ok"}}, live.health)
        if request.path == "/metrics":
            return Reply(OK, 200, {"Content-Type": "text/plain; version=0.0.4"}, metrics())
        if request.path == "/webhooks/klaviyo" and live.webhook != 404:
            return _document({"error": "invalid signature"}, live.webhook)
        return _document(None)

    return answer


def _metrics_server(story: Story) -> Answer:
    way = WAYS[story.scenario.live.metrics]
    # Scraped before the first question, which else would hold up the other services' answers.
    scraped = Scraped(0.0) if way is not OK or "metrics" in story.scenario.without else scrape(story)

    def answer(request: Request) -> Reply:
        if way is not OK:
            return Reply(way, way.status or 0)
        if request.path != "/api/v1/query_range":
            return _document(None)
        status, document = query_range(scraped, request.form)
        return _document(document, status)

    return answer


def _document(document: Any, status: int | None = 200) -> Reply:
    if document is None:
        return Reply(OK, 404, _JSON, json.dumps({"error": "not found"}))
    return Reply(OK, status or 200, _JSON, json.dumps(document))
