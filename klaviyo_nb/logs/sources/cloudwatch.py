"""CloudWatch Logs: `filter_log_events` of a log group, page by page. boto3 finds region, account and key.

Every line is asked for: patterns of the service know no "whatever the case", and leave out the lines that
continue a record (docs/design/cloudwatch-asks-for-every-line.md). Whoever knows better gives a pattern.

Source:
    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing, UsageError
from klaviyo_nb.logs.sources.base import Chunk, Opened, slices, without_credentials
from klaviyo_nb.logs.sources.pages import Entry, fetched, lines
from klaviyo_nb.window import Window

_INSTALL = "pip install 'klaviyo-nb[cloudwatch]'"
_DENIED = ("AccessDenied", "UnrecognizedClient", "ExpiredToken", "InvalidSignature")
_CONNECT_S, _ANSWER_S, _ATTEMPTS = 5.0, 30.0, 3


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group; with a pattern, only the lines that it finds."""

    name: str
    region: str
    group: str
    pattern: str = ""

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Slices of the window, the newest first: whole milliseconds, both ends included."""
        try:
            import boto3  # noqa: F401 - only whether it is there
        except ImportError:
            raise SourceMissing(self.name, f"boto3 is not installed: {_INSTALL}", _INSTALL) from None
        return [Span(self, start // 10**6, -(-end // 10**6) - 1) for start, end in slices(window)]


def of(url: str) -> LogGroup:
    """The source that a URL names.

    Raises:
        UsageError: It is not such a URL.
    """
    parts = urlsplit(url)
    group = unquote(parts.path[1:])
    if not (parts.netloc and group):
        shape = "cloudwatch://REGION/GROUP[?filter=PATTERN]"
        raise UsageError(without_credentials(url), "it is not complete", f"give {shape}")
    pattern = parse_qs(parts.query).get("filter", [""])[0]
    return LogGroup(url, parts.netloc, group, pattern)


@dataclass(frozen=True, slots=True)
class Span:
    """Events from `first` to `last` [milliseconds since 1970], both included."""

    source: LogGroup
    first: int
    last: int
    size: int = 0

    def open(self, deadline: float | None) -> AbstractContextManager[Opened]:
        """See `Chunk.open`."""
        return fetched(lines(self._pages(deadline)), deadline)

    def _pages(self, deadline: float | None) -> Iterator[list[Entry]]:
        from botocore.exceptions import BotoCoreError, ClientError

        name = self.source.name
        try:
            client = _client(self.source.region, deadline)
            try:
                yield from self._events(client, self.source.group)
            except client.exceptions.ResourceNotFoundException:
                yield from self._events(client, f"/{self.source.group}")  # most names begin with a slash
        except ClientError as exc:
            code = exc.response["Error"]["Code"]
            kind = SourceDenied if code.startswith(_DENIED) else SourceError
            said = " ".join(exc.response["Error"].get("Message", "").split())[:300]
            raise kind(name, f"CloudWatch: {code}: {said}".removesuffix(": ")) from None
        except BotoCoreError as exc:
            raise SourceError(name, f"CloudWatch: {' '.join(str(exc).split())[:300]}") from None

    def _events(self, client: Any, group: str) -> Iterator[list[Entry]]:
        asked = {"filterPattern": self.source.pattern} if self.source.pattern else {}
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=self.first, endTime=self.last, **asked
        )
        for page in pages:
            yield [
                Entry(stream, stream, event["timestamp"] * 10**6, event.get("message", ""))
                for event in page.get("events", ())
                for stream in (event.get("logStreamName", ""),)
            ]


def _client(region: str, deadline: float | None) -> Any:
    import boto3
    from botocore.config import Config

    left = _ANSWER_S if deadline is None else max(0.1, deadline - time.monotonic())
    return boto3.session.Session().client(
        "logs",
        region_name=region,
        config=Config(
            connect_timeout=min(left, _CONNECT_S),
            read_timeout=min(left, _ANSWER_S),
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        ),
    )
