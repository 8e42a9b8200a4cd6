"""The main job, from one command to a sealed bundle, on a pretend Klaviyo."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from test_cli import run

SCENARIOS = ("rate_limited", "invalid_key", "klaviyo_outage", "app_unhealthy", "healthy")
CONTRACT = ("index.html", "postmortem.md", "limits.md", "verdict.json", "redaction.json", "manifest.json", "SHA256SUMS",
            "messages/slack-investigating.md", "messages/status-page-resolved.md", "notebooks/triage.ipynb", "notebooks/logs.html",
            "notebooks/metrics.html", "notebooks/postmortem.html", "evidence/evidence.json", "evidence/calls.csv")  # fmt: skip


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The report of the default drill, and what the command said."""
    folder = tmp_path_factory.mktemp("drill")
    done = run("drill", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    report = next(path for path in (folder / "reports").iterdir() if path.is_dir())
    return report, done.stdout


def test_the_drill_tells_the_verdict_the_path_the_severity_and_the_actions(drilled: tuple[Path, str]) -> None:
    said = drilled[1]
    for part in (
        "rate_limited",
        "Respond by",
        "Why",
        "Are Klaviyo calls failing?",
        "Do now",
        "the verdict met it",
    ):
        assert part in said


def test_the_logs_that_a_drill_tells_to_read_are_still_there(drilled: tuple[Path, str]) -> None:
    actions = json.loads((drilled[0] / "verdict.json").read_text())["actions"]
    named = re.findall(r"[\w./-]+\.log", " ".join(action["command"] or "" for action in actions))
    assert named
    assert all((drilled[0].parent.parent / name).is_file() for name in named)


def test_the_bundle_holds_what_the_contract_names(drilled: tuple[Path, str]) -> None:
    report = drilled[0]
    for name in CONTRACT:
        assert (report / name).is_file(), name
    charts = {path.suffix for path in (report / "charts").iterdir()}
    assert charts == {".svg", ".png", ".csv"}
    assert zipfile.ZipFile(report.with_name(report.name + ".zip")).testzip() is None


def test_the_bundle_decides_again_offline_with_the_same_verdict(
    drilled: tuple[Path, str], tmp_path: Path
) -> None:
    done = run("diagnose", str(drilled[0]), "--format", "json", cwd=tmp_path)
    assert done.returncode == 10
    assert json.loads(done.stdout) == json.loads((drilled[0] / "verdict.json").read_text())


def test_verify_accepts_the_bundle_and_its_archive(drilled: tuple[Path, str], tmp_path: Path) -> None:
    for path in (drilled[0], drilled[0].with_name(drilled[0].name + ".zip")):
        done = run("verify", str(path), "--format", "json", cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        said = {"schema": "klaviyo-nb/verify/1", "intact": True, "problems": [], "signer": None}
        assert json.loads(done.stdout) == said
    told = run("verify", str(drilled[0]), cwd=tmp_path).stdout
    assert "made again from evidence/ and the same: verdict, postmortem" in told
    assert (
        "held by their hashes, and so by the digest or the signature: evidence/, executed notebooks" in told
    )


@pytest.mark.parametrize("name", ["verdict.json", "evidence/calls.csv", "index.html", "notebooks/logs.ipynb"])
def test_verify_refuses_the_bundle_after_one_byte_changed(
    drilled: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drilled[0], copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    done = run("verify", str(copy), cwd=tmp_path)
    assert done.returncode == 1
    assert name in done.stdout


def test_sha256sum_checks_the_bundle_without_us(drilled: tuple[Path, str], need) -> None:  # type: ignore[no-untyped-def]
    import subprocess

    subprocess.run([need("sha256sum"), "--quiet", "-c", "SHA256SUMS"], cwd=drilled[0], check=True)


def test_no_secret_and_no_address_is_in_any_file_of_the_bundle(drilled: tuple[Path, str]) -> None:
    from klaviyo_nb.drills import serve, world
    from klaviyo_nb.start import utc_now

    with serve(world("rate_limited", 7, utc_now()), drilled[0].parent.parent / "again") as services:
        key = services.environ["KLAVIYO_PRIVATE_KEY"].encode()
    for path in drilled[0].rglob("*"):
        if path.is_file():
            assert key not in path.read_bytes(), path
            assert b"@example." not in path.read_bytes(), path


@pytest.mark.parametrize("scenario", SCENARIOS[1:])
def test_the_verdict_of_a_drill_meets_the_hidden_truth(scenario: str, tmp_path: Path) -> None:
    done = run("drill", scenario, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"hidden truth: {scenario}" in done.stdout
