"""Folders in the making: hidden beside the final one, ours alone, and told of when a run was stopped.

What a command makes gets its name when it is whole. Until then it lies in `.NAME.partial`, which is locked as
long as its process lives; what has been collected so far is in `evidence/` there, and can be gone on with.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from shlex import quote

from klaviyo_nb.errors import ReportError, Stopped
from klaviyo_nb.evidence import UNFINISHED

#: What is left of earlier runs is told one by one up to so many.
_TOLD = 3


@contextmanager
def claimed(
    target: Path, another: str, progress: Callable[[str], None], bundle: bool = True
) -> Iterator[Path]:
    """The hidden folder in which `target` is made; ours alone until the end.

    Args:
        target: Where it will be, when it is whole.
        another: What to type if somebody else has that name.
        progress: Told what earlier runs have left.
        bundle: Is it a bundle? Then one can be made of what was collected.

    Raises:
        ReportError: It exists, or another run is writing it, or the folder cannot be written.
        Stopped: Ctrl-C, when something had been collected.
    """
    folder = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with locked(target.parent):  # nobody else claims while we do
                _tell_abandoned(target, progress)
                folder = _claim(target, another, progress)
                held.enter_context(locked(folder))
            yield folder
    except KeyboardInterrupt:
        if folder is None or not _has_evidence(folder):
            raise
        again = f"\nor:  {_from(folder, quote(str(target.parent)), target.name)}" if bundle else ""
        what = f"stopped; what was collected lies in {folder}/evidence"
        raise Stopped(str(target), what, _diagnose(folder) + again) from None
    except OSError as exc:
        kept, hint = "", f"klaviyo-nb {'bundle' if bundle else 'collect'} --out FOLDER"
        if folder and _has_evidence(folder):
            kept = f"; what was collected is in {folder}/evidence"
            hint = _from(folder, "FOLDER", target.name) if bundle else _diagnose(folder)
        raise ReportError(str(target), f"cannot be written: {exc.strerror or exc}{kept}", hint) from exc


def _claim(target: Path, another: str, progress: Callable[[str], None]) -> Path:
    for path in (target, target.with_name(f"{target.name}.zip")):
        if path.exists():
            raise ReportError(str(path), "it exists already, and is never overwritten", another)
    folder = target.with_name(f".{target.name}.partial")
    if folder.exists():
        with locked(folder, wait=False) as abandoned:
            if not abandoned:
                raise ReportError(str(target), "another run is writing it now", another)
            names = (folder.with_name(f"{folder.name}-{number}") for number in count(1))
            progress(_left(folder.rename(next(path for path in names if not path.exists()))))
    folder.mkdir()
    return folder


def _tell_abandoned(target: Path, progress: Callable[[str], None]) -> None:
    """What runs of other names have left; that of the same name is told when it is put aside."""
    own = f".{target.name}.partial"
    found = [path for path in target.parent.glob(".*.partial*") if path.is_dir() and path.name != own]
    for path in sorted(found, key=lambda path: -path.stat().st_mtime)[:_TOLD]:
        with locked(path, wait=False) as abandoned:
            if abandoned:
                progress(_left(path))


def _left(folder: Path) -> str:
    """What a stopped run has left, where, and how to go on from it."""
    if not _has_evidence(folder):
        return (
            f"an earlier run was stopped before it had collected anything whole; what there is is in {folder}"
        )
    missing = _missing(folder)
    but = f", but for {', '.join(missing)}" if missing else ""
    return f"an earlier run was stopped; what it collected{but}: {_diagnose(folder)}"


def _has_evidence(folder: Path) -> bool:
    """Is there anything that can be read? The header of evidence comes last."""
    return (folder / "evidence" / "evidence.json").is_file()


def _missing(folder: Path) -> list[str]:
    """What had not come in yet."""
    try:
        gaps = json.loads((folder / "evidence" / "evidence.json").read_text("utf-8"))["gaps"]
        return [gap["signal"] for gap in gaps if UNFINISHED in gap["reason"]]
    except (OSError, ValueError, KeyError, TypeError):  # somebody changed it
        return []


def _diagnose(folder: Path) -> str:
    return f"klaviyo-nb diagnose {quote(str(folder / 'evidence'))}"


def _from(folder: Path, out: str, incident: str) -> str:
    return f"klaviyo-nb bundle --evidence {quote(str(folder / 'evidence'))} --incident {incident} --out {out}"


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on `folder`, and yield whether we do. It ends with the process, so none is left behind."""
    descriptor, ours = os.open(folder, os.O_RDONLY), True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        ours = False
    except OSError:  # a file system without locks, such as some network ones: go on as if alone
        ours = True
    try:
        yield ours
    finally:
        os.close(descriptor)
