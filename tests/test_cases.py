"""Golden incidents: evidence folders as `klaviyo-nb collect` writes them, each with the verdict agreed on.

`agreed.json` says `why`, `cause`, `severity` and the `second` cause that has to be among the rivals (or null).
It is never changed to make a test pass without saying why in the commit.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest

from klaviyo_nb.collect import load
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from test_cli import run

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def agreed(case: Path) -> dict[str, Any]:
    return json.loads((case / "agreed.json").read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_recorded_incident(case: Path) -> None:
    expected, found = agreed(case), decide(load(case))
    assert (found.cause, found.severity) == (expected["cause"], expected["severity"]), expected["why"]
    if expected["second"]:
        assert expected["second"] in {rival.cause for rival in found.rivals}
    if found.severity:
        assert found.severity_because
        assert found.respond_by
    if found.cause == "inconclusive":
        assert found.gaps, "what could not be seen has to be named"
        assert found.rivals, "what is still possible has to be named"


def test_every_cause_has_a_case_and_a_third_of_them_is_no_incident() -> None:
    causes = Counter(agreed(case)["cause"] for case in CASES)
    assert set(causes) == set(get_args(Cause))
    assert len(CASES) >= 25
    assert 3 * (causes["healthy"] + causes["inconclusive"]) >= len(CASES)


def test_a_case_tells_nothing_of_where_it_was_recorded() -> None:
    for path in FOLDER.rglob("*.*"):
        text = path.read_text("utf-8")
        assert "/tmp/" not in text, path
        assert "/home/" not in text, path


@pytest.mark.parametrize(
    ("name", "status"), [("revoked-key", 10), ("healthy", 0), ("undecided-nothing-configured", 11)]
)
def test_the_command_decides_a_case_with_the_contracts_exit_status(
    name: str, status: int, tmp_path: Path
) -> None:
    done = run("diagnose", str(FOLDER / name), "--format", "json", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert json.loads(done.stdout)["cause"] == agreed(FOLDER / name)["cause"]
