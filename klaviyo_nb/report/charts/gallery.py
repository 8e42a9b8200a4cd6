"""All charts by name, and how they are saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from klaviyo_nb.frames import without_formulas
from klaviyo_nb.report.canvas import Drawn, save_png, save_svg
from klaviyo_nb.report.made import SavedChart

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from klaviyo_nb.diagnosis.verdict import Verdict
    from klaviyo_nb.evidence import Evidence


Draw = Callable[["Evidence", "Verdict"], Drawn]
#: Name → title and how to draw it, in the order in which a report shows them.
CHARTS: dict[str, tuple[str, Draw]] = {}
_AHEAD: dict[str, tuple[Evidence, Verdict, Drawn]] = {}


def chart(title: str) -> Callable[[Draw], Callable[[Evidence, Verdict], Figure]]:
    """Make a function that draws a chart: saved with the others, and a figure to notebooks."""

    def register(draw: Draw) -> Callable[[Evidence, Verdict], Figure]:
        @wraps(draw)
        def figure(evidence: Evidence, verdict: Verdict) -> Figure:
            return _drawn(draw.__name__, evidence, verdict).figure

        CHARTS[draw.__name__] = (title, draw)
        return figure

    return register


def save_all(evidence: Evidence, verdict: Verdict, folder: Path) -> list[SavedChart]:
    """Draw every chart and write it as SVG, PNG and CSV; the same evidence gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(name, evidence, verdict, folder) for name in CHARTS]


def draw_ahead(evidence: Evidence, verdict: Verdict) -> list[Figure]:
    """Draw every chart, for the first who asks for it with the same evidence and verdict.

    One that cannot be drawn is left for whoever asks to complain of.
    """
    figures = []
    for name, (_, draw) in CHARTS.items():
        try:
            drawn = _labelled(draw(evidence, verdict))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            continue
        _AHEAD[name] = evidence, verdict, drawn
        figures.append(drawn.figure)
    return figures


def _drawn(name: str, evidence: Evidence, verdict: Verdict) -> Drawn:
    """Drawn ahead, that once, for whoever has the figure may change it; or now."""
    ahead = _AHEAD.pop(name, None)
    if ahead and ahead[0] is evidence and ahead[1] is verdict:
        return ahead[2]
    return _labelled(CHARTS[name][1](evidence, verdict))


def _labelled(drawn: Drawn) -> Drawn:
    drawn.figure.set_label(drawn.alt)
    return drawn


def _save(name: str, evidence: Evidence, verdict: Verdict, folder: Path) -> SavedChart:
    title, _ = CHARTS[name]
    drawn = _drawn(name, evidence, verdict)
    svg, png, csv = (folder / f"{name}.{suffix}" for suffix in ("svg", "png", "csv"))
    png.write_bytes(save_png(drawn.figure))
    svg.write_text(save_svg(drawn.figure, title, drawn.alt), "utf-8")
    csv.write_text(_csv(drawn.table), "utf-8")
    width, height = (round(96 * side) for side in drawn.figure.get_size_inches())
    return SavedChart(name, title, drawn.alt, svg, png, csv, (width, height))


def _csv(table: pd.DataFrame) -> str:
    """CSV in which no cell is a formula to a spreadsheet."""
    return str(without_formulas(table).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))
