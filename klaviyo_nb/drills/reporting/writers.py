"""How the applications of the reporting worlds log, each as its libraries do.

Source:
    https://docs.celeryq.dev/en/stable/userguide/configuration.html#worker-log-format
    https://www.python-httpx.org/logging/
    https://www.elastic.co/guide/en/ecs-logging/overview/current/intro.html
    https://docs.guzzlephp.org/en/stable/quickstart.html#exceptions
    https://pkg.go.dev/log/slog#TextHandler
    https://github.com/typhoeus/ethon
    https://nginx.org/en/docs/http/ngx_http_log_module.html
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from klaviyo_nb.drills.reporting.answers import ANSWERS, headers_of, reason, text_of
from klaviyo_nb.drills.reporting.story import Call, endpoint
from klaviyo_nb.drills.ways import Way, compact

_ROOT = "https://a.klaviyo.com"
_NOT_JSON = "Expecting value: line 1 column 1 (char 0)"


class Record:
    """A call as a writer sees it: `at` is the host's own clock."""

    def __init__(self, call: Call, skew: float, rng: random.Random, slash: str) -> None:
        self.call, self.rng, self.at = call, rng, call.at + skew
        self.way: Way = ANSWERS[call.answer]
        self.failed = call.failed
        found = endpoint(call.operation)
        self.method, self.path = found.method, call.path + slash
        self.url = _ROOT + self.path
        self.status = found.success[0] if call.answer == "ok" else self.way.status
        self.reason = "OK" if call.answer == "ok" else reason(self.way)
        self.ms = call.duration_s * 1000
        self.worker = rng.randint(1, 8)

    @property
    def body(self) -> str:
        """The answer's body, of a failure."""
        return text_of(self.way, self.call.request_id, self.call.wait)

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers, of a failure."""
        return headers_of(self.way, self.rng, self.call.request_id, self.call.wait)

    @property
    def klass(self) -> str:
        """Client or server error, as requests and Guzzle say."""
        return "Client" if (self.status or 0) < 500 else "Server"

    def when(self, form: str, digits: int = 3, mark: str = ".") -> str:
        """The time, with so many digits of the second."""
        moment = datetime.fromtimestamp(self.at, UTC)
        return moment.strftime(form) + mark + f"{moment.microsecond:06d}"[:digits]


def _requests(record: Record) -> Iterator[str]:
    """Celery with urllib3 at DEBUG, and the exception of `raise_for_status`."""
    head = f"[{record.when('%Y-%m-%d %H:%M:%S', mark=',')}: {{}}/ForkPoolWorker-{record.worker}] "
    if record.status is not None:
        size = len(record.body) if record.failed else record.rng.choice((0, 0, 312, 2048))
        yield head.format("DEBUG") + (
            f'https://a.klaviyo.com:443 "{record.method} {record.path} HTTP/1.1" {record.status} {size}'
        )
    if record.failed:
        yield head.format("ERROR") + f"klaviyo {record.method} {record.path} failed: {_requests_says(record)}"


def _requests_says(record: Record) -> str:
    pool = "HTTPSConnectionPool(host='a.klaviyo.com', port=443)"
    if record.way.error == "timeout":
        return f"{pool}: Read timed out. (read timeout=30)"
    if record.way.error == "reset":
        return "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))"
    if record.way.error == "refused":
        return (
            f"{pool}: Max retries exceeded with url: {record.path} (Caused by NewConnectionError("
            "'<urllib3.connection.HTTPSConnection object at 0x7f21c0a3d550>: Failed to establish a new "
            "connection: [Errno 111] Connection refused'))"
        )
    if record.status == 200:
        return f"requests.exceptions.JSONDecodeError: {_NOT_JSON}; text/html; body {record.body[:80]!r}"
    text = f"{record.status} {record.klass} Error: {record.reason} for url: {record.url}"
    return (
        f"{text} response={record.body[:300]}" if record.rng.random() < 0.7 or record.status == 403 else text
    )


def _ecs(record: Record) -> Iterator[str]:
    """Structlog in the names of the Elastic Common Schema."""
    found: dict[str, object] = {
        "@timestamp": record.when("%Y-%m-%dT%H:%M:%S") + "Z",
        "log.level": "error" if record.failed else "info",
        "message": "klaviyo request failed" if record.failed else "klaviyo request",
        "ecs.version": "1.6.0",
        "service.name": record.call.part.name,
        "host.name": record.call.host,
        "process.pid": 100 + record.worker,
        "http.request.method": record.method,
        "url.full": record.url,
        "event.duration": int(record.ms * 1e6),
    }
    if record.status is not None:
        found["http.response.status_code"] = record.status
    if record.call.request_id and record.failed:
        found["http.request.id"] = record.call.request_id
    if record.failed and record.status is None:
        found |= {"error.type": _httpx_error(record), "error.message": _requests_says(record)}
    elif record.failed:
        found["http.response.body.content"] = record.body[:400]
        if record.way.by == "challenge":
            found["http.response.headers"] = record.headers
    if record.call.wait:
        found["retry_after"] = record.call.wait
    yield compact(found)


def _httpx_error(record: Record) -> str:
    return {"timeout": "ReadTimeout", "reset": "ReadError", "refused": "ConnectError"}.get(
        record.way.error or "", ""
    )


def _httpx(record: Record) -> Iterator[str]:
    """Python logging with httpx at INFO, and its exceptions."""
    head = record.when("%Y-%m-%d %H:%M:%S", mark=",") + " {} {}: "
    if record.status is not None:
        yield head.format("INFO", "httpx") + (
            f'HTTP Request: {record.method} {record.url} "HTTP/1.1 {record.status} {record.reason}"'
        )
    if not record.failed:
        return
    name = f"{record.call.part.name.replace('-', '_')}.klaviyo"
    if record.status is None:
        says = {"timeout": "ReadTimeout()", "reset": "ReadError: [Errno 104] Connection reset by peer"}
        text = says.get(record.way.error or "", "ConnectError: [Errno 111] Connection refused")
        yield head.format("ERROR", name) + f"{record.method} {record.url} raised httpx.{text}"
    elif record.status == 200:
        yield head.format("ERROR", name) + (
            f"{record.method} {record.url}: answer is not JSON ({_NOT_JSON}): {record.body[:120]}"
        )
    elif record.status in (403, 407) or record.rng.random() < 0.5:
        yield (
            head.format("ERROR", name)
            + f"{record.method} {record.url} -> {record.status}: {record.body[:300]}"
        )


#: Templates of Guzzle's MessageFormatter, as they are found in shops.
_GUZZLE = (
    "{0.method} {0.url} HTTP/1.1 - {0.status}",
    '"{0.method} {0.url} HTTP/1.1" {0.status}',
    "{0.method} {0.url} HTTP/1.1 RESPONSE: {0.status} -",
)


def _guzzle(record: Record) -> Iterator[str]:
    """Monolog with the exception of Klaviyo's PHP client; successes by Guzzle's log middleware."""
    head = f"[{record.when('%Y-%m-%dT%H:%M:%S', 6)}+00:00] klaviyo."
    if not record.failed:
        yield f"{head}INFO: {_GUZZLE[len(record.call.part.name) % len(_GUZZLE)].format(record)} [] []"
        return
    cause = compact({"job": record.call.part.name, "attempt": record.call.attempt, "host": record.call.host})
    yield f"{head}ERROR: {_guzzle_says(record)} {cause} []"


def _guzzle_says(record: Record) -> str:
    see = f"(see https://curl.haxx.se/libcurl/c/libcurl-errors.html) for {record.url}"
    if record.way.error == "timeout":
        return f"[0] cURL error 28: Operation timed out after 30001 milliseconds with 0 bytes received {see}"
    if record.way.error == "reset":
        return f"[0] cURL error 56: OpenSSL SSL_read: Connection reset by peer, errno 104 {see}"
    if record.way.error == "refused":
        says = "Failed to connect to a.klaviyo.com port 443 after 2 ms: Couldn't connect to server"
        return f"[0] cURL error 7: {says} {see}"
    if record.status == 200:
        says = f"{record.method} {record.url} answered 200 with text/html"
        return f"{says}: json_decode: Syntax error: {record.body[:90]}"
    cut = record.body if len(record.body) < 120 else record.body[:120] + " (truncated...)"
    return (
        f"[{record.status}] {record.klass} error: `{record.method} {record.url}` resulted in a "
        f"`{record.status} {record.reason}` response: {cut}"
    )


def _monolog(record: Record) -> Iterator[str]:
    """A shop's own message, and everything else in Monolog's context."""
    head = f"[{record.when('%Y-%m-%d %H:%M:%S', 6)}] production."
    context: dict[str, object] = {
        "method": record.method,
        "url": record.url,
        "status": record.status,
        "duration_ms": round(record.ms),
        "attempt": record.call.attempt,
    }
    if not record.failed:
        yield f"{head}INFO: Klaviyo API call {compact(context)} []"
        return
    if record.status is None:
        del context["status"]
        context["exception"] = _guzzle_says(record)[4:]
        yield f"{head}ERROR: Klaviyo API call failed {compact(context)} []"
        return
    context["response"] = record.body[:300]
    text = f"Klaviyo API error ({record.status}): {record.reason}"
    yield f"{head}{'WARNING' if record.status == 429 else 'ERROR'}: {text} {compact(context)} []"


def _slog(record: Record) -> Iterator[str]:
    """Go: slog's text handler."""
    head = f"time={record.when('%Y-%m-%dT%H:%M:%S')}Z level={'ERROR' if record.failed else 'INFO'} "
    what = f"method={record.method} url={record.url} "
    if record.status is None:
        took = f"duration={record.ms:.3f}ms err={json.dumps(_go_says(record))}"
        yield f'{head}msg="klaviyo call failed" {what}{took}'
        return
    took = f"status={record.status} duration={record.ms:.3f}ms attempt={record.call.attempt}"
    if not record.failed:
        yield f'{head}msg="klaviyo call" {what}{took}'
        return
    more = f" retry_after={record.call.wait}" if record.call.wait else ""
    more += f" request_id={record.call.request_id}" if record.call.request_id else ""
    if record.status == 200:
        says = "decode: invalid character '<' looking for beginning of value"
        more += f" content_type=text/html err={json.dumps(says)}"
    yield f'{head}msg="klaviyo call failed" {what}{took}{more} body={json.dumps(record.body[:300])}'


