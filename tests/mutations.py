"""Changes that a forger, or a failing disk, makes to a sealed bundle; for the tests and the benchmark of verify."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from klaviyo_nb.evidence import Evidence
from klaviyo_nb.report import manifest
from klaviyo_nb.report.again import Again, made_again


@contextmanager
def byte_changed(path: Path, rng: random.Random, at: int | None = None) -> Iterator[int]:
    """One bit of one byte of a file is another for a while."""
    position = rng.randrange(path.stat().st_size) if at is None else at
    with path.open("r+b") as file:
        file.seek(position)
        before = file.read(1)
        file.seek(position)
        file.write(bytes([before[0] ^ (1 << rng.randrange(8))]))
        file.flush()
        yield position
        file.seek(position)
        file.write(before)


@contextmanager
def digits_changed(folder: Path, names: Iterable[str], rng: random.Random) -> Iterator[list[str]]:
    """One digit of each of these files is another for a while, and all hashes fit; yields those that have one."""
    places = {
        name: [at.start() for at in re.finditer(rb"\d", (folder / name).read_bytes())] for name in names
    }
    changed = [name for name in places if places[name]]
    before = {name: (folder / name).read_bytes() for name in (*changed, "manifest.json", "SHA256SUMS")}
    for name in changed:
        text, at = before[name], rng.choice(places[name])
        digit = rng.choice([each for each in b"0123456789" if each != text[at]])
        (folder / name).write_bytes(text[:at] + bytes([digit]) + text[at + 1 :])
    reseal(folder)
    yield changed
    for name, data in before.items():
        (folder / name).write_bytes(data)


def reseal(folder: Path) -> None:
    """Hashes as a forger would mend them."""
    found = json.loads((folder / "manifest.json").read_text("utf-8"))
    for entry in found["files"]:
        path = folder / entry["path"]
        entry["sha256"], entry["bytes"] = manifest.sha256(path), path.stat().st_size
    (folder / "manifest.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")
    names = [entry["path"] for entry in found["files"]] + ["manifest.json"]
    (folder / "SHA256SUMS").write_text(
        manifest.sums({name: manifest.sha256(folder / name) for name in names})
    )


def follows(folder: Path) -> list[str]:
    """Every text in the bundle that can be made again from its evidence, but for the manifest."""
    named = (
        name
        for name in manifest.files(folder)
        if "/" not in name or name.startswith(("charts/", "messages/", "support-packet/"))
    )
    others = ("manifest.json", "SHA256SUMS")
    return [name for name in named if name not in others and not name.endswith(manifest.PICTURES)]


class MadeOnce:
    """`made_again`, worked out once: the evidence is not what is changed here."""

    def __init__(self) -> None:
        self._made: Again = {}

    def __call__(self, folder: Path, evidence: Evidence, about: Any) -> Again:
        self._made = self._made or made_again(folder, evidence, about)
        return self._made
