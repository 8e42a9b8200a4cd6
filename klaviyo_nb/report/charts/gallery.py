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


def chart(title: str) -> Callable[[Draw], Callable[[Evidence, Verdict], Figure]]:
    """Make a function that draws a chart: saved with the others, and a figure to notebooks."""

    def register(draw: Draw) -> Callable[[Evidence, Verdict], Figure]:
        @wraps(draw)
        def figure(evidence: Evidence, verdict: Verdict) -> Figure:
            drawn = draw(evidence, verdict)
            drawn.figure.set_label(drawn.alt)
            return drawn.figure

        CHARTS[draw.__name__] = (title, draw)
        return figure

    return register


def save_all(evidence: Evidence, verdict: Verdict, folder: Path) -> list[SavedChart]:
    """Draw every chart and write it as SVG, PNG and CSV; the same evidence gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_save(name, evidence, verdict, folder) for name in CHARTS]


def _save(name: str, evidence: Evidence, verdict: Verdict, folder: Path) -> SavedChart:
    title, draw = CHARTS[name]
    drawn = draw(evidence, verdict)
    svg, png, csv = (folder / f"{name}.{suffix}" for suffix in ("svg", "png", "csv"))
    svg.write_text(save_svg(drawn.figure, title, drawn.alt), "utf-8")
    png.write_bytes(save_png(drawn.figure))
    csv.write_text(_csv(drawn.table), "utf-8")
    width, height = (round(96 * side) for side in drawn.figure.get_size_inches())
    return SavedChart(name, title, drawn.alt, svg, png, csv, (width, height))


def _csv(table: pd.DataFrame) -> str:
    """CSV in which no cell is a formula to a spreadsheet."""
    return str(without_formulas(table).to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"))
