"""Sealing: the tree of the contract, true statuses, and nothing that looks finished unless it is."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_notebooks import write

import samples
from klaviyo_nb.errors import RedactionError, ReportError
from klaviyo_nb.evidence import Coverage, Gap
from klaviyo_nb.folder import load, save
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report import manifest
from klaviyo_nb.report.bundle import Bundle, make
from klaviyo_nb.report.manifest import swept
from klaviyo_nb.report.notebooks import NAMES
from klaviyo_nb.report.verify import Signed, problems, verify

KEY = "pk_0123456789abcdef0123456789abcdef01"


def small(tmp_path: Path, *cells: str) -> Path:
    """Four tiny notebooks in place of the shipped ones; the first has these cells."""
    source = tmp_path / "source"
    source.mkdir()
    for name in NAMES:
        write(source, name, *(cells if name == NAMES[0] else ()))
    return source


def quick(tmp_path: Path, *cells: str, **changes: object) -> Bundle:
    arguments = {
        "evidence": samples.rate_limited(calls_per_minute=2),
        "redactor": Redactor(b"k" * 16),
    } | changes
    return make(
        arguments.pop("evidence"),  # type: ignore[arg-type]
        out=tmp_path / "reports",
        incident="INC-7",
        lead=None,
        source=small(tmp_path, *cells),
        **arguments,  # type: ignore[arg-type]
    )


def test_the_tree_is_that_of_the_contract(made) -> None:  # type: ignore[no-untyped-def]
    names = set(manifest.files(made.bundle.path))
    top = {
        "index.html",
        "postmortem.md",
        "limits.md",
        "verdict.json",
        "redaction.json",
        "manifest.json",
        "SHA256SUMS",
    }
    assert {name for name in names if "/" not in name} == top
    assert {name for name in names if name.startswith("notebooks/")} == {
        f"notebooks/{name}.{suffix}" for name in NAMES for suffix in ("ipynb", "html")
    }
    assert {name for name in names if name.startswith("messages/")} == {
        f"messages/{channel}-{phase}.md"
        for channel in ("slack", "status-page")
        for phase in ("investigating", "mitigating", "resolved")
    }
    assert {name for name in names if name.startswith("support-packet/")} == {
        "support-packet/README.md",
        "support-packet/calls.csv",
    }
    charts = {name.rpartition(".")[0] for name in names if name.startswith("charts/")}
    assert len(charts) >= 5
    assert names >= {f"{chart}.{suffix}" for chart in charts for suffix in ("svg", "png", "csv")}
    assert load(made.bundle.path).window == samples.WINDOW


def test_nothing_hidden_is_left_beside_it(made) -> None:  # type: ignore[no-untyped-def]
    assert sorted(path.name for path in made.bundle.path.parent.iterdir()) == ["INC-7", "INC-7.zip"]


def test_sha256sum_checks_it_without_us(made, need) -> None:  # type: ignore[no-untyped-def]
    command = [need("sha256sum"), "--strict", "--quiet", "-c", "SHA256SUMS"]
    assert subprocess.run(command, cwd=made.bundle.path, check=True, capture_output=True).stdout == b""


def test_the_digest_is_that_of_the_sums(made) -> None:  # type: ignore[no-untyped-def]
    assert manifest.sha256(made.bundle.path / "SHA256SUMS") == made.bundle.digest


def test_the_manifest_says_where_each_file_comes_from(made) -> None:  # type: ignore[no-untyped-def]
    found = json.loads((made.bundle.path / "manifest.json").read_text())
    assert found["schema"] == "klaviyo-nb/manifest/1"
    assert found["incident"] == "INC-7"
    assert not found["partial"]
    assert [run["status"] for run in found["notebooks"]] == ["completed"] * 4
    fields = {
        "path",
        "bytes",
        "sha256",
        "acquired_sha256",
        "acquired_at",
        "source",
        "exit_status",
        "truncated",
        "asked",
        "got",
        "tool_version",
    }
    assert all(set(entry) == fields for entry in found["files"])
    calls = next(entry for entry in found["files"] if entry["path"] == "evidence/calls.csv")
    assert calls["source"] == ["/var/log/app.log"]
    assert calls["asked"] == calls["got"] == samples.WINDOW.as_json()
    assert calls["exit_status"] == 0
    assert calls["acquired_sha256"] == calls["sha256"]


def test_marks_are_counted_by_file(made) -> None:  # type: ignore[no-untyped-def]
    told = json.loads((made.bundle.path / "redaction.json").read_text())
    for name, rows in told["files"].items():
        standing = re.findall(r"\bemail-[0-9a-f]{8}\b", (made.bundle.path / name).read_text())
        assert {"rule": "email", "count": len(standing)} in rows
    rows = [row for rows in told["files"].values() for row in rows]
    assert sum(row["count"] for row in rows) == sum(row["count"] for row in told["found"])


def test_what_is_personal_is_redacted_everywhere(made) -> None:  # type: ignore[no-untyped-def]
    whole = b"".join((made.bundle.path / name).read_bytes() for name in manifest.files(made.bundle.path))
    assert b"jo@example.com" not in whole + made.bundle.zip.read_bytes()
    found = json.loads((made.bundle.path / "redaction.json").read_text())["found"]
    assert {"email"} <= {each["rule"] for each in found}


def test_notebooks_name_their_evidence_by_a_relative_path(made) -> None:  # type: ignore[no-untyped-def]
    text = (made.bundle.path / "notebooks" / "triage.ipynb").read_text()
    assert 'evidence = \\"../evidence\\"' in text
    assert str(made.bundle.path.parent) not in text


def test_progress_is_told(made) -> None:  # type: ignore[no-untyped-def]
    assert len(made.progress) == 7


def test_the_same_folder_gives_the_same_archive(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    manifest.archive(made.bundle.path, tmp_path / "again.zip", "INC-7")
    assert (tmp_path / "again.zip").read_bytes() == made.bundle.zip.read_bytes()


def test_an_existing_report_is_never_overwritten(made) -> None:  # type: ignore[no-untyped-def]
    before = made.bundle.digest
    with pytest.raises(ReportError, match="exists already") as caught:
        make(
            samples.rate_limited(),
            out=made.bundle.path.parent,
            incident="INC-7",
            lead=None,
            redactor=Redactor(b"k"),
        )
    assert "INC-7-2" in str(caught.value.hint)
    assert manifest.sha256(made.bundle.path / "SHA256SUMS") == before


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be written") as caught:
        make(
            samples.rate_limited(),
            out=tmp_path / "file",
            incident="INC-7",
            lead=None,
            redactor=Redactor(b"k"),
        )
    assert caught.value.hint


def test_a_notebook_that_fails_makes_a_partial_bundle_that_verifies(tmp_path: Path) -> None:
    sealed = quick(tmp_path, "import os", "os.kill(os.getpid(), 9)")
    assert sealed.partial
    assert len(sealed.problems) == 1
    assert "triage.ipynb: DeadKernel" in sealed.problems[0]
    found = json.loads((sealed.path / "manifest.json").read_text())
    assert [run["status"] for run in found["notebooks"]] == ["failed", *["completed"] * 3]
    statuses = {entry["path"]: entry["exit_status"] for entry in found["files"]}
    assert statuses["notebooks/triage.ipynb"] == statuses["notebooks/triage.html"] == 1
    assert statuses["notebooks/logs.ipynb"] == 0
    assert "DeadKernel" in (sealed.path / "index.html").read_text()
    assert verify(sealed.path).intact


def test_a_secret_that_a_notebook_prints_is_not_sealed(tmp_path: Path) -> None:
    sealed = quick(
        tmp_path, f"'{KEY}'", f"print('{KEY[:20]}' + '{KEY[20:]}')", "print('jo@' + 'example.com')"
    )
    assert not sealed.partial
    text = (sealed.path / "notebooks" / "triage.ipynb").read_text()
    assert KEY not in text
    assert "jo@example.com" not in text
    assert json.loads((sealed.path / "redaction.json").read_text())["files"]["notebooks/triage.ipynb"]
    assert list(problems(sealed.path, lambda *_: {})) == []


def test_a_collector_that_failed_makes_it_partial(tmp_path: Path) -> None:
    gap = Gap("/var/log/app.log", "permission denied")
    coverage = (Coverage("/var/log/app.log", samples.WINDOW, gap="permission denied"),)
    evidence = replace(samples.rate_limited(calls_per_minute=2), calls=None, coverage=coverage, gaps=(gap,))
    sealed = quick(tmp_path, evidence=evidence)
    assert sealed.partial
    assert sealed.problems == ("/var/log/app.log: permission denied",)


def test_a_log_whose_name_holds_an_address_is_told_without_it(tmp_path: Path) -> None:
    evidence = samples.rate_limited(calls_per_minute=2)
    coverage = tuple(replace(each, source="/srv/jo@example.com/app.log") for each in evidence.coverage)
    sealed = quick(tmp_path, evidence=replace(evidence, coverage=coverage))
    assert b"jo@example.com" not in sealed.zip.read_bytes()
    assert list(problems(sealed.path, lambda *_: {})) == []


def test_what_nobody_asked_for_does_not(tmp_path: Path) -> None:
    evidence = replace(
        samples.rate_limited(calls_per_minute=2),
        metrics=None,
        gaps=(Gap("metrics", "not given", configured=False),),
    )
    assert not quick(tmp_path, evidence=evidence).partial


def test_evidence_that_changed_between_acquisition_and_sealing_is_told(tmp_path: Path) -> None:
    sealed = quick(tmp_path, "with open('../evidence/probes.csv', 'a') as file: file.write('\\n')")
    assert sealed.problems == ("evidence/probes.csv: it changed between acquisition and sealing",)
    assert sealed.problems[0] in (sealed.path / "index.html").read_text()
    entries = json.loads((sealed.path / "manifest.json").read_text())["files"]
    changed = [entry["path"] for entry in entries if entry["acquired_sha256"] not in (None, entry["sha256"])]
    assert changed == ["evidence/probes.csv"]


def test_a_report_is_signed_when_it_is_sealed_and_its_archive_too(
    tmp_path: Path, signers: Callable[[str], tuple[Path, Path]]
) -> None:
    key, allowed = signers("jo@example.com")
    sealed = quick(tmp_path, key=key)
    assert not sealed.partial
    for path in (sealed.path, sealed.zip):
        signed = Signed(allowed)
        assert list(problems(path, lambda *_: {}, signed)) == []
        assert signed.by == "jo@example.com"


class _Failing(Redactor):
    """Cannot redact a text that speaks of limits."""

    def text(self, text: str) -> str:
        if "What was looked at" in text:
            raise RedactionError("limits.md", "could not be redacted")
        return super().text(text)


def test_a_text_that_cannot_be_redacted_is_withheld_and_listed(tmp_path: Path) -> None:
    sealed = quick(tmp_path, redactor=_Failing(b"k"))
    assert sealed.partial
    assert not (sealed.path / "limits.md").exists()
    assert any("limits.md: withheld" in problem for problem in sealed.problems)


def test_what_a_stopped_run_left_is_kept_and_does_not_stop_the_next(tmp_path: Path) -> None:
    left = tmp_path / "reports" / ".INC-7.partial" / "evidence"
    left.mkdir(parents=True)
    (left / "calls.csv").write_text("collected")
    told: list[str] = []
    quick(tmp_path, progress=told.append)
    assert (tmp_path / "reports" / ".INC-7.partial-1" / "evidence" / "calls.csv").read_text() == "collected"
    assert "an earlier run was stopped" in told[0]


def test_an_earlier_run_that_was_killed_while_it_wrote_evidence_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "reports" / ".INC-7.partial" / "evidence").mkdir(parents=True)
    told: list[str] = []
    with pytest.raises(ReportError, match="cannot be written"):
        quick(tmp_path, progress=told.append, redactor=_Full(b"k"))
    assert "before it had collected anything whole" in told[0]


class _Full(Redactor):
    """The disk is full as soon as anything is written."""

    def text(self, text: str) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
sys.dont_write_bytecode = True  # a compiled module that is cut by the limit would be used by whoever comes next
from klaviyo_nb.cli import main
main()
"""


