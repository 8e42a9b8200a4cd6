from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.tree import questions
from klaviyo_nb.diagnosis.verdict import Interval
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.frames import CALLS, METRICS
from klaviyo_nb.report import charts, series, views
from klaviyo_nb.report.axis import extent, span
from klaviyo_nb.report.canvas import drawable, painted, save_png, save_svg
from klaviyo_nb.report.charts import answers
from klaviyo_nb.report.look import COLOURS
from klaviyo_nb.report.made import SavedChart
from klaviyo_nb.window import Window
from ratelimit_worlds import story
from report_samples import CASES, HOSTILE, healthy, hostile, nothing, recovered, under_way

Make = Callable[[], Evidence]


def alts(evidence: Evidence) -> dict[str, str]:
    verdict = decide(evidence)
    return {name: draw(evidence, verdict).alt for name, (_, draw) in charts.CHARTS.items()}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[SavedChart]:
    evidence = request.param()
    return charts.save_all(evidence, decide(evidence), tmp_path_factory.mktemp("charts"))


def test_every_chart_is_saved_for_every_kind_of_evidence(saved: list[SavedChart]) -> None:
    assert {chart.name for chart in saved} == set(charts.CHARTS)
    for chart in saved:
        root = ElementTree.parse(chart.svg).getroot()
        texts = {element.tag.rpartition("}")[2]: element.text or "" for element in root}
        assert texts["title"] == chart.title
        assert texts["desc"]
        assert chart.alt
        with Image.open(chart.png) as picture:
            assert set(picture.info) == {"dpi"}
        assert len(pd.read_csv(chart.csv).columns) > 0


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    evidence = nothing()
    first, second = (charts.save_all(evidence, decide(evidence), tmp_path / each) for each in "ab")
    for one, other in zip(first, second, strict=True):
        for suffix in ("svg", "png", "csv"):
            assert getattr(one, suffix).read_bytes() == getattr(other, suffix).read_bytes()


def test_pictures_tell_neither_date_nor_software(saved: list[SavedChart]) -> None:
    for chart in saved:
        text = chart.svg.read_text("utf-8")
        assert "Matplotlib" not in text
        assert "<dc:date" not in text
        assert "<!--" not in text
        assert b"tEXt" not in chart.png.read_bytes()


def test_alt_texts_state_the_finding_with_figures() -> None:
    told = alts(samples.rate_limited())
    failed = int((samples.rate_limited().calls["status_code"] == 429).sum())  # type: ignore[index]
    assert f"{failed:,} of 3,600 calls failed" in told["calls_by_status"]
    assert f"{failed:,} with 429" in told["calls_by_status"]
    assert "Failures began between 06:20:05 and 06:20:15 and were not seen to end." in told["calls_by_status"]
    assert f"/api/profiles: {failed:,} of" in told["failure_map"]
    assert "/api/events: 0 of" in told["failure_map"]
    assert "usually" in told["latency"]
    assert re.search(r"GET /api/profiles: at most \d+ of 750 per minute, \d%", told["rate_limit_headroom"])
    assert told["decision_path"].endswith("So the verdict is rate_limited.")
    assert "1. 06:20 Calls begin to fail" in told["timeline"]


def test_windows_of_limits_that_were_used_up_are_marked_and_told() -> None:
    evidence = samples.rate_limited()
    drawn = charts.CHARTS["calls_by_status"][1](evidence, decide(evidence))
    assert "Used up: GET /api/profiles per minute, at 06:20–07:00." in drawn.alt
    full = drawn.table[drawn.table["limit_used_up"]]
    assert (full["429"] > 0).all()
    assert full.iloc[:, 0].min() == pd.Timestamp("2026-11-23T06:20Z")
    well = charts.CHARTS["calls_by_status"][1](healthy(), decide(healthy()))
    assert "Used up" not in well.alt
    assert not well.table["limit_used_up"].any()


