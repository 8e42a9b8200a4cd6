"""Tables: a header names the columns, and rows are read as the objects that it makes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_nb.logs.chunks import Job, read_chunks
from klaviyo_nb.logs.formats.columns import columns_of
from klaviyo_nb.logs.reader import read
from klaviyo_nb.logs.sources.files import File, Range
from klaviyo_nb.window import Window

DAY = Window(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
HEADER = "timestamp,level,vendor,method,path,status,duration_ms,note"
ROW = '2026-11-23T05:00:00Z,warn,klaviyo,POST,/api/events,429,125,"a, b"'
STRIPE = "2026-11-23T05:00:01Z,error,stripe,POST,/v1/charges,500,97,"
W3C = """#Software: Microsoft Internet Information Services 10.0
#Fields: date time cs-method cs-uri-stem cs-host sc-status time-taken
2026-11-23 05:00:00 POST /api/events a.klaviyo.com 429 125
2026-11-23 05:00:01 GET /account/klaviyo shop.example 500 12
"""


def calls(path: Path, text: str) -> pd.DataFrame:
    path.write_text(text)
    return read([str(path)], DAY, redact=str).calls


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_of_an_export_names_what_its_rows_tell(tmp_path: Path, separator: str) -> None:
    text = f"{HEADER}\n{ROW.replace('a, b', 'a')}\n{STRIPE}\n".replace(",", separator)
    found = calls(tmp_path / "crm.csv", text)
    assert found[["method", "endpoint", "status_code", "duration_s", "level", "line_no"]].values.tolist() == [
        ["POST", "/api/events", 429, 0.125, "warning", 2]
    ]
    assert found["timestamp"].tolist() == [pd.Timestamp("2026-11-23T05:00:00Z")]


def test_a_separator_in_quotes_divides_nothing(tmp_path: Path) -> None:
    assert calls(tmp_path / "crm.csv", f"{HEADER}\n{ROW}\n")["duration_s"].tolist() == [0.125]


def test_w3cs_fields_say_which_host_was_asked_and_a_page_of_ours_is_no_call(tmp_path: Path) -> None:
    found = calls(tmp_path / "ex261123.log", W3C)
    assert found[["endpoint", "status_code", "duration_s"]].values.tolist() == [["/api/events", 429, 0.125]]
    assert found["timestamp"].tolist() == [pd.Timestamp("2026-11-23T05:00:00Z")]


def test_a_range_that_does_not_begin_the_file_knows_its_header(tmp_path: Path) -> None:
    path = tmp_path / "crm.csv"
    path.write_text(f"{HEADER}\n" + f"{ROW}\n" * 2_000)
    (whole,) = File(str(path)).chunks(DAY)
    assert isinstance(whole, Range)
    second = Range(whole.path, 100_000, whole.stop, whole.total, whole.identity)
    (part,) = read_chunks([Job(0, second, DAY, str, None, False)])
    assert set(part.calls.rows()["duration_s"].to_pylist()) == {0.125}


@pytest.mark.parametrize(
    "line",
    [
        "klaviyo failed, status 429, retrying, attempt 2",
        "Method,Path,Status",
        '{"time":1,"method":"GET","path":"/","status":200}',
        "alpha,beta,gamma,delta,epsilon",
        "2026-11-23 05:00:00,250 ERROR crm: method, path, status, level",
        "",
    ],
)
def test_what_names_no_columns_is_no_header(line: str) -> None:
    assert columns_of([line]) is None


@given(st.text())
def test_a_row_is_an_object_or_none_whatever_stands_in_it(line: str) -> None:
    columns = columns_of([HEADER])
    assert columns is not None
    row = columns.row(line)
    assert row is None or isinstance(json.loads(row), dict)
