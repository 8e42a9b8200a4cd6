"""Where the four notebooks are: in a checkout beside the package, in a wheel inside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from klaviyo_nb.errors import ReportError

NAMES = ("triage", "logs", "metrics", "postmortem")


def shipped() -> Path:
    """The folder that holds the notebooks of this installation.

    Raises:
        ReportError: There is none: the installation is not complete.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if all((folder / f"{name}.ipynb").is_file() for name in NAMES):
            return folder
    raise ReportError(
        str(package), "the notebooks are not installed", "pip install --force-reinstall klaviyo-nb"
    )


def working_copy(here: Path, folder: Path) -> Path:
    """Where a person opens the notebooks: those of the checkout at `here`, else a copy in `folder`.

    A notebook that is there already is kept: it may hold somebody's work.
    """
    source = shipped()
    if source == here / "notebooks":
        return source
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        target = folder / f"{name}.ipynb"
        if not target.exists():
            shutil.copyfile(source / target.name, target)
    return folder.absolute()