@pytest.mark.parametrize(("size", "kept"), [(10_000, False), (45_000, True)])
def test_a_disk_that_is_full_is_two_lines_that_say_what_was_kept(
    tmp_path: Path, size: int, kept: bool
) -> None:
    save(replace(samples.rate_limited(calls_per_minute=1), metrics=None), tmp_path / "evidence")
    sizes = [path.stat().st_size for path in (tmp_path / "evidence").iterdir()]
    assert (size > max(sizes)) == kept
    command = [
        sys.executable,
        "-c",
        FULL,
        str(size),
        "bundle",
        "--evidence",
        "evidence",
        "--incident",
        "INC-7",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("  · ")]
    assert len(said) == 2, done.stderr
    assert "cannot be written: File too large" in said[0]
    assert ("what was collected is in reports/.INC-7.partial/evidence" in said[0]) == kept
    assert ("--evidence reports/.INC-7.partial/evidence" in said[1]) == kept
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [".INC-7.partial"]


def test_two_runs_of_one_incident_do_not_meet(tmp_path: Path) -> None:
    partial = tmp_path / "reports" / ".INC-7.partial"
    partial.mkdir(parents=True)
    held = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ReportError, match="another run is writing it now"):
            quick(tmp_path)
    finally:
        os.close(held)
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [".INC-7.partial"]