def test_durations_come_from_the_histogram_where_logs_tell_none() -> None:
    times = [samples.WINDOW.start + timedelta(minutes=minute) for minute in range(10)]
    rows = [
        {"timestamp": at, "role": "duration_bucket", "name": "took", "series": f'{{"le": "{bound}"}}', "le": bound,
         "value": float(share * number)}
        for number, at in enumerate(times)
        for bound, share in ((0.1, 50), (0.5, 95), (float("inf"), 100))
    ]  # fmt: skip
    told = alts(replace(nothing(), metrics=METRICS.frame(rows)))["latency"]
    assert "900 calls tell their duration" in told
    assert "500 ms (median 100 ms)" in told


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("07:06:00", "07:08:00", "07:06–07:08"),
        ("07:06:10", "07:06:20", "07:06:10–07:06:20"),
        ("07:06:00", "07:06:00", "07:06"),
        ("23:59:10", "23:59:50", "23:59:10–23:59:50"),
    ],
)
def test_an_interval_is_told_to_the_second(first: str, last: str, told: str) -> None:
    ends = (datetime.fromisoformat(f"2026-11-23T{each}+00:00") for each in (first, last))
    assert span(Interval(*ends)) == told


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("2026-12-31T23:00Z", "23:00 to 01:00 UTC, 31 Dec 2026 – 1 Jan 2027"),
        ("2026-11-30T23:00Z", "23:00 to 01:00 UTC, 30 Nov – 1 Dec 2026"),
        ("2026-11-23T05:00Z", "05:00 to 07:00 UTC, 23 Nov 2026"),
    ],
)
def test_a_window_over_a_change_of_year_names_both_years(start: str, told: str) -> None:
    begin = datetime.fromisoformat(start)
    assert extent(Window(begin, begin + timedelta(hours=2))) == told


def test_an_incident_that_ended_says_when() -> None:
    assert re.search(r"ended between 06:2\d", alts(recovered())["calls_by_status"])


def test_a_log_that_fails_from_its_first_line_is_not_told_to_have_no_onset() -> None:
    told = alts(under_way())
    assert "Failures began before what was read and were not seen to end." in told["calls_by_status"]
    assert told["latency"].startswith("While they failed, 95% of calls took under")


def test_nothing_failed_is_said_and_no_onset_claimed() -> None:
    told = alts(healthy())["calls_by_status"]
    assert told.startswith("None of 3,600 calls failed. Calls counted from logs. No onset was found in the")


def test_what_was_not_observed_is_said_with_the_reason() -> None:
    told = alts(nothing())
    for name in ("calls_by_status", "failure_map", "latency", "rate_limit_headroom"):
        assert "nothing told of" in told[name]
        assert "no answer from http://prometheus:9090: refused" in told[name]


def test_a_notebook_gets_a_figure_that_carries_its_alt_text() -> None:
    evidence = samples.rate_limited()
    verdict = decide(evidence)
    figure = charts.calls_by_status(evidence, verdict)
    assert figure.get_label() == charts.CHARTS["calls_by_status"][1](evidence, verdict).alt


def test_what_was_drawn_ahead_is_given_once_and_not_if_it_was_changed() -> None:
    evidence = nothing()
    verdict = decide(evidence)
    charts.draw_ahead(evidence, verdict)
    ahead, again = (charts.latency(evidence, verdict) for _ in range(2))
    assert ahead is not again
    assert save_png(ahead) == save_png(again)
    changed = charts.timeline(evidence, verdict)
    before = save_png(charts.timeline(evidence, verdict))
    changed.text(0.5, 0.5, "mine")
    assert save_png(changed) != before


def test_a_picture_made_elsewhere_is_given_once_and_not_if_the_figure_was_changed() -> None:
    figure = charts.latency(nothing(), decide(nothing()))
    mine = save_png(figure)
    painted(figure, b"theirs")
    assert (save_png(figure), save_png(figure)) == (b"theirs", mine)
    painted(figure, b"theirs")
    figure.text(0.5, 0.5, "mine")
    assert save_png(figure) not in (b"theirs", mine)


def test_what_was_drawn_ahead_is_not_given_for_other_evidence() -> None:
    evidence, other = nothing(), healthy()
    charts.draw_ahead(evidence, decide(evidence))
    assert charts.latency(other, decide(other)).get_label() == alts(other)["latency"]


