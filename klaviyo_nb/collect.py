"""From sources to an evidence folder and back. Contains no rule about Klaviyo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.evidence import Evidence, header_fields
from klaviyo_nb.frames import CALLS, METRICS, PROBES, WEBHOOKS

FRAMES = {"probes": PROBES, "calls": CALLS, "webhooks": WEBHOOKS, "metrics": METRICS}


def save(evidence: Evidence, folder: Path, redact: Callable[[str], str] = str) -> None:
    """Write `evidence` to `folder`: `evidence.json`, a CSV per frame, `status_page.json`.

    The header is written last, so that a folder without it is known to be unfinished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in FRAMES.items():
        frame: pd.DataFrame | None = getattr(evidence, name)
        if frame is not None:
            (folder / f"{name}.csv").write_text(redact(schema.to_csv(frame)), "utf-8")
    if evidence.status_page is not None:
        (folder / "status_page.json").write_text(redact(_json(evidence.status_page)), "utf-8")
    (folder / "evidence.json").write_text(redact(_json(evidence.header())), "utf-8")


def load(folder: Path) -> Evidence:
    """Read what `save` wrote, from an evidence folder or a bundle that holds one.

    Raises:
        EvidenceError: It is not evidence, or a file of it cannot be read.
    """
    if not (folder / "evidence.json").is_file() and (folder / "evidence" / "evidence.json").is_file():
        folder = folder / "evidence"
    header = folder / "evidence.json"
    if not header.is_file():
        raise EvidenceError(str(folder), "no evidence.json in it", f"klaviyo-nb collect --out {folder}")
    try:
        fields = header_fields(json.loads(header.read_text("utf-8")))
        frames = {
            name: schema.from_csv(path.read_text("utf-8"))
            for name, schema in FRAMES.items()
            if (path := folder / f"{name}.csv").is_file()
        }
        page = folder / "status_page.json"
        status_page = json.loads(page.read_text("utf-8")) if page.is_file() else None
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise EvidenceError(
            str(folder), f"cannot be read: {exc}", "klaviyo-nb verify the bundle it came from"
        ) from exc
    frames.setdefault("probes", PROBES.empty())
    return Evidence(status_page=status_page, **frames, **fields)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
