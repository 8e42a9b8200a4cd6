"""When it began and ended: every page, picture and command tells the same, to the second."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

import samples
from klaviyo_nb.commands.metric_answers import render_metrics
from klaviyo_nb.commands.terminal import verdict as report
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.report import charts, index, show, views
from klaviyo_nb.report.texts import texts
from klaviyo_nb.response.document import verdict_document
from report_samples import recovered


def well_for_ten_minutes() -> Evidence:
    """Calls that failed for half an hour and succeed again, while many of the last quarter of an hour failed."""
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    late = calls["timestamp"] > evidence.window.end - timedelta(minutes=10)
    calls.loc[late, ["status_code", "error_code", "error_type"]] = [200, None, None]
    return replace(evidence, calls=calls, metrics=None)


@pytest.mark.parametrize(
    "make", [samples.rate_limited, recovered, well_for_ten_minutes], ids=["goes on", "ended", "ended lately"]
)
def test_every_page_tells_the_same_times(make) -> None:  # type: ignore[no-untyped-def]
    evidence = make()
    verdict = decide(evidence)
    document, told = verdict_document(evidence, verdict), json.loads(render_metrics(evidence, "json"))
    assert (document["onset"], document["recovered"]) == (told["onset"], told["recovered"])
    pages = {
        "page": index.render(evidence, document, incident="INC-7"),
        "postmortem": texts(evidence, "INC-7", None)["postmortem.md"],
        "triage": " ".join(report(document).split()),
        "metrics": render_metrics(evidence, "text").decode(),
        "chart": charts.calls_by_status(evidence, verdict).get_label(),
        "notebook": show.table(views.times(evidence)).plain,
    }
    for name in ("onset", "recovered"):
        for bound in (document[name] or {}).values():
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bound), "whole seconds"
            clock = f"{datetime.fromisoformat(bound):%H:%M:%S}"
            assert [page for page, text in pages.items() if clock not in text] == [], (name, clock)


def test_an_end_that_was_seen_is_told_though_much_of_the_last_part_failed() -> None:
    evidence = well_for_ten_minutes()
    assert decide(evidence).facts["failing"], "the last quarter of an hour"
    text = render_metrics(evidence, "text").decode()
    postmortem = texts(evidence, "INC-7", None)["postmortem.md"]
    assert "fixed     Yes: since the end 0 of" in text
    assert "| Ended | between 2026-11-23 06:49:" in postmortem
    assert "| Time to restore | " in postmortem
    assert "not seen to end" not in postmortem
