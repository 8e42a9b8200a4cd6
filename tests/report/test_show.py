"""What cells show: small, readable, escaped; what was not observed is said, not drawn as nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import samples
from klaviyo_nb import drills
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.errors import EvidenceError
from klaviyo_nb.folder import save
from klaviyo_nb.report import charts, show, views
from klaviyo_nb.response.actions import actions_for
from klaviyo_nb.start import utc_now

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


def bundled(shown: show.Shown) -> tuple[dict[str, str], dict[str, object]]:
    return shown._repr_mimebundle_()


def test_a_table_has_a_header_no_index_and_escaped_cells() -> None:
    shown = show.table(pd.DataFrame({"error_code": [HOSTILE], "calls": [3]}))
    assert "<script" not in shown.html
    assert "&lt;script&gt;" in shown.html
    assert "\x1b" not in shown.html + shown.plain
    assert '<th scope="col">error code</th>' in shown.html
    assert '<td class="num" data-label="calls">3</td>' in shown.html


def test_missing_values_are_dashes_and_times_are_utc() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2026-11-23T05:00:00Z", None]), "seconds": [0.123456, None]})
    assert show.table(frame).plain.splitlines() == ["at (23 Nov UTC)  seconds", "05:00:00  0.123", "–  –"]


def test_times_of_several_days_carry_their_date() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2026-11-23T05:00:00Z", "2026-11-24T05:00:00Z"])})
    lines = show.table(frame).plain.splitlines()
    assert lines == ["at (UTC)", "2026-11-23 05:00:00", "2026-11-24 05:00:00"]


def test_a_share_is_a_percentage_and_a_span_is_told_in_words_of_people() -> None:
    span = "2026-11-23T05:00:00.123Z to 2026-11-23T06:00:00Z"
    shown = show.table(pd.DataFrame({"peak_share": [0.2904], "got": [span]}))
    assert shown.plain.splitlines()[1] == "29.0%  2026-11-23 05:00:00 to 2026-11-23 06:00:00 UTC"


def test_a_long_table_says_how_much_is_left_out() -> None:
    assert "and 70 more rows" in show.table(pd.DataFrame({"x": range(100)})).html


def test_a_long_text_is_cut() -> None:
    assert len(show.table(pd.DataFrame({"x": ["y" * 5000]})).plain) < 300


def test_no_row_and_nobody_looked_are_told_apart() -> None:
    empty = pd.DataFrame({"x": []})
    assert show.table(empty, "no call failed", "no log was read").plain == "no call failed"
    assert show.table(None, "no call failed", "no log was read").plain == "no log was read"


def test_a_figure_is_a_picture_with_alt_text_and_no_metadata() -> None:
    evidence = samples.rate_limited()
    data, metadata = bundled(show.figure(charts.calls_by_status(evidence, decide(evidence))))
    assert set(data) == {"image/png", "text/plain"}
    assert metadata["image/png"]["alt"] == data["text/plain"]  # type: ignore[index]
    assert "calls" in data["text/plain"]


def test_a_draft_is_shown_word_for_word() -> None:
    shown = show.text("*P2* <b> & more\n- line")
    assert shown.html == "<pre>*P2* &lt;b&gt; &amp; more\n- line</pre>"


def test_steps_are_numbered_with_their_commands() -> None:
    evidence = samples.rate_limited()
    shown = show.steps(actions_for(decide(evidence), evidence))
    assert "1. " in shown.plain
    assert '<pre class="command" tabindex="0">' in shown.html


def test_no_step_is_said() -> None:
    assert show.steps([]).plain == "nothing to do"


def test_a_verdict_names_cause_severity_and_the_time_to_respond_by() -> None:
    shown = show.verdict(decide(samples.rate_limited()))
    assert shown.plain.startswith("P3 rate_limited")
    assert "respond by 2026-11-23 " in shown.plain


def test_evidence_is_opened_from_a_folder(tmp_path: Path) -> None:
    save(samples.rate_limited(), tmp_path / "evidence")
    found = asyncio.run(show.open_evidence(str(tmp_path)))
    assert found.window == samples.WINDOW


def test_a_folder_without_evidence_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        asyncio.run(show.open_evidence(str(tmp_path)))
    assert caught.value.hint


def test_evidence_that_was_read_ahead_is_given_once_and_is_fresh_after_that(tmp_path: Path) -> None:
    save(samples.rate_limited(), tmp_path / "evidence")
    show.read_ahead(tmp_path / "evidence")
    (tmp_path / "evidence" / "evidence.json").write_text("{}", "utf-8")
    (tmp_path / "notebooks").mkdir()
    beside = str(tmp_path / "notebooks" / ".." / "evidence")
    assert asyncio.run(show.open_evidence(beside)).window == samples.WINDOW
    with pytest.raises(EvidenceError):
        asyncio.run(show.open_evidence(beside))


def test_without_a_folder_evidence_is_collected_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with drills.serve(drills.world("healthy", 7, utc_now()), tmp_path) as services:
        for name, value in services.environ.items():
            monkeypatch.setenv(name, value)
        logs, metrics = services.environ["KLAVIYO_NB_LOGS"], services.environ["KLAVIYO_NB_METRICS_URL"]
        monkeypatch.delenv("KLAVIYO_NB_LOGS")
        monkeypatch.delenv("KLAVIYO_NB_METRICS_URL")
        found = asyncio.run(show.open_evidence(logs=logs, metrics=metrics, since="30m"))
    assert found.window.seconds == 1800
    assert len(found.probes) > 3
    assert found.calls is not None
    assert found.metrics is not None


def test_views_of_evidence_without_logs_metrics_and_page_are_none_not_empty() -> None:
    bare = replace(samples.rate_limited(), calls=None, metrics=None, status_page=None, coverage=())
    for view in (views.posts, views.failing, views.metered, views.times, views.impact):
        assert view(bare) is None
    assert views.calls_by(bare, "endpoint") is None
    assert views.coverage(bare).empty


def test_views_of_an_incident_tell_it() -> None:
    evidence = samples.rate_limited()
    verdict = decide(evidence)
    worst = views.calls_by(evidence, "endpoint", "status")
    newest = views.failing(evidence)
    assert worst is not None
    assert newest is not None
    assert worst.loc[0, "endpoint"] == "/api/profiles"
    assert set(newest["status_code"]) == {429}
    assert len(newest) == views.NEWEST
    assert newest["timestamp"].is_monotonic_decreasing
    assert len(views.path(verdict)) == len(verdict.path)
    assert len(views.gaps(verdict)) == len(verdict.gaps)
    assert set(views.answers(evidence)["probe"]) == {"status_page", "auth", "rate_limit", "app_health"}
    assert views.posts(evidence).empty  # type: ignore[union-attr]


def test_counts_are_grouped_and_places_are_not() -> None:
    shown = show.table(
        pd.DataFrame(
            {
                "calls": [46108],
                "line_no": [46108],
                "truncated": [True],
                "new": pd.Series([False], dtype=object),
            }
        )
    )
    assert shown.plain.splitlines()[1] == "46,108  46108  yes  no"


def test_times_in_the_notebook_are_those_of_the_verdict() -> None:
    evidence = samples.rate_limited()
    found, onset = views.times(evidence), decide(evidence).onset
    assert found is not None
    assert onset is not None
    assert found.loc[0, ["moment", "from", "earliest", "latest"]].to_list() == [
        "began",
        "believed",
        onset.earliest,
        onset.latest,
    ]
    assert set(found["from"]) >= {"believed", "logs"}
    assert "ended" not in set(found["moment"])
