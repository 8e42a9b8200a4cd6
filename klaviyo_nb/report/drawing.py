"""What a bundle holds beside its notebooks: charts, verdict, postmortem, limits, messages, the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.evidence import Evidence
from klaviyo_nb.logs.questions import QUESTIONS
from klaviyo_nb.report import charts, index, show
from klaviyo_nb.report.made import Made, NotebookRun, Said
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


def page(
    folder: Path,
    made: Made,
    runs: Sequence[NotebookRun],
    incident: str,
    lead: str | None,
    problems: Sequence[str],
) -> str:
    """`index.html` of the report in `folder`; arguments as of `index.page`.

    Raises:
        EvidenceError: The evidence cannot be read.
    """
    seen = show.opened(folder / "evidence")
    return index.page(seen, made, runs, incident=incident, lead=lead, problems=problems)
