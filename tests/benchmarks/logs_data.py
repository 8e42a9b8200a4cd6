"""Logs made from a seed: lines of a shop that talks to Klaviyo, and how many calls are among them.

The lines follow what loggers and SDKs write; they are made here, so they show speed and plumbing, not recall.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 11, 23, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
PATHS = (
    "/api/events",
    "/api/profiles",
    "/api/profile-import",
    "/api/lists/AbC123/relationships/profiles",
    "/api/catalog-items",
)
STATUSES = (200, 201, 202, 202, 202, 202, 202, 429, 400, 503)
DETAILS = {
    429: "Request was throttled. Expected available in {n} seconds.",
    400: "Invalid input. 'email' must be an address.",
    503: "Service Unavailable",
}
NOISE = (
    "cart updated",
    "order paid and handed over to the warehouse",
    "cache refreshed",
    "page rendered through the edge",
    "session renewed for returning customer",
)

Made = tuple[str, int]  # a record (lines without the last break), calls in it
Maker = Callable[[random.Random, int], Made]


@dataclass(frozen=True)
class Truth:
    """What was written: calls, lines with `klaviyo` in any case, bytes."""

    calls: int
    mentions: int
    size: int


def uuid(rng: random.Random) -> str:
    value = f"{rng.getrandbits(128):032x}"
    return f"{value[:8]}-{value[8:12]}-4{value[13:16]}-a{value[17:20]}-{value[20:]}"


def iso(ms: int, between: str = "T", mark: str = ".") -> str:
    return (
        f"{(START + timedelta(milliseconds=ms)).strftime(f'%Y-%m-%d{between}%H:%M:%S')}{mark}{ms % 1000:03d}"
    )


def path_of(rng: random.Random) -> str:
    return rng.choice(PATHS) if rng.random() < 0.8 else f"/api/profiles/01{rng.getrandbits(120):024X}"


def json_call(rng: random.Random, ms: int) -> Made:
    """pino, structlog, winston with a nested error, pino-http; one in twelve only mentions Klaviyo."""
    status, path, host, took, request = (
        rng.choice(STATUSES),
        path_of(rng),
        f"web-{rng.randint(1, 9)}",
        rng.randint(20, 1900),
        uuid(rng),
    )
    failed, url, detail = (
        status >= 400,
        f"https://a.klaviyo.com{path}",
        DETAILS.get(status, "done").format(n=rng.randint(1, 9)),
    )
    kind = rng.randrange(12)
    if kind == 0:
        return json.dumps(
            {
                "level": 30,
                "time": START_MS + ms,
                "pid": 17,
                "hostname": host,
                "name": "sync",
                "msg": f"queued {took} profiles for Klaviyo",
            }
        ), 0
    if kind < 5:
        data = {
            "level": 50 if failed else 30,
            "time": START_MS + ms,
            "pid": 17,
            "hostname": host,
            "name": "klaviyo",
            "method": "POST",
            "url": url,
            "statusCode": status,
            "durationMs": took,
            "requestId": request,
            "msg": detail,
        }
    elif kind < 8:
        data = {
            "timestamp": iso(ms) + "Z",
            "level": "error" if failed else "info",
            "logger": "shop.klaviyo",
            "event": f"POST {path} answered {status}",
            "http_method": "POST",
            "url": url,
            "status_code": status,
            "elapsed": took / 1000,
            "klaviyo_request_id": request,
            "worker": f"sync-{rng.randint(1, 4)}",
        }
    elif kind < 10:
        data = {
            "level": "error" if failed else "info",
            "message": f"Klaviyo call took {took} ms",
            "timestamp": iso(ms) + "Z",
            "service": "shop",
            "request": {"method": "POST", "url": url},
            "response": {"status": status, "requestId": request},
            "error": {"code": "throttled", "detail": detail} if failed else {},
        }
    else:
        data = {
            "level": 30,
            "time": START_MS + ms,
            "pid": 31,
            "hostname": host,
            "req": {"id": rng.randrange(10**6), "method": "PATCH", "url": url},
            "res": {"statusCode": status},
            "responseTime": took,
            "msg": "klaviyo request completed",
        }
    return json.dumps(data), 1


def json_noise(rng: random.Random, ms: int) -> Made:
    return (f'{{"level": 30, "time": {START_MS + ms}, "pid": 17, "hostname": "web-{ms % 9}", "name": "shop", "req": {{"id": {ms}, "method": "GET", "url": "/checkout/{ms % 9973}"'
            f', "remoteAddress": "10.0.{ms % 250}.{ms % 241}"}}, "res": {{"statusCode": 200}}, "trace": "{rng.getrandbits(128):032x}", "responseTime": {ms % 977}, "msg": "{NOISE[ms % 5]}"}}'), 0  # fmt: skip


def flat_call(rng: random.Random, ms: int) -> Made:
    status = rng.choice(STATUSES)
    return json.dumps({
        "level": 50 if status >= 400 else 30, "time": START_MS + ms, "pid": 17, "hostname": f"web-{rng.randint(1, 9)}", "name": "klaviyo", "method": "POST",
        "url": "https://a.klaviyo.com" + path_of(rng), "statusCode": status, "durationMs": rng.randint(20, 1900), "requestId": uuid(rng), "msg": DETAILS.get(status, "done").format(n=rng.randint(1, 9)),
    }), 1  # fmt: skip


def flat_noise(rng: random.Random, ms: int) -> Made:
    return (f'{{"level": 30, "time": {START_MS + ms}, "pid": 17, "hostname": "web-{ms % 9}", "name": "shop", "method": "GET", "url": "https://shop.example/checkout/{ms % 9973}", '
            f'"statusCode": 200, "durationMs": {ms % 977}, "requestId": "{rng.getrandbits(128):032x}", "msg": "{NOISE[ms % 5]}"}}'), 0  # fmt: skip


def text_call(rng: random.Random, ms: int) -> Made:
    """Python logging, a short-iso journal, a retry's warning; one in twelve a mention, one in a hundred a traceback."""
    status, path, kind = rng.choice(STATUSES), path_of(rng), rng.randrange(100)
    stamp, took = iso(ms, " ", ","), rng.randint(100, 1900)
    if kind < 8:
        return f"{stamp} INFO [worker-{rng.randint(1, 4)}] shop.sync: queued {took} profiles for Klaviyo", 0
    if kind == 8:
        return traceback(rng, stamp, path), 1
    if kind < 50:
        return (
            f"{stamp} {'ERROR' if status >= 400 else 'INFO'} [worker-{rng.randint(1, 4)}] shop.klaviyo: POST https://a.klaviyo.com{path} -> {status} in {took / 1000:.3f}s request_id={uuid(rng)}",
            1,
        )
    if kind < 80:
        return (
            f"{iso(ms)[:19]}+0000 web-{rng.randint(1, 4)} shop[{rng.randint(17, 19)}]: klaviyo POST {path} {status} in {took}ms",
            1,
        )
    return (
        f"{stamp} WARN [worker-{rng.randint(1, 4)}] shop.retry: klaviyo answered {status} to POST {path} after {took} ms",
        1,
    )


