"""What a bundle holds beside its notebooks: charts, verdict, postmortem, limits, messages."""

from __future__ import annotations

from pathlib import Path

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.report import charts, show
from klaviyo_nb.report.charts import SavedChart
from klaviyo_nb.report.texts import texts

Drawn = tuple[list[SavedChart], dict[str, str]]


def draw(folder: Path, incident: str, lead: str | None) -> Drawn:
    """Charts into `folder/charts`; and texts by their names, not yet written.

    Args:
        folder: The report; `evidence/` in it is what a reader has, so that is decided from.
        incident: Its name.
        lead: Who leads it, or None.

    Raises:
        EvidenceError: The evidence cannot be read.
        OSError: A chart cannot be written.
    """
    seen = show.opened(folder / "evidence")
    return charts.save_all(seen, decide(seen), folder / "charts"), texts(seen, incident, lead)
