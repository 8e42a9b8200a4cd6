"""The command line from outside: exit statuses, stdout and stderr, errors of two lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import samples
from klaviyo_nb import collect


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KLAVIYO")}
    return subprocess.run([sys.executable, "-m", "klaviyo_nb", *arguments], cwd=cwd, env=clean | environ,
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "e"
    collect.save(samples.rate_limited(), folder)
    return folder


def test_diagnose_prints_one_json_document_and_says_incident_by_its_exit_status(
    evidence: Path, tmp_path: Path
) -> None:
    done = run("diagnose", str(evidence), "--format", "json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 10
    assert (document["schema"], document["cause"]) == ("klaviyo-nb/verdict/1", "rate_limited")
    assert done.stderr == ""


def test_diagnose_in_a_pipe_is_plain_text(evidence: Path, tmp_path: Path) -> None:
    done = run("diagnose", str(evidence), cwd=tmp_path)
    assert "\x1b" not in done.stdout
    assert "rate_limited" in done.stdout.splitlines()[0]


def test_a_message_can_be_drafted_from_evidence(evidence: Path, tmp_path: Path) -> None:
    done = run("message", str(evidence), "--for", "slack", "--phase", "investigating", cwd=tmp_path)
    assert done.returncode == 0
    assert "P3" in done.stdout


def test_the_tree_prints_as_text_and_as_mermaid(tmp_path: Path) -> None:
    assert "Are Klaviyo calls failing?" in run("tree", cwd=tmp_path).stdout
    assert run("tree", "--format", "mermaid", cwd=tmp_path).stdout.startswith("flowchart TD")


def test_the_scenarios_are_listed(tmp_path: Path) -> None:
    listed = run("drill", "--list", cwd=tmp_path).stdout
    for scenario in ("rate_limited", "invalid_key", "klaviyo_outage", "app_unhealthy", "healthy"):
        assert scenario in listed


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        (("triage", "--since", "soon"), {}, "--since"),
        (("triage", "--start", "2026-11-23T07:00:00Z", "--end", "2026-11-23T06:00:00Z"), {}, "window"),
        (("triage", "--start", "yesterday"), {}, "--start"),
        (("triage", "--deadline", "never"), {}, "--deadline"),
        (("triage",), {"KLAVIYO_NB_API_URL": "a.klaviyo.com"}, "KLAVIYO_NB_API_URL"),
        (("triage",), {"KLAVIYO_NB_STATUS_URL": "https://"}, "KLAVIYO_NB_STATUS_URL"),
        (("triage", "--metrics", "prometheus:9090"), {}, "--metrics"),
        (("logs", "kafka://topic"), {}, "kafka://topic"),
        (("logs", "/nowhere/app.log"), {}, "/nowhere/app.log"),
        (("logs",), {}, "log source"),
        (("metrics",), {}, "metrics server"),
        (("diagnose", "/nowhere"), {}, "/nowhere"),
        (("verify", "/nowhere"), {}, "/nowhere"),
        (("drill", "meteor"), {}, "meteor"),
        (("drill", "--out", "/dev/null/reports"), {}, "/dev/null"),
        (("bundle", "--incident", "../escape"), {}, "--incident"),
        (("bundle", "--incident", "INC-7", "--out", "/dev/null/reports"), {}, "/dev/null"),
        (("triage", "--colour"), {}, "--colour"),
        (("panic",), {}, "panic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_two_lines_that_name_the_setting_and_the_next_command(
    arguments: tuple[str, ...], environ: dict[str, str], named: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path, **environ)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("warning:", "  ·"))]
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(lines) == 2, done.stderr
    assert named in lines[0]
    assert lines[1].startswith("try: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_evidence_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    done = run("diagnose", "e", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: e: no evidence.json in it")


def test_an_existing_report_is_never_overwritten(evidence: Path, tmp_path: Path) -> None:
    (tmp_path / "reports" / "INC-7").mkdir(parents=True)
    done = run("bundle", "--evidence", str(evidence), "--incident", "INC-7", cwd=tmp_path)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr
    assert list((tmp_path / "reports").rglob("*")) == [tmp_path / "reports" / "INC-7"]


def test_a_key_in_the_settings_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "klaviyo-nb.toml").write_text('private_key = "pk_0123456789abcdef0123456789abcdef01"\n')
    done = run("triage", cwd=tmp_path)
    assert done.returncode == 2
    assert "pk_0123" not in done.stderr + done.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    words = run("--help", cwd=tmp_path).stdout
    for command in (
        "triage",
        "collect",
        "diagnose",
        "bundle",
        "verify",
        "logs",
        "metrics",
        "message",
        "tree",
        "drill",
        "lab",
    ):
        assert f"  {command} " in words


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("Klaviyo throttles our calls; we are looking into it.\n", 0, "fit to be sent"),
        ("All is well.\nKlaviyo broke it, ask ann@example.com\n", 1, ":2: “Klaviyo broke” blames"),
        ("*Lead:* ‹fill in: who leads›\n", 1, ":1: ‹fill in: who leads› is not filled"),
    ],
)
def test_an_edited_message_is_checked_before_it_is_sent(
    evidence: Path, tmp_path: Path, text: str, status: int, said: str
) -> None:
    (tmp_path / "draft.md").write_text(text)
    ask = ("message", str(evidence), "--for", "slack", "--phase", "investigating", "--check", "draft.md")
    done = run(*ask, cwd=tmp_path)
    assert done.returncode == status
    assert said in done.stdout
    assert "ann@example.com" not in done.stdout


def test_a_message_that_cannot_be_read_is_a_mistake(evidence: Path, tmp_path: Path) -> None:
    ask = ("message", str(evidence), "--for", "slack", "--phase", "resolved", "--check", "nowhere.md")
    done = run(*ask, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: nowhere.md: ")
