"""The header of evidence reads back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import samples
from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.evidence import (
    TRY,
    Coverage,
    Evidence,
    Gap,
    Query,
    header_fields,
    in_short,
    remembered,
    together,
)
from klaviyo_nb.folder import load, save
from klaviyo_nb.frames import CALLS
from klaviyo_nb.window import Window


def full() -> Evidence:
    one_line = Window(samples.NOW, samples.NOW + timedelta(microseconds=1))
    coverage = Coverage(
        "app.log", samples.WINDOW, one_line, 1, 1, 0, 7, truncated=True, gap="torn", outside=samples.NOW
    )
    query = Query("requests", "sum(x)", "a", "b", 15.0, 2, 30, "00ff", ("partial",))
    return replace(
        samples.rate_limited(),
        collected_at=samples.NOW + timedelta(microseconds=123_457),
        coverage=(coverage, Coverage("gone.log", samples.WINDOW, gap="not there")),
        queries=(query,),
    )


def test_answers_are_remembered_for_the_last_evidence_and_forgotten_with_it() -> None:
    asked = []

    @remembered
    def answer(seen: Evidence, how: object) -> int:
        return asked.append(how) or len(asked)

    first, table = samples.rate_limited(calls_per_minute=1), {"cannot": "be hashed"}
    assert [answer(first, table), answer(first, table), answer(first, "x")] == [1, 1, 2]
    assert answer(first, dict(table)) == 3  # another one, for all we know
    gone = weakref.ref(first)
    del first
    assert gone() is None
    assert answer(samples.rate_limited(calls_per_minute=1), table) == 4


def test_what_is_known_beforehand_is_not_asked_and_forgotten_with_its_evidence() -> None:
    @remembered
    def answer(seen: Evidence, how: str) -> str:
        return f"asked {how}"

    first = samples.rate_limited(calls_per_minute=1)
    assert answer.know("known", first, "here") == "known"
    assert [answer(first, "here"), answer(first, "there")] == ["known", "asked there"]
    gone = weakref.ref(first)
    del first
    assert gone() is None
    assert answer(samples.rate_limited(calls_per_minute=1), "here") == "asked here"


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


def test_gaps_that_are_alike_are_told_once_and_others_one_by_one() -> None:
    torn = [Gap(f"a{number}.gz", f"torn behind byte {number}") for number in range(2_000)]
    other = [Gap("loki://logs", "it refused: HTTP 401"), Gap("metrics", "none was given", configured=False)]
    assert together([torn[0], other[0], *torn[1:], other[1]]) == [
        Gap("a0.gz and 1,999 more", "torn behind byte 0"),
        *other,
    ]
    assert together(torn[:3]) == torn[:3]
    coded = [Gap(name, f"UTF-16{TRY}iconv {name}") for name in "abcd"]
    assert together(coded) == [Gap("a and 3 more", f"UTF-16{TRY}iconv a")]


def test_of_many_log_sources_those_with_trouble_are_named_and_the_sums_stay() -> None:
    asked, later = samples.WINDOW, Window(samples.WINDOW.start + timedelta(hours=1), samples.WINDOW.end)
    well = [
        Coverage(f"a{n}", asked, later, lines=n, calls=n, unparsed=1, skipped_bytes=2) for n in range(500)
    ]
    torn = Coverage("torn", asked, asked, lines=7, truncated=True, gap="torn")
    told = in_short([*well, torn])
    assert [told[0], told[1]] == [torn, well[-1]]
    assert told[-1].source == "482 more sources"
    assert (told[-1].gap, told[-1].truncated, told[-1].got) == (None, False, later)
    for name in ("lines", "calls", "unparsed", "skipped_bytes"):
        assert sum(getattr(each, name) for each in told) == sum(getattr(each, name) for each in [*well, torn])
    assert in_short(well[:20]) == well[:20]


def test_of_many_sources_with_trouble_the_rest_tells_how_many() -> None:
    torn = [Coverage(f"torn{n}", samples.WINDOW, truncated=True, gap="torn") for n in range(100)]
    last = in_short(torn)[-1]
    assert (last.source, last.got, last.truncated) == ("81 more sources", None, True)
    assert last.gap == "81 of them were not read whole"
