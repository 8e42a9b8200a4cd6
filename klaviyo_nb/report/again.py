"""What a bundle must say, made again from its evidence: texts, charts, page, and where files come from.

What ran once stays as it was: executed notebooks, how long it took. Only the digest tells of a change in
those.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from klaviyo_nb.evidence import Evidence
from klaviyo_nb.report import index, manifest
from klaviyo_nb.report.drawing import draw
from klaviyo_nb.report.made import NotebookRun, SavedChart

#: Path in the bundle → the bytes that must stand there.
Again = dict[str, bytes]


def made_again(folder: Path, evidence: Evidence, about: Mapping[str, Any]) -> Again:
    """What follows from `folder/evidence`.

    Args:
        folder: The bundle.
        evidence: What is in it.
        about: Its manifest.

    Raises:
        KeyError, TypeError, ValueError: It is no manifest of a bundle.
        EvidenceError: The evidence cannot be read.
    """
    incident, lead = str(about["incident"]), about["lead"]
    runs = [NotebookRun(**run) for run in about["notebooks"]]
    with tempfile.TemporaryDirectory(prefix="klaviyo-nb-verify-") as scratch:
        made = draw(folder, incident, lead, Path(scratch), evidence)
        charts = dict(_charts(folder, made.charts, same=about["drawn_with"] == manifest.drawn_with()))
        sealed = [_as_sealed(folder, chart) for chart in made.charts]
        page = index.page(
            evidence, made._replace(charts=sealed), runs,
            incident=incident, lead=lead, problems=about["problems"],
        )  # fmt: skip
    texts = {name: text.encode() for name, text in {**made.texts, "index.html": page}.items()}
    return texts | charts


def _charts(folder: Path, charts: list[SavedChart], same: bool) -> Iterator[tuple[str, bytes]]:
    """Another version draws other bytes: then only a chart's table and words are held against the sealed."""
    for chart in charts:
        for path in (chart.csv, chart.svg, chart.png):
            data, sealed = path.read_bytes(), folder / "charts" / path.name
            if path == chart.svg and not same and sealed.is_file():
                data = _with_words(sealed.read_bytes(), data)
            if path != chart.png or same:
                yield f"charts/{path.name}", data


def _with_words(sealed: bytes, drawn: bytes) -> bytes:
    """The sealed drawing with the words it must have."""
    before, mark, after = sealed.partition(b"<title>")
    words = drawn.partition(b"<title>")[2].partition(b"<style>")[0]
    return b"".join((before, mark, words, *after.partition(b"<style>")[1:]))


def _as_sealed(folder: Path, chart: SavedChart) -> SavedChart:
    """The page shows the drawings beside it, whoever drew them."""
    beside = folder / "charts" / chart.svg.name
    return replace(chart, svg=beside) if beside.is_file() else chart


def origins_again(folder: Path, evidence: Evidence, about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the manifest must say of each file; of one that is not there, or was not sealed, what it says.

    Raises:
        KeyError, TypeError, ValueError: It is no manifest of a bundle.
    """
    told = {str(entry["path"]): entry for entry in about["files"]}
    hashes = {name: str(told[name]["sha256"]) for name in manifest.files(folder) if name in told}
    acquired = {name: told[name]["acquired_sha256"] for name in hashes if name.startswith("evidence/")}
    there = {entry["path"]: entry for entry in manifest.entries(folder, about, evidence, hashes, acquired)}
    return [there.get(name, entry) for name, entry in told.items()]
