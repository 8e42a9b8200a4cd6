"""When it began and ended: every page, picture and command tells the same, to the second."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from crowded import WORLDS

import samples
from klaviyo_nb.commands.metric_answers import render_metrics
from klaviyo_nb.commands.terminal import verdict as report
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import NOTES
from klaviyo_nb.report import charts, index, show, views
from klaviyo_nb.report.texts import texts
from klaviyo_nb.report.timeline import entries
from klaviyo_nb.report.words import share
from klaviyo_nb.response.document import verdict_document
from report_samples import nothing, recovered


def well_for_ten_minutes() -> Evidence:
    """Calls that failed for half an hour and succeed again, while many of the last quarter of an hour failed."""
    evidence = samples.rate_limited()
    calls = evidence.calls.copy()  # type: ignore[union-attr]
    late = calls["timestamp"] > evidence.window.end - timedelta(minutes=10)
    calls.loc[late, ["status_code", "error_code", "error_type"]] = [200, None, None]
    return replace(evidence, calls=calls, metrics=None)


def pages(evidence: Evidence) -> dict[str, str]:
    """What each page, picture and command says."""
    verdict = decide(evidence)
    document = verdict_document(evidence, verdict)
    return {
        "page": index.render(evidence, document, incident="INC-7"),
        "postmortem": texts(evidence, "INC-7", None)["postmortem.md"],
        "triage": " ".join(report(document).split()),
        "metrics": render_metrics(evidence, "text").decode(),
        "chart": charts.calls_by_status(evidence, verdict).get_label(),
        "notebook": show.table(views.times(evidence)).plain,
    }


@pytest.mark.parametrize(
    "make", [samples.rate_limited, recovered, well_for_ten_minutes], ids=["goes on", "ended", "ended lately"]
)
def test_every_page_tells_the_same_times(make) -> None:  # type: ignore[no-untyped-def]
    evidence = make()
    verdict = decide(evidence)
    document, told = verdict_document(evidence, verdict), json.loads(render_metrics(evidence, "json"))
    assert (document["onset"], document["recovered"]) == (told["onset"], told["recovered"])
    said = pages(evidence)
    for name in ("onset", "recovered"):
        for bound in (document[name] or {}).values():
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bound), "whole seconds"
            clock = f"{datetime.fromisoformat(bound):%H:%M:%S}"
            assert [page for page, text in said.items() if clock not in text] == [], (name, clock)


def test_an_end_that_was_seen_is_told_though_much_of_the_last_part_failed() -> None:
    evidence = well_for_ten_minutes()
    assert decide(evidence).facts["failing"], "the last quarter of an hour"
    text = render_metrics(evidence, "text").decode()
    postmortem = texts(evidence, "INC-7", None)["postmortem.md"]
    assert "fixed     Yes: since the end 0 of" in text
    assert "| Ended | between 2026-11-23 06:49:" in postmortem
    assert "| Time to restore | " in postmortem
    assert "not seen to end" not in postmortem


def test_who_wrote_a_moment_over_and_why_is_on_every_page_beside_what_was_counted() -> None:
    at = samples.WINDOW.start.replace(minute=41)
    noted = [
        {
            "written_at": samples.NOW,
            "at": at,
            "kind": "onset",
            "who": "Ann",
            "text": "the first customer called",
        },
        {
            "written_at": samples.NOW,
            "at": samples.NOW,
            "kind": "recovered",
            "who": "Bob",
            "text": "none fails",
        },
    ]
    evidence = replace(recovered(), notes=NOTES.frame(noted))
    said = pages(evidence)
    for name, text in said.items():
        assert "05:41" in text, name
        assert "written by Ann" in text, name
        assert "written by Bob" in text, name
        if name != "chart":
            assert "the first customer called" in text, name
    told = {
        each.what: each.source for each in entries(evidence, verdict_document(evidence, decide(evidence)))
    }
    assert told["Calls begin to fail, as counted"] == "evidence/, by logs"
    assert told["Began, says a person: the first customer called"].startswith(
        "evidence/notes.csv, Ann, written 07"
    )
    assert "Calls begin to fail" not in told, "nobody counted that"


def test_the_timeline_tells_of_an_earlier_incident_and_its_first_call_is_the_first() -> None:
    evidence = WORLDS["two incidents"]()
    told = entries(evidence, verdict_document(evidence, decide(evidence)))
    begun = [each for each in told if each.what.startswith(("Calls begin", "Calls succeed"))]
    assert [f"{each.at:%H:%M}" for each in begun] == ["05:24", "05:39", "06:23", "06:38"]
    (first,) = [each for each in told if each.what.startswith("First failing call")]
    assert f"{first.at:%H:%M}" == "05:25"
    text = render_metrics(evidence, "text").decode()
    assert f"earlier   2026-11-23T{begun[0].at:%H:%M:%S}Z to" in text


def test_where_no_call_was_counted_nothing_is_said_to_have_been_looked_for_in_vain() -> None:
    evidence = nothing()
    drawn = {name: draw(evidence, decide(evidence)).alt for name, (_, draw) in charts.CHARTS.items()}
    assert drawn["timeline"].startswith("No call was counted, so no onset is known. 1 entry: ")
    assert drawn["contrast"].startswith("No difference to show: nothing told of")
    page = index.render(evidence, verdict_document(evidence, decide(evidence)), incident="INC-7")
    assert "not found" not in page
    assert "not known: no call was counted" in texts(evidence, "INC-7", None)["postmortem.md"]


def test_every_page_tells_the_same_share_and_budget_in_the_same_words() -> None:
    evidence = recovered()
    said = pages(evidence) | {"notebook": show.table(views.impact(evidence)).plain}
    facts = decide(evidence).facts
    part = share(facts["failed_calls"], facts["calls"])
    assert part is not None
    assert [name for name, text in said.items() if part not in text] == ["triage"], "which tells counts"
    spent = views.budget(evidence)
    assert spent is not None
    for name in ("postmortem", "metrics", "notebook"):
        assert spent in said[name], name


def test_durations_and_callers_are_told_as_people_say_them() -> None:
    at = samples.WINDOW.start.replace(minute=58)
    noted = [{"written_at": samples.NOW, "at": at, "kind": "detected", "who": "Ann", "text": "pager"}]
    evidence = replace(recovered(), notes=NOTES.frame(noted))
    plain = show.table(views.durations(evidence)).plain
    assert re.search(r"MTTD  \d min \d\d s  \d min \d\d s  onset", plain), plain
    assert "days" not in plain
    changed = views.changed(evidence)
    assert changed is not None
    assert "caller checkout" in set(changed["of"])


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (0, 9, "0%"),
        (1, 9_000, "under 0.1%"),
        (1, 1_000, "0.1%"),
        (1, 3, "33%"),
        (None, 1, None),
        (1, 0, None),
    ],
)
def test_a_share_that_is_not_nothing_is_not_told_as_nothing(
    part: float | None, whole: float | None, told: str | None
) -> None:
    assert share(part, whole) == told
