"""Charts of incidents that leave little room, as `crowded` makes them."""

from __future__ import annotations

from itertools import combinations

import pytest
from crowded import WORLDS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.report import charts
from klaviyo_nb.report.look import LIGHT


def _in_the_way(figure: Figure) -> list[str]:
    """Texts above and beside the axes that lie on each other or over the edge of the sheet."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (wide, high), found = canvas.get_width_height(), []
    boxes = [(text.get_text(), text.get_window_extent()) for text in figure.texts if text.get_text()]
    for (one, box), (other, beside) in combinations(boxes, 2):
        if box.overlaps(beside):
            found.append(f"{one!r} lies on {other!r}")
    ticks = [
        (label.get_text(), label.get_window_extent())
        for axes in figure.axes
        for label in axes.get_xticklabels()
        if axes.get_xlim()[0] <= label.get_position()[0] <= axes.get_xlim()[1]
    ]
    for text, box in [*boxes, *ticks]:
        if min(box.x0, box.y0) < 0 or box.x1 > wide or box.y1 > high:
            found.append(f"{text!r} is over the edge")
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_no_text_lies_on_another_or_over_the_edge(name: str) -> None:
    evidence = WORLDS[name]()
    for chart, (_, draw) in charts.CHARTS.items():
        assert _in_the_way(draw(evidence, decide(evidence)).figure) == [], chart


def _shaded(figure: Figure) -> dict[str, tuple[float, float]]:
    """Role of the colour → from where to where of the window the last band of it reaches, 0..1."""
    (axes,) = figure.axes
    first, last = axes.get_xlim()
    roles = {LIGHT[role]: role for role in ("shade", "edge")}
    return {
        roles[to_hex(each.get_facecolor())]: (
            (each.get_x() - first) / (last - first), (each.get_x() + each.get_width() - first) / (last - first)
        )
        for each in axes.patches if isinstance(each, Rectangle)
    }  # fmt: skip


def test_an_incident_under_way_at_the_start_is_shaded_from_there_and_its_end_is_a_band() -> None:
    evidence = WORLDS["under way at the start"]()
    for name in ("calls_by_status", "failure_map", "timeline"):
        shown = _shaded(charts.CHARTS[name][1](evidence, decide(evidence)).figure)
        assert shown["shade"] == pytest.approx((0, 1500 / 7200), abs=0.01), name
        assert shown["edge"] == pytest.approx((1500 / 7200, 1500 / 7200), abs=0.01), name
    said = [text.get_text() for text in charts.calls_by_status(evidence, decide(evidence)).texts]
    assert any(text.startswith("began before what was read · ended 05:24:") for text in said)


def test_an_incident_of_the_last_minutes_is_the_finding_and_not_the_quiet_hours_before() -> None:
    told = charts.failure_map(evidence := WORLDS["at the end"](), decide(evidence)).get_label()
    assert told.startswith("Both endpoints fail. ")
    told = charts.failure_map(evidence := WORLDS["one endpoint"](), decide(evidence)).get_label()
    assert told.startswith("/api/events failed 7")


def test_over_days_no_time_stands_twice_on_the_axis_or_in_words() -> None:
    evidence = WORLDS["two incidents in days"]()
    (axes,) = charts.calls_by_status(evidence, decide(evidence)).axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(ticks)) == len(ticks)
    assert "24 Nov" in ticks
    alt = charts.timeline(evidence, decide(evidence)).get_label()
    assert " 1. 23 Nov 18:5" in alt
    assert "Verdict" in alt.rpartition("26 Nov 05:00")[2]