def test_drawing_leaves_no_trace_in_pyplot() -> None:
    import matplotlib.pyplot as plt

    evidence = samples.rate_limited()
    charts.timeline(evidence, decide(evidence))
    assert plt.get_fignums() == []


def test_the_decision_path_shows_the_whole_tree() -> None:
    evidence = nothing()
    figure = charts.decision_path(evidence, decide(evidence))
    drawn = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    for question in questions():
        assert question.text in drawn
    assert "not proven: inconclusive" in drawn


@pytest.mark.parametrize(
    ("count", "share", "headline"), [(30, "200%", "200% of"), (600, "4000%", "40 times")]
)
def test_more_calls_than_the_limit_are_said_to_be_more(count: int, share: str, headline: str) -> None:
    rows = [
        {"timestamp": samples.NOW - timedelta(minutes=5, seconds=-30 * number / count), "method": "GET",
         "endpoint": "/api/accounts", "status_code": 200, "source": "app.log", "line_no": number + 1}
        for number in range(count)
    ]  # fmt: skip
    evidence = replace(samples.rate_limited(), calls=CALLS.frame(rows), metrics=None)
    told = alts(evidence)["rate_limit_headroom"]
    assert f"GET /api/accounts: at most {count} of 15 per minute, {share}" in told
    assert told.startswith(f"GET /api/accounts asked for {headline} its limit")


@pytest.mark.parametrize("hours", [1 / 60, 7, 24 * 30])
def test_windows_from_a_minute_to_a_month_are_drawn(hours: float, tmp_path: Path) -> None:
    window = Window.last(timedelta(hours=hours), samples.NOW)
    evidence = replace(samples.rate_limited(calls_per_minute=2), window=window)
    for chart in charts.save_all(evidence, decide(evidence), tmp_path):
        assert "nan" not in chart.alt


def test_a_csv_cell_is_never_a_formula(saved: list[SavedChart]) -> None:
    for chart in saved:
        cells = pd.read_csv(chart.csv, dtype="str", keep_default_na=False).to_numpy().ravel()
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_chart_of_hostile_text_is_a_well_formed_picture_without_script() -> None:
    evidence = hostile()
    figure = charts.failure_map(evidence, decide(evidence))
    drawing = save_svg(figure, HOSTILE, HOSTILE)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawing).iter()}
    assert tags <= {
        "svg",
        "title",
        "desc",
        "style",
        "metadata",
        "defs",
        "g",
        "path",
        "use",
        "rect",
        "clipPath",
    }
    assert save_png(figure).startswith(b"\x89PNG")


@settings(max_examples=25, deadline=None)
@given(st.text())
def test_any_text_can_be_drawn(text: str) -> None:
    from klaviyo_nb.report.canvas import message

    assert save_png(message(text, f"{text}: {text}").figure)
    assert "\x1b" not in drawable(text)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark(mode: int) -> None:
    for text in ("ink", "muted", "link"):
        for ground in ("paper", "panel", "shade"):
            assert _contrast(COLOURS[text][mode], COLOURS[ground][mode]) >= 4.5, (text, ground)
    for badge in ("p1", "p2", "p3", "p4"):
        assert _contrast(COLOURS[badge][mode], "#ffffff") >= 4.5
    for line in ("throttled", "refused", "server", "silent", "series"):
        assert _contrast(COLOURS[line][mode], COLOURS["paper"][mode]) >= 3


def test_marks_that_touch_are_told_apart_in_grey() -> None:
    """Levels of the map, failures under successes, use above a limit, durations; as printed, which is in light."""
    levels = [role for _, role, _ in answers._LEVELS]
    failures = [role for role in series.CLASSES.values() if role != "well"]
    pairs = [
        *pairwise(levels),
        *((role, "well") for role in failures),
        ("throttled", "series"),
        ("series", "band"),
    ]
    for one, other in pairs:
        assert _contrast(COLOURS[one][0], COLOURS[other][0]) >= 1.45, (one, other)


