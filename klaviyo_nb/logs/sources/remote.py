"""Files elsewhere, by any URL that fsspec knows: `s3://…`, `gs://…`, `memory://…`.

Plain files are cut into ranges, which are read where a chunk is read; compressed ones are read whole. The
library of the storage (s3fs, gcsfs, …) is the user's own choice.

Source:
    https://filesystem-spec.readthedocs.io/en/latest/api.html
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from klaviyo_nb.errors import SourceDenied, SourceError, SourceMissing, UsageError
from klaviyo_nb.logs.sources import packed
from klaviyo_nb.logs.sources.base import CONTEXT, Chunk, Opened, ranges, without_credentials
from klaviyo_nb.logs.sources.pages import fetched
from klaviyo_nb.window import Window

#: What is fetched at once [bytes]; what finding a file may take if nobody says [s].
_PIECE = 4 * 1024 * 1024
_FIND_S = 60.0
_INSTALL = "pip install 'klaviyo-nb[remote]'"
_KNOWN = "give a path, -, or a URL of file, journald, docker, k8s, loki, cloudwatch, or fsspec (s3, gs, …)"
_LIST = "python -c \"import fsspec; print(fsspec.open_files('URL*'))\""
_HEAD = 256


def of(url: str) -> list[RemoteFile]:
    """The files that a URL or a glob names.

    Raises:
        UsageError: There is no such kind of source, or fsspec is not installed.
        SourceError: There is no such file, or it may not be listed.
    """
    scheme, name = url.partition("://")[0].lower(), without_credentials(url)
    try:
        import fsspec
    except ImportError:
        hint = f"{_INSTALL}, or {_KNOWN}"
        raise UsageError(name, f"{scheme}:// is not a log source, or needs fsspec", hint) from None
    if scheme not in fsspec.available_protocols():
        raise UsageError(name, f"{scheme}:// is not a log source", _KNOWN)
    if not any(mark in url for mark in "*[") or scheme.startswith("http"):
        return [RemoteFile(name, url)]
    found: list[str] = _within(name, None, lambda: _glob(url))
    if not found:
        raise SourceMissing(name, "no file matches", _LIST)
    return [RemoteFile(without_credentials(each), each) for each in found]


def _glob(url: str) -> list[str]:
    """URLs of what it matches. Behind `::` stands where the files lie: `zip://*.log::s3://bucket/logs.zip`."""
    system, path = _opened(url)
    inner, mark, outer = url.partition("::")
    root = inner[: len(inner) - len(path)] if inner.endswith(path) else f"{inner.partition('://')[0]}://"
    return [f"{root}{each}{mark}{outer}" for each in sorted(system.glob(path))]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a storage that fsspec knows."""

    name: str
    url: str = field(repr=False)

    def chunks(self, window: Window, deadline: float | None = None) -> Sequence[Chunk]:
        """Ranges of a plain file from its end; a compressed one whole."""
        parts: Sequence[Chunk] = _within(self.name, deadline, self._chunks)
        return parts

    def _chunks(self) -> Sequence[Chunk]:
        system, path = _opened(self.url)
        facts = system.info(path)
        if facts.get("type") == "directory":
            glob = f"klaviyo-nb logs '{self.name.rstrip('/')}/*.log*'"
            raise SourceMissing(self.name, "it is a folder", glob)
        size, mark = int(facts.get("size") or 0), str(facts.get("ETag") or "")
        if not size:
            return []
        head = _bytes(system, path, 0, min(size, _HEAD))
        if packed.is_packed(head):
            return [RemoteRange(self.name, self.url, 0, size, size, mark, packed=True)]
        note = packed.misnamed(path, head)
        return [
            RemoteRange(self.name, self.url, start, stop, size, mark, note=note)
            for start, stop in ranges(size)
        ]


@dataclass(frozen=True, slots=True)
class RemoteRange:
    """Bytes `start` to `stop` of a file that had `total` bytes and this mark; a `note` is to be told."""

    name: str
    url: str = field(repr=False)
    start: int
    stop: int
    total: int
    mark: str
    packed: bool = False
    note: str | None = None
    anywhere: ClassVar[bool] = True  # whoever sees the same files may open it

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self.stop - self.start

    @contextmanager
    def open(self, deadline: float | None) -> Iterator[Opened]:
        """See `Chunk.open`."""
        at = max(0, self.start - CONTEXT)
        with fetched(self._pieces(at), deadline) as opened:
            if self.packed:
                opened.stored = self.total
                opened.read = packed.reader(packed.inflated(opened.read, opened))
            else:
                opened.at, opened.start, opened.stop, opened.offsets = at, self.start, self.stop, True
            yield opened
            opened.problems += [self.note] if self.note else []

    def _pieces(self, at: int) -> Iterator[bytes]:
        end = self.total if self.packed else min(self.total, self.stop + CONTEXT + _PIECE)
        with _translated(self.name):
            system, path = _opened(self.url)
            if self.mark and self.mark != str(system.info(path).get("ETag")):
                raise SourceError(self.name, "it was replaced while it was read")
            while at < end:
                piece = _bytes(system, path, at, min(at + _PIECE, end))
                if not piece:
                    raise SourceError(self.name, "it shrank while it was read")
                at += len(piece)
                yield piece


def _bytes(system: Any, path: str, start: int, end: int) -> bytes:
    """By name: what stands second is another argument in s3fs (`version_id`)."""
    found: bytes = system.cat_file(path, start=start, end=end)
    return found


def _opened(url: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return system, path


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Errors of a storage as ours."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceMissing(name, "no such file", _LIST) from None
    except ImportError as exc:  # 'Install s3fs to access S3', 'requires "requests" and "aiohttp"'
        libraries = re.findall(r'"(\w+)"', str(exc)) or re.findall(r"[Ii]nstall (\w+)", str(exc))
        install = f"pip install {' '.join(libraries)}" if libraries else "see fsspec's list of storages"
        raise SourceMissing(name, f"its library is not installed: {install}", install) from None
    except Exception as exc:  # noqa: BLE001 - any library may be behind fsspec, and they share no errors
        kind = SourceDenied if isinstance(exc, PermissionError) else SourceError
        words = f"{type(exc).__name__}: {' '.join(str(exc).split())[:200]}"
        raise kind(name, f"cannot be read: {words}") from None


def _within(name: str, deadline: float | None, find: Callable[[], Any]) -> Any:
    """What `find` returns, unless the deadline comes first."""
    told: list[Any] = []

    def run() -> None:
        try:
            with _translated(name):
                told.append(find())
        except SourceError as exc:
            told.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_FIND_S if deadline is None else max(0.0, deadline - time.monotonic()))
    if not told:
        raise SourceError(name, "the storage did not answer in time")
    if isinstance(told[0], SourceError):
        raise told[0]
    return told[0]
