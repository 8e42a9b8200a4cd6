"""How well log text is read, against labels written by hand; `accuracy.py` prints the figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from installed import missing
from klaviyo_nb.logs.reader import read
from klaviyo_nb.window import Window
from tests.logs.accuracy import FIELDS, Line, Scores, labelled, score, sdk_lines, table
from tests.logs.formats.test_captured import SAMPLES
from tests.logs.wrappers import WRAPPERS

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
SUREST = ("timestamp", "status_code", "endpoint")


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score()


@pytest.mark.parametrize("name", ["kind", *FIELDS])
def test_a_field_is_found_where_it_is_and_only_there(scores: Scores, name: str) -> None:
    one, goal = scores.fields[name], 0.99 if name in (*SUREST, "kind") else 0.97
    assert one.there >= 20
    assert (one.precision >= goal, one.recall >= goal) == (True, True), [
        (line.text[:200], found, there) for line, field, found, there in scores.wrong if field == name
    ][:5]


def test_every_format_has_forty_labelled_lines_and_no_two_are_the_same(scores: Scores) -> None:
    few = {name: count for name, count in scores.lines.items() if count < 40}
    # The first was not asked for, the others are no formats.
    assert few == {"Squid access log": 2, "written later": 26, "sixteenth of other platforms": 37}
    texts = [line.text for line in labelled()]
    assert len(texts) == len(set(texts))


def test_the_published_figures_are_the_measured_ones(scores: Scores) -> None:
    if not Path(SAMPLES).is_file():
        missing("KLAVIYO_LOG_SAMPLES names no file")
    published = Path(__file__).parents[2] / "docs" / "log-accuracy.md"
    assert table(scores) in published.read_text("utf-8")


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_an_error_over_several_lines_is_one_row_however_it_was_collected(
    tmp_path: Path, wrap: Callable[[list[str]], list[str]]
) -> None:
    wrong = []
    for index, line in enumerate(sdk_lines()):
        path = tmp_path / f"{index}.log"
        path.write_text("".join(f"{each}\n" for each in wrap(line.text.split("\n"))))
        calls = read([str(path)], DAY, redact=str).calls
        if len(calls) != 1 or _differs(line, calls.iloc[0]):
            wrong.append((line.text, len(calls)))
    assert wrong == []


def _differs(line: Line, row: pd.Series) -> bool:
    found = {name: None if pd.isna(row[name]) else row[name] for name in line.label}
    return found != pytest.approx(line.label)
