"""An evidence folder: written whole, or as it was before; and read back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.evidence import Evidence, header_fields
from klaviyo_nb.frames import CALLS, METRICS, NOTES, PROBES, WATCH, WEBHOOKS, Schema, plain_rows

if TYPE_CHECKING:
    import pandas as pd

_SCHEMAS = {"probes": PROBES, "calls": CALLS, "earlier": CALLS, "webhooks": WEBHOOKS, "metrics": METRICS,
            "watch": WATCH, "notes": NOTES}  # fmt: skip
#: Frames that pipes may add to, and where their rows are until all are kept together.
_OF_PIPES = {name: f"{name}-of-pipes.csv" for name in ("calls", "earlier", "webhooks")}
#: A frame of so many rows is kept as text while all evidence is read for what must be taken out of it.
KEPT = 100_000


def save(evidence: Evidence, folder: Path, redact: Callable[[str], str] = str) -> None:
    """Write `evidence` to `folder`: `evidence.json`, a CSV per frame, `status_page.json`.

    Each file is whole whenever somebody looks; what was written there before is replaced, what `save_pipes`
    wrote is in it. The header is written last, so that a folder without it is known to be unfinished.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"evidence.json": _json(evidence.header())}
    if evidence.status_page is not None:
        texts["status_page.json"] = _json(evidence.status_page)
    frames = {name: frame for name in _SCHEMAS if (frame := getattr(evidence, name)) is not None}
    _write(folder, texts, frames, redact)


def save_pipes(evidence: Evidence, folder: Path, redact: Callable[[str], str]) -> None:
    """Write what pipes have sent beside what `save` wrote there earlier, and a header of both.

    Args:
        evidence: Its frames hold rows of pipes only; its header is of all.
        folder: Where `save` has written.
        redact: As of `save`.

    Raises:
        OSError: It cannot be written.
    """
    frames = {name: frame for name in _OF_PIPES if (frame := getattr(evidence, name)) is not None}
    _write(folder, {"evidence.json": _json(evidence.header())}, frames, redact, _OF_PIPES)


def _write(
    folder: Path,
    texts: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
    redact: Callable[[str], str],
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write frames, under other `names` where those are given, and then texts, the first of them last."""
    written: dict[str, Iterable[str]] = {
        name: _SCHEMAS[name].csv_parts(frame) for name, frame in frames.items()
    }
    if redact is not str:  # first all is read: what is recognised in the last text is taken out of the first
        for text in texts.values():
            redact(text)
        for name, frame in frames.items():
            written[name] = _recognised(written[name], _SCHEMAS[name], frame, redact)
    for name, parts in written.items():
        _put(folder / names.get(name, f"{name}.csv"), map(redact, parts))
    if not names:
        for name in _OF_PIPES.values():
            (folder / name).unlink(missing_ok=True)
    for name, text in reversed(list(texts.items())):
        _put(folder / name, [redact(text)])


def _recognised(
    parts: Iterable[str], schema: Schema, frame: pd.DataFrame, redact: Callable[[str], str]
) -> Iterable[str]:
    """What is to be written, when it was looked through; a large frame is made text once more for it."""
    held = list(parts) if len(frame) <= KEPT else None
    for part in held or parts:
        redact(part)
    return held or schema.csv_parts(frame)


def _put(path: Path, parts: Iterable[str]) -> None:
    """Write a file that is there whole, or as it was before."""
    unfinished = path.with_name(f".{path.name}.partial")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
    unfinished.replace(path)


def load(folder: Path) -> Evidence:
    """Read what `save` wrote, from an evidence folder or a bundle that holds one.

    Raises:
        EvidenceError: It is not evidence, or a file of it cannot be read.
    """
    if not (folder / "evidence.json").is_file() and (folder / "evidence" / "evidence.json").is_file():
        folder = folder / "evidence"
    if folder.suffix == ".zip" and folder.is_file():
        unpack = f"unzip {shlex.quote(str(folder))} -d {shlex.quote(str(folder.parent))}"
        raise EvidenceError(str(folder), "it is packed; only verify reads it so", unpack)
    if not (folder / "evidence.json").is_file():
        raise EvidenceError(
            str(folder), "no evidence.json in it", "klaviyo-nb collect --out DIR, then diagnose DIR"
        )
    try:
        fields = header(folder)
        frames: dict[str, Any] = {
            name: _read(path, schema)
            for name, schema in _SCHEMAS.items()
            if (path := folder / f"{name}.csv").is_file()
        }
        frames |= dict(_with_pipes(folder, frames))
        page = folder / "status_page.json"
        status_page = json.loads(page.read_text("utf-8")) if page.is_file() else None
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise EvidenceError(
            str(folder), f"cannot be read: {exc}", "klaviyo-nb verify the bundle it came from"
        ) from exc
    rows = tuple(plain_rows(frames.pop("probes"))) if "probes" in frames else ()
    return Evidence(status_page=status_page, probe_rows=rows, **frames, **fields)


def header(folder: Path) -> dict[str, Any]:
    """The arguments of `Evidence` that stand in `evidence.json`, as they were written: without secrets.

    Raises:
        OSError, KeyError, TypeError, ValueError: It cannot be read.
    """
    return header_fields(json.loads((folder / "evidence.json").read_text("utf-8")))


def _with_pipes(folder: Path, frames: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Frames to which pipes have added since all was kept: their rows instead of those that they had then."""
    for name, file in _OF_PIPES.items():
        if (folder / file).is_file():
            schema, new = _SCHEMAS[name], _read(folder / file, _SCHEMAS[name])
            was = frames.get(name, schema.empty())
            both = schema.joined([was[~was["source"].isin(new["source"])], new])
            yield name, both.sort_values("timestamp", kind="stable", ignore_index=True)


def _read(path: Path, schema: Schema) -> pd.DataFrame:
    """The frame; of `watch.csv`, which grows by a line per round until it is killed, the whole lines."""
    if path.name == "watch.csv":
        data = path.read_bytes()
        return schema.from_csv(data[: data.rfind(b"\n") + 1].decode("utf-8"))
    with path.open(encoding="utf-8", newline="") as file:  # line ends as they are
        return schema.from_csv(file)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
