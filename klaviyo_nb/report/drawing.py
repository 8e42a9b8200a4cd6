"""What a bundle holds beside its notebooks: charts, verdict, postmortem, limits, messages."""

from __future__ import annotations

from pathlib import Path

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.logs.questions import QUESTIONS
from klaviyo_nb.report import charts, show
from klaviyo_nb.report.made import Made, Said
from klaviyo_nb.report.texts import texts
from klaviyo_nb.report.views import ask


def draw(
    folder: Path, incident: str, lead: str | None, into: Path | None = None, seen: Evidence | None = None
) -> Made:
    """Charts into a folder; texts, and what the logs answer.

    Args:
        folder: The report; `evidence/` in it is what a reader has, so that is decided from.
        incident: Its name.
        lead: Who leads it, or None.
        into: Where charts go; None: `folder/charts`.
        seen: What `folder/evidence` holds, where it was read already.

    Raises:
        EvidenceError: The evidence cannot be read.
        OSError: A chart cannot be written.
    """
    seen = seen or show.opened(folder / "evidence")
    answers = [(title, ask(seen, name)) for name, title in QUESTIONS.items()]
    return Made(
        charts.save_all(seen, decide(seen), into or folder / "charts"),
        texts(seen, incident, lead),
        [Said(title, answer.says, answer.covers) for title, answer in answers if answer],
    )
