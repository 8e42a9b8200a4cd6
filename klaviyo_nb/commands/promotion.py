"""`klaviyo-nb promote`: make a golden case of a bundle or evidence folder, for the tests to decide again."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.errors import UsageError
from klaviyo_nb.evidence import Evidence, Gap
from klaviyo_nb.folder import load, save

if TYPE_CHECKING:
    from collections.abc import Callable

    from klaviyo_nb.diagnosis.verdict import Verdict

#: Folders that tell whose machine it was; what follows the last of them stays.
_PLACE = re.compile(r"(?<![\w.])/(?:home|tmp|root|Users|private|mnt)/(?:[^\s\"',;:()\[\]{}/\\]+/)*")


def promote(
    folder: Path, label: str, name: str, into: Path, redact: Callable[[str], str],
    *, why: str | None = None, wanted: bool = False,
) -> Path:  # fmt: skip
    """Write the case `into/name`: the evidence, redacted and without places, and `agreed.json`.

    Args:
        folder: Bundle or evidence folder.
        label: The cause that it is to be decided as.
        name: Of the case.
        into: Folder of cases.
        redact: What every text passes through.
        why: Why it is that cause; None: what the verdict says.
        wanted: The verdict is wrong now, and the case is to say so until it is right.

    Raises:
        UsageError: The label is no cause, does not fit the verdict, or fits it although it is said not to.
    """
    if label not in get_args(Cause):
        raise UsageError("--label", f"{label!r} is not a cause", f"one of: {', '.join(get_args(Cause))}")
    evidence = load(folder)
    found, again = decide(evidence), f"klaviyo-nb promote {shlex.quote(str(folder))} --as {name} --label "
    if found.cause != label and not wanted:
        what = f"the verdict says {found.cause}, not {label}"
        raise UsageError(
            "--label", what, f"{again}{found.cause}\nor, if the verdict is wrong: … --wanted-failure"
        )
    if found.cause == label and wanted:
        raise UsageError("--wanted-failure", f"the verdict says {label} already", f"{again}{label}")
    case = into / name
    save(_smaller(evidence, found), case, lambda text: redact(_PLACE.sub("", text)))
    written = decide(load(case))
    if _told(written) != _told(found):
        shutil.rmtree(case)
        what = f"without what is not to be kept it is decided as {written.cause}, not {found.cause}"
        raise UsageError(
            str(folder), what, f"klaviyo-nb collect … --out {shlex.quote(str(case))}, on made-up data"
        )
    agreed = {
        "why": redact(why or found.summary),
        "cause": label,
        "severity": found.severity,
        "second": None if wanted else next((rival.cause for rival in found.rivals), None),
    }
    text = json.dumps(agreed | ({"wanted_failure": True} if wanted else {}), indent=2, ensure_ascii=False)
    (case / "agreed.json").write_text(f"{text}\n", "utf-8")
    return case


def _smaller(evidence: Evidence, found: Verdict) -> Evidence:
    """Without notes, and without metrics where the same is decided without: they are most of a bundle."""
    bare = replace(evidence, notes=None)
    gap = Gap("metrics", "left out of the case: the same is decided without", configured=False)
    smaller = replace(bare, metrics=None, queries=(), gaps=(*evidence.gaps, gap))
    fits = evidence.metrics is not None and _told(decide(smaller)) == _told(found)
    return smaller if fits else bare


def _told(verdict: Verdict) -> tuple[object, ...]:
    """What a case is judged by."""
    return verdict.cause, verdict.severity, sorted(rival.cause for rival in verdict.rivals)
