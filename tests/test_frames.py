"""Frames have the columns and dtypes of their schema, and survive CSV."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samples
from klaviyo_nb.frames import CALLS, METRICS, NOTES, PROBES, ROWS_AT_ONCE, WATCH, WEBHOOKS, Schema

SCHEMAS = [PROBES, CALLS, WEBHOOKS, METRICS, WATCH, NOTES]
#: Text as it comes from logs: anything a file can hold, with what CSV, pandas and spreadsheets stumble over.
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        [
            "NA",
            "nan",
            "None",
            "null",
            "True",
            "1",
            "1e5",
            '"',
            ",",
            "a\nb",
            "a\r\nb",
            "\r",
            "=1+1",
            "\x00x",
            "''",
            '""',
        ]
    ),
)
VALUES = {
    "str": TEXT,
    "category": TEXT,
    "Int64": st.integers(-(2**53), 2**53),
    "float64": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "datetime64[ns, UTC]": st.integers(631_152_000_000_000, 4_102_444_800_000_000).map(
        lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    ),
}


def rows_of(schema: Schema) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = {name: st.none() | VALUES[column.dtype] for name, column in schema.columns.items()}
    return st.lists(st.fixed_dictionaries(row), max_size=4)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
@settings(deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_rows_survive_csv_whatever_a_log_put_into_them(schema: Schema, data: st.DataObject) -> None:
    frame = schema.frame(data.draw(rows_of(schema)))
    again = schema.from_csv(schema.to_csv(frame))
    pd.testing.assert_frame_equal(again, frame)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1"])
def test_no_cell_is_a_formula_to_a_spreadsheet_and_reading_it_back_gives_the_text(text: str) -> None:
    frame = CALLS.frame([{"message": text, "line_no": -1}])
    written = CALLS.to_csv(frame)
    assert f"'{text}" in written
    assert "'-1" not in written or text == "-1"  # a number is none
    assert list(CALLS.from_csv(written)["message"]) == [text]


@pytest.mark.parametrize("text", ["'quoted' text", "it's =1", "ok", "'"])
def test_other_texts_are_written_as_they_are(text: str) -> None:
    frame = CALLS.frame([{"message": text}])
    assert f",{text}," in CALLS.to_csv(frame)
    assert list(CALLS.from_csv(CALLS.to_csv(frame))["message"]) == [text]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_an_empty_frame_has_all_columns_and_survives_csv(schema: Schema) -> None:
    empty = schema.check(schema.empty())
    assert list(empty.columns) == list(schema.columns)
    pd.testing.assert_frame_equal(schema.from_csv(schema.to_csv(empty)), empty)


def test_the_sample_incident_survives_csv() -> None:
    evidence = samples.rate_limited()
    for schema, frame in ((PROBES, evidence.probes), (CALLS, evidence.calls), (METRICS, evidence.metrics)):
        assert frame is not None
        pd.testing.assert_frame_equal(schema.from_csv(schema.to_csv(frame)), frame)


def test_what_a_row_does_not_have_is_missing_not_zero() -> None:
    frame = CALLS.frame([{"endpoint": "/api/events"}])
    assert frame.loc[0].drop("endpoint").isna().all()


def test_a_column_that_the_schema_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match=r"CALLS: unknown columns \['colour'\]"):
        CALLS.frame([{"colour": "red"}])
    with pytest.raises(ValueError, match="unknown columns"):
        CALLS.from_csv("timestamp,colour\n,red\n")


@pytest.mark.parametrize(
    ("column", "values"),
    [("status_code", pd.Series([1.5])), ("timestamp", pd.Series(["x"])), ("message", pd.Series([1])), ("duration_s", pd.Series(["1"]))],
)  # fmt: skip
def test_a_frame_with_another_dtype_is_refused_at_the_door(column: str, values: pd.Series[Any]) -> None:
    frame = CALLS.frame([{"endpoint": "/api/events"}]).assign(**{column: values})
    with pytest.raises(ValueError, match=f"not a CALLS frame: {column}"):
        CALLS.check(frame)
    with pytest.raises(ValueError, match="worker: absent"):
        CALLS.check(CALLS.empty().drop(columns="worker"))


@pytest.mark.parametrize(
    "bad", ["timestamp\nsoon\n", "status_code\nmany\n", "duration_s\nlong\n", "status_code\n1.5\n"]
)
def test_a_value_that_does_not_fit_its_column_is_a_value_error(bad: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        CALLS.from_csv(bad)


def test_every_column_says_what_it_means_and_units_are_in_names() -> None:
    for schema in SCHEMAS:
        for name, column in schema.columns.items():
            assert column.meaning
            assert column.dtype in VALUES
            assert not name.endswith("_ms")


def test_a_frame_of_several_parts_is_the_same_text_and_the_same_frame() -> None:
    times = pd.date_range("2026-11-23", periods=ROWS_AT_ONCE + 2, freq="s", tz="UTC")
    frame = NOTES.frame(pd.DataFrame({"written_at": times, "text": "=1"}))
    parts = list(NOTES.csv_parts(frame))
    assert [part.count("\n") for part in parts] == [ROWS_AT_ONCE + 1, 2]
    assert "".join(parts) == NOTES.to_csv(frame)
    pd.testing.assert_frame_equal(NOTES.from_csv("".join(parts)), frame)