RUN_FOREVER = """
import sys
from pathlib import Path
import samples
from klaviyo_nb.redact import Redactor
from klaviyo_nb.report.bundle import make
make(samples.rate_limited(calls_per_minute=2), out=Path(sys.argv[1]), incident="INC-7", lead=None,
     redactor=Redactor(b"k"), progress=lambda text: print(text, flush=True), source=Path(sys.argv[2]))
"""


def test_a_killed_run_leaves_nothing_that_looks_sealed_and_its_evidence(tmp_path: Path) -> None:
    source, reports = small(tmp_path, "import time", "time.sleep(100)"), tmp_path / "reports"
    command = [sys.executable, "-c", RUN_FOREVER, str(reports), str(source)]
    environ = os.environ | {"PYTHONPATH": str(Path(samples.__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"evidence is written\n"
        running.kill()
    assert sorted(path.name for path in reports.iterdir()) == [".INC-7.partial"]
    assert load(reports / ".INC-7.partial").window == samples.WINDOW


@pytest.mark.parametrize(
    ("key", "sizes"),
    [
        ("-----BEGIN PRIVATE KEY-----\n" + "MIIB\n" * 20 + "-----END PRIVATE KEY-----\n", range(1, 400, 7)),
        (base64.encodebytes(bytes(range(200))).decode(), range(300, 700, 7)),
    ],
    ids=["PEM", "base64"],
)
def test_a_text_is_looked_through_in_pieces_of_whole_lines_and_whole_keys(
    tmp_path: Path, key: str, sizes: range
) -> None:
    text = "a line\n" * 30 + key + "é line\n" * 30 + "and no end"
    (tmp_path / "text").write_text(text, "utf-8")
    for size in sizes:
        found = list(manifest.pieces(tmp_path / "text", size))
        assert "".join(found) == text
        assert all(piece.endswith("\n") for piece in found[:-1] if piece)
        assert any(key in piece for piece in found)


def test_pictures_are_spared_from_the_sweep() -> None:
    picture = "iVBORw0KGgoAAAANSUhEUg+4915112345678AAAA"
    assert (
        swept(f'"{picture}" secret', lambda text: text.replace("secret", "x").replace("4915", "y"))
        == f'"{picture}" x'
    )