def _go_says(record: Record) -> str:
    says = {
        "timeout": "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        "reset": "read tcp 10.4.2.17:51322->104.18.20.31:443: read: connection reset by peer",
        "refused": "dial tcp 104.18.20.31:443: connect: connection refused",
    }
    return f'{record.method.capitalize()} "{record.url}": {says.get(record.way.error or "", "EOF")}'


def _zerolog(record: Record) -> Iterator[str]:
    """Go: zerolog's JSON."""
    found: dict[str, object] = {
        "level": "error" if record.failed else "info",
        "service": record.call.part.name,
        "host": record.call.host,
        "method": record.method,
        "url": record.url,
        "latency_ms": round(record.ms, 3),
        "attempt": record.call.attempt,
    }
    if record.status is not None:
        found["status"] = record.status
    if record.failed:
        found |= {"error": _go_says(record)} if record.status is None else {"body": record.body[:300]}
    if record.failed and record.status == 200:
        found["error"] = "invalid character '<' looking for beginning of value"
    if record.call.wait:
        found["retry_after"] = record.call.wait
    yield compact(found | {"time": record.when("%Y-%m-%dT%H:%M:%S") + "Z", "message": "klaviyo"})


_CURL = {"timeout": "operation_timedout", "reset": "recv_error", "refused": "couldnt_connect"}


