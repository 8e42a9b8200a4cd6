"""What the pretend application logs: pino JSON on the web hosts, text with SDK tracebacks on the workers.

Between the calls stand lines that have nothing to do with Klaviyo, some that name it without being a call,
and one that leaks the key.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from klaviyo_nb.drills.traffic import Call, Delivery, Story, endpoint_of, status_of
from klaviyo_nb.drills.ways import WAYS, body, compact, headers

HOST = "https://a.klaviyo.com"
_OTHER_EVERY_S = 4.0
#: Lines that are no calls, and how often they come; some name Klaviyo all the same.
_WEB_OTHERS = {
    "request completed": 50,
    "cart updated": 20,
    "cache miss": 9,
    "klaviyo list cache refreshed": 1,
}
_WORKER_OTHERS = {
    "scheduler: job thumbnails finished in 0.8s": 50,
    "db.pool: 7 of 20 connections in use": 29,
    "scheduler: next run of klaviyo profile-sync planned": 1,
}
#: Failures of others, and words about Klaviyo beside a number that is no status.
_WEB_CHATTER: tuple[dict[str, object], ...] = (
    {"msg": "charge failed", "method": "POST", "url": "https://api.stripe.com/v1/charges", "statusCode": 402},
    {"msg": "request failed", "method": "GET", "url": "/admin/klaviyo/lists", "statusCode": 500},
    {"msg": "klaviyo export: 503 rows written, 0 failed"},
)
_WORKER_CHATTER = (
    "mailer: POST https://api.sendgrid.com/v3/mail/send failed: 401 Unauthorized",
    "alerts: threshold of klaviyo errors is 500 per hour, now 0",
    "db.pool: error 1203: too many connections",
)
#: Why no response came → how axios names it, code and message.
_AXIOS = {
    "timeout": ("ECONNABORTED", "timeout of 30000ms exceeded"),
    "reset": ("ECONNRESET", "read ECONNRESET"),
    "refused": ("ECONNREFUSED", "connect ECONNREFUSED 192.0.2.10:443"),
}
_POOL = "HTTPSConnectionPool(host='a.klaviyo.com', port=443)"
#: Why no response came → how urllib3 names it.
_URLLIB3 = {
    "timeout": f"urllib3.exceptions.ReadTimeoutError: {_POOL}: Read timed out. (read timeout=30)",
    "reset": "urllib3.exceptions.ProtocolError: ('Connection aborted.', "
    "ConnectionResetError(104, 'Connection reset by peer'))",
    "refused": f"urllib3.exceptions.MaxRetryError: {_POOL}: Max retries exceeded with url: /api "
    "(Caused by NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused'))",
}
_NOT_JSON = "Reason: Unsupported content type: text/html\n"
_EXCEPTIONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}
_LIBRARY = "/srv/app/.venv/lib/python3.12/site-packages/openapi_client/exceptions.py"


def logs(story: Story) -> dict[str, str]:
    """File name → text, for each log of the application."""
    rng = random.Random(f"lines/{story.seed}")  # noqa: S311 - made-up lines
    scenario = story.scenario
    web = [(call.at, _pino(call)) for call in _by_its_clock(story, "web")]
    web += [(each.at, _pino_webhook(each, scenario.webhooks_refused)) for each in story.deliveries]
    worker = [(call.at, _text(call)) for call in _by_its_clock(story, "worker")]
    web += [(at, _pino_other(at, rng)) for at in _moments(story, rng)]
    worker += [(at, _text_other(at, rng)) for at in _moments(story, rng)]
    if scenario.chatter:
        web += [(at, _pino_chatter(at, rng)) for at in _moments(story, rng)]
        worker += [(at, _text_chatter(at, rng)) for at in _moments(story, rng)]
    first = story.window.start.timestamp() - 600
    leak = f"klaviyo_api: client ready, headers={{'Authorization': 'Klaviyo-API-Key {story.key}'}}"
    worker.append((first, _text_line(first, "DEBUG", "worker-1", leak)))
    return {f"{name}.log": _joined(rows) for name, rows in (("web", web), ("worker", worker))}


def _by_its_clock(story: Story, log: str) -> Iterator[Call]:
    """The calls of one log, at the times that its clock showed."""
    ahead = story.scenario.log_skew_s.get(log, 0.0)
    return (call._replace(at=call.at + ahead) for call in story.calls if call.caller.log == log)


def _joined(rows: list[tuple[float, str]]) -> str:
    return "".join(f"{text}\n" for _, text in sorted(rows))


def _moments(story: Story, rng: random.Random) -> Iterator[float]:
    moment, end = story.window.start.timestamp() - 600, story.window.end.timestamp()
    while (moment := moment + rng.expovariate(1 / _OTHER_EVERY_S)) < end:
        yield moment


def _pino(call: Call) -> str:
    way, status = WAYS[call.way], status_of(call)
    failed = call.way != "ok"
    line: dict[str, object] = {
        "level": 50 if failed else 30,
        "time": int(call.at * 1000),
        "pid": 17,
        "hostname": call.host,
        "name": call.caller.name,
        "msg": f"klaviyo.{call.operation}",
        "method": endpoint_of(call.operation).method,
        "url": HOST + call.path,
        "statusCode": status,
        "durationMs": round(call.duration_s * 1000),
        "attempt": call.attempt,
        "requestId": call.request_id,
        "profile": call.profile,
        "uniqueId": call.unique_id,
    }
    if failed and way.error:
        code, message = _AXIOS[way.error]
        line["err"] = {"type": "AxiosError", "code": code, "message": message}
    elif way.by == "portal":
        message = "Unexpected token '<', \"<!doctype \"... is not valid JSON"
        line["err"] = {"type": "SyntaxError", "message": message, "body": body(way, "")}
    elif failed:
        text = body(way, call.request_id or "", call.retry_after_s)
        line["err"] = {
            "type": "AxiosError",
            "message": f"Request failed with status code {status}",
            "response": {
                "headers": {name.lower(): value for name, value in _headers(call).items()},
                "data": json.loads(text) if way.by == "klaviyo" else text,
            },
        }
    return compact({name: value for name, value in line.items() if value is not None})


def _pino_webhook(delivery: Delivery, refused: bool) -> str:
    said = {"reason": "[Webhook] Invalid signature rejected"} if refused else {}
    return compact(
        {
            "level": 40 if refused else 30,
            "time": int(delivery.at * 1000),
            "pid": 17,
            "hostname": delivery.host,
            "name": "webhooks",
            "msg": f"klaviyo.webhook.{delivery.topic}",
            "topic": delivery.topic,
            "eventId": delivery.event,
            "durationMs": 4,
        }
        | said
    )


def _pino_other(at: float, rng: random.Random) -> str:
    line = {"level": 30, "time": int(at * 1000), "pid": 17, "hostname": rng.choice(("web-1", "web-2"))}
    return compact(line | {"name": "shop", "msg": _pick(_WEB_OTHERS, rng)})


def _pino_chatter(at: float, rng: random.Random) -> str:
    line = {"level": 50, "time": int(at * 1000), "pid": 17, "hostname": rng.choice(("web-1", "web-2"))}
    return compact(line | {"name": "shop"} | rng.choice(_WEB_CHATTER))


def _text(call: Call) -> str:
    way, status = WAYS[call.way], status_of(call)
    target = f"{endpoint_of(call.operation).method} {HOST}{call.path}"
    if call.way == "ok":
        said = f"{target} -> {status} in {call.duration_s:.3f}s (request {call.request_id})"
        return _text_line(call.at, "INFO", call.host, f"{call.caller.name}: {said}")
    said = f"{target} failed after {call.duration_s:.3f}s (attempt {call.attempt})"
    first = _text_line(call.at, "ERROR", call.host, f"{call.caller.name}: {said}")
    module = call.caller.name.replace("-", "_")
    trace = (
        f'Traceback (most recent call last):\n  File "/srv/app/jobs/{module}.py", line 88, in run\n'
        f"    client.{call.operation}(payload)\n"
    )
    if way.error:
        return f"{first}\n{trace}{_URLLIB3[way.error]}"
    if way.by == "portal":
        return f"{first}\n{trace}openapi_client.exceptions.ApiException: (0)\n{_NOT_JSON}"
    name = _EXCEPTIONS.get(status or 0, "Service" if (status or 0) >= 500 else "Api") + "Exception"
    return (
        f'{first}\n{trace}  File "{_LIBRARY}", line 157, in from_response\n'
        f"    raise {name}(http_resp=http_resp, body=body, data=data)\n"
        f"openapi_client.exceptions.{name}: ({status})\nReason: {way.reason}\n"
        f"HTTP response headers: HTTPHeaderDict({_headers(call)})\n"
        f"HTTP response body: {body(way, call.request_id or '', call.retry_after_s)}\n"
    )


def _text_line(at: float, level: str, host: str, message: str) -> str:
    return f"{_second(int(at))},{int(at * 1000) % 1000:03d} {level} [{host}] {message}"


def _text_other(at: float, rng: random.Random) -> str:
    return _text_line(at, "INFO", "worker-1", _pick(_WORKER_OTHERS, rng))


def _text_chatter(at: float, rng: random.Random) -> str:
    return _text_line(at, "ERROR", "worker-1", rng.choice(_WORKER_CHATTER))


def _pick(weighted: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weighted), list(weighted.values()))[0]


def _headers(call: Call) -> dict[str, str]:
    return headers(WAYS[call.way], call.request_id, call.retry_after_s)


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