def traceback(rng: random.Random, stamp: str, path: str) -> str:
    wait = rng.randint(1, 30)
    return f"""{stamp} ERROR [worker-1] shop.sync: push failed
Traceback (most recent call last):
  File "/app/.venv/lib/python3.12/site-packages/klaviyo_api/wrapper.py", line 88, in create_event
    raise exc
openapi_client.exceptions.ApiException: (429)
Reason: Too Many Requests
HTTP response headers: HTTPHeaderDict({{'Content-Type': 'application/vnd.api+json', 'Retry-After': '{wait}', 'Server': 'cloudflare'}})
HTTP response body: {{"errors":[{{"id":"{uuid(rng)}","status":429,"code":"throttled","title":"Request was throttled.","detail":"Request was throttled. Expected available in {wait} seconds.","source":{{"pointer":"/data/"}},"links":{{}},"meta":{{}}}}]}}"""


def text_noise(rng: random.Random, ms: int) -> Made:
    return (
        f"{iso(ms, ' ', ',')} INFO [worker-{ms % 4}] shop.orders: order {rng.getrandbits(40)} of customer {ms % 99991}: {NOISE[ms % 5]} after {ms % 977}ms",
        0,
    )


def journald(inner: Maker) -> Maker:
    """As `journalctl -o json` prints it, with some 25 fields."""

    def make(rng: random.Random, ms: int) -> Made:
        text, calls = inner(rng, ms)
        micros = (START_MS + ms) * 1000
        return json.dumps({
            "__CURSOR": f"s={rng.getrandbits(128):032x};i={ms:x};b={'a' * 32};m={ms:x};t={micros:x};x={rng.getrandbits(64):x}", "__REALTIME_TIMESTAMP": str(micros),
            "__MONOTONIC_TIMESTAMP": str(ms * 1000), "_BOOT_ID": "a" * 32, "_MACHINE_ID": "b" * 32, "_HOSTNAME": "web-1", "PRIORITY": "6", "SYSLOG_FACILITY": "3",
            "SYSLOG_IDENTIFIER": "shop", "_UID": "1000", "_GID": "1000", "_PID": "4711", "_COMM": "gunicorn", "_EXE": "/usr/bin/python3.12", "_CMDLINE": "/usr/bin/python3 /srv/shop/.venv/bin/gunicorn shop.wsgi --workers 4",
            "_CAP_EFFECTIVE": "0", "_SELINUX_CONTEXT": "unconfined\n", "_SYSTEMD_CGROUP": "/system.slice/shop.service", "_SYSTEMD_UNIT": "shop.service", "_SYSTEMD_SLICE": "system.slice",
            "_SYSTEMD_INVOCATION_ID": "c" * 32, "_STREAM_ID": "d" * 32, "_TRANSPORT": "stdout", "_SOURCE_REALTIME_TIMESTAMP": str(micros - 17), "MESSAGE": text,
        }, separators=(",", ":")), calls  # fmt: skip

    return make