def test_one_call_is_one_and_not_two_halves() -> None:
    rows = [{"timestamp": samples.NOW - timedelta(minutes=5), "method": "POST", "endpoint": "/api/events",
             "status_code": 503}]  # fmt: skip
    evidence = replace(samples.rate_limited(), calls=CALLS.frame(rows), metrics=None)
    (axes,) = charts.calls_by_status(evidence, decide(evidence)).axes
    assert all(tick == round(tick) for tick in axes.get_yticks())
    assert (
        charts.failure_map(evidence, decide(evidence))
        .get_label()
        .startswith("/api/events fails 100%, and nothing else is called. ")
    )


def test_used_up_limits_are_marked_in_every_chart_over_the_window() -> None:
    evidence = samples.rate_limited()
    verdict = decide(evidence)
    for name in ("calls_by_status", "failure_map", "latency", "rate_limit_headroom"):
        drawn = charts.CHARTS[name][1](evidence, verdict)
        assert "Used up: GET /api/profiles per minute, at 06:20–07:00." in drawn.alt, name
        assert "▬ limit used up: GET /api/profiles" in [text.get_text() for text in drawn.figure.texts], name


def test_no_two_roles_share_a_light_colour() -> None:
    light = [both[0] for both in COLOURS.values()]
    assert len(light) == len(set(light))


def test_the_slowness_of_failing_calls_is_the_finding_and_not_their_last_minute() -> None:
    base = samples.rate_limited()
    failing = base.calls["status_code"] == 429  # type: ignore[index]
    calls = base.calls.assign(duration_s=base.calls["duration_s"].where(~failing, 30.0))  # type: ignore[union-attr, index]
    evidence = replace(base, calls=calls)
    told = charts.latency(evidence, decide(evidence)).get_label()
    assert told.startswith("While they failed, 95% of calls took under 30.0 s; usually under")


def test_a_limit_that_was_used_up_is_not_said_to_be_out_of_reach() -> None:
    rows = [{"timestamp": samples.NOW - timedelta(minutes=5), "method": "GET", "endpoint": "/api/accounts",
             "status_code": 200, "source": "app.log", "line_no": 1}]  # fmt: skip
    evidence = replace(samples.rate_limited(), calls=CALLS.frame(rows), metrics=None)
    told = charts.rate_limit_headroom(evidence, decide(evidence)).get_label()
    assert told.startswith("No limit was passed; GET /api/accounts came closest with 100%.")


@pytest.mark.parametrize("tells", [True, False], ids=["tells when", "does not tell"])
@pytest.mark.parametrize("seed", [2, 3])
def test_the_chart_of_a_limit_and_what_the_logs_answer_tell_the_same_peak(seed: int, tells: bool) -> None:
    """Klaviyo's minutes begin when they like: a sentence and a chart beside it count in the same ones."""
    rates: dict[str, Callable[[float], float]] = {"web": lambda _: 0.8, "report": lambda at: 4.0 * (at > 400)}
    found = story(seed, rates=rates, tells=tells, heeds=tells, cut_s=900, until_s=901)
    window = Window(found.window.start - timedelta(seconds=13), found.window.end)  # no minute of the clock
    evidence = replace(samples.rate_limited(), calls=found.calls, window=window, metrics=None)
    begins = views.minutes_begin(evidence)
    if tells:
        assert abs((begins["GET", "/api/campaigns"] - 13 - found.phase_s + 30) % 60 - 30) <= 1
    answer = views.ask(evidence, "ratelimit")
    assert answer is not None
    table = charts.CHARTS["rate_limit_headroom"][1](evidence, decide(evidence)).table
    fullest = table.groupby(["endpoint", "window_s"])["calls"].max()
    peaks = {(f"{row.method} {row.endpoint}", row.window_s): row.peak for row in answer.rows.itertuples()}
    assert ("GET /api/campaigns", 60) in peaks
    assert {key: fullest[key] for key in peaks} == peaks


def test_nothing_is_marked_where_nobody_noted_and_the_page_is_silent() -> None:
    assert "Marked" not in alts(healthy())["calls_by_status"]
