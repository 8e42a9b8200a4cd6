"""What charts look like: what those over the window share, and pictures against those kept in `pictures/`.

Kept without their words, which other tests read: where letters are hinted differs between releases of
matplotlib. CONTRIBUTING.md says how to renew them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.folder import load
from klaviyo_nb.frames import CALLS, NOTES
from klaviyo_nb.report import charts
from klaviyo_nb.report.canvas import Drawn
from klaviyo_nb.window import Window
from report_samples import healthy, recovered

KEPT = Path(__file__).parent / "pictures"
RENEW = os.environ.get("KLAVIYO_NB_RENEW_PICTURES")  # read before the environment is cleaned for each test
#: Root mean square of what pictures differ by, of 255. Without the narrowest band it is 0.5; between matplotlib 3.10.0
#: and 3.11.2 it is 0.
TOLERANCE = 0.4
GOLDEN = Path(__file__).parents[1] / "cases"

#: The charts over the window.
OVER_TIME = ("calls_by_status", "failure_map", "latency", "rate_limit_headroom", "retries", "timeline")


def marked() -> Evidence:
    """An incident that ended, with deploys noted in the window and before it, and a post of the page."""
    rows = [
        {"written_at": at, "at": at, "kind": kind, "text": "v7"}
        for at, kind in (
            (pd.Timestamp("2026-11-23T05:40:00Z"), "deploy"),
            (pd.Timestamp("2026-11-23T05:42:00Z"), "note"),
            (pd.Timestamp("2026-11-23T03:10:00Z"), "deploy"),
        )
    ]
    base = recovered()
    known = base.calls.assign(event_key=[f"key-{n}" for n in range(len(base.calls))])  # type: ignore[union-attr, arg-type]
    return replace(base, calls=CALLS.frame(known), notes=NOTES.frame(rows))


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    """Every chart of `marked`."""
    evidence = marked()
    verdict = decide(evidence)
    return {name: draw(evidence, verdict) for name, (_, draw) in charts.CHARTS.items()}


def test_charts_of_one_window_share_axis_shading_bands_and_markers(drawn: dict[str, Drawn]) -> None:
    shared = {name: _over_time(drawn[name].figure) for name in OVER_TIME}
    assert len(set(shared.values())) == 1, shared
    seen = shared["timeline"]
    assert len(seen.shaded) == 3, "the incident, and the bands in which it began and ended"
    assert len(seen.dashed) == 2, "a deploy and a post; what was before the window has no line"
    for name in OVER_TIME:
        written = [text.get_text() for text in drawn[name].figure.texts]
        assert {"▼ deploy", "◆ status page"} <= set(written), name
        assert any(text.startswith("began 05:") for text in written), name


class Seen(NamedTuple):
    """What a chart over the window has in common with the others."""

    place: tuple[float, float]
    limits: tuple[float, float]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    shaded: tuple[tuple[float, float, str], ...]
    dashed: tuple[float, ...]


def _upright(figure: Figure) -> list[Line2D]:
    """The dashed lines of markers."""
    (axes,) = figure.axes
    return [line for line in axes.lines if len(set(line.get_xdata())) == 1 and line.is_dashed()]  # type: ignore[arg-type]


def _over_time(figure: Figure) -> Seen:
    (axes,) = figure.axes
    place = axes.get_position()
    spans = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    shaded = [(each.get_x(), each.get_width(), to_hex(each.get_facecolor())) for each in spans]
    return Seen(
        (place.x0, place.x1), axes.get_xlim(), tuple(axes.get_xticks()),
        tuple(label.get_text() for label in axes.get_xticklabels()), tuple(shaded),
        tuple(date2num(line.get_xdata()[0]) for line in _upright(figure)),
    )  # fmt: skip


def test_endpoints_that_are_well_again_are_not_said_to_fail(drawn: dict[str, Drawn]) -> None:
    assert drawn["failure_map"].alt.startswith("All 3 endpoints failed.")


def twice(days: int = 0) -> Evidence:
    """Calls that failed for a quarter of an hour, were well, and failed again, in a window that may be longer."""
    base = recovered()
    start, size = base.window.start, 7200 // 6
    seconds = [6 * at for at in range(size)]
    rows = [
        {"timestamp": start + timedelta(seconds=at), "endpoint": "/api/events", "method": "POST",
         "status_code": 503 if (1500 < at < 2400 or 5000 < at < 5600) and at % 18 else 202}
        for at in seconds
    ]  # fmt: skip
    window = Window(start - timedelta(days=days), base.window.end)
    return Evidence(window, window.end, calls=CALLS.frame(rows))


def test_an_incident_before_the_last_one_is_shaded_and_told_too() -> None:
    evidence = twice()
    verdict = decide(evidence)
    for name in ("calls_by_status", "failure_map", "timeline"):
        drawn = charts.CHARTS[name][1](evidence, verdict)
        assert len(_over_time(drawn.figure).shaded) == 6, name
        said = [text.get_text() for text in drawn.figure.texts]
        assert any(text.startswith("1 earlier · began 06:") for text in said), name
    alt = charts.calls_by_status(evidence, verdict).get_label()
    assert re.search(r"Calls also failed earlier, from 05:2[45]:\d\d–05:25:\d\d to 05:39", alt), alt


def test_in_a_window_of_days_times_have_a_day() -> None:
    evidence = twice(days=3)
    alt = charts.calls_by_status(evidence, decide(evidence)).get_label()
    assert "Failures began between 23 Nov 06:23:" in alt


def test_what_is_written_above_the_axes_does_not_overlap() -> None:
    evidence = marked()
    for name in OVER_TIME:
        figure = charts.CHARTS[name][1](evidence, decide(evidence)).figure
        boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other), name


def test_without_an_onset_nothing_is_shaded() -> None:
    evidence = samples.rate_limited(calls_per_minute=5, onset_minute=121)
    assert _over_time(charts.latency(evidence, decide(evidence))).shaded == ()


def test_what_was_before_the_window_is_on_its_edge_with_its_time(drawn: dict[str, Drawn]) -> None:
    (axes,) = drawn["timeline"].figure.axes
    assert "← 03:10:00 Deployed: v7" in [text.get_text() for text in axes.texts]


def test_names_of_markers_that_are_close_are_one_and_stay_on_the_sheet() -> None:
    page = {
        "incidents": [{"name": "API", "created_at": f"2026-11-23T06:{minute}:00Z"} for minute in (52, 59)]
    }
    noted = NOTES.frame([{"at": pd.Timestamp("2026-11-23T06:50:00Z"), "kind": "deploy", "text": "v7"}])
    evidence = replace(samples.rate_limited(calls_per_minute=5), status_page=page, notes=noted)
    figure = charts.latency(evidence, decide(evidence))
    (name,) = [text for text in figure.texts if "deploy" in text.get_text()]
    assert name.get_text() == "▼ deploy + ◆ status page"
    box = name.get_window_extent().transformed(figure.transFigure.inverted())
    assert box.x0 > 0
    assert box.x1 < 1


def test_every_alt_text_begins_with_the_finding(drawn: dict[str, Drawn]) -> None:
    for name, chart in drawn.items():
        headline = " ".join(chart.figure.texts[0].get_text().split())
        assert chart.alt.startswith((f"{headline}. ", f"{headline}: ")), name
        assert charts.CHARTS[name][0] not in chart.alt, "a title says what is shown, not what was found"
        assert len(chart.alt) > len(headline) + 40, name


def test_deploys_and_posts_of_the_page_are_told(drawn: dict[str, Drawn]) -> None:
    for name in OVER_TIME[:-1]:
        assert "Marked: deploy at 05:40; status page at 06:11." in drawn[name].alt, name


#: Kinds of charts that `marked` says nothing of, or something else → evidence.
OTHERS = {
    "contrast": lambda: load(GOLDEN / "one-worker-kept-the-old-key"),
    "rate_limit_headroom": lambda: load(GOLDEN / "daily-cap-of-18-hours"),
    "failure_map": healthy,
    "timeline": lambda: load(GOLDEN / "undecided-few-calls-all-fail"),
}


def far(figure: Figure, name: str, folder: Path) -> float:
    """How far `figure` is from the picture that is kept as `name`; 0 if that is within the tolerance."""
    drawn = folder / f"{name}.png"
    with without(*figure.findobj(Text)):
        figure.savefig(KEPT / drawn.name if RENEW else drawn, dpi=60, metadata={"Software": None})
    assert RENEW or (KEPT / drawn.name).exists(), f"{name} is not kept: see CONTRIBUTING.md"
    found = (
        None if RENEW else compare_images(str(KEPT / drawn.name), str(drawn), TOLERANCE, in_decorator=True)
    )
    return float(found["rms"]) if found else 0.0  # type: ignore[index]


@contextmanager
def without(*hidden: Artist) -> Iterator[None]:
    shown = [each for each in hidden if each.get_visible()]
    for each in shown:
        each.set_visible(False)
    yield
    for each in shown:
        each.set_visible(True)


@pytest.mark.parametrize("name", charts.CHARTS)
def test_a_chart_looks_as_it_did(drawn: dict[str, Drawn], name: str, tmp_path: Path) -> None:
    if name != "contrast":  # a message only
        assert far(drawn[name].figure, name, tmp_path) == 0, f"see {tmp_path}"


@pytest.mark.parametrize("name", OTHERS)
def test_a_chart_of_another_incident_looks_as_it_did(name: str, tmp_path: Path) -> None:
    evidence = OTHERS[name]()
    figure = charts.CHARTS[name][1](evidence, decide(evidence)).figure
    assert far(figure, f"{name}-2", tmp_path) == 0, f"see {tmp_path}"


@pytest.mark.skipif(bool(RENEW), reason="pictures are renewed")
@pytest.mark.parametrize("name", ["calls_by_status", "failure_map", "timeline"])  # where they are least seen
def test_a_picture_without_shading_band_or_marker_is_another(
    drawn: dict[str, Drawn], name: str, tmp_path: Path
) -> None:
    figure = drawn[name].figure
    (axes,) = figure.axes
    shaded = [each for each in axes.patches if isinstance(each, Rectangle)]
    for part in (*shaded, *_upright(figure)):
        with without(part):
            assert far(figure, name, tmp_path) > TOLERANCE, part