def one_line(make: Maker) -> Maker:
    """Without tracebacks, each line of which is an entry of the journal."""

    def again(rng: random.Random, ms: int) -> Made:
        made = make(rng, ms)
        return made if "\n" not in made[0] else again(rng, ms)

    return again


KINDS: dict[str, tuple[Maker, Maker]] = {
    "json": (json_call, json_noise), "flat": (flat_call, flat_noise), "text": (text_call, text_noise),
    "journald": (journald(one_line(text_call)), journald(text_noise)),
}  # fmt: skip


def generate(path: Path, kind: str, size: int, share: float, seed: int = 11) -> Truth:
    """Write `size` bytes of which `share` of the records are about Klaviyo; times spread over a day."""
    rng, (call, noise) = random.Random(seed), KINDS[kind]
    step = 80_000_000 * (1000 if kind == "journald" else 250) / size  # the same day, whatever the size
    calls = mentions = written = count = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            count += 1
            record, told = (call if rng.random() < share else noise)(rng, int(count * step))
            calls += told
            if kind == "text" or told or "laviyo" in record:
                mentions += sum("klaviyo" in line.lower() for line in record.split("\n"))
            written += file.write(record + "\n")
    return Truth(calls, mentions, written)


def export_of(log: Path, path: Path) -> None:
    """Journald JSON to systemd's export format, which `systemd-journal-remote` makes a journal of."""
    with log.open("rb") as lines, path.open("wb") as file:
        for line in lines:
            for name, value in json.loads(line).items():
                if name != "__CURSOR":
                    data = value.encode()
                    file.write(
                        name.encode()
                        + (
                            b"=" + data
                            if b"\n" not in data
                            else b"\n" + len(data).to_bytes(8, "little") + data
                        )
                        + b"\n"
                    )
            file.write(b"\n")
