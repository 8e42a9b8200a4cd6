from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from klaviyo_nb.metrics.matrix import Answer, read

ROWS: list[list[Any]] = [[10 + at, str(at * 3)] for at in range(20)]


def body(*series: dict[str, Any]) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}})


def series(name: str, rows: list[list[Any]], **more: Any) -> dict[str, Any]:
    return {"metric": {"__name__": name}, "values": rows} | more


@pytest.mark.parametrize("size", range(1, 60))
def test_where_an_answer_is_cut_on_its_way_makes_no_difference(size: int):
    histograms = [[1, {"count": "1", "buckets": [[0, "1", "2", "3"]]}]]
    odd = 'a]]b"values":[[1,"2"]]}'
    whole = body(
        series("a", ROWS),
        series("b", ROWS[3:], histograms=histograms),
        series("none", []),
        series(odd, [[11, "NaN"], [12, "7"]]),
        series("c", ROWS[:1]),
    )
    answer = Answer()
    parts = (whole[at : at + size] for at in range(0, len(whole), size))
    bare = b"".join([answer.take(part) for part in parts]) + answer.rest()
    found, _ = answer.read(bare, 0, 30)
    assert [each.labels["__name__"] for each in found] == ["a", "b", odd, "c"]
    assert [each.times.tolist() for each in found[:2]] == [
        [at * 10**9 for at, _ in rows] for rows in (ROWS, ROWS[3:])
    ]
    wanted = [*range(0, 60, 3), *range(9, 60, 3), np.nan, 7, 0]
    assert np.array_equal(np.concatenate([each.values for each in found]), wanted, equal_nan=True)


def test_times_that_are_not_equally_long_are_read_as_well():
    rows = [[at, str(at * 3)] for at in range(8, 12)]
    answer, whole = Answer(), body(series("a", ROWS), series("b", rows))
    bare = answer.take(whole)
    assert b'[9,"27"]' in bare, "they are left as they are"
    found, _ = answer.read(bare + answer.rest(), 0, 30)
    assert found[0].times.tolist() == [at * 10**9 for at, _ in ROWS]
    assert found[1].times.tolist() == [at * 10**9 for at in (8, 9, 10, 11)]
    assert found[1].values.tolist() == [24, 27, 30, 33]


@pytest.mark.parametrize("between", ['"],[12, "', '"],{12,"', '"],[1x,"', '"],[12:"', '" ,[12,"'])
def test_what_stands_between_values_in_one_series_only_is_not_taken_for_a_time(between: str):
    usual = b'{"metric":{"__name__":"a"},"values":[[11,"1"],[12,"2"],[13,"3"]]}'
    odd = usual.replace(b'"],[12,"', between.encode())
    answer = Answer()
    start, end = b'{"status":"success","data":{"resultType":"matrix","result":[', b"]}}"
    bare = answer.take(start + usual + b",")
    assert bare.endswith(b'"values":1')
    assert between.encode() in answer.take(odd + end) + answer.rest()


def test_samples_are_taken_out_of_an_answer_before_its_end_has_come():
    answer, whole = Answer(), body(series("a", ROWS), series("b", ROWS))
    half = whole.rfind(b"values")
    bare = answer.take(whole[:half])
    assert bare.endswith(b'"values":1')
    assert (answer.take(whole[half:]) + answer.rest()).endswith(b'"values":2}]}}')


def test_a_number_in_place_of_samples_is_not_taken_for_those_of_another_series():
    with pytest.raises(ValueError, match="not that of a Prometheus API"):
        read(body(series("a", ROWS), {"metric": {}, "values": 1}), 0, 20)


def test_every_byte_is_told_before_anything_is_taken_out():
    heard: list[bytes] = []
    answer, whole = Answer(heard.append), body(series("a", ROWS))
    answer.take(whole[:100])
    answer.take(whole[100:])
    assert b"".join(heard) == whole


def test_native_histograms_are_no_silence():
    histograms = [[1, {"count": "1", "sum": "0.1", "buckets": [[0, "0.1", "0.2", "1"]]}]]
    with pytest.raises(ValueError, match="native histograms, which are not read here"):
        read(body({"metric": {"__name__": "a"}, "histograms": histograms}, series("b", ROWS)), 0, 30)
