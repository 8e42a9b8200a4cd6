"""The line that says how far reading has got: on a terminal only, and gone before anything else is written."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from klaviyo_nb.commands.meter import Meter, told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on by `step_s` each time it is read."""
    now = [0.0]

    def read() -> float:
        now[0] += step_s
        return now[0]

    return read


def test_bytes_rate_and_time_left_are_written_over_each_other() -> None:
    stream = Terminal()
    meter = Meter(stream, plain=False, clock=ticking(1.0))
    for done in (0, 100_000_000, 300_000_000):
        meter.reading("app.log", done, 1_000_000_000)
    *_, last = stream.getvalue().split("\r\x1b[K")
    assert last == "  · logs: 300 MB of 1.0 GB, 150 MB/s, 5 s left"
    meter.wipe()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_what_is_read_at_once_shows_nothing() -> None:
    stream = Terminal()
    meter = Meter(stream, plain=False, clock=ticking(0.01))
    for done in (0, 50, 100):
        meter.reading("app.log", done, 100)
    meter.wipe()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("stream", "plain"), [(io.StringIO(), False), (Terminal(), True)])
def test_a_pipe_and_a_plain_terminal_get_nothing(stream: io.StringIO, plain: bool) -> None:
    meter = Meter(stream, plain, clock=ticking(1.0))
    meter.reading("app.log", 1, 10)
    meter.reading("app.log", 5, 10)
    meter.wipe()
    assert stream.getvalue() == ""


def test_without_a_known_size_there_is_no_time_left_to_tell() -> None:
    assert told(5_000_000, 0, 2.0) == "5 MB, 2 MB/s"
    assert told(0, 0, 0.0) == "0 B"
    assert told(10, 2_000, 1.0) == "10 B of 2 kB, 10 B/s, 3 min 19 s left"
