"""Where lines come from: one URL-like string per source.

A source cuts itself into chunks, newest first. A chunk is small and picklable and is opened where it is
read, so that the same function reads it in this process or in another. What a kind of source needs is
imported when one is named.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing, UsageError
from klaviyo_nb.expressions import expression
from klaviyo_nb.logs.sources.base import Chunk, Opened, Source, is_journal, journals_in, without_credentials
from klaviyo_nb.logs.sources.files import File, Pipe, Stdin, rotated
from klaviyo_nb.window import Window

__all__ = ["Chunk", "Opened", "Source", "resolve", "stays"]

_SCHEME = expression(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_MAGIC = "*?["


def resolve(url: str, window: Window | None = None) -> list[Source]:
    """The sources that a URL names.

    Args:
        url: A path, `file:///path`, a glob, `-`, a `.journal` file or a folder of them, `journald:///UNIT`,
            `docker://CONTAINER`, `k8s://NAMESPACE/KIND/NAME`, `loki://HOST:PORT/APP`,
            `cloudwatch://REGION/GROUP`, or a URL that fsspec knows.
        window: The span asked about: what a path was rotated to, and was written since it began, is read too.

    Raises:
        UsageError: It is no such URL; says what to type instead.
        SourceMissing: There is no such file.
        SourceDenied: It may not be read.
    """
    if url == "-":
        return [Stdin()]
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _paths(url, window)
    try:
        return _of_scheme(scheme[1].lower(), url, window)
    except ValueError:  # of urlsplit
        raise UsageError(without_credentials(url), "it is no URL", "klaviyo-nb logs --help") from None


def stays(chunk: Chunk, far: bool) -> bool:
    """Can only this process open it? If `far`, only this machine: clients and their rights are its own.

    Files can be read elsewhere, by the same path or URL.
    """
    return isinstance(chunk, Pipe) or (far and not getattr(chunk, "anywhere", False))


def _of_scheme(scheme: str, url: str, window: Window | None) -> list[Source]:
    if scheme == "file":
        return _paths(unquote(urlsplit(url).path), window)
    if scheme == "journald":
        from klaviyo_nb.logs.sources.journals.journalctl import Journal

        unit = unquote(url.partition("://")[2]).strip("/")
        return [Journal(url, (f"--unit={unit}",) if unit else ())]
    if scheme in ("docker", "k8s"):
        from klaviyo_nb.logs.sources.containers import Docker, Workload

        if scheme == "docker":
            return [Docker(url, _parts(url, 1, "docker://CONTAINER")[0])]
        namespace, kind, name = _parts(url, 3, "k8s://NAMESPACE/KIND/NAME")
        return [Workload(url, namespace, f"{kind}/{name}")]
    if scheme in ("loki", "loki+https"):
        from klaviyo_nb.logs.sources import loki

        return [loki.of(url)]
    if scheme == "cloudwatch":
        from klaviyo_nb.logs.sources import cloudwatch

        return [cloudwatch.of(url)]
    from klaviyo_nb.logs.sources import remote

    return [*remote.of(url)]


def _parts(url: str, count: int, shape: str) -> list[str]:
    """What stands between the slashes."""
    parts = [unquote(part) for part in url.partition("://")[2].split("/")]
    if len(parts) != count or not all(parts):
        raise UsageError(without_credentials(url), "it is not complete, or too long", f"give {shape}")
    return parts


def _paths(text: str, window: Window | None) -> list[Source]:
    path = os.path.expanduser(text)
    if any(mark in path for mark in _MAGIC) and not os.path.lexists(path):
        found = [*filter(None, map(_found, sorted(glob.glob(path, recursive=True))))]
        if not found:
            raise SourceMissing(text, "no file matches", f"ls -l {os.path.dirname(path) or '.'}")
        return [*found]
    older = rotated(path, window.start.timestamp()) if window else []
    try:
        newest = _file(path)
    except SourceError:
        if not older or os.path.isdir(path):
            raise
        newest = File(path)  # says so when it is read: just rotated, and nothing was written since
    return [newest, *map(File, older)]


@dataclass(frozen=True, slots=True)
class Found:
    """What a glob found, last written then [s since 1970]. There may be 100,000: what it is is seen later."""

    name: str
    written: float

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Those of the file or the journal that it is."""
        return _file(self.name).chunks(window, deadline)


def _found(path: str) -> Found | None:
    """None: it is a folder."""
    try:
        facts = os.stat(path)
    except OSError:  # a link to nowhere, a file that is gone meanwhile: reading it will say so
        return Found(path, 0.0)
    return None if stat.S_ISDIR(facts.st_mode) else Found(path, facts.st_mtime)


def _file(path: str) -> Source:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise SourceMissing(path, "no such file", f"ls -l {os.path.dirname(path) or '.'}") from None
    except PermissionError:
        raise SourceDenied(path, "permission denied", f"sudo -u OWNER klaviyo-nb logs {path}") from None
    except (OSError, ValueError) as exc:
        raise SourceMissing(path, f"cannot be read: {exc}", "ls -l") from None
    if stat.S_ISDIR(mode):
        return _folder(path)
    if path.endswith(".journal") or (stat.S_ISREG(mode) and is_journal(path)):
        from klaviyo_nb.logs.sources.journals.files import JournalFiles

        return JournalFiles(path, (path,))
    return File(path)


def _folder(path: str) -> Source:
    from klaviyo_nb.logs.sources.journals.files import JournalFiles

    journals = journals_in(path)
    if not journals:
        raise SourceMissing(
            path, "it is a folder without .journal files", f"klaviyo-nb logs '{path.rstrip('/')}/*.log*'"
        )
    return JournalFiles(path, tuple(journals))
