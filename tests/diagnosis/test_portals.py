"""What looks well and was answered by a portal; and as often, what must not be taken for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from klaviyo_nb.collect import collect
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.portals import first_answers, told_by_probes
from klaviyo_nb.diagnosis.times import times_of
from klaviyo_nb.drills.server import serve
from klaviyo_nb.drills.worlds import generator
from klaviyo_nb.frames import CALLS, PROBES
from klaviyo_nb.logs.questions.counts import failure_kinds
from klaviyo_nb.settings import load
from klaviyo_nb.start import redactor_for, window_of

START = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
#: Of four calls, as Klaviyo answers them: an event, a read, a profile added to a list, an event.
MIXED = [202, 200, 204, 202]


def calls(*statuses: int, **columns: Any) -> pd.DataFrame:
    """A call every ten seconds."""
    times = [START + timedelta(seconds=10 * number) for number in range(len(statuses))]
    rows = {"timestamp": times, "source": "app.log", "endpoint": "/api/events", "status_code": list(statuses)}
    return CALLS.frame(pd.DataFrame(rows | columns))


def probed(**answered_by: str | None) -> list[dict[str, Any]]:
    return [
        PROBES.row({"probe": name, "checked_at": START, "status_code": 200, "answered_by": who})
        for name, who in answered_by.items()
    ]


PORTAL = probed(auth="portal", rate_limit="portal")


def marked(frame: pd.DataFrame, rows: list[dict[str, Any]] = PORTAL, before: int = 0) -> list[int]:
    """Numbers of the calls that a portal is said to have answered; the first ones lie before the window."""
    within, earlier = told_by_probes(frame.iloc[before:].reset_index(drop=True), frame.iloc[:before], rows)
    every = pd.concat([earlier, within], ignore_index=True)
    assert (failure_kinds(every).notna() == (every["answered_by"] == "portal")).all()
    assert every.drop(columns="answered_by").equals(frame.drop(columns="answered_by"))
    return every.index[every["answered_by"] == "portal"].tolist()


class TestAllThatIsAnsweredAsOurOwnCallsAre:
    @pytest.mark.parametrize("before", [0, 5, 50])
    def test_since_klaviyos_other_answers_ceased_is_the_portals(self, before: int):
        assert marked(calls(*MIXED * 10, *[200] * 20), before=before) == [*range(40, 60)]

    def test_begins_after_the_last_call_that_klaviyo_signed(self):
        frame = calls(*MIXED * 10, *[200] * 20)
        frame.loc[42, "request_id"] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        assert marked(frame) == [*range(43, 60)]

    def test_may_begin_as_much_later_as_klaviyo_may_have_given_the_first_of_them(self):
        within, earlier = told_by_probes(calls(*MIXED * 10, *[200] * 20), calls(), PORTAL)
        assert first_answers(pd.concat([earlier, within])) == (
            START + timedelta(seconds=400),
            START + timedelta(seconds=420),
        )


class TestNothingIsThePortals:
    def test_where_our_own_calls_met_none(self):
        assert marked(calls(*MIXED * 10, *[200] * 20), probed(auth="other", rate_limit="other")) == []

    def test_where_one_of_our_calls_reached_klaviyo(self):
        assert marked(calls(*MIXED * 10, *[200] * 20), probed(auth="portal", rate_limit="klaviyo")) == []

    def test_where_klaviyo_never_answers_otherwise(self):
        assert marked(calls(*[200] * 60)) == []

    def test_where_too_few_calls_were_made_since(self):
        assert marked(calls(*MIXED * 10, *[200] * 3)) == []

    def test_where_klaviyos_answers_come_again(self):
        assert marked(calls(*MIXED * 10, *[200] * 20, 202)) == []

    def test_where_nothing_was_called(self):
        assert marked(calls()) == []
        assert first_answers(calls(*MIXED)) is None


@pytest.mark.parametrize("seed", [858, 861])
def test_a_log_full_of_successes_tells_since_when_a_portal_gave_them(seed: int, tmp_path: Path) -> None:
    now = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
    world = generator("reporting").make("adversarial", "captive_portal", seed, now)
    with serve(world, tmp_path, now.timestamp) as services:
        settings = load(services.environ)
        window, redactor = window_of(settings, now), redactor_for(settings)
        evidence = asyncio.run(collect(settings, window, redactor, clock=lambda: now))
    truth, onset, facts = world.truth.onset, times_of(evidence).onset, decide(evidence).facts
    assert onset is not None
    assert truth is not None
    assert onset.earliest <= truth <= onset.latest
    assert onset.latest - onset.earliest < timedelta(minutes=3)
    assert facts["since_failed"] == facts["since_calls"] > 20
