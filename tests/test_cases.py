"""Golden incidents: evidence folders as `klaviyo-nb collect` writes them, each with the verdict agreed on.

`agreed.json` says `why`, `cause`, `severity` and the `second` cause that has to be among the rivals (or null);
`wanted_failure` if it is known to be decided wrongly today.
It is never changed to make a test pass without saying why in the commit.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

import samples
from klaviyo_nb.diagnosis import decide
from klaviyo_nb.diagnosis.verdict import Cause
from klaviyo_nb.folder import load, save
from klaviyo_nb.frames import CALLS
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.texts import texts
from test_cli import run

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def agreed(case: Path) -> dict[str, Any]:
    return json.loads((case / "agreed.json").read_text("utf-8"))  # type: ignore[no-any-return]


def waiting(case: Path) -> tuple[pytest.MarkDecorator, ...]:
    """A wanted failure fails until the verdict is right, and then says that it is no failure any more."""
    return (
        (pytest.mark.xfail(strict=True, reason=agreed(case)["why"]),)
        if agreed(case).get("wanted_failure")
        else ()
    )


@pytest.mark.parametrize("case", [pytest.param(case, marks=waiting(case), id=case.name) for case in CASES])
def test_recorded_incident(case: Path) -> None:
    judge(case)


def judge(case: Path) -> None:
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


@pytest.mark.parametrize(
    "name", ["revoked-key", "new-key-without-the-list-scopes", "every-signature-rejected"]
)
def test_our_own_words_hold_nothing_that_redaction_takes_for_a_secret(name: str) -> None:
    for path, text in texts(load(FOLDER / name), "INC-7", "Ada").items():
        assert Redactor(b"k").text(text) == text, f"{path} would not follow from the evidence once sealed"


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


def world(folder: Path) -> Path:
    """Evidence as a drill's bundle holds it, read from logs that lie on this machine."""
    evidence = samples.rate_limited(onset_minute=60)
    assert evidence.calls is not None
    calls = CALLS.frame(evidence.calls.assign(source=f"{folder}/logs/web.log"))
    save(replace(evidence, calls=calls), folder / "reports" / "INC-7" / "evidence")
    return folder / "reports" / "INC-7"


def test_a_bundle_becomes_a_case_that_is_decided_as_it_was_and_tells_nothing_of_its_machine(
    tmp_path: Path,
) -> None:
    bundle = world(tmp_path)
    done = run(
        "promote", str(bundle), "--label", "rate_limited", "--as", "burst", "--out", "cases", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    case = tmp_path / "cases" / "burst"
    judge(case)
    assert agreed(case)["cause"] == "rate_limited"
    assert "web.log" in (case / "calls.csv").read_text("utf-8")
    assert "/tmp/" not in "".join(path.read_text("utf-8") for path in case.iterdir())


def test_a_label_that_the_verdict_contradicts_is_refused_unless_the_failure_is_wanted(tmp_path: Path) -> None:
    bundle = world(tmp_path)
    asked = ("promote", str(bundle), "--label", "invalid_key", "--as", "key", "--out", "cases")
    done = run(*asked, cwd=tmp_path)
    assert done.returncode == 2
    assert "the verdict says rate_limited, not invalid_key" in done.stderr
    done = run(*("no_cause" if each == "invalid_key" else each for each in asked), cwd=tmp_path)
    assert done.returncode == 2
    assert "'no_cause' is not a cause" in done.stderr
    assert not (tmp_path / "cases" / "key").exists()
    done = run(*asked, "--wanted-failure", "--why", "the key was another", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert waiting(tmp_path / "cases" / "key")
    with pytest.raises(AssertionError, match="the key was another"):
        judge(tmp_path / "cases" / "key")