def _ethon(record: Record) -> Iterator[str]:
    """Ruby: Ethon's line for every request, and the error of Klaviyo's Ruby client, of several lines."""
    letter, level = ("E", "ERROR") if record.failed else ("D", "DEBUG")
    head = f"{{}}, [{record.when('%Y-%m-%dT%H:%M:%S', 6)} #{40 + record.worker}] {{:>5}} -- klaviyo: "
    ended = _CURL.get(record.way.error or "", "ok") if record.failed else "ok"
    yield head.format("D", "DEBUG") + (
        f"ETHON: performed EASY effective_url={record.url} response_code={record.status or 0} "
        f"return_code={ended} total_time={record.call.duration_s:.6f}"
    )
    if record.failed and record.status == 200:
        yield head.format(letter, level) + "Content-Type is not supported: text/html (RuntimeError)"
    elif record.failed and record.status is not None:
        hashed = ", ".join(f'"{key.lower()}" => "{value}"' for key, value in record.headers.items())
        yield head.format(letter, level) + (
            "Error message: the server returns an error (KlaviyoAPI::ApiError)\n"
            f"HTTP status code: {record.status}\n"
            f"Response headers: {{{hashed}}}\nResponse body: {record.body}"
        )


def _nginx(record: Record) -> Iterator[str]:
    """An egress proxy that passes calls on; it answers itself where nobody else does."""
    status = record.status or (504 if record.way.error == "timeout" else 502)
    size, took = len(record.body) if record.failed and record.status else 0, f"{record.call.duration_s:.3f}"
    yield (
        f"10.0.3.{record.worker} - - [{record.when('%d/%b/%Y:%H:%M:%S', 0, ' +0000')}] "
        f'"{record.method} {record.path} HTTP/1.1" {status} {size} "-" "{record.call.part.name}/2.3" '
        f"host=a.klaviyo.com upstream=104.18.20.31:443 urt={took} rt={took}"
    )


def _mute(record: Record) -> Iterator[str]:
    """What was meant to be sent, and not what became of it."""
    yield (
        record.when("%Y-%m-%d %H:%M:%S", mark=",")
        + f" INFO shop.klaviyo: hand over to klaviyo: {record.call.operation}"
    )


#: Name → how a call is told.
WRITERS: Mapping[str, Callable[[Record], Iterator[str]]] = {
    "requests": _requests,
    "ecs": _ecs,
    "httpx": _httpx,
    "guzzle": _guzzle,
    "monolog": _monolog,
    "slog": _slog,
    "zerolog": _zerolog,
    "ethon": _ethon,
    "nginx": _nginx,
    "mute": _mute,
}
