"""The header of evidence reads back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import samples
from klaviyo_nb.collect import load, save
from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.evidence import Coverage, Evidence, Query, header_fields
from klaviyo_nb.frames import CALLS
from klaviyo_nb.window import Window


def full() -> Evidence:
    one_line = Window(samples.NOW, samples.NOW + timedelta(microseconds=1))
    coverage = Coverage("app.log", samples.WINDOW, one_line, 1, 1, 0, 7, truncated=True, gap="torn")
    query = Query("requests", "sum(x)", "a", "b", 15.0, 2, 30, "00ff", ("partial",))
    return replace(
        samples.rate_limited(),
        collected_at=samples.NOW + timedelta(microseconds=123_457),
        coverage=(coverage, Coverage("gone.log", samples.WINDOW, gap="not there")),
        queries=(query,),
    )


def test_a_header_reads_back_as_it_was_written() -> None:
    evidence = full()
    fields = header_fields(json.loads(json.dumps(evidence.header())))
    for name, value in fields.items():
        assert value == getattr(evidence, name), name
    again = Evidence(**fields)
    assert again.header() == evidence.header()


def test_the_header_of_nothing_reads_back_too() -> None:
    nothing = Evidence(samples.WINDOW, samples.NOW)
    again = Evidence(**header_fields(json.loads(json.dumps(nothing.header()))))
    assert again.header() == nothing.header()
    assert again.calls is None
    assert again.status_page is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "klaviyo-nb/evidence/99"},
        {"window": {"start": "2026-11-23T07:00:00Z", "end": "2026-11-23T05:00:00Z"}},
        {"window": {"start": "soon", "end": "later"}},
        {"collected_at": "yesterday"},
        {"coverage": [{"source": "x"}]},
        {"gaps": [{"signal": "logs", "reason": "r", "colour": "red"}]},
        {"queries": [[]]},
        {"budget": None},
        {"context": "text"},
    ],
    ids=str,
)
def test_what_is_no_header_is_refused_without_a_crash(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        header_fields(full().header() | change)
    with pytest.raises((KeyError, TypeError, ValueError)):
        header_fields({name: value for name, value in full().header().items() if name not in change})


def test_a_text_with_bare_line_ends_survives_the_folder(tmp_path: Path) -> None:
    rows = [
        {"message": text, "endpoint": "/api/events"} for text in ("a\rb", "\r", "a\r\nb", "=1+1", '"', "NA")
    ]
    evidence = replace(full(), calls=CALLS.frame(rows))
    save(evidence, tmp_path)
    again = load(tmp_path)
    assert again.calls is not None
    assert again.calls["message"].tolist() == [row["message"] for row in rows]
    assert again.header() == evidence.header()


def test_a_folder_with_an_impossible_window_is_evidence_that_cannot_be_read(tmp_path: Path) -> None:
    save(full(), tmp_path)
    header = tmp_path / "evidence.json"
    header.write_text(
        header.read_text("utf-8").replace("2026-11-23T05:00:00Z", "2026-11-23T09:00:00Z"), "utf-8"
    )
    with pytest.raises(EvidenceError, match="cannot be read"):
        load(tmp_path)
