"""Where lines come from: one URL-like string per source.

A source cuts itself into chunks, newest first. A chunk is small and picklable and is opened where it is
read, so that the same function reads it in this process or in another.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from klaviyo_nb.errors import SourceDenied, SourceMissing, UsageError
from klaviyo_nb.logs.sources.base import Chunk, Opened, Source, without_credentials
from klaviyo_nb.logs.sources.containers import Docker, Workload
from klaviyo_nb.logs.sources.files import File, Stdin
from klaviyo_nb.logs.sources.journal import Journal, is_journal

__all__ = ["Chunk", "Opened", "Source", "resolve"]

#: Schemes of the contract that are not read yet → what to type instead.
_LATER = {
    "loki": "logcli query '{{app=\"{name}\"}}' --since=2h -o raw > app.log; klaviyo-nb logs app.log",
    "cloudwatch": "aws logs tail {name} --since 2h > app.log; klaviyo-nb logs app.log",
    "s3": "aws s3 cp {url} - | klaviyo-nb logs -",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_MAGIC = "*?["


def resolve(url: str) -> list[Source]:
    """The sources that a URL names.

    Args:
        url: A path, `file:///path`, a glob, `-`, a `.journal` file or a folder of them, `journald:///UNIT`,
            `docker://CONTAINER`, `k8s://NAMESPACE/KIND/NAME`.

    Raises:
        UsageError: The scheme is unknown, or is not read yet; says what to type instead.
        SourceMissing: There is no such file.
        SourceDenied: It may not be read.
    """
    if url == "-":
        return [Stdin()]
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _paths(url)
    return _of_scheme(scheme[1].lower(), url)


def _of_scheme(scheme: str, url: str) -> list[Source]:
    parts = urlsplit(url)
    if scheme == "file":
        return _paths(unquote(parts.path))
    if scheme == "journald":
        unit = unquote(parts.netloc + parts.path).strip("/")
        return [Journal(url, (f"--unit={unit}",) if unit else ())]
    if scheme == "docker":
        return [Docker(url, _parts(url, 1, "docker://CONTAINER")[0])]
    if scheme == "k8s":
        namespace, kind, name = _parts(url, 3, "k8s://NAMESPACE/KIND/NAME")
        return [Workload(url, namespace, f"{kind}/{name}")]
    if scheme in _LATER:
        name = (parts.path.strip("/") or parts.netloc).replace("{", "").replace("}", "") or "NAME"
        hint = _LATER[scheme].format(name=name, url=url)
        raise UsageError(url, f"{scheme}:// is not read yet", hint)
    known = "a path, -, file://, journald://, docker://, k8s://"
    raise UsageError(without_credentials(url), f"{scheme}:// is not a log source", f"give {known}")


def _parts(url: str, count: int, shape: str) -> list[str]:
    """What stands between the slashes."""
    parts = [unquote(part) for part in url.partition("://")[2].split("/")]
    if len(parts) != count or not all(parts):
        raise UsageError(without_credentials(url), "it is not complete, or too long", f"give {shape}")
    return parts


def _paths(text: str) -> list[Source]:
    path = os.path.expanduser(text)
    if any(mark in path for mark in _MAGIC) and not os.path.lexists(path):
        found = sorted(each for each in glob.glob(path, recursive=True) if not os.path.isdir(each))
        if not found:
            raise SourceMissing(text, "no file matches", f"ls -l {os.path.dirname(path) or '.'}")
        return [_file(each) for each in found]
    return [_file(path)]


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
    return (
        Journal(path, (f"--file={path}",), os.path.getsize(path))
        if path.endswith(".journal") or (stat.S_ISREG(mode) and is_journal(path))
        else File(path)
    )


def _folder(path: str) -> Source:
    journals = list(Path(path).glob("**/*.journal"))
    if not journals:
        raise SourceMissing(
            path, "it is a folder without .journal files", f"klaviyo-nb logs '{path.rstrip('/')}/*.log*'"
        )
    return Journal(path, (f"--directory={path}",), sum(map(os.path.getsize, journals)))
