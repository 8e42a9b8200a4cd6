from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from klaviyo_nb.errors import UsageError
from klaviyo_nb.logs.chunks import Job, read_chunk
from klaviyo_nb.logs.engines import engine
from klaviyo_nb.logs.sources import resolve
from klaviyo_nb.redact import Redactor
from klaviyo_nb.window import Window

WINDOW = Window.last(timedelta(hours=2), datetime(2026, 11, 23, 7, 0, tzinfo=UTC))


def job(folder: Path) -> Job:
    path = folder / "app.log"
    path.write_text("2026-11-23T05:00:00Z Klaviyo API error: 503\n")
    (chunk,) = resolve(str(path))[0].chunks(WINDOW)
    return Job(0, chunk, WINDOW, Redactor(b"test").text, None, about=False)


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert list(engine("local").map(str, [3, 1, 2])) == ["3", "1", "2"]


def test_an_unknown_engine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="not an engine"):
        engine("abacus")


def test_a_chunk_is_read_alike_in_another_process(tmp_path: Path) -> None:
    task = pickle.loads(pickle.dumps(job(tmp_path)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (there,) = pool.map(read_chunk, [task])
    here = read_chunk(task)
    assert there.calls["status_code"].to_pylist() == [503]
    assert there == here
